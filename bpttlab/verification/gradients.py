"""Different ways to one gradient, which must agree; and known gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.rtrl import rtrl
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lag_terms import lag_terms
from bpttlab.networks import losses
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.truncation.segmented import Chunked, PerLoss, Windowed
from bpttlab.verification import gradient_check
from bpttlab.verification.check import Check, agree, checks, equal
from bpttlab.verification.gradient_check import AGREEMENT, disagreement, worst
from bpttlab.verification.networks import silent_weights

NOTES = "notes, the double sum"


def _example(cell: Cell, T: int = 9, B: int = 2) -> tuple[Trace, losses.Loss]:
    """Every parameter at work, a loss at every step."""
    rng = np.random.default_rng(4)
    params = {name: 0.7 * rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    trace = forward(
        cell, params, rng.standard_normal((T, B, cell.input_size)), rng.standard_normal((B, cell.state_size))
    )
    target = gradient_check.random_target(rng, "squared_error", (T, B, cell.output_size))
    return trace, losses.evaluate("squared_error", trace.y_hat, target, np.ones(T))


_CELLS = (Elman(2, 4, 2), GRU(2, 3, 2), LSTM(2, 3, 2))


@checks("gradients")
def back_propagation(quick: bool) -> Iterator[Check]:
    """Every activation, loss, reduction, scheme and dtype, by the checker."""
    frame = gradient_check.verify_gradients()
    for (activation, oracle, dtype), found in frame.groupby(["activation", "oracle", "dtype"], sort=False):
        what = f"BPTT against the {oracle}, {activation}, {dtype}, worst of {len(found)}"
        yield agree(what, NOTES, found["error"].max(), float(found["tolerance"].min()))


@checks("gradients")
def other_ways(quick: bool) -> Iterator[Check]:
    """Forward in time, and split by lag."""
    for cell in _CELLS:
        trace, loss = _example(cell)
        full = backward(trace, loss)
        recurrent = {name: full[name] for name in cell.recurrent_parameters}
        found = worst(rtrl(trace, loss), recurrent)
        yield agree(f"RTRL against BPTT, {cell.name}", "Williams & Zipser 1989", found, AGREEMENT)
        terms = [lag_term(trace, loss, lag) for lag in range(trace.length)]
        whole = {name: np.sum([term[name] for term in terms], axis=0) for name in recurrent}
        yield agree(f"sum of all lag terms against BPTT, {cell.name}", NOTES, worst(whole, recurrent), AGREEMENT)
        for K in (1, 4):
            kept = {name: np.sum([term[name] for term in terms[:K]], axis=0) for name in recurrent}
            found = worst(backward(trace, loss, PerLoss(K)), kept)
            yield agree(f"per_loss {K} against the lag terms below {K}, {cell.name}", NOTES, found, AGREEMENT)
        shares = lag_terms(trace, loss, "all").groupby("parameter")["share"].sum()
        error = float(np.abs(shares - 1.0).max())
        yield agree(f"shares of the lag terms sum to 1, {cell.name}", "definition", error, AGREEMENT)


def lag_term(trace: Trace, loss: losses.Loss, lag: int) -> Params:
    """G_l, by the literal sum."""
    return literal_sum(trace, loss, keeps=lambda t, k: t - k == lag)


@checks("gradients")
def schemes_that_cut_nothing(quick: bool) -> Iterator[Check]:
    for cell in _CELLS:
        trace, loss = _example(cell)
        full, T = backward(trace, loss), trace.length
        for scheme in (PerLoss(T), Windowed(2, T + 2), Chunked(T)):
            found = worst(backward(trace, loss, scheme), full)
            yield agree(f"{scheme.name} at K >= T against full, h_0 too, {cell.name}", NOTES, found, AGREEMENT)


@checks("gradients")
def order_of_the_product(quick: bool) -> Iterator[Check]:
    """Three Jacobians that do not commute: P_{3,0} = J_3 J_2 J_1."""
    trace, _ = _example(Elman(2, 4, 2), T=3, B=1)
    J_1, J_2, J_3 = (trace.jacobian(t)[0] for t in (1, 2, 3))
    error = disagreement(trace.product(3, 0)[0], J_3 @ J_2 @ J_1)
    yield agree("three Jacobians that do not commute, J_3 J_2 J_1", "notes; chain rule", error, 1e-15)
    rows = np.eye(4)
    for t in (3, 2, 1):
        rows = trace.cell.vjp(trace.params, trace.linearization[t - 1, 0], rows)[1]
    yield agree("the same pulled back, row by row", "notes; chain rule", disagreement(rows, J_3 @ J_2 @ J_1), 1e-14)


CLIFF = "a grid on the surface of Pascanu, Mikolov & Bengio 2013, figure 6"


class Surface(NamedTuple):
    """E = (sigma(x_T) - target)^2 of one-unit networks, and its gradient, one entry a network."""

    error: Array
    dw: Array
    db: Array

    @property
    def norm(self) -> Array:
        """|dE/d(w, b)|."""
        return np.hypot(self.dw, self.db)


@checks("gradients")
def one_unit_cliff(quick: bool) -> Iterator[Check]:
    """E = (sigma(x_50) - 0.7)^2 over w and b. The largest norm is of this grid: one four times finer has 9.6e3."""
    b = np.linspace(-3.2, -2.0, 241)
    w = np.linspace(4.0, 7.0, 301)
    norms = np.array([cliff(one, b).norm for one in w])
    row, column = np.unravel_index(norms.argmax(), norms.shape)
    yield equal("one-unit cliff, largest gradient norm", CLIFF, 3.3e3, norms.max(), relative=0.05)
    yield equal("one-unit cliff, w there", CLIFF, 4.94, w[row], absolute=0.011)
    yield equal("one-unit cliff, b there", CLIFF, -2.575, b[column], absolute=0.0051)
    yield equal("one-unit cliff, median gradient norm", CLIFF, 0.07, np.median(norms), relative=0.05)


def cliff(w: float | Array, b: Array, x_0: float = 0.5, target: float = 0.7, steps: int = 50) -> Surface:
    """The error of x_t = w sigma(x_{t-1}) + b and its gradient at many (w, b), by back-propagation through time.

    The units are side by side in one network and independent of each other.

    Args:
        w: recurrent weights, one for all or one for each bias.
        b: (N,) biases.
        x_0: the start of the units; h_0 = sigma(x_0).
        target: the target of sigma(x_T).
        steps: T.
    """
    N = len(b)
    cell = Elman(1, N, N, "logistic")
    params = silent_weights(cell, np.diag(np.broadcast_to(np.asarray(w, float), N))) | {"b_h": b, "U": np.eye(N)}
    trace = forward(cell, params, np.zeros((steps, 1, 1)), np.full((1, N), 1.0 / (1.0 + np.exp(-x_0))))
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 2.0 * (trace.y_hat[-1] - target)
    gradient = backward(trace, errors)
    return Surface((trace.y_hat[-1, 0] - target) ** 2, np.diag(gradient["W"]), gradient["b_h"])
