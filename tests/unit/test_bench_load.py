"""When requests are sent, and the figures made of what became of them."""

import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from lite.bench.load import MAX_THREADS, poisson_arrivals, run_load
from lite.bench.openai_stream import OpenAIServer, Outcome
from lite.bench.scenarios import sharegpt_like
from lite.bench.serve import ServeOptions, find_tokenizer, list_models, run_serve
from lite.bench.serve_figures import Load, details, distributions, parse_goodput, serve_figures
from lite.bench.statistics import summary
from lite.bench.workload import BenchRequest
from lite.config import ModelConfig
from lite.errors import ConfigError
from lite.text.tokenizer import load_tokenizer
from tests.checkpoints import make_tokenizer
from tests.openai_server import FakeServer, fake_server

REQUESTS = [BenchRequest(num_input=5, num_output=4, text=f"prompt {i}") for i in range(12)]


def ignore(_: int) -> None:
    pass


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(path, add_bos=False)
    return load_tokenizer(path)


# --- arrivals --------------------------------------------------------------------------------


def test_poisson_arrivals_have_the_rate_and_exponential_gaps() -> None:
    arrivals = np.array(poisson_arrivals(20_001, 50.0, seed=3))
    gaps = np.diff(arrivals)
    assert arrivals[0] == 0.0
    assert arrivals[-1] == pytest.approx(400.0)
    assert gaps.min() >= 0.0
    # The standard deviation of an exponential distribution is its mean.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)


def test_arrivals_follow_from_the_seed() -> None:
    assert poisson_arrivals(5, 2.0, seed=1) == poisson_arrivals(5, 2.0, seed=1)
    assert poisson_arrivals(5, 2.0, seed=1) != poisson_arrivals(5, 2.0, seed=2)
    assert poisson_arrivals(1, 2.0, seed=1) == [0.0]


def test_arrivals_tell_nothing_of_the_lengths() -> None:
    """The first gap and the first prompt of many seeds."""
    pairs = [
        (poisson_arrivals(20, 1.0, seed)[1], sharegpt_like().sample(20, seed)[0][0])
        for seed in range(400)
    ]
    gaps, lengths = np.array(pairs).T
    assert abs(np.corrcoef(gaps, np.log(lengths))[0, 1]) < 0.2


def test_an_infinite_rate_lets_all_come_at_once() -> None:
    assert poisson_arrivals(3, float("inf"), seed=0) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(ConfigError, match="--request-rate"):
        poisson_arrivals(3, rate, seed=0)


# --- sending ---------------------------------------------------------------------------------


def test_requests_are_sent_when_they_are_due() -> None:
    starts: dict[str, float] = {}

    def send(request: BenchRequest) -> Outcome:
        starts[request.text] = time.perf_counter()
        return Outcome()

    arrivals = [0.0, 0.05, 0.05, 0.12]
    _, duration_s = run_load(send, REQUESTS[:4], arrivals, max_concurrency=None, progress=ignore)
    waited = [starts[request.text] - starts["prompt 0"] for request in REQUESTS[:4]]
    # The first one may start late, so that the others seem early by as much.
    assert waited[3] - waited[1] > 0.0
    assert duration_s >= 0.12


def test_a_closed_loop_keeps_the_same_number_open() -> None:
    with fake_server(token_s=0.005) as fake:
        load = serve(fake, max_concurrency=3)
    assert fake.most_open == 3
    assert [one.error for one in load.outcomes] == [""] * 12
    assert not load.has_queue


def test_all_are_open_without_a_limit() -> None:
    with fake_server(first_s=0.3) as fake:
        serve(fake)
    assert fake.most_open == 12


def test_outcomes_are_in_the_order_of_the_requests() -> None:
    def send(request: BenchRequest) -> Outcome:
        time.sleep(0.001 * (int(request.text.split()[1]) % 3))
        return Outcome(text=request.text)

    done: list[int] = []
    outcomes, _ = run_load(send, REQUESTS, [0.0] * 12, max_concurrency=4, progress=done.append)
    assert [one.text for one in outcomes if one] == [request.text for request in REQUESTS]
    assert done == [1] * 12


