"""The engine process, its supervisor and RemoteEngineClient, in real processes; a fake core."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from lite.client.remote import RemoteEngineClient
from lite.config import Config, ServerConfig
from lite.engine import supervisor
from lite.engine.supervisor import Supervisor
from lite.errors import (
    ConfigError,
    EngineClosedError,
    EngineDeadError,
    InvalidRequestError,
    ModelLoadingError,
    OverloadedError,
)
from lite.messages import GenerateRequest, HttpObservation, SamplingSpec, TokenOutput
from tests.fake_core import CRASH

FAKE_ENGINE = (sys.executable, "-m", "tests.fake_core")
ROOT = Path(__file__).parents[2]


def request(
    request_id: str, *, max_tokens: int = 3, first: int = 10, n: int = 1
) -> GenerateRequest:
    return GenerateRequest(
        request_id=request_id,
        prompt_token_ids=np.array([first], "<i4").tobytes(),
        sampling=SamplingSpec(max_tokens=max_tokens),
        n=n,
    )


def token_ids(outputs: list[TokenOutput] | Iterator[TokenOutput]) -> list[int]:
    return [token_id for output in outputs for token_id in output.token_ids]


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.01)


def assert_dead(one: Supervisor, *, match: str) -> None:
    """Expect that a client which comes too late learns why the engine has ended."""
    client = RemoteEngineClient(one.address, connect_timeout_s=0.1)
    with pytest.raises(EngineDeadError, match=match):
        client.stats()
    client.close()


def is_ready(client: RemoteEngineClient) -> bool:
    try:
        return client.stats().state == "ready"
    except EngineDeadError:
        return False


Start = Callable[..., tuple[Supervisor, RemoteEngineClient]]


class Engines:
    """Starts supervised fake engines, connects to them, and ends them all."""

    def __init__(self) -> None:
        self._supervisors: list[Supervisor] = []
        self._clients: list[RemoteEngineClient] = []

    def start(
        self,
        *,
        ready: bool = True,
        config: Config | None = None,
        restart: bool = True,
        **variables: str,
    ) -> tuple[Supervisor, RemoteEngineClient]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("LITE_", "VLLM_"))}
        environ |= {"LITE_LOG_LEVEL": "warning", "LITE_CONFIG": os.devnull, **variables}
        one = supervisor.start(config or Config(), environ, engine=FAKE_ENGINE, restart=restart)
        client = RemoteEngineClient(one.address, connect_timeout_s=10.0)
        self._supervisors.append(one)
        self._clients.append(client)
        if ready:
            wait_until(lambda: is_ready(client))
        return one, client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for one in self._supervisors:
            pids = [process.pid for process in family(one)]
            one.stop(10.0)
            wait_until(lambda pids=pids: not any(map(psutil.pid_exists, pids)))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts an engine of the test's own."""
    monkeypatch.chdir(ROOT)
    engines = Engines()
    yield engines.start
    engines.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return the address of an engine for all tests that leave it alive."""
    with contextlib.chdir(ROOT):
        engines = Engines()
        yield engines.start()[0].address
        engines.close()


@pytest.fixture
def client(address: str) -> Iterator[RemoteEngineClient]:
    client = RemoteEngineClient(address, connect_timeout_s=10.0)
    yield client
    client.close()


def family(one: Supervisor) -> list[psutil.Process]:
    try:
        process = psutil.Process(one.pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def test_a_request_streams_its_tokens_and_ends(client: RemoteEngineClient) -> None:
    outputs = list(client.submit(request("a", n=2)))
    for index in (0, 1):
        assert token_ids([o for o in outputs if o.index == index]) == [11, 12, 13]
    assert [o.finish_reason for o in outputs if o.finish_reason] == ["length", "length"]
    assert client.stats().num_running == 0


def test_an_id_in_use_is_refused_and_free_again_afterwards(client: RemoteEngineClient) -> None:
    stream = client.submit(request("a"))
    with pytest.raises(InvalidRequestError):
        client.submit(request("a"))
    assert token_ids(stream) == [11, 12, 13]
    assert token_ids(client.submit(request("a"))) == [11, 12, 13]


def test_64_threads_stream_at_once(client: RemoteEngineClient) -> None:
    received: dict[int, list[int]] = {}

    def read(number: int) -> None:
        stream = client.submit(request(f"r{number}", first=1_000 * number, max_tokens=50))
        received[number] = token_ids(stream)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    expected = {n: list(range(1_000 * n + 1, 1_000 * n + 51)) for n in range(64)}
    assert received == expected


def test_poll_waits_for_a_heartbeat_interval_at_most(start: Start) -> None:
    _, client = start(LITE_TEST_STEP_S="0.5")
    with client.submit(request("a")) as stream:
        assert stream.poll(0.05) == []
        assert token_ids(stream.poll(5.0)) == [11]


def test_a_slow_reader_gets_everything_in_few_outputs(start: Start) -> None:
    _, client = start(LITE_TEST_STEP_S="0")
    stream = client.submit(request("slow", max_tokens=2_000))
    list(client.submit(request("other", max_tokens=1_000)))
    wait_until(lambda: client.stats().num_running == 0)
    outputs = list(stream)
    assert token_ids(outputs) == list(range(11, 2_011))
    assert len(outputs) < 200


def test_closing_or_dropping_a_stream_stops_the_engine_working_for_it(
    client: RemoteEngineClient,
) -> None:
    stream = client.submit(request("closed", max_tokens=100_000))
    next(stream)
    stream.close()
    wait_until(lambda: client.stats().num_running == 0, 2.0)
    stream = client.submit(request("dropped", max_tokens=100_000))
    next(stream)
    del stream
    wait_until(lambda: client.stats().num_running == 0, 2.0)


def test_one_output_is_stopped_and_the_others_go_on(client: RemoteEngineClient) -> None:
    stream = client.submit(request("a", n=2, max_tokens=30))
    assert next(stream).index == 0
    client.abort("a", 0)
    rest = list(stream)
    assert {output.index for output in rest} == {1}
    assert token_ids(rest) == list(range(11, 41))
    wait_until(lambda: client.stats().num_running == 0, 2.0)


def test_a_full_queue_is_reported_as_overloaded(start: Start) -> None:
    _, client = start(LITE_MAX_NUM_SEQS="1", LITE_MAX_WAITING_REQUESTS="1")
    with (
        client.submit(request("running", max_tokens=10_000)) as running,
        client.submit(request("waiting", max_tokens=10_000)),
    ):
        next(running)
        with pytest.raises(OverloadedError, match="queue is full"):
            next(client.submit(request("refused")))


def test_requests_are_refused_while_the_model_loads(start: Start) -> None:
    _, client = start(ready=False, LITE_TEST_LOAD_S="0.7")
    assert client.stats().state == "loading"
    with pytest.raises(ModelLoadingError):
        next(client.submit(request("early")))
    client.observe(HttpObservation(method="GET", handler="/health", status=503, duration_s=0.1))
    assert 'http_requests_total{handler="/health"' in client.metrics()
    wait_until(lambda: is_ready(client))
    assert token_ids(client.submit(request("late"))) == [11, 12, 13]


def test_stats_metrics_and_quotas_are_answered_while_a_step_runs(start: Start) -> None:
    _, client = start(LITE_TEST_STEP_S="1.5")
    with client.submit(request("long")):
        wait_until(lambda: client.stats().last_step_age_s > 0.0)
        begin_s = time.monotonic()
        assert client.stats().state == "ready"
        assert "vllm:num_requests_running" in client.metrics()
        assert client.quota("key", num_tokens=30, tokens_per_minute=100).allowed
        client.settle_quota("key", num_tokens=-20, tokens_per_minute=100)
        reply = client.quota("key", num_tokens=0, num_requests=0, tokens_per_minute=100)
        assert reply.remaining_tokens == 90
        assert time.monotonic() - begin_s < 1.0


def test_the_time_to_the_first_token_holds_the_step_that_ran_on_arrival(start: Start) -> None:
    _, client = start(LITE_TEST_STEP_S="0.6")
    with client.submit(request("first", max_tokens=2)) as first:
        wait_until(lambda: client.stats().last_step_age_s > 0.0)
        list(client.submit(request("second", max_tokens=1)))
        list(first)
    values = re.findall(r"time_to_first_token_seconds_sum\S* (\S+)", client.metrics())
    # A step for the first request; the rest of that step, and another one, for the second.
    assert float(values[0]) > 2 * 0.6 + 0.2


def test_a_killed_engine_fails_open_streams_at_once_and_comes_back(start: Start) -> None:
    _, client = start()
    stream = client.submit(request("open", max_tokens=100_000))
    next(stream)
    killed_s = time.monotonic()
    os.kill(client.stats().pid, signal.SIGKILL)
    with pytest.raises(EngineDeadError):
        token_ids(stream)
    assert time.monotonic() - killed_s < 0.4
    wait_until(lambda: is_ready(client))
    assert time.monotonic() - killed_s > supervisor.MIN_BACKOFF_S
    assert token_ids(client.submit(request("open"))) == [11, 12, 13]


def test_a_crash_loop_backs_off_and_calls_fail_fast_with_the_reason(start: Start) -> None:
    one, _ = start(ready=False, LITE_TEST_LOAD_FAILS="crash")
    client = RemoteEngineClient(one.address, connect_timeout_s=0.1)
    error_file = Path(one.address.removeprefix("ipc://") + ".error")
    wait_until(error_file.exists)
    time.sleep(0.2)
    begin_s = time.monotonic()
    with pytest.raises(EngineDeadError, match=r"ended with code 7; a new one starts within 0.5 s"):
        client.submit(request("a"))
    assert time.monotonic() - begin_s < 0.2
    wait_until(lambda: "within 1 s" in error_file.read_text())
    client.close()


def test_without_restarts_the_first_crash_ends_the_supervisor(start: Start) -> None:
    one, client = start(ready=False, restart=False, LITE_TEST_LOAD_FAILS="crash")
    wait_until(lambda: not one.is_running())
    client.close()
    assert_dead(one, match=r"ended with code 7; its log says more\.")


def test_an_engine_that_crashes_on_a_request_serves_the_next_one(start: Start) -> None:
    _, client = start()
    with pytest.raises(EngineDeadError):
        next(client.submit(request("bad", first=CRASH)))
    wait_until(lambda: is_ready(client))
    assert token_ids(client.submit(request("good"))) == [11, 12, 13]


def test_an_unusable_model_ends_the_supervisor_and_the_reason_stays(start: Start) -> None:
    one, client = start(ready=False, LITE_TEST_LOAD_FAILS="checkpoint")
    wait_until(lambda: not one.is_running())
    client.close()
    assert_dead(one, match=r"model.safetensors: the file ends early")
    assert one.stop(1.0)
    assert not Path(one.address.removeprefix("ipc://")).parent.exists()


FRONT_END = """
import sys, time
from lite.client.remote import RemoteEngineClient
from tests.e2e.test_engine_process import request
client = RemoteEngineClient(sys.argv[1])
streams = [client.submit(request(f"r{i}", max_tokens=10**6)) for i in range(4)]
print(next(streams[0]).token_ids, flush=True)
time.sleep(60)
"""


def test_requests_of_a_killed_front_end_are_aborted_waiting_ones_too(start: Start) -> None:
    one, client = start(LITE_MAX_NUM_SEQS="2")
    with subprocess.Popen(
        [sys.executable, "-c", FRONT_END, one.address],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as front_end:
        assert front_end.stdout is not None
        assert front_end.stdout.readline() == b"[11]\n"
        wait_until(lambda: client.stats().num_waiting == 2)
        front_end.kill()
        wait_until(lambda: client.stats().num_running == 0, 2.0)
    stats = client.stats()
    assert (stats.num_running, stats.num_waiting) == (0, 0)
    assert token_ids(client.submit(request("mine"))) == [11, 12, 13]


def test_a_front_end_that_only_waits_is_missed_when_it_dies(start: Start) -> None:
    one, client = start(LITE_TEST_STEP_S="0.2", LITE_MAX_NUM_SEQS="1")
    with client.submit(request("mine", max_tokens=1_000)) as stream:
        next(stream)
        code = FRONT_END.replace("print(next(streams[0]).token_ids, flush=True)", "print()")
        with subprocess.Popen(
            [sys.executable, "-u", "-c", code, one.address], cwd=ROOT, stdout=-3
        ) as front_end:
            wait_until(lambda: client.stats().num_waiting == 4)
            front_end.kill()
            wait_until(lambda: client.stats().num_waiting == 0, 2.0)


def test_sigterm_drains_refuses_new_work_and_exits_0(start: Start) -> None:
    one, client = start(LITE_TEST_STEP_S="0.05")
    engine = psutil.Process(client.stats().pid)
    stream = client.submit(request("open", max_tokens=40))
    next(stream)
    engine.terminate()
    wait_until(lambda: client.stats().state == "draining")
    with pytest.raises(EngineClosedError):
        next(client.submit(request("late")))
    assert len(token_ids(stream)) == 39
    wait_until(lambda: not one.is_running())
    assert not Path(one.address.removeprefix("ipc://")).parent.exists()


def test_the_drain_time_bounds_the_wait(start: Start) -> None:
    config = Config(server=ServerConfig(drain_s=0.3))
    one, client = start(config=config, LITE_DRAIN_S="0.3")
    stream = client.submit(request("open", max_tokens=10**6))
    next(stream)
    begin_s = time.monotonic()
    assert one.stop(10.0)
    assert 0.3 <= time.monotonic() - begin_s < 3.0
    with pytest.raises(EngineDeadError, match="shut down before the output ended"):
        token_ids(stream)


def test_a_second_sigterm_ends_the_engine_at_once(start: Start) -> None:
    _, client = start()
    engine = psutil.Process(client.stats().pid)
    stream = client.submit(request("open", max_tokens=10**6))
    next(stream)
    engine.terminate()
    wait_until(lambda: client.stats().state == "draining")
    engine.terminate()
    with pytest.raises(EngineDeadError):
        token_ids(stream)


def test_a_shutdown_request_drains_and_ends_the_supervisor(start: Start) -> None:
    one, client = start()
    client.shutdown(drain_s=5.0)
    wait_until(lambda: not one.is_running())
    with pytest.raises(EngineDeadError):
        RemoteEngineClient(one.address, connect_timeout_s=0.05).stats()


PARENT = """
import sys, time
from lite.config import Config
from lite.engine import supervisor
s = supervisor.start(Config(), engine=[sys.executable, "-m", "tests.fake_core"])
print(s.address, flush=True)
time.sleep(60)
"""


def test_no_process_survives_a_killed_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "LITE_LOG_LEVEL": "warning", "LITE_CONFIG": os.devnull},
    ) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline().decode().strip()
        client = RemoteEngineClient(address, connect_timeout_s=10.0)
        wait_until(lambda: is_ready(client))
        processes = psutil.Process(parent.pid).children(recursive=True)
        assert len(processes) == 2
        parent.kill()
    wait_until(lambda: not any(map(psutil.Process.is_running, processes)), 5.0)
    client.close()
    assert not Path(address.removeprefix("ipc://")).parent.exists()


def test_an_idle_engine_uses_no_cpu(start: Start) -> None:
    one, client = start()
    list(client.submit(request("warm")))
    processes = [*family(one), psutil.Process()]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    time.sleep(2.0)
    after = [sum(process.cpu_times()[:2]) for process in processes]
    used_s = [b - a for a, b in zip(before, after, strict=True)]
    assert max(used_s) <= 0.03, used_s


def test_two_servers_do_not_meet_and_an_address_serves_one_engine(
    start: Start, tmp_path: Path
) -> None:
    first, _ = start()
    second, _ = start()
    assert first.address != second.address
    config = Config(server=ServerConfig(engine_address=first.address))
    third, _ = start(ready=False, config=config)
    wait_until(lambda: not third.is_running())
    client = RemoteEngineClient(first.address)
    assert token_ids(client.submit(request("a"))) == [11, 12, 13]
    client.close()
    assert not Path(first.address.removeprefix("ipc://") + ".error").exists()


def test_tcp_works_with_the_token_and_not_without(start: Start) -> None:
    port = 20_000 + os.getpid() % 20_000
    address = f"tcp://127.0.0.1:{port}#secret"
    _, client = start(config=Config(server=ServerConfig(engine_address=address)))
    assert token_ids(client.submit(request("a"))) == [11, 12, 13]
    stranger = RemoteEngineClient(f"tcp://127.0.0.1:{port}#guess", reply_timeout_s=0.3)
    with pytest.raises(EngineDeadError, match="did not answer"):
        stranger.stats()
    stranger.close()
    with pytest.raises(ConfigError, match="token"):
        RemoteEngineClient(f"tcp://127.0.0.1:{port}")


def test_a_program_ends_without_closing_its_client(address: str) -> None:
    code = FRONT_END.replace("time.sleep(60)", "")
    done = subprocess.run(
        [sys.executable, "-c", code, address],
        cwd=ROOT,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_client_refuses_calls(client: RemoteEngineClient) -> None:
    stream = client.submit(request("a", max_tokens=10**6))
    next(stream)
    client.close()
    client.close()
    with pytest.raises(EngineClosedError):
        token_ids(stream)
    with pytest.raises(EngineClosedError):
        client.stats()


def test_the_end_removes_temporary_files_and_waits_for_no_thread() -> None:
    code = (
        "import atexit, threading, time\n"
        "from lite.engine.process import exit_with\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "atexit.register(print, 'removed')\n"
        "exit_with(3)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (3, "removed\n")
