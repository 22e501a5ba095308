"""Networks of the checks: linear, of one unit, without input, driven by noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells import Elman
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.initializers import Gaussian
from bpttlab.numerics.array import Array


def silent_weights(cell: Elman, W: Any) -> Params:
    """Weights with this W; all others are zero except a readout of ones."""
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    return params | {"W": np.asarray(W, float), "U": np.ones(cell.parameter_shapes()["U"])}


def linear(W: Any, T: int) -> Trace:
    """h_t = W h_{t-1}: every Jacobian is W."""
    W = np.asarray(W, float)
    cell = Elman(1, len(W), 1, "identity")
    return forward(cell, silent_weights(cell, W), np.zeros((T, 1, 1)))


def autonomous(gain: float, seed: int, N: int, T: int, activation: str = "tanh") -> Trace:
    """h_t = f(W h_{t-1}) with a Gaussian W, from a random state."""
    rng = np.random.default_rng([7, seed])
    cell = Elman(1, N, 1, activation)
    params = silent_weights(cell, Gaussian(gain).sample(rng, N))
    return forward(cell, params, np.zeros((T, 1, 1)), rng.standard_normal((1, N)))


def drive(gain: float, variance: float, seed: int, N: int, T: int) -> Trace:
    """h_t = tanh(W h_{t-1} + x_t) with Gaussian noise of this variance in every unit."""
    rng = np.random.default_rng([8, seed])
    cell = Elman(N, N, 1)
    params = silent_weights(cell, Gaussian(gain).sample(rng, N)) | {"V": np.sqrt(variance) * np.eye(N)}
    return forward(cell, params, rng.standard_normal((T, 1, N)))


def last_steps(trace: Trace, steps: int) -> Trace:
    """The last steps of it alone."""
    return Trace(trace.cell, trace.params, trace.x[-steps:], trace.h[-steps - 1 :], trace.y_hat[-steps:])


def log_typical_norm(trace: Trace) -> float:
    """log(||P_{T,0}||_F / sqrt(N)) of the first sequence, by the literal product: for few steps."""
    product: Array = trace.product(trace.length, 0)[0]
    return float(np.log(np.linalg.norm(product) / np.sqrt(len(product))))
