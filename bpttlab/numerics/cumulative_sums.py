"""Parts of a gradient and their running sums, compared with the whole gradient.

A part may be smaller than its neighbours by more than the range of a float. Therefore each part and each sum is a
mantissa with an exponent. The exponent of a running sum is the largest among its parts.

Index legend: P parts, E entries of one parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, log_of_square, power_of_two

HELD_NUMBERS = 2**21
"""Entries of sums that are held at once."""


class Beside(NamedTuple):
    """Parts, or sums of parts, compared with the whole gradient g, each (P,).

    `log_norm` is a natural logarithm, -inf where all entries are zero. `share` is <part, g> / |g|^2, NaN where g is
    zero, infinite where it is beyond the range of floats. `cosine` is NaN where either is zero.
    """

    log_norm: Array
    share: Array
    cosine: Array


class Whole:
    """The whole gradient of one parameter."""

    def __init__(self, gradient: Scaled) -> None:
        self.mantissa = gradient.mantissa.ravel().astype(np.float64)
        self.exponent = int(gradient.exponent.item())
        self.square = float(self.mantissa @ self.mantissa)

    def beside(self, parts: Scaled) -> Beside:
        """Of normalised rows.  (P,E)"""
        mantissa, exponent = parts.mantissa.astype(np.float64, copy=False), parts.exponent[:, 0]
        squares, dots = np.einsum("pe,pe->p", mantissa, mantissa), mantissa @ self.mantissa
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            share = np.ldexp(dots / self.square, np.clip(exponent - self.exponent, -5000, 5000))
            cosine = np.clip(dots / np.sqrt(squares * self.square), -1.0, 1.0)
        return Beside(log_of_square(squares, exponent), share, cosine)


Parts = Sequence[Scaled] | Scaled
"""Arrays with one exponent each, or normalised rows (P,E)."""


def stack(parts: Parts) -> Scaled:
    """Arrays with one exponent each as rows.  -> (P,E)"""
    if isinstance(parts, Scaled):
        return parts
    exponents = np.array([part.exponent.item() for part in parts], np.int64)
    return Scaled(np.stack([part.mantissa.ravel() for part in parts]), exponents[:, None])


def join_scaled(chunks: Sequence[Scaled]) -> Scaled:
    mantissa, exponent = ([getattr(chunk, name) for chunk in chunks] for name in ("mantissa", "exponent"))
    return chunks[0] if len(chunks) == 1 else Scaled(np.concatenate(mantissa), np.concatenate(exponent))


def parts_beside(parts: Parts, whole: Whole) -> Beside:
    """Each part by itself."""
    some = max(1, HELD_NUMBERS // parts[0].mantissa.size)
    chunks = [stack(parts[first : first + some]).normalise() for first in range(0, len(parts), some)]
    return join([whole.beside(chunk) for chunk in chunks])


def sum_side_by_side(parts: Parts, whole: Whole) -> Beside:
    """The sum of the first part, of the first two, and so on, up to the sum of all."""
    some = max(2, HELD_NUMBERS // parts[0].mantissa.size)
    found, carried = [], list[Scaled]()
    for first in range(0, len(parts), some):
        sums = _accumulate(join_scaled([*carried, stack(parts[first : first + some])]))
        found.append(whole.beside(sums[len(carried) :]))
        carried = [sums[-1:]]
    return join(found)


def _accumulate(parts: Scaled) -> Scaled:
    """Row p is the sum of rows 0..p, normalised.  (P,E)"""
    most = np.maximum.accumulate(parts.live_exponent, axis=0)
    sums, factors = parts.at(most), power_of_two(most[:-1] - most[1:], parts.mantissa.dtype)
    for p, factor in enumerate(factors[:, 0], start=1):
        sums[p] += sums[p - 1] * factor
    return Scaled(sums, most).normalise()


def join(chunks: Sequence[Beside]) -> Beside:
    return Beside(*(np.concatenate(column) for column in zip(*chunks, strict=True)))
