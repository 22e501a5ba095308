"""Ranges of a sweep: `range(0.1,1.0,0.1)` is 0.1, 0.2, …, 0.9.

Values are counted in decimal, as the numbers are written, and each is the float nearest to its decimal: the third value
of the range above is 0.3. Adding floats gives 0.30000000000000004, which is another run than `spectral_radius=0.3`.
The end is excluded, as it is from a range of integers. Hydra's own ranges of floats add the binary values of the
floats instead, and can hold their end: `range(0.9,1.1,0.05)` there has 1.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from bpttlab.errors import ConfigurationError
from bpttlab.limits import MOST_RUNS

_NUMBER = re.compile(r"(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?")


def range_values(start: float, stop: float, step: float, line: str) -> list[int] | list[float]:
    """start, start + step, start + 2 step, … before stop; integers if all three are, floats otherwise.

    Args:
        line: the text in which the three numbers are written.

    Raises:
        ConfigurationError: a step of zero, a number that is not finite, no value at all, or too many.
    """
    numbers = (start, stop, step)
    if any(isinstance(number, bool) or (isinstance(number, float) and not math.isfinite(number)) for number in numbers):
        raise ConfigurationError(f"{line}: first, end and step of a range must be finite numbers")
    if step == 0:
        raise ConfigurationError(f"{line}: the step of a range must not be zero")
    first, last, by = (_as_written(number, decimals(line)) for number in numbers)
    count = math.ceil((last - first) / by)
    if count < 1:
        raise ConfigurationError(
            f"{line}: holds no value at all: the end {stop} is excluded, and no step of {step} leads there from {start}"
        )
    refuse_too_many(count, line)
    parts = math.lcm(first.denominator, by.denominator)  # integers of one denominator: a million take 0.1 s
    start_parts, step_parts = int(first * parts), int(by * parts)
    if all(isinstance(number, int) for number in numbers):
        return [start_parts + position * step_parts for position in range(count)]
    values = [(start_parts + position * step_parts) / parts for position in range(count)]  # rounded once, to nearest
    return [value for value in values if value != stop] or values[:1]


def decimals(line: str) -> dict[float, Fraction]:
    """The numbers that are written in a line, exactly: float -> its decimal."""
    texts = (text.replace("_", "") for text in _NUMBER.findall(line))
    return {float(text): Fraction(text) for text in texts if 0.0 < float(text) < math.inf}


def _as_written(number: float, written: Mapping[float, Fraction]) -> Fraction:
    """The decimal of a number; the shortest one that gives this float, if it is not in the line."""
    size = abs(number)
    exact = Fraction(size) if isinstance(number, int) else written.get(size, Fraction(repr(float(size))))
    return -exact if number < 0 else exact


def refuse_too_many(count: int, what: str, limit: int = MOST_RUNS) -> None:
    """Raises the error for more runs than a sweep may have, or than its max_runs allows."""
    if limit < count <= MOST_RUNS:
        raise ConfigurationError(f"{what}: asks for {count} runs, more than max_runs={limit}: give max_runs={count}")
    if count > MOST_RUNS:
        raise ConfigurationError(f"{what}: asks for {count} runs; a sweep may have at most {MOST_RUNS}")
