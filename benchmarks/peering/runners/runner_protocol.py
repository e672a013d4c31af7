"""JSON lines between the benchmark and one engine's process; the standard library only.

A runner is a script that an engine's own Python executes. It reads one request a line,
{"command": ..., "arguments": {...}}, and answers each with one line, {"result": ...} or
{"error": ...}. The first command is "load".
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from typing import Any, Protocol

_PR_SET_PDEATHSIG = 1


class Engine(Protocol):
    """What a runner offers; arguments of "load" go to the constructor."""

    def describe(self) -> dict[str, Any]:
        """Return versions, settings, and the bytes of weights and KV cache."""
        ...

    def generate(
        self, prompts: list[list[int]], num_tokens: int, keep_prompt: bool
    ) -> dict[str, Any]:
        """Generate `num_tokens` for every prompt, greedily and past EOS; see `Clock.result`.

        `keep_prompt` allows to reuse what the same call computed for the prompts before; the
        time to the first token then means nothing.
        """
        ...

    def logprobs(self, prompt: list[int], token_ids: list[int]) -> dict[int, float]:
        """Return log probabilities of the next token: the most likely ones, or `token_ids`."""
        ...


class Clock:
    """Times a generation of several sequences by the tokens that each has got."""

    def __init__(self, num_seqs: int) -> None:
        self.outputs: list[list[int]] = [[] for _ in range(num_seqs)]
        self._waiting = num_seqs
        self._num_tokens_at_first = 0
        self._first_s = 0.0
        self._start_s = self._last_s = time.perf_counter()

    def add(self, index: int, token_ids: list[int]) -> None:
        """Count new tokens of one sequence."""
        if token_ids and not self.outputs[index]:
            self._waiting -= 1
        self.outputs[index] += token_ids

    def tick(self) -> None:
        """End a step; the last one in which a sequence got its first token starts decoding."""
        self._last_s = time.perf_counter()
        if not self._first_s and not self._waiting:
            self._first_s = self._last_s
            self._num_tokens_at_first = sum(map(len, self.outputs))

    def result(self) -> dict[str, Any]:
        """Return seconds until all have a first token, and what was decoded after that."""
        num_tokens = sum(map(len, self.outputs))
        return {
            "first_s": self._first_s - self._start_s,
            "decode_s": self._last_s - self._first_s,
            "num_decoded": num_tokens - self._num_tokens_at_first,
            "outputs": self.outputs,
        }


def serve(engine_class: type) -> None:
    """Answer requests from standard input until it ends."""
    # Libraries print; what they print belongs to the log.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _die_with_parent()
    engine: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        command, arguments = request["command"], request.get("arguments", {})
        try:
            if command == "load":
                engine = engine_class(**arguments)
                result = engine.describe()
            else:
                result = getattr(engine, command)(**arguments)
            reply = {"result": result}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        channel.write(json.dumps(reply) + "\n")
        channel.flush()


def _die_with_parent() -> None:
    """Leave nothing behind, and be the first to go when memory runs out."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except (OSError, AttributeError):
        print("not Linux: this process may outlive the benchmark", file=sys.stderr)
