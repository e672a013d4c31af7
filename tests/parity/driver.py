"""One sequence through `forward`, with a block table of its own; what an engine does, plainly."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

import lite_kernels
from lite.formats.checkpoint import open_checkpoint
from lite.models import declare
from lite.models.decoder import Workspace, compute_logits, forward, write_dynamic_rope
from lite.models.parts import Quantization
from lite.models.spec import DynamicScaling
from lite.models.weights import load_weights
from lite_kernels import Kernels

BLOCK_SIZE = 16
Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]


class SequenceDriver:
    """A loaded checkpoint and room for one sequence, whose blocks lie in scattered order."""

    def __init__(
        self,
        path: Path,
        *,
        max_len: int,
        backend: str = "cpu",
        dtype: str = "float32",
        quantization: Quantization | None = None,
        kv_quantization: str | None = None,
        kernels: Kernels | None = None,
    ) -> None:
        self.kernels = kernels or lite_kernels.load(backend, dtype=dtype, num_threads=2)
        with open_checkpoint(path) as checkpoint:
            self.decoder = declare(checkpoint.config)
            self.weights = load_weights(
                self.decoder, checkpoint, self.kernels, quantization=quantization
            )
        attention = self.decoder.attention
        num_blocks = -(-max_len // BLOCK_SIZE)
        self.kv_cache = self.kernels.allocate_kv_cache(
            num_layers=self.decoder.num_layers,
            num_blocks=num_blocks,
            block_size=BLOCK_SIZE,
            num_kv_heads=attention.num_kv_heads,
            head_dim=attention.head_dim,
            quantization=kv_quantization,
        )
        self.block_table = np.random.default_rng(0).permutation(num_blocks).astype(np.int32)
        self.workspace = Workspace.allocate(self.decoder, self.kernels, max_num_tokens=max_len)

    def close(self) -> None:
        self.kernels.close()

    def step(self, token_ids: Int32Array, start: int, num_prompt_tokens: int) -> Float32Array:
        """Compute the tokens at positions `start` onwards; return their logits [T, V]."""
        positions = np.arange(start, start + len(token_ids), dtype=np.int32)
        blocks = self.block_table[positions // BLOCK_SIZE]
        query_start_loc = np.array([0, len(token_ids)], np.int32)
        if isinstance(self.decoder.attention.rope.scaling, DynamicScaling):
            write_dynamic_rope(
                self.decoder,
                positions=positions,
                query_start_loc=query_start_loc,
                num_prompt_tokens=np.array([num_prompt_tokens], np.int32),
                workspace=self.workspace,
            )
        forward(
            self.decoder,
            self.weights,
            self.kernels,
            token_ids=token_ids,
            positions=positions,
            slot_mapping=blocks * BLOCK_SIZE + positions % BLOCK_SIZE,
            block_tables=self.block_table[None],
            seq_lens=np.array([start + len(token_ids)], np.int32),
            query_start_loc=query_start_loc,
            kv_cache=self.kv_cache,
            workspace=self.workspace,
        )
        out = np.empty((len(token_ids), self.decoder.vocab_size), np.float32)
        rows = np.arange(len(token_ids), dtype=np.int32)
        hidden = self.workspace.hidden[: len(token_ids)]
        compute_logits(self.decoder, self.weights, self.kernels, hidden, rows, out)
        return out

    def generate(
        self,
        prompt: Int32Array,
        num_steps: int,
        *,
        chunk_size: int | None = None,
        forced: Int32Array | None = None,
    ) -> tuple[Float32Array, Float32Array, Int32Array]:
        """Prefill, then decode one token at a time, greedily or along `forced`.

        Returns the prompt's logits [P, V], those that chose each token [num_steps, V], the ids.
        """
        size = chunk_size or len(prompt)
        chunks = [
            self.step(prompt[i : i + size], i, len(prompt)) for i in range(0, len(prompt), size)
        ]
        prompt_logits = np.concatenate(chunks)
        step_logits, token_ids = [prompt_logits[-1]], np.empty(num_steps, np.int32)
        for i in range(num_steps):
            token_ids[i] = step_logits[-1].argmax() if forced is None else forced[i]
            if i + 1 < num_steps:
                logits = self.step(token_ids[i : i + 1], len(prompt) + i, len(prompt))
                step_logits.append(logits[0])
        return prompt_logits, np.stack(step_logits), token_ids
