"""Statistics over networks, against what is known of them exactly."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import numpy as np

from bpttlab.verdicts import median_interval, median_of
from bpttlab.verification.check import Check, agree, checks, equal

EXACT = "binomial distribution"


def coverage(count: int, k: int) -> float:
    """Probability that the median lies between the k-th smallest and the k-th largest of so many draws."""
    return 1.0 - 2.0 * sum(comb(count, i) for i in range(k)) / 2.0**count


@checks("statistics")
def interval_of_a_median(quick: bool) -> Iterator[Check]:
    """It holds the median of any distribution with 95 % or more, and the next narrower one with less."""
    wide, narrow, centred = [], [], []
    for count in range(6, 60):
        low, high = median_interval(np.arange(count)[::-1])
        k = int(low) + 1
        wide.append(coverage(count, k))
        narrow.append(coverage(count, k + 1))
        centred.append(abs(low + high - (count - 1)))
    yield equal(
        "interval of a median, 6 to 59 networks: least coverage, below 0.95 by", EXACT, 0.0, max(0.0, 0.95 - min(wide))
    )
    yield equal("the same, one network narrower: coverage, above 0.95 by", EXACT, 0.0, max(0.0, max(narrow) - 0.95))
    yield agree("the same: as many networks below as above", "definition", max(centred), 0.0)


@checks("statistics")
def medians_of_skewed_draws(quick: bool) -> Iterator[Check]:
    """The share of intervals that hold the median of an exponential distribution."""
    draws, count = (2000, 12) if quick else (20_000, 12)
    rng, inside = np.random.default_rng(17), 0
    for _ in range(draws):
        found = median_of(rng.exponential(size=count))
        inside += found.low <= np.log(2.0) <= found.high
    known = coverage(count, 3)
    allowed = 4.0 * np.sqrt(known * (1.0 - known) / draws)
    what = f"exponential draws, {count} networks, {draws} times: share of intervals with the median"
    yield equal(what, EXACT, known, inside / draws, absolute=float(allowed))
    values = [-np.inf, 1.0, 2.0, 9.0]
    yield equal("median of -inf, 1, 2 and 9", "definition", 1.5, median_of(values).value)
