"""Verdicts on what was measured: holds, undecided or fails, from where a number lies and where it may lie."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import bdtr

HOLDS, UNDECIDED, FAILS = "holds", "undecided", "fails"

CONFIDENCE = 0.95
"""That the median over all networks lies within [low, high], at least; no distribution is assumed."""

LEAST_NETWORKS = 6
"""With fewer, smallest and largest are no interval of 95 % for a median."""


class Estimate(NamedTuple):
    """A number and the interval within which it is known."""

    value: float
    low: float
    high: float


def exactly(value: Any) -> Estimate:
    """A number that was not estimated."""
    return Estimate(float(value), float(value), float(value))


def median_of(values: Any) -> Estimate:
    """The median over networks (n values, one a network), with its interval; -inf takes part, NaN spoils it all."""
    found = np.asarray(values, np.float64)
    if not len(found) or np.isnan(found).any():
        return Estimate(math.nan, math.nan, math.nan)
    ordered = np.sort(found)  # np.median has no answer between two infinite values
    middle = ordered[[(len(ordered) - 1) // 2, len(ordered) // 2]]
    value = middle[0] if middle[0] == middle[1] else middle.mean()
    return Estimate(float(value), *median_interval(found))


def median_interval(values: Any) -> tuple[float, float]:
    """The narrowest [k-th smallest, k-th largest] that holds the median with 95 %, by the binomial distribution."""
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    if count < LEAST_NETWORKS:
        return -math.inf, math.inf
    k = int(np.sum(bdtr(np.arange(count), count, 0.5) <= (1.0 - CONFIDENCE) / 2.0))
    return float(ordered[k - 1]), float(ordered[count - k])


def verdict(measured: Estimate, least: float, most: float) -> str:
    """Holds where all of the interval lies in [least, most], fails where none of it does, else undecided.

    What is not a number holds nothing.
    """
    if any(math.isnan(end) for end in measured):
        return FAILS
    if least <= measured.low and measured.high <= most:
        return HOLDS
    return FAILS if measured.low > most or measured.high < least else UNDECIDED
