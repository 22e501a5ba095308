"""All Lyapunov exponents of a network by QR, with the forward pass and the convergence intervals.

Index legend: N hidden unit, T time. One sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy.special import stdtrit

from benchmarks import agreement
from benchmarks.engines import by, engines
from benchmarks.peers import peers
from benchmarks.problems import Array, Problem, Shape, drawn
from benchmarks.protocol import Call, compared
from benchmarks.rows import Row, Settings
from bpttlab import forward
from bpttlab.measures.lyapunov import from_trace
from bpttlab.measures.volume_growth import Frame, equal_windows

PEERS = ("JAX", "PyTorch")
"""A compiled scan of QR, and the loop of QR of the published GOOM code (`peer_torch.exponents`)."""
GOALS: dict[Shape, float | None] = {Shape(64, 1, 10_000): 5.0}
"""Of every peer."""
TOLERANCE = 1e-8
"""Of an exponent and of the ends of its interval, absolute."""
LONGEST = 30.0
"""Seconds that all rounds may take."""


def rows(settings: Settings) -> Iterator[Row]:
    for shape, goal in settings.choose(GOALS, {Shape(8, 1, 200): None}).items():
        yield from measured(drawn("elman", shape), settings.goal(goal), settings)


def measured(problem: Problem, goal: float | None, settings: Settings) -> Iterator[Row]:
    """The peers' seconds over every engine's; the goal is the fastest engine's."""
    calls: dict[str, Call] = {engine: partial(spectrum, problem, engine) for engine in engines()}
    calls |= {peer: peer_spectrum(problem, peers()[peer].exponents) for peer in PEERS if peer in peers()}
    errors: dict[str, float] = {}

    def check(answers: dict[str, Any]) -> None:
        errors.update({name: float(np.abs(answer - answers["numpy"]).max()) for name, answer in answers.items()})
        agreement.check(errors, TOLERANCE)

    protocol = replace(settings.protocol, longest=min(LONGEST, settings.protocol.longest))
    timed, case = compared(calls, protocol, check), f"all exponents {problem.shape}"
    for peer in [name for name in PEERS if name in calls]:
        for engine in engines():
            judged, error = goal if engine == engines()[-1] else None, max(errors[peer], errors[engine])
            yield Row("exponents", case, f"{peer} / {engine}", "×", timed.ratio(peer, engine), judged, error=error)
    for name in calls:
        yield Row("exponents", case, name, "s", timed.spread(name), error=errors[name])


def spectrum(problem: Problem, engine: str) -> Array:
    """Exponents and the ends of their intervals, from the largest exponent.  -> (N, 3)"""
    frame = from_trace(by(engine, forward)(problem.cell, problem.params, problem.x))
    return frame[["lyapunov_exponent", "low", "high"]].to_numpy()


def peer_spectrum(problem: Problem, exponents: Callable[[Problem, Array], Call]) -> Call:
    """The same of a peer that gives log |diag R| of every step, which begins with the same directions."""
    N, _, T = problem.shape
    once, ends = exponents(problem, Frame.start(1, N, N).Q[0]), equal_windows(T // 10, T)

    def call() -> Array:
        logs = once()
        mean = logs[ends[0] :].mean(axis=0)
        rates = np.add.reduceat(logs, ends[:-1], axis=0) / np.diff(ends)[:, None]
        half = stdtrit(len(rates) - 1, 0.975) * rates.std(axis=0, ddof=1) / np.sqrt(len(rates))
        return np.stack([mean, mean - half, mean + half], axis=-1)[np.argsort(-mean, kind="stable")]

    return call
