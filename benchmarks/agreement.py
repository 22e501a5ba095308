"""Contenders must give the same answer before they are timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}
"""Of the largest entry of each gradient."""


class Disagreement(AssertionError):
    """A contender's answer is not that of the others: its time would mean nothing."""


def error(answer: Mapping[str, Array], reference: Mapping[str, Array]) -> float:
    """The largest difference, in units of the largest entry of the reference's array of that name.

    NaN anywhere, or an array that is missing, is an infinite error.
    """
    if not set(reference) <= set(answer):
        return float("inf")
    each = [relative(np.asarray(answer[name]), np.asarray(reference[name])) for name in reference]
    return max(each)


def relative(one: Array, reference: Array) -> float:
    """max |one - reference| / max |reference|."""
    if one.shape != reference.shape or not np.isfinite(one).all():
        return float("inf")
    difference = float(np.abs(one.astype(np.float64) - reference.astype(np.float64)).max(initial=0.0))
    largest = float(np.abs(reference).max(initial=0.0))
    return difference / largest if largest else (float("inf") if difference else 0.0)


def errors(answers: Mapping[str, Mapping[str, Array]], reference: Mapping[str, Array]) -> dict[str, float]:
    """`error` of every contender."""
    return {name: error(answer, reference) for name, answer in answers.items()}


def check(found: Mapping[str, float], tolerance: float) -> None:
    """Refuses errors beyond the tolerance.

    Raises:
        Disagreement: names the contenders and their errors.
    """
    wrong = [f"{name} is off by {size:.1e}" for name, size in found.items() if not size <= tolerance]
    if wrong:
        raise Disagreement(f"{', '.join(wrong)}; must be at most {tolerance:.0e} of the largest entry")
