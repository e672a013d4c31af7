"""Tokenizer: the protocol, and its implementation over the `tokenizers` library."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lite.errors import CheckpointError, InvalidRequestError
from lite.machine import return_free_memory
from lite.text.decoder_pipeline import read_pipeline
from lite.text.detokenizer import (
    ByteDetokenizer,
    ByteRunDetokenizer,
    Detokenizer,
    PieceTable,
    WholeDetokenizer,
)
from lite.text.tokenizer_files import TokenizerConfig, find_tokenizer_json, read_tokenizer_config

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_MAX_TOKEN_ID = 2**32 - 1

# SAFETY: encoding takes some 200 bytes a character, and the C library keeps that for each thread.
# So longer texts are encoded one at a time, and their memory is given back.
LONG_TEXT_CHARS = 100_000


class Tokenizer(Protocol):
    """Text to token ids and back; safe to use from several threads.

    Token ids without a token (a padded embedding, random weights) decode to nothing.
    """

    @property
    def vocab_size(self) -> int:
        """One more than the largest known token id, or the number of tokens if that is more."""
        ...

    @property
    def bos_token_id(self) -> int | None: ...

    @property
    def eos_token_id(self) -> int | None: ...

    @property
    def wants_bos(self) -> bool:
        """Whether prompts of this model begin with BOS."""
        ...

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids that `skip_special_tokens` leaves out."""
        ...

    @property
    def added_token_ids(self) -> frozenset[int]:
        """Ids added to the model's vocabulary, special or not."""
        ...

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of `text`.

        With `add_special_tokens` the result begins with exactly one BOS if the model wants one,
        even if `text` already has it. Raises InvalidRequestError for text that is not Unicode.
        """
        ...

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Return the text of `token_ids`; defined for every sequence of integers."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of one token inside a text, maybe part of a character; b"" if none."""
        ...

    def detokenizer(
        self, *, skip_special_tokens: bool = True, continues_text: bool = False
    ) -> Detokenizer:
        """Return a fresh incremental decoder, equal to `decode` of all it is given.

        With `continues_text` the tokens follow other text, so that what the decode does only at
        the start of a text (strip a leading space) is left out, if the decoder is understood.
        """
        ...


def token_text(tokenizer: Tokenizer, token_id: int) -> str:
    """Return one token's text for a logprobs entry; malformed UTF-8 shows as U+FFFD."""
    return tokenizer.token_bytes(token_id).decode(errors="replace")


class JsonTokenizer:
    """A `Tokenizer` from tokenizer.json and the files beside it.

    Args:
        backend: the loaded tokenizer.json; truncation and padding are switched off, and tokens
            that `config` declares special are made so.
        config: what the files beside it say.
    """

    def __init__(self, backend: Backend, config: TokenizerConfig) -> None:
        self.config = config
        self._backend = backend
        self._long_texts = threading.Lock()
        backend.no_truncation()
        backend.no_padding()
        _declare_special(backend, config.special_tokens)
        added = backend.get_added_tokens_decoder()
        special = {token.content for token in added.values() if token.special}
        self.added_token_ids = frozenset(added)
        self.special_token_ids = frozenset(i for i, token in added.items() if token.special)
        self.vocab_size = max(backend.get_vocab_size(), max(added, default=-1) + 1)
        opening = _opening_token_id(backend)
        self.bos_token_id = self._id_of("bos_token")
        self.eos_token_id = self._id_of("eos_token")
        if self.bos_token_id is None and "bos_token" not in config.named_tokens:
            self.bos_token_id = opening
        self.wants_bos = self.bos_token_id is not None and (
            opening == self.bos_token_id if config.add_bos_token is None else config.add_bos_token
        )
        # `add_bos_token: false` beats a post-processor that adds BOS, as in transformers.
        self._post_process = self.wants_bos or opening is None or opening != self.bos_token_id
        pipeline = read_pipeline(backend.decoder)
        self._kept = self._skipped = None
        if pipeline is not None:
            self._kept = PieceTable(pipeline, self._token)
            self._skipped = PieceTable(
                pipeline,
                lambda i: None if (token := self._token(i)) in special else token,
            )

    @property
    def named_tokens(self) -> Mapping[str, str]:
        """Strings of `bos_token`, `eos_token` and others, as far as the files give them."""
        return self.config.named_tokens

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """See `Tokenizer.encode`."""
        process = add_special_tokens and self._post_process
        if len(text) <= LONG_TEXT_CHARS:
            ids = self._encode(text, process)
        else:
            with self._long_texts:
                ids = self._encode(text, process)
                return_free_memory()
        if not add_special_tokens or self.bos_token_id is None:
            return ids
        return with_one_bos(ids, self.bos_token_id, wanted=self.wants_bos)

    def _encode(self, text: str, process: bool) -> list[int]:
        try:
            ids: list[int] = self._backend.encode(text, add_special_tokens=process).ids
        except TypeError as error:
            raise InvalidRequestError(
                "The text holds a lone surrogate (U+D800 to U+DFFF), which is not a character: "
                "send valid Unicode."
            ) from error
        return ids

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """See `Tokenizer.decode`."""
        ids = [i for i in token_ids if 0 <= i <= _MAX_TOKEN_ID]
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def token_bytes(self, token_id: int) -> bytes:
        """See `Tokenizer.token_bytes`."""
        if self._kept is None:
            return self.decode([token_id], skip_special_tokens=False).encode()
        piece = self._kept[token_id]
        if isinstance(piece, str):
            return piece.encode()
        return bytes((piece,)) if isinstance(piece, int) else piece or b""

    def detokenizer(
        self, *, skip_special_tokens: bool = True, continues_text: bool = False
    ) -> Detokenizer:
        """See `Tokenizer.detokenizer`."""
        pieces = self._skipped if skip_special_tokens else self._kept
        if pieces is None:
            return WholeDetokenizer(lambda ids: self.decode(ids, skip_special_tokens))
        if pieces.pipeline.joint == "bytes":
            return ByteDetokenizer(pieces, continues_text=continues_text)
        return ByteRunDetokenizer(pieces, continues_text=continues_text)

    def _token(self, token_id: int) -> str | None:
        return self._backend.id_to_token(token_id) if 0 <= token_id <= _MAX_TOKEN_ID else None

    def _id_of(self, name: str) -> int | None:
        token = self.config.named_tokens.get(name)
        return None if token is None else self._backend.token_to_id(token)


