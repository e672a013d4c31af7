"""The executable specification of every operation, in plain NumPy: slow and obvious.

Rows are computed one by one, so results do not depend on what else is in the batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from lite_kernels import reference_sampling as sampling
from lite_kernels.dtypes import (
    Float32Array,
    check_kv_quantization,
    from_bfloat16,
    to_bfloat16,
    to_float32,
)
from lite_kernels.interface import Array, ThreadCount
from lite_kernels.reference_attention import ReferenceKVLayer, attend, attend_quantized
from lite_kernels.reference_linear import ACTIVATIONS, ReferenceLinear, apply_linear
from lite_kernels.reference_quantized import quantize_weight, quantized_row_nbytes


@dataclass(slots=True)
class ReferenceProgram:
    """Closures over the arrays of the recorded operations."""

    operations: list[Callable[[], None]] = field(default_factory=list)


class ReferenceKernels:
    """The Kernels protocol in NumPy; see `interface.py` for every operation's contract."""

    device = "reference"
    threads = ThreadCount(1, "NumPy")

    def __init__(self, *, dtype: str = "bfloat16") -> None:
        if dtype not in ("bfloat16", "float32"):
            raise ValueError(f"dtype {dtype!r} is not supported; choose bfloat16 or float32")
        self.dtype = dtype
        self._recording: ReferenceProgram | None = None

    # --- number formats --------------------------------------------------------------------

    def _to_act(self, values: Float32Array) -> Array:
        return to_bfloat16(values) if self.dtype == "bfloat16" else values.astype(np.float32)

    def _from_act(self, values: Array) -> Float32Array:
        return from_bfloat16(values) if self.dtype == "bfloat16" else values

    def _round(self, values: Float32Array) -> Float32Array:
        return self._from_act(self._to_act(values))

    def _apply(self, linear: ReferenceLinear, values: Float32Array) -> Float32Array:
        """Return values @ W.T + bias; what enters is rounded to the dtype, or quantized."""
        return apply_linear(linear, values if linear.is_quantized else self._round(values))

    def _execute(self, operation: Callable[[], None]) -> None:
        if self._recording is None:
            operation()
        else:
            self._recording.operations.append(operation)

    # --- load time -------------------------------------------------------------------------

    def pack_linear(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array | None] | None = None,
        *,
        quantization: str | None = None,
    ) -> ReferenceLinear:
        stacked = np.concatenate([to_float32(w) for w in weights])
        bias = None
        if biases is not None and any(b is not None for b in biases):
            bias = np.concatenate(
                [
                    np.zeros(len(w), np.float32) if b is None else to_float32(b)
                    for w, b in zip(weights, biases, strict=True)
                ]
            )
        num_rows, in_features = stacked.shape
        nbytes = self.linear_nbytes(num_rows, in_features, quantization)
        nbytes += 0 if bias is None else bias.nbytes
        weight = (
            self._round(stacked) if quantization is None else quantize_weight(stacked, quantization)
        )
        return ReferenceLinear(weight=weight, bias=bias, nbytes=nbytes)

    def pack_gated_linear(
        self,
        gate: Array,
        up: Array,
        biases: tuple[Array | None, Array | None] = (None, None),
        *,
        quantization: str | None = None,
    ) -> ReferenceLinear:
        return self.pack_linear([gate, up], biases, quantization=quantization)

    def linear_nbytes(
        self,
        out_features: int,
        in_features: int,
        quantization: str | None = None,
        *,
        gated: bool = False,
    ) -> int:
        num_rows = 2 * out_features if gated else out_features
        if quantization is not None:
            return num_rows * quantized_row_nbytes(in_features, quantization)
        return num_rows * in_features * (2 if self.dtype == "bfloat16" else 4)

    def checksum(self, data: Array) -> int:
        raw = np.ascontiguousarray(data).tobytes()
        words = np.frombuffer(raw + bytes(-len(raw) % 8), "<u8")
        return int((words * np.arange(1, 2 * words.size, 2, dtype=np.uint64)).sum(dtype=np.uint64))

    def pack_embedding(self, weight: Array) -> Array:
        return self._to_act(to_float32(weight))

    def allocate_kv_cache(
        self,
        *,
        num_layers: int,
        num_blocks: int,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        quantization: str | None = None,
    ) -> list[ReferenceKVLayer]:
        shape = (num_blocks, block_size, num_kv_heads, head_dim)
        self.kv_block_nbytes(
            block_size=block_size,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            quantization=quantization,
        )
        if quantization is not None:
            bytes_, scales = np.zeros(shape, np.int8), np.zeros(shape[:3], np.float32)
            return [
                ReferenceKVLayer(
                    keys=bytes_.copy(),
                    values=bytes_.copy(),
                    key_scales=scales.copy(),
                    value_scales=scales.copy(),
                )
                for _ in range(num_layers)
            ]
        zeros = self._to_act(np.zeros(shape, np.float32))
        return [ReferenceKVLayer(keys=zeros.copy(), values=zeros.copy()) for _ in range(num_layers)]

    def kv_block_nbytes(
        self,
        *,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        quantization: str | None = None,
    ) -> int:
        check_kv_quantization(quantization)
        if block_size < 1:
            raise ValueError(f"block_size {block_size} is not supported; it must be at least 1")
        if head_dim < 2 or head_dim % 2:
            raise ValueError(f"head_dim {head_dim} is not supported; it must be even")
        if quantization is not None:
            return 2 * block_size * num_kv_heads * (head_dim + 4)
        return 2 * block_size * num_kv_heads * head_dim * (2 if self.dtype == "bfloat16" else 4)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        if dtype == "act":
            dtype = "uint16" if self.dtype == "bfloat16" else "float32"
        elif dtype not in ("float32", "int32", "int64", "uint32", "uint8"):
            raise ValueError(f"array dtype {dtype!r} is not supported")
        return np.empty(shape, dtype)

    # --- a step ----------------------------------------------------------------------------

    def embed(self, token_ids: Array, table: Array | ReferenceLinear, out: Array) -> None:
        def run() -> None:
            if isinstance(table, ReferenceLinear):
                out[:] = table.dequantize()[token_ids]
            else:
                out[:] = self._from_act(table[token_ids])

        self._execute(run)

    def rope_rows(self, cos_sin: Array, positions: Array, out: Array) -> None:
        def run() -> None:
            out[:] = cos_sin[positions]

        self._execute(run)

    def norm_linear(
        self, x: Array, norm_weight: Array, eps: float, linear: ReferenceLinear, out: Array
    ) -> None:
        def run() -> None:
            out[:] = self._apply(linear, rms_norm(x, norm_weight, eps))

        self._execute(run)

    def qk_norm_rope_store(
        self,
        qkv: Array,
        q_norm: Array | None,
        k_norm: Array | None,
        eps: float,
        cos_sin: Array,
        slot_mapping: Array,
        kv: ReferenceKVLayer,
        q_out: Array,
    ) -> None:
        def run() -> None:
            block_size, num_kv_heads, head_dim = kv.keys.shape[1:]
            num_tokens, num_heads, _ = q_out.shape
            parts = qkv.reshape(num_tokens, num_heads + 2 * num_kv_heads, head_dim)
            q, k, v = np.split(parts, [num_heads, num_heads + num_kv_heads], axis=1)
            q = q if q_norm is None else rms_norm(q, q_norm, eps)
            k = k if k_norm is None else rms_norm(k, k_norm, eps)
            scale = np.float32(head_dim**-0.5)
            q_out[:] = self._to_act(rotate(q, cos_sin) * scale)
            keys, values = rotate(k, cos_sin), v
            if kv.key_scales is None:
                keys, values = self._to_act(keys), self._to_act(values)
            for token, slot in enumerate(slot_mapping):
                block, offset = divmod(int(slot), block_size)
                kv.store(block, offset, keys[token], values[token])

        self._execute(run)

    def attention(
        self,
        q: Array,
        kv: ReferenceKVLayer,
        block_tables: Array,
        seq_lens: Array,
        query_start_loc: Array,
        sliding_window: int,
        out: Array,
    ) -> None:
        def run() -> None:
            block_size = kv.keys.shape[1]
            queries = self._from_act(q)
            for s, seq_len in enumerate(seq_lens.tolist()):
                first, end = query_start_loc[s], query_start_loc[s + 1]
                blocks = block_tables[s, : -(-seq_len // block_size)]
                shape = (-1, *kv.keys.shape[2:])
                keys, values = kv.keys[blocks].reshape(shape), kv.values[blocks].reshape(shape)
                for t in range(first, end):
                    position = seq_len - (end - t)
                    start = max(0, position - sliding_window + 1) if sliding_window > 0 else 0
                    seen = slice(start, position + 1)
                    if kv.key_scales is None:
                        parts = self._from_act(keys[seen]), self._from_act(values[seen])
                        result = attend(queries[t], *parts)
                    else:
                        result = attend_quantized(queries[t], kv, blocks, start, position + 1)
                    out[t] = self._to_act(result.reshape(-1))

        self._execute(run)

    def linear_add(self, x: Array, linear: ReferenceLinear, residual: Array) -> None:
        def run() -> None:
            residual[:] += self._apply(linear, self._from_act(x))

        self._execute(run)

    def norm_gated_linear(
        self,
        x: Array,
        norm_weight: Array,
        eps: float,
        linear: ReferenceLinear,
        activation: str,
        out: Array,
    ) -> None:
        activate = ACTIVATIONS[activation]

        def run() -> None:
            product = self._apply(linear, rms_norm(x, norm_weight, eps))
            gate, up = np.split(product, 2, axis=1)
            out[:] = self._to_act(activate(gate) * up)

        self._execute(run)

    def logits(
        self,
        x: Array,
        rows: Array,
        norm_weight: Array,
        eps: float,
        linear: ReferenceLinear,
        out: Array,
    ) -> None:
        def run() -> None:
            out[:] = self._apply(linear, rms_norm(x[rows], norm_weight, eps))

        self._execute(run)

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
        def run() -> None:
            for r in range(len(token_ids)):
                token_ids[r] = sampling.sample_row(
                    logits[r],
                    temperature=temperature[r],
                    top_k=int(top_k[r]),
                    top_p=top_p[r],
                    min_p=min_p[r],
                    seed=(int(seeds[r, 0]), int(seeds[r, 1])),
                    counter=int(counters[r]),
                )

        self._execute(run)

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
        for r in range(len(logits)):
            entries = slice(edit_start_loc[r], edit_start_loc[r + 1])
            sampling.edit_row(
                logits[r],
                edit_ids[entries],
                counts=edit_counts[entries],
                in_prompt=edit_in_prompt[entries],
                bias=edit_bias[entries],
                repetition=repetition[r],
                presence=presence[r],
                frequency=frequency[r],
            )

    def keep_only(self, logits: Array, row: int, allowed_ids: Array) -> None:
        kept = logits[row, allowed_ids].copy()
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
        for r in range(len(token_ids)):
            out_ids[r], out_logprobs[r], out_ranks[r] = sampling.logprobs_row(
                logits[r], int(token_ids[r]), num_top
            )

    # --- programs --------------------------------------------------------------------------

    @contextmanager
    def record(self) -> Iterator[ReferenceProgram]:
        if self._recording is not None:
            raise RuntimeError("a program is already being recorded; recordings do not nest")
        self._recording = ReferenceProgram()
        try:
            yield self._recording
        finally:
            self._recording = None

    def run(self, program: ReferenceProgram) -> None:
        for operation in program.operations:
            operation()

    def close(self) -> None:
        self._recording = None


def rms_norm(x: Float32Array, weight: Float32Array, eps: float) -> Float32Array:
    """Return x / sqrt(mean(x^2) + eps) * weight over the last axis."""
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True, dtype=np.float32)
    inverse: Float32Array = np.reciprocal(np.sqrt(mean_square + np.float32(eps)))
    return x * inverse * weight


def rotate(x: Float32Array, cos_sin: Float32Array) -> Float32Array:
    """Rotate [T, H, D] by cos_sin [T, D]: value i pairs with i + D/2 (`rotate_half`)."""
    cos, sin = np.split(cos_sin[:, None, :], 2, axis=-1)
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
