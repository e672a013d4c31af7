"""Errors as OpenAI's clients expect them: the only place where exceptions become HTTP statuses."""

import math
from collections.abc import Mapping
from typing import Any

import falcon
import msgspec

from lite.errors import (
    EngineClosedError,
    EngineDeadError,
    EngineError,
    InvalidRequestError,
    LiteError,
    ModelLoadingError,
    OverloadedError,
    QueueTimeoutError,
)
from lite.log import get_logger

log = get_logger(__name__)

# Seconds after which a client may ask again, where nothing better is known.
_RETRY_LOADING_S = 5.0
_RETRY_DRAINING_S = 1.0

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}


class ErrorBody(msgspec.Struct, frozen=True):
    """The inside of an error response; all four keys are always present."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """An error response, and an error frame of a stream."""

    error: ErrorBody


class ApiError(Exception):
    """An error response: raised by handlers, written by `install`'s error handler.

    Args:
        status: HTTP status.
        message: what is wrong, the limit, and the remedy.
        code: machine-readable reason, listed in docs/api.md.
        param: path of the offending field, e.g. ``messages[0].role``.
        headers: extra response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def type(self) -> str:
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        return _TYPES.get(self.status, default)

    def body(self) -> ErrorResponse:
        """Return what goes over the wire."""
        return ErrorResponse(ErrorBody(self.message, self.type, self.param, self.code))


class ClientGoneError(Exception):
    """The client closed its connection; nobody reads the answer."""


def invalid(message: str, *, param: str | None, code: str = "invalid_value") -> ApiError:
    """Return a 400 that names the field."""
    return ApiError(400, message, code=code, param=param)


def unavailable(message: str, *, code: str, retry_after_s: float) -> ApiError:
    """Return a 503 that says when to come back."""
    return ApiError(503, message, code=code, headers=retry_headers(retry_after_s))


def retry_headers(retry_after_s: float) -> dict[str, str]:
    """Return the headers for a delay: whole seconds for everyone, milliseconds for OpenAI's."""
    return {
        "Retry-After": str(max(1, math.ceil(retry_after_s))),
        "retry-after-ms": str(max(1, math.ceil(retry_after_s * 1000))),
    }


def shutting_down(what: str = "takes no new requests") -> ApiError:
    """Return the answer to new work while the server drains, or to work it can't finish."""
    return unavailable(
        f"The server is shutting down and {what}; retry elsewhere or later.",
        code="shutting_down",
        retry_after_s=_RETRY_DRAINING_S,
    )


def to_api_error(error: BaseException) -> ApiError:
    """Return the error response for any exception; unknown ones say nothing of themselves."""
    match error:
        case ApiError():
            return error
        case InvalidRequestError():
            return invalid(str(error), param=error.param, code=error.code)
        case QueueTimeoutError():
            return unavailable(str(error), code="queue_timeout", retry_after_s=error.retry_after_s)
        case ModelLoadingError():
            return unavailable(str(error), code="model_loading", retry_after_s=_RETRY_LOADING_S)
        case OverloadedError():
            return unavailable(
                str(error), code="engine_overloaded", retry_after_s=error.retry_after_s
            )
        case EngineClosedError():
            return shutting_down()
        case EngineDeadError():
            return unavailable(
                "The engine stopped and is being restarted; retry in a few seconds.",
                code="engine_dead",
                retry_after_s=_RETRY_LOADING_S,
            )
        case EngineError():
            return ApiError(
                500,
                "The engine failed on this request; its log names the cause.",
                code="internal_error",
            )
        case LiteError():
            return ApiError(500, str(error), code="internal_error")
        case falcon.HTTPError():
            return _from_falcon(error)
        case _:
            # Retrying a bug gives the same bug again.
            return ApiError(
                500,
                "The server failed to process this request; its log names the cause under the "
                "request id.",
                code="internal_error",
                headers={"x-should-retry": "false"},
            )


def _from_falcon(error: falcon.HTTPError) -> ApiError:
    status = error.status_code
    message = {
        404: "There is no such route.",
        405: "This route does not know this method; see the Allow header.",
    }.get(status, error.description or error.title or "The request is malformed.")
    code = _CODES.get(status, "internal_error" if status >= 500 else "invalid_value")
    headers = error.headers or {}
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return ApiError(status, message, code=code, headers=dict(pairs))


def install(app: "falcon.App[Any, Any]") -> None:
    """Let every exception of `app` end in an error response of OpenAI's shape."""
    app.add_error_handler(Exception, _handle)
    app.add_error_handler(falcon.HTTPError, _handle)


def _handle(
    req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    record = getattr(req.context, "record", None)
    if isinstance(error, ClientGoneError):
        resp.status = "499 Client Closed Request"
        if record is not None:
            record.client_gone = True
        return
    answer = explain(error)
    write(resp, answer)
    if record is not None:
        record.error_code = answer.code


def explain(error: Exception) -> ApiError:
    """Return the error response for an exception; log what the response keeps to itself."""
    answer = to_api_error(error)
    if answer.code == "internal_error":
        known = isinstance(error, LiteError)
        log.error("request failed", reason=str(error), exc_info=None if known else error)
    return answer


def write(resp: falcon.Response, error: ApiError) -> None:
    """Make `resp` the error's response."""
    resp.status = falcon.code_to_http_status(error.status)
    resp.content_type = "application/json"
    resp.stream = None
    resp.data = msgspec.json.encode(error.body())
    for name, value in error.headers.items():
        resp.set_header(name, value)
