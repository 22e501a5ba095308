"""The compiled loops against the cells, against themselves interpreted, and against the literal sum."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError, DivergedError, GradientRangeError, LabError, NonFiniteError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.compiled import dispatch, elementary, forms, walks
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.engine import find_engine
from bpttlab.gradients.forward import forward
from bpttlab.gradients.loss_and_gradient import loss_and_gradient
from bpttlab.gradients.plan import Plan, full_plan
from bpttlab.gradients.propagation import propagate
from bpttlab.gradients.trace import Trace
from bpttlab.measures.jacobian_products import jacobian_products
from bpttlab.measures.lag_terms import measure_lags
from bpttlab.networks import losses
from bpttlab.networks.cells import GRU, LSTM, Elman, Leaky, OrthogonalElman
from bpttlab.numerics.scaled import Scaled
from bpttlab.truncation.segmented import Chunked, PerLoss, Windowed
from bpttlab.verification.gradient_check import agreement, assert_agree, disagreement
from tests.support.compiled import INTERPRETED, MAKES, OTHER_KINDS, dtypes, needs_numba, network
from tests.support.examples import examples

pytestmark = needs_numba


EVERY = MAKES | OTHER_KINDS
MAKES_AND_SLOW = [*MAKES.values(), *(pytest.param(make, marks=pytest.mark.slow) for make in OTHER_KINDS.values())]

ELMAN = [name for name in MAKES if name.startswith("elman")]
ONE_KIND_AND_SLOW = [
    pytest.param(make, marks=() if name in ELMAN else pytest.mark.slow) for name, make in EVERY.items()
]
"""What compiles one loop more for each kind takes 3 s for each: those with gates are slow tests."""


def without_loops(*sizes):
    """A cell without compiled loops: no loop has its activation."""
    return Leaky(*sizes, activation="softplus")


def networks(dtype, makes=None, sizes=(1, 2, 3, 4, 5, 9, 40)):
    """Networks of compiled cells, or of some, as `network` makes them; in float64 without those of `OTHER_KINDS`."""
    makes = (MAKES if dtype == "float64" else EVERY) if makes is None else makes
    return st.builds(
        network,
        make=st.sampled_from([EVERY[name] for name in makes]),
        seed=st.integers(0, 2**16),
        T=st.integers(1, 9),
        B=st.integers(1, 3),
        N=st.sampled_from(sizes),
        gain=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
        dtype=st.just(dtype),
        dead=st.booleans(),
    )


@st.composite
def traces(draw, dtype):
    """The same trajectory for both engines, and errors at some of its steps."""
    cell, params, x, h_0 = draw(networks(dtype))
    trace = forward(cell, params, x, h_0)
    steps = draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x)))
    errors = np.random.default_rng(1).standard_normal(trace.y_hat.shape) * np.array(steps)[:, None, None]
    return trace, trace.with_engine("numba"), errors.astype(trace.h.dtype)


def step_by_step(cell, params, x, h_0):
    """Each step of the compiled loop from the state that NumPy has: chaos then cannot part the two."""
    trace = forward(cell, params, x, h_0)
    steps = [forward(cell, params, x[t : t + 1], trace.h[t], engine="numba") for t in range(len(x))]
    return trace, steps


@dtypes
@given(st.data())
def test_every_compiled_step_is_that_of_the_cell(dtype, data):
    assert_steps_agree(data.draw(networks(dtype)))


@pytest.mark.slow
@examples(20)
@given(networks("float32", makes=["elman, tanh"]))
def test_every_compiled_step_of_one_cell_in_float32(given_network):
    """One loop of those that `dtypes` leaves to the slow tests."""
    assert_steps_agree(given_network)


def assert_steps_agree(given_network):
    trace, steps = step_by_step(*given_network)
    tolerance = 10 * np.finfo(trace.h.dtype).eps
    for t, step in enumerate(steps):
        size = 1.0 if given_network[0].name in ("gru", "lstm") else np.abs(trace.h[t]).max() + 1.0
        assert np.abs(step.h[1] - trace.h[t + 1]).max() <= 20 * tolerance * max(size, np.abs(trace.h[t + 1]).max())
        assert disagreement(step.linearization[0], trace.linearization[t]) <= 100 * tolerance


@dtypes
@given(st.data())
def test_a_pass_is_its_steps_one_after_another(dtype, data):
    cell, params, x, h_0 = data.draw(networks(dtype))
    trace = forward(cell, params, x, h_0, engine="numba")
    for t in range(len(x)):
        alone = forward(cell, params, x[t : t + 1], trace.h[t], engine="numba")
        assert alone.h[1].tobytes() == trace.h[t + 1].tobytes()
        assert alone.linearization[0].tobytes() == trace.linearization[t].tobytes()


@dtypes
@given(st.data())
def test_backward_is_that_of_the_cells_on_one_trajectory(dtype, data):
    trace, fast, errors = data.draw(traces(dtype))
    assert_agree(backward(fast, errors), backward(trace, errors))


@pytest.mark.parametrize("make", MAKES_AND_SLOW, ids=EVERY)
@dtypes
@pytest.mark.parametrize(("T", "B", "N"), [(300, 1, 9), (70, 5, 8), (40, 13, 65)])
def test_a_gradient_in_one_piece_is_that_of_the_cells(make, dtype, T, B, N):
    """Longer than what goes into one product at a time, with every readout; a relu may leave steps without an error."""
    cell, params, x, h_0 = network(make, T=T, B=B, N=N, gain=0.7, dtype=dtype)
    for output in ("identity", "tanh", "logistic", "relu"):
        one = replace(cell, output_activation=output)
        fast = forward(one, params, x, h_0, engine="numba")
        slow = Trace(one, params, fast.x, fast.h, fast.y_hat)
        errors = np.random.default_rng(1).standard_normal(fast.y_hat.shape).astype(dtype)
        whole = forms.find_form(one).whole and output != "relu"
        assert not whole or fast.engine.gradient(fast, errors) is not None
        found = backward(fast, errors)
        assert list(found) == list(backward(slow, errors))
        assert_agree(found, backward(slow, errors), 3 * agreement(fast.h.dtype))
        assert_agree({"y_hat": fast.y_hat}, {"y_hat": one.read(params, fast.h[1:])})


@pytest.mark.parametrize(
    ("factor", "T", "plain"), [(0.5, 900, True), (0.5, 1000, False), (2.0, 900, True), (2.0, 1000, False)]
)
def test_plain_numbers_stop_before_the_ends_of_the_range(factor, T, plain):
    trace, errors = long_linear(factor, T)
    assert (trace.engine.gradient(trace, errors) is not None) == plain
    assert backward(trace, errors)["h_0"].tolist() == [[factor**T, factor**T]]


def test_a_row_that_vanishes_beside_one_that_does_not_is_noticed():
    """Two sequences: the sum of one gradient hides nothing of the other's."""
    trace, _ = long_linear(0.5, 1000)
    twice = trace.repeat(2)
    errors = np.zeros_like(twice.y_hat)
    errors[-1, 0] = 1.0
    errors[:, 1] = 1.0
    assert twice.engine.gradient(twice, errors) is None


