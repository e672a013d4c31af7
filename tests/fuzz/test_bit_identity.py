"""A request gives the same token ids and the same logprob bits in any schedule as alone."""

import os
import random
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from lite.engine.core import EngineCore
from lite.engine.loading import LoadedModel
from lite.messages import GenerateRequest, TokenOutput
from lite_kernels.cpu.isa import Isa
from tests.engines import make_core, request, tiny_model
from tests.instruction_sets import OTHERS, run_tests

# (dtype, checkpoint overrides): grouped heads with a norm, a window shorter than the prompts,
# keys that depend on the prompt's length from position 64 on, each quantization, and int8 keys
# and values.
MODELS = {
    "qwen3-bfloat16": ("bfloat16", {"architecture": "qwen3"}),
    "mistral-window-float32": ("float32", {"architecture": "mistral", "sliding_window": 24}),
    "llama-dynamic-bfloat16": (
        "bfloat16",
        {
            "architecture": "llama",
            "max_position_embeddings": 64,
            "rope_scaling": {"rope_type": "dynamic", "factor": 8.0},
        },
    ),
    "llama-biases-int8": (
        "float32",
        {"architecture": "llama", "attention_bias": True, "mlp_bias": True, "quantization": "int8"},
    ),
    "qwen3-int4": ("bfloat16", {"architecture": "qwen3", "quantization": "int4"}),
    "mistral-window-int8-kv": (
        "bfloat16",
        {"architecture": "mistral", "sliding_window": 24, "kv_cache_dtype": "int8"},
    ),
}
NUM_SCHEDULES = 432
NUM_PARTS = 4
# The others are among the slow tests.
USUAL_ISAS = ("avx512", "avx2", "generic")

# Per output: token ids and the bits of each reported logprob.
Trace = dict[tuple[str, int], tuple[list[int], list[bytes]]]


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    dtype, overrides = MODELS[request.param]
    path: Path = tmp_path_factory.mktemp(request.param)
    return tiny_model(path, dtype=dtype, **overrides)


@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_any_schedule_gives_the_bits_of_running_alone(model: LoadedModel, part: int) -> None:
    per_model = NUM_SCHEDULES // len(MODELS) // NUM_PARTS
    seen: defaultdict[str, int] = defaultdict(int)
    for number in range(per_model):
        rng = random.Random(1000 * part + number)
        requests = [_random_request(rng, f"r{i}", model) for i in range(rng.randint(2, 9))]
        aborted = {r.request_id for r in requests if rng.random() < 0.15}
        core = _random_core(rng, model)
        together = _run_random_schedule(rng, core, requests, aborted)
        stats = core.stats()
        seen["preemptions"] += stats.num_preemptions
        seen["hits"] += stats.prefix_cache_hits
        assert stats.num_free_blocks == stats.num_blocks
        assert stats.num_running == stats.num_waiting == 0
        for item in requests:
            alone = _run_alone(model, item)
            for key, expected in alone.items():
                token_ids, bits = together.get(key, ([], []))
                whole = item.request_id not in aborted
                num_ids, num_bits = (None, None) if whole else (len(token_ids), len(bits))
                assert token_ids == expected[0][:num_ids], (part, number, key)
                assert bits == expected[1][:num_bits], (part, number, key)
    # The schedules are of no use unless they reach these.
    assert seen["preemptions"] > 0
    assert seen["hits"] > 0


def _random_request(rng: random.Random, request_id: str, model: LoadedModel) -> GenerateRequest:
    vocab_size = model.decoder.vocab_size
    shared = random.Random(rng.randint(0, 1))  # one of two common beginnings
    prompt = [shared.randrange(vocab_size) for _ in range(rng.choice([0, 16, 20, 48]))]
    prompt += [rng.randrange(vocab_size) for _ in range(rng.randint(1, 40))]
    fields: dict[str, Any] = {
        "max_tokens": rng.randint(1, 24),
        "logprobs": rng.choice([0, 3]),
        "n": rng.choice([1, 1, 1, 2]),
        "seed": rng.randrange(2**40),
    }
    if rng.random() < 0.5:
        fields |= {"temperature": 0.0}
    else:
        fields |= {"temperature": 0.9, "top_p": rng.choice([1.0, 0.8]), "top_k": rng.choice([0, 9])}
    if rng.random() < 0.3:
        fields |= {"repetition_penalty": 1.3, "frequency_penalty": 0.5, "logit_bias": {3: 2.0}}
    if rng.random() < 0.2:
        fields |= {"stop_token_ids": [rng.randrange(vocab_size)], "min_tokens": 1}
    if rng.random() < 0.1:
        fields |= {"prompt_logprobs": 1}
    return request(request_id, prompt, **fields)


def _random_core(rng: random.Random, model: LoadedModel) -> EngineCore:
    # The longest sequence takes 7 blocks; few more than that forces preemption.
    return make_core(
        model,
        num_blocks=rng.choice([7, 9, 14, 64]),
        max_num_seqs=rng.choice([1, 3, 16]),
        max_num_batched_tokens=rng.choice([1, 5, 17, 64, 256]),
        enable_prefix_caching=rng.random() < 0.8,
    )


def _run_random_schedule(
    rng: random.Random, core: EngineCore, requests: list[GenerateRequest], aborted: set[str]
) -> Trace:
    waiting = list(requests)
    victims = sorted(aborted)
    outputs: list[TokenOutput] = []
    while waiting or core.has_work():
        while waiting and (rng.random() < 0.4 or not core.has_work()):
            core.add(waiting.pop(0), "owner")
        if victims and rng.random() < 0.1:
            core.abort(victims.pop(), [], "owner")
        outputs += [output for _, output in core.step()]
    return _trace(outputs)


def _run_alone(model: LoadedModel, item: GenerateRequest) -> Trace:
    core = make_core(model, max_num_batched_tokens=512, enable_prefix_caching=False)
    core.add(item, "owner")
    outputs = []
    while core.has_work():
        outputs += [output for _, output in core.step()]
    return _trace(outputs)


def _trace(outputs: list[TokenOutput]) -> Trace:
    trace: Trace = defaultdict(lambda: ([], []))
    for output in outputs:
        assert output.error is None
        token_ids, bits = trace[output.request_id, output.index]
        token_ids += output.token_ids
        entries = [*(output.logprobs or []), *(e for e in output.prompt_logprobs or [] if e)]
        for entry in entries:
            bits += [struct.pack("<ifi", *reported) for reported in entry]
    return trace


@pytest.mark.timeout(600)
@pytest.mark.skipif("LITE_CPU_ISA" in os.environ, reason="an instruction set is chosen already")
@pytest.mark.parametrize(
    "isa",
    [
        pytest.param(isa, id=isa.name, marks=() if isa.name in USUAL_ISAS else pytest.mark.slow)
        for isa in OTHERS
    ],
)
def test_lesser_instruction_sets_keep_the_bits_too(isa: Isa) -> None:
    test = f"{__file__}::{test_any_schedule_gives_the_bits_of_running_alone.__name__}"
    run_tests(isa.name, [f"{test}[{model}-0]" for model in MODELS])
