"""The probes, /health/details, /version and /shutdown."""

import os

import falcon
import msgspec

from lite.errors import LiteError, ModelLoadingError
from lite.log import get_logger
from lite.version import __version__
from server.record import record_of
from server.services import Services

log = get_logger(__name__)


def _engine_state(services: Services) -> str:
    try:
        stats = services.engine.stats()
        overdue = stats.last_step_age_s > services.config.server.stuck_after_s
        return "stuck" if overdue else stats.state
    except ModelLoadingError:
        return "loading"
    except LiteError:
        return "dead"


class _Probe:
    def __init__(self, services: Services) -> None:
        self._services = services

    def status(self) -> str:
        raise NotImplementedError

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        status = self.status()
        if status != "ok":
            resp.status = falcon.HTTP_503
        resp.set_header("Cache-Control", "no-store")
        resp.data = msgspec.json.encode({"status": status})

    on_head = on_get


class Health(_Probe):
    """/health and /ping: the model is loaded and its engine makes progress."""

    def status(self) -> str:
        state = _engine_state(self._services)
        return "ok" if state in ("ready", "draining") else state


class Live(_Probe):
    """/health/live: this worker answers."""

    def status(self) -> str:
        return "ok"


class Ready(_Probe):
    """/health/ready: new requests are welcome."""

    def status(self) -> str:
        if self._services.lifecycle.draining:
            return "draining"
        state = _engine_state(self._services)
        return "ok" if state == "ready" else state


class Details:
    """/health/details: the engine's numbers and this worker's."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        lifecycle = self._services.lifecycle
        engine = msgspec.to_builtins(self._services.engine.stats())
        for internal in ("type", "request_id"):
            engine.pop(internal, None)
        resp.set_header("Cache-Control", "no-store")
        resp.data = msgspec.json.encode(
            {
                "status": "draining" if lifecycle.draining else engine["state"],
                "engine": engine,
                "worker": {
                    "pid": os.getpid(),
                    "num_running": lifecycle.num_running,
                    "max_running": lifecycle.max_running,
                    "draining": lifecycle.draining,
                },
            }
        )


class Version:
    """/version."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.data = msgspec.json.encode({"version": __version__})


class Shutdown:
    """/shutdown: stop the server as SIGTERM does."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        log.warning("shutdown requested", key=record_of(req).caller.fingerprint)
        resp.status = falcon.HTTP_202
        resp.data = msgspec.json.encode({"status": "shutting_down"})
        self._services.stop_server()

    on_get = on_post
