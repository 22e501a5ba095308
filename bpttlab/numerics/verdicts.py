"""Estimates with intervals, and the verdict that follows from an interval: holds, undecided or fails.

A missing value (NaN) may be any number. It counts as the lowest value for the low end of an interval and as the highest
value for the high end. So it can make a claim undecided, and it can never refute or support one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import bdtr, bdtrc, betaincinv, ndtr, stdtrit

HOLDS, UNDECIDED, FAILS = "holds", "undecided", "fails"

_CONFIDENCE = 0.95
"""Smallest probability that an interval contains the true number."""

LEAST_NETWORKS = 6
"""A sample of fewer values has no interval: smallest and largest of 5 contain the median with less than 95 %."""


class Estimate(NamedTuple):
    """A number and the interval in which it is known.

    Attributes:
        value, low, high: the number and the ends of its interval, which may be infinite.
        chance: an upper limit of the probability that the interval lies wholly above the true number; the same limit
            holds for wholly below. 0 for a number that was not estimated, and where there is no interval.
        sample: the values, one for each independent draw, if the number is the median of a sample.
        reason: why the number or its interval is missing.
    """

    value: float
    low: float
    high: float
    chance: float = 0.0
    sample: tuple[float, ...] = ()
    reason: str = ""


def exactly(value: Any) -> Estimate:
    """A number that was not estimated; a NaN gives an unknown number."""
    found = float(value)
    return unknown_estimate("it is not a number (NaN)") if math.isnan(found) else Estimate(found, found, found)


def unknown_estimate(reason: str) -> Estimate:
    """An unknown number, and the reason."""
    return Estimate(math.nan, -math.inf, math.inf, reason=reason)


# ---------------------------------------------------------------------------------------------------- medians


def median_of(values: Any, missing: str = "no value") -> Estimate:
    """The median over independent draws (one value each), with its interval by order statistics.

    Args:
        values: -inf and inf take part; NaN is a missing value.
        missing: the meaning of a missing value, for the reason.
    """
    found = np.asarray(values, np.float64)
    known = np.sort(found[~np.isnan(found)])
    if not len(known):
        return unknown_estimate(f"{missing}: all of {len(found)}" if len(found) else "there are no values")
    value = middle_of(known)
    low = median_interval(np.where(np.isnan(found), -np.inf, found))[0]
    high = median_interval(np.where(np.isnan(found), np.inf, found))[1]
    reason = shortage(len(found), len(found) - len(known), missing)
    return Estimate(value, low, high, miss_probability(len(found)), tuple(found.tolist()), reason)


def middle_of(ordered: np.ndarray) -> float:
    """The median of ordered values; np.median gives NaN between two infinite values."""
    below, above = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(below) if below == above else float((below + above) / 2.0)


def shortage(count: int, gaps: int, missing: str) -> str:
    """Why a sample gives less information than its size allows; empty if it does not."""
    if count < LEAST_NETWORKS:
        return f"an interval needs {LEAST_NETWORKS} independent draws, there are {count}"
    return f"{missing}: {gaps} of {count}" if gaps else ""


def median_interval(values: Any) -> tuple[float, float]:
    """The narrowest [k-th smallest, k-th largest] that contains the median with 95 %, by the binomial distribution."""
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    if count < LEAST_NETWORKS:
        return -math.inf, math.inf
    k = rank_of_end(count)
    return float(ordered[k - 1]), float(ordered[count - k])


def rank_of_end(count: int) -> int:
    """The k of the k-th smallest of `count` values that is the low end of the interval; 0 if there is none."""
    return int(np.sum(bdtr(np.arange(count), count, 0.5) <= (1.0 - _CONFIDENCE) / 2.0))


def miss_probability(count: int) -> float:
    """The probability that the median lies below the interval of `count` values; 0 if there is no interval."""
    return float(bdtr(rank_of_end(count) - 1, count, 0.5)) if count >= LEAST_NETWORKS else 0.0


# ---------------------------------------------------------------------------------------------------- other statistics


def mean_of(values: Any, missing: str = "no value") -> Estimate:
    """The mean over independent draws with Student's interval, which assumes a normal distribution."""
    found = np.asarray(values, np.float64)
    gaps = int(np.isnan(found).sum())
    if gaps or len(found) < LEAST_NETWORKS or not np.isfinite(found).all():
        known = float(found.mean()) if len(found) and not gaps else math.nan
        reason = shortage(len(found), gaps, missing) or "a value is infinite"
        return Estimate(known, -math.inf, math.inf, reason=reason)
    tail = (1.0 - _CONFIDENCE) / 2.0
    half = float(stdtrit(len(found) - 1, 1.0 - tail) * found.std(ddof=1) / math.sqrt(len(found)))
    return Estimate(float(found.mean()), float(found.mean()) - half, float(found.mean()) + half, tail)