def test_a_request_that_was_due_before_shows_how_long_it_waited() -> None:
    def send(_: BenchRequest) -> Outcome:
        outcome = Outcome(start_s=time.perf_counter())
        time.sleep(0.05)
        return outcome

    outcomes, _ = run_load(send, REQUESTS[:2], [0.0, 0.0], max_concurrency=1, progress=ignore)
    assert outcomes[1] is not None
    assert outcomes[1].queue_s >= 0.05


def test_connecting_is_waiting_too() -> None:
    def send(_: BenchRequest) -> Outcome:
        time.sleep(0.05)
        return Outcome(start_s=time.perf_counter())

    outcomes, _ = run_load(send, REQUESTS[:1], [0.0], max_concurrency=None, progress=ignore)
    assert outcomes[0] is not None
    assert outcomes[0].queue_s >= 0.05


def test_every_load_but_a_closed_loop_shows_how_late_it_sent() -> None:
    with fake_server() as fake:
        for options, has_queue in (
            ({"request_rate": 500.0}, True),
            ({"request_rate": 500.0, "max_concurrency": 3}, True),
            ({}, True),
            ({"max_concurrency": 3}, False),
        ):
            assert serve(fake, **options).has_queue is has_queue


def test_after_ctrl_c_there_is_what_has_ended() -> None:
    released = threading.Event()

    def send(request: BenchRequest) -> Outcome:
        if request is REQUESTS[2]:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            released.wait(10.0)
        return Outcome(text=request.text)

    outcomes, _ = run_load(send, REQUESTS, [0.0] * 12, max_concurrency=1, progress=ignore)
    released.set()
    assert [one and one.text for one in outcomes] == ["prompt 0", "prompt 1"] + [None] * 10


def test_an_error_of_our_own_ends_the_load() -> None:
    def send(_: BenchRequest) -> Outcome:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        run_load(send, REQUESTS, [0.0] * 12, max_concurrency=2, progress=ignore)


def test_too_many_open_requests_are_refused() -> None:
    requests = [REQUESTS[0]] * (MAX_THREADS + 1)
    with pytest.raises(ConfigError, match="--max-concurrency"):
        run_load(
            lambda _: Outcome(),
            requests,
            [0.0] * len(requests),
            max_concurrency=None,
            progress=ignore,
        )
    with pytest.raises(ConfigError, match="--max-concurrency is 0"):
        run_load(lambda _: Outcome(), REQUESTS, [0.0] * 12, max_concurrency=0, progress=ignore)


def serve(fake: FakeServer, num_warmups: int = 0, **options: Any) -> Load:
    server = OpenAIServer(fake.url, api_key=None, timeout_s=10.0)
    chosen = ServeOptions(model="fake", **options)
    return run_serve(server, chosen, REQUESTS[:num_warmups], REQUESTS, ignore)


def test_the_body_holds_what_the_flags_ask_for() -> None:
    with fake_server() as fake:
        serve(fake, temperature=0.5, extra_body={"top_k": 3})
        serve(fake, backend="openai-chat", ignore_eos=False, temperature=None)
    first, last = fake.bodies[0], fake.bodies[-1]
    assert first["prompt"].startswith("prompt ")
    assert (first["max_tokens"], first["temperature"], first["top_k"]) == (4, 0.5, 3)
    assert first["ignore_eos"] is True
    assert first["stream_options"] == {"include_usage": True}
    assert last["messages"][0]["content"].startswith("prompt ")
    assert last["max_completion_tokens"] == 4
    assert not {"ignore_eos", "temperature"} & set(last)
    assert fake.paths[-1] == "/v1/chat/completions"


def test_warm_ups_are_sent_first_and_not_measured() -> None:
    with fake_server() as fake:
        load = serve(fake, num_warmups=2)
    assert len(fake.bodies) == 14
    assert len(load.outcomes) == 12


def test_a_warm_up_that_fails_stops_everything() -> None:
    with (
        fake_server(trouble="status") as fake,
        pytest.raises(ConfigError, match="warm-up request failed: HTTP 503"),
    ):
        serve(fake, num_warmups=1)


# --- figures ---------------------------------------------------------------------------------


def outcome(ttft_s: float, latency_s: float, num_output: int, start_s: float = 0.0) -> Outcome:
    return Outcome(
        start_s=start_s,
        ttft_s=ttft_s,
        latency_s=latency_s,
        end_s=start_s + latency_s,
        itl_s=[(latency_s - ttft_s) / 2] * 2,
        num_input=10,
        num_output=num_output,
    )


