"""Every cell, and random networks of it, for the tests. A new cell is one more line of CELLS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks import losses
from bpttlab.networks.cells import (
    GRU,
    LSTM,
    SLSTM,
    Antisymmetric,
    Clockwork,
    CoRNN,
    Diagonal,
    Dilated,
    Elman,
    LayerNormElman,
    LayerNormGRU,
    LayerNormLSTM,
    Leaky,
    LipschitzRNN,
    MinGRU,
    MinimalRNN,
    MinLSTM,
    OrthogonalElman,
    PeepholeLSTM,
    ProjectedLSTM,
    ScoRNN,
    SelectiveDiagonal,
    Stacked,
)
from bpttlab.networks.initializers import GaussianRadius
from bpttlab.verification.gradient_check import agreement, assert_agree
from tests.support.contract import Momentum, Plain

CELLS = {
    "elman": lambda *sizes, **more: Elman(*sizes, **more),
    "elman, softplus": lambda *sizes, **more: Elman(*sizes, activation="softplus", **more),
    "leaky": lambda *sizes, **more: Leaky(*sizes, alpha=0.3, **more),
    "leaky, logistic": lambda *sizes, **more: Leaky(*sizes, alpha=0.7, activation="logistic", **more),
    "leaky, alpha = 1": lambda *sizes, **more: Leaky(*sizes, alpha=1.0, **more),
    "gru": lambda *sizes, **more: GRU(*sizes, **more),
    "gru, reset before": lambda *sizes, **more: GRU(*sizes, reset="before", **more),
    "lstm": lambda *sizes, **more: LSTM(*sizes, **more),
    "minimal_rnn": lambda *sizes, **more: MinimalRNN(*sizes, **more),
    "antisymmetric": lambda *sizes, **more: Antisymmetric(*sizes, epsilon=0.4, gamma=0.1, **more),
    "orthogonal": lambda *sizes, **more: OrthogonalElman(*sizes, **more),
    "diagonal": lambda *sizes, **more: Diagonal(*sizes, **more),
    "diagonal, as it comes": lambda *sizes, **more: Diagonal(*sizes, r_min=0.2, r_max=0.7, normalise=False, **more),
    "plain, by its five methods": lambda *sizes, **more: Plain(*sizes, **more),
    "momentum, by its five methods": lambda *sizes, **more: Momentum(*sizes, **more),
    "stacked": lambda *sizes, **more: Stacked(*sizes, **more),
    "stacked, lstm": lambda *sizes, **more: Stacked(*sizes, of="lstm", **more),
    "stacked, three of minimal_rnn": lambda *sizes, **more: Stacked(*sizes, layers=3, of="minimal_rnn", **more),
    "stacked, orthogonal": lambda *sizes, **more: Stacked(*sizes, of="orthogonal", **more),
    "stacked, diagonal": lambda *sizes, **more: Stacked(*sizes, of="diagonal", **more),
}
"""(I, N, O, output_activation=...) -> a cell, with a function that the complex step can go through."""

MORE_CELLS = {
    "peephole_lstm": lambda *sizes, **more: PeepholeLSTM(*sizes, **more),
    "projected_lstm": lambda *sizes, **more: ProjectedLSTM(*sizes, memory_size=4, **more),
    "min_gru": lambda *sizes, **more: MinGRU(*sizes, **more),
    "min_lstm": lambda *sizes, **more: MinLSTM(*sizes, **more),
    "dilated": lambda *sizes, **more: Dilated(*sizes, dilation=3, **more),
    "dilated, softplus": lambda *sizes, **more: Dilated(*sizes, dilation=2, activation="softplus", **more),
    "cornn": lambda *sizes, **more: CoRNN(*sizes, dt=0.3, **more),
    "cornn, implicit": lambda *sizes, **more: CoRNN(*sizes, dt=0.5, epsilon=1.0, damping="implicit", **more),
    "lipschitz_rnn": lambda *sizes, **more: LipschitzRNN(*sizes, epsilon=0.3, beta=0.7, gamma=0.1, **more),
    "layer_norm_elman": lambda *sizes, **more: LayerNormElman(*sizes, epsilon=0.1, **more),
    "layer_norm_lstm": lambda *sizes, **more: LayerNormLSTM(*sizes, epsilon=0.1, **more),
    "layer_norm_gru": lambda *sizes, **more: LayerNormGRU(*sizes, epsilon=0.1, **more),
    "slstm": lambda *sizes, **more: SLSTM(*sizes, **more),
    "slstm, exponential": lambda *sizes, **more: SLSTM(*sizes, forget_gate="exponential", **more),
    "selective_diagonal": lambda *sizes, **more: SelectiveDiagonal(*sizes, channel_states=2, **more),
    "scornn": lambda *sizes, **more: ScoRNN(*sizes, **more),
    "clockwork": lambda I, N, O, **more: Clockwork(I, N, O, modules=min(2, N), **more),
}
"""Cells without compiled loops: `test_recent_cells` has quick tests of them; those with CELLS are slow for these."""

VARIANTS = (
    "leaky, alpha = 1",
    "diagonal, as it comes",
    "stacked, three of minimal_rnn",
    "stacked, orthogonal",
    "stacked, diagonal",
)
"""Cells of the same code as others of CELLS: slow as well."""

every_cell = pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, marks=[pytest.mark.slow] if name in VARIANTS or name in MORE_CELLS else [])
        for name, make in (CELLS | MORE_CELLS).items()
    ],
    ids=[*CELLS, *MORE_CELLS],
)

RECURRENT, BIASES = ({name, *(f"{name}_{layer}" for layer in (1, 2, 3))} for name in ("W", "b_h"))
"""Of a cell, or of the layers of a stack."""


def takes_a_radius(cell):
    """Whether the cell's weights can be drawn with any spectral radius; the diagonal one has no W."""
    try:
        cell.check_initializer(GaussianRadius(0.9))
    except ConfigurationError:
        return False
    return True


