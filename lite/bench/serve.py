"""A server under load: which requests it gets, and when."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lite.bench.load import poisson_arrivals, run_load
from lite.bench.openai_stream import OpenAIServer, Outcome
from lite.bench.serve_figures import Load
from lite.bench.workload import BenchRequest
from lite.config import ModelConfig
from lite.errors import ConfigError
from lite.models.location import DEMO, demo_directory, served_name
from lite.text.tokenizer import Tokenizer, load_tokenizer

# The paths of OpenAI's API, by the name of vLLM's --backend.
ENDPOINTS = {"openai": "/v1/completions", "openai-chat": "/v1/chat/completions"}
_PATH = re.compile("/[!-~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How the requests are sent."""

    model: str
    backend: str = "openai"
    endpoint: str | None = None
    request_rate: float = math.inf
    max_concurrency: int | None = None
    ignore_eos: bool = True
    temperature: float | None = 0.0
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if _PATH.fullmatch(self.path) is None:
            raise ConfigError(
                f"--endpoint is {self.path!r}, but must begin with / and have no spaces and no "
                "characters beyond ASCII; write those as %20, %C3%BC ..."
            )

    @property
    def path(self) -> str:
        """Where the requests go."""
        return self.endpoint or ENDPOINTS[self.backend]

    def body(self, request: BenchRequest) -> dict[str, Any]:
        """Return the JSON of a request."""
        body: dict[str, Any] = {
            "model": self.model,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.backend == "openai-chat":
            body["messages"] = [{"role": "user", "content": request.text}]
            body["max_completion_tokens"] = request.num_output
        else:
            body["prompt"] = request.text
            body["max_tokens"] = request.num_output
        if self.ignore_eos:
            body["ignore_eos"] = True
        if self.temperature is not None:
            body["temperature"] = self.temperature
        return body | dict(self.extra_body)


def list_models(server: OpenAIServer) -> list[dict[str, Any]]:
    """Return the entries of /v1/models.

    Raises:
        ConfigError: the server does not answer, or serves nothing.
    """
    answer = server.get("/v1/models")
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list) or not models or not isinstance(models[0], dict):
        raise ConfigError("The server's /v1/models lists no model; name one with --model.")
    return models


def find_tokenizer(
    given: str | None, model: str, models: Sequence[Mapping[str, Any]], config: ModelConfig
) -> Tokenizer:
    """Return the tokenizer of the served model, from this machine's disk.

    Looked for in turn: `given` (--tokenizer); a directory that `model` names; the checkpoint of
    the configuration, if that is served under this name; the directory that the server calls its
    model's root.

    Raises:
        ConfigError: there is none; asks for --tokenizer.
        CheckpointError: a file is malformed.
    """
    if given is not None:
        return load_tokenizer(demo_directory() if given == DEMO else Path(given))
    candidates = [model]
    if served_name(config) == model:
        candidates.append(config.tokenizer or config.model)
    roots = [one.get("root") for one in models if one.get("id") == model]
    candidates += [root for root in roots if isinstance(root, str)]
    for candidate in candidates:
        directory = demo_directory() if candidate == DEMO else Path(candidate)
        if (directory / "tokenizer.json").is_file():
            return load_tokenizer(directory)
    raise ConfigError(
        f"The tokenizer of {model!r} is not known here; give its directory (with tokenizer.json) "
        "as --tokenizer, for prompts of exact lengths."
    )


def run_serve(
    server: OpenAIServer,
    options: ServeOptions,
    warmups: Sequence[BenchRequest],
    requests: Sequence[BenchRequest],
    progress: Callable[[int], object],
) -> Load:
    """Send the warm-ups, then the requests, and return what became of them until Ctrl-C.

    Raises:
        ConfigError: an option makes no sense, or a warm-up failed.
        KeyboardInterrupt: Ctrl-C came before the warm-ups had ended.
    """

    def send(request: BenchRequest) -> Outcome:
        return server.stream(options.path, options.body(request))

    arrivals = poisson_arrivals(len(requests), options.request_rate, options.seed)
    if warmups:
        outcomes, _ = run_load(
            send,
            warmups,
            [0.0] * len(warmups),
            max_concurrency=options.max_concurrency,
            progress=lambda _: None,
        )
        for outcome in outcomes:
            if outcome is None:
                raise KeyboardInterrupt
            if outcome.error:
                raise ConfigError(f"A warm-up request failed: {outcome.error}")
    cpu_s = time.process_time()
    outcomes, duration_s = run_load(
        send, requests, arrivals, max_concurrency=options.max_concurrency, progress=progress
    )
    # In a closed loop every request but the first ones waits: that is its nature.
    is_closed = options.request_rate == math.inf and options.max_concurrency is not None
    ended = [
        (request, outcome)
        for request, outcome in zip(requests, outcomes, strict=True)
        if outcome is not None
    ]
    return Load(
        requests=[request for request, _ in ended],
        outcomes=[outcome for _, outcome in ended],
        duration_s=duration_s,
        client_cpu_s=time.process_time() - cpu_s,
        has_queue=not is_closed,
        num_interrupted=len(requests) - len(ended),
    )
