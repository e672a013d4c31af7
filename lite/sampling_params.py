"""SamplingParams: how the next token is chosen and when to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lite.errors import InvalidRequestError

# Temperatures below this are greedy, as in vLLM (`_SAMPLING_EPS`).
GREEDY_TEMPERATURE = 1e-5
MAX_LOGPROBS = 20
MAX_N = 128
_INT64 = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling parameters with vLLM's names and defaults; validated on construction.

    Attributes:
        n: number of independent outputs.
        temperature: 0 (below 1e-5) is greedy.
        top_p: keep the smallest set of tokens with this probability mass, in (0, 1].
        top_k: keep this many tokens; 0 or -1 keeps all.
        min_p: drop tokens below this fraction of the most likely one, in [0, 1].
        repetition_penalty: > 1 divides positive logits of tokens seen in prompt or output.
        presence_penalty: subtracted once from tokens seen in the output, in [-2, 2].
        frequency_penalty: subtracted per occurrence in the output, in [-2, 2].
        logit_bias: token id -> added bias, in [-100, 100].
        seed: same seed, same text, whatever else runs in the batch.
        stop: strings that end the output; never part of it unless asked.
        stop_token_ids: token ids that end the output.
        include_stop_str_in_output: keep the matched stop string.
        ignore_eos: do not stop at the model's end-of-sequence tokens.
        max_tokens: output limit; None means up to the context length.
        min_tokens: no stop token before this many output tokens.
        logprobs: number of most likely tokens reported per position (0: the chosen one only).
        prompt_logprobs: the same for prompt tokens.
        bad_words: strings that must not be produced.
        allowed_token_ids: if given, only these may be produced.
        detokenize: False leaves `text` empty.
        skip_special_tokens: leave special tokens out of the text.
    """

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    stop: Sequence[str] = field(default=())
    stop_token_ids: Sequence[int] = field(default=())
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    bad_words: Sequence[str] = field(default=())
    allowed_token_ids: Sequence[int] | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        object.__setattr__(self, "stop", stop)
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids or ()))
        object.__setattr__(self, "bad_words", tuple(self.bad_words or ()))
        if self.top_k == -1:
            object.__setattr__(self, "top_k", 0)
        _validate(self)

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_TEMPERATURE

    def clone(self, **changes: Any) -> "SamplingParams":
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @classmethod
    def from_optional(cls, **values: Any) -> "SamplingParams":
        """Build from keyword values in which None means "use the default".

        `max_tokens`, `seed`, `logprobs`, `prompt_logprobs`, `logit_bias` and
        `allowed_token_ids` keep None, which has a meaning of its own there.
        """
        keep_none = {f.name for f in fields(cls) if f.default is None or f.name == "max_tokens"}
        return cls(**{k: v for k, v in values.items() if v is not None or k in keep_none})


def _fail(param: str, value: object, rule: str) -> None:
    raise InvalidRequestError(f"{param} must be {rule}, got {value!r}.", param=param)


def _check_int(params: SamplingParams, name: str, low: int, high: int = _INT64 - 1) -> None:
    value = getattr(params, name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        unbounded = high == _INT64 - 1 and low >= 0
        limit = f"an integer >= {low}" if unbounded else f"an integer in [{low}, {high}]"
        _fail(name, value, limit)


def _check_float(
    params: SamplingParams, name: str, low: float, high: float, *, above: bool = False
) -> None:
    value = getattr(params, name)
    good = not isinstance(value, bool) and isinstance(value, int | float)
    if not good or not (low < value if above else low <= value) or not value <= high:
        _fail(name, value, f"a number in {'(' if above else '['}{low}, {high}]")


def _check_strings(params: SamplingParams, name: str) -> None:
    for i, text in enumerate(getattr(params, name)):
        if not isinstance(text, str) or not text:
            _fail(f"{name}[{i}]", text, "a non-empty string")


def _check_token_ids(params: SamplingParams, name: str) -> None:
    for i, token_id in enumerate(getattr(params, name)):
        if isinstance(token_id, bool) or not isinstance(token_id, int) or token_id < 0:
            _fail(f"{name}[{i}]", token_id, "a token id >= 0")


def _validate(params: SamplingParams) -> None:
    _check_int(params, "n", 1, MAX_N)
    _check_float(params, "temperature", 0.0, 100.0)
    _check_float(params, "top_p", 0.0, 1.0, above=True)
    _check_int(params, "top_k", 0)
    _check_float(params, "min_p", 0.0, 1.0)
    _check_float(params, "repetition_penalty", 0.0, 100.0, above=True)
    _check_float(params, "presence_penalty", -2.0, 2.0)
    _check_float(params, "frequency_penalty", -2.0, 2.0)
    _check_int(params, "min_tokens", 0)
    if params.max_tokens is not None:
        _check_int(params, "max_tokens", 1)
        if params.min_tokens > params.max_tokens:
            _fail("min_tokens", params.min_tokens, f"<= max_tokens ({params.max_tokens})")
    if params.seed is not None:
        _check_int(params, "seed", -_INT64)
    for name in ("logprobs", "prompt_logprobs"):
        if getattr(params, name) is not None:
            _check_int(params, name, 0, MAX_LOGPROBS)
    _check_strings(params, "stop")
    _check_strings(params, "bad_words")
    _check_token_ids(params, "stop_token_ids")
    if params.allowed_token_ids is not None:
        if not params.allowed_token_ids:
            _fail("allowed_token_ids", params.allowed_token_ids, "a non-empty list or null")
        _check_token_ids(params, "allowed_token_ids")
    for token_id, bias in (params.logit_bias or {}).items():
        if isinstance(token_id, bool) or not isinstance(token_id, int) or token_id < 0:
            _fail("logit_bias", token_id, "a map from token ids >= 0")
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            _fail(f"logit_bias[{token_id}]", bias, "a number in [-100, 100]")
