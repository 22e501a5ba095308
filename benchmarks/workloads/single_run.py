"""One run in this process, as `lab.run` gives it: network, forward pass, all quantities of a measure, all rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.engines import engines
from benchmarks.problems import Shape
from benchmarks.protocol import Call, Spread, compared
from benchmarks.rows import Row, Settings
from bpttlab import run
from bpttlab.sweeps.configuration import Configuration

GOALS = {Shape(32, 8, 100): 4.0}
"""Milliseconds of `measure=standard`."""


def rows(settings: Settings) -> Iterator[Row]:
    for shape, goal in settings.choose(GOALS, {Shape(8, 2, 20): None}).items():
        timed = compared({engine: measured(shape, engine) for engine in engines()}, settings.protocol)
        for engine in engines():
            judged = settings.goal(goal) if engine == engines()[-1] else None
            spread = Spread.of([1000.0 * seconds for seconds in timed.seconds[engine]])
            yield Row("one run", f"measure=standard {shape}", engine, "ms", spread, judged, more=False)


def measured(shape: Shape, engine: str) -> Call:
    return partial(run, Configuration.parse(configuration(shape, engine)))


def configuration(shape: Shape, engine: str) -> dict[str, Any]:
    """What no line of a sweep names is as in conf/, and the measure is `standard` then."""
    return {
        "sequence_length": shape.T,
        "batch_size": shape.B,
        "cell": {"name": "elman", "hidden_size": shape.N},
        "engine": engine,
    }
