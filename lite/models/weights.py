"""From a checkpoint's tensors to packed weights: names, shapes, checks, fusion."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lite.errors import CheckpointError
from lite.formats.checkpoint import Checkpoint
from lite.models.rope import cos_sin_table
from lite.models.spec import Decoder
from lite_kernels.dtypes import to_float32
from lite_kernels.interface import Array, Kernels, Linear

# Buffers that older exports saved; they follow from the configuration.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".self_attn.masked_bias")
_COMPARED_ROWS = 4096  # at once, so that comparing two heads takes little memory


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


def load_weights(decoder: Decoder, checkpoint: Checkpoint, kernels: Kernels) -> Weights:
    """Check all tensors, then pack them for `kernels`.

    The checkpoint may be closed afterwards. The rope table covers `decoder.max_model_len`
    positions; replace that field by the length actually served to keep it small.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of the wrong shape or type.
    """
    check_tensors(decoder, checkpoint)
    loader = _Loader(decoder, checkpoint, kernels)
    layers = tuple(loader.layer(i) for i in range(decoder.num_layers))
    names, tensors = decoder.weight_names, checkpoint.tensors
    head_name = names["embedding"] if _is_tied(decoder, checkpoint) else names["head"]
    head = loader.count(kernels.pack_linear([tensors[head_name]]))
    embedding: Array | Linear = head
    if head_name != names["embedding"]:
        embedding = loader.count(kernels.pack_embedding(tensors[names["embedding"]]))
    attention = decoder.attention
    table = cos_sin_table(attention.rope, attention.head_dim, decoder.max_model_len)
    return Weights(
        embedding=embedding,
        layers=layers,
        final_norm=loader.vector(names["final_norm"]),
        head=head,
        cos_sin=loader.upload(table),
        nbytes=loader.nbytes,
    )


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


def _is_tied(decoder: Decoder, checkpoint: Checkpoint) -> bool:
    """Tell whether the head is the embedding.

    As in transformers, a head that is present and differs is used in spite of
    `tie_word_embeddings`.
    """
    tensors, names = checkpoint.tensors, decoder.weight_names
    if not decoder.tie_word_embeddings or names["head"] not in tensors:
        return decoder.tie_word_embeddings
    head, embedding = tensors[names["head"]], tensors[names["embedding"]]
    return head.dtype == embedding.dtype and all(
        np.array_equal(head[i : i + _COMPARED_ROWS], embedding[i : i + _COMPARED_ROWS])
        for i in range(0, len(head), _COMPARED_ROWS)
    )


class _Loader:
    """Packs tensors by their key in `weight_names` and counts the bytes."""

    def __init__(self, decoder: Decoder, checkpoint: Checkpoint, kernels: Kernels) -> None:
        self.decoder = decoder
        self.tensors = checkpoint.tensors
        self.kernels = kernels
        self.nbytes = 0

    def layer(self, i: int) -> LayerWeights:
        attention, mlp = self.decoder.attention, self.decoder.mlp
        names = {key: name.format(i=i) for key, name in self.decoder.weight_names.items()}
        qkv = [names["layer.q"], names["layer.k"], names["layer.v"]]
        gate, up = names["layer.gate"], names["layer.up"]
        return LayerWeights(
            attention_norm=self.vector(names["layer.attention_norm"]),
            qkv=self.linear(qkv, bias=attention.qkv_bias),
            q_norm=self.vector(names["layer.q_norm"]) if attention.qk_norm else None,
            k_norm=self.vector(names["layer.k_norm"]) if attention.qk_norm else None,
            output=self.linear([names["layer.output"]], bias=attention.output_bias),
            mlp_norm=self.vector(names["layer.mlp_norm"]),
            gate_up=self.count(
                self.kernels.pack_gated_linear(
                    self.tensors[f"{gate}.weight"],
                    self.tensors[f"{up}.weight"],
                    (self.bias(gate, mlp.bias), self.bias(up, mlp.bias)),
                )
            ),
            down=self.linear([names["layer.down"]], bias=mlp.bias),
        )

    def linear(self, names: list[str], *, bias: bool) -> Linear:
        weights = [self.tensors[f"{name}.weight"] for name in names]
        biases = [self.bias(name, bias) for name in names]
        packed: Linear = self.count(self.kernels.pack_linear(weights, biases))
        return packed

    def bias(self, name: str, present: bool) -> Array | None:
        return self.tensors[f"{name}.bias"] if present else None

    def vector(self, name: str) -> Array:
        return self.upload(to_float32(self.tensors[name]))

    def upload(self, values: Array) -> Array:
        out = self.kernels.empty(values.shape, "float32")
        out[...] = values
        return self.count(out)

    def count(self, packed: Any) -> Any:
        self.nbytes += packed.nbytes
        return packed