def with_one_bos(token_ids: list[int], bos_token_id: int, *, wanted: bool) -> list[int]:
    """Return `token_ids` with at most one BOS in front, and one if it is `wanted`."""
    num_bos = 0
    while num_bos < len(token_ids) and token_ids[num_bos] == bos_token_id:
        num_bos += 1
    if num_bos == 0 and not wanted:
        return token_ids
    return [bos_token_id, *token_ids[num_bos:]]


def load_tokenizer(directory: str | Path) -> JsonTokenizer:
    """Load the tokenizer of a checkpoint directory.

    Raises:
        CheckpointError: a file is missing or malformed.
        UnsupportedModelError: there is only a SentencePiece or other foreign tokenizer.
    """
    from tokenizers import Tokenizer as Backend

    path = find_tokenizer_json(Path(directory))
    config = read_tokenizer_config(path.parent)
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise CheckpointError(
            f"{path}: not a usable tokenizer ({error}); copy the file from the model's "
            "repository again."
        ) from error
    for token in _undefined_in_templates(backend.post_processor):
        raise CheckpointError(
            f"{path}: post_processor uses the special token {token!r} without defining it in "
            "special_tokens; copy the file from the model's repository again."
        )
    tokenizer = JsonTokenizer(backend, config)
    # Parsing a large vocabulary leaves half as much again behind.
    return_free_memory()
    return tokenizer


def _undefined_in_templates(post_processor: Any) -> Iterator[str]:
    """Yield the special tokens that a TemplateProcessing names but does not define.

    The library accepts such a file and then dies, process and all, when it encodes.
    """
    if post_processor is None:
        return
    stage = json.loads(post_processor.__getstate__())
    for template in [stage, *stage.get("processors", [])]:
        if template["type"] != "TemplateProcessing":
            continue
        for piece in [*template["single"], *template["pair"]]:
            token = piece.get("SpecialToken", {}).get("id")
            if token is not None and token not in template["special_tokens"]:
                yield token


def _declare_special(backend: Backend, tokens: frozenset[str]) -> None:
    """Mark known tokens as special, as transformers does; unknown ones get no new id."""
    from tokenizers import AddedToken

    added = {token.content: token for token in backend.get_added_tokens_decoder().values()}
    for content in sorted(tokens):
        if backend.token_to_id(content) is None:
            continue
        token = added.get(content) or AddedToken(content, normalized=False)
        if not token.special:
            token.special = True
            backend.add_special_tokens([token])


def _opening_token_id(backend: Backend) -> int | None:
    """Return the token that tokenizer.json's own post-processor puts before a text, if any."""
    plain = backend.encode("a", add_special_tokens=False).ids
    processed = backend.encode("a", add_special_tokens=True).ids
    return None if processed[: len(plain)] == plain else processed[0]