def test_a_row_that_vanishes_on_its_way_is_noticed():
    """Whatever the losses of earlier steps add to it afterwards."""
    trace, errors = long_linear(0.5, 1000)
    errors[0] = 1.0
    assert trace.engine.gradient(trace, errors) is None
    errors[500] = 1.0
    assert trace.engine.gradient(trace, errors) is not None


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200])
def test_plain_errors_of_any_size_are_walked_back(size):
    """A walk rescales rows; what an error has is compared with what comes from later steps by its exponent."""
    cell, params, x, h_0 = network(Elman, T=20, gain=3.0)
    trace = forward(cell, params, x, h_0, engine="numba")
    errors = np.full(trace.y_hat.shape, size)
    errors[::3] *= 1e-100 if size > 1.0 else 1e100
    for scheme in (None, PerLoss(5), Chunked(4)):
        scaled = backward(trace.with_engine("numpy"), errors, scheme, scaled=True)
        assert_agree(backward(trace, errors, scheme), {name: value.value() for name, value in scaled.items()})


def test_a_readout_without_a_kernel_goes_through_the_cell():
    cell, params, x, h_0 = network(lambda *sizes: Elman(*sizes, output_activation="softplus"))
    trace = forward(cell, params, x, h_0, engine="numba")
    errors = np.ones_like(trace.y_hat)
    assert trace.engine.gradient(trace, errors) is None
    assert_agree(backward(trace, errors), backward(trace.with_engine("numpy"), errors))
    assert trace.y_hat.tobytes() == cell.read(params, trace.h[1:]).tobytes()


@pytest.mark.slow
def test_arrays_that_have_to_be_converted_are():
    cell, params, x, h_0 = network(Elman, B=3)
    expected = forward(cell, params, x, h_0, engine="numba")
    columns = {name: np.asfortranarray(value) for name, value in params.items()}
    closed = x.copy()
    closed.flags.writeable = False
    for weights, inputs in (
        (columns, x),
        (params, x.astype(np.float32).astype(object)),
        (params, x[::-1][::-1]),
        (params, closed),
    ):
        trace = forward(cell, weights, inputs, h_0, engine="numba")
        assert_agree({"h": trace.h}, {"h": expected.h}, 1e-6)
        assert_agree(backward(trace, np.ones_like(trace.y_hat)), backward(expected, np.ones_like(trace.y_hat)), 1e-6)
    single = {name: value.astype(np.float32) if name == "V" else value for name, value in params.items()}
    trace = forward(cell, single, x, h_0, engine="numba")
    assert trace.h.dtype == np.float64
    assert_agree(backward(trace, np.ones_like(trace.y_hat)), backward(expected, np.ones_like(trace.y_hat)), 1e-5)


