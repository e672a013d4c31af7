"""The memory that loading takes, and the memory plan's figure, on a checkpoint of 276 MB."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lite.formats.checkpoint import open_checkpoint
from lite.formats.safetensors_writer import SafetensorsWriter
from tests.checkpoints import make_config

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
CONFIG = make_config(
    hidden_size=1024, intermediate_size=3072, num_hidden_layers=8, num_attention_heads=16,
    num_key_value_heads=8, head_dim=64, vocab_size=32_000, max_position_embeddings=256,
)  # fmt: skip
# Loading in a process of its own, after a first load that compiles everything.
LOAD = """
import json, re, sys
from pathlib import Path
from lite.config import Config, EngineConfig, ModelConfig
from lite.engine.loading import load_model

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10

def load(model):
    config = ModelConfig(model=model, quantization=quantization, load_format=load_format)
    engine = EngineConfig(num_threads=2, num_kv_blocks=16)
    return load_model(Config(model=config, engine=engine))

quantization = json.loads(sys.argv[3])
load_format = "dummy"
load(sys.argv[1]).kernels.close()
load_format = "auto"
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
model = load(sys.argv[2])
figures = {"peak": status("VmHWM") - before, "after": status("VmRSS") - before}
print(json.dumps(figures | {"weights": model.weights.nbytes, "plan": model.plan.weights_bytes}))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large")
    (path / "config.json").write_text(json.dumps(CONFIG))
    with open_checkpoint(path, "dummy") as dummy:
        names = list(dummy.tensors)
        with SafetensorsWriter(path / "model.safetensors", names) as writer:
            for name in names:
                writer.add(name, dummy.tensors[name])
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    (path / "config.json").write_text(json.dumps(make_config()))
    return path


@pytest.mark.parametrize("quantization", ["int8", "int4", None])
def test_loading_takes_the_packed_size_and_one_layer(
    checkpoint: Path, tiny: Path, quantization: str | None
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tiny, checkpoint, json.dumps(quantization)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    figures = json.loads(done.stdout)
    file_bytes = (checkpoint / "model.safetensors").stat().st_size
    layer_bytes = 2 * (1024 * (2048 + 1024) + 3 * 1024 * 3072)
    assert figures["weights"] == figures["plan"]
    assert figures["after"] <= figures["weights"] + 8 * MIB
    assert figures["peak"] <= figures["weights"] + layer_bytes + 8 * MIB
    if quantization is not None:
        assert figures["peak"] < 0.75 * file_bytes
