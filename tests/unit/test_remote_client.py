"""RemoteEngineClient against the engine's socket alone: what happens when it closes."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lite.client.remote import RemoteEngineClient
from lite.client.stream import RequestStream
from lite.engine.address import parse_address, private_address
from lite.engine.router import Router
from lite.engine.waker import Waker
from lite.errors import EngineDeadError
from lite.messages import GenerateRequest, SamplingSpec, StepOutputs, TokenOutput

NUM_TOKENS = 1_000


def request(request_id: str) -> GenerateRequest:
    return GenerateRequest(
        request_id=request_id,
        prompt_token_ids=b"\0\0\0\0",
        sampling=SamplingSpec(max_tokens=NUM_TOKENS),
    )


@pytest.fixture
def speak_and_leave() -> Iterator[Callable[[list[TokenOutput]], RequestStream]]:
    """Return a function: an engine that sends these outputs and closes, as a client sees it."""
    clients = []

    def speak(outputs: list[TokenOutput]) -> RequestStream:
        address = private_address(Path(tempfile.mkdtemp(dir=directory)))
        waker = Waker()
        router = Router(parse_address(address), waker)
        client = RemoteEngineClient(address)
        clients.append(client)
        stream = client.submit(request("open"))
        while not (messages := router.receive()):
            router.wait(None)
        for output in outputs:
            router.send(messages[0][0], StepOutputs([output]))
        router.close()
        waker.close()
        return stream

    with tempfile.TemporaryDirectory(prefix="lite-") as directory:
        yield speak
        for client in clients:
            client.close()


def test_what_an_engine_says_last_before_it_leaves_arrives(
    speak_and_leave: Callable[[list[TokenOutput]], RequestStream],
) -> None:
    outputs = [
        TokenOutput(request_id="open", token_ids=[i], finish_reason=reason)
        for i, reason in enumerate([None] * (NUM_TOKENS - 1) + ["length"])
    ]
    stream = speak_and_leave(outputs)
    token_ids = [token_id for output in stream for token_id in output.token_ids]
    assert token_ids == list(range(NUM_TOKENS))


def test_an_output_without_an_end_fails_when_the_engine_leaves(
    speak_and_leave: Callable[[list[TokenOutput]], RequestStream],
) -> None:
    stream = speak_and_leave([TokenOutput(request_id="open", token_ids=[7])])
    assert next(stream).token_ids == [7]
    with pytest.raises(EngineDeadError):
        next(stream)