@pytest.mark.parametrize("wrong", ["x", "h_0", "W", "b_y", "shape", "name"])
def test_what_is_wrong_is_said_as_it_is_of_numpy(wrong):
    cell, params, x, h_0 = network(Elman)
    given = {"x": x, "h_0": h_0, **params}
    if wrong in given:
        given[wrong] = given[wrong].copy()
        given[wrong].flat[0] = np.inf
    if wrong == "shape":
        given["b_h"] = given["b_h"][:, None]
    if wrong == "name":
        given["b"] = given.pop("b_h")
    found = []
    for engine in ("numpy", "numba"):
        with pytest.raises(LabError) as error:
            forward(
                cell,
                {name: given[name] for name in given if name not in ("x", "h_0")},
                given["x"],
                given["h_0"],
                engine,
            )
        found.append(str(error.value))
    assert found[0] == found[1]


@dtypes
@examples(30)
@given(st.data())
def test_backward_is_the_literal_sum(dtype, data):
    _, fast, errors = data.draw(traces(dtype))
    assert_agree(backward(fast, errors), literal_sum(fast, errors), 3 * agreement(fast.h.dtype))


@dtypes
@given(st.data(), st.integers(-3000, 3000))
def test_scaled_backward_is_that_of_the_cells(dtype, data, exponent):
    trace, fast, errors = data.draw(traces(dtype))
    plan = full_plan(trace.length)
    error = trace.scaled_error(errors)
    error = Scaled(error.mantissa, error.exponent + exponent)
    one, other = fast.walk(error, plan), trace.walk(error, plan)
    for got, expected in zip(one, other, strict=True):
        assert_agree({"": got.at(exponent)}, {"": expected.at(exponent)})


@dtypes
@given(st.data())
def test_segments_with_carries(dtype, data):
    trace, fast, errors = data.draw(traces(dtype))
    T, B = errors.shape[:2]
    segments = []
    for stop in data.draw(st.lists(st.integers(1, T), min_size=1, max_size=5, unique=True)):
        start = data.draw(st.integers(0, stop - 1))
        segments.append([start, stop, data.draw(st.integers(start, stop - 1))])
    carry = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=T * B, max_size=T * B)))
    carry = carry.reshape(T, B) if data.draw(st.booleans()) else carry[:T]
    plan = Plan(np.array(segments), carry)
    for error in (trace.error(errors), trace.scaled_error(errors)):
        one, other = fast.walk(error, plan), trace.walk(error, plan)
        for got, expected in zip(one, other, strict=True):
            values = [number.value() if isinstance(number, Scaled) else number for number in (got, expected)]
            assert_agree({"": values[0]}, {"": values[1]})


