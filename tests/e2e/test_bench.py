"""`lite bench` with a real engine over a tiny model, and against the real server."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from lite.bench.step_profile import StepProfile, profiled_core
from lite.bench.step_report import Ceilings, profile_figures
from lite.cli import main
from lite.client.remote import RemoteEngineClient
from lite.config import Config, EngineConfig, ModelConfig
from lite.engine import supervisor
from tests.checkpoints import make_checkpoint
from tests.e2e.gunicorn_server import ROOT, serve
from tests.engines import request

OPERATIONS = ["embed", "rope_rows", "norm", "qkv", "rope+store", "attention", "output", "gate_up",
              "down", "logits", "sample"]  # fmt: skip
NUM_LAYERS = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    return make_checkpoint(path, gain=3.0, num_hidden_layers=NUM_LAYERS)


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, from which engine processes find the checkout all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("lite_kernels.cpu.probe.read_bandwidth", lambda _num_threads: 40e9)


@pytest.fixture
def bench(checkpoint: Path) -> Any:
    """Run `lite bench` on the tiny model and return what it wrote."""

    def run(*argv: str) -> dict[str, Any]:
        engine = ("--model", str(checkpoint), "--num-kv-blocks", "256", "--num-threads", "2")
        assert main(["bench", *argv, *engine, "--output-json", "out.json"]) == 0
        return json.loads(Path("out.json").read_text())  # type: ignore[no-any-return]

    return run


def profiled(checkpoint: Path) -> tuple[Any, StepProfile]:
    config = Config(
        model=ModelConfig(model=str(checkpoint)),
        engine=EngineConfig(num_kv_blocks=256, num_threads=2, enable_prefix_caching=False),
    )
    profile = StepProfile()
    return profiled_core(config, profile), profile


def test_a_profiles_sums_agree_with_the_measured_steps(tmp_path: Path) -> None:
    """With steps of a millisecond, beside which the profile's own work is little."""
    sizes = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6}
    core, profile = profiled(make_checkpoint(tmp_path / "larger", **sizes))
    shares = []
    for _ in range(5):
        profile.reset()
        for i in range(3):
            core.add(request(str(i), range(5, 45), temperature=0.0, max_tokens=40), "test")
        measured_ns = 0
        while core.has_work():
            start_ns = time.perf_counter_ns()
            core.step()
            measured_ns += time.perf_counter_ns() - start_ns
        totals = profile.steps().totals
        assert {kind: one.num_steps for kind, one in totals.items()} == {"decode": 39, "prefill": 1}
        for one in totals.values():
            inside_ns = sum(ns for _, ns in one.rows.values()) + one.wake_ns
            assert inside_ns + sum(one.parts.values()) == one.total_ns
            assert min(one.parts.values()) >= 0
        # Between two steps nothing was measured; the profile's own work it leaves out.
        counted_ns = sum(one.total_ns - one.parts["deliver"] for one in totals.values())
        assert counted_ns <= measured_ns
        shares.append(counted_ns / measured_ns)
    core.close()
    # A busy machine may take its time anywhere, but not every time in the profile's own work.
    assert max(shares) > 0.75


