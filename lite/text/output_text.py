"""OutputText: one output's visible text, from token ids by way of stop strings."""

from collections.abc import Sequence

from lite.errors import InvalidRequestError
from lite.sampling_params import SamplingParams
from lite.text.stop_strings import StopMatcher, StopStrings
from lite.text.tokenizer import Tokenizer


class OutputText:
    """The text of one output as it grows. Not thread-safe: one owner.

    Args:
        tokenizer: the model's.
        params: `detokenize`, `skip_special_tokens`, `stop`, `include_stop_str_in_output` and
            `min_tokens` are used. As in vLLM a stop string counts only if it completes in text
            that came with a token after the first `min_tokens`.
        stop_strings: `StopStrings(params.stop)`, to share it between the outputs of a request.
        continues_text: the output follows text in the same turn (a completion, not a chat
            answer), so its leading space is kept where the tokenizer would strip it.

    Attributes:
        stop_string: the stop string that ended the text, or None.
        num_tokens: tokens read, up to and with the one that completed the stop string.
        text_offsets: for each of these tokens, how many characters were final before it.

    Raises:
        InvalidRequestError: `stop` together with `detokenize=False`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        params: SamplingParams,
        *,
        stop_strings: StopStrings | None = None,
        continues_text: bool = False,
    ) -> None:
        if params.stop and not params.detokenize:
            raise InvalidRequestError(
                "stop needs detokenize=True: without text no stop string can be found. "
                "Use stop_token_ids instead.",
                param="stop",
            )
        self._detokenizer = (
            tokenizer.detokenizer(
                skip_special_tokens=params.skip_special_tokens, continues_text=continues_text
            )
            if params.detokenize
            else None
        )
        self._matcher: StopMatcher | None = None
        if params.stop:
            self._matcher = StopMatcher(
                stop_strings or StopStrings(params.stop),
                include=params.include_stop_str_in_output,
            )
        self._include_stop = params.include_stop_str_in_output
        self._min_tokens = params.min_tokens
        self._parts: list[str] = []
        self._num_chars = 0
        self.stop_string: str | None = None
        self.num_tokens = 0
        self.text_offsets: list[int] = []

    @property
    def text(self) -> str:
        """All text returned so far."""
        return "".join(self._parts)

    def push(
        self, token_ids: Sequence[int], *, ends_with_stop_token: bool = False
    ) -> tuple[str, str | None]:
        """Add tokens and return (new visible text, the stop string that ended it or None).

        `ends_with_stop_token` says that the last token ended the output (finish reason "stop"):
        its text is left out unless `include_stop_str_in_output`. Tokens after a stop string are
        ignored. Joined with what `finish` returns, the result does not depend on how the
        tokens were grouped.
        """
        if self.stop_string is not None:
            return "", self.stop_string
        silent = len(token_ids) - 1 if ends_with_stop_token and not self._include_stop else -1
        push = self._detokenizer.push if self._detokenizer else None
        matcher, offsets = self._matcher, self.text_offsets
        visible = ""
        for i, token_id in enumerate(token_ids):
            self.num_tokens += 1
            offsets.append(self._num_chars)
            if push is None or i == silent:
                continue
            text = push(token_id)
            if not text:
                continue
            self._num_chars += len(text)
            if matcher is None:
                visible += text
                continue
            visible += matcher.push(text, armed=self.num_tokens > self._min_tokens)
            if matcher.matched is not None:
                self.stop_string = matcher.matched
                break
        if visible:
            self._parts.append(visible)
        return visible, self.stop_string

    def finish(self) -> str:
        """Return the rest of the visible text; a stop string may still complete in it.

        Call it once, when the output has ended for whatever reason.
        """
        if self._detokenizer is None or self.stop_string is not None:
            return ""
        visible = self._detokenizer.finish()
        if self._matcher is not None:
            visible = self._matcher.push(visible, armed=self.num_tokens > self._min_tokens)
            self.stop_string = self._matcher.matched
            visible += self._matcher.finish()
        if visible:
            self._parts.append(visible)
        return visible
