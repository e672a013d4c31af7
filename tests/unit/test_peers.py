"""The benchmark of peers: turns, clocks, processes, the client, and what is concluded."""

import argparse
import json
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers
from benchmarks.peering import cases, comparison, serving
from benchmarks.peering.checkpoint import make_checkpoint, make_tokenizer, read_config
from benchmarks.peering.client import run_clients
from benchmarks.peering.engines import BY_NAME, ENGINES, RUNNERS, vllm_process_variables
from benchmarks.peering.measuring import turns
from benchmarks.peering.processes import RunnerError, RunnerProcess, session_pids
from benchmarks.peering.servers import Server, ServerError, all_servers
from benchmarks.peering.serving import check_counts
from benchmarks.report import write_result

FAKE_RUNNER = """
import time
from runner_protocol import Clock, serve

class Fake:
    def __init__(self, word):
        print("not part of the answer")
        self.word = word

    def describe(self):
        return {"word": self.word}

    def generate(self, prompts, num_tokens, keep_prompt):
        clock = Clock(len(prompts))
        for _ in range(num_tokens):
            for i in range(len(prompts)):
                clock.add(i, [7])
            clock.tick()
        return clock.result()

    def fail(self):
        raise ValueError("as asked")

    def hang(self):
        time.sleep(60)

    def end(self):
        raise SystemExit(3)

serve(Fake)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RunnerProcess]:
    script = tmp_path / "fake_runner.py"
    script.write_text(FAKE_RUNNER)
    with RunnerProcess(
        [sys.executable, str(script)],
        variables={"PYTHONPATH": str(RUNNERS)},
        log=tmp_path / "fake.log",
        cwd=tmp_path,
    ) as started:
        yield started


def wait_until_stopped(pid: int) -> None:
    deadline_s = time.monotonic() + 10.0
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_runner_answers_and_stands_still_between_requests(process: RunnerProcess) -> None:
    assert process.call("load", timeout_s=30, word="hello") == {"word": "hello"}
    (pid,) = session_pids(process._process.pid)
    wait_until_stopped(pid)
    result = process.call(
        "generate", timeout_s=30, prompts=[[1], [2]], num_tokens=3, keep_prompt=False
    )
    assert result["outputs"] == [[7, 7, 7], [7, 7, 7]]
    assert result["num_decoded"] == 4
    assert process.memory()["VmRSS"] > 0
    wait_until_stopped(pid)
    assert process.cpu_s() > 0.0


def test_a_runner_says_what_went_wrong_and_goes_on(process: RunnerProcess) -> None:
    process.call("load", timeout_s=30, word="hello")
    with pytest.raises(RunnerError, match="ValueError: as asked"):
        process.call("fail", timeout_s=30)
    assert process.call("describe", timeout_s=30) == {"word": "hello"}


def test_a_runner_that_hangs_or_ends_is_an_error(process: RunnerProcess) -> None:
    process.call("load", timeout_s=30, word="hello")
    with pytest.raises(RunnerError, match="no answer"):
        process.call("hang", timeout_s=0.2)
    process.close()
    with pytest.raises(RunnerError, match="has ended"):
        process.call("describe", timeout_s=30)


def test_a_runner_that_exits_is_an_error(process: RunnerProcess) -> None:
    process.call("load", timeout_s=30, word="hello")
    with pytest.raises(RunnerError, match="has ended"):
        process.call("end", timeout_s=30)


def test_decoding_begins_when_every_sequence_has_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RUNNERS))
    import runner_protocol

    times = iter([10.0, 11.0, 12.0, 14.0])
    monkeypatch.setattr(runner_protocol.time, "perf_counter", lambda: next(times))
    clock = runner_protocol.Clock(2)
    clock.add(0, [1])
    clock.tick()
    clock.add(0, [2])
    clock.add(1, [3])
    clock.tick()
    clock.add(0, [4])
    clock.add(1, [5])
    clock.tick()
    result = clock.result()
    assert (result["first_s"], result["decode_s"], result["num_decoded"]) == (2.0, 2.0, 2)


def test_every_repeat_begins_with_another_engine() -> None:
    engines = list(BY_NAME.values())[:3]
    found = list(turns(engines, 3))
    assert [engine for _, engine, _ in found[::3]] == engines
    assert all(
        {engine.name for repeat, engine, _ in found if repeat == r} == {e.name for e in engines}
        for r in range(3)
    )
    assert found[0][2] == [engine for _, engine, _ in found[1:]]


def test_prompts_are_equal_for_all_engines_and_new_in_every_repeat() -> None:
    case = cases.BY_NAME["decode_8"]
    first = case.prompts(2000, 0)
    assert first == case.prompts(2000, 0)
    assert first != case.prompts(2000, 1)
    assert len(first) == 8
    assert all(len(prompt) == 128 for prompt in first)
    assert all(256 <= token < 2000 for prompt in first for token in prompt)
    kept = cases.BY_NAME["decode_1_at_8k"]
    assert kept.prompts(2000, 0) == kept.prompts(2000, 1)


def test_rates_count_what_the_case_is_about() -> None:
    result = {"first_s": 2.0, "decode_s": 4.0, "num_decoded": 504}
    assert cases.BY_NAME["decode_8"].rate(result) == 126.0
    assert cases.BY_NAME["prefill_512"].rate(result) == 256.0


def test_the_made_up_tokenizer_shows_every_id_as_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    special = {2000: "<|a|>", 2001: "<|b|>"}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(make_tokenizer(special)))
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.get_vocab_size() == 2002
    assert all(tokenizer.decode([i]).isascii() and tokenizer.decode([i]) for i in range(256, 2000))
    ids = tokenizer.encode("Hello there").ids
    assert tokenizer.decode(ids) == "Hello there"
    assert tokenizer.encode("<|b|>").ids == [2001]


def test_the_checkpoint_is_one_that_the_engine_loads(tmp_path: Path) -> None:
    from lite.formats.checkpoint import open_checkpoint
    from lite.models import declare
    from lite.models.weights import check_tensors
    from lite.text.tokenizer import load_tokenizer

    small = {"vocab_size": 2048, "hidden_size": 64, "num_hidden_layers": 1, "head_dim": 16}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
    small |= {"bos_token_id": 2000, "eos_token_id": 2001}
    source = tmp_path / "source"
    source.mkdir()
    public = read_config(Path(__file__).parents[2] / "benchmarks/configs/llama-3.2-1b")
    (source / "config.json").write_text(json.dumps(public | small))
    make_checkpoint(source, tmp_path / "made")
    with open_checkpoint(tmp_path / "made") as checkpoint:
        check_tensors(declare(checkpoint.config, file="config.json"), checkpoint)
    assert load_tokenizer(tmp_path / "made").eos_token_id == 2001


class FakeServer(socketserver.ThreadingTCPServer):
    """Streams as many events as a request asks for; the answer to the prompt [13] is an error."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.make_events = fake_events
        self.running = 0
        self.most_running = 0
        self.lock = threading.Lock()


