"""Response bodies and stream frames, with vLLM's shapes; built from the generator's deltas."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import UNSET, Struct, UnsetType

from lite.outputs import Logprob, PositionLogprobs

# JSON has no infinity; OpenAI reports impossible tokens with this.
_MIN_LOGPROB = -9999.0


class PromptTokensDetails(Struct, frozen=True):
    """Where prompt tokens came from."""

    cached_tokens: int = 0


class CompletionTokensDetails(Struct, frozen=True):
    """What output tokens were spent on; reasoning is part of the content here."""

    reasoning_tokens: int = 0


class Usage(Struct, frozen=True):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


def usage(num_prompt_tokens: int, num_output_tokens: int, num_cached_tokens: int) -> Usage:
    """Return the usage object."""
    return Usage(
        num_prompt_tokens,
        num_output_tokens,
        num_prompt_tokens + num_output_tokens,
        PromptTokensDetails(num_cached_tokens),
        CompletionTokensDetails(0),
    )


class TopLogprob(Struct, frozen=True):
    """One likely token at one position of a chat answer."""

    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(Struct, frozen=True):
    """The chosen token at one position of a chat answer, and the most likely ones."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct, frozen=True):
    """Log probabilities of a chat answer, or of a piece of one."""

    content: list[ContentLogprob]
    refusal: None = None


class CompletionLogprobs(Struct, frozen=True):
    """Log probabilities in the older format: parallel lists."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class PromptLogprob(Struct, frozen=True):
    """One token of `prompt_logprobs`."""

    logprob: float
    rank: int | None
    decoded_token: str | None


PromptLogprobs = list[dict[str, PromptLogprob] | None]


class ChatMessage(Struct, frozen=True):
    """The answer of a chat."""

    role: str
    content: str
    refusal: None = None


class ChatChoice(Struct, frozen=True, kw_only=True):
    """One of the `n` answers of a chat."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: str | None
    stop_reason: int | str | None
    token_ids: list[int] | UnsetType = UNSET


class ChatResponse(Struct, frozen=True, kw_only=True):
    """Body of a chat answer that is not streamed."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET


class Delta(Struct, frozen=True):
    """What a chat frame adds to the message; empty in the last frame of a choice."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChatFrameChoice(Struct, frozen=True, kw_only=True):
    """One choice of a chat frame."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | UnsetType | None = UNSET
    token_ids: list[int] | UnsetType = UNSET


class ChatFrame(Struct, frozen=True, kw_only=True):
    """One frame of a chat stream."""

    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatFrameChoice]
    usage: Usage | UnsetType | None = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET


class CompletionChoice(Struct, frozen=True, kw_only=True):
    """One text of a completion, whole or the piece a frame adds."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET


class CompletionResponse(Struct, frozen=True, kw_only=True):
    """Body of a completion, and a frame of a completion stream."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET


def chat_logprobs(
    token_ids: Sequence[int],
    positions: Sequence[PositionLogprobs],
    *,
    num_top: int,
    as_token_ids: bool,
    token_bytes: Callable[[int], bytes],
) -> ChatLogprobs:
    """Return chat's log probabilities; `top_logprobs` are the `num_top` most likely, best first.

    `bytes` are a token's own, also where it is only part of a character.
    """

    def describe(token_id: int, entry: Logprob) -> tuple[str, float, list[int]]:
        name = _token(token_id, entry, as_token_ids)
        return name, _finite(entry.logprob), list(token_bytes(token_id))

    content = []
    for token_id, position in zip(token_ids, positions, strict=True):
        top = [TopLogprob(*describe(*item)) for item in _most_likely(position)[:num_top]]
        content.append(ContentLogprob(*describe(token_id, position[token_id]), top))
    return ChatLogprobs(content)


class CompletionLogprobsBuilder:
    """Builds the older format piece by piece; text offsets run on from piece to piece."""

    def __init__(self, *, as_token_ids: bool) -> None:
        self._as_token_ids = as_token_ids
        self._offset = 0

    def add(
        self,
        token_ids: Sequence[int],
        positions: Sequence[PositionLogprobs | None],
        unknown: Sequence[str] = (),
    ) -> CompletionLogprobs:
        """Return the next tokens; `unknown` holds the texts of positions without an entry."""
        tokens: list[str] = []
        logprobs: list[float | None] = []
        tops: list[dict[str, float] | None] = []
        offsets: list[int] = []
        texts = iter(unknown)
        for token_id, position in zip(token_ids, positions, strict=True):
            if position is None:
                token = f"token_id:{token_id}" if self._as_token_ids else next(texts)
                logprobs.append(None)
                tops.append(None)
            else:
                token = _token(token_id, position[token_id], self._as_token_ids)
                logprobs.append(_finite(position[token_id].logprob))
                top: dict[str, float] = {}
                for i, entry in _most_likely(position):
                    top.setdefault(_token(i, entry, self._as_token_ids), _finite(entry.logprob))
                tops.append(top)
            tokens.append(token)
            offsets.append(self._offset)
            self._offset += len(token)
        return CompletionLogprobs(tokens, logprobs, tops, offsets)


def prompt_logprobs(positions: Iterable[PositionLogprobs | None]) -> PromptLogprobs:
    """Return vLLM's `prompt_logprobs`: token id -> entry per position, null for the first."""
    return [
        None
        if position is None
        else {
            str(token_id): PromptLogprob(_finite(entry.logprob), entry.rank, entry.decoded_token)
            for token_id, entry in position.items()
        }
        for position in positions
    ]


def _most_likely(position: PositionLogprobs) -> list[tuple[int, Logprob]]:
    return sorted(position.items(), key=lambda item: (-item[1].logprob, item[1].rank or 0))


def _token(token_id: int, entry: Logprob, as_token_ids: bool) -> str:
    return f"token_id:{token_id}" if as_token_ids else entry.decoded_token or ""


def _finite(logprob: float) -> float:
    return logprob if logprob > _MIN_LOGPROB else _MIN_LOGPROB
