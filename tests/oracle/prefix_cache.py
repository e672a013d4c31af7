"""The prefix cache as a list of entries that know their parent; no hashes."""

from dataclasses import dataclass


@dataclass(eq=False)
class Entry:
    block: int
    parent: "Entry | None"
    tokens: tuple[int, ...]
    salt: bytes


class OraclePrefixCache:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def entry_of(self, block: int) -> Entry | None:
        return next((entry for entry in self.entries if entry.block == block), None)

    def find(self, parent: int, tokens: tuple[int, ...], salt: bytes) -> int:
        parent_entry = self.entry_of(parent)
        for entry in self.entries:
            same_parent = entry.parent is parent_entry
            if same_parent and entry.tokens == tokens and (parent >= 0 or entry.salt == salt):
                return entry.block
        return -1

    def insert(self, block: int, parent: int, tokens: tuple[int, ...], salt: bytes) -> int:
        known = self.find(parent, tokens, salt)
        if known >= 0:
            return known
        self.entries.append(Entry(block, self.entry_of(parent), tokens, salt))
        return block

    def forget(self, block: int) -> None:
        self.entries = [entry for entry in self.entries if entry.block != block]
