"""Memory of one gradient at its peak: with all states as it grows with T, and of a million steps under a limit.

The limit makes `forward` keep few states (`gradients.checkpointing`). What that costs in time is a ratio at a length of
which all states fit.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import agreement
from benchmarks.engines import engines
from benchmarks.problems import Problem, Shape, drawn, gradient
from benchmarks.protocol import compared
from benchmarks.rows import Row, Settings, alone

GOAL_GB = 2.0
GIB = 1 << 30
SHORT_LIMIT = 0.02
"""GiB, less than a gradient of 5000 steps is expected to take with all states."""
AGREED = 1e-12
"""With Numba the whole gradient is computed in one piece, whose sums have another order."""
LIMITED = "under a limit"


def rows(settings: Settings) -> Iterator[Row]:
    lengths = settings.choose((5_000, 10_000, 20_000, 40_000), (500, 1000))
    longest = Shape(64, 1, settings.choose(1_000_000, 5_000))
    limit = settings.choose(GOAL_GB * 1e9 / GIB, SHORT_LIMIT)
    for engine in engines():
        gradient(drawn("elman", Shape(64, 1, 2)), engine)  # compiles, where something compiles
        for T in lengths:
            taken = peak(partial(gradient, drawn("elman", Shape(64, 1, T)), engine))
            yield Row("memory", str(Shape(64, 1, T)), engine, "MB", alone(taken / 1e6), more=False)
        taken = peak(partial(from_nothing, longest, engine, limit))
        goal, case = settings.goal(GOAL_GB), f"{longest}, {LIMITED}, data among it"
        yield Row("memory", case, engine, "GB", alone(taken / 1e9), goal, more=False)
        yield from time_of_checkpoints(drawn("elman", Shape(64, 1, settings.choose(20_000, 5_000))), engine, settings)


def from_nothing(shape: Shape, engine: str, limit: float) -> dict[str, object]:
    """Inputs and targets, forward, loss and backward."""
    return dict(gradient(drawn("elman", shape), engine, limit))


def time_of_checkpoints(problem: Problem, engine: str, settings: Settings) -> Iterator[Row]:
    """Seconds with few states over seconds with all of them; with NumPy both have the same bytes."""
    calls = {"all states": partial(gradient, problem, engine)}
    calls |= {LIMITED: partial(gradient, problem, engine, SHORT_LIMIT)}
    errors: dict[str, float] = {}

    def check(answers: dict[str, dict[str, object]]) -> None:
        errors.update(agreement.errors(answers, answers["all states"]))
        agreement.check(errors, AGREED)

    timed = compared(calls, settings.protocol, check)
    what, error = f"{LIMITED} / all states, {engine}", errors[LIMITED]
    yield Row("memory", str(problem.shape), what, "×", timed.ratio(LIMITED, "all states"), more=False, error=error)


def peak(compute: Callable[[], object]) -> float:
    """The largest number of bytes allocated at one time."""
    tracemalloc.start()
    try:
        compute()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
