"""GET /metrics: the exposition text of the engine's registry, which counts for all workers."""

import falcon

from server.services import Services


class Metrics:
    """Prometheus metrics."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.set_header("Cache-Control", "no-store")
        resp.data = self._services.engine.metrics().encode()
