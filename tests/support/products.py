"""Networks whose Jacobian products are hard to follow, and the products term by term."""

import numpy as np

from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells import LSTM, Elman
from tests.support.networks import linear

TOLERANCE = 1e-10
"""Of a logarithm, absolute: relative of the norm."""


def literal(trace: Trace, sequence=0, t=None):
    """log ||P||_2 and log(||P||_F / sqrt(N)) of every lag, each row of the product with an exponent of its own."""
    t = trace.length if t is None else t
    wide = {name: value.astype(float) for name, value in trace.params.items()}
    size = trace.h.shape[-1]
    product, exponents, found = np.eye(size), np.zeros(size), []
    for lag in range(t + 1):
        if lag:
            slope = trace.linearization[t - lag, sequence].astype(float)
            product = product @ trace.cell.jacobian(wide, slope)
        largest = np.abs(product).max(axis=1)
        shift = np.frexp(largest)[1]
        product, exponents = np.ldexp(product, -shift[:, None]), np.where(largest > 0, exponents + shift, -np.inf)
        top = exponents.max()
        matrix = product * 2.0 ** np.maximum(exponents - top, -1000)[:, None] if np.isfinite(top) else product
        norms = np.linalg.norm(matrix, 2), np.linalg.norm(matrix) / np.sqrt(size)
        with np.errstate(divide="ignore"):
            found.append(np.log(norms) + (top * np.log(2.0) if np.isfinite(top) else 0.0))
    return np.array(found).T


def units(W, on):
    """Relu units without connections, each on at some steps (T, N): an input far below zero shuts it for a step."""
    N = len(W)
    cell = Elman(N, N, 1, "relu")
    params = {"V": np.eye(N), "W": np.diag(W), "b_h": np.zeros(N), "U": np.ones((1, N)), "b_y": np.zeros(1)}
    return forward(cell, params, np.where(on, 1.0, -1e30)[:, None])


def dead_relu():
    """The unit that leads from t = T on is off at one step long before."""
    on = np.ones((120, 4), bool)
    on[60, 0] = False
    return units(np.array([1.0, 0.05, 0.04, 0.03]), on)


def nilpotent():
    """W is zero but beside its diagonal: the product keeps only what the next step annihilates."""
    steps = np.concatenate([np.full(20, 1e-3), np.full(19, 10.0)])
    return linear(np.diag(steps, 1), T=60)


def gates_that_reopen():
    """Two units of an LSTM that hear nothing but their gates: one forgets first, the other later."""
    cell = LSTM(1, 2, 1)
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["V"][2:4, 0] = 3.0, -3.0
    params["b_h"][4:6] = 1.0
    x = np.where(np.arange(120) < 60, 1.0, -1.0)[:, None, None]
    return forward(cell, params, x)


def blocks_that_cross():
    """Two blocks of relu units: one grows while the other shrinks, and later the other way round, by 1e20."""
    rng = np.random.default_rng(0)
    rotations = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2)]
    W = np.zeros((6, 6))
    W[:3, :3], W[3:, 3:] = np.abs(rotations[0]), np.abs(rotations[1])
    cell = Elman(6, 6, 1, "tanh")
    params = {"V": np.eye(6), "W": W, "b_h": np.zeros(6), "U": np.ones((1, 6)), "b_y": np.zeros(1)}
    late = np.arange(100)[:, None] >= 50
    x = np.where(late == (np.arange(6) < 3), 1.5, 0.0)
    return forward(cell, params, x[:, None])


def with_slopes(W, slopes):
    """A trace whose Jacobians are diag(slopes[t]) W.  (N,N), (T,N)"""
    trace = linear(W, T=len(slopes))
    trace.__dict__["linearization"] = np.array(slopes)[:, None]
    return trace


def beyond_the_range():
    """A unit that lies 1e-480 below the other when rows are first dropped, and returns."""
    slopes = np.ones((60, 2))
    slopes[30:, 1], slopes[:30, 0] = 1e-60, 1e-70
    return with_slopes(np.eye(2), slopes)


def below_the_range_for_a_while():
    """A unit that falls 1e-320 below the other, and returns, before rows are first looked at."""
    slopes = np.ones((60, 2))
    slopes[56:, 1], slopes[52:56, 0] = 1e-80, 1e-80
    return with_slopes(np.eye(2), slopes)


def rounded():
    """A unit that is kept, 1e-8 below the other, in rows that a QR has mixed: it returns with 1e-8 of its digits."""
    W = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    slopes = np.ones((60, 3))
    slopes[50:, 1], slopes[:40, 0] = 0.1, 0.1
    return with_slopes(W, slopes)