def test_a_profile_knows_every_operation_and_its_cost(checkpoint: Path) -> None:
    core, profile = profiled(checkpoint)
    decoder, weights = core.model.decoder, core.model.weights
    for i in range(2):
        core.add(request(str(i), range(5, 25), temperature=0.0, max_tokens=4), "test")
    while core.has_work():
        core.step()
    made = profile_figures(profile.steps(), Ceilings(40e9, 500e9))["steps"]
    core.close()
    for kind, num_tokens in (("decode", 2), ("prefill", 40)):
        operations = {one["operation"]: one for one in made[kind]["operations"]}
        assert list(operations) == OPERATIONS
        calls = {name: one["calls"] for name, one in operations.items()}
        once = ("embed", "rope_rows", "logits", "sample")
        assert [calls[name] for name in once] == [1.0] * 4
        assert calls["norm"] == 2 * NUM_LAYERS + 1
        for name in ("qkv", "rope+store", "attention", "output", "gate_up", "down"):
            assert calls[name] == NUM_LAYERS
        layer = weights.layers[0]
        for name in ("qkv", "output", "gate_up", "down"):
            linear = getattr(layer, name)
            num_weights = linear.in_features * linear.out_features * (2 if name == "gate_up" else 1)
            work = 2 * num_tokens * num_weights * NUM_LAYERS
            assert operations[name]["gflop"] == pytest.approx(work / 1e9)
            assert operations[name]["gb"] == pytest.approx(linear.nbytes * NUM_LAYERS / 1e9)
        assert operations["logits"]["gb"] == pytest.approx(weights.head.nbytes / 1e9)
    # Three decode steps read 21, 22 and 23 positions of two sequences.
    attention = decoder.attention
    position_bytes = 2 * attention.num_kv_heads * attention.head_dim * 2
    read = NUM_LAYERS * 2 * 22 * position_bytes
    (one,) = (o for o in made["decode"]["operations"] if o["operation"] == "attention")
    assert one["gb"] == pytest.approx(read / 1e9)
    scores = 4 * attention.num_heads * attention.head_dim
    assert one["gflop"] == pytest.approx(NUM_LAYERS * 2 * 22 * scores / 1e9)


def test_a_profiled_engine_computes_the_same(checkpoint: Path) -> None:
    from lite.engine.core import EngineCore

    core, _ = profiled(checkpoint)
    plain = EngineCore(core.model, Config(engine=EngineConfig(num_kv_blocks=256)))
    tokens = []
    for one in (core, plain):
        one.add(request("a", range(5, 25), temperature=1.0, seed=7, max_tokens=20), "test")
        made: list[int] = []
        while one.has_work():
            made += [token_id for _, output in one.step() for token_id in output.token_ids]
        tokens.append(made)
    core.close()
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) == 20


def test_throughput_counts_what_was_asked_for(bench: Any, capsys: Any) -> None:
    record = bench("throughput", "--scenario", "D(20,6)", "--num-prompts", "5")
    results = record["results"]
    assert (results["total_prompt_tokens"], results["total_output_tokens"]) == (100, 30)
    assert results["tokens_per_second"] == pytest.approx(130 / results["elapsed_time"])
    assert record["settings"]["engine"]["enable_prefix_caching"] is False
    assert "Throughput:" in capsys.readouterr().out
    assert "profile" not in record


@pytest.mark.parametrize(
    ("flags", "formats"),
    [
        ((), "bfloat16 weights, bfloat16 KV cache, computed in bfloat16"),
        (
            ("--quantization", "q4_0", "--kv-cache-dtype", "int8", "--dtype", "float32"),
            "int4 weights, int8 KV cache, computed in float32",
        ),
    ],
)
def test_a_record_names_the_formats_that_ran(
    bench: Any, capsys: Any, flags: tuple[str, ...], formats: str
) -> None:
    settings = bench("throughput", "--num-prompts", "1", "--output-len", "2", *flags)["settings"]
    assert formats in capsys.readouterr().out
    names = {settings[name] for name in ("dtype", "weights_format", "kv_cache_format")}
    assert names <= set(formats.replace(",", "").split())


def test_a_named_file_may_ask_for_the_prefix_cache_and_the_default_one_not(bench: Any) -> None:
    Path("config.yaml").write_text("engine: {enable_prefix_caching: true}")
    argv = ("throughput", "--num-prompts", "1", "--output-len", "2")
    for flags, expected in (((), False), (("-c", "config.yaml"), True)):
        settings = bench(*argv, *flags)["settings"]
        assert settings["engine"]["enable_prefix_caching"] is expected


