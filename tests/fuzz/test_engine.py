"""EngineCore under random requests, aborts and limits: everything ends, nothing is left behind."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lite.engine.core import EngineCore
from lite.engine.loading import LoadedModel
from lite.messages import TokenOutput
from tests.engines import make_core, request, tiny_model

VOCAB = 396  # of the tiny checkpoints
MAX_STEPS = 20_000

token_ids = st.integers(0, VOCAB - 1)


def between(low: float, high: float) -> st.SearchStrategy[float]:
    """Draw the ends often."""
    return st.sampled_from([low, high]) | st.floats(low, high)


sampling = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 30)},
    optional={
        "temperature": between(0.0, 100.0) | st.just(1e-4),
        "top_p": between(1e-9, 1.0),
        "top_k": st.integers(0, VOCAB + 5),
        "min_p": between(0.0, 1.0),
        "repetition_penalty": between(1e-3, 100.0),
        "presence_penalty": between(-2.0, 2.0),
        "frequency_penalty": between(-2.0, 2.0),
        "logit_bias": st.dictionaries(token_ids, between(-100.0, 100.0), max_size=10),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "stop_token_ids": st.lists(token_ids, max_size=50),
        "min_tokens": st.integers(0, 3),
        "logprobs": st.integers(0, 20),
        "prompt_logprobs": st.integers(0, 20),
        "bad_words_token_ids": st.lists(st.lists(token_ids, min_size=1, max_size=3), max_size=4),
        "allowed_token_ids": st.lists(token_ids, min_size=1, max_size=20),
    },
)
# Prompts that begin alike, and others.
prompts = st.integers(1, 80).map(lambda n: list(range(n))) | st.lists(token_ids, min_size=1)
actions = st.one_of(
    st.tuples(st.just("add"), prompts, st.integers(1, 4), sampling),
    st.tuples(st.just("step"), st.integers(1, 5)),
    st.tuples(st.just("abort"), st.integers(0, 10), st.lists(st.integers(0, 3), max_size=2)),
)
limits = st.fixed_dictionaries(
    {
        "num_blocks": st.sampled_from([8, 12, 64]),
        "max_num_seqs": st.sampled_from([1, 2, 5, 300]),
        "max_num_batched_tokens": st.sampled_from([1, 7, 33, 2048]),
        "enable_prefix_caching": st.booleans(),
    }
)


@dataclass
class Record:
    """What a front end was promised and what it got."""

    added: dict[str, tuple[int, int]] = field(default_factory=dict)  # n and max_tokens by id
    aborted: set[tuple[str, int]] = field(default_factory=set)
    ended: dict[tuple[str, int], str] = field(default_factory=dict)
    num_tokens: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))

    def take(self, outputs: Iterable[tuple[object, TokenOutput]]) -> None:
        for _, output in outputs:
            key = output.request_id, output.index
            assert key not in self.ended, "an output after the last one"
            assert all(0 <= token_id < VOCAB for token_id in output.token_ids)
            if output.logprobs is not None:
                assert len(output.logprobs) == len(output.token_ids)
            self.num_tokens[key] += len(output.token_ids)
            if output.finish_reason is not None:
                self.ended[key] = output.finish_reason

    def check(self) -> None:
        for request_id, (n, max_tokens) in self.added.items():
            for key in ((request_id, index) for index in range(n)):
                assert key in self.ended or key in self.aborted
                assert self.num_tokens[key] <= max_tokens
                if self.ended.get(key) == "length":
                    assert self.num_tokens[key] == max_tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    path: Path = tmp_path_factory.mktemp("model")
    loaded = tiny_model(path)
    assert loaded.decoder.vocab_size == VOCAB
    return loaded


def act(core: EngineCore, record: Record, action: tuple[Any, ...]) -> None:
    match action:
        case "add", prompt, n, spec:
            request_id = str(len(record.added))
            record.added[request_id] = n, spec["max_tokens"]
            core.add(request(request_id, prompt, n=n, **spec), "owner")
        case "step", count:
            for _ in range(count):
                record.take(core.step())
        case "abort", number, indices:
            if core.abort(str(number), indices, "owner"):
                n, _ = record.added[str(number)]
                record.aborted |= {(str(number), index) for index in indices or range(n)}
    core._scheduler.check()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(limits=limits, actions=st.lists(actions, min_size=1, max_size=20))
def test_every_request_ends_and_leaves_nothing_behind(
    model: LoadedModel, limits: dict[str, Any], actions: list[tuple[Any, ...]]
) -> None:
    core, record = make_core(model, **limits), Record()
    for action in actions:
        act(core, record, action)
    for _ in range(MAX_STEPS):
        if not core.has_work():
            break
        act(core, record, ("step", 1))
    record.check()
    stats = core.stats()
    assert stats.num_free_blocks == stats.num_blocks
    assert stats.num_running == stats.num_waiting == stats.num_waiting_tokens == 0
    assert not core._requests
    assert not core._unscheduled
