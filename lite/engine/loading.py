"""From a configuration to a model in memory: checkpoint, declaration, plan, kernels, weights."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import lite_kernels
from lite.config import Config, EngineConfig
from lite.engine.memory_plan import MemoryPlan, plan_memory
from lite.engine.weight_source import WeightSource
from lite.errors import ConfigError
from lite.formats.checkpoint import open_checkpoint
from lite.log import get_logger
from lite.models import declare
from lite.models.decoder import workspace_nbytes
from lite.models.location import locate_model, served_name
from lite.models.parts import Part, Quantization
from lite.models.spec import Decoder
from lite.models.weights import Weights, assemble, tensor_shapes, weights_nbytes
from lite_kernels import Kernels

# Rows whose logits are computed at once; more are done in pieces of this size.
MAX_LOGITS_ROWS = 64
_COMPILING = "compiling the kernels for this machine; only the first start takes so long"
_COMPILING_IN_VAIN = (
    "compiling the kernels, which cannot be kept, so that every start takes so long: set "
    "LITE_CACHE_DIR to a writable directory"
)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to run."""

    name: str
    decoder: Decoder
    kernels: Kernels
    weights: Weights
    plan: MemoryPlan


def load_model(config: Config) -> LoadedModel:
    """Load the model that `config` names and print the memory plan.

    Raises:
        ModelError: the checkpoint cannot be used.
        ConfigError: a setting does not suit the model or this machine.
        CapacityError: it does not fit into memory; nothing has been loaded then.
    """
    started_s = time.monotonic()
    location = locate_model(config.model.model)
    with open_checkpoint(
        location.config_file, load_format=config.model.load_format, seed=config.model.seed
    ) as checkpoint:
        decoder = declare(checkpoint.config, file=str(checkpoint.config_file))
        source = WeightSource.find(decoder, checkpoint, config.model)
        dtype = resolve_dtype(config.model.dtype, checkpoint.config)
        compile_kernels(config.engine, dtype, source.quantization)
        kernels = load_kernels(config.engine, dtype)
        plan = plan_for(decoder, kernels, config, source.parts, source.quantization)
        for line in plan.lines():
            log.info("memory_plan", part=line)
        # The rope table covers what is served, not what the model was declared for.
        decoder = replace(decoder, max_model_len=plan.max_model_len)
        weights = assemble(decoder, source.load(kernels), kernels)
    name = served_name(config.model)
    log.info(
        "model_loaded",
        model=name,
        architecture=decoder.architecture,
        device=kernels.device,
        dtype=dtype,
        quantization=source.quantization or "none",
        threads=str(kernels.threads),
        seconds=round(time.monotonic() - started_s, 2),
    )
    return LoadedModel(name=name, decoder=decoder, kernels=kernels, weights=weights, plan=plan)


def compile_kernels(
    engine: EngineConfig, dtype: str, quantization: Quantization | None = None
) -> None:
    """Compile what a model of this kind runs, with a warning, unless it is in the cache.

    Raises:
        ConfigError: the backend does not exist on this machine.
    """
    try:
        lite_kernels.compile_ahead(
            resolve_device(engine),
            dtype=dtype,
            quantization=quantization,
            kv_quantization=kv_quantization(engine, dtype),
            num_threads=engine.num_threads,
            on_start=lambda count, kept: log.warning(
                _COMPILING if kept else _COMPILING_IN_VAIN, num_kernels=count
            ),
        )
    except ValueError as error:
        raise ConfigError(f"{error}.") from error


def load_kernels(engine: EngineConfig, dtype: str) -> Kernels:
    """Load the configured backend; kernels that are not compiled yet are at their first use.

    Raises:
        ConfigError: it does not exist, or not on this machine.
    """
    device = resolve_device(engine)
    try:
        kernels = lite_kernels.load(device, dtype=dtype, num_threads=engine.num_threads)
    except ValueError as error:
        raise ConfigError(f"{error}.") from error
    for warning in kernels.threads.warnings:
        # The text itself, since a program that did not configure logs sees nothing else.
        log.warning(warning)
    return kernels