def figures(outcomes: list[Outcome], tokenizer: Any, **options: Any) -> dict[str, Any]:
    load = Load(
        requests=REQUESTS[: len(outcomes)],
        outcomes=outcomes,
        duration_s=2.0,
        client_cpu_s=0.02,
        has_queue=options.pop("has_queue", False),
    )
    return serve_figures(
        load, tokenizer, percentiles=[50.0, 99.0], goodput=options.pop("goodput", {})
    )


def test_the_figures_are_those_of_vllm(tokenizer: Any) -> None:
    made = figures([outcome(0.1, 0.5, 5), outcome(0.3, 0.9, 4)], tokenizer)
    assert (made["completed"], made["failed"], made["errors"]) == (2, 0, {})
    assert (made["total_input_tokens"], made["total_output_tokens"]) == (20, 9)
    assert made["request_throughput"] == 1.0
    assert made["output_throughput"] == 4.5
    assert made["total_token_throughput"] == 14.5
    assert made["mean_ttft_ms"] == pytest.approx(200.0)
    assert made["median_e2el_ms"] == pytest.approx(700.0)
    # (0.5 - 0.1) / 4 and (0.9 - 0.3) / 3
    assert made["mean_tpot_ms"] == pytest.approx(150.0)
    assert made["p99_itl_ms"] == pytest.approx(300.0, rel=0.02)
    assert made["client_cpu_share"] == 0.01
    assert made["request_goodput"] is None
    assert made["total_cached_tokens"] is None
    assert "mean_client_queue_time_ms" not in made


def test_failed_requests_are_counted_and_shown_and_nothing_else(tokenizer: Any) -> None:
    failed = [Outcome(error="HTTP 503 full"), Outcome(error="HTTP 503 full"), Outcome(error="cut")]
    made = figures([outcome(0.1, 0.5, 5), *failed], tokenizer, goodput={"ttft": 1e6})
    assert (made["completed"], made["failed"]) == (1, 3)
    assert made["errors"] == {"HTTP 503 full": 2, "cut": 1}
    assert made["request_throughput"] == made["request_goodput"] == 0.5
    assert made["mean_ttft_ms"] == pytest.approx(100.0)


def test_if_all_failed_there_are_no_times(tokenizer: Any) -> None:
    made = figures([Outcome(error="gone")], tokenizer)
    assert (made["completed"], made["failed"]) == (0, 1)
    assert made["mean_ttft_ms"] is made["p99_e2el_ms"] is None


def test_goodput_counts_requests_that_meet_every_objective(tokenizer: Any) -> None:
    outcomes = [outcome(0.1, 0.5, 5), outcome(0.3, 0.9, 4), outcome(0.1, 0.2, 1)]
    for objectives, good in (
        ({"ttft": 100.0}, 2),
        ({"ttft": 300.0, "tpot": 150.0}, 2),
        ({"e2el": 500.0}, 2),
        ({"tpot": 0.0}, 1),  # a single token has no time per later token
    ):
        made = figures(outcomes, tokenizer, goodput=objectives)
        assert made["request_goodput"] == good / 2.0


def test_a_single_token_has_no_time_per_output_token(tokenizer: Any) -> None:
    made = figures([outcome(0.1, 0.1, 1), outcome(0.1, 0.5, 5)], tokenizer)
    assert made["mean_tpot_ms"] == pytest.approx(100.0)


def test_output_without_usage_is_counted_by_the_tokenizer(tokenizer: Any) -> None:
    uncounted = outcome(0.1, 0.5, 5)
    uncounted.num_output, uncounted.text = None, "Hello there"
    made = figures([uncounted], tokenizer)
    assert made["total_output_tokens"] == len(tokenizer.encode("Hello there", False))
    assert made["output_counted_by"] == "tokenizer"


def test_the_queue_of_the_client_is_shown_where_there_is_one(tokenizer: Any) -> None:
    waited = outcome(0.1, 0.5, 5)
    waited.queue_s = 0.25
    made = figures([waited], tokenizer, has_queue=True)
    assert made["mean_client_queue_time_ms"] == pytest.approx(250.0)


