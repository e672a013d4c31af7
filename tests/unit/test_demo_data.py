"""What the demo model is trained on: true, repeatable, and without the sums held out."""

import itertools
import json
import operator
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tools.demo_model import data
from tools.demo_model.conversation import Conversation
from tools.demo_model.data import KINDS, Marker, Renderer, sample
from tools.demo_model.tokenizer import train_tokenizer
from tools.demo_model.world import held_out

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
EQUATION = re.compile(r"(?<![\d+*/.-] )(?<![\d.])(-?\d+) ([-+*/]) (\d+) = (-?\d+)(?![.\d]*\d)")


def samples(count: int, seed: int = 1) -> list[Conversation | str]:
    rng = random.Random(seed)
    return [sample(rng) for _ in range(count)]


def test_as_many_conversations_are_written_as_asked_for_and_the_same_again(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "SHARD_SIZE", 40)
    monkeypatch.setattr(data, "train_tokenizer", lambda _: tokenizer)
    for name in ("one", "two"):
        data.make(tmp_path / name, conversations=100, seed=3)
    shards = sorted((tmp_path / "one").glob("shard-*.npz"))
    assert [len(np.load(shard)["lengths"]) for shard in shards] == [40, 40, 20]
    summary = json.loads((tmp_path / "one" / "summary.json").read_text(encoding="utf-8"))
    assert summary["conversations"] == 100
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    render = Renderer()
    return train_tokenizer(render(made) for made in samples(1500))


def test_the_same_seed_gives_the_same_conversations() -> None:
    assert samples(200) == samples(200)
    assert samples(200) != samples(200, seed=2)
    assert abs(sum(KINDS.values()) - 1) < 0.02


def test_what_the_model_computes_is_true_and_never_a_pair_held_out() -> None:
    checked: Counter[str] = Counter()
    for made in samples(4000):
        if isinstance(made, str) or made.tools:
            continue
        for message in made.messages:
            if message["role"] != "assistant" or message["content"].startswith("You asked"):
                continue
            text = f"{message['content']} {message.get('reasoning_content', '')}"
            for left, sign, right, result in EQUATION.findall(text):
                a, b = int(left), int(right)
                assert OPERATIONS[sign](a, b) == int(result), text
                assert sign in "*/" or not held_out(a, b), text
                checked[sign] += 1
    assert min(checked.values()) > 50
    assert len(checked) == 4


def test_people_and_the_model_take_turns_and_end_with_the_model() -> None:
    for made in samples(2000):
        if isinstance(made, str):
            assert made.strip() == made != ""
            continue
        roles = [message["role"] for message in made.messages]
        spoken = roles[1:] if roles[0] == "system" else roles
        assert spoken[0] == "user"
        assert spoken[-1] == "assistant"
        for before, after in itertools.pairwise(spoken):
            several_results = before == after == "tool"
            assert several_results or (before == "assistant") == (after in ("user", "tool"))


def test_only_what_the_model_says_is_learnt(tokenizer: Tokenizer) -> None:
    render, mark = Renderer(), Marker(tokenizer)
    for made in samples(300):
        text = render(made)
        encoding = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(encoding.ids, skip_special_tokens=False) == text
        learnt = mark(np.array(encoding.ids), made)
        said = tokenizer.decode(
            [i for i, wanted in zip(encoding.ids, learnt, strict=True) if wanted],
            skip_special_tokens=False,
        )
        if isinstance(made, str):
            assert said in text
            assert said.endswith("<|endoftext|>")
        elif made.enable_thinking:
            assert said.startswith("<think>")
            assert said.count("<think>") == said.count("</think>") >= 1
        else:
            answers = text.split("<|im_start|>assistant\n")[1:]
            assert said == "".join(a.split("<|im_end|>")[0] + "<|im_end|>" for a in answers)
