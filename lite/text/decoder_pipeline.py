"""What a tokenizer's decoder does to single tokens, so that text can be produced as they come.

The decoders are those of the `tokenizers` library; see `Pipeline` for what is understood.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Stages that map each token on its own; Metaspace and WordPiece treat the first one differently.
_POINTWISE = frozenset({"Replace", "Strip", "Metaspace", "WordPiece"})
# What `u8::from_str_radix` accepts in `<0x..>`, the sign included.
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>", re.ASCII)
_ANCHOR = "a"


def _bytes_of_characters() -> dict[str, int]:
    """Return GPT-2's map from printable stand-in characters to bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if chr(byte) not in table)
    table.update({chr(256 + i): byte for i, byte in enumerate(others)})
    return table


BYTE_OF_CHARACTER = _bytes_of_characters()


class Pointwise:
    """Stages that map token to token; `first` is for the first of a text, `later` for the rest."""

    def __init__(self, decode: Callable[[list[str]], str] | None) -> None:
        self._decode = decode
        self._anchor_chars = len(decode([_ANCHOR])) if decode else 0

    def first(self, token: str) -> str:
        return self._decode([token]) if self._decode else token

    def later(self, token: str) -> str:
        return self._decode([_ANCHOR, token])[self._anchor_chars :] if self._decode else token


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A decoder as `before -> joint -> after -> concatenation -> leading strips`.

    `joint` is the only stage that looks at more than one token: "bytes" (ByteLevel: the tokens'
    bytes are concatenated and decoded as UTF-8), "byte_runs" (ByteFallback: a run of `<0xNN>`
    tokens becomes its text if the whole run is UTF-8, else one U+FFFD a byte) or "none".
    `strips` are (character, how many) removed at the very start of the text.
    """

    before: Pointwise
    joint: Literal["bytes", "byte_runs", "none"]
    after: Pointwise
    strips: tuple[tuple[str, int], ...]

    def byte_value(self, token: str) -> int | None:
        """Return the byte that a token (after `before`) stands for in a run, if it does."""
        if self.joint != "byte_runs":
            return None
        match = _BYTE_TOKEN.fullmatch(token)
        return int(match[1], 16) if match else None


def level_bytes(token: str) -> bytes:
    """Return the bytes of a byte-level token; a foreign character makes the token plain text."""
    try:
        return bytes([BYTE_OF_CHARACTER[char] for char in token])
    except KeyError:
        return token.encode()


def read_pipeline(decoder: Any) -> Pipeline | None:
    """Analyse a decoder of the `tokenizers` library (None: tokens joined by spaces).

    Returns None for a pipeline whose text cannot be known before the last token, such as
    BPEDecoder, CTC, or a Replace that works on the joined text.
    """
    if decoder is None:
        joined = Pointwise(" ".join)
        return Pipeline(before=joined, joint="none", after=Pointwise(None), strips=())
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    strips: list[tuple[str, int]] = []
    joint: Literal["bytes", "byte_runs", "none"] = "none"
    fused = False
    for stage in _flatten(json.loads(decoder.__getstate__())):
        kind = stage["type"]
        if kind == "Fuse":
            fused = True
        elif fused:
            if kind != "Strip" or stage["stop"]:
                return None
            strips.append((stage["content"], stage["start"]))
        elif kind in _POINTWISE:
            (before if joint == "none" else after).append(stage)
        elif kind == "ByteFallback" and joint == "none":
            joint = "byte_runs"
        elif kind == "ByteLevel" and joint == "none":
            joint, fused = "bytes", True
        else:
            return None
    return Pipeline(
        before=_pointwise(before), joint=joint, after=_pointwise(after), strips=tuple(strips)
    )


def _flatten(stage: dict[str, Any]) -> list[dict[str, Any]]:
    if stage["type"] != "Sequence":
        return [stage]
    return [inner for part in stage["decoders"] for inner in _flatten(part)]


def _pointwise(stages: Sequence[dict[str, Any]]) -> Pointwise:
    if not stages:
        return Pointwise(None)
    from tokenizers import Tokenizer

    shell = {
        "version": "1.0",
        "added_tokens": [],
        "decoder": {"type": "Sequence", "decoders": list(stages)},
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    decoder = Tokenizer.from_str(json.dumps(shell)).decoder
    return Pointwise(decoder.decode)
