"""Values that are known exactly, or published: what any code of this kind has to reproduce."""

import numpy as np
import pytest
from scipy.special import comb

from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.propagation import propagate
from bpttlab.measures.jacobian_products import jacobian_products, measure_products
from bpttlab.measures.product_norms import horizons
from bpttlab.measures.recurrent_matrix import origin_jacobian
from bpttlab.networks.cells import GRU, LSTM, Antisymmetric, Elman, Leaky, MinimalRNN, Stacked
from bpttlab.networks.initializers import Orthogonal
from bpttlab.numerics.matrices import eigenvalues
from bpttlab.numerics.random_streams import stream
from bpttlab.numerics.scaled import LOG_2, Scaled
from bpttlab.truncation.segmented import PerLoss
from tests.support.networks import case, linear


def curves(trace):
    measured = measure_products(trace, None, "all", 1, 24, 0)
    return measured.columns["log_spectral_norm"], measured.log_frobenius_norm[:, 0]


@pytest.mark.parametrize("g", [0.7, 1.0, 1.3])
def test_a_scaled_rotation_stretches_every_direction_alike(g):
    W = Orthogonal(g).sample(stream("test", 0), 7)
    for curve in curves(linear(W, 300)):
        np.testing.assert_allclose(curve, np.arange(301) * np.log(g), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_a_scaled_rotation_over_a_hundred_thousand_steps():
    W = Orthogonal(0.9).sample(stream("test", 0), 4)
    spectral, frobenius = curves(linear(W, 100_000))
    assert abs(spectral[-1] - 100_000 * np.log(0.9)) < 1e-9 * 100_000 * abs(np.log(0.9))
    assert abs(frobenius[-1] - 100_000 * np.log(0.9)) < 1e-9 * 100_000 * abs(np.log(0.9))


def test_permutations_are_exact():
    permutation = np.eye(5)[[2, 0, 4, 1, 3]]
    lags = np.arange(51)
    for curve in curves(linear(permutation, 50)):
        np.testing.assert_allclose(curve, 0.0, atol=1e-15)
    for curve in curves(linear(permutation / 8.0, 50)):
        np.testing.assert_allclose(curve, -3.0 * lags * LOG_2, rtol=1e-15, atol=1e-15)


def test_a_nilpotent_shift_is_exactly_zero_from_its_size_on():
    spectral, frobenius = curves(linear(np.eye(6, k=1), 20))
    np.testing.assert_allclose(spectral[:6], 0.0, atol=1e-15)
    assert (spectral[6:] == -np.inf).all()
    assert (frobenius[6:] == -np.inf).all()


def jordan_block(size=8, eigenvalue=0.9):
    return eigenvalue * np.eye(size) + np.eye(size, k=1)


def check_jordan_entries(lag):
    trace = linear(jordan_block(), lag)
    rows = Scaled.of(np.eye(8)[:, None, None])
    for step in propagate(trace, np.array([lag]), rows):
        product = step.dh
    with np.errstate(divide="ignore"):
        measured = np.log(product.mantissa[0, 0, 0]) + product.exponent[0, 0, 0] * LOG_2
    j = np.arange(8)
    expected = np.log(comb(lag, j, exact=False)) + (lag - j) * np.log(0.9)
    np.testing.assert_allclose(measured, expected, rtol=1e-9)


def test_a_jordan_block_has_binomial_entries():
    check_jordan_entries(3000)


@pytest.mark.slow
def test_jordan_block_has_binomial_entries_at_1e5_steps():
    check_jordan_entries(100_000)


def test_a_jordan_block_grows_before_it_decays():
    spectral, _ = curves(linear(jordan_block(), 400))
    assert horizons(spectral[:, None]) == (2, 317, False)


def test_the_latch():
    """x = tanh(1.5 x): where it rests, and the slope there (Bengio, Simard & Frasconi 1994)."""
    cell = Elman(1, 1, 1)
    params = {
        "V": np.zeros((1, 1)),
        "W": np.array([[1.5]]),
        "b_h": np.zeros(1),
        "U": np.ones((1, 1)),
        "b_y": np.zeros(1),
    }
    trace = forward(cell, params, np.zeros((100, 1, 1)), np.array([[0.5]]))
    assert trace.h[-1, 0, 0] == pytest.approx(0.858560, rel=1e-5)
    assert trace.jacobian(100)[0, 0, 0] == pytest.approx(0.394313, rel=1e-5)


@pytest.mark.parametrize(("b", "branch"), [(-2.655610, 1.0), (-2.344390, -1.0)])
def test_the_folds_of_the_one_unit_network(b, branch):
    """x = 5 sigma(x) + b has a double root where the Jacobian of h = sigma(5 h + b) is one."""
    h = 0.5 * (1.0 + branch * np.sqrt(1.0 - 4.0 / 5.0))
    fold = np.log(h / (1.0 - h)) - 5.0 * h
    assert fold == pytest.approx(b, rel=1e-6)
    cell = Elman(1, 1, 1, "logistic")
    params = {
        "V": np.zeros((1, 1)),
        "W": np.array([[5.0]]),
        "b_h": np.array([fold]),
        "U": np.ones((1, 1)),
        "b_y": np.zeros(1),
    }
    trace = forward(cell, params, np.zeros((1, 1, 1)), np.array([[h]]))
    assert trace.h[1, 0, 0] == pytest.approx(h, rel=1e-12)
    assert trace.jacobian(1)[0, 0, 0] == pytest.approx(1.0, rel=1e-12)


def influence_balancing(T=400):
    """Tallec & Ollivier 2018a: 23 units in a chain, 10 of them driven by +theta, 13 by -theta."""
    signs = np.array([1.0] * 10 + [-1.0] * 13)
    cell = Elman(1, 23, 1, "identity")
    params = {
        "V": np.zeros((23, 1)),
        "W": 0.5 * np.eye(23) + 0.5 * np.eye(23, k=1),
        "b_h": signs,
        "U": np.eye(1, 23),
        "b_y": np.zeros(1),
    }
    trace = forward(cell, params, np.zeros((T, 1, 1)))
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    return trace, errors, signs


def test_influence_balancing_has_the_wrong_sign_when_it_is_cut():
    trace, errors, signs = influence_balancing()
    assert signs @ backward(trace, errors)["b_h"] == pytest.approx(-6.0, rel=1e-4)
    for K in (1, 5, 10):
        assert signs @ backward(trace, errors, PerLoss(K))["b_h"] > 0.0


def test_the_curse_of_memory():
    """h_t = lambda h_{t-1} + noise: bounded states, exploding sensitivity to lambda (Zucchet & Orvieto 2024)."""
    cell = Elman(1, 1, 1, "identity")
    decay = 0.9
    params = {name: np.ones(shape) for name, shape in cell.parameter_shapes().items()}
    params |= {"W": np.array([[decay]]), "b_h": np.zeros(1), "b_y": np.zeros(1)}
    trace = forward(cell, params, np.random.default_rng(0).standard_normal((150, 40_000, 1)))
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    da = trace.walk(trace.error(errors), full_plan(150)).da
    sensitivity = (da * trace.h[:-1]).sum(axis=0)[:, 0]  # dh_T/dlambda of every sequence
    assert np.mean(trace.h[-1] ** 2) == pytest.approx(1 / (1 - decay**2), rel=0.05)
    assert np.mean(sensitivity**2) == pytest.approx((1 + decay**2) / (1 - decay**2) ** 3, rel=0.05)


def test_the_cat_map():
    """W = [[2, 1], [1, 1]] is symmetric: the spectral norm grows by exactly its eigenvalue's logarithm."""
    spectral, _ = curves(linear([[2.0, 1.0], [1.0, 1.0]], 200))
    np.testing.assert_allclose(spectral, 0.9624236501192069 * np.arange(201), rtol=1e-12, atol=1e-14)


def test_the_log_determinant_of_a_tanh_network():
    """(1/N) log|det J_t| = (1/N) log|det W| + <log f'>, with log f' = -2 log cosh a."""
    trace = case(T=20, N=6, B=2, seed=5).trace
    a = trace.cell.project(trace.params, trace.x) + trace.h[:-1] @ trace.params["W"].T
    measured = np.array([np.linalg.slogdet(trace.jacobian(t))[1] for t in range(1, 21)]) / 6
    log_slope = -2.0 * np.log(np.cosh(a))
    expected = np.linalg.slogdet(trace.params["W"])[1] / 6 + log_slope.mean(axis=-1)
    np.testing.assert_allclose(measured, expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.3, 3.0])
