"""Our engine beside llama.cpp, OpenVINO, vLLM and transformers, in turns in one run.

    python -m benchmarks.peers setup     # environments, weights in every format; an hour or so
    python -m benchmarks.peers run       # decode, prefill, long context, memory
    python -m benchmarks.peers serve     # the same over HTTP
    python -m benchmarks.peers table     # what the stored results say

All engines run the same seeded random weights with equal threads, prompts and lengths. Peers that
cannot be installed or loaded are skipped, and said to be.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peering import cases as all_cases
from benchmarks.peering.checkpoint import CONFIGS, make_checkpoint, read_config
from benchmarks.peering.comparison import (
    compare_engines,
    compare_servers,
    format_cases,
    format_rows,
    merge_figures,
)
from benchmarks.peering.engines import ENGINES, Engine, Limits, missing
from benchmarks.peering.environments import REQUIREMENTS, set_up
from benchmarks.peering.measuring import Measurement
from benchmarks.peering.pool import Pool
from benchmarks.peering.servers import all_servers
from benchmarks.peering.serving import is_disturbed, measure_servers
from benchmarks.report import RESULTS, ROOT, unchanged_since, write_result
from lite.machine import describe_machine
from lite_kernels.cpu.topology import choose_threads

# Memory that must be free before an engine is loaded or measured, beside the weights' share.
RESERVE_BYTES = 2_500_000_000
RESERVE_WEIGHTS = 2.5
MIN_BATCHED_TOKENS = 2048
SPARE_TOKENS = 64  # of a sequence, since caches are allocated in blocks
# What must be equal for the cases of two runs to be those of one.
COMPARED_SETTINGS = ("model", "threads", "repeats", "engines", "limits")


def main() -> None:
    """Do what the command line says."""
    args = _arguments()
    args.command(args)


def _setup(args: argparse.Namespace) -> None:
    skipped = set_up(
        args.scratch,
        _model_files(args),
        names=args.peers,
        num_jobs=args.jobs,
        pip_arguments=args.pip_arguments.split(),
    )
    for name, reason in skipped.items():
        _report(f"SKIPPED {name}: {reason}")


def _run(args: argparse.Namespace) -> None:
    config, model = read_config(args.model), _model_files(args)
    name = f"peers-{args.model.name}"
    engines, skipped = _choose(ENGINES, args)
    asked = [all_cases.BY_NAME[case] for case in args.cases]
    # Of all cases asked for, so that a run that goes on loads the engines as the first did.
    limits = _limits(asked, config, args.threads)
    settings = _settings(args) | {
        "engines": [engine.name for engine in engines],
        "limits": asdict(limits),
    }
    figures = _earlier_figures(name, args, settings)
    chosen = [case for case in asked if case.name not in figures.get("cases", {})]
    weights_bytes = (model / "checkpoint" / "model.safetensors").stat().st_size
    reserve_bytes = int(RESERVE_BYTES + RESERVE_WEIGHTS * weights_bytes)
    with Pool(args.scratch, model, limits, reserve_bytes=reserve_bytes, report=_report) as pool:
        measurement = Measurement(
            pool,
            num_threads=args.threads,
            vocab_size=config["bos_token_id"],
            patience_s=args.patience,
            report=_report,
        )
        differences = measurement.check_weights(engines) if chosen else {}
        families = {e.name: {"family": e.family, "weights": e.weights} for e in engines}
        for case in chosen:
            measurement.run_case(case, engines, args.repeats)
            runs = measurement.runs[case.name]
            if not any(one.rates for one in runs.values()):
                _report(f"{case.name} NOT STORED: no engine could be measured")
                continue
            found = {
                "settings": settings,
                "engines": {n: families[n] | d for n, d in pool.descriptions.items()},
                "skipped": skipped | measurement.failed,
                "logprob_differences": differences,
                "cases": {case.name: {n: one.figures() for n, one in runs.items()}},
            }
            figures = merge_figures(figures, found)
            figures["comparison"] = compare_engines(figures)
            # After every case, since a run takes hours and may be ended.
            write_result(name, figures, args.out)
    _show(figures)


def _earlier_figures(
    name: str, args: argparse.Namespace, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the stored figures that `--resume` goes on with: those of the same measurement."""
    path = Path(args.out) if args.out else RESULTS / f"{name}.json"
    if not args.resume or not path.exists():
        return {}
    record = json.loads(path.read_text())
    if not unchanged_since(record["commit"]):
        raise SystemExit(
            f"{path} was measured with other sources, at {record['commit']['id']}: run without "
            "--resume, or write to another file by --out"
        )
    figures: dict[str, Any] = record["figures"]
    here = describe_machine()
    pairs = {key: (record["machine"].get(key), here[key]) for key in ("cpu", "num_cpus")}
    pairs |= {key: (figures["settings"].get(key), settings[key]) for key in COMPARED_SETTINGS}
    differences = [f"{key} {a}, now {b}" for key, (a, b) in pairs.items() if a != b]
    if differences:
        raise SystemExit(
            f"{path} was measured otherwise ({'; '.join(differences)}): run as it was, without "
            "--resume, or write to another file by --out"
        )
    return figures


def _serve(args: argparse.Namespace) -> None:
    model = _model_files(args)
    servers, skipped = _choose(
        all_servers(args.scratch, model, num_threads=args.threads, num_clients=args.clients), args
    )
    settings = _settings(args)

    def save(found: dict[str, Any]) -> None:
        figures = {
            "settings": settings,
            "servers": found,
            "skipped": skipped,
            "comparison": compare_servers(found),
        }
        write_result(f"peers-serve-{args.model.name}", figures, args.out)

    found = measure_servers(
        servers,
        args.scratch,
        num_threads=args.threads,
        num_clients=args.clients,
        num_requests=args.requests,
        num_repeats=args.repeats,
        vocab_size=read_config(args.model)["bos_token_id"],
        report=_report,
        save=save,
    )
    for name, server in found.items():
        if any(is_disturbed(run) for run in server.get("runs", ())):
            _report(f"{name} WAS DISTURBED by other processes; see the runs")
    save(found)
    print(format_rows(compare_servers(found)))


