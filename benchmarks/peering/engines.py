"""Which engines are measured: their weights, their environments and what they are told."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT
from lite_kernels.cpu.topology import one_per_core

RUNNERS = Path(__file__).resolve().parent / "runners"
OURS = "lite"
GIB = 1 << 30
# A server's libraries that vLLM's documentation asks to preload for its CPU backend.
_TCMALLOC = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What every engine is loaded for."""

    num_threads: int
    max_model_len: int
    max_num_seqs: int
    # Prompts of the widest case fit one step, so that all sequences decode together.
    max_num_batched_tokens: int
    kv_cache_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine with one format of weights."""

    name: str
    family: str
    weights: str  # "16-bit", "8-bit" or "4-bit": what it is compared with
    environment: str
    runner: str
    needs: str  # file or folder beside the checkpoint
    arguments: Callable[[Path, Limits], dict[str, Any]]
    variables: Callable[[Path, Limits], dict[str, str]] = field(default=lambda scratch, limits: {})

    def python(self, scratch: Path) -> Path:
        """Return the interpreter of the engine's environment."""
        return interpreter(self.environment, scratch)


def interpreter(environment: str, scratch: Path) -> Path:
    """Return an environment's Python; our own engine runs in the one that runs this."""
    import sys

    if environment == OURS:
        return Path(sys.executable)
    return scratch / environment / "bin" / "python"


def thread_variables(num_threads: int) -> dict[str, str]:
    """Return the variables that set the number of threads of the usual libraries."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict.fromkeys(names, str(num_threads))


def offline_variables() -> dict[str, str]:
    """Return variables that keep peers from looking anything up on the network."""
    return {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def vllm_variables(scratch: Path, limits: Limits) -> dict[str, str]:
    """Return what vLLM's CPU backend reads from the environment."""
    variables = {
        "VLLM_CPU_KVCACHE_SPACE": str(-(-limits.kv_cache_bytes // GIB)),
        # In the process that is paused and whose memory is measured.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    return variables | vllm_process_variables(scratch, limits.num_threads)


def vllm_process_variables(scratch: Path, num_threads: int) -> dict[str, str]:
    """Return what any process of vLLM needs: its cores, its cache, its libraries.

    LD_PRELOAD names the libraries that its documentation recommends, as far as they are there.
    """
    cpus = sorted(os.sched_getaffinity(0))
    first = one_per_core(cpus)
    cores = [*first, *(cpu for cpu in cpus if cpu not in first)][:num_threads]
    environment = scratch / "vllm"
    found = [str(path) for path in environment.glob("lib/libiomp5.so")]
    for folder in (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), environment / "lib"):
        found += [str(folder / name) for name in _TCMALLOC if (folder / name).exists()][:1]
    variables = {
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "VLLM_CACHE_ROOT": str(scratch / "vllm-cache"),
    }
    return variables | ({"LD_PRELOAD": ":".join(found)} if found else {})


def _lite(
    quantization: str | None, weights: str, name: str, kv_cache_dtype: str = "auto"
) -> Engine:
    def arguments(model: Path, limits: Limits) -> dict[str, Any]:
        return {
            "checkpoint": str(model / "checkpoint"),
            "num_threads": limits.num_threads,
            "quantization": quantization,
            "kv_cache_dtype": kv_cache_dtype,
            "max_model_len": limits.max_model_len,
            "max_num_seqs": limits.max_num_seqs,
        }

    return Engine(
        name=f"{OURS} {name}",
        family=OURS,
        weights=weights,
        environment=OURS,
        runner="lite_runner.py",
        needs="checkpoint",
        arguments=arguments,
        variables=lambda scratch, limits: {"PYTHONPATH": str(ROOT)},
    )


def _llama(name: str, weights: str) -> Engine:
    def arguments(model: Path, limits: Limits) -> dict[str, Any]:
        return {
            "gguf": str(model / f"{name}.gguf"),
            "num_threads": limits.num_threads,
            "max_model_len": limits.max_model_len,
            "max_num_seqs": limits.max_num_seqs,
        }

    return Engine(
        name=f"llama.cpp {name}",
        family="llama.cpp",
        weights=weights,
        environment="llama",
        runner="llama_runner.py",
        needs=f"{name}.gguf",
        arguments=arguments,
        variables=lambda scratch, limits: llama_variables(scratch),
    )


def llama_variables(scratch: Path) -> dict[str, str]:
    """Return where llama-cpp-python finds the library."""
    return {"LLAMA_CPP_LIB_PATH": str(scratch / "llama" / "build" / "bin")}


def _openvino(name: str, weights: str) -> Engine:
    def arguments(model: Path, limits: Limits) -> dict[str, Any]:
        return {
            "directory": str(model / f"openvino-{name}"),
            "num_threads": limits.num_threads,
            "max_model_len": limits.max_model_len,
            "max_num_seqs": limits.max_num_seqs,
            "max_num_batched_tokens": limits.max_num_batched_tokens,
        }

    return Engine(
        name=f"OpenVINO {name}",
        family="OpenVINO",
        weights=weights,
        environment="ov",
        runner="openvino_runner.py",
        needs=f"openvino-{name}",
        arguments=arguments,
    )


def _vllm() -> Engine:
    def arguments(model: Path, limits: Limits) -> dict[str, Any]:
        return {
            "checkpoint": str(model / "checkpoint"),
            "max_model_len": limits.max_model_len,
            "max_num_seqs": limits.max_num_seqs,
            "max_num_batched_tokens": limits.max_num_batched_tokens,
            "kv_cache_bytes": -(-limits.kv_cache_bytes // GIB) * GIB,
        }

    return Engine(
        name="vLLM BF16",
        family="vLLM",
        weights="16-bit",
        environment="vllm",
        runner="vllm_runner.py",
        needs="checkpoint",
        arguments=arguments,
        variables=vllm_variables,
    )


def _transformers() -> Engine:
    def arguments(model: Path, limits: Limits) -> dict[str, Any]:
        return {
            "checkpoint": str(model / "checkpoint"),
            "num_threads": limits.num_threads,
            "max_model_len": limits.max_model_len,
            "max_num_seqs": limits.max_num_seqs,
        }

    return Engine(
        name="transformers BF16",
        family="transformers",
        weights="16-bit",
        environment="torch",
        runner="transformers_runner.py",
        needs="checkpoint",
        arguments=arguments,
    )


ENGINES: tuple[Engine, ...] = (
    _lite(None, "16-bit", "bf16"),
    _lite("int8", "8-bit", "int8"),
    _lite("int4", "4-bit", "int4"),
    _lite("int8", "8-bit", "int8, int8 KV", "int8"),
    _lite("int4", "4-bit", "int4, int8 KV", "int8"),
    _llama("BF16", "16-bit"),
    _llama("Q8_0", "8-bit"),
    _llama("Q4_0", "4-bit"),
    _openvino("fp16", "16-bit"),
    _openvino("int8", "8-bit"),
    _openvino("int4", "4-bit"),
    _vllm(),
    _transformers(),
)
BY_NAME: Mapping[str, Engine] = {engine.name: engine for engine in ENGINES}


def missing(engine: Engine, scratch: Path, model: Path) -> str | None:
    """Return why an engine cannot be measured, None if nothing that it needs is missing."""
    python = engine.python(scratch)
    if not python.exists() and shutil.which(str(python)) is None:
        return f"no environment {python.parent.parent}; run `setup`"
    if not (model / engine.needs).exists():
        return f"no {model / engine.needs}; run `setup`"
    return None
