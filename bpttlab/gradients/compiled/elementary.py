"""tanh, the logistic function, and their slopes, compiled; and the activations of a layer.

No sum is reassociated and no NaN is assumed away, so that an overflow is found at its own step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpttlab.gradients.compiled.compilation import compiled, interprets
from bpttlab.numerics.array import Array

LOG2_E = 1.4426950408889634
LN_2_HIGH, LN_2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""ln 2 in two parts, of which the first has 32 zeros at its end: k times it is exact."""
_ROUNDING = 1.5 * 2.0**52
"""Added and taken away again it leaves the nearest integer, whose bits are the last ones of the sum."""
LARGEST_LOGISTIC, LARGEST_TANH = 708.4, 710.0
"""Beyond them e^-|a|, and tanh'(a) of 2|a|, are below the smallest normal number."""
_TINY = float(np.finfo(np.float64).tiny)


@compiled("contract", "nsz")
def exponential(y: Any, shift: int) -> Any:
    """(2^(k + shift), p) with e^y = 2^k (1 + p) and |log(1 + p)| <= ln 2 / 2; the Taylor series to 2^-54.

    2^(k + shift) has to be a normal number: of shift = 0, |y| <= 708.4; of shift = -2, -707 <= y <= 710.
    """
    t = y * LOG2_E + _ROUNDING
    k = t - _ROUNDING
    r = (y - k * LN_2_HIGH) - k * LN_2_LOW
    p = 1.0 / 87178291200.0
    p = p * r + 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r * r + r
    power = np.int64((np.float64(t).view(np.int64) << 52) + ((1023 + shift) << 52)).view(np.float64)
    return power, p


SINGLE = np.float32
ONE, HALF, QUARTER, TWO, ZERO = SINGLE(1.0), SINGLE(0.5), SINGLE(0.25), SINGLE(2.0), SINGLE(0.0)
LOG2_E_SINGLE, ROUNDING_SINGLE = SINGLE(LOG2_E), SINGLE(1.5 * 2.0**23)
LARGEST_LOGISTIC_SINGLE, LARGEST_TANH_SINGLE, TINY_SINGLE = SINGLE(87.34), SINGLE(88.8), np.finfo(np.float32).tiny
LN_2_HIGH_SINGLE, LN_2_LOW_SINGLE = SINGLE(0.693359375), SINGLE(-2.12194440e-4)
"""As above, the first with 14 zeros at its end."""
R_2, R_3, R_4, R_5, R_6, R_7, R_8 = (SINGLE(1.0 / math.factorial(n)) for n in range(2, 9))


@compiled("contract", "nsz")
def exponential_single(y: Any, shift: int) -> Any:
    """`exponential` in float32, for |y| <= 87.34, or -86 <= y <= 88.8 with shift = -2; the Taylor series to 2^-29."""
    t = y * LOG2_E_SINGLE + ROUNDING_SINGLE
    k = t - ROUNDING_SINGLE
    r = (y - k * LN_2_HIGH_SINGLE) - k * LN_2_LOW_SINGLE
    p = R_8
    p = p * r + R_7
    p = p * r + R_6
    p = p * r + R_5
    p = p * r + R_4
    p = p * r + R_3
    p = p * r + R_2
    p = p * r * r + r
    bits = (np.int64(np.float32(t).view(np.int32)) << 23) + ((127 + shift) << 23)
    power = np.int32(bits & 0x7FFFFFFF).view(np.float32)
    return power, p


@compiled("contract", "nsz")
def tanh_and_slope_double(x: Any) -> Any:
    """With m = (e^y - 1) / 4 and y = 2|x|: tanh = m / (m + 1/2), tanh' = (m + 1/4) / (m + 1/2)^2."""
    y = 2.0 * abs(x)
    quarter, p = exponential(LARGEST_TANH if y > LARGEST_TANH else y, -2)
    m = quarter * p + (quarter - 0.25)
    part, q = 1.0 / (m + 0.5), m / (m + 0.5)
    slope = (m + 0.25) * part * part
    return (q if x >= 0.0 else -q), (0.0 if slope < _TINY else slope)


@compiled("contract", "nsz")
def tanh_and_slope_single(x: Any) -> Any:
    y = TWO * abs(x)
    quarter, p = exponential_single(LARGEST_TANH_SINGLE if y > LARGEST_TANH_SINGLE else y, -2)
    m = quarter * p + (quarter - QUARTER)
    part, q = ONE / (m + HALF), m / (m + HALF)
    slope = (m + QUARTER) * part * part
    return (q if x >= ZERO else -q), (ZERO if slope < TINY_SINGLE else slope)


