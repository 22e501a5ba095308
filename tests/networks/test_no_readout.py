"""A network without a readout has output_size=0: everything that needs no loss works, a loss is refused by name."""

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.networks import losses
from tests.support.compiled import QUICK_CELLS
from tests.support.networks_of_cells import CELLS


def network_and_trace(kind, output_size, engine="numpy", x=None):
    """A cell with and without a readout has the same recurrence: each parameter is drawn from a stream of its own."""
    cell = CELLS[kind](2, 3, output_size)
    params = cell.init(np.random.default_rng(1))
    x = np.random.default_rng(2).standard_normal((6, 2, 2)) if x is None else x
    return cell, params, lab.forward(cell, params, x, engine=engine)


@pytest.mark.parametrize("kind", ["elman", "lstm", "diagonal", "stacked", "momentum, by its five methods"])
def test_measures_without_a_loss_are_those_with_a_readout(kind):
    one, other = (network_and_trace(kind, outputs) for outputs in (0, 2))
    assert one[2].predictions.shape == (6, 2, 0) and one[1]["U"].shape == (0, 3)
    for measure in (lab.jacobian_products, lab.forward_sensitivity, lab.block_norms):
        pd.testing.assert_frame_equal(measure(one[2]), measure(other[2]))
    first, second = (lab.lyapunov_spectrum(cell, params, trace.x) for cell, params, trace in (one, other))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        *((kind, "numpy") for kind in ("elman", "lstm", "diagonal", "stacked, lstm")),
        *((kind, "numba") for kind in QUICK_CELLS),
        *(pytest.param(kind, "numba", marks=pytest.mark.slow) for kind in ("diagonal", "stacked, lstm")),
    ],
)
def test_a_loss_is_refused_by_name(kind, engine):
    cell, params, trace = network_and_trace(kind, 0, engine)
    target, mask = np.zeros((6, 2, 0)), np.ones(6)
    asks = [
        lambda: lab.backward(trace, target),
        lambda: lab.backward(trace, losses.Loss(0.0, target), scaled=True),
        lambda: lab.backward(trace, target, scheme=lab.PerLoss(2)),
        lambda: lab.loss_and_gradient(cell, params, trace.x, target, engine=engine),
        lambda: lab.lag_terms(trace, target),
        lambda: lab.truncation_curve(trace, target),
        lambda: lab.jacobian_products(trace, target),
        lambda: lab.rtrl(trace, target),
        *(lambda name=name: losses.evaluate(name, trace.y_hat, target, mask) for name in losses.LOSSES),
    ]
    for ask in asks:
        with pytest.raises(
            ConfigurationError, match="output_size=0: this network has no readout, .* give output_size >= 1"
        ):
            ask()
