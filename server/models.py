"""GET /v1/models and /v1/models/{id}."""

import falcon
import msgspec

from server.generation import check_model
from server.services import Services, TextGenerator


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A served model, with vLLM's extra fields."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "lite"
    root: str
    parent: None = None
    max_model_len: int
    permission: tuple[()] = ()


class ModelList(msgspec.Struct, frozen=True):
    """Body of GET /v1/models."""

    data: list[Model]
    object: str = "list"


class Models:
    """Lists the served model."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        model = _describe(self._services, self._services.generator)
        resp.data = msgspec.json.encode(ModelList([model]))


class ModelById:
    """Describes the served model; ids may contain slashes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _req: falcon.Request, resp: falcon.Response, model_id: str) -> None:
        generator = self._services.generator
        check_model(model_id, generator)
        resp.data = msgspec.json.encode(_describe(self._services, generator))


def _describe(services: Services, generator: TextGenerator) -> Model:
    return Model(
        id=generator.model_name,
        created=services.started_at,
        root=generator.model_name,
        max_model_len=generator.max_model_len,
    )
