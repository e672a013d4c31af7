"""Every setting, as a tree of frozen structs; unknown keys and bad values are refused."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

NonEmpty = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(gt=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0)]


class ModelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which checkpoint, and how it is read."""

    model: NonEmpty = "demo"  # a directory, or the bundled model
    served_model_name: str | None = None
    tokenizer: str | None = None
    load_format: Literal["auto", "safetensors", "dummy"] = "auto"
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    quantization: Literal["int8", "int4"] | None = None  # None: as the checkpoint is
    weights_cache: bool = False
    max_model_len: Positive | None = None
    chat_template: str | None = None  # a file
    generation_config: Literal["auto", "none"] = "auto"
    seed: Annotated[int, Meta(ge=0)] = 0


class EngineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scheduler, the KV cache and the kernels."""

    device: Literal["auto", "cpu"] = "auto"
    num_threads: Positive | None = None
    block_size: Positive = 16
    kv_cache_dtype: Literal["auto", "bfloat16", "float32", "int8"] = "auto"
    num_kv_blocks: Positive | None = None
    kv_cache_memory: Positive | None = None  # bytes
    memory_fraction: Fraction = 0.8
    max_num_seqs: Annotated[int, Meta(ge=1, le=65536)] = 256
    max_num_batched_tokens: Positive = 2048
    enable_prefix_caching: bool = True
    max_waiting_requests: Positive = 1024
    max_waiting_tokens: Positive | None = None
    queue_timeout_s: Seconds | None = 600.0


class ServerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP side and its processes."""

    host: NonEmpty = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    workers: Positive = 2
    threads: Positive = 64
    engine_address: str | None = None  # ZMQ address; None: a private socket file
    drain_s: Seconds = 30.0
    stuck_after_s: Annotated[float, Meta(gt=0.0)] = 120.0
    heartbeat_s: Annotated[float, Meta(gt=0.0)] = 5.0
    max_body_bytes: Positive = 4 * 1024 * 1024
    default_max_tokens: Positive | None = None  # chat; None: up to the context length
    cors_allow_origins: list[str] = []
    insecure_allow_public_no_auth: bool = False


class AuthConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call. Keys in the clear, or SHA-256 hashes in a file."""

    api_keys: list[str] = []
    api_keys_env: str | None = None  # name of an environment variable with comma-separated keys
    api_keys_file: str | None = None  # one "sha256:<hex> [name]" a line
    admin_keys: list[str] = []
    admin_keys_file: str | None = None
    open_metrics: bool = False  # /metrics without a key


class KeyLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one key; None means unlimited."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None


class RateLimitConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of every key, and exceptions by key name or fingerprint."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    overrides: dict[str, KeyLimits] = {}


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written about the work done."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    file: str | None = None
    prompts: bool = False  # log prompt and output text
    stats_interval_s: Seconds = 10.0


class MetricsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which names /metrics speaks."""

    compat: list[Literal["vllm", "llm", "lite", "vllm-retired"]] = field(
        default_factory=lambda: ["vllm", "llm"]
    )


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of config.yaml."""

    model: ModelConfig = ModelConfig()
    engine: EngineConfig = EngineConfig()
    server: ServerConfig = ServerConfig()
    auth: AuthConfig = AuthConfig()
    rate_limit: RateLimitConfig = RateLimitConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