def test_a_hundred_thousand_steps_of_tanh_have_finite_logarithms(rho):
    rng = np.random.default_rng(1)
    cell = Elman(2, 8, 1)
    trace = forward(cell, cell.init(rng, spectral_radius=rho), rng.standard_normal((100_000, 1, 2)))
    frame = jacobian_products(trace, np.ones_like(trace.y_hat))
    assert frame["lag"].max() == 100_000
    for column in ("log_spectral_norm", "log_frobenius_norm", "log_state_gradient"):
        assert np.isfinite(frame[column]).all()
    assert frame["log_spectral_norm"].abs().max() > 1000.0


# ------------------------------------------------------------------------------------------ at the origin


def drawn(cell, biases=0.0, seed=0):
    """Weights drawn, biases zero but for the forget gate's."""
    params = cell.init(np.random.default_rng(seed), spectral_radius=0.9)
    bias = params.get("b_h")
    if bias is not None:
        params["b_h"] = np.zeros_like(bias)
        if isinstance(cell, LSTM):
            params["b_h"][cell.hidden_size : 2 * cell.hidden_size] = biases
    return params


def sigma(a):
    return 1.0 / (1.0 + np.exp(-a))


def characteristic(values):
    """Coefficients of the polynomial with these zeros: no order, and no ill-conditioned zeros."""
    return np.poly(values)


