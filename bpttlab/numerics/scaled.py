"""Arrays as mantissa x 2^exponent, so that no product over 10^5 steps over- or underflows.

A cotangent or a Jacobian product that shrinks by 0.3 a step leaves the range of float64 after 600 steps, and loses
digits before (denormals). Here every row, which is everything along the last axis, has an integer exponent of its own
and a mantissa whose largest entry lies in [1/2, 1). Rescaling uses powers of two only and rounds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpttlab.errors import GradientRangeError
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly

ZERO_EXPONENT = -(2**40)
"""The exponent of a row of zeros: below every other, so that sums and maxima need no special case."""

LOG_2 = float(np.log(2.0))

FLOATS = {np.dtype(name).char: np.finfo(name) for name in ("float16", "float32", "float64", "longdouble")}
"""What each kind of float can hold, by its dtype's character: `np.finfo` itself is slow."""


@dataclass(frozen=True)
class Scaled:
    """mantissa * 2^exponent. The exponents broadcast against the mantissa; exponents of rows have a last axis of 1."""

    mantissa: Array
    exponent: Array

    def __repr__(self) -> str:
        return show_briefly(self)

    @classmethod
    def of(cls, array: Array) -> Scaled:
        """The same numbers, each row with its own exponent."""
        return cls(array, np.zeros((*array.shape[:-1], 1), dtype=np.int64)).normalise()

    @classmethod
    def whole(cls, array: Array, exponent: int = 0) -> Scaled:
        """array * 2^exponent with one exponent for all of it, the largest entry in [1/2, 1)."""
        largest = float(np.maximum.reduce(np.abs(array), axis=None, initial=0.0))
        shift = math.frexp(largest)[1]
        of_whole = exponent + shift if largest > 0 else ZERO_EXPONENT
        mantissa = times_power(array, -shift) if shift else array
        return cls(mantissa, np.array(of_whole, np.int64, ndmin=array.ndim))

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: Any) -> Scaled:
        return cls(np.zeros(shape, dtype), np.full((*shape[:-1], 1), ZERO_EXPONENT, dtype=np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mantissa.shape

    def __len__(self) -> int:
        return len(self.mantissa)

    def __getitem__(self, index: Any) -> Scaled:
        """Along leading axes only: rows stay whole."""
        return Scaled(self.mantissa[index], self.exponent[index])

    def __setitem__(self, index: Any, rows: Scaled) -> None:
        self.mantissa[index] = rows.mantissa
        self.exponent[index] = rows.exponent

    def __add__(self, other: Scaled) -> Scaled:
        exponent = np.maximum(self.live_exponent, other.live_exponent)
        return Scaled(self.at(exponent) + other.at(exponent), exponent)

    def __mul__(self, factor: Array) -> Scaled:
        """By ordinary numbers of moderate size."""
        return Scaled(self.mantissa * factor, self.exponent)

    @property
    def live_exponent(self) -> Array:
        """The exponents; rows of zeros have the exponent of zero, so that they do not outweigh small rows."""
        return np.where(np.logical_or.reduce(self.mantissa, axis=-1, keepdims=True), self.exponent, ZERO_EXPONENT)

    def at(self, exponent: Array | int) -> Array:
        """The mantissa for another exponent, which may be only a little smaller than the own one: v * 2^-exponent.

        Numbers below the range of the dtype beside an entry of order one become zero.
        """
        return self.mantissa * power_of_two(self.live_exponent - exponent, self.mantissa.dtype)

    def whole_at(self, exponent: int) -> Array:
        """`at` of an array with one exponent (`whole`)."""
        shift = self.exponent.item() - exponent
        if shift == 0:
            return self.mantissa
        numbers = FLOATS[self.mantissa.dtype.char]
        return self.mantissa * numbers.dtype.type(math.ldexp(1.0, shift) if shift >= numbers.minexp // 2 else 0.0)

    def normalise(self) -> Scaled:
        """The same numbers with every row's largest entry in [1/2, 1); rows of zeros have the exponent of zero."""
        largest = np.maximum.reduce(np.abs(self.mantissa), axis=-1, keepdims=True, initial=0.0)
        shift = np.frexp(largest)[1].astype(np.int64)
        mantissa = shift_exponents(self.mantissa, -shift)
        return Scaled(mantissa, np.where(largest > 0, self.exponent + shift, ZERO_EXPONENT))

    def share_exponent(self, axes: int) -> Scaled:
        """One exponent over the last `axes` axes, the largest among them, as for a matrix or a whole batch."""
        live = self.live_exponent
        exponent = np.maximum.reduce(live, axis=tuple(range(-axes, 0)), keepdims=True, initial=ZERO_EXPONENT)
        return Scaled(self.mantissa * power_of_two(live - exponent, self.mantissa.dtype), exponent)

    def log_norm(self, axes: int = 1) -> Array:
        """Natural logarithm of the Euclidean norm over the last `axes` axes; -inf is exactly zero."""
        return self.normalise().log_norm_of_normalised(axes)

    def log_norm_of_normalised(self, axes: int = 1) -> Array:
        """`log_norm` of rows that are normalised already."""
        one = self.share_exponent(axes)
        squares = (one.mantissa * one.mantissa).sum(axis=tuple(range(-axes, 0)), dtype=np.float64)
        return log_of_square(squares, one.exponent.reshape(squares.shape))

    def value(self) -> Array:
        """Plain floats. Underflow rounds to the nearest float, zero included.

        Raises:
            GradientRangeError: an entry is larger than the largest float of the dtype.
        """
        with np.errstate(over="ignore", under="ignore"):
            plain = np.ldexp(self.mantissa, np.clip(self.exponent, -5000, 5000).astype(np.int64))
        if not np.isfinite(plain).all():
            size = float(self.log_norm(self.mantissa.ndim))
            raise GradientRangeError(
                f"a gradient of norm exp({size:.1f}) is beyond the range of {self.mantissa.dtype}; "
                "backward(..., scaled=True) returns it as mantissa and exponent"
            )
        return plain


def times_power(mantissa: Array, shift: int) -> Array:
    """mantissa * 2^shift: `shift_exponents` by one number."""
    if abs(shift) < -FLOATS[mantissa.dtype.char].minexp:
        return mantissa * mantissa.dtype.type(math.ldexp(1.0, shift))
    return np.ldexp(mantissa, shift)


def shift_exponents(mantissa: Array, shift: Array) -> Array:
    """mantissa * 2^shift, one shift a row: by a product where the factor is a float, which is faster than ldexp."""
    if np.maximum.reduce(np.abs(shift), axis=None, initial=0) < -FLOATS[mantissa.dtype.char].minexp:
        return mantissa * np.ldexp(mantissa.dtype.type(1.0), shift)
    return np.ldexp(mantissa, shift)


def power_of_two(exponent: Array, dtype: Any) -> Array:
    """2^exponent in that dtype, zero where it would be denormal or near it."""
    smallest = FLOATS[np.dtype(dtype).char].minexp // 2
    return np.ldexp((exponent >= smallest).astype(dtype), np.maximum(exponent, smallest))


def log_of_square(square: Array, exponent: Array) -> Array:
    """log of a norm from its square: log(sqrt(square) * 2^exponent), -inf where that is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(square > 0, 0.5 * np.log(square) + exponent * LOG_2, -np.inf)


def dot(left: Scaled, right: Scaled) -> Scaled:
    """Inner product of two arrays with one exponent each (`whole`)."""
    return Scaled.whole(
        np.array([np.vdot(left.mantissa, right.mantissa)]), int(left.exponent.item() + right.exponent.item())
    )


def spectral_log_norm(matrices: Scaled, normalised: bool = False) -> Array:
    """log of the largest singular value of each matrix (..., N, N), through its Gram matrix.

    -inf is exactly zero; NaN is a matrix that is not finite. Squaring halves the digits of small singular values, but
    not of the largest one.

    Args:
        normalised: whether the rows are normalised already.
    """
    one = (matrices if normalised else matrices.normalise()).share_exponent(2)  # the largest entry lies in [1/2, 1)
    mantissa = one.mantissa.astype(np.float64, copy=False)
    finite = np.asarray(np.isfinite(mantissa).all(axis=(-2, -1)))
    gram = mantissa @ mantissa.swapaxes(-2, -1)
    if not finite.all():
        gram = np.where(finite[..., None, None], gram, 0.0)
    largest = np.linalg.eigvalsh(gram)[..., -1]
    return np.where(finite, log_of_square(largest, one.exponent[..., 0, 0]), np.nan)


Gradients = dict[str, Scaled]


def norm(gradient: Scaled) -> float:
    """Natural logarithm of the Euclidean norm of all entries."""
    if gradient.exponent.size > 1:
        return float(gradient.log_norm(gradient.mantissa.ndim))
    return norm_of_whole(make_whole(gradient))


def make_whole(gradient: Scaled) -> Scaled:
    """An array with one exponent, its largest entry in [1/2, 1)."""
    return Scaled.whole(gradient.mantissa, gradient.exponent.item())


def norm_of_whole(one: Scaled) -> float:
    """`norm` of what `make_whole` gives."""
    return log_of(euclidean(one.mantissa)) + one.exponent.item() * LOG_2


def log_of(size: float) -> float:
    """log(size); -inf is exactly zero."""
    return math.log(size) if size > 0 else -math.inf


def euclidean(mantissa: Array) -> float:
    """Norm of all entries, in float64."""
    flat = mantissa.ravel().astype(np.float64, copy=False)
    return math.sqrt(float(np.vdot(flat, flat)))


def cosine_of(left: Array, right: Array) -> float:
    """Of the angle between two gradients in plain numbers of moderate size; NaN where one of them is zero."""
    lengths = euclidean(left) * euclidean(right)
    return min(max(float(np.vdot(left, right)) / lengths, -1.0), 1.0) if lengths else math.nan


def log_relative(log_part: float, log_whole: float) -> float:
    """log(part / whole): -inf where the part is exactly zero, inf where only the whole is."""
    return -np.inf if log_part == -np.inf else log_part - log_whole


def median_log(values: Array) -> Array:
    """Median over the last axis of logarithms that may be -inf, without -inf minus -inf in the middle."""
    ordered = np.sort(values, axis=-1)
    count = values.shape[-1]
    low, high = ordered[..., (count - 1) // 2], ordered[..., count // 2]
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(low), np.where(np.isneginf(high), -np.inf, low), 0.5 * (low + high))
