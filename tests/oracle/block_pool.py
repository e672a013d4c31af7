"""The block pool as a list of free blocks and a list of reference counts."""


class OracleBlockPool:
    def __init__(self, num_blocks: int) -> None:
        self.free = list(range(num_blocks))
        self.ref_counts = [0] * num_blocks

    def allocate(self) -> int:
        block = self.free.pop(0)
        self.ref_counts[block] = 1
        return block

    def retain(self, block: int) -> None:
        if self.ref_counts[block] == 0:
            self.free.remove(block)
        self.ref_counts[block] += 1

    def release(self, block: int, keep: bool) -> None:
        self.ref_counts[block] -= 1
        if self.ref_counts[block] == 0:
            self.free.insert(len(self.free) if keep else 0, block)
