"""Structured logs: structlog over the standard library's loggers, JSON or console lines.

A program that embeds the engine sees ordinary `logging` loggers below "lite" and handles them as
it likes; the server and the command line call `configure`.
"""

import contextlib
import logging
import logging.handlers
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor

from lite.config import LogConfig
from lite.errors import ConfigError

LOGGERS = ("lite", "server")

_SECRET_FIELDS = frozenset({"authorization", "api_key", "api_keys", "admin_key", "x-api-key"})
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s'\",]+")
_HIDDEN = "(hidden)"
# Line ends of tracebacks are meant; the renderer quotes those of other values.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def _to_record(
    _logger: object, _method: str, event: EventDict
) -> tuple[tuple[str], dict[str, object]]:
    """Make the arguments of a `logging` call; fields travel together, so any name will do."""
    given = {name: event.pop(name) for name in ("exc_info", "stack_info") if name in event}
    return (event.pop("event"),), {**given, "extra": {"fields": event}}


def _from_record(_logger: object, _method: str, event: EventDict) -> EventDict:
    event.update(getattr(event["_record"], "fields", {}))
    return event


# Run where the line is written; what follows runs only when a handler formats it.
_AT_THE_CALL: tuple[Processor, ...] = (
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    _to_record,
)


def get_logger(name: str, **bound: object) -> BoundLogger:
    """Return the logger of a module; keyword values become fields of every line.

    `log.info("request finished", num_tokens=12)`: the event is a fixed phrase, what varies
    goes into fields.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name), processors=_AT_THE_CALL, wrapper_class=BoundLogger
    )
    return logger.bind(**bound)  # type: ignore[no-any-return]


def request_context(request_id: str) -> contextlib.AbstractContextManager[None]:
    """Put `request_id` into every line that this thread writes inside the `with` block."""
    return structlog.contextvars.bound_contextvars(request_id=request_id)


def configure(
    config: LogConfig, *, secrets: Iterable[str] = (), loggers: Sequence[str] = LOGGERS
) -> None:
    """Send the lines of `loggers` to standard error and, as JSON, to `config.file`.

    Calling it again replaces the handlers of the earlier call. `secrets` (API keys) are
    hidden wherever they occur in a line, tracebacks included.

    Raises:
        ConfigError: the log file cannot be opened.
    """
    redact = _Redactor(secrets)
    as_json = config.format == "json" or (config.format == "auto" and not sys.stderr.isatty())
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(_formatter(redact, as_json=as_json))
    if config.file is not None:
        try:
            # Several processes append to it, so rotation is left to logrotate.
            to_file = logging.handlers.WatchedFileHandler(config.file, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"log.file: {config.file} cannot be opened ({error.strerror}); "
                "name a file in a directory that exists and is writable."
            ) from None
        to_file.setFormatter(_formatter(redact, as_json=True))
        handlers.append(to_file)
    for name in loggers:
        logger = logging.getLogger(name)
        for old in logger.handlers[:]:
            logger.removeHandler(old)
            old.close()
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(config.level.upper())
        logger.propagate = False


def _formatter(redact: "_Redactor", *, as_json: bool) -> ProcessorFormatter:
    renderer: Processor
    if as_json:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return ProcessorFormatter(
        foreign_pre_chain=[
            _from_record,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            *([] if as_json else [_escape_controls]),
            renderer,
        ],
    )


def _escape_controls(_logger: object, _method: str, event: EventDict) -> EventDict:
    # SAFETY: a request's path may hold sequences that a terminal obeys.
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], value)
    return event


class _Redactor:
    """Hide keys: fields that hold them by name, bearer tokens, and the values given."""

    def __init__(self, secrets: Iterable[str]) -> None:
        longest_first = sorted(filter(None, secrets), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        for name, value in event.items():
            hide = name.lower() in _SECRET_FIELDS
            event[name] = _HIDDEN if hide and value else self._clean(value)
        return event

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._known.sub(_HIDDEN, _BEARER.sub(rf"\1{_HIDDEN}", value))
        if isinstance(value, dict):
            return dict(self(None, "", dict(value)))
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return value