def _table(args: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    for name in (f"peers-{args.model.name}", f"peers-serve-{args.model.name}"):
        path = RESULTS / f"{name}.json"
        if not path.exists():
            _report(f"no {path}")
            continue
        figures = json.loads(path.read_text())["figures"]
        if "cases" in figures:
            print(format_cases(figures) + "\n")
        rows += figures["comparison"]
    if rows:
        print(format_rows(rows))


def _choose(
    candidates: Sequence[Any], args: argparse.Namespace
) -> tuple[list[Any], dict[str, str]]:
    """Return those to be measured, and why others are not; there is at least one."""
    chosen, skipped = [], {}
    for candidate in _named(candidates, args.only):
        if isinstance(candidate, Engine):
            reason = missing(candidate, args.scratch, args.scratch / "models" / args.model.name)
        else:
            reason = candidate.missing
        if reason is None:
            chosen.append(candidate)
        else:
            skipped[candidate.name] = reason
            _report(f"SKIPPED {candidate.name}: {reason}")
    if not chosen:
        raise SystemExit("there is nothing to measure: all was skipped")
    return chosen, skipped


def _named(candidates: Sequence[Any], words: Sequence[str] | None) -> list[Any]:
    """Return those whose names hold one of the words, in any case; all without words."""
    if not words:
        return list(candidates)
    names = [candidate.name.casefold() for candidate in candidates]
    for word in words:
        if not any(word.casefold() in name for name in names):
            known = ", ".join(repr(candidate.name) for candidate in candidates)
            raise SystemExit(f"--only {word!r} names none of {known}")
    return [
        candidate
        for candidate, name in zip(candidates, names, strict=True)
        if any(word.casefold() in name for word in words)
    ]


def _model_source(text: str) -> Path:
    found = [path for path in (CONFIGS / text, Path(text)) if (path / "config.json").is_file()]
    if not found:
        known = ", ".join(sorted(path.name for path in CONFIGS.iterdir()))
        raise argparse.ArgumentTypeError(f"no config.json in {text!r}; there are {known}")
    return found[0].resolve()


def _model_files(args: argparse.Namespace) -> Path:
    """Return the folder of the model in every format; its checkpoint is made if need be."""
    directory: Path = args.scratch / "models" / args.model.name
    make_checkpoint(args.model, directory / "checkpoint")
    return directory


def _limits(chosen: Sequence[all_cases.Case], config: dict[str, Any], num_threads: int) -> Limits:
    """Return limits that hold the largest of the chosen cases."""
    num_seqs = max(case.num_seqs for case in chosen)
    num_tokens = max(case.num_seqs * (case.num_prompt + case.num_output) for case in chosen)
    bytes_per_token = 2 * 2 * config["num_hidden_layers"]  # keys and values of two bytes
    bytes_per_token *= config["num_key_value_heads"] * config["head_dim"]
    batches = [case.num_seqs * case.num_prompt for case in chosen if case.num_seqs > 1]
    return Limits(
        num_threads=num_threads,
        max_model_len=max(case.num_prompt + case.num_output for case in chosen),
        max_num_seqs=num_seqs,
        max_num_batched_tokens=max([MIN_BATCHED_TOKENS, *batches]),
        kv_cache_bytes=bytes_per_token * (num_tokens + SPARE_TOKENS * num_seqs),
    )


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    named = vars(args) | {"scratch": None, "command": None, "out": None, "model": args.model.name}
    settings = {name: value for name, value in named.items() if value is not None}
    return settings | {"started": time.strftime("%Y-%m-%d"), "load_average": os.getloadavg()}


def _show(figures: dict[str, Any]) -> None:
    if "cases" in figures:
        print(format_cases(figures) + "\n")
    print(format_rows(figures.get("comparison", [])))


def _report(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)

    def add(name: str, function: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(name)
        command.set_defaults(command=function)
        command.add_argument(
            "--model",
            type=_model_source,
            default=CONFIGS / "qwen3-0.6b",
            help="a folder of benchmarks/configs, or the path of another one with a config.json",
        )
        return command

    setup, run, serve = add("setup", _setup), add("run", _run), add("serve", _serve)
    add("table", _table)
    for command in (setup, run, serve):
        command.add_argument(
            "--scratch", type=lambda text: Path(text).resolve(), default=ROOT / "build" / "peers"
        )
    setup.add_argument("--peers", nargs="+", choices=list(REQUIREMENTS), default=list(REQUIREMENTS))
    setup.add_argument("--jobs", type=int, default=2, help="of the compiler and the converters")
    setup.add_argument("--pip-arguments", default="", help="for instance an index of CPU wheels")
    for command in (run, serve):
        command.add_argument("--threads", type=int, default=choose_threads().number)
        command.add_argument("--repeats", type=int, default=5)
        command.add_argument("--only", nargs="+", help="engines whose names hold one of these")
        command.add_argument("--out", help="file for the JSON result")
    run.add_argument(
        "--cases", nargs="+", choices=list(all_cases.BY_NAME), default=list(all_cases.BY_NAME)
    )
    run.add_argument(
        "--resume", action="store_true", help="leave out the cases that the result file holds"
    )
    run.add_argument(
        "--patience", type=float, default=600.0, help="seconds to wait for an idle machine"
    )
    serve.add_argument("--clients", type=int, default=16)
    serve.add_argument("--requests", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
