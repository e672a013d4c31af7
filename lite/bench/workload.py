"""What is sent: requests of given, random or recorded lengths."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lite.bench.prompts import PromptMaker
from lite.bench.scenarios import (
    SHAREGPT_MAX_INPUT,
    SHAREGPT_MAX_TOTAL,
    SHAREGPT_MIN,
    Scenario,
    parse_scenario,
    random_range,
    sharegpt_like,
)
from lite.bench.streams import Stream, random_stream
from lite.errors import ConfigError
from lite.text.tokenizer import Tokenizer

MAX_PROMPTS = 1_000_000  # more is a slip: they are all made before the first is sent
_DATASET = "--dataset (or --dataset-path)"


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """A prompt as text, token ids or both, and how much to make of it."""

    num_input: int
    num_output: int
    token_ids: Sequence[int] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests in the order in which they are sent, and what their lengths are called."""

    name: str
    requests: list[BenchRequest]

    @property
    def num_output(self) -> int:
        """Tokens asked for."""
        return sum(request.num_output for request in self.requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOptions:
    """The flags that choose a workload; None where one was not given."""

    num_prompts: int
    seed: int
    default_input_len: int
    default_output_len: int
    scenario: str | None = None
    dataset_name: str | None = None
    dataset_path: str | None = None
    input_len: int | None = None
    output_len: int | None = None
    random_range_ratio: float | None = None

    def lengths(self) -> Scenario | None:
        """Return the distribution of lengths; None: those of the conversations in a file.

        Raises:
            ConfigError: a value makes no sense, or two flags contradict each other.
        """
        if not 1 <= self.num_prompts <= MAX_PROMPTS:
            raise ConfigError(
                f"--num-prompts is {self.num_prompts}, but must be an integer from 1 to "
                f"{MAX_PROMPTS}."
            )
        name = self.dataset_name or ("sharegpt" if self.dataset_path else "random")
        if self.scenario is not None:
            self._refuse("--scenario", "dataset_name", "dataset_path")
            self._refuse("--scenario", "input_len", "output_len", "random_range_ratio")
            return parse_scenario(self.scenario)
        if name == "random":
            self._refuse("--dataset-name random", "dataset_path")
            return random_range(
                self.default_input_len if self.input_len is None else self.input_len,
                self.default_output_len if self.output_len is None else self.output_len,
                self.random_range_ratio or 0.0,
            )
        chosen = f"--dataset-name {name}" if self.dataset_name else _DATASET
        self._refuse(chosen, "input_len", "random_range_ratio")
        if name == "sharegpt-like":
            self._refuse("--dataset-name sharegpt-like", "output_len", "dataset_path")
            return sharegpt_like()
        if self.dataset_path is None:
            raise ConfigError("--dataset-name sharegpt needs the file: give --dataset FILE.")
        if self.output_len is not None and self.output_len < 1:
            raise ConfigError(f"--output-len is {self.output_len}, but must be an integer >= 1.")
        return None

    def _refuse(self, chosen: str, *others: str) -> None:
        for other in others:
            if getattr(self, other) is not None:
                flag = _DATASET if other == "dataset_path" else "--" + other.replace("_", "-")
                raise ConfigError(f"{chosen} and {flag} exclude each other; give one of them.")


def make_workload(
    options: WorkloadOptions,
    tokenizer: Tokenizer,
    *,
    as_text: bool,
    vocab_size: int | None = None,
    max_model_len: int | None = None,
    remedy: str | None = None,
) -> Workload:
    """Make the requests that the flags ask for.

    Args:
        options: the flags.
        tokenizer: of the model.
        as_text: prompts are text that a server tokenizes, rather than token ids.
        vocab_size: of the model, if less than the tokenizer's.
        max_model_len: refuse requests that need more tokens.
        remedy: what else than shorter requests would help then.

    Raises:
        ConfigError: the flags, the file, or a length beyond the context.
    """
    lengths = options.lengths()
    if lengths is None:
        workload = _read_sharegpt(options, tokenizer, as_text=as_text)
        sizes = [(request.num_input, request.num_output) for request in workload.requests]
        _check_context(workload.name, sizes, max_model_len, remedy)
    else:
        sizes = lengths.sample(options.num_prompts, options.seed)
        # Before the prompts are made, which an absurd length would never end.
        _check_context(lengths.name, sizes, max_model_len, remedy)
        maker = PromptMaker(tokenizer, options.seed, vocab_size=vocab_size)
        make: Callable[[int, int], BenchRequest] = (
            (lambda i, o: BenchRequest(i, o, text=maker.text(i)))
            if as_text
            else (lambda i, o: BenchRequest(i, o, token_ids=maker.token_ids(i)))
        )
        workload = Workload(lengths.name, [make(*one) for one in sizes])
    return workload


def _check_context(
    name: str, sizes: Sequence[tuple[int, int]], max_model_len: int | None, remedy: str | None
) -> None:
    if max_model_len is None:
        return
    totals = [num_input + num_output for num_input, num_output in sizes]
    num_over = sum(total > max_model_len for total in totals)
    if num_over:
        raise ConfigError(
            f"{num_over} of {len(totals)} requests ({name}) need more than the context of "
            f"{max_model_len} tokens, the longest {max(totals)}; choose shorter ones"
            f"{f', or {remedy}' if remedy else ''}."
        )


def _read_sharegpt(options: WorkloadOptions, tokenizer: Tokenizer, *, as_text: bool) -> Workload:
    """Take conversations as `vllm bench` does: the first question, as long an answer as its own."""
    path = Path(options.dataset_path or "")
    conversations = list(_conversations(path))
    chosen: list[BenchRequest] = []
    order = random_stream(options.seed, Stream.CONVERSATIONS).permutation(len(conversations))
    for index in order.tolist():
        question, answer = conversations[index]
        token_ids = tokenizer.encode(question)
        num_output = options.output_len
        if num_output is None:
            num_output = len(tokenizer.encode(answer, add_special_tokens=False))
            if num_output < SHAREGPT_MIN:
                continue
        if not SHAREGPT_MIN <= len(token_ids) <= SHAREGPT_MAX_INPUT:
            continue
        if len(token_ids) + num_output > SHAREGPT_MAX_TOTAL:
            continue
        prompt: dict[str, Any] = {"text": question} if as_text else {"token_ids": token_ids}
        chosen.append(BenchRequest(len(token_ids), num_output, **prompt))
        if len(chosen) == options.num_prompts:
            return Workload(f"sharegpt {path.name}", chosen)
    raise ConfigError(
        f"{path}: {len(chosen)} of {len(conversations)} conversations are usable (questions of "
        f"{SHAREGPT_MIN} to {SHAREGPT_MAX_INPUT} tokens, answers of {SHAREGPT_MIN} or more, "
        f"{SHAREGPT_MAX_TOTAL} together), fewer than --num-prompts {options.num_prompts}; lower it."
    )


def _conversations(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the first two turns of each conversation that has them.

    Raises:
        ConfigError: the file cannot be read, or is no list of conversations.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_DATASET}: {path} cannot be read as JSON: {error}.") from None
    if not isinstance(entries, list):
        raise ConfigError(
            f"{_DATASET}: {path} must hold a list of conversations, as ShareGPT's file: "
            '[{"conversations": [{"value": "question"}, {"value": "answer"}]}].'
        )
    for entry in entries:
        turns = entry.get("conversations") if isinstance(entry, dict) else None
        if not isinstance(turns, list) or len(turns) < 2:
            continue
        question, answer = (
            turn.get("value") if isinstance(turn, dict) else 0 for turn in turns[:2]
        )
        if isinstance(question, str) and isinstance(answer, str):
            yield question, answer