def test_the_peak_counts_requests_open_at_once(tokenizer: Any) -> None:
    spans = [outcome(0.1, 1.0, 2, start_s=start) for start in (0.0, 0.5, 1.0, 1.2)]
    assert figures(spans, tokenizer)["max_concurrent_requests"] == 3


def test_the_peak_counts_failed_requests_while_they_were_open(tokenizer: Any) -> None:
    failed = [Outcome(start_s=start, end_s=start + 1.0, error="cut") for start in (0.0, 0.5)]
    never = Outcome(start_s=0.7, end_s=0.7, error="not connected")
    assert figures([*failed, never], tokenizer)["max_concurrent_requests"] == 2
    spans = [*failed, outcome(0.1, 1.0, 2, start_s=0.6)]
    assert figures(spans, tokenizer)["max_concurrent_requests"] == 3


def test_requests_that_fail_were_open_nevertheless(tokenizer: Any) -> None:
    with fake_server(trouble="hang") as fake:
        server = OpenAIServer(fake.url, api_key=None, timeout_s=0.3)
        load = run_serve(server, ServeOptions(model="fake", max_concurrency=3), [], REQUESTS[:3],
                         ignore)  # fmt: skip
    made = serve_figures(load, tokenizer, percentiles=[50.0], goodput={})
    assert (made["completed"], made["max_concurrent_requests"]) == (0, 3)


def test_details_and_distributions_hold_every_request() -> None:
    outcomes = [outcome(0.1, 0.5, 5), Outcome(error="gone")]
    load = Load(requests=REQUESTS[:2], outcomes=outcomes, duration_s=1.0, client_cpu_s=0.0)
    listed = details(load)
    assert {len(values) for values in listed.values()} == {2}
    assert listed["errors_by_request"] == ["", "gone"]
    assert distributions(load)["time to first token"] == [100.0]


def test_percentiles_interpolate() -> None:
    made = summary("ttft", [0.001, 0.002, 0.003, 0.004], [50.0, 99.9])
    assert made["p50_ttft_ms"] == made["median_ttft_ms"] == pytest.approx(2.5)
    assert made["p99.9_ttft_ms"] == pytest.approx(3.997)


def test_goodput_is_spelled_as_in_vllm() -> None:
    assert parse_goodput(["ttft:500", "tpot:50.5"]) == {"ttft": 500.0, "tpot": 50.5}


@pytest.mark.parametrize("pair", ["ttft", "itl:5", "ttft:fast", "ttft:-1", "ttft:inf", ":5"])
def test_other_objectives_are_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="NAME:MILLISECONDS"):
        parse_goodput([pair])
    with pytest.raises(ConfigError, match="twice"):
        parse_goodput(["ttft:1", "ttft:2"])


# --- what the server serves ------------------------------------------------------------------


def test_the_model_is_asked_for() -> None:
    with fake_server() as fake:
        server = OpenAIServer(fake.url, api_key=None, timeout_s=5.0)
        assert list_models(server)[0]["id"] == "fake"
        for wrong in ({}, {"data": []}, [], {"data": ["x"]}):
            fake.models = wrong
            with pytest.raises(ConfigError, match="lists no model"):
                list_models(server)


def test_a_server_that_is_not_up_is_named() -> None:
    with fake_server() as fake:
        pass
    with pytest.raises(ConfigError, match="is the server up"):
        list_models(OpenAIServer(fake.url, api_key=None, timeout_s=5.0))


def test_the_tokenizer_is_found_where_the_model_is(tmp_path: Any) -> None:
    make_tokenizer(tmp_path, add_bos=False)
    config = ModelConfig(model=str(tmp_path), served_model_name="mine")
    unknown = ModelConfig(model="elsewhere")
    root = [{"id": "served", "root": str(tmp_path)}]
    found = [
        find_tokenizer(str(tmp_path), "any", [], unknown),
        find_tokenizer(None, str(tmp_path), [], unknown),
        find_tokenizer(None, "mine", [], config),
        find_tokenizer(None, "served", root, unknown),
    ]
    assert len({one.vocab_size for one in found}) == 1
    with pytest.raises(ConfigError, match="--tokenizer"):
        find_tokenizer(None, "served", [{"id": "other", "root": str(tmp_path)}], unknown)
