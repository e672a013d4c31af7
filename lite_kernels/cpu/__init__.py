"""Kernels for CPUs: Numba and LLVM IR, one team of threads an instance."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from lite_kernels.cpu import embed, pack
from lite_kernels.cpu.attention import AttentionScratch, append_attention
from lite_kernels.cpu.checksum import append_checksum
from lite_kernels.cpu.isa.memory import empty_aligned
from lite_kernels.cpu.kv_cache import CpuKVLayer, allocate_layers, block_nbytes
from lite_kernels.cpu.linear import Linears
from lite_kernels.cpu.pack import PackedLinear
from lite_kernels.cpu.program import Program, Recorder
from lite_kernels.cpu.rope import append_qk_norm_rope_store
from lite_kernels.cpu.sampling import (
    SamplingScratch,
    append_edit_logits,
    append_logprobs,
    append_sample,
)
from lite_kernels.cpu.team import Team
from lite_kernels.cpu.topology import choose_threads
from lite_kernels.dtypes import check_kv_quantization
from lite_kernels.interface import Array, RunObserver

_DTYPES = {
    "float32": np.float32,
    "int32": np.int32,
    "int64": np.int64,
    "uint32": np.uint32,
    "uint8": np.uint8,
}


class CpuKernels:
    """See `lite_kernels.interface.Kernels`."""

    device = "cpu"

    def __init__(self, *, dtype: str = "bfloat16", num_threads: int | None = None) -> None:
        if dtype not in ("bfloat16", "float32"):
            raise ValueError(f"dtype {dtype!r} is not supported; choose bfloat16 or float32")
        self.dtype = dtype
        self.threads = choose_threads(num_threads)
        self.num_threads = self.threads.number
        self._linears = Linears(dtype)
        self._team = Team(self.num_threads)
        self._recorder = Recorder(self._team)
        self._act = np.dtype(np.float32 if dtype == "float32" else np.uint16)
        self._attention_scratch: dict[tuple[int, int, int], AttentionScratch] = {}
        self._sampling_scratch: SamplingScratch | None = None

    # --- load time -------------------------------------------------------------------------

    def pack_linear(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array | None] | None = None,
        *,
        quantization: str | None = None,
    ) -> PackedLinear:
        panel = pack.panel_format(self.dtype, quantization)
        with self._recorder.at_once() as program:
            return pack.pack_linear(program, panel, weights, biases or [None] * len(weights))

    def pack_gated_linear(
        self,
        gate: Array,
        up: Array,
        biases: tuple[Array | None, Array | None] = (None, None),
        *,
        quantization: str | None = None,
    ) -> PackedLinear:
        panel = pack.panel_format(self.dtype, quantization)
        with self._recorder.at_once() as program:
            return pack.pack_gated(program, panel, (gate, up), biases)

    def linear_nbytes(
        self,
        out_features: int,
        in_features: int,
        quantization: str | None = None,
        *,
        gated: bool = False,
    ) -> int:
        panel = pack.panel_format(self.dtype, quantization)
        return panel.nbytes(out_features, in_features, gated=gated)

    def checksum(self, data: Array) -> int:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        num_words = flat.size // 8
        last = int.from_bytes(flat[8 * num_words :].tobytes(), "little") * (2 * num_words + 1)
        # SAFETY: a tensor of a file may lie at any multiple of its own type's size.
        words = np.require(flat[: 8 * num_words].view(np.uint64), requirements="A")
        with self._recorder.at_once() as program:
            parts = append_checksum(program, words, self.num_threads)
        return (int(parts.sum(dtype=np.uint64)) + last) % 2**64

    def pack_embedding(self, weight: Array) -> Array:
        return pack.pack_table(self.dtype, weight)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        if dtype == "act":
            dtype = "float32" if self.dtype == "float32" else "uint16"
            return empty_aligned(shape, np.dtype(dtype))
        if dtype not in _DTYPES:
            known = ", ".join((*_DTYPES, "act"))
            raise ValueError(f"dtype {dtype!r} is not supported; choose one of {known}")
        return empty_aligned(shape, np.dtype(_DTYPES[dtype]))

    # --- a step ----------------------------------------------------------------------------

    def embed(self, token_ids: Array, table: Array | PackedLinear, out: Array) -> None:
        with self._recorder.operation() as program:
            embed.embed(program, self.dtype, token_ids, table, out)

    def rope_rows(self, cos_sin: Array, positions: Array, out: Array) -> None:
        with self._recorder.operation() as program:
            embed.rope_rows(program, cos_sin, positions, out)

    def norm_linear(
        self, x: Array, norm_weight: Array, eps: float, linear: PackedLinear, out: Array
    ) -> None:
        with self._recorder.operation() as program:
            self._linears.norm_linear(program, x, None, norm_weight, eps, linear, out)

    def linear_add(self, x: Array, linear: PackedLinear, residual: Array) -> None:
        with self._recorder.operation() as program:
            self._linears.linear_add(program, x, linear, residual)

    def norm_gated_linear(
        self,
        x: Array,
        norm_weight: Array,
        eps: float,
        linear: PackedLinear,
        activation: str,
        out: Array,
    ) -> None:
        with self._recorder.operation() as program:
            self._linears.norm_gated_linear(program, x, norm_weight, eps, linear, activation, out)

    def logits(
        self,
        x: Array,
        rows: Array,
        norm_weight: Array,
        eps: float,
        linear: PackedLinear,
        out: Array,
    ) -> None:
        with self._recorder.operation() as program:
            self._linears.norm_linear(program, x, rows, norm_weight, eps, linear, out)

    # --- keys and values -------------------------------------------------------------------

    def allocate_kv_cache(
        self,
        *,
        num_layers: int,
        num_blocks: int,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        quantization: str | None = None,
    ) -> list[CpuKVLayer]:
        return allocate_layers(
            num_layers=num_layers,
            num_blocks=num_blocks,
            block_size=block_size,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            dtype=self._kv_dtype(quantization),
        )

    def kv_block_nbytes(
        self,
        *,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        quantization: str | None = None,
    ) -> int:
        return block_nbytes(
            block_size=block_size,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            dtype=self._kv_dtype(quantization),
        )

    def _kv_dtype(self, quantization: str | None) -> np.dtype[np.generic]:
        check_kv_quantization(quantization)
        return self._act if quantization is None else np.dtype(np.uint8)

    def qk_norm_rope_store(
        self,
        qkv: Array,
        q_norm: Array | None,
        k_norm: Array | None,
        eps: float,
        cos_sin: Array,
        slot_mapping: Array,
        kv: CpuKVLayer,
        q_out: Array,
    ) -> None:
        with self._recorder.operation() as program:
            append_qk_norm_rope_store(
                program, qkv, q_norm, k_norm, eps, cos_sin, slot_mapping, kv, q_out
            )

    def attention(
        self,
        q: Array,
        kv: CpuKVLayer,
        block_tables: Array,
        seq_lens: Array,
        query_start_loc: Array,
        sliding_window: int,
        out: Array,
    ) -> None:
        shape = (q.shape[1], kv.num_kv_heads, kv.head_dim)
        if shape not in self._attention_scratch:
            self._attention_scratch[shape] = AttentionScratch(self.num_threads, *shape)
        scratch = self._attention_scratch[shape]
        with self._recorder.operation() as program:
            append_attention(
                program,
                q,
                kv,
                block_tables,
                seq_lens,
                query_start_loc,
                sliding_window,
                out,
                scratch,
            )

    # --- sampling --------------------------------------------------------------------------

    def sample(
        self,
        logits: Array,
        temperature: Array,
        top_k: Array,
        top_p: Array,
        min_p: Array,
        seeds: Array,
        counters: Array,
        token_ids: Array,
    ) -> None:
        options = (temperature, top_k, top_p, min_p, seeds, counters, token_ids)
        with self._recorder.operation() as program:
            append_sample(program, logits, *options, scratch=self._sampling_memory(logits))

    def edit_logits(
        self,
        logits: Array,
        edit_start_loc: Array,
        edit_ids: Array,
        edit_counts: Array,
        edit_in_prompt: Array,
        edit_bias: Array,
        repetition: Array,
        presence: Array,
        frequency: Array,
    ) -> None:
        edits = (edit_start_loc, edit_ids, edit_counts, edit_in_prompt, edit_bias)
        with self._recorder.at_once() as program:
            append_edit_logits(program, logits, *edits, repetition, presence, frequency)

    def keep_only(self, logits: Array, row: int, allowed_ids: Array) -> None:
        kept = logits[row, allowed_ids]
        logits[row] = -np.inf
        logits[row, allowed_ids] = kept

    def logprobs(
        self,
        logits: Array,
        token_ids: Array,
        num_top: int,
        out_ids: Array,
        out_logprobs: Array,
        out_ranks: Array,
    ) -> None:
        outputs = (out_ids, out_logprobs, out_ranks)
        scratch = self._sampling_memory(logits)
        with self._recorder.at_once() as program:
            append_logprobs(program, logits, token_ids, num_top, *outputs, scratch=scratch)

    def _sampling_memory(self, logits: Array) -> SamplingScratch:
        vocab_size = logits.shape[1]
        if self._sampling_scratch is None or self._sampling_scratch.vocab_size < vocab_size:
            self._sampling_scratch = SamplingScratch(self.num_threads, vocab_size)
        return self._sampling_scratch

    # --- programs --------------------------------------------------------------------------

    def record(self) -> AbstractContextManager[Program]:
        return self._recorder.record()

    def run(self, program: Program) -> None:
        self._team.run(program)

    def observe_runs(self, observer: RunObserver | None) -> None:
        self._team.observe_runs(observer)

    def close(self) -> None:
        self._team.close()
