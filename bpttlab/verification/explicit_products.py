"""Norms, exponents and singular values compared with explicit products of matrices that do not commute.

The Jacobians are those of the forward pass (`path_derivatives`) or drawn. NumPy multiplies and decomposes them here, at
sizes and lengths at which this is exact to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.gradients.trace import Trace
from bpttlab.measures.given_jacobians import trace_of_jacobians
from bpttlab.measures.jacobian_products import growth_rate, jacobian_products, measure_products
from bpttlab.measures.lyapunov import (
    convergence_interval,
    entropy_bound,
    finite_time_exponents,
    from_trace,
    kaplan_yorke_dimension,
)
from bpttlab.measures.singular_values import singular_values
from bpttlab.measures.state_blocks import block_norms
from bpttlab.measures.volume_growth import Frame, SpectrumGrowth, accumulate
from bpttlab.measures.windowed_products import windowed_products
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.verification.cells import engines
from bpttlab.verification.check import Check, agree, checks, equal
from bpttlab.verification.examples import B, Example, T, example, rows_of
from bpttlab.verification.gradient_check import disagreement, largest
from bpttlab.verification.networks import linear
from bpttlab.verification.path_derivatives import Paths, one_step

EXPLICIT = "explicit product"
_CELLS = (Elman(2, 4, 5), LSTM(2, 4, 5), GRU(2, 4, 5))


def _product(one: Example, t: int, lag: int, sequence: int) -> Array:
    """P_{t,t-l}, by the complex step."""
    size = one.trace.h.shape[-1]
    return one.paths.jacobian(t, t - lag)[sequence] if lag else np.eye(size)


def log_norm(matrix: Array) -> float:
    return float(np.log(np.linalg.norm(matrix, 2)))


def log_typical(matrix: Array) -> float:
    """log(|P|_F / sqrt N)."""
    return float(np.log(np.linalg.norm(matrix) / np.sqrt(matrix.shape[1])))


@checks("products")
def norms_of_products(quick: bool) -> Iterator[Check]:
    """Every column of the table of products, from the last step and from every step."""
    for cell in _CELLS:
        for engine in engines(cell):
            one = example(cell, engine=engine, mask=np.linspace(0.25, 1.0, T), gain=0.9)
            for which in ("all", "triangle"):
                frame = jacobian_products(one.trace, one.loss, which, sequences=B)
                errors = pd.DataFrame([row_errors(one, row) for row in rows_of(frame)])
                for column, error in errors.abs().max(skipna=False).items():
                    what = f"{cell.name}, {engine}, {which} products: {column}"
                    yield agree(what, EXPLICIT, error, 1e-9)


def row_errors(one: Example, row: Any) -> dict[str, float]:
    t, lag, b = int(row.t), int(row.lag), int(row.sequence)
    P, e = _product(one, t, lag, b), one.error[t - 1, b]
    u = np.linalg.svd(P)[0][:, 0]
    bound = sum(log_norm(one.paths.jacobian(i)[b]) for i in range(t - lag + 1, t + 1))
    known = {
        "log_spectral_norm": log_norm(P),
        "log_frobenius_norm": log_typical(P),
        "log_bound": bound,
        "log_state_gradient": float(np.log(np.linalg.norm(e @ P))),
        "alignment": abs(float(e @ u)) / float(np.linalg.norm(e)) if lag else 1.0,
    }
    return {name: getattr(row, name) - value for name, value in known.items()}


@checks("products")
def faster_ways_to_norms(quick: bool) -> Iterator[Check]:
    """`jacobian_products` with method="fast", `windowed_products` and `block_norms`."""
    for cell in _CELLS:
        for engine in engines(cell):
            one, found = example(cell, engine=engine, gain=0.9), dict[str, list[float]]()
            frames = {
                "jacobian_products, fast": jacobian_products(one.trace, lags="all", method="fast", sequences=B),
                "windowed_products": windowed_products(one.trace, [1, 2, 3, 5], sequences=B),
            }
            for name, frame in frames.items():
                errors = [norm_errors(one, row) for row in rows_of(frame)]
                found[name] = [abs(error) for pair in errors for error in pair]
            blocks = block_norms(one.trace, "all", B)
            found["block_norms"] = [abs(e) for row in rows_of(blocks) for e in block_errors(one, row)] or [0.0]
            for name, some in found.items():
                yield agree(f"{cell.name}, {engine}: {name}", EXPLICIT, largest(some), 1e-9)


def norm_errors(one: Example, row: Any) -> tuple[float, float]:
    P = _product(one, int(row.t), int(row.lag), int(row.sequence))
    return row.log_spectral_norm - log_norm(P), row.log_frobenius_norm - log_typical(P)


def block_errors(one: Example, row: Any) -> tuple[float, float]:
    """Of one part of the state by another; both norms of a block of zeros are -inf."""
    left, right = str(row.block).split("<-")
    parts = one.trace.cell.parts
    P = _product(one, int(row.t), int(row.lag), int(row.sequence))[parts[left], parts[right]]
    if not P.any():
        return (0.0, 0.0) if row.log_spectral_norm == -np.inf else (np.inf, np.inf)
    return row.log_spectral_norm - log_norm(P), row.log_frobenius_norm - log_typical(P)


@checks("products")
def horizons_and_rates(quick: bool) -> Iterator[Check]:
    """Where 1.3^l exceeds e and 0.7^l falls below 1/e; the slope of a curve with a transient."""
    Q = np.array([[0.6, -0.8], [0.8, 0.6]])
    growing, vanishing = (measure_products(linear(f * Q, 12), None, "log", 1, 3, 0).reach for f in (1.3, 0.7))
    yield equal("1.3 Q: first lag above e", "arithmetic", 4, growing.growing or -1)
    yield equal("0.7 Q: last lag at or above 1/e", "arithmetic", 2, vanishing.vanishing)
    lags = np.arange(101.0)
    transient = np.where(lags < 20, 3.0 * np.sin(lags), 0.0)
    curves = np.stack([transient - 0.05 * lags, transient - 0.15 * lags], axis=1)
    found = growth_rate(curves, 0.2)
    yield equal("median of two curves with a transient: rate", "construction", -0.1, found.rate, absolute=1e-12)
    yield equal("the same: first lag that is fitted", "definition", 20, found.first_lag)


# ------------------------------------------------------------------------------------------ spectra


def draw_products(steps: int, seed: int = 14) -> Array:
    """Matrices of moderate condition that do not commute.  (T,1,3,3)"""
    rng = np.random.default_rng(seed)
    return np.eye(3) + 0.5 * rng.standard_normal((steps, 1, 3, 3))


@checks("spectra")
def exponents_of_explicit_products(quick: bool) -> Iterator[Check]:
    """|diag R| of the product of a few matrices is the product of the |diag R| of every step."""
    steps, first = 8, 3
    given = draw_products(steps)
    whole = np.linalg.multi_dot([J[0] for J in given[::-1]])
    R = np.linalg.qr(whole @ Frame.start(1, 3, 3).Q[0])[1]
    expected = np.sort(np.log(np.abs(np.diagonal(R))) / steps)[::-1]
    ways = {
        "stream": accumulate(given, [0, steps]).exponents[0],
        "trace": _table(from_trace(trace_of_jacobians(given), 0)),
    }
    for way, found in ways.items():
        error = np.abs(np.sort(found)[::-1] - expected).max()
        yield agree(f"exponents of {steps} matrices that do not commute, {way}", EXPLICIT, error, 1e-12)
    turned = np.linalg.qr(np.linalg.multi_dot([J[0] for J in given[first - 1 :: -1]]) @ Frame.start(1, 3, 3).Q[0])[0]
    late = np.linalg.qr(np.linalg.multi_dot([J[0] for J in given[: first - 1 : -1]]) @ turned)[1]
    expected = np.sort(np.log(np.abs(np.diagonal(late))) / (steps - first))[::-1]
    error = np.abs(np.sort(accumulate(given, [first, steps]).exponents[0])[::-1] - expected).max()
    yield agree(f"the same after a transient of {first} steps", EXPLICIT, error, 1e-12)


def _table(frame: pd.DataFrame) -> Array:
    return frame["lyapunov_exponent"].to_numpy()


@checks("spectra")
def windows_of_time(quick: bool) -> Iterator[Check]:
    """Finite-time exponents of diagonal matrices are means over their own steps; the interval is a t interval."""
    rng = np.random.default_rng(15)
    logs = rng.standard_normal((12, 1)) + np.array([3.0, -3.0])
    trace = trace_of_jacobians(np.exp(logs)[:, None, :, None] * np.eye(2))
    frame = finite_time_exponents(trace, 4, transient=2)
    yield equal("finite-time exponents: last window ends at", "definition", 10, frame["t"].max())
    Q = np.abs(np.linalg.qr(np.diag(np.exp(logs[:2].sum(axis=0))) @ Frame.start(1, 2, 2).Q[0])[0])
    aligned = float(np.abs(Q[0, 0]) > 0.99)  # after the transient the first direction is nearly the first axis
    found = frame.query("index == 1")["finite_time_exponent"].to_numpy()
    expected = np.array([logs[2:6, 0].mean(), logs[6:10, 0].mean()])
    yield agree("finite-time exponents: means over windows", "construction", np.abs(found - expected).max(), 0.01)
    yield equal("finite-time exponents: directions are aligned", "construction", 1.0, aligned)
    growth = SpectrumGrowth(np.array([0, 2, 4, 6]), np.array([[[2.0]], [[4.0]], [[9.0]]]), np.zeros((1, 1), bool), 1.0)
    half = 4.302652729911275 * np.std([1.0, 2.0, 4.5], ddof=1) / np.sqrt(3.0)
    low, high = convergence_interval(growth)
    yield equal("interval of a mean over three windows: low", "t table", 2.5 - half, low[0, 0], relative=1e-9)
    yield equal("interval of a mean over three windows: high", "t table", 2.5 + half, high[0, 0], relative=1e-9)


@checks("spectra")
def numbers_of_a_spectrum(quick: bool) -> Iterator[Check]:
    exponents = [-1.2, 0.5, -0.3, 0.1]
    yield equal(
        "Kaplan-Yorke dimension of 0.5, 0.1, -0.3, -1.2", "definition", 3.25, kaplan_yorke_dimension(exponents), 1e-12
    )
    yield equal("sum of the positive exponents of the same", "definition", 0.6, entropy_bound(exponents), 1e-12)


@checks("spectra")
def singular_values_of_explicit_products(quick: bool) -> Iterator[Check]:
    traces = {cell.name: example(cell, gain=0.9).trace for cell in _CELLS}
    traces["given matrices"] = trace_of_jacobians(draw_products(T, 16))
    for name, trace in traces.items():
        errors = []
        for lag in (1, 3, T):
            frame = singular_values(trace, [lag], sequences=1)
            known = np.linalg.svd(explicit(trace, lag), compute_uv=False)
            found = np.exp(frame["log_singular_value"].to_numpy())
            errors.append(disagreement(found, known))
        yield agree(f"singular values at lags 1, 3, {T}, {name}", EXPLICIT, largest(errors), 1e-9)


def explicit(trace: Trace, lag: int) -> Array:
    """P_{T,T-l} of the first sequence from Jacobians by the complex step."""
    t = trace.length
    if trace.cell.recurrent_parameters:
        return np.asarray(Paths.of(trace).jacobian(t, t - lag)[0])
    found = np.eye(trace.h.shape[-1])
    for x in trace.x[t - lag :, :1]:
        columns = [one_step(trace.cell, trace.params, x, column[None])[0] for column in found.T]
        found = np.stack(columns, axis=1)
    return found


@checks("spectra")
def properties_of_a_matrix(quick: bool) -> Iterator[Check]:
    """An upper triangular matrix is its own Schur form; its powers are few."""
    W = np.array([[0.5, 10.0, 0.0], [0.0, 0.4, 2.0], [0.0, 0.0, 0.3]])
    size = np.linalg.norm(W)
    yield equal(
        "triangular W: Henrici departure",
        "definition",
        np.hypot(10.0, 2.0) / size,
        matrices.henrici_departure(W),
        1e-12,
    )
    yield equal("triangular W: gain", "definition", size / np.sqrt(3.0), matrices.gain(W), 1e-12)
    logs = [log_norm(np.linalg.matrix_power(W, lag)) for lag in range(1, 20)]
    peak, lag = matrices.transient_peak(W, 20)
    yield equal("triangular W: transient peak", "powers one by one", max(logs), peak, 1e-10)
    yield equal("triangular W: lag of the peak", "powers one by one", int(np.argmax(logs)) + 1, lag)
