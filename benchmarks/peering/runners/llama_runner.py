"""Runs llama.cpp through the low-level API of llama-cpp-python; also quantizes GGUF files."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from runner_protocol import Clock, serve

# llama.cpp's own defaults, which its benchmark tools use too.
_NUM_BATCH = 2048
_NUM_UBATCH = 512
_CONTEXT_STEP = 256
_NUM_LOGPROBS = 20
_FTYPES = {"Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}


class LlamaCpp:
    """One model, and a context of the size that the last call needed."""

    def __init__(self, gguf: str, num_threads: int, max_model_len: int, max_num_seqs: int) -> None:
        llama_cpp.llama_backend_init()
        self._num_threads = num_threads
        self._model = llama_cpp.llama_model_load_from_file(
            gguf.encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise RuntimeError(f"{gguf} could not be loaded; see the log")
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._num_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self._context: Any = None
        self._shape = (0, 0)
        self._kept: tuple[list[list[int]], list[int]] | None = None
        self._prepare(1, max_model_len)

    def describe(self) -> dict[str, Any]:
        model = self._model
        head_dim = llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)
        for key in ("qwen3.attention.key_length", "llama.attention.key_length"):
            text = ctypes.create_string_buffer(32)
            if llama_cpp.llama_model_meta_val_str(model, key.encode(), text, 32) > 0:
                head_dim = int(text.value)
        num_values = 2 * llama_cpp.llama_model_n_layer(model) * head_dim
        num_values *= llama_cpp.llama_model_n_head_kv(model)
        return {
            "version": llama_cpp.__version__,
            "system": llama_cpp.llama_print_system_info().decode(),
            "flash_attention": True,
            "kv_cache": "f16",
            "n_batch": _NUM_BATCH,
            "n_ubatch": _NUM_UBATCH,
            "weights_bytes": llama_cpp.llama_model_size(model),
            "kv_cache_bytes": 2 * num_values * llama_cpp.llama_n_ctx(self._context),
        }

    def generate(
        self, prompts: list[list[int]], num_tokens: int, keep_prompt: bool
    ) -> dict[str, Any]:
        longest = max(map(len, prompts)) + num_tokens
        self._prepare(len(prompts), longest)
        clock = Clock(len(prompts))
        memory = llama_cpp.llama_get_memory(self._context)
        if keep_prompt and self._kept is not None and self._kept[0] == prompts:
            tokens = self._kept[1]
            for seq, prompt in enumerate(prompts):
                if not llama_cpp.llama_memory_seq_rm(memory, seq, len(prompt), -1):
                    raise RuntimeError("the end of a sequence could not be removed")
        else:
            self._kept = None
            llama_cpp.llama_memory_clear(memory, False)
            tokens = self._prefill(prompts)
        self._count(clock, tokens)
        first_tokens = tokens
        positions = [len(prompt) for prompt in prompts]
        for _ in range(num_tokens - 1):
            entries = [(t, positions[s], s, True) for s, t in enumerate(tokens)]
            tokens = [token for _, token in self._decode(entries)]
            positions = [position + 1 for position in positions]
            self._count(clock, tokens)
        if keep_prompt:
            self._kept = (prompts, first_tokens)
        return clock.result()

    def logprobs(self, prompt: list[int], token_ids: list[int]) -> dict[int, float]:
        self._prepare(1, len(prompt) + 1)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)
        self._kept = None
        self._prefill([prompt])
        logits = self._logits(1)[0].astype(np.float64)
        highest = logits.max()
        normalizer = highest + np.log(np.exp(logits - highest).sum())
        if not token_ids:
            token_ids = np.argsort(logits)[-_NUM_LOGPROBS:].tolist()
        return {i: float(logits[i] - normalizer) for i in token_ids}

    def _prefill(self, prompts: list[list[int]]) -> list[int]:
        """Compute all prompts and return the first token of each."""
        entries = [
            (token, position, seq, position == len(prompt) - 1)
            for seq, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
        ]
        tokens = [0] * len(prompts)
        for start in range(0, len(entries), _NUM_BATCH):
            for seq, token in self._decode(entries[start : start + _NUM_BATCH]):
                tokens[seq] = token
        return tokens

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> list[tuple[int, int]]:
        """Run one batch of (token, position, sequence, wants logits); return chosen tokens."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for i, (token, position, seq, wants_logits) in enumerate(entries):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = seq
            batch.logits[i] = wants_logits
        status = llama_cpp.llama_decode(self._context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        seqs = [seq for _, _, seq, wants_logits in entries if wants_logits]
        if not seqs:
            llama_cpp.llama_synchronize(self._context)
            return []
        return list(zip(seqs, self._logits(len(seqs)).argmax(axis=1).tolist(), strict=True))

    def _logits(self, num_rows: int) -> np.ndarray:
        """Return the logits of the last batch, in the order of its entries."""
        pointer = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, (num_rows, self._num_vocab))

    def _count(self, clock: Clock, tokens: list[int]) -> None:
        for seq, token in enumerate(tokens):
            clock.add(seq, [token])
        clock.tick()

    def _prepare(self, num_seqs: int, num_tokens: int) -> None:
        """Have a context of this size; sequences have separate caches, as by default."""
        per_seq = -(-num_tokens // _CONTEXT_STEP) * _CONTEXT_STEP
        if self._shape == (num_seqs, per_seq):
            return
        if self._context is not None:
            llama_cpp.llama_batch_free(self._batch)
            llama_cpp.llama_free(self._context)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = num_seqs * per_seq
        params.n_batch = _NUM_BATCH
        params.n_ubatch = _NUM_UBATCH
        params.n_seq_max = num_seqs
        params.n_threads = params.n_threads_batch = self._num_threads
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError("no context could be made; see the log")
        self._batch = llama_cpp.llama_batch_init(_NUM_BATCH, 0, 1)
        self._shape = (num_seqs, per_seq)
        self._kept = None


def quantize(source: Path, target: Path, name: str, num_threads: int) -> None:
    """Write a quantized GGUF file from a BF16 one, as llama.cpp's own tool does."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = _FTYPES[name]
    params.nthread = num_threads
    unfinished = target.with_suffix(".unfinished")
    status = llama_cpp.llama_model_quantize(
        str(source).encode(), str(unfinished).encode(), ctypes.byref(params)
    )
    if status != 0:
        raise RuntimeError(f"llama_model_quantize returned {status}")
    unfinished.rename(target)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        quantize(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        serve(LlamaCpp)
