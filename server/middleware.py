"""What every request gets: an id, a check of its key, a log line and an observation."""

import re
import uuid
from collections.abc import Mapping

import falcon
import structlog

from lite.errors import LiteError
from lite.log import get_logger
from lite.messages import HttpObservation
from server.auth import Access
from server.record import RequestRecord, record_of
from server.services import Services
from server.sse import EventStream

log = get_logger("server.request")

_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
# Handler label of requests that match no route.
_NO_ROUTE = "none"


class RequestMiddleware:
    """Opens a record for each request, and closes it when the last byte is written."""

    def __init__(self, services: Services, access: Mapping[str, Access]) -> None:
        self._services = services
        self._access = access

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header("X-Request-Id") or ""
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        req.context.record = RequestRecord(request_id=request_id, method=req.method)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        resp.set_header("X-Request-Id", request_id)

    def process_resource(
        self,
        req: falcon.Request,
        _resp: falcon.Response,
        _resource: object,
        _params: dict[str, object],
    ) -> None:
        # A browser's preflight carries no key; it is answered without running a route.
        if req.method == "OPTIONS":
            return
        access = self._access.get(req.uri_template or "", Access.KEY)
        record_of(req).caller = self._services.keys.authorize(req, access)

    def process_response(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        _resource: object,
        _req_succeeded: bool,
    ) -> None:
        if not hasattr(req.context, "record"):
            return  # refused by Falcon before anything else
        status = resp.status_code
        stream = resp.stream
        if isinstance(stream, EventStream):
            stream.on_close(lambda: self._finish(req, status))
            return
        record_of(req).response_bytes = len(resp.data or b"")
        self._finish(req, status)

    def _finish(self, req: falcon.Request, status: int) -> None:
        record = record_of(req)
        handler = req.uri_template or _NO_ROUTE
        # Probes come every few seconds, and while the model loads they all fail.
        write = log.debug if self._access.get(handler) is Access.PUBLIC else log.info
        write(
            "request finished",
            method=req.method,
            path=req.path,
            status=status,
            duration_s=round(record.elapsed_s(), 4),
            **record.fields(),
        )
        observation = HttpObservation(
            method=req.method if req.method in _METHODS else "OTHER",
            handler=handler,
            status=status,
            duration_s=record.elapsed_s(),
            request_bytes=record.request_bytes,
            response_bytes=record.response_bytes,
        )
        try:
            self._services.engine.observe(observation)
        except LiteError as error:
            log.debug("observation lost", reason=str(error))
        # The thread's next lines belong to no request.
        structlog.contextvars.clear_contextvars()
