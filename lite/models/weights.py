"""From a checkpoint's tensors to packed weights: names, shapes, checks, fusion."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from lite.errors import CheckpointError
from lite.formats.checkpoint import Checkpoint, Tensors
from lite.models.parts import (
    EMBEDDING,
    FINAL_NORM,
    HEAD,
    LinearPart,
    Part,
    Quantization,
    TablePart,
    layer_part,
    model_parts,
)
from lite.models.rope import cos_sin_table
from lite.models.spec import Decoder
from lite_kernels.dtypes import to_float32
from lite_kernels.interface import Array, Kernels, Linear

# Buffers that older exports saved; they follow from the configuration.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".self_attn.masked_bias")
_COMPARED_ROWS = 4096  # at once, so that comparing two heads takes little memory

Packed: TypeAlias = Mapping[str, Any]  # the content of each part by its name: Array or Linear
Progress: TypeAlias = Callable[[int], object]  # takes the number of weights that were packed


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Weights of one decoder layer."""

    attention_norm: Array  # float32 [H]
    qkv: Linear  # [(Hq + 2 Hkv) D, H]
    q_norm: Array | None  # float32 [D]
    k_norm: Array | None
    output: Linear  # [H, Hq D]
    mlp_norm: Array  # float32 [H]
    gate_up: Linear  # [2 I, H]
    down: Linear  # [H, I]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Everything `forward` and `compute_logits` read besides their inputs."""

    embedding: Array | Linear  # [V, H]; the head itself when tied
    layers: tuple[LayerWeights, ...]
    final_norm: Array  # float32 [H]
    head: Linear  # [V, H]
    cos_sin: Array  # float32 [max_model_len, D]
    nbytes: int


def tensor_shapes(decoder: Decoder) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor the decoder needs."""
    return dict(_tensor_shapes(decoder))


def _tensor_shapes(decoder: Decoder) -> Iterator[tuple[str, tuple[int, ...]]]:
    attention, mlp, names = decoder.attention, decoder.mlp, decoder.weight_names
    hidden, inner = decoder.hidden_size, decoder.mlp.intermediate_size
    query_width = attention.num_heads * attention.head_dim
    kv_width = attention.num_kv_heads * attention.head_dim
    linears = (
        ("layer.q", query_width, hidden, attention.qkv_bias),
        ("layer.k", kv_width, hidden, attention.qkv_bias),
        ("layer.v", kv_width, hidden, attention.qkv_bias),
        ("layer.output", hidden, query_width, attention.output_bias),
        ("layer.gate", inner, hidden, mlp.bias),
        ("layer.up", inner, hidden, mlp.bias),
        ("layer.down", hidden, inner, mlp.bias),
    )
    norms = [("layer.attention_norm", hidden), ("layer.mlp_norm", hidden)]
    if attention.qk_norm:
        norms += [("layer.q_norm", attention.head_dim), ("layer.k_norm", attention.head_dim)]

    yield names["embedding"], (decoder.vocab_size, hidden)
    for i in range(decoder.num_layers):
        for key, size in norms:
            yield names[key].format(i=i), (size,)
        for key, rows, columns, bias in linears:
            name = names[key].format(i=i)
            yield f"{name}.weight", (rows, columns)
            if bias:
                yield f"{name}.bias", (rows,)
    yield names["final_norm"], (hidden,)
    if not decoder.tie_word_embeddings:
        yield names["head"], (decoder.vocab_size, hidden)


def load_weights(
    decoder: Decoder,
    checkpoint: Checkpoint,
    kernels: Kernels,
    *,
    quantization: Quantization | None = None,
) -> Weights:
    """Check all tensors, then pack them for `kernels`, quantized if asked for.

    The checkpoint may be closed afterwards. The rope table covers `decoder.max_model_len`
    positions; replace that field by the length actually served to keep it small.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of the wrong shape or type.
    """
    check_tensors(decoder, checkpoint)
    parts = model_parts(decoder, tied=is_tied(decoder, checkpoint), quantization=quantization)
    return assemble(decoder, dict(pack_parts(parts, checkpoint.tensors, kernels)), kernels)


def pack_parts(
    parts: tuple[Part, ...],
    tensors: Tensors,
    kernels: Kernels,
    progress: Progress | None = None,
) -> Iterator[tuple[str, Array | Linear]]:
    """Yield the name and the content of each part, packed when asked for.

    A part's tensors are out of this process's memory again before the next one is read.
    """
    for part in parts:
        content = _pack(part, tensors, kernels)
        for name in part.tensors:
            tensors.release(name)
        yield part.name, content
        if progress is not None:
            progress(part.num_weights)


def _pack(part: Part, tensors: Tensors, kernels: Kernels) -> Array | Linear:
    if isinstance(part, TablePart):
        return kernels.pack_embedding(tensors[part.tensor])
    if not isinstance(part, LinearPart):
        return upload(to_float32(tensors[part.tensor]), kernels)
    weights = [tensors[name] for name in part.weights]
    biases = [None if name is None else tensors[name] for name in part.biases]
    if part.is_gated:
        return kernels.pack_gated_linear(
            weights[0], weights[1], (biases[0], biases[1]), quantization=part.quantization
        )
    return kernels.pack_linear(weights, biases, quantization=part.quantization)


def upload(values: Array, kernels: Kernels) -> Array:
    """Return float32 values as an array of the kernels'."""
    out = kernels.empty(values.shape, "float32")
    out[...] = values
    return out


