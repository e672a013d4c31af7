"""The checksum of stored bytes: the reference's, on any number of threads and of bytes."""

import numpy as np
import pytest

import lite_kernels

REFERENCE = lite_kernels.load("reference")


@pytest.fixture(scope="module", params=[1, 2, 3])
def kernels(request):
    loaded = lite_kernels.load("cpu", num_threads=request.param)
    yield loaded
    loaded.close()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 4096, 4097, 100_003])
def test_the_checksum_is_that_of_the_reference(kernels, size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    assert kernels.checksum(data) == REFERENCE.checksum(data)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_arrays_of_any_type_and_place_count_by_their_bytes(kernels, dtype):
    memory = np.random.default_rng(0).integers(0, 256, 4096, np.uint8)
    for start in (0, 4, 12):
        array = memory[start : start + 2400].view(dtype).reshape(-1, 50)
        assert kernels.checksum(array) == REFERENCE.checksum(array.view(np.uint8))


def test_every_changed_bit_and_exchanged_pages_are_noticed(kernels):
    data = np.random.default_rng(1).integers(0, 256, 3 * 4096 + 5, np.uint8)
    expected = kernels.checksum(data)
    for position in (0, 5, 4096, 8191, 3 * 4096 + 4):
        for bit in range(8):
            changed = data.copy()
            changed[position] ^= 1 << bit
            assert kernels.checksum(changed) != expected
    for first, second in ((0, 4096), (4096, 8192), (0, 8192)):
        changed = data.copy()
        changed[first : first + 4096] = data[second : second + 4096]
        changed[second : second + 4096] = data[first : first + 4096]
        assert kernels.checksum(changed) != expected
    assert kernels.checksum(np.zeros_like(data)) != expected
