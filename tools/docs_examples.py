"""Run the examples of the documents: `python -m tools.docs_examples [--write]`.

An example is a block of Python or shell with a block of text after it: what it prints. A test runs
them all; `--write` puts what they print now into the documents.
"""

import argparse
import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "examples.md")
TIMEOUT_S = 120.0  # the first use may compile kernels

_LINES = r"(?:(?!```).*\n)*"
_EXAMPLE = re.compile(
    rf"^```(python|sh)\n({_LINES})```\n\n```text( varies)?\n({_LINES})```$", re.MULTILINE
)
# The environment of a run stands in for what these lines make.
_INSTALLATION = re.compile(r"python3 -m venv |\S*pip install ")
_CHANGES_EACH_TIME = re.compile(
    r'("id": ?"\w+-|"created": ?|"system_fingerprint": ?"|"cached_tokens": ?)\w+'
)
_PERCENTAGE = re.compile(r" *(\d+(?:\.\d+)?)(?= ?%)")
_PERCENT_TOLERANCE = 2.0  # instruction sets round differently


@dataclass(frozen=True, kw_only=True)
class Example:
    """A block of code and the output that the document shows."""

    document: Path
    line: int
    language: str
    code: str
    shown: str
    varies: bool  # drawn at random: another machine may print other words

    @property
    def place(self) -> str:
        return f"{self.document.name}:{self.line}"

    def agrees(self, printed: str) -> bool:
        """Whether the output is the one shown, or, where it varies, as long."""
        if self.varies:
            return printed.count("\n") == self.shown.count("\n")
        shown, now = (_CHANGES_EACH_TIME.sub(r"\1...", text) for text in (self.shown, printed))
        if _PERCENTAGE.sub("...", shown) != _PERCENTAGE.sub("...", now):
            return False
        pairs = zip(_PERCENTAGE.findall(shown), _PERCENTAGE.findall(now), strict=True)
        return all(abs(float(a) - float(b)) <= _PERCENT_TOLERANCE for a, b in pairs)

    def difference(self, printed: str) -> str:
        """Return both outputs as a diff."""
        lines = (text.splitlines(keepends=True) for text in (self.shown, printed))
        return "".join(difflib.unified_diff(*lines, f"shown at {self.place}", "printed"))


def examples(document: Path, text: str | None = None) -> list[Example]:
    """Return the examples of a document in their order."""
    text = document.read_text(encoding="utf-8") if text is None else text
    return [
        Example(
            document=document,
            line=text.count("\n", 0, match.start()) + 1,
            language=match[1],
            code=match[2],
            shown=match[4],
            varies=match[3] is not None,
        )
        for match in _EXAMPLE.finditer(text)
    ]


def run(example: Example, server_url: str, directory: Path) -> str:
    """Run an example unchanged in an empty directory and return its standard output.

    Raises:
        RuntimeError: it failed; the message has what it wrote.
    """
    for name in ("lite", "python3"):
        _write_command(directory / ".venv" / "bin" / name, name)
    if example.language == "python":
        (directory / "example.py").write_text(example.code, encoding="utf-8")
        command = [sys.executable, "example.py"]
    else:
        lines = example.code.splitlines()
        script = "\n".join(line for line in lines if not _INSTALLATION.match(line))
        command = ["bash", "-e", "-o", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=directory, env=_environment(server_url, directory),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(
            f"{example.place} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def _write_command(file: Path, name: str) -> None:
    """Write the command of this Python's environment, whether or not the project is installed."""
    module = " -m lite" if name == "lite" else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{module} "$@"\n')
    file.chmod(0o755)


def _environment(server_url: str, directory: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LITE_", "VLLM_", "LLM_", "OPENAI_"))
        or name in ("LITE_CACHE_DIR", "LITE_CPU_ISA")
    }
    path = os.pathsep.join([str(directory / ".venv" / "bin"), kept.get("PATH", os.defpath)])
    return kept | {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "OPENAI_BASE_URL": f"{server_url}/v1",
        "OPENAI_API_KEY": "none",
    }


def with_outputs(text: str, printed: list[str]) -> str:
    """Return a document's text with these outputs, one for each of its examples."""
    outputs = iter(printed)

    def replaced(match: re.Match[str]) -> str:
        kept = match[0][: match.start(4) - match.start()]
        return f"{kept}{next(outputs)}```"

    return _EXAMPLE.sub(replaced, text)


def main() -> int:
    """Run every example on a server of its own; return 1 if one failed or printed another text."""
    from tests.e2e.gunicorn_server import serve

    parser = argparse.ArgumentParser(description="Run the examples of the documents.")
    parser.add_argument("--write", action="store_true", help="write what they print")
    options = parser.parse_args()
    num_failed = num_different = 0
    with tempfile.TemporaryDirectory() as scratch, serve(Path(scratch)) as server:
        for document in DOCUMENTS:
            text = document.read_text(encoding="utf-8")
            outputs = []
            for example in examples(document, text):
                try:
                    with tempfile.TemporaryDirectory() as directory:
                        printed = run(example, server.url, Path(directory))
                except RuntimeError as error:
                    print(error)
                    num_failed += 1
                    outputs.append(example.shown)
                    continue
                same = example.agrees(printed)
                if not same:
                    print(example.difference(printed))
                    num_different += 1
                # What merely changes each time stays as it was.
                outputs.append(example.shown if same and not example.varies else printed)
            if options.write:
                document.write_text(with_outputs(text, outputs), encoding="utf-8")
    return int(num_failed > 0 or (num_different > 0 and not options.write))


if __name__ == "__main__":
    sys.exit(main())
