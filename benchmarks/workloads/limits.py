"""What limits the speed: the fractions of a gradient that its matrix products and its tanh take alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.engines import engines
from benchmarks.problems import Array, Problem, Shape, drawn, gradient
from benchmarks.protocol import Call, compared
from benchmarks.rows import Row, Settings
from benchmarks.workloads import gradients


def rows(settings: Settings) -> Iterator[Row]:
    for shape in settings.choose(list(gradients.GOALS), [Shape(16, 1, 30)]):
        for dtype in ("float64", "float32"):
            yield from shares(drawn("elman", shape, dtype), settings)


def shares(problem: Problem, settings: Settings) -> Iterator[Row]:
    """Of the seconds of each engine, in the same rounds."""
    own: dict[str, Call] = {engine: partial(gradient, problem, engine) for engine in engines()}
    W, h = problem.params["W"], states(problem)
    parts: dict[str, Call] = {"matrix products": partial(matrix_products, W, h), "tanh": partial(tanhs, h)}
    timed = compared(own | parts, settings.protocol)
    case = f"elman {problem.dtype} {problem.shape}"
    for engine in engines():
        for part in parts:
            yield Row("limits", case, f"{part}, {engine}", "of the gradient", timed.ratio(part, engine))


def matrix_products(W: Array, h: Array) -> Array:
    """Those with W alone: one there and one back at every step, and the gradient of W at the end."""
    for h_t in h:
        np.matmul(h_t, W.T)
        np.matmul(h_t, W)
    rows = h.reshape(-1, h.shape[-1])
    return np.asarray(rows.T @ rows)


def tanhs(h: Array) -> None:
    """One at every step."""
    for h_t in h:
        np.tanh(h_t)


def states(problem: Problem) -> Array:
    """Numbers of the size of states.  (T,B,N)"""
    N, B, T = problem.shape
    return np.random.default_rng(1).standard_normal((T, B, N)).astype(problem.dtype)
