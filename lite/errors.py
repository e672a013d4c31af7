"""Every error a user or a file can cause, as one tree.

LiteError
├── ConfigError              config.yaml, a flag or an environment variable is wrong
├── ModelError               a checkpoint cannot be used
│   ├── CheckpointError      a file is missing, truncated or malformed
│   └── UnsupportedModelError   well-formed, but not something this engine runs
├── InvalidRequestError      the caller's request is wrong (HTTP 400)
│   ├── ContextLengthError   prompt plus output do not fit the context
│   └── UnsupportedParameterError  known parameter, not implemented here
├── CapacityError            there is not enough memory for what was asked
├── OverloadedError          the queue is full; try again later
│   ├── QueueTimeoutError    waited longer in the queue than allowed
│   └── ModelLoadingError    the engine is up but its model is not loaded yet
└── EngineError              the engine itself failed
    ├── NotFiniteError       the model's numbers are NaN or infinite
    └── EngineDeadError      the engine process is gone
        └── EngineClosedError   the engine was closed or is shutting down

`raise` is for anything a user or a file can cause; `assert` guards our own invariants.
HTTP status codes appear only in `server/errors.py`.
"""


class LiteError(Exception):
    """Root of the tree; the message names the value, the limit and the remedy."""


class ConfigError(LiteError):
    """A setting is unknown, malformed or out of range."""


class ModelError(LiteError):
    """A checkpoint cannot be used."""


class CheckpointError(ModelError):
    """A checkpoint file is missing, truncated or malformed."""


class UnsupportedModelError(ModelError):
    """The checkpoint is well-formed but asks for something that is not implemented."""


class InvalidRequestError(LiteError):
    """The caller's request is wrong.

    Args:
        message: what is wrong, the limit, and the remedy.
        param: path of the offending field, e.g. ``messages[0].role``.
        code: machine-readable reason; see docs/api.md for the list.
    """

    def __init__(
        self, message: str, *, param: str | None = None, code: str = "invalid_value"
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ContextLengthError(InvalidRequestError):
    """Prompt plus requested output do not fit the context."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message, param=param, code="context_length_exceeded")


class UnsupportedParameterError(InvalidRequestError):
    """A known parameter, or a known value of one, that is not implemented."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message, param=param, code="unsupported_parameter")


class CapacityError(LiteError):
    """Not enough memory for what was asked."""


class OverloadedError(LiteError):
    """The queue is full.

    Args:
        message: which limit was hit.
        retry_after_s: seconds after which a retry is sensible.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueTimeoutError(OverloadedError):
    """The request waited longer in the queue than `queue_timeout_s`."""


class ModelLoadingError(OverloadedError):
    """The engine process is up and still loads its model."""


class EngineError(LiteError):
    """The engine failed while working on the request."""


class NotFiniteError(EngineError):
    """The model's numbers are NaN or infinite."""


class EngineDeadError(EngineError):
    """The engine process is gone or unreachable."""


class EngineClosedError(EngineDeadError):
    """The engine was closed, or is draining before a shutdown."""


def to_text(error: LiteError) -> str:
    """Return an error as it travels in `TokenOutput.error`: its class's name, then the message."""
    return f"{type(error).__name__} {error}"


def from_text(text: str) -> LiteError:
    """Return the error that `to_text` wrote; an unknown name gives an EngineError."""
    name, _, message = text.partition(" ")
    named = globals().get(name)
    if isinstance(named, type) and issubclass(named, LiteError):
        return named(message)
    return EngineError(text)
