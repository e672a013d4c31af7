"""What a model runs is compiled before it is loaded; each case is a process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import make_checkpoint

RUN = """
import sys
from lite import LLM, SamplingParams
from lite_kernels.cpu.compile_ahead import needed_kernels
from lite_kernels.cpu.kernel import Kernel

model, dtype, weights, kv = sys.argv[1:]
sampling = SamplingParams(max_tokens=2, temperature=0.8, top_k=5, logprobs=1)
with LLM(model, dtype=dtype, quantization=weights, kv_cache_dtype=kv, num_kv_blocks=8) as llm:
    llm.generate("the cat", sampling, use_tqdm=False)
modules = [module for name, module in sys.modules.items() if name.startswith("lite_kernels.cpu")]
loaded = {
    value.__name__
    for module in modules
    for value in vars(module).values()
    if isinstance(value, Kernel) and value.is_loaded
}
needed = needed_kernels(
    dtype, None if weights == "none" else weights, None if kv == "auto" else kv
)
assert loaded <= {kernel.__name__ for kernel in needed}, (loaded, needed)
print(len(loaded))
"""


@pytest.mark.parametrize(
    ("dtype", "weights", "kv"),
    [("bfloat16", "none", "auto"), ("bfloat16", "int4", "int8"), ("float32", "int8", "int8")],
)
def test_every_kernel_that_runs_was_known_before(
    tmp_path: Path, dtype: str, weights: str, kv: str
) -> None:
    model = make_checkpoint(tmp_path / "model")
    command = [sys.executable, "-c", RUN, str(model), dtype, weights, kv]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8
