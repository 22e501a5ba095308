"""Claims of experiments: rows with a number of a study and the region where it should lie.

A claim is about a number. A plain float is a fact about the study (the largest error of all runs). A number that
differs from network to network is an `Estimate` over independent draws (`median_of`, `mean_of`, `share_of`,
`with_error`). Its claim is undecided if its interval lies partly in the region. Networks that differ by a factor of one
matrix are one draw (`one_per_draw`).

An identity (`identity`) is a row that holds for every consistent engine, right or wrong. It is checked as claims are,
and it is no evidence for a paper's statement.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import pandas as pd

from bpttlab.numerics.verdicts import (
    HOLDS,
    Estimate,
    chance_of_failing,
    exactly,
    largest_of,
    mean_of,
    median_of,
    p_values,
    share_of,
    smallest_of,
    unknown_estimate,
    verdict,
    with_error,
)

__all__ = [
    "CLAIM",
    "IDENTITY",
    "Row",
    "at_least",
    "at_most",
    "identity",
    "largest_of",
    "mean_of",
    "median_of",
    "near",
    "one_per_draw",
    "share_of",
    "smallest_of",
    "unknown_estimate",
    "with_error",
]

CLAIM, IDENTITY = "claim", "identity"

Row: TypeAlias = dict[str, Any]
"""claim, kind, source, expected (text), measured, low, high, tolerance, verdict, held, chance, p_inside, p_outside,
reason. Undecided is not held. `chance`: the probability, at most, that a claim that is true is said to fail.
`p_inside`, `p_outside`: the p-values of "it is as expected" and of "it is not" (`verdicts.p_values`)."""


def at_most(text: str, source: str, measured: float | Estimate, limit: float, tolerance: float = 0.0) -> Row:
    """A claim that a number is at most a limit."""
    return _row(
        text,
        source,
        f"<= {limit:g}{_margin('+', tolerance)}",
        measured,
        (-math.inf, limit + tolerance),
        tolerance,
    )


def at_least(text: str, source: str, measured: float | Estimate, limit: float, tolerance: float = 0.0) -> Row:
    """A claim that a number is at least a limit."""
    return _row(
        text,
        source,
        f">= {limit:g}{_margin('-', tolerance)}",
        measured,
        (limit - tolerance, math.inf),
        tolerance,
    )


def _margin(sign: str, tolerance: float) -> str:
    return f" {sign} {tolerance:.2g}" if tolerance else ""


def near(text: str, source: str, measured: float | Estimate, expected: float, tolerance: float) -> Row:
    """A claim that a number is equal to another, to a tolerance."""
    said = f"{expected:.6g} +- {tolerance:.2g}"
    return _row(text, source, said, measured, (expected - tolerance, expected + tolerance), tolerance)


def identity(claim: Row) -> Row:
    """The row marked as an identity: it can fail only if the engine contradicts itself."""
    return claim | {"kind": IDENTITY}


def _row(
    text: str, source: str, expected: str, measured: float | Estimate, region: tuple[float, float], tolerance: float
) -> Row:
    """The row of a claim that a number lies in a region."""
    found = measured if isinstance(measured, Estimate) else exactly(measured)
    said, (inside, outside) = verdict(found, *region), p_values(found, *region)
    return {
        "claim": text,
        "kind": CLAIM,
        "source": source,
        "expected": expected,
        "measured": found.value,
        "low": found.low,
        "high": found.high,
        "tolerance": tolerance,
        "verdict": said,
        "held": said == HOLDS,
        "chance": chance_of_failing(found, *region),
        "p_inside": inside,
        "p_outside": outside,
        "reason": found.reason,
    }


def one_per_draw(values: pd.Series, draw: pd.Series) -> pd.Series:
    """One value for each independent draw: the median over networks that differ only by a factor or a setting.

    Args:
        values: one for each network; a missing one makes that of its draw missing.
        draw: the draw of each network, in the same order: the seed, if one seed gives one matrix.
    """
    found = values.astype("Float64").astype("float64").to_numpy()
    groups = pd.Series(found).groupby(draw.to_numpy())
    return groups.median().where(groups.apply(lambda own: own.notna().all()))
