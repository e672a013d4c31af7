"""RequestStream and OutputQueue: order, waiting, coalescing, errors and closing."""

import gc
import threading
import time

import pytest

from lite.client.stream import OutputQueue, RequestStream, merge_outputs
from lite.errors import EngineDeadError, EngineError, OverloadedError, from_text, to_text
from lite.messages import GenerateRequest, RequestTimings, SamplingSpec, TokenOutput


def make_stream(n: int = 1) -> tuple[RequestStream, OutputQueue, list[str]]:
    request = GenerateRequest(request_id="r", prompt_token_ids=b"", sampling=SamplingSpec(), n=n)
    queue = OutputQueue(n)
    abandoned: list[str] = []
    return RequestStream(request, queue, abandoned.append), queue, abandoned


def output(token_id: int, index: int = 0, reason: str | None = None) -> TokenOutput:
    return TokenOutput(request_id="r", index=index, token_ids=[token_id], finish_reason=reason)


def test_outputs_come_in_order_and_the_iterator_ends_after_the_last_one() -> None:
    stream, queue, _ = make_stream(n=2)
    queue.put(output(1))
    queue.put(output(2, index=1, reason="stop"))
    queue.put(output(3, reason="length"))
    assert [(o.index, o.token_ids) for o in stream] == [(0, [1]), (1, [2]), (0, [3])]
    assert stream.finished
    assert stream.poll(0.0) == []


def test_poll_hands_over_all_that_is_ready_at_once() -> None:
    stream, queue, _ = make_stream()
    queue.put(output(1))
    queue.put(output(2))
    assert [o.token_ids for o in stream.poll(1.0)] == [[1], [2]]
    assert not stream.finished


def test_poll_returns_nothing_after_its_timeout() -> None:
    stream, _, _ = make_stream()
    start = time.monotonic()
    assert stream.poll(0.05) == []
    assert 0.04 < time.monotonic() - start < 2.0


def test_a_waiting_reader_is_woken_by_an_output() -> None:
    stream, queue, _ = make_stream()
    received: list[list[TokenOutput]] = []
    reader = threading.Thread(target=lambda: received.append(stream.poll(10.0)))
    reader.start()
    time.sleep(0.02)
    queue.put(output(7))
    queue.wake()
    reader.join(5.0)
    assert [o.token_ids for o in received[0]] == [[7]]


def test_a_slow_reader_gets_fewer_larger_outputs_and_loses_no_token() -> None:
    stream, queue, _ = make_stream(n=2)
    for token_id in range(10_000):
        queue.put(output(token_id, index=token_id % 2))
        queue.wake()
    outputs = stream.poll(0.0)
    assert len(outputs) <= 70
    for index in (0, 1):
        token_ids = [t for o in outputs if o.index == index for t in o.token_ids]
        assert token_ids == list(range(index, 10_000, 2))


def test_merging_keeps_logprobs_and_the_end() -> None:
    timings = RequestTimings(queue_s=1.0)
    first = TokenOutput(
        request_id="r",
        token_ids=[1],
        logprobs=[[(1, -0.5, 1)]],
        prompt_logprobs=[None],
        num_cached_tokens=16,
    )
    last = TokenOutput(
        request_id="r",
        token_ids=[2],
        logprobs=[[(2, -0.1, 1)]],
        finish_reason="stop",
        stop_reason=2,
        timings=timings,
    )
    assert merge_outputs([first, last]) == [
        TokenOutput(
            request_id="r",
            token_ids=[1, 2],
            logprobs=[[(1, -0.5, 1)], [(2, -0.1, 1)]],
            prompt_logprobs=[None],
            num_cached_tokens=16,
            finish_reason="stop",
            stop_reason=2,
            timings=timings,
        )
    ]


def test_an_error_is_raised_once_after_the_outputs_before_it_and_abandons_the_request() -> None:
    stream, queue, abandoned = make_stream()
    queue.put(output(1))
    queue.put(
        TokenOutput(request_id="r", finish_reason="error", error="OverloadedError queue is full")
    )
    assert [o.token_ids for o in stream.poll(1.0)] == [[1]]
    assert not stream.finished
    with pytest.raises(OverloadedError, match=r"^queue is full$"):
        stream.poll(1.0)
    assert stream.finished
    assert stream.poll(0.0) == []
    assert abandoned == ["r"]


def test_a_failure_ends_a_waiting_reader_at_once() -> None:
    stream, queue, _ = make_stream()
    threading.Timer(0.02, queue.fail, [EngineDeadError("gone")]).start()
    with pytest.raises(EngineDeadError, match="gone"):
        next(stream)


def test_an_output_stopped_early_is_not_handed_out_and_the_others_go_on() -> None:
    stream, queue, abandoned = make_stream(n=2)
    queue.put(output(1, index=0))
    queue.put(output(2, index=1))
    queue.abort(0)
    queue.put(output(3, index=0))
    queue.put(output(4, index=1, reason="length"))
    assert [o.token_ids for o in stream] == [[2], [4]]
    assert abandoned == []


def test_closing_abandons_once_and_ends_the_iterator() -> None:
    stream, queue, abandoned = make_stream()
    queue.put(output(1))
    stream.close()
    stream.close()
    assert abandoned == ["r"]
    assert list(stream) == []


def test_dropping_the_stream_abandons_the_request() -> None:
    stream, _, abandoned = make_stream()
    del stream
    gc.collect()
    assert abandoned == ["r"]


def test_errors_travel_as_text_by_name() -> None:
    error = from_text(to_text(OverloadedError("the queue is full")))
    assert type(error) is OverloadedError
    assert str(error) == "the queue is full"
    assert type(from_text("SystemExit 1")) is EngineError
