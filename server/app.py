"""The composition root: `create_app`, and `application` for `gunicorn server.app`."""

import hashlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import falcon
import msgspec

from lite.config import Config
from lite.errors import ConfigError
from lite.version import __version__
from server import errors
from server.auth import Access, KeyRing
from server.chat import ChatCompletions
from server.completions import Completions
from server.health import Details, Health, Live, Ready, Shutdown, Version
from server.lifecycle import Lifecycle
from server.metrics import Metrics
from server.middleware import RequestMiddleware
from server.models import ModelById, Models
from server.rate_limit import RateLimiter
from server.services import EngineControl, Services, TextGenerator
from server.tokenize import Detokenize, Tokenize

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_EXPOSED_HEADERS = (
    "x-request-id",
    "retry-after",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
)

Routes = Mapping[str, tuple[object, Access]]


class Application:
    """The WSGI callable, and what its worker tells it."""

    def __init__(self, services: Services) -> None:
        self._app = create_app(services)
        self._engine = services.engine
        self.lifecycle = services.lifecycle

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        return self._app(environ, start_response)

    def close(self) -> None:
        """Let go of the engine; it goes on without this worker."""
        self._engine.close()


def routes(services: Services) -> Routes:
    """Return every route with its resource and what it asks of its caller."""
    metrics_access = Access.PUBLIC if services.config.auth.open_metrics else Access.KEY
    return {
        "/v1/chat/completions": (ChatCompletions(services), Access.KEY),
        "/v1/completions": (Completions(services), Access.KEY),
        "/v1/models": (Models(services), Access.KEY),
        "/v1/models/{model_id:path}": (ModelById(services), Access.KEY),
        "/tokenize": (Tokenize(services), Access.KEY),
        "/detokenize": (Detokenize(services), Access.KEY),
        "/health": (Health(services), Access.PUBLIC),
        "/ping": (Health(services), Access.PUBLIC),
        "/health/live": (Live(services), Access.PUBLIC),
        "/health/ready": (Ready(services), Access.PUBLIC),
        "/health/details": (Details(services), Access.KEY),
        "/metrics": (Metrics(services), metrics_access),
        "/version": (Version(), Access.KEY),
        "/shutdown": (Shutdown(services), Access.ADMIN),
    }


def create_app(services: Services) -> "falcon.App[Any, Any]":
    """Return the WSGI application over the given services."""
    table = routes(services)
    middleware: list[Any] = []
    origins = services.config.server.cors_allow_origins
    if origins:
        middleware.append(
            falcon.CORSMiddleware(
                allow_origins="*" if "*" in origins else origins,
                expose_headers=_EXPOSED_HEADERS,
            )
        )
    access = {template: access for template, (_, access) in table.items()}
    middleware.append(RequestMiddleware(services, access))
    app: falcon.App[Any, Any] = falcon.App(middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = True
    errors.install(app)
    for template, (resource, _) in table.items():
        app.add_route(template, resource)
    return app


def create_services(config: Config, *, engine: EngineControl, generator: TextGenerator) -> Services:
    """Return the services of a worker process.

    Raises:
        ConfigError: a key file cannot be read.
    """
    return Services(
        config=config,
        engine=engine,
        generator=generator,
        keys=KeyRing.load(config.auth),
        limiter=RateLimiter(config.rate_limit, engine),
        lifecycle=Lifecycle(config.server.threads),
        fingerprint=fingerprint(config),
        stop_server=_stop_server,
        started_at=int(time.time()),
    )


def fingerprint(config: Config) -> str:
    """Return `system_fingerprint`: changes with whatever may change an output."""
    # Where the packed weights were kept changes no bit of them.
    model = msgspec.structs.replace(config.model, weights_cache=False)
    decides = (__version__, model, config.engine.device, config.engine.kv_cache_dtype)
    digest = hashlib.sha256(msgspec.json.encode(decides)).hexdigest()
    return f"fp_{digest[:12]}"


def _stop_server() -> None:
    # A worker's parent is gunicorn's master process, which stops all workers and the engine.
    os.kill(os.getppid(), signal.SIGTERM)


def build_application() -> Application:
    """Return the application of a worker process, connected to the engine process.

    Raises:
        ConfigError: the configuration is wrong, or no engine's address is known.
        ModelError: the model's tokenizer or configuration cannot be read.
    """
    from lite.client.remote import RemoteEngineClient
    from lite.generator import Generator
    from lite.settings import load_config
    from lite.text_model import load_text_model

    config = load_config().config
    if config.server.engine_address is None:
        raise ConfigError(
            "server.engine_address is not set: start the server with `lite serve`, or with "
            "gunicorn and this project's gunicorn.conf.py, which start the engine too."
        )
    text_model = load_text_model(config.model)
    engine = RemoteEngineClient(config.server.engine_address)
    return Application(
        create_services(config, engine=engine, generator=Generator(engine, text_model))
    )


def __getattr__(name: str) -> Application:
    # Built when gunicorn's worker asks for it, so that importing this module has no effects.
    if name == "application":
        return build_application()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
