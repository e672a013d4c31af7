"""Vectorisable float32 math for epilogues: exp, and the activations of gated MLPs."""

import numpy as np

from lite_kernels.cpu.isa.memory import bits_to_float
from lite_kernels.cpu.kernel import jit_inline

SILU, GELU, GELU_TANH = range(3)
ACTIVATIONS = {"silu": SILU, "gelu": GELU, "gelu_tanh": GELU_TANH}

_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
# Beyond these exp is not a normal float32; the result saturates there.
_EXP_LOWEST = np.float32(-87.3)
_EXP_HIGHEST = np.float32(88.7)
_LOG2_E = np.float32(1.44269504088896341)
# ln 2 in two parts, the first exact in few bits (Cephes expf).
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
# Adding and subtracting 1.5 * 2^23 rounds to an integer.
_ROUND = np.float32(12582912.0)
_EXP5 = np.float32(1.9875691500e-4)
_EXP4 = np.float32(1.3981999507e-3)
_EXP3 = np.float32(8.3334519073e-3)
_EXP2 = np.float32(4.1665795894e-2)
_EXP1 = np.float32(1.6666665459e-1)
_EXP0 = np.float32(5.0000001201e-1)


@jit_inline
def exp(x):
    """Return e^x to 2e-7 relative, saturating outside [-87.3, 88.7]; NaN is not kept."""
    x = x if x > _EXP_LOWEST else _EXP_LOWEST
    x = x if x < _EXP_HIGHEST else _EXP_HIGHEST
    n = (x * _LOG2_E + _ROUND) - _ROUND
    r = x - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    p = ((((_EXP5 * r + _EXP4) * r + _EXP3) * r + _EXP2) * r + _EXP1) * r + _EXP0
    p = p * (r * r) + r + _ONE
    return p * bits_to_float(np.uint32((np.int32(n) + np.int32(127)) << np.int32(23)))


_SQRT_HALF = np.float32(0.70710678118654752)
_SMALL = np.float32(0.927734375)
# Minimax polynomials by N. Juffa: log(1 - erf(t)) beyond _SMALL, erf(t)/t - 1 up to there.
_LARGE_ERF = np.array(
    [
        -1.72853470e-5,
        3.83197126e-4,
        -3.88396438e-3,
        2.42546219e-2,
        -1.06777877e-1,
        -6.34846687e-1,
        -1.28717512e-1,
    ],
    np.float32,
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6 = (np.float32(value) for value in _LARGE_ERF)
_SMALL_ERF = np.array(
    [
        -5.96761703e-4,
        4.99119423e-3,
        -2.67681349e-2,
        1.12819925e-1,
        -3.76125336e-1,
        1.28379166e-1,
    ],
    np.float32,
)
_S0, _S1, _S2, _S3, _S4, _S5 = (np.float32(value) for value in _SMALL_ERF)


@jit_inline
def _one_plus_erf(a):
    """Return 1 + erf(a) to 1e-7 absolute, without cancellation in the negative tail."""
    t = abs(a)
    s = t * t
    r = (((((_L0 * t + _L1) * t + _L2) * t + _L3) * t + _L4) * t + _L5) * t + _L6
    tail = exp(r * t - t)
    r = ((((_S0 * s + _S1) * s + _S2) * s + _S3) * s + _S4) * s + _S5
    near = _ONE + (r * a + a)
    far = _ONE + _ONE - tail if a > np.float32(0.0) else tail
    return far if t > _SMALL else near


_TANH_SCALE = np.float32(2.0 * 0.7978845608028654)
_TANH_CUBE = np.float32(0.044715)


@jit_inline
def silu(x):
    """Return x * sigmoid(x)."""
    return x / (_ONE + exp(-x))


@jit_inline
def gelu(x):
    """Return x * Phi(x), Phi the normal distribution."""
    return _HALF * x * _one_plus_erf(x * _SQRT_HALF)


@jit_inline
def gelu_tanh(x):
    """Return x/2 (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3)."""
    return x / (_ONE + exp(-_TANH_SCALE * (x + _TANH_CUBE * x * x * x)))
