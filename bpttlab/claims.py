"""Claims of experiments: rows of what their analyses hold a study against.

A number that differs from network to network is an `Estimate` (`median_of`), and a claim about it may be undecided:
the interval lies on both sides of what was said.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from bpttlab.verdicts import FAILS, HOLDS, Estimate, exactly, median_of, verdict

__all__ = ["Row", "at_least", "at_most", "claim", "median_of", "near"]

Row: TypeAlias = dict[str, Any]
"""claim, source, expected (text), measured, low, high, tolerance, verdict, held; undecided is not held."""


def claim(text: str, source: str, expected: str, measured: float, tolerance: float, held: bool) -> Row:
    """What was said of a study, by whom, what came out, and whether it holds."""
    return row(text, source, expected, exactly(measured), tolerance, HOLDS if held else FAILS)


def at_most(text: str, source: str, measured: float | Estimate, limit: float, tolerance: float = 0.0) -> Row:
    """A claim that a number is at most a limit; a number that cannot be had holds nothing."""
    found = estimate(measured)
    return row(text, source, f"<= {limit:g}", found, tolerance, verdict(found, -math.inf, limit + tolerance))


def at_least(text: str, source: str, measured: float | Estimate, limit: float, tolerance: float = 0.0) -> Row:
    """A claim that a number is at least a limit."""
    found = estimate(measured)
    return row(text, source, f">= {limit:g}", found, tolerance, verdict(found, limit - tolerance, math.inf))


def near(text: str, source: str, measured: float | Estimate, expected: float, tolerance: float) -> Row:
    """A claim that a number is another, to a tolerance."""
    found = estimate(measured)
    held = verdict(found, expected - tolerance, expected + tolerance)
    return row(text, source, f"{expected:.6g} +- {tolerance:.2g}", found, tolerance, held)


def estimate(measured: float | Estimate) -> Estimate:
    return measured if isinstance(measured, Estimate) else exactly(measured)


def row(text: str, source: str, expected: str, found: Estimate, tolerance: float, said: str) -> Row:
    names = ("claim", "source", "expected", "measured", "low", "high", "tolerance", "verdict", "held")
    return dict(zip(names, (text, source, expected, *found, tolerance, said, said == HOLDS), strict=True))
