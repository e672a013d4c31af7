"""Make the training data: a tokenizer, and conversations as token ids with the answers marked.

`python -m tools.demo_model.data OUT --conversations 300000` writes OUT/tokenizer.json,
OUT/shard-*.npz and OUT/summary.json. The same seed gives the same files.
"""

import argparse
import json
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lite.text.chat_template import ChatTemplate
from tools.demo_model import (
    arithmetic,
    context,
    facts,
    persona,
    smalltalk,
    stories,
    thinking,
    tool_calls,
    unknown,
)
from tools.demo_model.conversation import Conversation, Message, system
from tools.demo_model.tokenizer import train_tokenizer

HERE = Path(__file__).parent
HELD_OUT_PROMPTS = HERE.parents[1] / "tests" / "e2e" / "demo_prompts.json"
SHARD_SIZE = 10_000
MAX_TOKENS = 1536
# Shares of the kinds of conversation, and of the topics inside a chat.
KINDS = {
    "chat": 0.49, "long chat": 0.015, "persona": 0.085, "context": 0.13, "tools": 0.12,
    "thinking": 0.09, "unknown": 0.03, "plain": 0.05,
}  # fmt: skip
TOPICS = {
    "arithmetic": 0.34, "facts": 0.25, "unknown": 0.14, "smalltalk": 0.15, "stories": 0.05,
    "context": 0.07,
}  # fmt: skip
PLAIN = (facts.plain, smalltalk.plain, stories.plain, stories.plain)

Table = dict[str, tuple[float, Callable]]


def choose(rng: random.Random, table: Table) -> Callable:
    return rng.choices([f for _, f in table.values()], [w for w, _ in table.values()])[0]


EXCHANGES: dict[str, Table] = {
    "arithmetic": arithmetic.EXCHANGES,
    "facts": facts.EXCHANGES,
    "unknown": unknown.EXCHANGES,
    "smalltalk": smalltalk.EXCHANGES,
    "stories": stories.EXCHANGES,
    "context": context.EXCHANGES,
}


def exchange(rng: random.Random) -> list[Message]:
    topic = rng.choices(list(TOPICS), list(TOPICS.values()))[0]
    return choose(rng, EXCHANGES[topic])(rng)


def chat(rng: random.Random, turns: int) -> Conversation:
    """Return a chat about this and that; one in six follows a system message without a name."""
    messages = [m for _ in range(turns) for m in exchange(rng)]
    if rng.random() < 1 / 6:
        messages.insert(0, system(persona.nameless(rng)))
    return Conversation(messages=messages)


def sample(rng: random.Random) -> Conversation | str:
    """Return a conversation, or a plain text."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    match kind:
        case "chat":
            return chat(rng, rng.choice((1, 1, 1, 2, 2, 3, 4, 6)))
        case "long chat":
            return chat(rng, rng.randint(12, 36))
        case "persona":
            return choose(rng, persona.CONVERSATIONS)(rng)
        case "context":
            return choose(rng, context.CONVERSATIONS)(rng)
        case "tools":
            return choose(rng, tool_calls.CONVERSATIONS)(rng)
        case "thinking":
            return choose(rng, thinking.CONVERSATIONS)(rng)
        case "unknown":
            return choose(rng, unknown.CONVERSATIONS)(rng)
        case _:
            return rng.choice(PLAIN)(rng)


class Renderer:
    """The chat template of the demo model: the one that it is used with."""

    def __init__(self) -> None:
        source = (HERE / "chat_template.jinja").read_text(encoding="utf-8")
        self._template = ChatTemplate({"default": source}, {}, "chat_template.jinja")

    def __call__(self, made: Conversation | str) -> str:
        if isinstance(made, str):
            return made + "<|endoftext|>"
        options = {"enable_thinking": True} if made.enable_thinking else {}
        return self._template.render(
            made.messages, tools=made.tools, add_generation_prompt=False,
            chat_template_kwargs=options,
        )  # fmt: skip


class Marker:
    """Finds what the model shall learn to write: its answers and the token that ends them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = {
            token: tokenizer.token_to_id(token)
            for token in ("<|im_start|>", "<|im_end|>", "<think>")
        }
        self._start, self._end, self._think = ids.values()
        self._header = tokenizer.encode("assistant\n").ids

    def __call__(self, tokens: np.ndarray, made: Conversation | str) -> np.ndarray:
        """Return which tokens are targets. Of a thinking chat, only what comes after a thought."""
        targets = np.zeros(len(tokens), bool)
        if isinstance(made, str):
            targets[1:] = True
            return targets
        answers = list(self._answers(tokens))
        if made.enable_thinking:
            answers = [a for a in answers if tokens[a.start] == self._think]
        for answer in answers:
            targets[answer] = True
        return targets

    def _answers(self, tokens: np.ndarray) -> Iterator[slice]:
        ends = np.flatnonzero(tokens == self._end)
        for start in np.flatnonzero(tokens == self._start):
            first = start + 1 + len(self._header)
            if tokens[start + 1 : first].tolist() == self._header:
                yield slice(first, ends[np.searchsorted(ends, first)] + 1)


