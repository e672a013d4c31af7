"""Read a request's JSON body within its limits."""

from typing import Any

import falcon
import msgspec
from gunicorn.http.errors import ParseException

from server.errors import ApiError
from server.record import record_of

_CHUNK_BYTES = 64 * 1024


def read_json(req: falcon.Request, *, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object in the body.

    Raises:
        ApiError: 400, 413 or 415.
    """
    _check_content_type(req.content_type)
    body = _read(req, max_bytes)
    record_of(req).request_bytes = len(body)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(
            400, f"The request body is not valid JSON: {error}.", code="json_parse_error"
        ) from None
    if not isinstance(document, dict):
        raise ApiError(400, "The request body must be a JSON object.", code="invalid_value")
    return document


def _check_content_type(content_type: str | None) -> None:
    # SAFETY: a web page can send forms and plain text anywhere without asking; JSON it cannot.
    if content_type is None:
        return
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(
            415,
            f"Content-Type {kind!r} is not supported; send application/json.",
            code="unsupported_media_type",
        )


def _read(req: falcon.Request, max_bytes: int) -> bytes:
    length = req.content_length
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes)
    # A chunked body has no length; gunicorn ends its stream where the body ends.
    stream = req.stream if length is None else req.bounded_stream
    if length is None and not req.env.get("wsgi.input_terminated"):
        return b""
    parts: list[bytes] = []
    num_bytes = 0
    try:
        while part := stream.read(_CHUNK_BYTES):
            parts.append(part)
            num_bytes += len(part)
            if num_bytes > max_bytes:
                raise _too_large(max_bytes)
    except (ParseException, OSError):
        raise _incomplete() from None
    if length is not None and num_bytes < length:
        raise _incomplete()
    return b"".join(parts)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The request body is larger than {max_bytes} bytes (server.max_body_bytes).",
        code="payload_too_large",
    )


def _incomplete() -> ApiError:
    return ApiError(400, "The request body ended early or is malformed.", code="incomplete_body")
