"""Many claims at once: how many of them go wrong by chance, and which verdicts survive that.

Each claim with an interval is a test at its own level (`chance`). Over N claims these add up: the sum is the expected
number of claims that fail although they are true, at most, and by Boole's inequality it bounds the probability that
one or more do (the family-wise level), however the claims depend on each other. Holm's procedure says which verdicts
remain at a family-wise level of 5 %: it is applied to the p-values of all claims with an interval, once to those
against the claim and once to those for it. Claims about facts (no interval) and identities take no part.
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
        claims: how many there are.
        expected: how many fail by chance if all are true, at most, on average.
        level: the probability that one or more do, at most.
        hold, fail: how many hold, or fail, at the family-wise level of 5 % (Holm).
    """

    claims: int
    expected: float
    level: float
    hold: int
    fail: int


def family_of(rows: pd.DataFrame) -> Family:
    """Of claims, as rows with `kind`, `chance`, `p_inside` and `p_outside`."""
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


def describe(family: Family) -> str:
    """The family in one line."""
    return (
        f"{family.claims} claims with intervals at 95 %: if all are true, at most {family.expected:.2g} of them fail "
        f"by chance on average (family-wise level {family.level:.2g}); at a family-wise level of {FAMILY_LEVEL:g} "
        f"(Holm) {family.hold} hold and {family.fail} fail"
    )
