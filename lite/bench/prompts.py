"""Prompts of exact lengths, made of a tokenizer's own tokens."""

import re
from collections.abc import Iterator

import numpy as np

from lite.bench.streams import Stream, random_stream
from lite.errors import ConfigError
from lite.text.tokenizer import Tokenizer

_WORD = re.compile(r" [^\W\d_]+")
_MAX_WORDS, _MIN_WORDS = 512, 16
_MAX_LOOKED_AT = 20_000
_MAX_TRIES = 100


class PromptMaker:
    """Makes prompts at random, the same ones for the same seed.

    Args:
        tokenizer: of the model that gets them.
        seed: of the choice of tokens.
        vocab_size: of the model, if it is less than the tokenizer's.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int, *, vocab_size: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._rng = random_stream(seed, Stream.PROMPTS)
        num_ids = min(tokenizer.vocab_size, vocab_size or tokenizer.vocab_size)
        left_out = tokenizer.special_token_ids | tokenizer.added_token_ids
        self._ids = np.array([i for i in range(num_ids) if i not in left_out])
        self._known_words: list[str] = []

    def token_ids(self, num_tokens: int) -> list[int]:
        """Return `num_tokens` ids of ordinary tokens."""
        ids: list[int] = self._rng.choice(self._ids, num_tokens).tolist()
        return ids

    def text(self, num_tokens: int) -> str:
        """Return a text that a server tokenizes to `num_tokens` tokens, BOS included.

        Raises:
            ConfigError: none was found; one token may be too little.
        """
        words: list[str] = []
        for _ in range(_MAX_TRIES):
            missing = num_tokens - len(self._tokenizer.encode("".join(words)))
            if missing == 0 and words:
                return "".join(words)
            if missing > 0:
                words += self._rng.choice(self._words, missing).tolist()
            else:
                # One more than what is too much, so that the next try ends differently.
                del words[missing - 1 :]
        raise ConfigError(
            f"No text of exactly {num_tokens} tokens was found for this tokenizer (a prompt has at "
            f"least {len(self._tokenizer.encode('')) + 1}); choose another length."
        )

    @property
    def _words(self) -> list[str]:
        if not self._known_words:
            looked_at = self._rng.permutation(self._ids)[:_MAX_LOOKED_AT].tolist()
            texts = list(self._single_tokens(looked_at))
            words = [text for text in texts if _WORD.fullmatch(text)]
            # A vocabulary of bytes has no words.
            self._known_words = (words if len(words) >= _MIN_WORDS else texts)[:_MAX_WORDS]
            if not self._known_words:
                raise ConfigError("The tokenizer has no token that can stand in a prompt.")
        return self._known_words

    def _single_tokens(self, token_ids: list[int]) -> Iterator[str]:
        """Yield texts that stay one token when they follow another text."""
        encode = self._tokenizer.encode
        before = encode("a", add_special_tokens=False)
        num_words = 0
        for token_id in token_ids:
            text = self._tokenizer.token_bytes(token_id).decode(errors="replace")
            if not text.strip() or not text.isprintable() or "\ufffd" in text:
                continue
            if encode(f"a{text}", add_special_tokens=False) == [*before, token_id]:
                yield text
                num_words += _WORD.fullmatch(text) is not None
                if num_words == _MAX_WORDS:
                    return