@dataclass(frozen=True)
class Case:
    trace: Trace
    loss: losses.Loss
    target: np.ndarray
    mask: np.ndarray


def case(
    make, seed=0, T=6, B=2, N=3, I=2, O=2, gain=1.0, mask=None, dtype="float64", output_activation="identity",
    saturated=False,
):  # fmt: skip
    """A network of that cell run on random data from a random state. `saturated` shuts half of the gates or units."""
    rng = np.random.default_rng(seed)
    cell = make(I, N, O, output_activation=output_activation)
    params = {name: rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    for name in params:
        if name in RECURRENT:
            params[name] = params[name] * (gain / np.sqrt(N))
        if saturated and name in BIASES:
            params[name][::2] = -30.0
    params = {name: value.astype(dtype) for name, value in params.items()}
    trace = forward(
        cell, params, rng.standard_normal((T, B, I)), cell.initial_states(rng.standard_normal((B, cell.state_size)))
    )
    target = rng.standard_normal((T, B, O))
    mask = np.ones(T) if mask is None else np.asarray(mask, float)
    return Case(trace, losses.evaluate("squared_error", trace.y_hat, target, mask), target, mask)


@st.composite
def cases(draw, make, dtypes=("float64", "float32"), longest=9, tame=False):
    """Shapes from 1, zero and large gains, saturated gates, losses at some steps only."""
    T = draw(st.integers(1, longest))
    mask = draw(st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=T, max_size=T))
    dtype = draw(st.sampled_from(dtypes))
    return case(
        make,
        seed=draw(st.integers(0, 2**16)),
        T=T,
        B=draw(st.integers(1, 3)),
        N=draw(st.integers(1, 4)),
        I=draw(st.integers(1, 3)),
        O=draw(st.integers(1, 3)),
        gain=draw(st.sampled_from([0.0, 0.3, 1.0] if tame else [0.0, 0.3, 1.0, 3.0])),
        mask=mask if any(mask) else None,
        dtype=dtype,
        output_activation=draw(st.sampled_from(["identity", "tanh"])),
        # e^-30 thrice is beyond what float32 can hold beside one
        saturated=dtype == "float64" and draw(st.booleans()),
    )


def assert_agree_as_sums(case, one, other, tolerance=None, keeps=lambda t, k: True):
    """`assert_agree`, or where it fails because terms cancel: element by element, relative to what was summed.

    The contributions are those of every loss and sequence alone; a matrix of one entry may be 1e-5 of them.
    """
    tolerance = agreement(case.trace.h.dtype) if tolerance is None else tolerance
    try:
        assert_agree(one, other, tolerance)
    except AssertionError:
        errors, summed = case.loss.gradient, {}
        for t, b in np.ndindex(errors.shape[:2]):
            alone = np.zeros_like(errors)
            alone[t, b] = errors[t, b]
            for name, value in literal_sum(case.trace, alone, keeps).items():
                summed[name] = summed.get(name, 0.0) + np.abs(value)
        for name, size in summed.items():
            wrong = np.abs(one[name] - other[name]) > tolerance * size
            if wrong.any():
                raise


def descend(cell, steps, rate=0.02):
    """Gradient descent in the free numbers of a cell with constraints: the loss before each step, and the numbers."""
    rng = np.random.default_rng(0)
    x, target, mask = rng.standard_normal((8, 3, 2)), rng.standard_normal((8, 3, 1)), np.ones(8)
    free, values = cell.unconstrain(cell.init(rng)), []
    for _ in range(steps):
        trace = forward(cell, cell.constrain(free), x)
        loss = losses.evaluate("squared_error", trace.y_hat, target, mask)
        values.append(loss.value)
        pulled = cell.constraint_vjp(free, backward(trace, loss))
        free = {name: value - rate * pulled.get(name, 0.0) for name, value in free.items()}
    return values, free
