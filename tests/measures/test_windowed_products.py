"""Products over a few chosen lags at every t, against each product by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.measures import windowed_products as module
from bpttlab.measures.windowed_products import sums, windowed_products
from bpttlab.networks.cells import LSTM
from tests.support.compiled import needs_numba, quick_dtypes
from tests.support.examples import examples
from tests.support.networks import case, linear
from tests.support.networks import cases as cases_of_elman
from tests.support.networks_of_cells import CELLS, cases
from tests.support.networks_of_cells import case as case_of
from tests.support.products import TOLERANCE, dead_relu, gates_that_reopen, literal, nilpotent


def assert_right(trace, lags, frame, some=None):
    """Every row, or those of some t, from the product that ends at its t."""
    T, batch = trace.length, min(2, trace.h.shape[1])
    assert len(frame) == batch * sum(T + 1 - lag for lag in set(lags))
    for t in range(1, T + 1) if some is None else some:
        for sequence in range(batch):
            spectral, frobenius = literal(trace, sequence, t)
            rows = frame[(frame["t"] == t) & (frame["sequence"] == sequence)]
            assert rows["lag"].tolist() == sorted(lag for lag in set(lags) if lag <= t)
            for column, expected in (("log_spectral_norm", spectral), ("log_frobenius_norm", frobenius)):
                np.testing.assert_allclose(rows[column], expected[rows["lag"]], rtol=1e-13, atol=TOLERANCE)


@st.composite
def lags_of(draw, case):
    return draw(st.lists(st.integers(1, case.trace.length), min_size=1, max_size=4))


@pytest.mark.parametrize("engine", ["numpy", pytest.param("numba", marks=needs_numba)])
@examples(40)
@given(st.data())
def test_windows_are_the_products(engine, data):
    case = data.draw(cases_of_elman(quick_dtypes(engine)))
    lags, trace = data.draw(lags_of(case)), case.trace.with_engine(engine)
    assert_right(trace, lags, windowed_products(trace, lags))


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_of_every_cell(make):
    @examples(15)
    @given(st.data(), cases(make))
    def check(data, case):
        lags = data.draw(lags_of(case))
        assert_right(case.trace, lags, windowed_products(case.trace, lags))

    check()


@pytest.mark.parametrize("name", ["elman", "lstm", "diagonal", "stacked"])
@pytest.mark.parametrize("lags", [(1, 10, 50), (7, 64, 90), (1, 2, 4, 8, 16, 32, 64), (3, 5, 8)])
def test_over_many_lags(name, lags):
    trace = case_of(CELLS[name], T=131, N=5, B=1, gain=0.8).trace
    assert_right(trace, lags, windowed_products(trace, lags), some=(1, 30, 63, 64, 65, 90, 100, 128, 131))


def test_memory_for_a_few_blocks_at_a_time_changes_nothing(monkeypatch):
    trace = case(T=60, N=4, B=2).trace
    frame = windowed_products(trace, (1, 2, 7, 9, 25))
    for name in ("_TOGETHER", "KEPT"):
        monkeypatch.setattr(module, name, 1)
    np.testing.assert_allclose(frame, windowed_products(trace, (1, 2, 7, 9, 25)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [dead_relu, nilpotent, gates_that_reopen])
def test_zeros_and_directions_that_come_back(name):
    trace = name()
    assert_right(trace, (1, 2, 4, 39, 50), windowed_products(trace, (1, 2, 4, 39, 50)), some=(1, 40, 55, 60))


def forgetting(exponent):
    """Two units of an LSTM of which one keeps e^-exponent of its c at each step of the first half, the other later."""
    cell = LSTM(1, 2, 1)
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["V"][2:4, 0] = 0.5 * exponent, -0.5 * exponent
    params["b_h"][2:4] = -0.5 * exponent
    return forward(cell, params, np.where(np.arange(200) < 100, 1.0, -1.0)[:, None, None])


@pytest.mark.parametrize("exponent", [1.0, 20.0, 80.0, 300.0])
@pytest.mark.parametrize("lags", [(150,), (1, 2, 4, 8, 16, 32, 64, 128), (100, 199, 200)])
def test_units_that_leave_the_range_of_floats_beside_each_other(exponent, lags):
    trace = forgetting(exponent)
    assert_right(trace, lags, windowed_products(trace, lags), some=(1, 64, 101, 140, 180, 200))


@pytest.mark.parametrize("factor", [1e-290, 1e-200, 1e-100, 1e-30, 1e40, 1e150, 1e250])
def test_steps_of_any_size(factor):
    trace = linear(factor * np.random.default_rng(0).standard_normal((5, 5)), T=40)
    assert_right(trace, (1, 3, 6, 17), windowed_products(trace, (1, 3, 6, 17)), some=(1, 20, 40))


def test_parts_that_hardly_meet():
    """What the end of one block and the beginning of the next have in common is the least of both."""
    size = 12
    W = np.diag(np.r_[np.full(6, 1e-15), np.full(5, 1e-15)], 1)
    W[0, 0] = 1.0
    trace = linear(W, T=30)
    assert_right(trace, (5, 7, 9), windowed_products(trace, (5, 7, 9)), some=(7, 9, 10, 14, 21, 30))
    trace = linear(np.diag(np.full(size - 1, 1e-80), 1), T=30)
    assert_right(trace, (5, 7, 9), windowed_products(trace, (5, 7, 9)), some=(7, 9, 10, 14, 21, 30))


def test_lags_that_are_sums_of_others():
    assert sums([1, 2, 4, 8]) == {2: (1, 1), 4: (2, 2), 8: (4, 4)}
    assert sums([1, 10, 100]) == {}
    assert sums([3, 5, 8]) == {8: (5, 3)}


def test_spectral_norms_are_left_out():
    frame = windowed_products(case(T=9).trace, [3], spectral=False)
    assert list(frame) == ["sequence", "t", "lag", "log_frobenius_norm"]


@pytest.mark.parametrize("lags", [[0], [7], [2.5], [True], []])
def test_mistakes_are_named(lags):
    with pytest.raises(ConfigurationError, match="lag"):
        windowed_products(case(T=6).trace, lags)


@pytest.mark.parametrize("lags", [[1], [2], [1, 2], [5]])
def test_a_nan_names_its_step(lags):
    trace = case(T=9).trace
    broken = trace.h.copy()
    broken[4, 0] = np.nan
    with pytest.raises(NonFiniteError, match="step t = 5") as error:
        windowed_products(Trace(trace.cell, trace.params, trace.x, broken, trace.y_hat), lags)
    assert error.value.step == 5  # J_5 is the derivative at h_4


def test_it_is_reached_from_the_package():
    assert bpttlab.windowed_products is windowed_products
