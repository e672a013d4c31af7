"""An LLM inference engine without PyTorch: `LLM` embeds it, `lite serve` serves it."""

from typing import TYPE_CHECKING, Any

from lite.errors import (
    CapacityError,
    CheckpointError,
    ConfigError,
    ContextLengthError,
    EngineClosedError,
    EngineDeadError,
    EngineError,
    InvalidRequestError,
    LiteError,
    ModelError,
    OverloadedError,
    QueueTimeoutError,
    UnsupportedModelError,
    UnsupportedParameterError,
)
from lite.outputs import CompletionOutput, Logprob, OutputDelta, RequestOutput
from lite.sampling_params import SamplingParams
from lite.version import __version__

if TYPE_CHECKING:
    from lite.llm import LLM
    from lite.vllm_rs import Engine, EngineConfig, GenerationOutput, Message

__all__ = [
    "LLM",
    "CapacityError",
    "CheckpointError",
    "CompletionOutput",
    "ConfigError",
    "ContextLengthError",
    "Engine",
    "EngineClosedError",
    "EngineConfig",
    "EngineDeadError",
    "EngineError",
    "GenerationOutput",
    "InvalidRequestError",
    "LiteError",
    "Logprob",
    "Message",
    "ModelError",
    "OutputDelta",
    "OverloadedError",
    "QueueTimeoutError",
    "RequestOutput",
    "SamplingParams",
    "UnsupportedModelError",
    "UnsupportedParameterError",
    "__version__",
]

# PERF: `import lite` stays cheap; what pulls in the engine is imported when first used.
_LAZY = {
    "LLM": "lite.llm",
    "Engine": "lite.vllm_rs",
    "EngineConfig": "lite.vllm_rs",
    "GenerationOutput": "lite.vllm_rs",
    "Message": "lite.vllm_rs",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lite' has no attribute {name!r}")