def resolve_device(engine: EngineConfig) -> str:
    """Return the backend's name."""
    return "cpu" if engine.device == "auto" else engine.device


def resolve_dtype(dtype: str, hf_config: Mapping[str, object]) -> str:
    """Return "bfloat16" or "float32"; "auto" follows the checkpoint, float16 becomes bfloat16."""
    if dtype != "auto":
        return dtype
    stored = hf_config.get("dtype") or hf_config.get("torch_dtype") or "bfloat16"
    if stored == "float16":
        log.info("dtype", stored="float16", computed="bfloat16", hint="set dtype float32 for more")
    return "float32" if stored == "float32" else "bfloat16"


def kv_quantization(engine: EngineConfig, dtype: str) -> str | None:
    """Return the quantization of keys and values, or None for the kernels' dtype.

    Raises:
        ConfigError: `kv_cache_dtype` is a float format that is not the kernels' dtype.
    """
    if engine.kv_cache_dtype in ("auto", dtype):
        return None
    if engine.kv_cache_dtype == "int8":
        return "int8"
    raise ConfigError(
        f"kv_cache_dtype is {engine.kv_cache_dtype}, but the model is computed in "
        f"{dtype}; set model.dtype to {engine.kv_cache_dtype} too, or leave "
        "kv_cache_dtype at auto or int8."
    )


def plan_for(
    decoder: Decoder,
    kernels: Kernels,
    config: Config,
    parts: tuple[Part, ...],
    quantization: Quantization | None = None,
) -> MemoryPlan:
    """Plan the memory of `decoder` on `kernels`, its weights packed as `parts`."""
    engine, attention = config.engine, decoder.attention
    try:
        layer_bytes = kernels.kv_block_nbytes(
            block_size=engine.block_size,
            num_kv_heads=attention.num_kv_heads,
            head_dim=attention.head_dim,
            quantization=kv_quantization(engine, kernels.dtype),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    # The rope table is as long as what is served, which is decided below: at most this long.
    longest = min(config.model.max_model_len or decoder.max_model_len, decoder.max_model_len)
    return plan_memory(
        weights_bytes=weights_nbytes(replace(decoder, max_model_len=longest), parts, kernels),
        weights_format=quantization or kernels.dtype,
        kv_cache_format=kv_quantization(engine, kernels.dtype) or kernels.dtype,
        activations_bytes=activations_nbytes(decoder, kernels, engine),
        block_bytes=layer_bytes * decoder.num_layers,
        block_size=engine.block_size,
        model_max_len=decoder.max_model_len,
        max_model_len=config.model.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        num_kv_blocks=engine.num_kv_blocks,
        kv_cache_memory=engine.kv_cache_memory,
        memory_fraction=engine.memory_fraction,
    )


def num_parameters(decoder: Decoder) -> int:
    """Count the weights of a declaration."""
    return sum(math.prod(shape) for shape in tensor_shapes(decoder).values())


def activations_nbytes(decoder: Decoder, kernels: Kernels, engine: EngineConfig) -> int:
    """Return the bytes of workspace, kernel scratch and logits, rounded up generously."""
    num_tokens = engine.max_num_batched_tokens
    workspace = workspace_nbytes(decoder, kernels, max_num_tokens=num_tokens)
    logits = min(MAX_LOGITS_ROWS, engine.max_num_seqs) * decoder.vocab_size * 4
    # The kernels keep a step's rows as a product reads them.
    scratch = num_tokens * max(decoder.hidden_size, decoder.mlp.intermediate_size) * 4
    block_tables = engine.max_num_seqs * -(-decoder.max_model_len // engine.block_size) * 4
    return workspace + logits + scratch + block_tables