def with_error(value: Any, error: Any, factor: float = 1.96) -> Estimate:
    """A number with a standard error: value +- factor x error, assumed to be normal."""
    middle, half = float(value), factor * float(error)
    if math.isnan(middle) or math.isnan(half):
        return unknown_estimate("the value or its standard error is not a number (NaN)")
    return Estimate(middle, middle - half, middle + half, float(ndtr(-factor)))


def share_of(hits: Any, missing: str = "no value") -> Estimate:
    """The share of independent draws for which a statement is true, with the interval of Clopper and Pearson.

    Args:
        hits: 1 or True for a draw for which it is true, 0 or False for one for which it is false, NaN if missing.
        missing: the meaning of a missing value, for the reason.
    """
    found = np.asarray(hits, np.float64)
    count, gaps, seen = len(found), int(np.isnan(found).sum()), int(np.nansum(found))
    if gaps == count:
        return unknown_estimate(f"{missing}: all of {count}" if count else "there are no values")
    share, reason = seen / (count - gaps), shortage(count, gaps, missing)
    if count < LEAST_NETWORKS:
        return Estimate(share, 0.0, 1.0, reason=reason)
    tail, most = (1.0 - _CONFIDENCE) / 2.0, seen + gaps
    low = float(betaincinv(seen, count - seen + 1, tail)) if seen else 0.0
    high = float(betaincinv(most + 1, count - most, 1.0 - tail)) if most < count else 1.0
    return Estimate(share, low, high, tail, reason=reason)


def largest_of(values: Iterable[Any] | Any, missing: str = "no value") -> Estimate:
    """The largest of all values, as a fact about them; a missing value may be larger than any."""
    found = np.asarray(values, np.float64)
    known = found[~np.isnan(found)]
    if not len(known):
        return unknown_estimate(f"{missing}: all of {len(found)}" if len(found) else "there are no values")
    top, gaps = float(known.max()), len(found) - len(known)
    return Estimate(top, top, math.inf, reason=f"{missing}: {gaps} of {len(found)}") if gaps else exactly(top)


def smallest_of(values: Iterable[Any] | Any, missing: str = "no value") -> Estimate:
    """The smallest of all values; see `largest_of`."""
    turned = largest_of(-np.asarray(values, np.float64), missing)
    return turned._replace(value=-turned.value, low=-turned.high, high=-turned.low)


# ---------------------------------------------------------------------------------------------------- verdicts


def verdict(measured: Estimate, least: float, most: float) -> str:
    """Holds if the whole interval lies in [least, most], fails if no part of it does, else undecided.

    A number or an end that is NaN makes the claim undecided.
    """
    if any(math.isnan(end) for end in measured[:3]):
        return UNDECIDED
    if least <= measured.low and measured.high <= most:
        return HOLDS
    return FAILS if measured.low > most or measured.high < least else UNDECIDED


def chance_of_failing(measured: Estimate, least: float, most: float) -> float:
    """An upper limit of the probability that a true claim fails: one miss for each finite end."""
    return min(1.0, measured.chance * (math.isfinite(least) + math.isfinite(most)))


def p_values(measured: Estimate, least: float, most: float) -> tuple[float, float]:
    """p-values of "it lies in [least, most]" and of "it does not": upper limits of the probability of the sample if
    that is true.

    For a median both are exact sign tests, and a missing value counts for the tested statement. For another statistic
    only the interval is known: the p-value is the probability that it misses if the verdict rests on it, else 1. NaN
    for a number that was not estimated.
    """
    if not measured.chance:
        return math.nan, math.nan
    if not measured.sample:
        said, chance = verdict(measured, least, most), chance_of_failing(measured, least, most)
        return chance if said == FAILS else 1.0, measured.chance if said == HOLDS else 1.0
    values = np.asarray(measured.sample)
    gaps, count = np.isnan(values).sum(), len(values)
    below, above = np.sum(values < least), np.sum(values > most)
    sides = [side for side, end in ((below, least), (above, most)) if math.isfinite(end)]
    inside = min(1.0, len(sides) * min(float(bdtrc(side - 1, count, 0.5)) if side else 1.0 for side in sides))
    outside = max(float(bdtr(side + gaps, count, 0.5)) for side in sides)
    return inside, outside
