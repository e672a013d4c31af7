"""The contract of every operation; `reference.py` is its executable specification.

Shapes: T tokens of the step, S sequences, R rows whose logits are wanted, H hidden size,
Hq query heads, Hkv key/value heads, D head size, I intermediate size, V vocabulary size.

"act" arrays hold what enters a matrix product: uint16 bit patterns of bfloat16 when the
kernels' dtype is "bfloat16", float32 when it is "float32". Everything else is float32, indices
are int32. Arrays are C-contiguous, `out` comes last and is preallocated, nothing is allocated.
Accumulation is float32. T, S and R are read from the arrays' first dimensions (views of
workspace arrays of full capacity).

Weights may be quantized: "int8" or "int4", blocks of 32 inputs with a float16 scale. The rows
that enter such a product are quantized too, to int8 in blocks of 32 with a float32 scale, from
float32 and instead of a rounding to "act". `reference_quantized.py` defines every bit: blocks are
summed in int32, then added in ascending order by one fused multiply-add each.

Batch invariance: an output element is computed by the same sequence of operations whatever T,
S, R, the chunk boundaries and the other rows are; so results are bit-identical in any schedule.

Operations are recorded or run at once: inside `with kernels.record() as program:` they are
appended to `program`, which `kernels.run(program)` executes any number of times over the same
arrays (a CUDA graph, or its equivalent on a CPU); outside they execute before they return.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Array = Any  # numpy.ndarray on the CPU, cupy.ndarray on a GPU


@dataclass(frozen=True, slots=True)
class ThreadCount:
    """A number of threads, where it came from, and what is wrong with it."""

    number: int
    origin: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.number} ({self.origin})"


class Linear(Protocol):
    """Packed weights of one or more projections of the same input, [N, K] plus optional bias."""

    in_features: int
    out_features: int
    nbytes: int


class KVLayer(Protocol):
    """The paged keys and values of one layer, in the backend's own layout."""

    nbytes: int


class Program(Protocol):
    """A recorded sequence of operations."""


class ObservedProgram(Protocol):
    """A program, or what runs one operation at once, as a `RunObserver` sees it."""

    kernel_names: list[str]  # of each entry; grows while the program is recorded


# Receives what ran, and int64 [2 + entries] nanoseconds of CLOCK_MONOTONIC: when the run began,
# when the threads were awake, and when each entry had ended on all of them.
RunObserver = Callable[[ObservedProgram, Array], None]


