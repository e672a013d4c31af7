"""What `import lite` costs, and what it must not do."""

import json
import subprocess
import sys

import lite

_PROBE = """
import json, sys, time
calls = []
sys.addaudithook(lambda event, args: calls.append(event) if event.startswith("socket.") else None)
start = time.perf_counter()
import lite
seconds = time.perf_counter() - start
heavy = [name for name in ("numba", "zmq", "jinja2", "tokenizers", "falcon", "cupy", "torch")
         if name in sys.modules]
print(json.dumps([seconds, calls, heavy]))
"""


def probe() -> tuple[float, list[str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True
    )
    seconds, calls, heavy = json.loads(done.stdout)
    return seconds, calls, heavy


def test_import_is_quick_opens_no_socket_and_loads_nothing_heavy() -> None:
    probes = [probe() for _ in range(3)]  # the first may read cold files
    assert min(seconds for seconds, _, _ in probes) < 0.5
    assert probes[-1][1:] == ([], [])


def test_the_public_names_are_exported() -> None:
    assert {"LLM", "SamplingParams", "LiteError"} <= set(lite.__all__)
    assert [name for name in lite.__all__ if not hasattr(lite, name)] == []


def test_a_front_end_loads_no_kernels_and_no_compiler() -> None:
    code = (
        "import sys; import server.app, server.worker, lite.generator, lite.client.remote;"
        "from lite.config import ModelConfig; from lite.text_model import load_text_model;"
        "load_text_model(ModelConfig()).tokenizer.encode('a');"
        "print([n for n in sys.modules if n in ('numba', 'llvmlite', 'lite_kernels.cpu')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
