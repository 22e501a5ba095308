"""Norms of Jacobian products: all lags of one t, and chosen lags of all t, against products formed one by one.

Index legend: N hidden unit, T time. One sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks import agreement
from benchmarks.engines import by, engines
from benchmarks.peers import peers
from benchmarks.problems import Array, Shape, drawn, traced
from benchmarks.protocol import Call, Timed, compared
from benchmarks.rows import Row, Settings, alone
from bpttlab import jacobian_products, windowed_products
from bpttlab.gradients.trace import Trace

Goals = Mapping[str, float | None]
PLAIN, STEPWISE = "product + SVD", "stepwise products"
TOLERANCE = 1e-10
"""Of a logarithm, absolute."""

LONGEST = 20.0
"""Seconds that all rounds may take: one call is a minute where N and T are large."""

ALL_LAGS: dict[Shape, Goals] = {
    Shape(32, 1, 1000): {PLAIN: 1.0, "JAX": 1.0},
    Shape(128, 1, 1000): {PLAIN: 10.0},
    Shape(128, 1, 10_000): {PLAIN: 45.0},
}
QUICK_LAGS: dict[Shape, Goals] = {Shape(16, 1, 100): {PLAIN: None, "JAX": None}}


def rows(settings: Settings) -> Iterator[Row]:
    """Log spectral norms of all lags of t = T."""
    for shape, goals in settings.choose(ALL_LAGS, QUICK_LAGS).items():
        problem = drawn("elman", shape)
        trace, _ = traced(problem)
        calls: dict[str, Call] = {engine: partial(all_lags, traced(problem, engine)[0], engine) for engine in engines()}
        calls |= plain_calls(trace, "JAX" in goals)
        yield from contested("products", f"all lags {shape}", calls, goals, settings)


def plain_calls(trace: Trace, jax: bool) -> dict[str, Call]:
    """The competitors: NumPy's products, and JAX's if requested."""
    jacobians = np.concatenate([trace.jacobian(t) for t in range(1, trace.length + 1)])
    calls: dict[str, Call] = {PLAIN: partial(product_and_svd, jacobians)}
    if jax and "JAX" in peers():
        calls["JAX"] = peers()["JAX"].log_spectral_norms(jacobians)
    return calls


def all_lags(trace: Trace, engine: str) -> Array:
    """As a user asks for them.  -> (T+1,)"""
    return by(engine, jacobian_products)(trace, lags="all", method="fast", sequences=1)["log_spectral_norm"].to_numpy()


def product_and_svd(jacobians: Array) -> Array:
    """One product more and one SVD a lag, rescaled so that nothing under- or overflows.  (T,N,N) -> (T+1,)"""
    product, exponent, found = np.eye(jacobians.shape[-1]), 0.0, [0.0]
    for J in jacobians[::-1]:
        product = product @ J
        scale = np.abs(product).max()
        product, exponent = product / scale, exponent + np.log(scale)
        found.append(exponent + np.log(np.linalg.svd(product, compute_uv=False)[0]))
    return np.array(found)


def contested(workload: str, case: str, calls: Mapping[str, Call], goals: Goals, settings: Settings) -> Iterator[Row]:
    """Ratios to this package, the largest error of a logarithm, and seconds."""
    errors: dict[str, float] = {}

    def check(answers: dict[str, Any]) -> None:
        errors.update({name: float(np.abs(answer - answers[PLAIN]).max()) for name, answer in answers.items()})
        agreement.check(errors, 1e-6)

    protocol = replace(settings.protocol, longest=min(LONGEST, settings.protocol.longest))
    timed = compared(calls, protocol, check)
    for engine in engines():
        judged = engine == engines()[-1]
        for peer in [name for name in calls if name not in engines()]:
            goal = settings.goal(goals.get(peer)) if judged else None
            yield Row(workload, case, f"{peer} / {engine}", "×", timed.ratio(peer, engine), goal, error=errors[engine])
        goal = settings.goal(TOLERANCE)
        yield Row(workload, case, f"error of {engine}", "log", alone(errors[engine]), goal, more=False)
    yield from every_second(workload, case, timed)


def every_second(workload: str, case: str, timed: Timed) -> Iterator[Row]:
    for name in timed.seconds:
        yield Row(workload, case, name, "s", timed.spread(name))


# ------------------------------------------------------------------------------------------ chosen lags, all t


CHOSEN = {(shape, (1, 10, 100)): 10.0 for shape in (Shape(64, 1, 300), Shape(64, 1, 1000), Shape(32, 1, 1000))}
QUICK_CHOSEN = {(Shape(16, 1, 60), (1, 5, 20)): None}


def chosen_lags(settings: Settings) -> Iterator[Row]:
    """Log Frobenius norms of a few lags at every t."""
    for (shape, lags), goal in settings.choose(CHOSEN, QUICK_CHOSEN).items():
        yield from against_stepwise(shape, lags, goal, settings)


def against_stepwise(shape: Shape, lags: Sequence[int], goal: float | None, settings: Settings) -> Iterator[Row]:
    """With spectral norms, too, as seconds; the products one by one are without."""
    problem = drawn("elman", shape)
    case = f"lags {', '.join(map(str, lags))} of all t {shape}"
    traces = {engine: traced(problem, engine)[0] for engine in engines()}
    calls: dict[str, Call] = {name: partial(of_all_t, trace, lags, False) for name, trace in traces.items()}
    calls |= {f"{name}, spectral norms too": partial(of_all_t, trace, lags, True) for name, trace in traces.items()}
    calls[STEPWISE] = partial(stepwise, traces["numpy"], lags)
    errors: dict[str, float] = {}

    def check(answers: dict[str, Any]) -> None:
        errors.update({name: float(np.abs(answer - answers[STEPWISE]).max()) for name, answer in answers.items()})
        agreement.check(errors, TOLERANCE)

    timed = compared(calls, settings.protocol, check)
    for engine in engines():
        judged = settings.goal(goal) if engine == engines()[-1] else None
        ratio = timed.ratio(STEPWISE, engine)
        yield Row("chosen lags", case, f"{STEPWISE} / {engine}", "×", ratio, judged, error=errors[engine])
    yield from every_second("chosen lags", case, timed)


def of_all_t(trace: Trace, lags: Sequence[int], spectral: bool) -> Array:
    """Logarithms of Frobenius norms.  -> (len(lags), T - max(lags) + 1)"""
    frame = windowed_products(trace, lags, sequences=1, spectral=spectral)
    found = frame.loc[frame["t"] >= max(lags), "log_frobenius_norm"].to_numpy().reshape(len(lags), -1)
    return found + 0.5 * np.log(trace.h.shape[-1])


def stepwise(trace: Trace, lags: Sequence[int]) -> Array:
    """P_{t,t-l} for every t by itself, one factor after another."""
    found = []
    for t in range(max(lags), trace.length + 1):
        product = np.eye(trace.h.shape[-1])
        for lag in range(1, max(lags) + 1):
            product = product @ trace.jacobian(t - lag + 1)[0]
            if lag in lags:
                found.append(np.log(np.linalg.norm(product)))
    return np.array(found).reshape(-1, len(lags)).T
