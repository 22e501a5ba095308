"""Every truncation K = 1..T from one pass, in units of one full gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import agreement
from benchmarks.engines import by, engines
from benchmarks.problems import Problem, Shape, drawn, gradient, traced
from benchmarks.protocol import Call, compared
from benchmarks.rows import Row, Settings
from bpttlab import lag_terms

GOALS = {Shape(32, 1, 1000): 36.0, Shape(128, 1, 1000): 36.0}
TOLERANCE = 1e-8


def rows(settings: Settings) -> Iterator[Row]:
    for shape, goal in settings.choose(GOALS, {Shape(16, 1, 60): None}).items():
        problem = drawn("elman", shape)
        for engine in engines():
            judged = settings.goal(goal) if engine == engines()[-1] else None
            yield from measured(problem, engine, judged, settings)


def measured(problem: Problem, engine: str, goal: float | None, settings: Settings) -> Iterator[Row]:
    """With the forward pass done before: `lag_terms` of all lags, over one gradient (forward and backward)."""
    trace, loss = traced(problem, engine)
    calls: dict[str, Call] = {
        "all truncations": partial(by(engine, lag_terms), trace, loss, which="all"),
        "30 lags": partial(by(engine, lag_terms), trace, loss, lags=30),
        "full gradient": partial(gradient, problem, engine),
    }
    errors: dict[str, float] = {}

    def check(answers: Mapping[str, Any]) -> None:
        errors["all truncations"] = shares_off(answers["all truncations"])
        agreement.check(errors, TOLERANCE)

    timed = compared(calls, settings.protocol, check)
    for name in ("all truncations", "30 lags"):
        ratio, wanted = timed.ratio(name, "full gradient"), goal if name == "all truncations" else None
        what = f"{name}, {engine}"
        error = errors.get(name)
        yield Row("truncations", str(problem.shape), what, "full gradients", ratio, wanted, more=False, error=error)
        yield Row("truncations", str(problem.shape), what, "s", timed.spread(name))


def shares_off(frame: pd.DataFrame) -> float:
    """The terms of all lags are the gradient: how far the last cumulative share is from one."""
    last = frame.loc[frame.groupby("parameter")["lag"].idxmax(), "cumulative_share"]
    return float(np.abs(last - 1.0).max())