class FakeHandler(socketserver.StreamRequestHandler):
    server: FakeServer

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = json.loads(self.rfile.read(length))
        with self.server.lock:
            self.server.running += 1
            self.server.most_running = max(self.server.most_running, self.server.running)
        if body["prompt"] == [13]:
            self.wfile.write(b"HTTP/1.1 503 Busy\r\n\r\nfull")
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for event in self.server.make_events(body["max_tokens"]):
                self.chunk(f"data: {event}\n\n")
        with self.server.lock:
            self.server.running -= 1

    def chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        self.wfile.flush()


def fake_events(num_tokens: int) -> list[str]:
    events: list[Any] = [{"choices": [{"text": ""}]}]
    events += [{"choices": [{"text": "x"}]} for _ in range(num_tokens)]
    events.append({"choices": [], "usage": {"completion_tokens": num_tokens}})
    return [*map(json.dumps, events), "[DONE]"]


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_clients_send_the_next_request_when_the_last_has_ended(fake_server: FakeServer) -> None:
    requests, wall_s = run_clients(
        fake_server.server_address[:2],
        [[1]] * 9,
        num_clients=3,
        body={"max_tokens": 100},
        timeout_s=30,
    )
    check_counts(requests, 9)
    assert fake_server.most_running <= 3
    for request in requests:
        assert request.first_s is not None
        assert 0.0 < request.first_s <= request.event_s[-1] <= request.done_s <= wall_s
        assert len(request.event_s) == 100


def test_clients_report_a_refusal(fake_server: FakeServer) -> None:
    with pytest.raises(ConnectionError, match="503"):
        run_clients(
            fake_server.server_address[:2],
            [[1], [13]],
            num_clients=1,
            body={"max_tokens": 1},
            timeout_s=30,
        )


@pytest.mark.parametrize(
    "event", ["{", "[]", "null", '{"usage": {"total": 1}}', '{"usage": 3}', '{"choices": 7}']
)
def test_clients_report_what_is_no_event(fake_server: FakeServer, event: str) -> None:
    fake_server.make_events = lambda num_tokens: [event]
    with pytest.raises(ConnectionError, match="no event but"):
        run_clients(
            fake_server.server_address[:2],
            [[1]],
            num_clients=1,
            body={"max_tokens": 1},
            timeout_s=30,
        )


