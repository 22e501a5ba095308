"""Memory of one gradient at its peak, at lengths that take little time, and what a million steps would take.

There is no checkpointing yet: everything is kept, and grows with T. The figure for T = 10^6 is a straight line through
what was measured, not a measurement.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np

from benchmarks.engines import engines
from benchmarks.problems import Shape, drawn, gradient
from benchmarks.rows import Row, Settings, alone

GOAL_GB = 2.0
LONG = 1_000_000


def rows(settings: Settings) -> Iterator[Row]:
    lengths = settings.choose((5_000, 10_000, 20_000, 40_000), (500, 1000))
    for engine in engines():
        peaks = [peak(Shape(64, 1, T), engine) for T in lengths]
        for T, taken in zip(lengths, peaks, strict=True):
            yield Row("memory", str(Shape(64, 1, T)), engine, "MB", alone(taken / 1e6), more=False)
        slope, intercept = np.polyfit(lengths, peaks, 1)
        goal = settings.goal(GOAL_GB) if engine == engines()[-1] else None
        longest = alone(float(slope * LONG + intercept) / 1e9)
        yield Row("memory", f"{Shape(64, 1, LONG)}, extrapolated", engine, "GB", longest, goal, more=False)


def peak(shape: Shape, engine: str) -> float:
    """Bytes that a gradient asks for beyond its inputs."""
    problem = drawn("elman", shape)
    gradient(drawn("elman", Shape(shape.N, shape.B, 2)), engine)  # compiles, where something compiles
    tracemalloc.start()
    try:
        gradient(problem, engine)
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
