"""Names that users of other engines already know, as tables.

The variables are those of the Rust servers around vLLM (VLLM_*) and of `llm` servers (LLM_*);
the file keys are those of their configuration files.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a setting, with the conversion of its value where they differ."""

    path: str
    convert: Callable[[object], object] | None = None


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A name for something that does not exist here; only `accepted` changes nothing."""

    accepted: tuple[str, ...]
    remedy: str


def _log_file(directory: object) -> object:
    return f"{str(directory).rstrip('/')}/lite.log"


_NO = ("0", "false", "no", "off")
_YES = ("1", "true", "yes", "on")


def _kv_cache_dtype(is_quantized: object) -> object:
    """Turn whether the KV cache is quantized into its format; the setting refuses the rest."""
    formats = dict.fromkeys(_NO, "auto") | dict.fromkeys(_YES, "int8")
    return formats.get(str(is_quantized).strip().lower(), is_quantized)


_SPECULATIVE = "speculative decoding is not implemented"
_PARALLEL = "tensor parallelism is not implemented"
_FP8 = "the KV cache has no fp8 format: set kv_cache_dtype to int8"
_WAITING = "the queue is bounded in requests and tokens: set engine.max_waiting_requests"
_ARCHITECTURE = "the architecture is read from the checkpoint's config.json"
_WINDOW = "limits are per minute: set rate_limit.requests_per_minute"

# Other spellings of values, for text in any case.
VALUES: dict[str, dict[str, str]] = {
    "model.dtype": {"bf16": "bfloat16", "f32": "float32", "fp32": "float32", "float": "float32"},
    "engine.kv_cache_dtype": {
        **{"bf16": "bfloat16", "f32": "float32", "fp32": "float32", "float": "float32"},
        "q8_0": "int8",
    },
    # The nearest format of those that are known elsewhere.
    "model.quantization": {"q8_0": "int8", "q4_0": "int4", "q4k": "int4"},
    "log.level": {"trace": "debug", "warn": "warning"},
}

# Variables that name the configuration file; LITE_CONFIG is ours.
CONFIG_VARIABLES = ("LITE_CONFIG", "VLLM_CONFIG_PATH", "LLM_CONFIG")

# Variables of ours that are not settings: read by the kernels, the build and the tests.
OTHER_VARIABLES = ("LITE_CONFIG", "LITE_CACHE_DIR", "LITE_CPU_ISA", "LITE_CYTHON_DEBUG")
TEST_PREFIX = "LITE_TEST_"

VARIABLES: dict[str, Alias | Unsupported] = {
    "VLLM_HOST": Alias("server.host"),
    "VLLM_PORT": Alias("server.port"),
    "VLLM_LOG_LEVEL": Alias("log.level"),
    "VLLM_LOG_DIR": Alias("log.file", _log_file),
    "VLLM_MODEL": Alias("model.model"),
    "VLLM_MAX_DRAFT_TOKENS": Unsupported(("0",), _SPECULATIVE),
    "VLLM_KV_BLOCKS": Alias("engine.num_kv_blocks"),
    "VLLM_TENSOR_PARALLEL_SIZE": Unsupported(("1",), _PARALLEL),
    "VLLM_KV_QUANTIZATION": Alias("engine.kv_cache_dtype", _kv_cache_dtype),
    "VLLM_MAX_BATCH_SIZE": Alias("engine.max_num_seqs"),
    "VLLM_MAX_WAITING_BATCHES": Unsupported((), _WAITING),
    "VLLM_MAX_MODEL_LEN": Alias("model.max_model_len"),
    "VLLM_ADAPTIVE_SPECULATIVE": Unsupported(_NO, _SPECULATIVE),
    "VLLM_API_KEY": Alias("auth.api_keys"),
    "VLLM_API_KEYS_FILE": Alias("auth.api_keys_file"),
    "VLLM_INSECURE_ALLOW_PUBLIC_NO_AUTH": Alias("server.insecure_allow_public_no_auth"),
    "VLLM_OTLP_ENDPOINT": Unsupported((), "OpenTelemetry export is not implemented"),
    "VLLM_ALLOW_STUB": Unsupported(_NO, "there is no stub engine: name a model"),
    "VLLM_USE_RUST_FRONTEND": Unsupported(_NO, "there is one front end, server.app"),
    "VLLM_RUST_FRONTEND_PATH": Unsupported((), "there is one front end, server.app"),
    "VLLM_ENGINE_READY_TIMEOUT_S": Unsupported(
        (), "workers answer 503 while the engine loads and do not time out: poll /health/ready"
    ),
    "VLLM_SERVER_DEV_MODE": Unsupported(_NO, "there is no development mode"),
    "LLM_HOST": Alias("server.host"),
    "LLM_PORT": Alias("server.port"),
    "LLM_MODEL_PATH": Alias("model.model"),
    "LLM_MODEL_ARCH": Unsupported((), _ARCHITECTURE),
    "LLM_TOKENIZER_PATH": Alias("model.tokenizer"),
    "LLM_MAX_BATCH_SIZE": Alias("engine.max_num_seqs"),
    "LLM_MAX_SEQ_LEN": Alias("model.max_model_len"),
    "LLM_DEVICE": Alias("engine.device"),
    "LLM_QUANTIZATION": Alias("model.quantization"),
    "LLM_WORKERS": Alias("server.workers"),
    "LLM_QUEUE_CAPACITY": Alias("engine.max_waiting_requests"),
    "LLM_METRICS": Unsupported(_YES, "metrics are always on; GET /metrics asks for a key"),
    "LLM_LOG_LEVEL": Alias("log.level"),
}

_CPU_ONLY = "the engine runs on the CPU"
_FORMATS = "checkpoints are directories with safetensors files: name one with --model"

FLAGS: dict[str, Alias | Unsupported] = {
    "-m": Alias("model.model"),
    "-p": Alias("server.port"),
    "--w": Alias("model.model"),
    "--model-path": Alias("model.model"),
    "--tokenizer-path": Alias("model.tokenizer"),
    "--max-seq-len": Alias("model.max_model_len"),
    "--kv-blocks": Alias("engine.num_kv_blocks"),
    "--max-batch-size": Alias("engine.max_num_seqs"),
    "--queue-capacity": Alias("engine.max_waiting_requests"),
    "--api-key": Alias("auth.api_keys"),
    "--api-key-file": Alias("auth.api_keys_file"),
    "--log-dir": Alias("log.file", _log_file),
    "--d": Unsupported((), _CPU_ONLY),
    "--f": Unsupported((), _FORMATS),
    "--m": Unsupported((), _FORMATS),
    "--quant": Alias("model.quantization"),
    "--isq": Alias("model.quantization"),
    "--kv-quantization": Alias("engine.kv_cache_dtype", _kv_cache_dtype),
    "--fp8-kvcache": Unsupported(_NO, _FP8),
    "--model-arch": Unsupported((), _ARCHITECTURE),
    "--tensor-parallel-size": Unsupported(("1",), _PARALLEL),
    "-t": Unsupported(("1",), _PARALLEL),
    "--max-draft-tokens": Unsupported(("0",), _SPECULATIVE),
    "--max-waiting-batches": Unsupported((), _WAITING),
    "--otlp-endpoint": Unsupported((), "OpenTelemetry export is not implemented"),
}

FILE_KEYS: dict[str, Alias | Unsupported] = {
    "server.log_level": Alias("log.level"),
    "server.log_dir": Alias("log.file", _log_file),
    "server.shutdown_drain_grace_secs": Alias("server.drain_s"),
    "cors.allow_origins": Alias("server.cors_allow_origins"),
    "engine.max_batch_size": Alias("engine.max_num_seqs"),
    "engine.max_model_len": Alias("model.max_model_len"),
    "engine.max_waiting_batches": Unsupported((), _WAITING),
    "engine.tensor_parallel_size": Unsupported(("1",), _PARALLEL),
    "engine.kv_quantization": Alias("engine.kv_cache_dtype", _kv_cache_dtype),
    "engine.max_draft_tokens": Unsupported(("0",), _SPECULATIVE),
    "engine.enable_adaptive_speculative": Unsupported(_NO, _SPECULATIVE),
    "auth.rate_limit_requests": Alias("rate_limit.requests_per_minute"),
    "auth.rate_limit_window_secs": Unsupported(("60",), _WINDOW),
    "host": Alias("server.host"),
    "port": Alias("server.port"),
    "model.path": Alias("model.model"),
    "model.architecture": Unsupported((), _ARCHITECTURE),
    "model.tokenizer_path": Alias("model.tokenizer"),
    "model.device": Alias("engine.device"),
    "inference.max_seq_len": Alias("model.max_model_len"),
    "inference.default_max_tokens": Alias("server.default_max_tokens"),
    "performance.max_batch_size": Alias("engine.max_num_seqs"),
    "performance.workers": Alias("server.workers"),
    "performance.queue_capacity": Alias("engine.max_waiting_requests"),
    "logging.level": Alias("log.level"),
}
