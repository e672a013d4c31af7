"""Bad words: strings to the token id sequences that must not be produced."""

from collections.abc import Sequence

from lite.errors import InvalidRequestError
from lite.text.tokenizer import Tokenizer

# SAFETY: bounds the time a request takes to encode its words.
MAX_BAD_WORDS_CHARS = 16_384


def bad_words_token_ids(tokenizer: Tokenizer, bad_words: Sequence[str]) -> list[list[int]]:
    """Return the token id sequences that spell `bad_words`, one or two for each.

    A word is encoded as at the start of a text and, where that gives another sequence of the
    same length with another first token, also after a space, as vLLM does. A word may still be
    spelled by tokens that split it elsewhere.

    Raises:
        InvalidRequestError: the tokenizer has no tokens for a word, or the words have more than
            `MAX_BAD_WORDS_CHARS` characters altogether.
    """
    num_chars = sum(map(len, bad_words))
    if num_chars > MAX_BAD_WORDS_CHARS:
        raise InvalidRequestError(
            f"bad_words has {num_chars} characters in all, the limit is {MAX_BAD_WORDS_CHARS}: "
            "use fewer or shorter words.",
            param="bad_words",
        )
    sequences: list[list[int]] = []
    for i, word in enumerate(bad_words):
        bare = word.lstrip()
        ids = tokenizer.encode(bare or word, add_special_tokens=False)
        if not ids:
            raise InvalidRequestError(
                f"bad_words[{i}] {word!r} has no tokens in this model's vocabulary: remove it.",
                param=f"bad_words[{i}]",
            )
        sequences.append(ids)
        if not bare:
            continue
        spaced = tokenizer.encode(" " + bare, add_special_tokens=False)
        if len(spaced) == len(ids) and spaced[0] != ids[0]:
            sequences.append(spaced)
    return sequences
