"""PrefixCache: content finds its block, and nothing else does."""

import numpy as np
import numpy.typing as npt
import pytest

from lite.scheduling.prefix_cache import PrefixCache


def tokens(*ids: int) -> npt.NDArray[np.int32]:
    return np.array(ids, dtype=np.int32)


def test_a_block_is_found_by_its_tokens_after_its_parent() -> None:
    cache = PrefixCache(4, 2)
    assert cache.insert(0, -1, tokens(1, 2)) == 0
    assert cache.insert(1, 0, tokens(3, 4)) == 1
    assert cache.find(-1, tokens(1, 2)) == 0
    assert cache.find(0, tokens(3, 4)) == 1
    assert cache.find(-1, tokens(3, 4)) == -1
    assert cache.find(0, tokens(1, 2)) == -1
    assert cache.parents() == {0: -1, 1: 0}


def test_content_that_is_known_keeps_its_first_block() -> None:
    cache = PrefixCache(4, 2)
    cache.insert(2, -1, tokens(1, 2))
    assert cache.insert(3, -1, tokens(1, 2)) == 2
    assert 3 not in cache
    assert len(cache) == 1


@pytest.mark.parametrize("hash_bits", [1, 64])
def test_tenants_with_different_salts_share_nothing(hash_bits: int) -> None:
    cache = PrefixCache(4, 1, hash_bits=hash_bits)
    cache.insert(0, -1, tokens(7), b"a")
    assert cache.find(-1, tokens(7), b"b") == -1
    assert cache.find(-1, tokens(7)) == -1
    assert cache.insert(1, -1, tokens(7), b"b") == 1
    assert cache.find(-1, tokens(7), b"a") == 0


def test_colliding_hashes_never_return_another_content() -> None:
    cache = PrefixCache(64, 1, hash_bits=1)
    for block in range(64):
        assert cache.find(-1, tokens(block)) == -1
        assert cache.insert(block, -1, tokens(block)) == block
        cache.check()
    for block in range(0, 64, 2):
        cache.forget(block)
        cache.check()
    found = [cache.find(-1, tokens(block)) for block in range(64)]
    assert found == [block if block % 2 else -1 for block in range(64)]


def test_a_child_is_not_the_child_of_the_block_that_replaces_its_parent() -> None:
    cache = PrefixCache(4, 1, hash_bits=1)
    for first in range(1, 20):
        cache.insert(0, -1, tokens(0))
        cache.insert(1, 0, tokens(5))
        cache.forget(0)
        cache.insert(0, -1, tokens(first))
        assert cache.find(0, tokens(5)) == -1
        assert cache.parents() == {0: -1, 1: None}
        cache.clear()


def test_thousands_of_similar_blocks_are_told_apart() -> None:
    cache = PrefixCache(4096, 16)
    similar = np.zeros((4096, 16), dtype=np.int32)
    similar[np.arange(4096), np.arange(4096) % 16] = np.arange(4096) // 16 + 1
    for block in range(4096):
        assert cache.insert(block, -1, similar[block]) == block
    assert [cache.find(-1, similar[block]) for block in range(4096)] == list(range(4096))
    cache.check()


def test_malformed_arguments_are_refused() -> None:
    cache = PrefixCache(4, 2)
    with pytest.raises(ValueError, match="a block holds 2 tokens, got 1"):
        cache.find(-1, tokens(1))
    with pytest.raises(ValueError, match="parent block 3 is not cached"):
        cache.insert(0, 3, tokens(1, 2))
    with pytest.raises(ValueError, match="block 9 is already cached or outside"):
        cache.insert(9, -1, tokens(1, 2))
    with pytest.raises(ValueError, match="dtype"):
        cache.find(-1, np.array([1, 2], dtype=np.int64))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cache.find(-1, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hash_bits must lie in"):
        PrefixCache(4, 2, hash_bits=65)
