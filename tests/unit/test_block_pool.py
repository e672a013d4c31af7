"""BlockPool: reference counts, and the order in which free blocks are reused."""

import pytest

from lite.scheduling.block_pool import BlockPool


def test_a_new_pool_hands_out_every_block_once() -> None:
    pool = BlockPool(3)
    assert [pool.allocate() for _ in range(3)] == [0, 1, 2]
    assert pool.num_free == 0
    with pytest.raises(IndexError, match="none of 3 blocks is free"):
        pool.allocate()
    pool.check()


def test_a_shared_block_is_freed_by_its_last_holder() -> None:
    pool = BlockPool(1)
    block = pool.allocate()
    pool.retain(block)
    pool.release(block, False)
    assert (pool.num_free, pool.ref_count(block)) == (0, 1)
    pool.release(block, False)
    assert (pool.num_free, pool.ref_count(block)) == (1, 0)


def test_kept_blocks_are_reused_last_and_in_the_order_in_which_they_were_freed() -> None:
    pool = BlockPool(4)
    for _ in range(4):
        pool.allocate()
    for block, keep in [(2, True), (0, False), (3, True), (1, False)]:
        pool.release(block, keep)
    assert pool.free_blocks() == [1, 0, 2, 3]


def test_retaining_a_free_block_takes_it_off_the_free_list() -> None:
    pool = BlockPool(3)
    pool.retain(1)
    assert pool.free_blocks() == [0, 2]
    assert pool.ref_count(1) == 1
    pool.check()


def test_misuse_is_refused() -> None:
    pool = BlockPool(2)
    with pytest.raises(ValueError, match="block 0 is already free"):
        pool.release(0, True)
    for block in (-1, 2):
        with pytest.raises(ValueError, match=r"block must lie in \[0, 2\)"):
            pool.retain(block)
    with pytest.raises(ValueError, match="num_blocks must lie in"):
        BlockPool(0)
    with pytest.raises(TypeError):
        BlockPool("8")  # type: ignore[arg-type]
