"""The command line of `lite bench`: its flags, what it refuses, and what it writes."""

import io
import json
import math
import os
import signal
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lite.bench.record import Probe, describe, serve_lines
from lite.cli import main
from lite.cli.bench import with_kind
from lite.machine import cpu_name, describe_commit
from lite.version import __version__
from lite_kernels.cpu.probe import read_bandwidth
from tests.checkpoints import make_tokenizer
from tests.openai_server import FakeServer, fake_server


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(path)
    return path


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("LITE_", "VLLM_", "LLM_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("lite_kernels.cpu.probe.read_bandwidth", lambda _num_threads: 40e9)
    (tmp_path / "tokenizer").symlink_to(tokenizer)


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command that must fail, and return what it says."""

    def run(*argv: str) -> str:
        assert main(["bench", *argv]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return run


def serve(fake: FakeServer, *argv: str) -> int:
    return main(["bench", "serve", "--base-url", fake.url, "--tokenizer", "tokenizer", *argv])


@pytest.mark.parametrize("kind", ["throughput", "latency", "serve"])
def test_every_kind_explains_itself(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", kind, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for flag in (
        "--scenario",
        "--dataset FILE",
        "--dataset-path",
        "--output-json",
        "--plot",
        "--input-len",
    ):
        assert flag in text


def test_flags_without_a_kind_are_those_of_latency() -> None:
    assert with_kind(["bench", "--profile"]) == ["bench", "latency", "--profile"]
    assert with_kind(["bench", "serve", "--port", "1"]) == ["bench", "serve", "--port", "1"]
    assert with_kind(["bench", "--help"]) == ["bench", "--help"]
    assert with_kind(["bench"]) == ["bench"]
    assert with_kind(["chat", "--help"]) == ["chat", "--help"]


def test_unknown_flags_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["bench", "--profil"], ["bench", "serve", "--request-rat", "1"]):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2
        assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("latency", "--batch-size", "0"), "--batch-size is 0"),
        (("latency", "--batch-size", "99999999"), "--batch-size is 99999999"),
        (("latency", "--num-iters", "0"), "--num-iters is 0"),
        (("latency", "--num-iters-warmup", "-1"), "--num-iters-warmup is -1"),
        (("latency", "--scenario", "D(5)"), "--scenario 'D(5)'"),
        (("throughput", "--num-prompts", "0"), "--num-prompts is 0"),
        (("throughput", "--num-prompts", "1000001"), "an integer from 1 to 1000000"),
        (("throughput", "--output-json", "no/such/file"), "--output-json: no/such/file"),
        (("throughput", "--output-json", "."), "--output-json: ."),
        (("throughput", "--temperature", "-1"), "temperature must be"),
        (("--profile", "--input-len", "-3"), "--input-len is -3"),
        (("latency", "--dataset", "f", "--input-len", "3"), "--dataset (or --dataset-path) and"),
        (("latency", "--dataset-path", "f", "--scenario", "D(1,1)"), "and --dataset (or"),
        (("serve", "--num-warmups", "-1"), "--num-warmups is -1"),
        (("serve", "--num-prompts", "0"), "--num-prompts is 0"),
        (("serve", "--goodput", "itl:5"), "--goodput 'itl:5'"),
        (("serve", "--metric-percentiles", "50,101"), "--metric-percentiles is '50,101'"),
        (("serve", "--metric-percentiles", "x"), "--metric-percentiles is 'x'"),
        (("serve", "--extra-body", "{"), "--extra-body '{' is not JSON"),
        (("serve", "--extra-body", "[1]"), "not a JSON object"),
        (("serve", "--extra-body", '{"top_p": NaN}'), "NaN is no number in JSON"),
        (("serve", "--temperature", "nan"), "--temperature is nan, but must be a number >= 0"),
        (("serve", "--temperature", "-1"), "--temperature is -1.0"),
        (("serve", "--base-url", "host"), "--base-url 'host'"),
        (("serve", "--timeout", "0"), "--timeout is 0"),
        (("serve", "--timeout", "inf"), "--timeout is inf"),
        (("serve", "--seed", "-1"), "--seed is -1"),
        (("serve", "--extra-body", r'{"a": "\ud800"}'), "cannot be sent"),
        (("serve", "--save-detailed"), "name it with --output-json"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(
    argv: tuple[str, ...], text: str, error: Any
) -> None:
    assert text in error(*argv)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("--request-rate", "0"), "--request-rate is 0"),
        (("--max-concurrency", "0"), "--max-concurrency is 0"),
        (("--endpoint", "v1"), "--endpoint is 'v1'"),
        (("--endpoint", "/ü"), "--endpoint is '/ü'"),
        (("--endpoint", "/a b"), "--endpoint is '/a b'"),
        (("--scenario", "D(500,100)"), "context of 512 tokens"),
        (("--scenario", "D(500,100)"), "or let the server have a longer one"),
        (("--tokenizer", "nowhere"), "nowhere"),
    ],
)
def test_what_the_server_cannot_do_is_refused(argv: tuple[str, ...], text: str, error: Any) -> None:
    with fake_server() as fake:
        given = ("--tokenizer", "tokenizer") if "--tokenizer" not in argv else ()
        assert text in error("serve", "--base-url", fake.url, *given, *argv)
    assert fake.bodies == []


def test_serve_prints_and_writes_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(token_s=0.001) as fake:
        code = serve(
            fake, "--scenario", "D(9,5)", "--num-prompts", "6", "--max-concurrency", "2",
            "--num-warmups", "1", "--goodput", "ttft:5000", "tpot:5000", "--api-key", "secret-key",
            "--metric-percentiles", "50,99.9", "--output-json", "out.json", "--save-detailed",
        )  # fmt: skip
    assert code == 0
    out = capsys.readouterr().out
    for text in ("serve: D(9,5)", "the client's machine: ", "Successful requests",
                 "Request goodput", "TTFT", "p99.9", "Client CPU"):  # fmt: skip
        assert text in out
    assert " threads" not in out
    text = Path("out.json").read_text()
    assert "secret-key" not in text + out
    assert fake.headers[0]["Authorization"] == "Bearer secret-key"
    record = json.loads(text)
    results = record["results"]
    assert (results["completed"], results["failed"]) == (6, 0)
    assert results["total_output_tokens"] == 30
    assert results["request_goodput"] == pytest.approx(6 / results["duration"])
    assert results["p99.9_itl_ms"] > 0
    assert len(results["ttfts"]) == 6
    assert record["version"] == __version__
    assert record["settings"]["request_rate"] is None
    assert record["machine"]["probe"]["read_gb_s"] == [40.0, 40.0]
    assert record["machine"]["isa"]
    assert {len(body["prompt"].split()) > 0 for body in fake.bodies} == {True}


@pytest.mark.parametrize("size", [(0, 0), (24, 100)], ids=["unknown size", "100 columns"])
def test_a_terminal_shows_how_far_the_load_is(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, size)
    with fake_server() as fake, open(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        assert serve(fake, "--num-prompts", "3", "--max-concurrency", "1") == 0
        monkeypatch.undo()
        text = os.read(ours, 65536).decode(errors="replace")
    os.close(ours)
    assert "0/3 [00:00<?, ? requests/s]" in text
    assert len(text.split("\r")[1]) == (size[1] or 80) - 1


def test_the_files_that_were_written_are_named_and_elsewhere_no_progress_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("check_plot", "draw_distributions"):
        monkeypatch.setattr(f"lite.bench.chart.{name}", lambda *_: None)
    with fake_server() as fake:
        assert serve(fake, "--num-prompts", "1") == 0
        assert capsys.readouterr().err == ""
        assert serve(fake, "--num-prompts", "1", "--output-json", "o.json", "--plot", "o.png") == 0
    assert capsys.readouterr().err == "Figures written to o.json\nChart written to o.png\n"


def test_failed_requests_make_the_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(trouble="status", num_good=2) as fake:
        code = serve(fake, "--num-prompts", "5", "--max-concurrency", "1")
    assert code == 1
    out = capsys.readouterr().out
    assert "Failed 3 times: HTTP 503 the queue is full" in out
    assert "Successful requests" in out


def test_if_all_requests_fail_the_errors_come_first_and_there_are_no_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with fake_server(trouble="close") as fake:
        code = serve(fake, "--num-prompts", "2", "--goodput", "ttft:1", "--output-json", "o.json")
    assert code == 1
    out = capsys.readouterr().out
    assert 0 < out.index("Failed 2 times: RemoteDisconnected") < out.index("Failed requests")
    assert "TTFT" not in out
    assert out.count("RemoteDisconnected") == 1
    assert json.loads(Path("o.json").read_text())["results"]["mean_ttft_ms"] is None


def test_one_cause_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Silence before the first token, and a stream that goes on."""
    with fake_server(token_s=0.05, trouble="hang", num_good=2) as fake:
        argv = ("--num-prompts", "4", "--scenario", "D(9,100)", "--timeout", "0.4")
        assert serve(fake, *argv, "--output-json", "o.json") == 1
    assert "Failed 4 times: not finished within 0.4 s" in capsys.readouterr().out
    results = json.loads(Path("o.json").read_text())["results"]
    assert (results["errors"], results["max_concurrent_requests"]) == (
        {"not finished within 0.4 s": 4}, 4,
    )  # fmt: skip


def test_a_chart_of_the_load_is_drawn() -> None:
    pytest.importorskip("matplotlib")
    with fake_server() as fake:
        assert serve(fake, "--num-prompts", "3", "--plot", "load.png") == 0
    assert Path("load.png").stat().st_size > 5000


@pytest.mark.parametrize("num_threads", [64, 2000])
def test_more_threads_than_cores_are_told_and_far_too_many_refused(
    num_threads: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(num_threads))
    if num_threads == 2000:
        monkeypatch.setattr("lite_kernels.cpu.probe.read_bandwidth", read_bandwidth)
    with fake_server() as fake:
        code = serve(fake, "--num-prompts", "1")
    assert f"{num_threads} threads (OMP_NUM_THREADS) are more than" in caplog.text
    assert code == (2 if num_threads == 2000 else 0)
    assert ("it must be from 1 to" in capsys.readouterr().err) == (num_threads == 2000)
    assert len(fake.bodies) == (0 if num_threads == 2000 else 1)


def test_what_the_servers_cache_gave_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(num_cached=4) as fake:
        serve(fake, "--num-prompts", "2", "--output-json", "o.json", "--save-detailed")
        fake.num_cached = 0
        serve(fake, "--num-prompts", "2")
    first, second = capsys.readouterr().out.split("client's machine")[1:]
    text = "8 of 14 input tokens came from the server's prefix cache"
    assert (text in first, "from the server's prefix cache" in second) == (True, False)
    assert "Cached input tokens" in second
    results = json.loads(Path("o.json").read_text())["results"]
    assert (results["total_cached_tokens"], results["cached_lens"]) == (8, [4, 4])


def test_a_file_that_may_not_be_written_is_refused_before(
    error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("there.json").touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    for kind in ("throughput", "latency", "serve"):
        for flag, name in (("--output-json", "there.json"), ("--output-json", "new.json")):
            assert f"{flag}: {name} cannot be written" in error(kind, flag, name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file that is always full")
def test_figures_are_shown_where_their_file_cannot_be_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with fake_server() as fake:
        assert serve(fake, "--num-prompts", "1", "--output-json", "/dev/full") == 2
    out, err = capsys.readouterr()
    assert "Successful requests" in out
    assert "/dev/full cannot be written" in err
    assert "written to" not in err


def test_text_that_the_terminal_cannot_show_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    with fake_server(trouble="status", message="überlastet") as fake:
        assert serve(fake, "--num-prompts", "1", "--output-json", "o.json") == 1
    terminal.seek(0)
    assert r"HTTP 503 \xfcberlastet" in terminal.read()
    assert json.loads(Path("o.json").read_text())["results"]["errors"] == {"HTTP 503 überlastet": 1}


def test_ctrl_c_reports_what_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        deadline_s = time.monotonic() + 10.0
        while len(fake.bodies) < 3 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with fake_server(trouble="hang", num_good=2) as fake:
        threading.Thread(target=interrupt).start()
        argv = ("--num-prompts", "6", "--max-concurrency", "1", "--output-json", "o.json")
        assert serve(fake, *argv) == 130
    assert "Interrupted: 4 requests had not ended" in capsys.readouterr().out
    results = json.loads(Path("o.json").read_text())["results"]
    assert (results["completed"], results["failed"], results["num_interrupted"]) == (2, 0, 4)


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    with fake_server() as fake:
        serve(fake, "--num-prompts", "1")
    assert fake.headers[0]["Authorization"] == "Bearer from-environment"


def test_short_outputs_are_shown() -> None:
    results = dict.fromkeys(
        ("request_throughput", "output_throughput", "total_token_throughput", "duration"), 1.0
    ) | dict.fromkeys(
        ("completed", "failed", "total_input_tokens", "max_concurrent_requests"), 1
    ) | dict.fromkeys(("total_cached_tokens", "num_interrupted"), 0)  # fmt: skip
    results |= {"total_output_tokens": 8, "total_requested_output_tokens": 10}
    text = serve_lines(
        {**results, "request_goodput": None, "client_cpu_share": 0.0, "errors": {}}, ["99"]
    )
    assert "Outputs are 2 tokens shorter than asked for." in list(text)


def test_the_machine_is_described_without_naming_it() -> None:
    machine = describe(Probe(2, "bfloat16", read_bandwidths=[math.pi * 1e9]))
    assert machine["probe"] == {"read_gb_s": [3.14]}
    assert machine["cpu"].startswith(cpu_name())
    assert {"num_cores", "num_threads", "isa", "memory_bytes", "python"} <= set(machine)
    assert os.uname().nodename not in json.dumps(machine).split('"')


def test_a_directory_that_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert describe_commit(tmp_path, ("lite",)) == {"id": None, "modified": None}