def tanh_and_slope(x: Any) -> Any:
    """tanh(x), and tanh'(x) = 1 / cosh(x)^2, in the precision of x, float32 or float64.

    tanh to 1.4 units in the last place in float64 and 2.3 in float32, tanh' to 3 and 5; it is zero where it is below
    the smallest normal number, |x| > 354.89 and |x| > 44.36.
    """
    return tanh_and_slope_single(x) if isinstance(x, np.float32) else tanh_and_slope_double(np.float64(x))


@compiled()
def tanh(x: Any) -> Any:
    return tanh_and_slope(x)[0]


@compiled("contract", "nsz")
def logistic_and_slope_double(x: Any) -> Any:
    y = -abs(x)
    power, p = exponential(-LARGEST_LOGISTIC if y < -LARGEST_LOGISTIC else y, 0)
    d = power + power * p
    d = 0.0 if d < _TINY or y < -LARGEST_LOGISTIC else d
    right = 1.0 / (1.0 + d)
    return (right if x >= 0.0 else d * right), d * right * right


@compiled("contract", "nsz")
def logistic_and_slope_single(x: Any) -> Any:
    y = -abs(x)
    power, p = exponential_single(-LARGEST_LOGISTIC_SINGLE if y < -LARGEST_LOGISTIC_SINGLE else y, 0)
    d = power + power * p
    d = ZERO if d < TINY_SINGLE or y < -LARGEST_LOGISTIC_SINGLE else d
    right = ONE / (ONE + d)
    return (right if x >= ZERO else d * right), d * right * right


def logistic_and_slope(x: Any) -> Any:
    """sigma(x), and sigma'(x) = d / (1 + d)^2, d = e^-|x|: exact to rounding on both sides.

    At most 3 units in the last place in float64 and 5 in float32; zero where d is below the smallest normal number.
    """
    return logistic_and_slope_single(x) if isinstance(x, np.float32) else logistic_and_slope_double(np.float64(x))


def compile_by_precision(function: Any, single: Any, double: Any) -> None:
    """Compiled code calls `single` for a float32 and `double` for a float64, and compiles no other."""
    from numba import types
    from numba.extending import overload

    settings: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}

    @overload(function, jit_options=settings)
    def choose(x: Any) -> Any:
        return (single if x == types.float32 else double).py_func


if not interprets():
    compile_by_precision(tanh_and_slope, tanh_and_slope_single, tanh_and_slope_double)
    compile_by_precision(logistic_and_slope, logistic_and_slope_single, logistic_and_slope_double)


# ------------------------------------------------------------------ the activations of a layer

TANH, RELU, IDENTITY, LOGISTIC = range(4)
COMPILED_ACTIVATIONS = {"tanh": TANH, "relu": RELU, "identity": IDENTITY, "logistic": LOGISTIC}


@compiled("contract", "nsz")
def activate(activation: int, a: Array, out: Array, smallest: float) -> None:
    """out = f(a), and zero where a relu or a linear unit is smaller than `smallest`.  (B,N) each"""
    for b in range(len(a)):
        if activation == TANH:
            for n in range(a.shape[1]):
                out[b, n] = tanh(a[b, n])
        elif activation == LOGISTIC:
            for n in range(a.shape[1]):
                out[b, n] = logistic_and_slope(a[b, n])[0]
        elif activation == RELU:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if a[b, n] <= smallest else a[b, n]
        else:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if abs(a[b, n]) < smallest else a[b, n]


@compiled("contract", "nsz")
def activate_with_slopes(activation: int, a: Array, out: Array, slopes: Array, smallest: float) -> None:
    """`activate`, and f'(a).  (B,N) each"""
    for b in range(len(a)):
        if activation == TANH:
            for n in range(a.shape[1]):
                out[b, n], slopes[b, n] = tanh_and_slope(a[b, n])
        elif activation == LOGISTIC:
            for n in range(a.shape[1]):
                out[b, n], slopes[b, n] = logistic_and_slope(a[b, n])
        elif activation == RELU:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if a[b, n] <= smallest else a[b, n]
                slopes[b, n] = 0.0 if a[b, n] <= smallest else 1.0
        else:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if abs(a[b, n]) < smallest else a[b, n]
                slopes[b, n] = 1.0