class Kernels(Protocol):
    """One backend on one device."""

    device: str
    dtype: str
    threads: ThreadCount

    # --- load time -------------------------------------------------------------------------

    def pack_linear(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array | None] | None = None,
        *,
        quantization: str | None = None,
    ) -> Linear:
        """Pack row-major [N_i, K] weights, stacked along N, for `norm_linear` and friends.

        Weights are float32, float16, or uint16 bit patterns of bfloat16; biases the same, or
        None per part for none. The inputs (memory maps) are not kept, nor copied as a whole.

        Args:
            quantization: "int8", "int4", or None for the kernels' dtype. A block of 32 weights
                that holds a NaN or an infinity, or is too large for a float16 scale (beyond 8e6
                for int8, 4e5 for int4), becomes NaN.

        Raises:
            ValueError: a shape, dtype or quantization that is not supported.
        """
        ...

    def pack_gated_linear(
        self,
        gate: Array,
        up: Array,
        biases: tuple[Array | None, Array | None] = (None, None),
        *,
        quantization: str | None = None,
    ) -> Linear:
        """Pack gate and up projections, each [I, K], for `norm_gated_linear`."""
        ...

    def linear_nbytes(
        self,
        out_features: int,
        in_features: int,
        quantization: str | None = None,
        *,
        gated: bool = False,
    ) -> int:
        """Bytes that packing weights of this shape takes, biases aside, for planning memory.

        `gated`: both projections of a gated pair, each [out_features, in_features].
        """
        ...

    def checksum(self, data: Array) -> int:
        """Sum the bytes of an array as little-endian uint64 words times 1, 3, 5 .., modulo 2**64.

        The last word is filled up with zeros. No change of a single word goes unnoticed.
        """
        ...

    def pack_embedding(self, weight: Array) -> Array:
        """Return an embedding table [V, H] for `embed` in the kernels' dtype."""
        ...

    def allocate_kv_cache(
        self,
        *,
        num_layers: int,
        num_blocks: int,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        quantization: str | None = None,
    ) -> list[KVLayer]:
        """Allocate zeroed keys and values, one entry per layer.

        Args:
            quantization: "int8" (a float32 scale per token and head, for keys and for values),
                or None for the kernels' dtype.

        Raises:
            ValueError: block_size, head_dim or quantization is not supported; names the rule.
        """
        ...

    def kv_block_nbytes(
        self,
        *,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        quantization: str | None = None,
    ) -> int:
        """Bytes of one block in one layer, for planning memory."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """An uninitialised array; dtype "float32", "int32", "int64", "uint32", "uint8" or "act"."""
        ...

    # --- a step ----------------------------------------------------------------------------

    def embed(self, token_ids: Array, table: Array | Linear, out: Array) -> None:
        """out[t] = table[token_ids[t]]; int32 [T] -> float32 [T, H].

        A tied head is a Linear, quantized to int8 or not at all.
        """
        ...

    def rope_rows(self, cos_sin: Array, positions: Array, out: Array) -> None:
        """out[t] = cos_sin[positions[t]]; float32 [max_position, D] (cos, then sin: D/2 each)."""
        ...

    def norm_linear(
        self, x: Array, norm_weight: Array, eps: float, linear: Linear, out: Array
    ) -> None:
        """out = act(rms_norm(x) * norm_weight) @ W.T + bias; float32 [T, H] -> float32 [T, N].

        A quantized `linear` takes the normed row unrounded and quantizes it, here and below.
        """
        ...

    def qk_norm_rope_store(
        self,
        qkv: Array,
        q_norm: Array | None,
        k_norm: Array | None,
        eps: float,
        cos_sin: Array,
        slot_mapping: Array,
        kv: KVLayer,
        q_out: Array,
    ) -> None:
        """Split qkv, normalise q and k per head, rotate them, store k and v, scale q.

        qkv float32 [T, (Hq + 2 Hkv) D]; q_norm, k_norm float32 [D] or None; cos_sin float32
        [T, D] from `rope_rows`; slot_mapping int32 [T]: block * block_size + offset. q_out act
        [T, Hq, D] is multiplied by D ** -0.5. Writing the first slot of a block also clears the
        block's other value slots, so stale numbers never meet a zero weight. A cache of int8
        quantizes keys and values from float32; there a weight of zero makes any slot vanish.
        """
        ...

    def attention(
        self,
        q: Array,
        kv: KVLayer,
        block_tables: Array,
        seq_lens: Array,
        query_start_loc: Array,
        sliding_window: int,
        out: Array,
    ) -> None:
        """Causal attention of each query over its sequence's cached keys.

        q act [T, Hq, D], already scaled; block_tables int32 [S, max_blocks]; seq_lens int32 [S],
        keys cached including this step's; query_start_loc int32 [S + 1]: sequence s owns queries
        [loc[s], loc[s+1]), the last of which sits at position seq_lens[s] - 1. sliding_window
        w > 0: a query at p sees keys in (p - w, p]; 0: all. out act [T, Hq * D]. Over a cache of
        int8 queries and weights are quantized too: `reference_attention.attend_quantized`.
        """
        ...

    def linear_add(self, x: Array, linear: Linear, residual: Array) -> None:
        """residual += x @ W.T + bias; act [T, K], float32 [T, N]."""
        ...

    def norm_gated_linear(
        self,
        x: Array,
        norm_weight: Array,
        eps: float,
        linear: Linear,
        activation: str,
        out: Array,
    ) -> None:
        """out = activation(gate(n)) * up(n), n = act(rms_norm(x) * norm_weight); act [T, I]."""
        ...

    def logits(
        self, x: Array, rows: Array, norm_weight: Array, eps: float, linear: Linear, out: Array
    ) -> None:
        """out[r] = act(rms_norm(x[rows[r]]) * norm_weight) @ W.T; int32 [R] -> float32 [R, V]."""
        ...

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
        """Choose one token per row.

        logits float32 [R, V], already edited, left unchanged; temperature (0: greedy, lowest id
        wins a tie), top_p, min_p float32 [R]; top_k int32 [R], 0 for all. Order as in vLLM:
        temperature, then min_p, top_k, top_p. seeds and counters uint32 [R, 2] and [R]: the
        counter-based generator's key and the position of the output token, so a draw depends on
        nothing else. token_ids int32 [R] is written: -1 for a row that holds a NaN, +inf or
        nothing but -inf. `reference_sampling.py` defines the draw bit for bit.
        """
        ...

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
        """Apply penalties and biases to the listed tokens of each row, in place, at once.

        Row r owns entries [loc[r], loc[r+1]) of edit_ids int32, unique within the row;
        edit_counts int32: occurrences in the output; edit_in_prompt uint8: occurs in the prompt;
        edit_bias float32: added last, -inf bans. repetition, presence, frequency float32 [R].
        """
        ...

    def keep_only(self, logits: Array, row: int, allowed_ids: Array) -> None:
        """Set all logits of one row to -inf except those of `allowed_ids` int32 [n]; at once."""
        ...

    def logprobs(
        self,
        logits: Array,
        token_ids: Array,
        num_top: int,
        out_ids: Array,
        out_logprobs: Array,
        out_ranks: Array,
    ) -> None:
        """Log-softmax of each row at the chosen token and at the `num_top` most likely; at once.

        logits float32 [R, V]; token_ids int32 [R]. out_ids int32, out_logprobs float32 and
        out_ranks int32, each [R, 1 + num_top]: the chosen token first, then the most likely in
        order (ties: lowest id). Ranks count from 1. A row that `sample` answers with -1 gives
        NaN, rank 0 and ids -1 (the chosen id is kept); so does a chosen id outside the row.
        """
        ...

    # --- programs --------------------------------------------------------------------------

    def record(self) -> AbstractContextManager[Program]:
        """Collect the operations called inside instead of executing them."""
        ...

    def run(self, program: Program) -> None:
        """Execute a recorded program and wait until its results are visible."""
        ...

    def close(self) -> None:
        """Release threads and device memory; idempotent."""
        ...


@runtime_checkable
class ObservableKernels(Protocol):
    """A backend that can time its entries one by one, for profiles."""

    def observe_runs(self, observer: RunObserver | None) -> None:
        """Time every entry from now on and call `observer` after each run; None: no longer.

        `observer` runs on the thread that ran the program. Unobserved runs read no clock.
        """
        ...
