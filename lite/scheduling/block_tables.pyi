from collections.abc import Iterable

from lite.scheduling.block_pool import BlockPool
from lite.scheduling.prefix_cache import PrefixCache
from lite.scheduling.sequence import Sequence

class BlockTables:
    block_size: int
    enable_prefix_caching: bool
    pool: BlockPool
    cache: PrefixCache

    def __init__(
        self, num_blocks: int, block_size: int, enable_prefix_caching: bool, hash_bits: int
    ) -> None: ...
    def check(self, running: Iterable[Sequence]) -> None: ...