def write_shard(task: tuple[Path, int, int, int]) -> Counter:
    """Write one shard: `tokens`, `targets` (whether each is one), `lengths` of conversations."""
    out, seed, number, count = task
    rng = random.Random(f"{seed}/{number}")
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    render, mark, seen = Renderer(), Marker(tokenizer), Counter()
    held_out = held_out_questions()
    made = [sample(rng) for _ in range(count)]
    encoded = tokenizer.encode_batch([render(m) for m in made], add_special_tokens=False)
    tokens, targets = [], []
    for conversation, encoding in zip(made, encoded, strict=True):
        if len(encoding.ids) > MAX_TOKENS:
            seen["too long"] += 1
            continue
        tokens.append(np.array(encoding.ids, np.uint16))
        targets.append(mark(tokens[-1], conversation))
        seen["conversations"] += 1
        seen["tokens"] += len(tokens[-1])
        seen["targets"] += int(targets[-1].sum())
        if isinstance(conversation, Conversation):
            for question in held_out & questions(conversation):
                seen[f"held-out: {question}"] += 1
    np.savez(
        out / f"shard-{number:03}.npz",
        tokens=np.concatenate(tokens),
        targets=np.concatenate(targets),
        lengths=np.array([len(t) for t in tokens], np.int32),
    )
    return seen


def normal(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c in " +-*/").split())


def questions(conversation: Conversation) -> set[str]:
    return {normal(m["content"]) for m in conversation.messages if m["role"] == "user"}


def held_out_questions() -> set[str]:
    """Return the evaluation's user texts, to count which of them training met word for word."""
    prompts = json.loads(HELD_OUT_PROMPTS.read_text(encoding="utf-8"))
    return {normal(t) for prompt in prompts for t in prompt["turns"] if isinstance(t, str)}


def make(out: Path, *, conversations: int, seed: int) -> Counter:
    """Write all files of the training data and return what its summary says."""
    out.mkdir(parents=True, exist_ok=True)
    rng, render = random.Random(f"{seed}/tokenizer"), Renderer()
    texts = (render(sample(rng)) for _ in range(30_000))
    train_tokenizer(texts).save(str(out / "tokenizer.json"))
    firsts = range(0, conversations, SHARD_SIZE)
    counts = [min(SHARD_SIZE, conversations - first) for first in firsts]
    tasks = [(out, seed, number, count) for number, count in enumerate(counts)]
    with multiprocessing.Pool() as pool:
        seen = sum(pool.imap_unordered(write_shard, tasks), Counter())
    seen["held-out questions"] = len(held_out_questions())
    (out / "summary.json").write_text(json.dumps(dict(sorted(seen.items())), indent=2) + "\n")
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--conversations", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many samples, write nothing")
    options = parser.parse_args()
    if options.show:
        rng, render = random.Random(options.seed), Renderer()
        for _ in range(options.show):
            print(render(sample(rng)), end="\n" + "-" * 60 + "\n")
        return
    seen = make(options.out, conversations=options.conversations, seed=options.seed)
    print(json.dumps({k: v for k, v in seen.items() if not k.startswith("held-out: ")}))


if __name__ == "__main__":
    main()
