"""The one forward pass: every architecture is this, with other dataclasses in its slots."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lite.models.rope import dynamic_cos_sin
from lite.models.spec import Attention, Decoder, DynamicScaling
from lite.models.weights import Weights
from lite_kernels.interface import Array, Kernels, KVLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What a step computes in, for at most T = max_num_tokens tokens."""

    hidden: Array  # float32 [T, H]: the residual stream
    cos_sin: Array  # float32 [T, D]
    qkv: Array  # float32 [T, (Hq + 2 Hkv) D]
    queries: Array  # act [T, Hq, D]
    attended: Array  # act [T, Hq D]
    gated: Array  # act [T, I]

    @classmethod
    def allocate(cls, decoder: Decoder, kernels: Kernels, *, max_num_tokens: int) -> "Workspace":
        """Allocate for steps of up to `max_num_tokens` tokens."""
        return cls(
            **{
                name: kernels.empty((max_num_tokens, *shape), dtype)
                for name, (shape, dtype) in _workspace_shapes(decoder).items()
            }
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


def workspace_nbytes(decoder: Decoder, kernels: Kernels, *, max_num_tokens: int) -> int:
    """Return what `Workspace.allocate` would take, for planning memory."""
    sizes = {"float32": 4, "act": 2 if kernels.dtype == "bfloat16" else 4}
    return max_num_tokens * sum(
        int(np.prod(shape)) * sizes[dtype] for shape, dtype in _workspace_shapes(decoder).values()
    )


def _workspace_shapes(decoder: Decoder) -> dict[str, tuple[tuple[int, ...], str]]:
    attention = decoder.attention
    num_heads, head_dim = attention.num_heads, attention.head_dim
    return {
        "hidden": ((decoder.hidden_size,), "float32"),
        "cos_sin": ((head_dim,), "float32"),
        "qkv": (((num_heads + 2 * attention.num_kv_heads) * head_dim,), "float32"),
        "queries": ((num_heads, head_dim), "act"),
        "attended": ((num_heads * head_dim,), "act"),
        "gated": ((decoder.mlp.intermediate_size,), "act"),
    }


def forward(
    decoder: Decoder,
    weights: Weights,
    kernels: Kernels,
    *,
    token_ids: Array,
    positions: Array,
    slot_mapping: Array,
    block_tables: Array,
    seq_lens: Array,
    query_start_loc: Array,
    kv_cache: Sequence[KVLayer],
    workspace: Workspace,
) -> None:
    """Run all layers over the T tokens of a step; `workspace.hidden[:T]` is the result.

    token_ids, positions, slot_mapping int32 [T]; block_tables int32 [S, max_blocks]; seq_lens
    int32 [S]; query_start_loc int32 [S + 1]: as `Kernels.attention` defines them. Keys and
    values of the tokens are written to `kv_cache`, one entry per layer. May be recorded.

    With dynamic rope scaling `write_dynamic_rope` must have filled `workspace.cos_sin` before.
    """
    attention, mlp, eps = decoder.attention, decoder.mlp, decoder.norm_eps
    num_tokens = token_ids.shape[0]
    hidden = workspace.hidden[:num_tokens]  # [T, H]
    cos_sin = workspace.cos_sin[:num_tokens]  # [T, D]
    qkv = workspace.qkv[:num_tokens]  # [T, (Hq + 2 Hkv) D]
    queries = workspace.queries[:num_tokens]  # [T, Hq, D]
    attended = workspace.attended[:num_tokens]  # [T, Hq D]
    gated = workspace.gated[:num_tokens]  # [T, I]

    kernels.embed(token_ids, weights.embedding, hidden)
    if not isinstance(attention.rope.scaling, DynamicScaling):
        kernels.rope_rows(weights.cos_sin, positions, cos_sin)

    for i, (layer, kv) in enumerate(zip(weights.layers, kv_cache, strict=True)):
        kernels.norm_linear(hidden, layer.attention_norm, eps, layer.qkv, qkv)
        kernels.qk_norm_rope_store(
            qkv, layer.q_norm, layer.k_norm, eps, cos_sin, slot_mapping, kv, queries
        )
        kernels.attention(
            queries, kv, block_tables, seq_lens, query_start_loc, _window(attention, i), attended
        )
        kernels.linear_add(attended, layer.output, hidden)
        kernels.norm_gated_linear(hidden, layer.mlp_norm, eps, layer.gate_up, mlp.activation, gated)
        kernels.linear_add(gated, layer.down, hidden)


def _window(attention: Attention, layer: int) -> int:
    """Return the window of a layer as `Kernels.attention` wants it: 0 for none."""
    if attention.sliding_window is None or not attention.sliding_layers[layer]:
        return 0
    return attention.sliding_window


def compute_logits(
    decoder: Decoder, weights: Weights, kernels: Kernels, hidden: Array, rows: Array, out: Array
) -> None:
    """Write float32 logits [R, V] of the given rows (int32 [R]) of `hidden` [T, H] to `out`."""
    kernels.logits(hidden, rows, weights.final_norm, decoder.norm_eps, weights.head, out)


def write_dynamic_rope(
    decoder: Decoder,
    *,
    positions: np.ndarray[Any, np.dtype[np.int32]],
    query_start_loc: np.ndarray[Any, np.dtype[np.int32]],
    num_prompt_tokens: np.ndarray[Any, np.dtype[np.int32]],
    workspace: Workspace,
) -> None:
    """Fill `workspace.cos_sin[:T]` for a decoder with dynamic (NTK) rope scaling.

    The base at position p is that for max(num_prompt_tokens, p + 1) tokens, what Hugging Face's
    `generate` arrives at with one prefill and then one token at a time; so it depends neither
    on chunks nor on preemption. It does depend on the prompt's length: beyond the trained
    context, keys of a shared prefix differ between prompts of different lengths.

    positions int32 [T] and query_start_loc int32 [S + 1] as for `forward`, num_prompt_tokens
    int32 [S]; host arrays. Call before `forward`, or before running its recorded program.
    """
    prompt_lens = np.repeat(num_prompt_tokens, np.diff(query_start_loc))  # [T]
    lengths = np.maximum(prompt_lens, positions + 1)
    attention = decoder.attention
    rows = dynamic_cos_sin(attention.rope, attention.head_dim, positions, lengths)
    workspace.cos_sin[: len(positions)] = rows