class FakeRunning:
    """In the place of a started server; "broken" sends no JSON from its third run on."""

    closed: list[str]

    def __init__(self, fake: FakeServer, server: Server) -> None:
        self.server = server
        self.address = fake.server_address[:2]
        self._fake = fake
        self._num_runs = 0

    def wait_until_ready(self) -> None:
        if self.server.name == "dead":
            raise ServerError("ended with 1")

    def cpu_s(self) -> float:
        if self.server.name == "broken":
            self._num_runs += 1
        is_broken = self._num_runs > 4  # asked twice a run
        self._fake.make_events = (lambda num_tokens: ["{"]) if is_broken else fake_events
        return 0.0

    def close(self) -> None:
        self.closed.append(self.server.name)

    def __enter__(self) -> "FakeRunning":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def test_a_server_that_fails_leaves_the_others_and_what_was_saved(
    fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRunning, "closed", [], raising=False)
    monkeypatch.setattr(serving, "RunningServer", lambda s, *_: FakeRunning(fake_server, s))
    monkeypatch.setattr(serving, "read_bandwidth", lambda num_threads: 1e9)
    servers = [
        Server(name=name, family="", command=[], variables={}, cwd=tmp_path, port=0, body={})
        for name in ("whole", "broken", "dead")
    ]
    saved: list[dict[str, Any]] = []
    found = serving.measure_servers(
        servers,
        tmp_path,
        num_threads=1,
        num_clients=2,
        num_requests=2,
        num_repeats=3,
        vocab_size=2000,
        report=lambda text: None,
        save=saved.append,
    )
    assert [len(one["whole"]["runs"]) for one in saved] == [1, 2, 3]
    assert found == saved[-1]
    assert found["whole"]["medians"]["output_tok_s"] > 0.0
    assert "no event but" in found["broken"]["error"]
    assert len(found["broken"]["runs"]) == 1
    assert "medians" not in found["broken"]
    assert found["dead"] == {"error": "ended with 1"}
    assert FakeRunning.closed.count("dead") == 2
    assert FakeRunning.closed[:2] == ["dead", "broken"]