def test_a_packed_checkpoint_is_recorded_as_what_it_is(
    bench: Any, checkpoint: Path, capsys: Any
) -> None:
    assert main(["quantize", str(checkpoint), "packed", "--quantization", "int4"]) == 0
    argv = ["bench", "throughput", "--model", "packed", "--num-prompts", "1", "--output-len", "2"]
    assert main([*argv, "--num-kv-blocks", "64"]) == 0
    assert "packed: int4 weights, bfloat16 KV cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [((), "choose shorter ones."), (("--max-model-len", "512"), "or raise --max-model-len or")],
)
def test_what_exceeds_the_context_is_refused_with_what_helps(
    checkpoint: Path, capsys: Any, flags: tuple[str, ...], remedy: str
) -> None:
    argv = ["bench", "throughput", "--model", str(checkpoint), "--scenario", "D(2000,200)"]
    assert main([*argv, *flags]) == 2
    err = capsys.readouterr().err
    assert "need more than the context" in err
    assert remedy in err


def test_throughput_of_lengths_like_sharegpts(bench: Any) -> None:
    results = bench(
        "throughput", "--dataset-name", "sharegpt-like", "--num-prompts", "2", "--seed", "4"
    )["results"]
    assert results["num_requests"] == 2


def test_latency_shows_its_batch_size(
    bench: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    titles: list[str] = []
    monkeypatch.setattr(
        "lite.bench.chart.draw_latencies", lambda _all, _median, title, _name: titles.append(title)
    )
    bench(
        "latency", "--batch-size", "3", "--num-iters", "1", "--num-iters-warmup", "0",
        "--input-len", "4", "--output-len", "2", "--plot", "latency.png",
    )  # fmt: skip
    assert re.search(r"^Batch size +3$", capsys.readouterr().out, re.MULTILINE)
    assert [title.split(": ")[-1] for title in titles] == ["random 4 in, 2 out, batch size 3"]


def test_latency_is_the_median_of_its_iterations(bench: Any) -> None:
    record = bench(
        "latency", "--batch-size", "3", "--num-iters", "3", "--num-iters-warmup", "1",
        "--output-len", "8", "--disable-detokenize",
    )  # fmt: skip
    results = record["results"]
    assert len(results["latencies"]) == 3
    assert results["median_latency"] == np.median(results["latencies"])
    assert 0 < results["median_first_token_s"] < results["median_latency"]
    assert (results["total_prompt_tokens"], results["total_output_tokens"]) == (96, 24)


@pytest.mark.parametrize("where", [(), ("--engine-process",)], ids=["here", "process"])
def test_a_profile_covers_the_measured_iterations(bench: Any, where: Any, capsys: Any) -> None:
    record = bench(
        "--profile", "--batch-size", "2", "--num-iters", "3", "--num-iters-warmup", "2",
        "--input-len", "16", "--output-len", "6", *where,
    )  # fmt: skip
    steps = record["profile"]["steps"]
    # The second prompt may come while the first one is decoded already.
    assert 3 * 5 <= steps["decode"]["num_steps"] <= 3 * 10
    assert 3 <= steps["prefill"]["num_steps"] <= 3 * 2
    for one in steps.values():
        assert {o["operation"] for o in one["operations"]} == set(OPERATIONS)
        shares = [o["share"] for o in one["operations"] + one["outside"]]
        assert sum(shares) == pytest.approx(1.0)
    total_s = sum(one["ms"] * one["num_steps"] for one in steps.values()) / 1e3
    assert total_s <= sum(record["results"]["latencies"])
    assert record["profile"]["other_cpu_share"] >= 0
    out = capsys.readouterr().out
    assert "outside of the kernels" in out


def test_throughput_with_a_profile_and_a_chart(bench: Any) -> None:
    pytest.importorskip("matplotlib")
    record = bench("throughput", "--num-prompts", "2", "--profile", "--plot", "chart.png")
    assert "decode" in record["profile"]["steps"]
    assert Path("chart.png").stat().st_size > 5000


def test_charts_without_a_profile(bench: Any, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    bench("throughput", "--num-prompts", "2", "--output-len", "4", "--plot", "a.svg")
    bench("latency", "--num-iters", "2", "--output-len", "4", "--plot", "b.svg")
    written = re.findall(r"^(\w+) written to (.*)$", capsys.readouterr().err, re.MULTILINE)
    assert [name for _, name in written] == ["out.json", "a.svg", "out.json", "b.svg"]
    assert min(Path(name).stat().st_size for name in ("a.svg", "b.svg")) > 5000


def test_the_chart_of_throughput_knows_first_tokens_and_ends(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    spans: list[tuple[float, float, int]] = []
    monkeypatch.setattr("lite.bench.chart.draw_progress", lambda drawn, *_: spans.extend(drawn))
    record = bench("throughput", "--num-prompts", "3", "--output-len", "9", "--plot", "a.png")
    assert [num_tokens for *_, num_tokens in spans] == [9] * 3
    for first_s, end_s, _ in spans:
        assert 0.0 < first_s < end_s <= record["results"]["elapsed_time"]


def test_without_a_profile_the_engine_process_is_that_of_the_server(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []
    stats = RemoteEngineClient.stats

    def note_commands(client: RemoteEngineClient) -> Any:
        children = psutil.Process().children(recursive=True)
        commands.extend(one.cmdline() for one in children)
        return stats(client)

    monkeypatch.setattr(RemoteEngineClient, "stats", note_commands)
    bench("throughput", "--num-prompts", "2", "--output-len", "4", "--engine-process")
    assert any("lite.engine.process" in command for command in commands)
    assert not any("lite.bench.engine_process" in command for command in commands)


def test_an_engine_process_that_dies_while_loading_ends_the_benchmark(
    checkpoint: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = (sys.executable, "-c", "import os; os._exit(7)")
    monkeypatch.setattr(supervisor, "ENGINE", dies)
    argv = ["bench", "latency", "--engine-process", "--model", str(checkpoint)]
    assert main(argv) == 2
    assert "did not start: " in (err := capsys.readouterr().err)
    assert "it ended with code 7" in err


def test_an_engine_process_that_cannot_start_says_why(checkpoint: Path, capsys: Any) -> None:
    argv = ["bench", "latency", "--engine-process", "--model", str(checkpoint)]
    assert main([*argv, "--max-model-len", "100000"]) == 2
    err = capsys.readouterr().err
    assert "max_model_len is 100000" in err.splitlines()[-1]


def test_serve_against_the_real_server(checkpoint: Path, tmp_path: Path) -> None:
    settings = {
        "model": {"model": str(checkpoint)},
        "engine": {"num_kv_blocks": 256, "num_threads": 2},
        "server": {"workers": 1, "threads": 16},
        "auth": {"api_keys": ["sk-bench-0123456789"]},
    }
    with serve(tmp_path, settings) as server:
        for backend in ("openai", "openai-chat"):
            argv = [
                "bench", "serve", "--base-url", server.url, "--api-key", "sk-bench-0123456789",
                "--tokenizer", str(checkpoint), "--scenario", "D(24,10)", "--num-prompts", "6",
                "--max-concurrency", "3", "--request-rate", "200", "--goodput", "ttft:60000",
                "--backend", backend, "--output-json", "serve.json",
            ]  # fmt: skip
            assert main(argv) == 0
            results = json.loads(Path("serve.json").read_text())["results"]
            assert (results["completed"], results["failed"]) == (6, 0)
            assert results["total_output_tokens"] == 60
            assert results["output_counted_by"] == "usage"
            assert results["request_goodput"] == results["request_throughput"]
            assert "mean_client_queue_time_ms" in results
            if backend == "openai":
                # Texts that the server tokenizes to exactly as many tokens.
                assert results["total_input_tokens"] == 6 * 24
        assert main([*argv[:4], "--api-key", "wrong", "--tokenizer", str(checkpoint)]) == 2