@dtypes
@given(st.data(), st.integers(-3000, 3000), st.integers(1, 9))
def test_segments_of_truncations_at_any_size(dtype, data, exponent, K):
    trace, fast, errors = data.draw(traces(dtype))
    error = trace.scaled_error(errors)
    error = Scaled(error.mantissa, error.exponent + exponent)
    for scheme in (PerLoss(K), Chunked(K), Windowed(max(1, K // 2), K)):
        plan = scheme.plan(trace.length)
        for got, expected in zip(fast.walk(error, plan), trace.walk(error, plan), strict=True):
            assert_agree({"": got.at(exponent)}, {"": expected.at(exponent)})


@dtypes
@given(st.data())
def test_propagated_rows_are_those_of_the_cells(dtype, data):
    trace, fast, errors = data.draw(traces(dtype))
    t = np.arange(1, trace.length + 1)
    rows = trace.scaled_error(errors)[None]
    for one, other in zip(propagate(fast, t, rows), propagate(trace, t, rows), strict=True):
        assert one.lag == other.lag
        assert_agree({"": one.dh.at(0)}, {"": other.dh.at(0)})
        assert (one.dh.mantissa == 0).all() or 0.5 <= np.abs(one.dh.mantissa).max() <= 1.0
        if one.da is not None:
            assert_agree({"": one.da.at(0)}, {"": other.da.at(0)})


@dtypes
@examples(40)
@given(st.data())
def test_interpreted_is_compiled(dtype, data):
    cell, params, x, h_0 = data.draw(networks(dtype, sizes=[1, 2, 3, 4, 5]))
    trace = forward(cell, params, x, h_0, engine="numba")
    for t in range(len(x)):
        h, y_hat, slopes, fine = INTERPRETED.dispatch.run_forward(cell, params, x[t : t + 1].astype(dtype), trace.h[t])
        assert fine
        assert_agree({"h": h[1]}, {"h": trace.h[t + 1]})
        if y_hat is not None:
            assert_agree({"y_hat": y_hat[0]}, {"y_hat": trace.y_hat[t]})
        if slopes is not None:
            assert_agree({"slopes": slopes[0]}, {"slopes": trace.linearization[t]})
    dy_hat = np.random.default_rng(3).standard_normal(trace.y_hat.shape).astype(dtype)
    arguments = cell, params, trace.x, trace.h, trace.linearization, trace.y_hat, dy_hat
    one, other = INTERPRETED.dispatch.run_backward(*arguments), dispatch.run_backward(*arguments)
    assert (one is None) == (other is None)
    if one is not None:
        assert_agree(one, other)
    errors = np.random.default_rng(2).standard_normal(h[0].shape).astype(dtype)
    error = np.zeros(trace.h[1:].shape, dtype)
    error[-1] = errors
    arguments = (cell, params, trace.linearization, error, np.zeros(error.shape[:2], np.int64))
    for plan in (full_plan(len(x)), PerLoss(2).plan(len(x))):
        for one, other in zip(
            INTERPRETED.dispatch.walk(*arguments, plan.segments, plan.carry)[:4],
            dispatch.walk(*arguments, plan.segments, plan.carry)[:4],
            strict=True,
        ):
            if one.dtype == dtype:
                assert_agree({"": one}, {"": other})


@examples(30)
@given(st.data())
def test_what_is_interpreted_in_float32_is_that_of_the_cells(data):
    """The arithmetic of the other precision, without its compilation."""
    cell, params, x, h_0 = data.draw(networks("float32", sizes=[1, 2, 5]))
    trace = forward(cell, params, x, h_0)
    for t in range(len(x)):
        h, y_hat, slopes, fine = INTERPRETED.dispatch.run_forward(cell, params, trace.x[t : t + 1], trace.h[t])
        assert fine
        assert h.dtype == np.float32
        assert_agree({"h": h[1]}, {"h": trace.h[t + 1]})
        if y_hat is not None:
            assert_agree({"y_hat": y_hat[0]}, {"y_hat": trace.y_hat[t]})
        if slopes is not None:
            assert_agree({"slopes": slopes[0]}, {"slopes": trace.linearization[t]})
    errors = np.random.default_rng(2).standard_normal(trace.y_hat.shape).astype(np.float32)
    if not forms.find_form(cell).whole:
        return
    arguments = trace.x, trace.h, trace.linearization, trace.y_hat, errors
    found = INTERPRETED.dispatch.run_backward(cell, params, *arguments)
    if found is not None:
        assert_agree(found, backward(trace, errors))


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_interpreted_loops_of_every_cell_are_its_steps_and_walks(make):
    """What of a kind is not compiled but in slow tests."""
    cell, params, x, h_0 = network(make, T=6)
    trace = forward(cell, params, x, h_0)
    h, _, slopes, fine = INTERPRETED.dispatch.run_forward(cell, params, x, h_0)
    assert fine
    assert_agree({"h": h}, {"h": trace.h})
    if slopes is not None:
        assert_agree({"slopes": slopes}, {"slopes": trace.linearization})
    errors = np.random.default_rng(2).standard_normal(trace.y_hat.shape)
    if forms.find_form(cell).whole:
        whole = INTERPRETED.dispatch.run_backward(cell, params, x, h, trace.linearization, trace.y_hat, errors)
        assert_agree(whole, backward(trace, errors))
    if find_engine("numba").runs(cell, x.dtype):
        assert_walks_agree(trace, errors)


def assert_walks_agree(trace, errors):
    error = trace.error(errors)
    with_carries = Plan(np.array([[0, 6, 3], [2, 5, 4]]), np.linspace(0.0, 2.0, 12).reshape(6, 2))
    for plan in (full_plan(6), PerLoss(3).plan(6), Windowed(2, 3).plan(6), with_carries):
        given = trace.linearization, error, np.zeros(error.shape[:2], np.int64), plan.segments, plan.carry
        da, of_da, dropped, of_dropped, _ = INTERPRETED.dispatch.walk(trace.cell, trace.params, *given)
        found = Scaled(da, of_da[..., None]).value(), Scaled(dropped, of_dropped[..., None]).value()
        for one, other in zip(found, trace.walk(error, plan), strict=True):
            assert_agree({"": one}, {"": other})


def test_it_is_interpreted():
    assert not hasattr(INTERPRETED.walks.walk_back, "py_func")
    assert hasattr(walks.walk_back, "py_func")


# ------------------------------------------------------------------ elementary functions


POINTS = np.concatenate([[0.0], np.geomspace(1e-300, 700.0, 400), np.linspace(0.1, 3.0, 300), [0.17328, 0.17329, 22.0]])


@pytest.mark.parametrize("module", [elementary, INTERPRETED.elementary], ids=["compiled", "interpreted"])
def test_elementary_functions_to_three_units_in_the_last_place(module):
    import mpmath

    mpmath.mp.prec = 1200  # 1 - tanh(300)^2 has 866 bits of cancellation
    for x in np.concatenate([POINTS, -POINTS]):
        exact = mpmath.mpf(float(x))
        tanh, sigma = mpmath.tanh(exact), 1 / (1 + mpmath.exp(-exact))
        tanh_slope, sigma_slope = 1 / mpmath.cosh(exact) ** 2, sigma / (1 + mpmath.exp(exact))
        found = (module.tanh(x), *module.tanh_and_slope(x), *module.logistic_and_slope(x))
        for one, other in zip(found, (tanh, tanh, tanh_slope, sigma, sigma_slope), strict=True):
            if other > 1e-300 or other < -1e-300:
                assert abs(float(one / other - 1)) <= 3 * 2.0**-52, x
            else:
                assert abs(one) <= 1.1e-300


def test_float32_functions_are_within_five_ulp():
    rng = np.random.default_rng(0)
    x = np.concatenate([3.0 * rng.standard_normal(6000), np.geomspace(1e-37, 87.0, 2000), np.linspace(-0.4, 0.4, 2000)])
    x = np.concatenate([x, -x]).astype(np.float32)
    exact = x.astype(np.float64)
    decay = np.exp(-np.abs(exact))
    sigma = np.where(exact >= 0, 1.0, decay) / (1.0 + decay)
    slopes = 1.0 / np.cosh(np.minimum(np.abs(exact), 43.5)) ** 2, decay / (1.0 + decay) ** 2
    found = [(elementary.tanh(v), *elementary.tanh_and_slope(v), *elementary.logistic_and_slope(v)) for v in x]
    for one, other, units in zip(
        zip(*found, strict=True),
        (np.tanh(exact), np.tanh(exact), slopes[0], sigma, slopes[1]),
        (3, 3, 5, 3, 5),
        strict=True,
    ):
        assert {type(value) for value in INTERPRETED.elementary.tanh_and_slope(x[0])} == {np.float32}
        normal = np.abs(other) > 1e-37
        error = np.abs(np.array(one)[normal] - other[normal]) / np.spacing(np.abs(other[normal]).astype(np.float32))
        assert error.max() <= units


def test_float32_functions_agree_interpreted_and_compiled():
    for x in np.linspace(-20.0, 20.0, 301, dtype=np.float32):
        for name in ("tanh", "tanh_and_slope", "logistic_and_slope"):
            found, expected = getattr(INTERPRETED.elementary, name)(x), getattr(elementary, name)(x)
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [float(elementary.tanh(np.float32(x))) for x in (np.inf, -np.inf, 1e30, 0.0)] == [1.0, -1.0, 1.0, 0.0]
    assert np.isnan(elementary.tanh(np.float32(np.nan)))
    assert elementary.logistic_and_slope(np.float32(-100.0)) == (0.0, 0.0)
    assert elementary.tanh_and_slope(np.float32(-100.0)) == (-1.0, 0.0)


def test_elementary_functions_beyond_every_range():
    assert [float(elementary.tanh(x)) for x in (np.inf, -np.inf, 1e300)] == [1.0, -1.0, 1.0]
    assert np.isnan(elementary.tanh(np.nan))
    assert elementary.logistic_and_slope(-800.0) == (0.0, 0.0)
    assert elementary.logistic_and_slope(800.0) == (1.0, 0.0)
    assert elementary.tanh_and_slope(-800.0) == (-1.0, 0.0)


# ------------------------------------------------------------------ the ends of the range


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_an_overflow_names_the_step_that_numpy_names(activation):
    cell = Elman(1, 2, 1, activation)
    params = {
        "V": np.ones((2, 1)),
        "W": 1e100 * np.eye(2),
        "b_h": np.zeros(2),
        "U": np.ones((1, 2)),
        "b_y": np.zeros(1),
    }
    found = []
    for engine in ("numpy", "numba"):
        with pytest.raises(DivergedError) as error:
            forward(cell, params, np.ones((9, 1, 1)), engine=engine)
        found.append(error.value.step)
    assert found == [5, 5]


def test_a_sum_that_overflows_within_tanh_is_the_same_saturation():
    cell = Elman(1, 2, 1, "tanh")
    params = {name: np.ones(shape) for name, shape in cell.parameter_shapes().items()}
    params["W"] = np.array([[1.7e308, 1.7e308], [-1.7e308, -1.7e308]])
    x = 100.0 * np.ones((2, 1, 1))
    one, other = (forward(cell, params, x, engine=engine).h for engine in ("numba", "numpy"))
    np.testing.assert_array_equal(one, other)
    assert other[2].tolist() == [[1.0, -1.0]]


def long_linear(factor, T, dtype="float64"):
    cell = Elman(2, 2, 1, "identity")
    params = {"V": np.eye(2), "W": factor * np.eye(2), "b_h": np.zeros(2), "U": np.ones((1, 2)), "b_y": np.zeros(1)}
    params = {name: value.astype(dtype) for name, value in params.items()}
    trace = forward(cell, params, np.zeros((T, 1, 2)), engine="numba")
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    return trace, errors


@dtypes
@pytest.mark.parametrize("factor", [0.25, 0.0625, 4.0])
def test_gradients_beyond_the_range_of_floats(factor, dtype):
    trace, errors = long_linear(factor, 700, dtype)
    gradient = backward(trace, errors, scaled=True)["h_0"]
    expected = 0.5 * np.log(2.0) + 700 * np.log(factor)
    assert gradient.log_norm()[0] == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-14)
    if factor > 1:
        with pytest.raises(GradientRangeError, match="scaled=True"):
            backward(trace, errors)
    else:
        assert not backward(trace, errors)["h_0"].any()


def test_a_gradient_at_the_lower_end_of_the_range_is_kept():
    trace, errors = long_linear(0.5, 1040)
    gradient = backward(trace, errors)["h_0"]
    assert (gradient == 2.0**-1040).all()  # a denormal that is exact


def test_a_decaying_state_ends_in_zeros_and_not_in_denormals():
    cell = Elman(1, 4, 1, "identity")
    params = {"V": np.ones((4, 1)), "W": 0.5 * np.eye(4), "b_h": np.zeros(4), "U": np.ones((1, 4)), "b_y": np.zeros(1)}
    x = np.zeros((1100, 1, 1))
    x[0] = 1.0
    h = forward(cell, params, x, engine="numba").h
    assert (h[h != 0] >= np.finfo(float).tiny).all()
    assert not h[-1].any()


def test_a_row_of_zero_errors_outweighs_nothing():
    trace, errors = long_linear(0.5, 3000)
    log_norm = backward(trace, errors, scaled=True)["h_0"].log_norm()[0]
    assert log_norm == pytest.approx(0.5 * np.log(2.0) - 3000 * np.log(2.0), rel=1e-14)


# ------------------------------------------------------------------ the engine as a choice


def test_the_trace_keeps_its_engine():
    cell, params, x, h_0 = network(LSTM)
    trace = forward(cell, params, x, h_0, engine="numba")
    for part in (trace, trace.prefix(3), trace.head(1), trace.repeat(2)):
        assert part.engine is find_engine("numba")
    assert forward(cell, params, x, h_0).engine is find_engine("numpy")


@pytest.mark.parametrize("make", MAKES_AND_SLOW, ids=EVERY)
@pytest.mark.parametrize("N", [3, 90])
def test_a_prefix_is_a_pass_of_that_length_to_the_byte(make, N):
    cell, params, x, h_0 = network(make, T=130, N=N, B=3)
    whole = forward(cell, params, x, h_0, engine="numba")
    for length in (1, 63, 64, 65, 100):
        part, alone = whole.prefix(length), forward(cell, params, x[:length], h_0, engine="numba")
        errors = np.random.default_rng(0).standard_normal(alone.y_hat.shape)
        assert part.h.tobytes() == alone.h.tobytes()
        assert part.linearization.tobytes() == alone.linearization.tobytes()
        one, other = backward(part, errors), backward(alone, errors)
        assert all(one[name].tobytes() == other[name].tobytes() for name in other)


def test_a_cell_without_a_kernel_has_the_bytes_of_numpy():
    cell, params, x, h_0 = network(without_loops)
    one, other = (forward(cell, params, x, h_0, engine=engine) for engine in ("numba", "numpy"))
    assert one.engine.name == "numpy"
    assert one.h.tobytes() == other.h.tobytes()
    errors = np.ones_like(one.y_hat)
    assert backward(one, errors)["W"].tobytes() == backward(other, errors)["W"].tobytes()


def test_complex_numbers_go_through_the_cells():
    cell, params, x, h_0 = network(Elman)
    complex_ones = {name: value.astype(complex) for name, value in params.items()}
    trace = forward(cell, complex_ones, x, h_0, engine="numba")
    assert trace.engine.name == "numpy"
    np.testing.assert_allclose(trace.h.real, forward(cell, params, x, h_0).h, rtol=1e-12)


def test_parts_of_a_trace_that_are_not_contiguous():
    cell, params, x, h_0 = network(LSTM, B=3)
    trace = forward(cell, params, x, h_0, engine="numba")
    head = trace.head(2)
    assert not head.h.flags["C_CONTIGUOUS"]
    slow = Trace(cell, params, head.x, head.h, head.y_hat)
    errors = np.ones_like(head.y_hat)
    assert_agree(backward(head, errors), backward(slow, errors))


def test_an_unknown_engine_is_named():
    cell, params, x, h_0 = network(Elman)
    with pytest.raises(ConfigurationError, match="engine='nmba': must be one of numpy, numba. Did you mean 'numba'"):
        forward(cell, params, x, h_0, engine="nmba")


def test_without_numba_the_error_says_what_to_install():
    code = (
        "import sys, importlib.util\n"
        "found = importlib.util.find_spec\n"
        "sys.modules.pop('numba', None)\n"
        "import bpttlab.gradients.compiled.compilation as compilation\n"
        "compilation.find_spec = lambda name: None\n"
        "sys.modules.pop('numba', None)\n"
        "compilation.check_installed()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    said = "the package numba is not installed; pip install numba adds it, and engine=numpy needs no Numba"
    assert f"ConfigurationError: engine=numba: {said}" in done.stderr


def test_losses_of_a_task_go_with_it():
    cell, params, x, h_0 = network(Elman)
    trace = forward(cell, params, x, h_0, engine="numba")
    loss = losses.evaluate("squared_error", trace.y_hat, np.zeros_like(trace.y_hat), np.ones(len(x)))
    assert_agree(backward(trace, loss), backward(trace.with_engine("numpy"), loss))


@pytest.mark.parametrize("make", [*ONE_KIND_AND_SLOW, without_loops], ids=[*EVERY, "without loops"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@dtypes
def test_loss_and_gradient_in_one_call(make, reduction, dtype):
    cell, params, x, h_0 = network(make, T=40, B=3, N=5, gain=0.7, dtype=dtype)
    target = np.random.default_rng(4).standard_normal((40, 3, 2)).astype(dtype)
    weights = np.arange(40) % 3.0
    target[weights == 0] = np.nan
    trace = forward(cell, params, x, h_0, engine="numba")
    for mask in (None, weights):
        wanted = np.nan_to_num(target) if mask is None else target
        loss = losses.evaluate("squared_error", trace.y_hat, wanted, np.ones(40) if mask is None else mask, reduction)
        expected = backward(trace, loss)
        for engine in ("numba", "numpy"):
            value, found = loss_and_gradient(
                cell, params, x.astype(dtype), wanted, mask, reduction=reduction, h_0=h_0.astype(dtype), engine=engine
            )
            assert value == pytest.approx(loss.value, rel=10 * agreement(trace.h.dtype))
            assert list(found) == list(expected)
            assert_agree(found, expected, 10 * agreement(trace.h.dtype))


@dtypes
@given(st.data())
def test_small_network_has_same_bytes_in_one_call_and_three(dtype, data):
    cell, params, x, h_0 = data.draw(networks(dtype, makes=ELMAN if dtype == "float64" else MAKES))
    arguments = cell, params, x.astype(dtype), np.ones((*x.shape[:2], cell.output_size), dtype)
    for start in (None, h_0.astype(dtype)):
        before = None if start is None else start.copy()
        with pytest.MonkeyPatch.context() as patch:
            one, found = loss_and_gradient(*arguments, h_0=start, engine="numba")
            patch.setattr(dispatch, "is_small", lambda x, W: False)
            other, expected = loss_and_gradient(*arguments, h_0=start, engine="numba")
        assert one == other
        assert {name: value.tobytes() for name, value in found.items()} == {
            name: value.tobytes() for name, value in expected.items()
        }
        assert start is None or np.array_equal(start, before)


@pytest.mark.parametrize("makes", [(Elman, OrthogonalElman), pytest.param((Elman, LSTM, GRU), marks=pytest.mark.slow)])
def test_cells_in_turn_have_gradients_of_their_own(makes):
    """What is known of the last cell is not taken for what holds of another one."""
    cases = [network(make, T=9, N=N) for N in (3, 4) for make in makes]
    cases += [(replace(cell, activation="relu"), *rest) for cell, *rest in cases if isinstance(cell, Elman)]
    for cell, params, x, h_0 in [*cases, *reversed(cases)]:
        target = np.ones((*x.shape[:2], cell.output_size))
        for reduction in ("mean", "sum"):
            settings = {"reduction": reduction, "h_0": h_0}
            one = loss_and_gradient(cell, params, x, target, **settings, engine="numba")
            other = loss_and_gradient(cell, params, x, target, **settings)
            assert one[0] == pytest.approx(other[0], rel=1e-12)
            assert_agree(one[1], other[1])


def test_what_loops_cannot_take_at_once_is_still_taken():
    """Lists, every other element, a float32 among others: by the way that converts."""
    cell, params, x, h_0 = network(Elman, T=9)
    target, expected = np.ones((9, 2, 2)), None
    for given_x in (x, x.tolist(), np.repeat(x, 2, axis=0)[::2], np.asfortranarray(x)):
        _, found = loss_and_gradient(cell, params, given_x, target, h_0=h_0, engine="numba")
        expected = expected or found
        assert {name: v.tobytes() for name, v in found.items()} == {n: v.tobytes() for n, v in expected.items()}
    with pytest.raises(ConfigurationError, match="target: shape"):
        loss_and_gradient(cell, params, x, target[1:], engine="numba")
    with pytest.raises(ConfigurationError, match="engine"):
        loss_and_gradient(cell, params, x, target, engine="numbas")
    with pytest.raises(ConfigurationError, match="reduction"):
        loss_and_gradient(cell, params, x, target, reduction=["mean"], engine="numba")


def test_loss_and_gradient_of_what_one_piece_cannot_do():
    cell, params, x, h_0 = network(Elman, T=9)
    classes = np.arange(18).reshape(9, 2) % 2
    for loss, target, scheme in (
        ("softmax_cross_entropy", classes, None),
        ("squared_error", classes[..., None] + np.zeros(2), Chunked(3)),
        ("squared_error", np.ones((9, 2, 2), np.float32), None),
    ):
        one = loss_and_gradient(cell, params, x, target, loss=loss, h_0=h_0, scheme=scheme, engine="numba")
        other = loss_and_gradient(cell, params, x, target, loss=loss, h_0=h_0, scheme=scheme)
        assert one[0] == pytest.approx(other[0], rel=1e-12)
        assert_agree(one[1], other[1])


def test_errors_of_loss_and_gradient_are_those_of_its_parts():
    cell, params, x, _ = network(Elman, T=4)
    target = np.zeros((4, 2, 2))
    with pytest.raises(DivergedError, match="the loss"):
        loss_and_gradient(cell, params, x, np.full((4, 2, 2), 1e200), engine="numba")
    with pytest.raises(ConfigurationError, match="mask"):
        loss_and_gradient(cell, params, x, target, np.zeros(4), engine="numba")
    with pytest.raises(ConfigurationError, match="reduction"):
        loss_and_gradient(cell, params, x, target, reduction="men", engine="numba")
    with pytest.raises(NonFiniteError, match="x: not finite at step t = 1"):
        loss_and_gradient(cell, params, x * np.inf, target, engine="numba")
    trace, _ = long_linear(4.0, 700)
    wanted = np.ones_like(trace.y_hat)
    with pytest.raises(GradientRangeError):
        loss_and_gradient(trace.cell, trace.params, trace.x, wanted, engine="numba")


# ------------------------------------------------------------------ products


@dtypes
@given(st.data(), st.sampled_from(["log", "all", "triangle"]))
def test_norms_of_products_are_those_of_the_cells(dtype, data, which):
    trace, fast, errors = data.draw(traces(dtype))
    one, other = (jacobian_products(way, errors, which, count=4) for way in (fast, trace))
    tolerance = agreement(trace.h.dtype)
    for name in ("log_spectral_norm", "log_frobenius_norm", "log_state_gradient"):
        np.testing.assert_allclose(one[name], other[name], rtol=10 * tolerance, atol=10 * tolerance)
    np.testing.assert_allclose(one["alignment"], other["alignment"], atol=1e-6 if trace.h.dtype == float else 0.05)


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_norms_of_products_beyond_the_range_of_floats(factor, monkeypatch):
    monkeypatch.setattr("bpttlab.measures.product_norms.PRODUCT_NUMBERS", 100)  # several calls
    trace, errors = long_linear(factor, 700)
    frame = jacobian_products(trace, errors, "all")
    np.testing.assert_allclose(frame["log_spectral_norm"], frame["lag"] * np.log(factor), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(frame["log_frobenius_norm"], frame["lag"] * np.log(factor), rtol=1e-13, atol=1e-13)


@dtypes
@given(st.data(), st.integers(3, 5), st.none() | st.integers(0, 8))
def test_lag_terms_and_truncations_are_those_of_the_cells(dtype, data, lags, max_lag):
    trace, fast, errors = data.draw(traces(dtype))
    one, other = (measure_lags(way, errors, "log", lags, max_lag) for way in (fast, trace))
    for table in ("lag_terms", "truncations"):
        found, expected = getattr(one, table), getattr(other, table)
        assert set(found) == set(expected)
        for name in expected:
            if name in ("parameter", "scheme", "origin", "draws"):
                assert found[name].tolist() == expected[name].tolist()
            elif name.startswith("log_") or name in ("lag", "truncation", "steps_computed"):
                tolerance = 1e4 * agreement(trace.h.dtype)  # of sums that cancel
                np.testing.assert_allclose(
                    found[name], expected[name], rtol=min(0.1, tolerance), atol=min(0.1, tolerance)
                )


@pytest.mark.parametrize(
    ("make", "engine"),
    [(make, "numpy") for make in (Elman, LSTM, GRU)]
    + [(Elman, "numba"), *(pytest.param(make, "numba", marks=pytest.mark.slow) for make in (LSTM, GRU))],
)
def test_lags_summed_first_equal_the_sum_of_terms(make, engine):
    cell, params, x, h_0 = network(make, T=40, B=3, N=4)
    trace = forward(cell, params, x, h_0, engine=engine)
    errors = np.random.default_rng(1).standard_normal(trace.y_hat.shape)
    errors[[3, 4, 9, 20]] = 0.0
    every, some = (measure_lags(trace, errors, which, 6) for which in ("all", "log"))
    of_every, of_some = pd.DataFrame(every.truncations), pd.DataFrame(some.truncations)
    merged = of_some.merge(of_every, on=["parameter", "truncation"], suffixes=("", "_of_all"))
    assert len(merged) == len(of_some) == 5 * len(cell.recurrent_parameters)
    for name in ("log_norm", "cosine", "log_relative_bias"):
        np.testing.assert_allclose(merged[name], merged[f"{name}_of_all"], rtol=1e-9, atol=1e-9)


def test_a_product_that_is_not_finite_names_its_step():
    cell, params, x, h_0 = network(Elman, T=9)
    trace = forward(cell, params, x, h_0, engine="numba")
    broken = trace.h.copy()
    broken[4] = np.nan
    with pytest.raises(NonFiniteError, match="step t - lag = 4"):  # J_5 is the derivative at h_4
        jacobian_products(Trace(cell, params, x, broken, trace.y_hat, find_engine("numba")))


@given(st.integers(0, 2**32), st.lists(st.integers(1, 6), min_size=4, max_size=4))
def test_many_products_are_those_of_numpy(seed, sizes):
    M, Q, K, N = sizes
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((Q, M, K)).swapaxes(0, 1), rng.standard_normal((M, K, N))[::-1]
    out = np.full((M, Q, N), np.nan)
    assert dispatch.multiply(left, right, out) is out
    np.testing.assert_allclose(out, left @ right, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        INTERPRETED.dispatch.multiply(left, right, np.empty_like(out)), out, rtol=1e-12, atol=1e-14
    )
