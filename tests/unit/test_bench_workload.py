"""What is sent: scenarios, prompts of exact lengths, conversations from a file."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lite.bench.prompts import PromptMaker
from lite.bench.scenarios import parse_scenario, random_range, sharegpt_like
from lite.bench.workload import WorkloadOptions, make_workload
from lite.errors import ConfigError
from lite.text.tokenizer import Tokenizer, load_tokenizer
from tests.checkpoints import make_tokenizer

LONG = "words and more words " * 400


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "bos"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(path, add_bos=request.param)
    return load_tokenizer(path)


def options(**given: Any) -> WorkloadOptions:
    fields = {"num_prompts": 4, "seed": 0, "default_input_len": 12, "default_output_len": 6}
    return WorkloadOptions(**{**fields, **given})


def sampled(text: str, num: int = 4000) -> np.ndarray:
    return np.array(parse_scenario(text).sample(num, seed=1))


# --- scenarios -------------------------------------------------------------------------------


def test_a_deterministic_scenario_is_always_the_same() -> None:
    assert set(map(tuple, sampled("D(100,1000)").tolist())) == {(100, 1000)}


def test_a_normal_scenario_has_means_deviations_and_a_least_length() -> None:
    lengths = sampled("N(480,240)/(300,150)")
    assert lengths.mean(axis=0) == pytest.approx([480, 300], rel=0.05)
    assert lengths.std(axis=0) == pytest.approx([240, 150], rel=0.1)
    assert (sampled("N(5,50)/(5,50)").min(axis=0) == [1, 2]).all()


def test_a_uniform_scenario_stays_within_its_bounds_and_reaches_them() -> None:
    lengths = sampled("U(50,60)/(200,210)")
    assert (lengths.min(axis=0) == [50, 200]).all()
    assert (lengths.max(axis=0) == [60, 210]).all()
    lengths = sampled("U(6,4)")
    assert (lengths.min(axis=0) == [1, 2]).all()
    assert (lengths.max(axis=0) == [6, 4]).all()


def test_spaces_do_not_matter_and_seeds_do() -> None:
    assert parse_scenario(" N(480, 240) / (300, 150) ").name == "N(480,240)/(300,150)"
    scenario = parse_scenario("U(100,100)")
    assert scenario.sample(8, seed=1) == scenario.sample(8, seed=1)
    assert scenario.sample(8, seed=1) != scenario.sample(8, seed=2)


@pytest.mark.parametrize(
    "text",
    ["", "D", "D(1)", "D(100;100)", "D(-1,5)", "X(1,2)", "N(1,2)", "N(1,2)/(3)", "d(1,2)",
     "D(1,2)/(3,4)", "D(1.5,2)", "E(100)", "D(0,5)", "D(5,0)", "N(0,1)/(5,1)", "U(9,5)/(1,2)",
     "U(0,5)", "U(5,0)", "D(5,9999999999)", "N(5,5)/(5,99999999999)"],
)  # fmt: skip
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ConfigError, match="--scenario"):
        parse_scenario(text)


def test_random_lengths_vary_by_their_ratio() -> None:
    lengths = np.array(random_range(100, 50, 0.2).sample(4000, seed=0))
    assert (lengths.min(axis=0) == [80, 40]).all()
    assert (lengths.max(axis=0) == [120, 60]).all()
    assert set(random_range(100, 50, 0.0).sample(10, seed=0)) == {(100, 50)}


def test_lengths_like_those_of_sharegpt() -> None:
    lengths = np.array(sharegpt_like().sample(50_000, seed=0))
    assert lengths.mean(axis=0) == pytest.approx([161, 338], rel=0.06)
    # Most prompts are short, some very long.
    assert np.median(lengths[:, 0]) < 50
    assert lengths.min() == 4
    assert lengths[:, 0].max() == 1024
    assert lengths.sum(axis=1).max() <= 2048


# --- prompts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("num_tokens", [2, 3, 17, 300])
def test_a_text_has_exactly_as_many_tokens_as_asked_for(
    tokenizer: Tokenizer, num_tokens: int
) -> None:
    maker = PromptMaker(tokenizer, seed=0)
    texts = [maker.text(num_tokens) for _ in range(5)]
    assert [len(tokenizer.encode(text)) for text in texts] == [num_tokens] * 5
    assert len(set(texts)) > 1


def test_a_prompt_too_short_for_this_tokenizer_is_refused(tokenizer: Tokenizer) -> None:
    maker = PromptMaker(tokenizer, seed=0)
    if tokenizer.wants_bos:
        with pytest.raises(ConfigError, match="at least 2"):
            maker.text(1)
    else:
        assert len(tokenizer.encode(maker.text(1))) == 1


def test_token_ids_are_ordinary_tokens_of_the_model(tokenizer: Tokenizer) -> None:
    ids = PromptMaker(tokenizer, seed=0, vocab_size=200).token_ids(5000)
    assert len(ids) == 5000
    assert not tokenizer.special_token_ids & set(ids)
    assert max(ids) < 200


def test_prompts_follow_from_the_seed(tokenizer: Tokenizer) -> None:
    def made(seed: int) -> tuple[str, list[int]]:
        maker = PromptMaker(tokenizer, seed)
        return maker.text(20), maker.token_ids(20)

    assert made(1) == made(1)
    assert made(1) != made(2)


# --- workloads -------------------------------------------------------------------------------


def test_requests_have_the_lengths_of_the_scenario(tokenizer: Tokenizer) -> None:
    for as_text in (False, True):
        workload = make_workload(options(scenario="U(5,9)/(3,4)"), tokenizer, as_text=as_text)
        assert workload.name == "U(5,9)/(3,4)"
        for request in workload.requests:
            ids = tokenizer.encode(request.text) if as_text else request.token_ids
            assert len(ids) == request.num_input
            assert 3 <= request.num_output <= 4
            assert bool(request.text) == as_text


def test_without_a_flag_lengths_are_the_defaults(tokenizer: Tokenizer) -> None:
    (one, *_) = make_workload(options(), tokenizer, as_text=False).requests
    assert (one.num_input, one.num_output) == (12, 6)
    (one, *_) = make_workload(options(input_len=20), tokenizer, as_text=False).requests
    assert (one.num_input, one.num_output) == (20, 6)


def test_requests_beyond_the_context_are_refused(tokenizer: Tokenizer) -> None:
    message = "4 of 4 requests (random 12 in, 6 out) need more than the context of 17 tokens"
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_workload(options(), tokenizer, as_text=False, max_model_len=17)
    make_workload(options(), tokenizer, as_text=False, max_model_len=18)


def test_absurd_lengths_are_refused_before_prompts_are_made(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: object) -> None:
        raise AssertionError

    for name in ("text", "token_ids"):
        monkeypatch.setattr(PromptMaker, name, make)
    for as_text in (False, True):
        with pytest.raises(ConfigError, match="context of 512 tokens"):
            make_workload(options(input_len=10**9), tokenizer, as_text=as_text, max_model_len=512)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"num_prompts": 0}, "--num-prompts is 0"),
        ({"input_len": 0}, "--input-len is 0"),
        ({"output_len": -1}, "--output-len is -1"),
        ({"output_len": 10**20}, "--output-len is 100"),
        ({"random_range_ratio": 1.0}, "--random-range-ratio is 1.0"),
        ({"scenario": "D(1,2)", "input_len": 5}, "--scenario and --input-len exclude"),
        ({"scenario": "D(1,2)", "dataset_name": "random"}, "--scenario and --dataset-name exclude"),
        ({"scenario": "D(1,2)", "random_range_ratio": 0.1}, "--random-range-ratio exclude"),
        (
            {"dataset_name": "random", "dataset_path": "f"},
            r"and --dataset \(or --dataset-path\) exclude",
        ),
        ({"dataset_name": "sharegpt"}, "give --dataset FILE"),
        ({"dataset_name": "sharegpt-like", "output_len": 5}, "--output-len exclude"),
        ({"dataset_path": "f", "input_len": 5}, r"^--dataset .* and --input-len exclude"),
        ({"dataset_path": "f", "output_len": 0}, "--output-len is 0"),
    ],
)
def test_flags_that_make_no_sense_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        options(**given).lengths()


def conversation(question: str, answer: str) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": question}, {"value": answer}, {}]}


def write(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_conversations_of_a_file_give_prompts_and_lengths(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    usable = [conversation(f"Question number {i}?", "An answer " * (i + 2)) for i in range(4)]
    unusable = [
        conversation("Hi", "x"),
        conversation(LONG, "An answer of some length"),
        conversation("What is this question?", LONG),
        {"conversations": [{"value": "nobody answered"}]},
        {"conversations": [{"value": 5}, {"value": "a number asked"}]},
        {"conversations": ["a", "b"]},
        {"other": 1},
        "text",
    ]
    file = write(tmp_path / "sharegpt.json", [*unusable, *usable])
    workload = make_workload(options(dataset_path=file), tokenizer, as_text=True)
    assert workload.name == "sharegpt sharegpt.json"
    texts = {request.text for request in workload.requests}
    assert texts == {f"Question number {i}?" for i in range(4)}
    for request in workload.requests:
        answer = "An answer " * (int(request.text[-2]) + 2)
        assert request.num_input == len(tokenizer.encode(request.text))
        assert request.num_output == len(tokenizer.encode(answer, False))
    fixed = make_workload(options(dataset_path=file, output_len=3), tokenizer, as_text=False)
    assert {request.num_output for request in fixed.requests} == {3}
    assert all(len(one.token_ids) == one.num_input for one in fixed.requests)


def test_too_few_usable_conversations_are_not_repeated(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "few.json",
        [conversation("What is this question about?", "This is the answer.")] * 3,
    )
    with pytest.raises(ConfigError, match="3 of 3 conversations are usable"):
        make_workload(options(dataset_path=file), tokenizer, as_text=True)


@pytest.mark.parametrize("content", ["{not json", {"a": 1}, None])
def test_a_file_that_holds_no_conversations_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, content: Any
) -> None:
    file = str(tmp_path / "none.json") if content is None else write(tmp_path / "f.json", content)
    with pytest.raises(ConfigError, match=r"^--dataset \(or --dataset-path\)"):
        make_workload(options(dataset_path=file), tokenizer, as_text=True)
