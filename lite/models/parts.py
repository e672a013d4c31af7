"""The parts that a model's weights are packed into: names, sources, sizes. Reads no tensor."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lite.models.spec import Decoder
from lite_kernels.interface import Kernels

Quantization: TypeAlias = Literal["int8", "int4"]

EMBEDDING, HEAD, FINAL_NORM = "embedding", "head", "final_norm"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearPart:
    """Projections of one input, packed together; `is_gated`: gate and up."""

    name: str
    weights: tuple[str, ...]  # tensors [N_i, K], stacked along N
    biases: tuple[str | None, ...]
    out_features: int  # the sum of N_i; of a gated pair the size of each
    in_features: int
    quantization: Quantization | None
    is_gated: bool = False

    @property
    def tensors(self) -> tuple[str, ...]:
        return (*self.weights, *(name for name in self.biases if name is not None))

    @property
    def num_weights(self) -> int:
        return self.out_features * self.in_features * (2 if self.is_gated else 1)

    def nbytes(self, kernels: Kernels) -> int:
        """Return what the packed weights take, biases aside."""
        return kernels.linear_nbytes(
            self.out_features, self.in_features, self.quantization, gated=self.is_gated
        )

    @property
    def num_biases(self) -> int:
        if all(name is None for name in self.biases):
            return 0
        return self.out_features * (2 if self.is_gated else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePart:
    """An embedding [V, H] of its own, in the kernels' dtype."""

    name: str
    tensor: str
    shape: tuple[int, int]

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.tensor,)

    @property
    def num_weights(self) -> int:
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPart:
    """The weights of a norm, float32 [size]."""

    name: str
    tensor: str
    size: int

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.tensor,)

    @property
    def num_weights(self) -> int:
        return self.size


Part: TypeAlias = LinearPart | TablePart | VectorPart


def model_parts(
    decoder: Decoder, *, tied: bool, quantization: Quantization | None
) -> tuple[Part, ...]:
    """Return the parts of a model in the order in which they are packed.

    The largest, head and embedding, come first: what their packing takes beside them is then
    free again for the layers. They keep 8 bits where the layers have 4.
    """
    return (
        *_vocabulary_parts(decoder, tied, quantization),
        *(
            part
            for i in range(decoder.num_layers)
            for part in _layer_parts(decoder, i, quantization)
        ),
        VectorPart(
            name=FINAL_NORM, tensor=decoder.weight_names["final_norm"], size=decoder.hidden_size
        ),
    )


def _vocabulary_parts(
    decoder: Decoder, tied: bool, quantization: Quantization | None
) -> Iterator[Part]:
    names, shape = decoder.weight_names, (decoder.vocab_size, decoder.hidden_size)

    def linear(name: str, tensor: str) -> LinearPart:
        return LinearPart(
            name=name,
            weights=(tensor,),
            biases=(None,),
            out_features=shape[0],
            in_features=shape[1],
            quantization=None if quantization is None else "int8",
        )

    yield linear(HEAD, names["embedding" if tied else "head"])
    if tied:
        return
    if quantization is None:
        yield TablePart(name=EMBEDDING, tensor=names["embedding"], shape=shape)
    else:
        yield linear(EMBEDDING, names["embedding"])


def _layer_parts(
    decoder: Decoder, i: int, quantization: Quantization | None
) -> Iterator[LinearPart | VectorPart]:
    attention, mlp, hidden = decoder.attention, decoder.mlp, decoder.hidden_size
    names = {key: name.format(i=i) for key, name in decoder.weight_names.items()}
    width = attention.num_heads * attention.head_dim
    kv_width = attention.num_kv_heads * attention.head_dim

    def linear(key: str, slots: str, rows: int, columns: int, bias: bool) -> LinearPart:
        sources = [names[f"layer.{slot}"] for slot in slots.split()]
        return LinearPart(
            name=layer_part(i, key),
            weights=tuple(f"{source}.weight" for source in sources),
            biases=tuple(f"{source}.bias" if bias else None for source in sources),
            out_features=rows,
            in_features=columns,
            quantization=quantization,
            is_gated=key == "gate_up",
        )

    def vector(key: str, size: int) -> VectorPart:
        return VectorPart(name=layer_part(i, key), tensor=names[f"layer.{key}"], size=size)

    yield vector("attention_norm", hidden)
    yield linear("qkv", "q k v", width + 2 * kv_width, hidden, attention.qkv_bias)
    if attention.qk_norm:
        yield vector("q_norm", attention.head_dim)
        yield vector("k_norm", attention.head_dim)
    yield linear("output", "output", hidden, width, attention.output_bias)
    yield vector("mlp_norm", hidden)
    yield linear("gate_up", "gate up", mlp.intermediate_size, hidden, mlp.bias)
    yield linear("down", "down", hidden, mlp.intermediate_size, mlp.bias)


def layer_part(i: int, key: str) -> str:
    """Return the name of a part of layer `i`; `key` is a field of `LayerWeights`."""
    return f"layers.{i}.{key}"
