"""Times of events that some members of a sample never reach: the Kaplan-Meier estimate, and the median.

A member without the event is censored at the last time at which it was seen: its event would come later. A member that
can have no event any more is censored at inf.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bpttlab.errors import LabError
from bpttlab.numerics.array import Array
from bpttlab.numerics.verdicts import (
    Estimate,
    median_interval,
    miss_probability,
    shortage,
    unknown_estimate,
)

_ROUNDINGS = 1e-12
"""Within this, a product of fractions that should be 1/2 is 1/2."""


class SurvivalCurve(NamedTuple):
    """The share of a sample that has had no event up to each time.

    Attributes:
        times: the distinct finite times, ascending.
        survival: the Kaplan-Meier estimate after the events of each time.
        at_risk: how many members had neither an event nor were censored before.
        events: how many had the event at this time.
        censored: how many were seen for the last time then; they count as at risk at this time.
    """

    times: Array
    survival: Array
    at_risk: Array
    events: Array
    censored: Array


def kaplan_meier(times: Any, observed: Any) -> SurvivalCurve:
    """The product-limit estimate (Kaplan & Meier 1958), by `scipy.stats.ecdf`.

    Args:
        times: of the event, or the last time at which the member was seen without it; inf: it can have none any more.
        observed: whether the event was seen.

    Raises:
        LabError: a time is missing, or an event has no finite time.
    """
    from scipy.stats import CensoredData, ecdf  # takes a second to import

    times, observed = read_times(times, observed)
    finite = np.unique(times[np.isfinite(times)])
    if not len(finite):
        return SurvivalCurve(finite, *(np.zeros(0) for _ in range(4)))
    late = np.where(np.isfinite(times), times, finite[-1] + 1.0)
    curve = ecdf(CensoredData.right_censored(late, ~observed)).sf
    events, censored = (np.array([np.sum(times[of] == time) for time in finite]) for of in (observed, ~observed))
    at_risk = np.array([np.sum(times >= time) for time in finite])
    return SurvivalCurve(finite, curve.evaluate(finite), at_risk, events, censored)


def median_time(times: Any, observed: Any) -> Estimate:
    """The median time of the event with its 95 % interval; inf: more than half of the sample never reach it.

    The value is the first time at which the Kaplan-Meier estimate is at most 1/2. The interval is that of
    `verdicts.median_of`, by order statistics. A censored member may have its event at any later time: for the low end
    it has it at once, and for the high end never. So the interval holds for every cause of censoring and for small
    samples. That of Brookmeyer & Crowley 1982 rests on a normal distribution, and does neither.
    """
    times, observed = read_times(times, observed)
    if not len(times):
        return unknown_estimate("there are no times")
    curve = kaplan_meier(times, observed)
    reached = curve.times[curve.survival <= 0.5 + _ROUNDINGS]
    value = float(reached[0]) if len(reached) else np.inf
    low = median_interval(times)[0]
    high = median_interval(np.where(observed, times, np.inf))[1]
    return Estimate(value, low, high, miss_probability(len(times)), reason=shortage(len(times), 0, ""))


def read_times(times: Any, observed: Any) -> tuple[Array, Array]:
    """The arrays, checked."""
    found, seen = np.asarray(times, np.float64), np.asarray(observed, bool)
    if np.isnan(found).any() or np.isinf(found[seen]).any():
        raise LabError("times: every member needs a time, and every event a finite one")
    return found, seen