def test_vllm_gets_whole_cores_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr("lite_kernels.cpu.topology._core_of", lambda cpu: str(cpu // 2))
    for num_threads, bound in ((1, "0"), (2, "0,2"), (3, "0,2,1"), (4, "0,2,1,3")):
        variables = vllm_process_variables(tmp_path, num_threads)
        assert variables["VLLM_CPU_OMP_THREADS_BIND"] == bound


def test_llama_server_keeps_no_prompts(tmp_path: Path) -> None:
    servers = all_servers(tmp_path, tmp_path, num_threads=1, num_clients=1)
    commands = [server.command for server in servers if server.family == "llama.cpp"]
    assert len(commands) == 3
    for command in commands:
        assert command[command.index("--cache-ram") + 1] == "0"


def test_a_run_with_too_few_tokens_is_refused(fake_server: FakeServer) -> None:
    requests, _ = run_clients(
        fake_server.server_address[:2], [[1]], num_clients=1, body={"max_tokens": 99}, timeout_s=30
    )
    with pytest.raises(ServerError, match=r"\[99\] tokens"):
        check_counts(requests, 1)


def found(*rates: float, **more: list[float]) -> dict[str, Any]:
    return {"median": sorted(rates)[len(rates) // 2], "rates": list(rates), **more}


def test_ours_is_compared_with_the_best_peer() -> None:
    figures = {
        "engines": {},
        "cases": {
            "decode_8": {
                "lite bf16": found(100.0, 110.0, 90.0),
                "lite int4": found(190.0, 200.0, 210.0),
                "OpenVINO int8": found(100.0, 80.0, 120.0),
                "vLLM BF16": found(50.0, 60.0, 70.0),
                "transformers BF16": {"error": "did not load"},
            }
        },
    }
    (row,) = comparison.compare_engines(figures)
    assert (row["ours"], row["peer"], row["ratio"]) == ("lite int4", "OpenVINO int8", 2.0)
    assert row["ratio_range"] == (1.75, 2.5)
    assert row["reached"]
    assert "NOT REACHED" not in comparison.format_rows([row])


def test_the_share_of_the_bound_is_that_of_the_same_process() -> None:
    figures = {
        "engines": {"lite bf16": {"weights_bytes_per_token": 1_000_000_000}},
        "cases": {
            "decode_1": {
                "lite bf16": found(
                    40.0, 30.0, 35.0, own_bandwidth_gb_s=[50.0, 50.0, 50.0], bandwidth_gb_s=[]
                ),
                "llama.cpp BF16": found(35.0, 35.0, 35.0),
            }
        },
    }
    share, ratio = comparison.compare_engines(figures)
    assert share["ratio"] == pytest.approx(0.7)
    assert not share["reached"]
    assert ratio["ratio"] == 1.0
    assert ratio["reached"]


def test_memory_beyond_weights_and_cache_is_limited() -> None:
    description = {"weights_bytes": 10**9, "kv_bytes_per_token": 10**7}
    for resident, reached in ((2_340_000_000, True), (2_360_000_000, False)):
        memory = {"memory_after_run": {"VmRSS": resident, "num_tokens": 100}}
        figures = {"engines": {"lite int8": description | memory}, "cases": {}}
        (row,) = comparison.compare_engines(figures)
        assert row["reached"] is reached


def test_servers_are_compared_by_throughput_and_by_the_slowest_first_tokens() -> None:
    servers = {
        "lite bf16": {"medians": {"output_tok_s": 300.0, "ttft_p99_s": 2.0}},
        "lite int8": {"medians": {"output_tok_s": 400.0, "ttft_p99_s": 3.0}},
        "vLLM BF16": {"medians": {"output_tok_s": 200.0, "ttft_p99_s": 2.5}},
        "llama-server Q4_0": {"error": "did not start"},
    }
    throughput, first = comparison.compare_servers(servers)
    assert (throughput["ours"], throughput["ratio"], throughput["reached"]) == (
        "lite int8",
        2,
        True,
    )
    assert (first["ours"], first["ratio"], first["reached"]) == ("lite bf16", 0.8, True)


def test_a_resumed_run_keeps_what_was_found_before() -> None:
    def found(case: str, rate: float, **description: Any) -> dict[str, Any]:
        return {
            "engines": {"lite int8": {"family": "lite", **description}},
            "cases": {case: {"lite int8": {"median": rate}}},
            "skipped": {},
            "logprob_differences": {},
            "settings": {"repeats": 5},
        }

    first = found("decode_1", 60.0, memory_after_run={"VmRSS": 1})
    merged = comparison.merge_figures(
        first, found("decode_8", 500.0, memory_after_run={"VmRSS": 2})
    )
    assert list(merged["cases"]) == ["decode_1", "decode_8"]
    assert merged["engines"]["lite int8"]["memory_after_run"] == {"VmRSS": 1}
    assert comparison.merge_figures({}, first) == first


def test_a_run_of_another_commit_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    commit = {"id": "0" * 40, "modified": False}
    path.write_text(json.dumps({"commit": commit, "figures": {}}))
    args = argparse.Namespace(resume=True, out=str(path))
    with pytest.raises(SystemExit, match="other sources, at 0000"):
        peers._earlier_figures("peers", args, {})


RUN_SETTINGS = {
    "model": "small",
    "threads": 2,
    "repeats": 5,
    "engines": ["lite int8", "llama.cpp Q8_0"],
    "limits": {"max_num_seqs": 64},
    "patience": 600.0,
}


@pytest.fixture
def stored_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    monkeypatch.setattr(peers, "unchanged_since", lambda commit: True)
    path = tmp_path / "peers.json"
    write_result("peers", {"settings": RUN_SETTINGS, "cases": {"decode_1": {}}}, path)
    return argparse.Namespace(resume=True, out=str(path))


def test_a_run_is_resumed_with_the_same_settings(stored_run: argparse.Namespace) -> None:
    settings = RUN_SETTINGS | {"patience": 60.0, "resume": True}
    assert peers._earlier_figures("peers", stored_run, settings)["cases"] == {"decode_1": {}}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "large"),
        ("threads", 1),
        ("repeats", 3),
        ("engines", ["lite int8"]),
        ("limits", {"max_num_seqs": 1}),
    ],
)
def test_a_run_with_other_settings_is_not_resumed(
    stored_run: argparse.Namespace, key: str, value: Any
) -> None:
    with pytest.raises(SystemExit, match=f"measured otherwise .{key} .*, now "):
        peers._earlier_figures("peers", stored_run, RUN_SETTINGS | {key: value})


def test_a_run_on_another_machine_is_not_resumed(
    stored_run: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "describe_machine", lambda: {"cpu": "another", "num_cpus": 1})
    with pytest.raises(SystemExit, match="now another"):
        peers._earlier_figures("peers", stored_run, RUN_SETTINGS)


def test_engines_are_named_by_parts_of_their_names_in_any_case() -> None:
    def named(*words: str) -> list[str]:
        return [engine.name for engine in peers._named(ENGINES, words)]

    assert named("OpenVINO INT8") == ["OpenVINO int8"]
    assert named("LLAMA", "vllm") == [
        "llama.cpp BF16",
        "llama.cpp Q8_0",
        "llama.cpp Q4_0",
        "vLLM BF16",
    ]
    assert len(named()) == len(ENGINES)
    with pytest.raises(SystemExit, match="'typo' names none of 'lite bf16', "):
        named("lite", "typo")


def test_a_run_that_can_measure_nothing_is_refused(tmp_path: Path) -> None:
    args = argparse.Namespace(only=["vllm"], scratch=tmp_path, model=tmp_path)
    with pytest.raises(SystemExit, match="nothing to measure"):
        peers._choose(ENGINES, args)
