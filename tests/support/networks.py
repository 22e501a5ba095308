"""Random networks, data and schemes for the tests: small, with the awkward cases among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks import losses
from bpttlab.networks.activations import ACTIVATIONS
from bpttlab.networks.cells import Elman
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.gradient_check import random_target


@dataclass(frozen=True)
class Case:
    trace: Trace
    loss: losses.Loss


def case(
    seed=0, T=6, B=2, N=3, I=2, O=2, activation="tanh", output_activation="identity",
    gain=1.0, loss="squared_error", mask=None, dtype="float64", dead=False,
):  # fmt: skip
    """A network run on random data. `dead` switches half of the units off for good (relu) or saturates them."""
    rng = np.random.default_rng(seed)
    cell = Elman(I, N, O, activation, output_activation)
    params = {name: rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    params["W"] *= gain / np.sqrt(N)
    if dead:
        params["b_h"][: (N + 1) // 2] = -40.0
    params = {name: value.astype(dtype) for name, value in params.items()}
    trace = forward(cell, params, rng.standard_normal((T, B, I)), rng.standard_normal((B, N)))
    target = random_target(rng, loss, (T, B, O))
    mask = np.ones(T) if mask is None else np.asarray(mask, float)
    return Case(trace, losses.evaluate(loss, trace.y_hat, target, mask))


@st.composite
def cases(draw, dtypes=("float64", "float32"), longest=12, tame=False):
    """Shapes from 1, every activation and loss, zero and large gains, dead units, losses at some steps only.

    `tame` leaves out large gains, with which two forward passes part.
    """
    T = draw(st.integers(1, longest))
    mask = draw(st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=T, max_size=T))
    return case(
        seed=draw(st.integers(0, 2**16)),
        T=T,
        B=draw(st.integers(1, 3)),
        N=draw(st.integers(1, 5)),
        I=draw(st.integers(1, 3)),
        O=draw(st.integers(1, 3)),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        output_activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        gain=draw(st.sampled_from([0.0, 0.3, 1.0] if tame else [0.0, 0.3, 1.0, 3.0])),
        loss=draw(st.sampled_from(sorted(losses.LOSSES))),
        mask=mask if any(mask) else None,
        dtype=draw(st.sampled_from(dtypes)),
        dead=draw(st.booleans()),
    )


@st.composite
def schemes(draw) -> Scheme:
    K = draw(st.integers(1, 14))
    k1 = draw(st.integers(1, K))
    return draw(st.sampled_from([Full(), PerLoss(K), Windowed(k1, K), Chunked(K), Chunked(K, k1 - 1)]))


def linear(W, T, B=1, seed=0):
    """h_t = W h_{t-1} + x_t: a network whose every Jacobian is W."""
    W = np.asarray(W, float)
    N = len(W)
    cell = Elman(N, N, 1, "identity")
    rng = np.random.default_rng(seed)
    params = {"V": np.eye(N), "W": W, "b_h": np.zeros(N), "U": rng.standard_normal((1, N)), "b_y": np.zeros(1)}
    return forward(cell, params, np.zeros((T, B, N)))