@pytest.mark.parametrize("forget", [0.0, 1.0, 3.0])
def test_the_lstm_at_the_origin(forget):
    cell = LSTM(2, 6, 1)
    params = drawn(cell, forget)
    inner = sigma(forget) + 0.25 * eigenvalues(cell.recurrent_blocks(params)["W_g"])
    J = origin_jacobian(cell, params)
    np.testing.assert_allclose(np.poly(J), characteristic([*inner, *np.zeros(6)]), atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (GRU(2, 6, 1), lambda block: 0.5 + 0.25 * block),
        (MinimalRNN(2, 6, 1), lambda block: 0.5 + 0.0 * block),
        (Leaky(2, 6, 1, alpha=0.3), lambda block: 0.7 + 0.3 * block),
        (Leaky(2, 6, 1, alpha=0.3, activation="logistic"), lambda block: 0.7 + 0.3 * 0.25 * block),
    ],
    ids=["gru", "minimal_rnn", "leaky", "leaky, logistic"],
)
def test_cells_at_the_origin(cell, expected):
    params = drawn(cell)
    inner = expected(eigenvalues(next(iter(cell.recurrent_blocks(params).values()))))
    J = origin_jacobian(cell, params)
    assert J.dtype == np.float64
    np.testing.assert_allclose(np.poly(J), characteristic(inner), rtol=1e-12, atol=1e-12)


def test_the_antisymmetric_cell_at_the_origin():
    cell = Antisymmetric(2, 6, 1, epsilon=0.4, gamma=0.1)
    params = drawn(cell)
    W = params["W"]
    inner = 1.0 + 0.4 * eigenvalues(W - W.T - 0.1 * np.eye(6))
    np.testing.assert_allclose(np.poly(origin_jacobian(cell, params)), characteristic(inner), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("at_rest", [True, False])
def test_stack_at_origin_has_eigenvalues_of_its_layers(at_rest):
    """With zero biases h of layer 1 stays zero, and layer 2 is at its own origin; with others it is not."""
    cell = Stacked(2, 4, 1, of="elman")
    params = cell.init(np.random.default_rng(0), spectral_radius=0.9)
    for name in ("b_h_1", "b_h_2"):
        params[name] = np.zeros(4) if at_rest else np.ones(4)
    layers = [eigenvalues(origin_jacobian(one, cell.layer_params(params, i) | {"U": params["U"], "b_y": params["b_y"]}))
              for i, one in enumerate(cell.cells)]  # fmt: skip
    found = np.poly(origin_jacobian(cell, params))
    alike = np.allclose(found, characteristic(np.concatenate(layers)), rtol=1e-12, atol=1e-12)
    assert alike == at_rest
