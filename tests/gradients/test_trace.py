"""What a trace shows of its forward pass, whatever the cell."""

from functools import partial

import numpy as np
import pytest

from bpttlab.gradients.engine import find_engine
from bpttlab.networks import activations
from bpttlab.networks.cells import LSTM, Elman, Leaky, Stacked
from tests.support.compiled import needs_numba
from tests.support.contract import Momentum
from tests.support.networks_of_cells import CELLS, case


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_predictions_are_the_readout_of_the_outputs(make):
    trace = case(make, T=5, N=3, output_activation="tanh").trace
    f_y = activations.find_activation("tanh").function
    np.testing.assert_allclose(
        trace.predictions, f_y(trace.outputs @ trace.params["U"].T + trace.params["b_y"]), rtol=1e-14
    )
    assert trace.outputs.shape == (5, 2, 3) and trace.states.shape == (5, 2, trace.cell.state_size)
    assert trace.predictions is trace.y_hat and np.array_equal(trace.states, trace.h[1:])


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (Elman, slice(0, 3)),
        (LSTM, slice(0, 3)),
        (Momentum, slice(0, 3)),
        (lambda *sizes, **more: Stacked(*sizes, layers=2, **more), slice(3, 6)),
        (lambda *sizes, **more: Stacked(*sizes, layers=2, of="lstm", **more), slice(6, 9)),
    ],
    ids=["elman", "lstm", "momentum", "stacked", "stacked lstm"],
)
def test_outputs_are_h_of_the_last_layer(make, output):
    trace = case(make, T=4, N=3).trace
    assert np.array_equal(trace.outputs, trace.states[..., output])


@needs_numba
@pytest.mark.parametrize(("name", "engine"), [("elman", "numba"), ("without loops", "numpy")])
def test_a_trace_takes_the_compiled_engine_where_there_are_loops(name, engine):
    make = CELLS.get(name, partial(Leaky, activation="softplus"))
    trace = case(make, T=4).trace
    assert trace.engine is find_engine("numpy")
    assert trace.with_engine("numba").engine is find_engine(engine)
    assert trace.with_engine("numba").with_engine("numpy").engine is find_engine("numpy")
