"""A saturated unit is not a dead one: derivatives are those of the pre-activation, not of the rounded state."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

import bpttlab as lab
from bpttlab.gradients.compiled import elementary, walks
from bpttlab.networks import losses
from bpttlab.networks.activations import ACTIVATIONS, find_activation
from bpttlab.networks.cells import Elman
from tests.support.compiled import quick_dtypes
from tests.support.networks_of_cells import every_cell

NEEDS_LOOPS = pytest.mark.skipif("not has_numba()")
ENGINES = ["numpy", pytest.param("numba", marks=NEEDS_LOOPS)]


def has_numba():
    return hasattr(walks.walk_back, "py_func")


EXACT = {
    "tanh": lambda a: 4 * mp.exp(-2 * abs(a)) / (1 + mp.exp(-2 * abs(a))) ** 2,
    "logistic": lambda a: mp.exp(-abs(a)) / (1 + mp.exp(-abs(a))) ** 2,
    "softplus": lambda a: 1 / (1 + mp.exp(-a)),
}
COMPILED = {"tanh": elementary.tanh_and_slope, "logistic": elementary.logistic_and_slope}
TINY = float(np.finfo(np.float64).tiny)


def exact_slope(name, a):
    with mp.workdps(40):
        return EXACT[name](mpf(float(a)))


@pytest.mark.parametrize("name", sorted(EXACT))
@given(a=st.floats(-800.0, 800.0))
def test_slopes_are_exact_wherever_they_are_normal(name, a):
    exact = exact_slope(name, a)
    found = [float(find_activation(name).slope(np.array([a]))[0])]
    if name in COMPILED:
        found.append(float(COMPILED[name](a)[1]))
    for slope in found:
        if exact >= TINY * (1.0 + 1e-15):
            assert abs(slope - exact) <= 1e-15 * exact
        else:
            assert slope in (0.0, TINY)


@pytest.mark.parametrize("name", sorted(EXACT))
@given(a=st.floats(-1e5, 1e5))
def test_logarithms_of_slopes_have_no_range(name, a):
    with mp.workdps(40):
        exact = float(mp.log(exact_slope(name, a)))
    assert find_activation(name).log_slope(np.array([a]))[0] == pytest.approx(exact, rel=1e-15, abs=1e-15)


def slow_dtype(dtype):
    """The mark of what compiles loops of a dtype for this test alone."""
    return [] if dtype in quick_dtypes("numba") else [pytest.mark.slow]


SATURATED = [
    ("tanh", 18.0, "float64", np.log(4.0) - 36.0),
    ("tanh", 20.0, "float64", np.log(4.0) - 40.0),
    ("tanh", -354.5, "float64", np.log(4.0) - 709.0),
    ("tanh", -9.0109, "float32", -16.6355),
    ("tanh", 44.0, "float32", np.log(4.0) - 88.0),
    ("logistic", 40.0, "float64", -40.0),
    ("logistic", -700.0, "float64", -700.0),
    ("logistic", 87.0, "float32", -87.0),
    ("softplus", -600.0, "float64", -600.0),
]


@pytest.mark.parametrize(
    ("engine", "name", "a", "dtype", "expected"),
    [("numpy", *unit) for unit in SATURATED]
    + [pytest.param("numba", *unit, marks=[NEEDS_LOOPS, *slow_dtype(unit[2])]) for unit in SATURATED],
)
def test_the_jacobian_of_one_saturated_unit(engine, name, a, dtype, expected):
    trace = one_unit(name, a, dtype, engine)
    relative = 1e-14 if dtype == "float64" else 3e-7
    assert np.log(float(trace.jacobian(1)[0, 0, 0])) == pytest.approx(
        expected, rel=max(relative, 1e-6 * (a == -9.0109))
    )
    assert trace.underflows == 0


def one_unit(name, a, dtype="float64", engine="numpy"):
    """V = W = U = 1 and no biases, one step from zero with input a."""
    cell = Elman(1, 1, 1, activation=name)
    params = {key: np.full(shape, key in "VWU", dtype) for key, shape in cell.parameter_shapes().items()}
    return lab.forward(cell, params, np.full((1, 1, 1), a, dtype), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "a", "count"), [("tanh", 400.0, 1), ("logistic", -720.0, 1), ("relu", -3.0, 0)])
def test_what_is_below_the_range_is_counted(engine, name, a, count):
    trace = one_unit(name, a, engine=engine)
    assert trace.jacobian(1).item() == 0.0
    assert trace.underflows == count


@every_cell
def test_jacobians_of_saturated_cells_are_the_complex_step(make):
    """Gates and units at |a| of 10 to 60, where 1 - h^2 and h (1 - h) are zero; entry by entry."""
    cell = make(2, 4, 1)
    rng = np.random.default_rng(3)
    params = {key: rng.standard_normal(shape) for key, shape in cell.parameter_shapes().items()}
    for key in params:
        params[key] = params[key] * (20.0 if key.startswith(("V", "b_h", "b_z")) else 1.0)
    h_prev = 0.9 * rng.uniform(-1.0, 1.0, (1, cell.state_size))
    trace = lab.forward(cell, params, rng.standard_normal((1, 1, 2)), h_prev)
    found, z_1 = trace.jacobian(1)[0], cell.project(params, trace.x)[0]
    for m in range(cell.state_size):
        moved = h_prev.astype(complex)
        moved[0, m] += 1e-30j
        exact = cell.step(params, z_1, moved)[0].imag / 1e-30
        np.testing.assert_allclose(found[:, m], exact, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("output", sorted(set(ACTIVATIONS) - {"relu", "softplus"}))
def test_the_gradient_through_a_saturated_readout(engine, output):
    """f_y' at a = 25, too: 1 - y^2 and y (1 - y) are zero there."""
    cell = Elman(1, 2, 1, output_activation=output)
    params = {key: np.full(shape, 0.5) for key, shape in cell.parameter_shapes().items()} | {"b_y": np.full(1, 25.0)}
    trace = lab.forward(cell, params, np.ones((3, 2, 1)), engine=engine)
    gradient = lab.backward(trace, losses.Loss(0.0, np.ones_like(trace.y_hat)))["b_y"]
    a = trace.h[1:] @ params["U"].T + params["b_y"]
    exact = sum(1 if output == "identity" else exact_slope(output, one) for one in a.ravel())
    assert gradient[0] == pytest.approx(float(exact), rel=1e-13)


