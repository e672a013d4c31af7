"""The bytes of packed weights, which files of `lite quantize` and the weights' cache hold."""

import hashlib

import numpy as np
import pytest

from lite.models.quantization import VERSION
from lite_kernels.cpu import CpuKernels

WEIGHT = np.random.RandomState(0).standard_normal((40, 70)).astype(np.float32)
DIGESTS = {
    ("bfloat16", None): "0aee68e4d51e9767",
    ("float32", None): "18033fa10cd94f43",
    ("bfloat16", "int8"): "c92a5cc87b5121eb",
    ("bfloat16", "int4"): "3cf1beeaecf5b4de",
}


@pytest.mark.parametrize(("dtype", "quantization"), DIGESTS)
def test_the_layout_is_that_of_its_version(dtype: str, quantization: str | None) -> None:
    kernels = CpuKernels(dtype=dtype, num_threads=1)
    linear = kernels.pack_linear([WEIGHT], quantization=quantization)
    gated = kernels.pack_gated_linear(WEIGHT, WEIGHT[::-1].copy(), quantization=quantization)
    kernels.close()
    content = linear.weights.tobytes() + gated.weights.tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == DIGESTS[dtype, quantization], (
        "packed weights have changed: raise VERSION in lite/models/quantization.py, so that "
        "files of before are refused, and enter the new digest here"
    )
    assert VERSION == 1
