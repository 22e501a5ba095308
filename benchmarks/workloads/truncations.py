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
from bpttlab import lag_terms, truncation_curve

GOALS = {Shape(32, 1, 1000): 5.0, Shape(128, 1, 1000): 20.0}
SHARES, NORMS, TERMS, GRADIENT = "every K", "every K, all norms", "lag_terms", "full gradient"
TOLERANCE = 1e-8


def rows(settings: Settings) -> Iterator[Row]:
    for shape, goal in settings.choose(GOALS, {Shape(16, 1, 60): None}).items():
        problem = drawn("elman", shape)
        for engine in engines():
            judged = settings.goal(goal) if engine == engines()[-1] else None
            yield from measured(problem, engine, judged, settings)


def measured(problem: Problem, engine: str, goal: float | None, settings: Settings) -> Iterator[Row]:
    """With the forward pass done before, over one gradient (forward and backward).

    The share of the gradient at every K with norms and cosines at 30 of them; with norms and cosines at every K; and
    the table of all lag terms, which has more.
    """
    trace, loss = traced(problem, engine)
    curve = by(engine, truncation_curve)
    calls: dict[str, Call] = {
        SHARES: partial(curve, trace, loss),
        NORMS: partial(curve, trace, loss, range(1, problem.shape.T + 1)),
        TERMS: partial(by(engine, lag_terms), trace, loss, lags="all"),
        GRADIENT: partial(gradient, problem, engine),
    }
    errors: dict[str, float] = {}

    def check(answers: Mapping[str, Any]) -> None:
        errors.update({name: shares_off(answers[name], answers[TERMS]) for name in (SHARES, NORMS)})
        agreement.check(errors, TOLERANCE)

    timed = compared(calls, settings.protocol, check)
    for name in (SHARES, NORMS, TERMS):
        ratio, wanted = timed.ratio(name, GRADIENT), goal if name == SHARES else None
        case, what, error = str(problem.shape), f"{name}, {engine}", errors.get(name)
        yield Row("truncations", case, what, "full gradients", ratio, wanted, more=False, error=error)
        yield Row("truncations", case, what, "s", timed.spread(name))


def shares_off(curve: pd.DataFrame, terms: pd.DataFrame) -> float:
    """How far the shares of the gradient lie from the sums of those of the lag terms."""
    both = terms.assign(truncation=terms["lag"] + 1).merge(curve, on=["parameter", "truncation"])
    return float(np.abs(both["cumulative_share"] - both["share_y"]).max())
