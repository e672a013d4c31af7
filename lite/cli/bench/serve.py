"""`lite bench serve`: load on a server that speaks OpenAI's API, and what its clients see."""

import argparse
import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from lite.cli.bench.arguments import workload_options
from lite.cli.bench.reporting import progress_bar, report
from lite.errors import ConfigError
from lite.settings import load_config

if TYPE_CHECKING:
    from lite.bench.openai_stream import OpenAIServer
    from lite.bench.serve import ServeOptions
    from lite.bench.workload import Workload
    from lite.text.tokenizer import Tokenizer

_EXIT_FAILED, _EXIT_INTERRUPTED = 1, 130


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the flags ask for, checked."""

    server: "OpenAIServer"
    base_url: str
    options: "ServeOptions"
    tokenizer: "Tokenizer"
    workload: "Workload"
    num_warmups: int
    goodput: dict[str, float]
    percentiles: list[float]

    @property
    def title(self) -> str:
        return f"{self.options.model}: {self.workload.name}"


def run(arguments: argparse.Namespace) -> int:
    """Send the requests and print the figures; the exit code is 1 if any request failed.

    After Ctrl-C the figures are those of the requests that had ended, and the exit code is 130.
    """
    from lite.bench.chart import draw_distributions
    from lite.bench.record import Probe, make_record, serve_lines
    from lite.bench.serve import run_serve
    from lite.bench.serve_figures import details, distributions, serve_figures
    from lite.log import get_logger
    from lite_kernels.cpu.topology import choose_threads

    plan = _plan(arguments)
    warmups = plan.workload.requests[: plan.num_warmups]
    requests = plan.workload.requests[plan.num_warmups :]
    threads = choose_threads()
    for warning in threads.warnings:
        get_logger(__name__).warning(warning)
    probe = Probe(threads.number, "", num_threads_origin=threads.origin)
    probe.take()
    with progress_bar(len(requests), "requests") as progress:
        load = run_serve(plan.server, plan.options, warmups, requests, progress)
    probe.take()
    results = serve_figures(
        load, plan.tokenizer, percentiles=plan.percentiles, goodput=plan.goodput
    )
    written = make_record("serve", _settings(plan, arguments), results, probe)
    labels = [f"{percentile:g}" for percentile in plan.percentiles]
    if arguments.save_detailed:
        written["results"] |= details(load)
    report(
        written,
        serve_lines(results, labels),
        output_json=arguments.output_json,
        plot=arguments.plot,
        draw=lambda name: draw_distributions(distributions(load), plan.title, name),
    )
    if load.num_interrupted:
        return _EXIT_INTERRUPTED
    return _EXIT_FAILED if results["failed"] else 0


def _plan(arguments: argparse.Namespace) -> _Plan:
    """Check the flags, ask the server for its model, and make the requests."""
    from lite.bench.chart import check_plot
    from lite.bench.openai_stream import OpenAIServer
    from lite.bench.record import check_writable
    from lite.bench.serve import ServeOptions, find_tokenizer, list_models
    from lite.bench.serve_figures import parse_goodput
    from lite.bench.workload import make_workload

    check_plot(arguments.plot)
    check_writable("--plot", arguments.plot)
    check_writable("--output-json", arguments.output_json)
    goodput, percentiles = parse_goodput(arguments.goodput), _percentiles(arguments)
    if arguments.save_detailed and not arguments.output_json:
        raise ConfigError("--save-detailed goes into a file: name it with --output-json.")
    extra_body, num_warmups = _extra_body(arguments.extra_body), arguments.num_warmups
    for flag, value, least in (
        ("--num-warmups", num_warmups, 0),
        ("--num-prompts", arguments.num_prompts, 1),
        ("--seed", arguments.seed, 0),
    ):
        if value < least:
            raise ConfigError(f"{flag} is {value}, but must be an integer >= {least}.")
    if not 0.0 <= arguments.temperature < math.inf:
        raise ConfigError(f"--temperature is {arguments.temperature}, but must be a number >= 0.")
    workload_flags = workload_options(
        arguments, num_prompts=arguments.num_prompts + num_warmups, seed=arguments.seed
    )
    base_url = arguments.base_url or f"http://{arguments.host}:{arguments.port}"
    api_key = arguments.api_key or os.environ.get("OPENAI_API_KEY")
    server = OpenAIServer(base_url, api_key=api_key, timeout_s=arguments.timeout)
    models = list_models(server)
    model = arguments.model or str(models[0].get("id"))
    tokenizer = find_tokenizer(arguments.tokenizer, model, models, load_config().config.model)
    limit = next((one.get("max_model_len") for one in models if one.get("id") == model), None)
    workload = make_workload(
        workload_flags,
        tokenizer,
        as_text=True,
        max_model_len=limit if isinstance(limit, int) else None,
        remedy="let the server have a longer one",
    )
    options = ServeOptions(
        model=model,
        backend=arguments.backend,
        endpoint=arguments.endpoint,
        request_rate=arguments.request_rate,
        max_concurrency=arguments.max_concurrency,
        ignore_eos=arguments.ignore_eos,
        temperature=arguments.temperature,
        extra_body=extra_body,
        seed=arguments.seed,
    )
    return _Plan(server, base_url, options, tokenizer, workload, num_warmups, goodput, percentiles)


def _percentiles(arguments: argparse.Namespace) -> list[float]:
    text = arguments.metric_percentiles
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(0.0 <= value <= 100.0 for value in values):
        raise ConfigError(
            f"--metric-percentiles is {text!r}, but must be numbers in [0, 100] such as 50,90,99."
        )
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _extra_body(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ConfigError(f"--extra-body {text!r} is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise ConfigError(f'--extra-body {text!r} is not a JSON object such as {{"top_k": 1}}.')
    try:
        msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise ConfigError(f"--extra-body {text!r} cannot be sent: {error}.") from None
    return body


def _settings(plan: _Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how it was measured; no key is among it."""
    options = plan.options
    return {
        "workload": plan.workload.name,
        "num_requests": arguments.num_prompts,
        "num_warmups": plan.num_warmups,
        "base_url": plan.base_url,
        "endpoint": options.path,
        "model": options.model,
        # JSON has no infinity.
        "request_rate": None if math.isinf(options.request_rate) else options.request_rate,
        "max_concurrency": options.max_concurrency,
        "ignore_eos": options.ignore_eos,
        "temperature": options.temperature,
        "extra_body": dict(options.extra_body),
        "goodput": plan.goodput,
        "seed": options.seed,
    }
