"""The flags of `lite bench`, named as those of `vllm bench` and genai-bench."""

import argparse
import math
from typing import TYPE_CHECKING

from lite.cli import flags
from lite.cli.loading import COMMAND_DEFAULTS

if TYPE_CHECKING:
    from lite.bench.workload import WorkloadOptions

# The same prompts come again and again: what is measured is their computation.
OFFLINE_DEFAULTS = {**COMMAND_DEFAULTS, "engine.enable_prefix_caching": False}
_DATASETS = ("random", "sharegpt", "sharegpt-like")
_BACKENDS = ("openai", "openai-chat")


def add_throughput(kinds: flags.Commands) -> argparse.ArgumentParser:
    """Add `lite bench throughput`."""
    parser = flags.add_command(
        kinds,
        "throughput",
        "All requests at once, in this process.",
        flags.ENGINE_SECTIONS,
        defaults=OFFLINE_DEFAULTS,
    )
    _add_workload(parser, num_prompts=100, input_len=100, output_len=100)
    _add_engine_flags(parser)
    _add_results(parser)
    return parser


def add_latency(kinds: flags.Commands) -> argparse.ArgumentParser:
    """Add `lite bench latency`."""
    parser = flags.add_command(
        kinds,
        "latency",
        "One batch, again and again, in this process.",
        flags.ENGINE_SECTIONS,
        defaults=OFFLINE_DEFAULTS,
    )
    parser.add_argument(
        "--batch-size", type=int, default=8, metavar="N", help="requests in the batch (default 8)"
    )
    parser.add_argument(
        "--num-iters", type=int, default=10, metavar="N", help="measured repeats (default 10)"
    )
    parser.add_argument(
        "--num-iters-warmup", type=int, default=2, metavar="N",
        help="repeats before them (default 2)",
    )  # fmt: skip
    _add_workload(parser, num_prompts=None, input_len=32, output_len=128)
    _add_engine_flags(parser)
    _add_results(parser)
    return parser


def add_serve(kinds: flags.Commands) -> argparse.ArgumentParser:
    """Add `lite bench serve`."""
    summary = "Load on a server with OpenAI's API: this one, vLLM, llama-server ..."
    parser = kinds.add_parser("serve", help=summary, description=summary, allow_abbrev=False)
    parser.set_defaults(parser=parser)
    group = parser.add_argument_group("server")
    group.add_argument("--base-url", metavar="URL", help="the server; default http://HOST:PORT")
    group.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")
    group.add_argument("--port", type=int, default=8000, help="default 8000")
    group.add_argument(
        "--backend", choices=_BACKENDS, default="openai", help="completions (default) or chats"
    )
    group.add_argument("--endpoint", metavar="PATH", help="default /v1/completions or the chats'")
    group.add_argument(
        "--api-key", metavar="KEY", help="default: the variable OPENAI_API_KEY, unseen by others"
    )
    group.add_argument("--model", metavar="NAME", help="default: the first of /v1/models")
    group.add_argument(
        "--tokenizer", metavar="DIR",
        help="directory of the model's tokenizer.json; default: the configured model's",
    )  # fmt: skip
    group = parser.add_argument_group("load")
    group.add_argument(
        "--request-rate", type=float, default=math.inf, metavar="R",
        help="arrivals a second, a Poisson process; default inf: all at once",
    )  # fmt: skip
    group.add_argument(
        "--max-concurrency", type=int, metavar="N",
        help="open requests at most; without a rate: a closed loop of N clients",
    )  # fmt: skip
    group.add_argument(
        "--num-warmups", type=int, default=0, metavar="N", help="requests before (default 0)"
    )
    group.add_argument("--seed", type=int, default=0, help="of lengths, prompts and arrivals")
    group.add_argument(
        "--timeout", type=float, default=600.0, metavar="S",
        help="a request that takes longer has failed (default 600)",
    )  # fmt: skip
    group.add_argument(
        "--ignore-eos", action=argparse.BooleanOptionalAction, default=True,
        help="go on to the length asked for (default)",
    )  # fmt: skip
    group.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="default 0: greedy"
    )
    group.add_argument(
        "--extra-body", metavar="JSON", help="further fields of every request, as an object"
    )
    _add_workload(parser, num_prompts=100, input_len=100, output_len=100)
    group = parser.add_argument_group("figures")
    group.add_argument(
        "--goodput", nargs="+", default=[], metavar="NAME:MS",
        help="count requests that meet these: ttft:500 tpot:50 e2el:5000",
    )  # fmt: skip
    group.add_argument(
        "--metric-percentiles", default="50,90,99", metavar="LIST", help="default 50,90,99"
    )
    group.add_argument(
        "--save-detailed", action="store_true", help="every request in the JSON file too"
    )
    _add_results(parser)
    return parser


def _add_workload(
    parser: argparse.ArgumentParser, *, num_prompts: int | None, input_len: int, output_len: int
) -> None:
    group = parser.add_argument_group("requests")
    if num_prompts is not None:
        group.add_argument(
            "--num-prompts", type=int, default=num_prompts, metavar="N",
            help=f"how many (default {num_prompts})",
        )  # fmt: skip
    group.add_argument(
        "--scenario", "--traffic-scenario", metavar="S",
        help="lengths as genai-bench writes them: D(100,100), N(480,240)/(300,150), U(50,100)",
    )  # fmt: skip
    group.add_argument(
        "--dataset-name", choices=_DATASETS,
        help="random (default), conversations of a file, or lengths like theirs",
    )  # fmt: skip
    group.add_argument(
        "--dataset", "--dataset-path", dest="dataset_path", metavar="FILE",
        help="ShareGPT's JSON file",
    )  # fmt: skip
    for name, length in (("input", input_len), ("output", output_len)):
        group.add_argument(
            f"--{name}-len", f"--random-{name}-len", type=int, metavar="N",
            help=f"tokens of each {'prompt' if name == 'input' else name} (default {length})",
        )  # fmt: skip
    group.add_argument(
        "--random-range-ratio", type=float, metavar="R",
        help="lengths vary by this share to both sides (default 0)",
    )  # fmt: skip
    parser.set_defaults(default_input_len=input_len, default_output_len=output_len)


def _add_engine_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("measurement")
    group.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="default 1; 0 is greedy"
    )
    group.add_argument(
        "--disable-detokenize", action="store_true", help="leave out the outputs' text"
    )
    group.add_argument(
        "--engine-process", action="store_true",
        help="the engine in a process of its own, as in the server",
    )  # fmt: skip
    group.add_argument(
        "--profile", action="store_true",
        help="show where the time of a step goes, and how close that is to the machine's limits",
    )  # fmt: skip


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument("--output-json", metavar="FILE", help="write all figures as JSON")
    group.add_argument("--plot", metavar="FILE", help="draw a chart (.png, .svg, .pdf)")


def workload_options(
    arguments: argparse.Namespace, *, num_prompts: int, seed: int
) -> "WorkloadOptions":
    """Return the flags that choose the requests.

    Raises:
        ConfigError: they contradict each other, or a value makes no sense.
    """
    from lite.bench.workload import WorkloadOptions

    names = ("scenario", "dataset_name", "dataset_path", "input_len", "output_len")
    options = WorkloadOptions(
        num_prompts=num_prompts,
        seed=seed,
        random_range_ratio=arguments.random_range_ratio,
        default_input_len=arguments.default_input_len,
        default_output_len=arguments.default_output_len,
        **{name: getattr(arguments, name) for name in names},
    )
    options.lengths()  # what is wrong is said before a model is loaded
    return options
