"""One check: a known number, a measured number, and the largest difference allowed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from bpttlab.numerics.verdicts import FAILS, HOLDS, UNDECIDED, Estimate, median_of, verdict


@dataclass(frozen=True)
class Check:
    """A measured number beside a known one.

    Attributes:
        what: the quantity, with the sizes at which it was measured.
        source: the source of the expected value.
        expected, measured: in the same unit.
        tolerance: the largest |measured - expected| allowed.
        low, high: the interval of the measured value if it was estimated from draws; else `measured` itself.
        seconds: time of the check.
        stated: the verdict of an experiment's claim, whose `expected` is a text (<= 0); otherwise the verdict follows
            from the numbers.
        claim: the row of the experiment's claim (`bpttlab.claims.claims`), if it is one.
    """

    what: str
    source: str
    expected: float | str
    measured: float
    tolerance: float
    low: float = math.nan
    high: float = math.nan
    seconds: float = math.nan
    stated: str = ""
    claim: Mapping[Any, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Holds if all of [low, high] is within the tolerance, fails if no part of it is, else undecided.

        A measured NaN is undecided, because the number is unknown.
        """
        if isinstance(self.expected, str):
            return self.stated
        if self.measured == self.expected and math.isnan(self.low):
            return HOLDS
        if not math.isfinite(self.measured):
            return UNDECIDED if math.isnan(self.measured) else FAILS
        low, high = (self.measured if math.isnan(end) else end for end in (self.low, self.high))
        found = Estimate(self.measured, low, high)
        return verdict(found, self.expected - self.tolerance, self.expected + self.tolerance)

    @property
    def held(self) -> bool:
        """Undecided is not held."""
        return self.verdict == HOLDS


def equal(
    what: str, source: str, expected: float, measured: Any, relative: float = 0.0, absolute: float = 0.0
) -> Check:
    """A number that must be the expected one, within relative x |expected| or an absolute tolerance."""
    tolerance = max(absolute, relative * abs(expected)) if math.isfinite(expected) else absolute
    return Check(what, source, float(expected), float(measured), tolerance)


def agree(what: str, source: str, error: Any, tolerance: float) -> Check:
    """Arrays that must be equal, by their largest difference."""
    return Check(what, source, 0.0, float(error), tolerance)


def check_median(what: str, source: str, expected: float, values: Any, tolerance: float) -> Check:
    """The median over networks, with its interval by order statistics."""
    found = median_of(values)
    return Check(f"{what}, median of {len(values)}", source, expected, found.value, tolerance, found.low, found.high)


def estimate(
    what: str, source: str, expected: float, measured: Any, error: Any, tolerance: float, factor: float = 2.0
) -> Check:
    """A mean over draws, to a number of its standard errors."""
    measured, half = float(measured), factor * float(error)
    return Check(what, source, expected, measured, tolerance, measured - half, measured + half)


# ------------------------------------------------------------------------------------------ topics

CheckSource = Callable[[bool], Iterable[Check]]
_NAMES = ("gradients", "products", "spectra", "theory", "truncation", "statistics", "experiments")
TOPICS: dict[str, list[CheckSource]] = {name: [] for name in _NAMES}


def checks(topic: str) -> Callable[[CheckSource], CheckSource]:
    """Registers a function quick -> checks under its topic."""

    def register(source: CheckSource) -> CheckSource:
        TOPICS[topic].append(source)
        return source

    return register


def run_checks(topic: str, quick: bool, begins: Callable[[str], None] = lambda name: None) -> Iterator[Check]:
    """All checks of a topic one after the other, each with the seconds since the one before it.

    Args:
        topic: one of `TOPICS`.
        quick: smaller sizes and fewer networks, with the wider tolerances that they need.
        begins: a function that receives the name of the next check.
    """
    for source in TOPICS[topic]:
        name = source.__name__.replace("_", " ")
        begins(name)
        begun = time.perf_counter()
        for check in contain_errors(source, name, quick):
            now = time.perf_counter()
            yield replace(check, seconds=now - begun)
            begun = now


def contain_errors(source: CheckSource, name: str, quick: bool) -> Iterator[Check]:
    """The checks of one function. An error in the middle becomes a failed check and does not end the others."""
    try:
        yield from source(quick)
    except Exception as error:  # what is checked may be broken in any way
        what = f"{name}: ended by {type(error).__name__}: {error}"
        yield Check(what.splitlines()[0], "", "no error", math.nan, math.nan, stated=FAILS)


def table(found: Iterable[tuple[str, Check]]) -> pd.DataFrame:
    """A row per check: topic, what, source, expected, measured, low, high, tolerance, seconds, verdict, held, and of a
    claim of an experiment its kind (claim or identity; else check), chance, p_inside and p_outside."""
    columns = ("what", "source", "expected", "measured", "low", "high", "tolerance", "seconds", "verdict", "held")
    of_claim = {"kind": "check", "chance": 0.0, "p_inside": math.nan, "p_outside": math.nan}
    rows = [
        {"topic": topic}
        | {name: getattr(check, name) for name in columns}
        | {name: check.claim.get(name, default) for name, default in of_claim.items()}
        for topic, check in found
    ]
    return pd.DataFrame(rows, columns=["topic", *columns, *of_claim])
