"""The application over fakes, called without a socket."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import falcon.testing
import msgspec
import pytest

from lite.config import Config
from server.app import create_app
from server.services import Services
from tests.api.fakes import FakeEngine, FakeGenerator, make_services


@dataclass
class Api:
    """The application, its fakes, and short ways to call it."""

    services: Services
    engine: FakeEngine
    generator: FakeGenerator
    client: falcon.testing.TestClient

    def post(self, path: str, body: Any, **options: Any) -> falcon.testing.Result:
        return self.client.simulate_post(path, json=body, **options)

    def get(self, path: str, **options: Any) -> falcon.testing.Result:
        return self.client.simulate_get(path, **options)

    def chat(self, content: str = "hello", **fields: Any) -> falcon.testing.Result:
        body = {"messages": [{"role": "user", "content": content}], **fields}
        return self.post("/v1/chat/completions", body)

    def complete(self, prompt: Any = "hello", **fields: Any) -> falcon.testing.Result:
        return self.post("/v1/completions", {"prompt": prompt, **fields})

    def open(
        self, path: str, body: Any = None, *, method: str = "POST", **environ: Any
    ) -> Iterable[bytes]:
        """Call the application as a WSGI server would and return the body, unread."""
        whole = falcon.testing.create_environ(
            path=path,
            method=method,
            body=b"" if body is None else msgspec.json.encode(body),
            headers={"Content-Type": "application/json"},
        )
        return self.client.app({**whole, **environ}, falcon.testing.StartResponseMock())


MakeApi = Callable[..., Api]


@pytest.fixture
def make_api() -> MakeApi:
    def make(*, default_sampling: Mapping[str, Any] | None = None, **sections: Any) -> Api:
        config = msgspec.convert(sections, Config)
        services, engine, generator = make_services(config, default_sampling=default_sampling)
        return Api(services, engine, generator, falcon.testing.TestClient(create_app(services)))

    return make


@pytest.fixture
def api(make_api: MakeApi) -> Iterator[Api]:
    made = make_api()
    yield made
    assert made.services.lifecycle.num_running == 0
    assert not made.engine.running


def frames(text: str) -> list[dict[str, Any]]:
    """Return the frames of a stream, checking that it is well framed and ends with [DONE]."""
    assert text.endswith("data: [DONE]\n\n")
    blocks = text.removesuffix("data: [DONE]\n\n").split("\n\n")
    assert blocks.pop() == ""
    events = [block for block in blocks if not block.startswith(":")]
    for event in events:
        assert event.startswith("data: ")
        assert "\n" not in event
    return [msgspec.json.decode(event.removeprefix("data: ")) for event in events]