def assemble(decoder: Decoder, packed: Packed, kernels: Kernels) -> Weights:
    """Return the weights made of all packed parts and the rope table."""
    attention = decoder.attention
    table = cos_sin_table(attention.rope, attention.head_dim, decoder.max_model_len)
    cos_sin = upload(table, kernels)
    # A part that the model lacks, such as the norm of queries, is None.
    layers: list[dict[str, Any]] = [
        {field.name: packed.get(layer_part(i, field.name)) for field in fields(LayerWeights)}
        for i in range(decoder.num_layers)
    ]
    return Weights(
        embedding=packed[EMBEDDING if EMBEDDING in packed else HEAD],
        layers=tuple(LayerWeights(**layer) for layer in layers),
        final_norm=packed[FINAL_NORM],
        head=packed[HEAD],
        cos_sin=cos_sin,
        nbytes=cos_sin.nbytes + sum(part.nbytes for part in packed.values()),
    )


def weights_nbytes(decoder: Decoder, parts: tuple[Part, ...], kernels: Kernels) -> int:
    """Return `Weights.nbytes` before anything is loaded, for planning memory."""
    rope = decoder.max_model_len * decoder.attention.head_dim * 4
    return rope + sum(part_nbytes(part, kernels) for part in parts)


def part_nbytes(part: Part, kernels: Kernels) -> int:
    """Return the bytes that a part takes once it is packed."""
    if isinstance(part, TablePart):
        return part.num_weights * (2 if kernels.dtype == "bfloat16" else 4)
    if not isinstance(part, LinearPart):
        return part.num_weights * 4
    return part.nbytes(kernels) + 4 * part.num_biases


def check_tensors(decoder: Decoder, checkpoint: Checkpoint) -> None:
    """Compare the checkpoint's tensors with those the decoder needs; reads headers only.

    Raises:
        CheckpointError: names the file, the tensor, and the expected and the found shape.
    """
    shapes, tensors = tensor_shapes(decoder), checkpoint.tensors
    head = decoder.weight_names["head"]
    optional = {head: (decoder.vocab_size, decoder.hidden_size)}
    missing = [name for name in shapes if name not in tensors]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.path}: tensor {missing[0]!r} of shape {shapes[missing[0]]} is missing"
            f"{more}; the files are incomplete or do not belong to this config.json"
        )
    for name in tensors:
        expected = shapes.get(name) or optional.get(name)
        if expected is None:
            if name.endswith(_IGNORED_SUFFIXES):
                continue
            raise CheckpointError(
                f"{tensors.file(name)}: tensor {name!r} is not part of {decoder.architecture} "
                "as config.json describes it; running without it would give wrong results"
            )
        found = tensors.shape(name)
        if found != expected:
            raise CheckpointError(
                f"{tensors.file(name)}: tensor {name!r} has shape {found}, expected {expected}"
            )
        tensors.check_dtype(name)


def is_tied(decoder: Decoder, checkpoint: Checkpoint) -> bool:
    """Tell whether the head is the embedding.

    As in transformers, a head that is present and differs is used in spite of
    `tie_word_embeddings`.
    """
    tensors, names = checkpoint.tensors, decoder.weight_names
    if not decoder.tie_word_embeddings or names["head"] not in tensors:
        return decoder.tie_word_embeddings
    head, embedding = tensors[names["head"]], tensors[names["embedding"]]
    equal = head.dtype == embedding.dtype and all(
        np.array_equal(head[i : i + _COMPARED_ROWS], embedding[i : i + _COMPARED_ROWS])
        for i in range(0, len(head), _COMPARED_ROWS)
    )
    tensors.release(names["head"])
    tensors.release(names["embedding"])
    return equal