def test_a_prediction_that_is_nearly_right_still_has_a_slope():
    slope = losses.find_loss("softmax_cross_entropy").slope(np.array([[[60.0, 0.0, 1.0]]]), np.array([[0]]))
    np.testing.assert_allclose(slope[0, 0, 0], -np.exp(-60.0) * (1.0 + np.e), rtol=1e-14)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cotangent_passes_saturated_steps_and_grows_again(engine):
    """40 steps at rest that multiply by W = 2^34, then two with slopes of e^-399: e^-797 on the way to e^+190."""
    cell, T, W = Elman(1, 1, 1), 42, 2.0**34
    params = {
        "V": np.ones((1, 1)),
        "W": np.full((1, 1), W),
        "b_h": np.zeros(1),
        "U": np.ones((1, 1)),
        "b_y": np.zeros(1),
    }
    x = np.zeros((T, 1, 1))
    x[T - 2 :, 0, 0] = 200.0, 200.0 - W
    trace = lab.forward(cell, params, x, engine=engine)
    errors = np.zeros((T, 1, 1))
    errors[-1] = 1.0
    exact = 2.0 * (np.log(4.0) - 400.0) + T * 34.0 * np.log(2.0)
    assert lab.backward(trace, errors, scaled=True)["h_0"].log_norm().item() == pytest.approx(exact, rel=1e-13)
    assert lab.jacobian_products(trace)["log_spectral_norm"].iloc[-1] == pytest.approx(exact, rel=1e-13)
    if engine == "numba":  # which takes the scaled way where plain numbers are not enough
        assert np.log(lab.backward(trace, errors)["h_0"].item()) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("V", [10.0, 30.0])
def test_mean_exponent_of_saturation_is_the_determinant(V, engine):
    run = lab.run(
        {
            "cell": {"name": "elman", "hidden_size": 32},
            "spectral_radius": 1.5,
            "scales": {"V": V},
            "measure": {"exponents": "all"},
            "sequence_length": 100,
            "seed": 1,
            "engine": engine,
        }
    ).run
    assert run["mean_exponent"] < -10.0
    assert run["underflows"] == 0
    assert abs(run["determinant_residual"]) <= 1e-12 * abs(run["mean_exponent"])
