"""How seconds of one gradient grow with N, T and B, each with the others held, and the exponents."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.engines import engines
from benchmarks.problems import Shape, drawn, gradient
from benchmarks.protocol import Spread, compared
from benchmarks.rows import Row, Settings

SERIES = {
    "N": [Shape(N, 16, 100) for N in (16, 32, 64, 128, 256, 512)],
    "T": [Shape(64, 1, T) for T in (125, 250, 500, 1000, 2000, 4000)],
    "B": [Shape(64, B, 100) for B in (1, 4, 16, 64, 256)],
}
QUICK = {"T": [Shape(16, 1, T) for T in (20, 40, 80)]}


def rows(settings: Settings) -> Iterator[Row]:
    for letter, shapes in settings.choose(SERIES, QUICK).items():
        for engine in engines():
            timed = compared(
                {str(shape): partial(gradient, drawn("elman", shape), engine) for shape in shapes}, settings.protocol
            )
            for shape in shapes:
                yield Row("growth", str(shape), engine, "s", timed.spread(str(shape)))
            sizes = [getattr(shape, letter) for shape in shapes]
            each = zip(*(timed.seconds[str(shape)] for shape in shapes), strict=True)
            slopes = [exponent(sizes, taken) for taken in each]
            yield Row("growth", f"{letter} from {sizes[-3]} to {sizes[-1]}", engine, "exponent", Spread.of(slopes))


def exponent(sizes: list[int], seconds: tuple[float, ...]) -> float:
    """Slope of log seconds in log size over the three largest, where the overhead of a step weighs least."""
    return float(np.polyfit(np.log(sizes[-3:]), np.log(seconds[-3:]), 1)[0])
