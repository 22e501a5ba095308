"""Statistics over networks, compared with exact results."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import numpy as np
import pandas as pd

from bpttlab.numerics.random_walks import fit_slope
from bpttlab.numerics.verdicts import median_interval, median_of
from bpttlab.tables.critical import critical_spectral_radius
from bpttlab.tables.regimes import regime
from bpttlab.verification.check import Check, agree, checks, equal

_EXACT = "binomial distribution"


def coverage(count: int, k: int) -> float:
    """Probability that the median lies between the k-th smallest and the k-th largest of so many draws."""
    return 1.0 - 2.0 * sum(comb(count, i) for i in range(k)) / 2.0**count


@checks("statistics")
def interval_of_a_median(quick: bool) -> Iterator[Check]:
    """It contains the median of any distribution with 95 % or more; the next narrower interval does so with less."""
    wide, narrow, centred = [], [], []
    for count in range(6, 60):
        low, high = median_interval(np.arange(count)[::-1])
        k = int(low) + 1
        wide.append(coverage(count, k))
        narrow.append(coverage(count, k + 1))
        centred.append(abs(low + high - (count - 1)))
    yield equal(
        "interval of a median, 6 to 59 networks: least coverage, below 0.95 by", _EXACT, 0.0, max(0.0, 0.95 - min(wide))
    )
    yield equal("the same, one network narrower: coverage, above 0.95 by", _EXACT, 0.0, max(0.0, max(narrow) - 0.95))
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
    yield equal(what, _EXACT, known, inside / draws, absolute=float(allowed))
    values = [-np.inf, 1.0, 2.0, 9.0]
    yield equal("median of -inf, 1, 2 and 9", "definition", 1.5, median_of(values).value)


@checks("statistics")
def regimes_of_intervals(quick: bool) -> Iterator[Check]:
    """The regime of an interval of the growth over a sequence."""
    cases = {
        "vanishing": (-9.0, -1.01),
        "exploding": (1.01, 9.0),
        "critical": (-0.99, 0.99),
        "undecided": (-1.5, 0.5),
    }
    wrong = sum(str(regime(*interval)) != word for word, interval in cases.items())
    yield equal("regimes of four intervals about -1 and 1 nat: wrong", "definition", 0, wrong)


@checks("statistics")
def errors_of_growth_rates(quick: bool) -> Iterator[Check]:
    """The scatter of fitted rates of random walks, over the error that a fit reports."""
    walks, steps = (400, 120) if quick else (4000, 120)
    rng, lags = np.random.default_rng(29), np.arange(1.0, steps + 1)
    found = np.array([fit_slope(lags, rng.standard_normal(steps).cumsum()) for _ in range(walks)])
    ratio = found[:, 0].std(ddof=1) / np.median(found[:, 1])
    what = f"slopes of {walks} random walks of {steps} steps: scatter over reported error"
    yield equal(what, "construction", 1.0, ratio, absolute=0.15)


@checks("statistics")
def critical_radii(quick: bool) -> Iterator[Check]:
    """Rates that are curved in the radius, with known zeros, given at two radii only."""
    zeros = 1.5 + 0.05 * np.arange(1, 12)
    rows = [
        {
            "run_id": f"{seed}-{radius}",
            "network_id": f"{seed}-{radius}",
            "seed": seed,
            "status": "done",
            "task": "noise",
            "initializer": "gaussian_radius",
            "initializer_target": "spectral_radius",
            "initializer_requested": radius,
            "sequence_length": 100,
            "rho": radius,
            "growth_rate": float(np.log(radius / zero) ** 3 + 0.1 * np.log(radius / zero)),
        }
        for seed, zero in enumerate(zeros)
        for radius in (1.5, 2.5)
    ]
    found = critical_spectral_radius(pd.DataFrame(rows)).iloc[0]
    inside = found["critical_low"] <= np.median(zeros) <= found["critical_high"]
    yield equal("critical radius from two radii: its interval lacks the known one", "construction", 0, int(not inside))
    yield equal("the same: lower end", "construction", 1.5, found["critical_low"])
    yield equal("the same: upper end", "construction", 2.5, found["critical_high"])
