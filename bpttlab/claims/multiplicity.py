"""Many claims at once: the expected number of chance failures, and the verdicts that survive a correction.

Each claim with an interval is a test at its own level (`chance`). Over N claims the sum of the levels is an upper limit
of the expected number of true claims that fail. By Boole's inequality it also bounds the probability that one or more
fail (the family-wise level), for any dependence of the claims. Holm's procedure gives the verdicts that remain at a
family-wise level of 5 %. It is applied to the p-values of all claims with an interval, once to those against the claim
and once to those for it. Claims about facts (no interval) and identities take no part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

FAMILY_LEVEL = 0.05
"""Probability, at most, that one or more verdicts that survive Holm's procedure are wrong."""


class Family(NamedTuple):
    """Counts over the claims with an interval.

    Attributes:
        claims: their number.
        expected: an upper limit of the mean number that fail by chance if all are true.
        level: an upper limit of the probability that one or more fail by chance.
        hold, fail: the number that hold, or fail, at the family-wise level of 5 % (Holm).
    """

    claims: int
    expected: float
    level: float
    hold: int
    fail: int


def family_of(rows: pd.DataFrame) -> Family:
    """The family of claims, given as rows with `kind`, `chance`, `p_inside` and `p_outside`."""
    own = rows[(rows["kind"] == "claim") & (rows["chance"] > 0.0)]
    expected = float(own["chance"].sum())
    refuted, supported = holm(own["p_inside"].to_numpy(float)), holm(own["p_outside"].to_numpy(float))
    return Family(len(own), expected, min(1.0, expected), int(supported.sum()), int(refuted.sum()))


def holm(p: np.ndarray, level: float = FAMILY_LEVEL) -> np.ndarray:
    """Which hypotheses Holm's step-down procedure rejects at a family-wise level."""
    order = np.argsort(p)
    small = p[order] <= level / (len(p) - np.arange(len(p)))
    rejected = np.zeros(len(p), bool)
    rejected[order] = np.logical_and.accumulate(small)
    return rejected


def describe_family(family: Family) -> str:
    """The family in one line."""
    return (
        f"{family.claims} claims with intervals at 95 %: if all are true, at most {family.expected:.2g} of them fail "
        f"by chance on average (family-wise level {family.level:.2g}); at a family-wise level of {FAMILY_LEVEL:g} "
        f"(Holm) {family.hold} hold and {family.fail} fail"
    )
