"""Loading weights: which tensors must be there, and what becomes of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lite.errors import CheckpointError
from lite.formats.checkpoint import open_checkpoint
from lite.formats.safetensors import SafetensorsFile
from lite.models import declare
from lite.models.decoder import Workspace, workspace_nbytes
from lite.models.parts import LinearPart, Quantization, model_parts
from lite.models.weights import (
    Weights,
    is_tied,
    load_weights,
    tensor_shapes,
    weights_nbytes,
)
from lite_kernels.cpu import CpuKernels
from lite_kernels.reference import ReferenceKernels
from tests import checkpoints
from tests.checkpoints import make_checkpoint, make_config, make_tensors, write_safetensors

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


def load(path: Path, dtype: str = "float32") -> Weights:
    with open_checkpoint(path) as checkpoint:
        return load_weights(declare(checkpoint.config), checkpoint, ReferenceKernels(dtype=dtype))


def rewrite(path: Path, architecture: str, change: Any, **config: Any) -> None:
    """Write a checkpoint whose tensors `change` edits in place."""
    make_checkpoint(path, architecture, tokenizer=False, **config)
    tensors = make_tensors(make_config(architecture, **config))
    change(tensors)
    write_safetensors(path / "model.safetensors", tensors)


@pytest.mark.parametrize("architecture", checkpoints.ARCHITECTURES)
@pytest.mark.parametrize("biases", [False, True])
def test_declared_shapes_are_those_hugging_face_saves(architecture: str, biases: bool) -> None:
    config = make_config(architecture, attention_bias=biases, mlp_bias=biases, head_dim=80)
    assert tensor_shapes(declare(config)) == dict(checkpoints.tensor_shapes(config))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_stored_type_loads_to_the_same_values(tmp_path: Path, dtype: str) -> None:
    make_checkpoint(tmp_path, dtype=dtype, tokenizer=False)
    weights = load(tmp_path)
    expected = make_tensors(make_config(dtype=dtype), dtype="float32")["model.norm.weight"]
    rounding = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}[dtype]
    assert np.abs(weights.final_norm - expected).max() <= rounding * np.abs(expected).max()


def test_nothing_holds_the_files_after_loading(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, dtype="float32", tokenizer=False)
    weights = load(tmp_path)
    before = weights.final_norm.copy()
    for file in tmp_path.iterdir():
        file.write_bytes(b"\0" * file.stat().st_size)
    maps = Path("/proc/self/maps").read_text()
    assert str(tmp_path) not in maps
    assert np.array_equal(weights.final_norm, before)


def test_a_tied_head_is_the_embedding(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "qwen3", tie_word_embeddings=True, tokenizer=False)
    weights = load(tmp_path)
    assert weights.head is weights.embedding


def test_an_untied_head_is_its_own(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "qwen3", tie_word_embeddings=False, tokenizer=False)
    weights = load(tmp_path)
    assert weights.head is not weights.embedding


@pytest.mark.parametrize("equal", [True, False])
def test_a_head_stored_beside_a_tied_embedding_is_used_when_it_differs(
    tmp_path: Path, equal: bool
) -> None:
    def add_head(tensors: Any) -> None:
        head = tensors["model.embed_tokens.weight"].copy()
        if not equal:
            head[-1, -1] ^= 0x8000
        tensors["lm_head.weight"] = head

    rewrite(tmp_path, "qwen3", add_head, tie_word_embeddings=True)
    weights = load(tmp_path)
    assert (weights.head is weights.embedding) == equal


def test_rotary_buffers_of_old_exports_are_ignored(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(tmp_path, "llama", lambda t: t.update({name: np.ones(32, np.float32)}))
    load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(Q_PROJ), rf"tensor '{Q_PROJ}' of shape \(256, 64\) is missing"),
        (lambda t: t.pop("lm_head.weight"), "tensor 'lm_head.weight'.* is missing"),
        (
            lambda t: [t.pop(name) for name in list(t) if ".layers.1." in name],
            r"is missing \(and 8 more\)",
        ),
        (
            lambda t: t.update({Q_PROJ: t[Q_PROJ][:-1]}),
            rf"model.safetensors: tensor '{Q_PROJ}' has shape \(255, 64\), expected \(256, 64\)",
        ),
        (
            lambda t: t.update({"model.norm.weight": t["model.norm.weight"][None]}),
            r"tensor 'model.norm.weight' has shape \(1, 64\), expected \(64,\)",
        ),
        (
            lambda t: t.update({Q_PROJ.replace("weight", "bias"): np.ones(256, np.float32)}),
            "model.safetensors: tensor 'model.layers.1.self_attn.q_proj.bias' is not part of",
        ),
        (
            lambda t: t.update({"model.layers.2.mlp.up_proj.weight": np.ones(4, np.float32)}),
            "'model.layers.2.mlp.up_proj.weight' is not part of LlamaForCausalLM",
        ),
    ],
)
def test_tensors_that_do_not_fit_the_config_are_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    rewrite(tmp_path, "llama", change)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_a_tensor_of_another_type_is_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, tokenizer=False)
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"BF16"', b'"I16" ', 1))
    name = next(n for n, e in SafetensorsFile(path).entries.items() if e.dtype == "I16")
    with pytest.raises(CheckpointError, match=rf"'{name}' has dtype I16, expected one of F32"):
        load(tmp_path)


def test_the_rope_table_covers_the_context(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, tokenizer=False, max_position_embeddings=77)
    assert load(tmp_path).cos_sin.shape == (77, 64)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_planned_workspace_is_the_allocated_one(dtype: str) -> None:
    decoder, kernels = declare(make_config("qwen2")), ReferenceKernels(dtype=dtype)
    workspace = Workspace.allocate(decoder, kernels, max_num_tokens=24)
    assert workspace.nbytes == workspace_nbytes(decoder, kernels, max_num_tokens=24)


@pytest.mark.parametrize("quantization", [None, "int8", "int4"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", checkpoints.ARCHITECTURES)
def test_the_planned_weights_are_the_loaded_ones(
    tmp_path: Path, architecture: str, dtype: str, quantization: Quantization | None
) -> None:
    make_checkpoint(tmp_path, architecture, tokenizer=False, intermediate_size=150, mlp_bias=True)
    kernels = CpuKernels(dtype=dtype, num_threads=1)
    with open_checkpoint(tmp_path) as checkpoint:
        decoder = declare(checkpoint.config)
        tied = is_tied(decoder, checkpoint)
        weights = load_weights(decoder, checkpoint, kernels, quantization=quantization)
    parts = model_parts(decoder, tied=tied, quantization=quantization)
    planned = weights_nbytes(decoder, parts, kernels)
    kernels.close()
    # Biases are planned without what fills their last panel.
    num_biases = sum(isinstance(part, LinearPart) and part.num_biases > 0 for part in parts)
    assert planned <= weights.nbytes <= planned + num_biases * 256


@pytest.mark.parametrize("backend", [ReferenceKernels, CpuKernels])
def test_the_vocabulary_keeps_eight_bits(tmp_path: Path, backend: Any) -> None:
    """A table of int4 would round its own rows: its error is that of int8."""
    make_checkpoint(tmp_path, "llama", dtype="float32", tokenizer=False)
    kernels = backend(dtype="float32")
    with open_checkpoint(tmp_path) as checkpoint:
        decoder = declare(checkpoint.config)
        weights = load_weights(decoder, checkpoint, kernels, quantization="int4")
    assert weights.embedding is not weights.head
    token_ids = np.arange(decoder.vocab_size, dtype=np.int32)
    out = np.empty((decoder.vocab_size, decoder.hidden_size), np.float32)
    kernels.embed(token_ids, weights.embedding, out)
    kernels.close()
    table = make_tensors(make_config("llama"), dtype="float32")["model.embed_tokens.weight"]
    assert np.abs(out - table).max() <= np.abs(table).max() / 127
    assert not np.array_equal(out, table)


def test_counted_bytes_grow_with_every_part(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, tokenizer=False)
    weights = load(tmp_path)
    parts = [weights.embedding, weights.final_norm, weights.cos_sin]
    for layer in weights.layers:
        parts += [layer.attention_norm, layer.qkv, layer.q_norm, layer.k_norm]
        parts += [layer.output, layer.mlp_norm, layer.gate_up, layer.down]
    assert weights.nbytes == sum(part.nbytes for part in parts)
