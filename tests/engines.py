"""Small engines for tests: a tiny model loaded once, cores with any limits over it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lite.config import Config, EngineConfig, ModelConfig
from lite.engine.core import EngineCore
from lite.engine.loading import LoadedModel, load_model
from lite.messages import GenerateRequest, SamplingSpec, TokenOutput
from tests.checkpoints import make_checkpoint


def tiny_model(
    path: Path,
    *,
    dtype: str = "bfloat16",
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    **overrides: Any,
) -> LoadedModel:
    """Load a tiny random checkpoint written to `path`."""
    make_checkpoint(path, gain=3.0, **overrides)
    config = Config(
        model=ModelConfig(
            model=str(path),
            dtype=dtype,  # type: ignore[arg-type]
            quantization=quantization,  # type: ignore[arg-type]
            max_model_len=512,
        ),
        engine=EngineConfig(
            num_kv_blocks=64,
            num_threads=2,
            kv_cache_dtype=kv_cache_dtype,  # type: ignore[arg-type]
        ),
    )
    return load_model(config)


def make_core(model: LoadedModel, *, num_blocks: int = 256, **engine: Any) -> EngineCore:
    """Build a core with its own KV cache over a model that other cores use too."""
    engine = {"kv_cache_dtype": model.plan.kv_cache_format} | engine
    config = Config(engine=EngineConfig(num_kv_blocks=num_blocks, **engine))
    return EngineCore(replace(model, plan=replace(model.plan, num_blocks=num_blocks)), config)


def request(
    request_id: str, prompt: Iterable[int], *, n: int = 1, **fields: Any
) -> GenerateRequest:
    """Build a request; keywords of GenerateRequest or SamplingSpec."""
    own = {name: fields.pop(name) for name in ("salt", "queue_timeout_s") if name in fields}
    return GenerateRequest(
        request_id=request_id,
        prompt_token_ids=np.array(list(prompt), "<i4").tobytes(),
        sampling=SamplingSpec(**fields),
        n=n,
        **own,
    )


def run(core: EngineCore) -> list[TokenOutput]:
    """Step until there is no work and return all outputs."""
    outputs = []
    while core.has_work():
        outputs += [output for _, output in core.step()]
    return outputs


def tokens_of(outputs: Iterable[TokenOutput], request_id: str, index: int = 0) -> list[int]:
    """Join the token ids of one output."""
    return [
        token_id
        for output in outputs
        if output.request_id == request_id and output.index == index
        for token_id in output.token_ids
    ]
