"""A network that is fed its own prediction: its Jacobians, gradients and exponents are those of the whole map."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.measures.lyapunov import lyapunov_spectrum
from bpttlab.networks import losses
from bpttlab.networks.cells import GRU, LSTM, Diagonal, Elman, Noisy, Stacked
from bpttlab.networks.closed_loop import close_loop
from bpttlab.verification.gradient_check import COMPLEX_STEP_AGREEMENT, assert_agree, numerical_gradient
from bpttlab.verification.spectra import HENON

CELLS = {
    "elman": Elman(2, 3, 2),
    "elman, f_y = tanh": Elman(2, 3, 2, output_activation="tanh"),
    "elman, f_y = softplus": Elman(2, 3, 2, output_activation="softplus"),
    "gru": GRU(2, 3, 2),
    "lstm": LSTM(2, 3, 2),
    "diagonal": Diagonal(2, 3, 2),
    "stacked": Stacked(2, 3, 2, layers=2, of="gru"),
    "noisy": Noisy(2, 3, 2, of="lstm", dropout=0.3, noise=0.1),
}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))


def weights(cell, seed=0, gain=0.8):
    rng = np.random.default_rng(seed)
    return {name: gain * rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}


def run(cell, T=6, B=3, seed=0, push=0.0):
    """The closed loop of random weights from a random state, with something added to its predictions."""
    loop, rng = close_loop(cell, weights(cell, seed)), np.random.default_rng(seed + 1)
    x = loop.cell.extend_inputs(push * rng.standard_normal((T, B, 2)), rng=2)
    trace = forward(*loop, x, rng.standard_normal((B, loop.cell.state_size)))
    target = rng.standard_normal(trace.y_hat.shape)
    return trace, losses.evaluate("squared_error", trace.y_hat, target, np.ones(T)), target


@every_cell
def test_every_prediction_is_the_next_input(cell):
    trace, _, _ = run(cell, push=0.5)
    fed = trace.x.copy()
    fed[..., :2] += cell.read(trace.params, trace.h[:-1])
    driven = forward(cell, weights(cell), fed, trace.h[0])
    assert np.allclose(driven.h, trace.h, rtol=1e-12, atol=1e-13)
    assert np.allclose(driven.y_hat, trace.y_hat, rtol=1e-12, atol=1e-13)


@every_cell
def test_gradients_are_those_of_the_complex_step(cell):
    trace, loss, target = run(cell, push=0.5)
    exact = numerical_gradient(
        trace.cell,
        trace.params,
        trace.x,
        lambda y_hat: losses.total("squared_error", y_hat, target, np.ones(len(target))),
        trace.h[0],
    )
    assert_agree(backward(trace, loss), exact, COMPLEX_STEP_AGREEMENT)


@every_cell
def test_jacobians_are_those_of_the_composed_map(cell):
    trace, _, _ = run(cell)
    for n in range(cell.state_size):
        moved = trace.h[2].astype(complex)
        moved[:, n] += 1e-30j
        column = trace.cell.step(trace.params, trace.x[2].astype(complex), moved).imag / 1e-30
        assert np.allclose(trace.jacobian(3)[:, :, n], column, rtol=1e-11, atol=1e-13)


def test_a_linear_network_has_the_eigenvalues_of_w_and_the_loop():
    cell = Elman(2, 6, 2, activation="identity")
    loop = close_loop(cell, weights(cell, gain=0.4) | {"b_h": np.zeros(6), "b_y": np.zeros(2)})
    params = loop.params
    closed = params["W"] + params["V"] @ params["U"]
    trace = forward(*loop, np.zeros((3, 1, 2)), np.ones((1, 6)))
    assert np.allclose(trace.jacobian(2)[0], closed, rtol=1e-13)
    radii = np.sort(np.log(np.abs(np.linalg.eigvals(closed))))[::-1]
    exponents = lyapunov_spectrum(*loop, np.zeros((2000, 1, 2)))["lyapunov_exponent"]
    assert exponents.to_numpy() == pytest.approx(radii, abs=4e-3)


def test_the_exponents_sum_to_the_logarithm_of_the_determinants():
    trace, _, _ = run(CELLS["gru"], T=60, B=1)
    exponents = lyapunov_spectrum(trace.cell, trace.params, trace.x, trace.h[0], transient=0)["lyapunov_exponent"]
    determinants = [np.linalg.slogdet(trace.jacobian(t)[0])[1] for t in range(1, 61)]
    assert exponents.sum() == pytest.approx(np.mean(determinants), rel=1e-9)


def test_the_gradient_by_u_of_the_loop_is_a_sum_of_two():
    trace, loss, target = run(CELLS["elman"])
    found, step = backward(trace, loss), 1e-6

    def total(U):
        params = weights(CELLS["elman"]) | {"U": U}
        y_hat = forward(*close_loop(CELLS["elman"], params), trace.x, trace.h[0]).y_hat
        return losses.total("squared_error", y_hat, target, np.ones(len(target)))

    U = trace.params["U"]
    for place in np.ndindex(U.shape):
        move = np.zeros_like(U)
        move[place] = step
        both = found["U"][place] + found["F"][place]
        assert both == pytest.approx((total(U + move) - total(U - move)) / (2 * step), rel=1e-6, abs=1e-8)


def test_all_measures_and_schemes_take_the_loop():
    trace, loss, _ = run(CELLS["lstm"], T=9)
    assert np.isfinite(lab.truncation_bias(trace, loss, lab.PerLoss(3))["log_relative_bias"]).all()
    assert np.isfinite(lab.jacobian_products(trace, loss)["log_spectral_norm"]).all()
    assert np.isfinite(lab.lag_terms(trace, loss)["log_norm"]).all()


@pytest.mark.parametrize(
    ("cell", "params", "message"),
    [
        (Elman(2, 3, 1), None, "output_size=1: must be input_size = 2, for the prediction is the next input"),
        (Elman(1, 3, 1), {}, "params: has W; must have (U|b_y) of the readout"),
    ],
)
def test_what_cannot_be_closed_is_refused(cell, params, message):
    params = weights(cell) if params is None else {"W": np.eye(3)}
    with pytest.raises(ConfigurationError, match=message):
        close_loop(cell, params)


def henon(T):
    x, y, states = 0.1, 0.1, np.empty((T, 1, 2))
    for t in range(T):
        x, y = 1.0 - 1.4 * x * x + y, 0.3 * x
        states[t] = x, y
    return states[200:]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_an_echo_state_network_reproduces_the_exponent_of_henon(seed):
    states, cell = henon(3200), Elman(2, 100, 2)
    params = cell.init(seed, spectral_radius=0.3, scales=lab.Scales(V=1.0, b=0.5))
    h = forward(cell, params, states[:-1]).h[101:, 0]
    known = np.column_stack([h, np.ones(len(h))])
    trained = np.linalg.solve(known.T @ known + 1e-9 * np.eye(101), known.T @ states[101:, 0])  # ridge regression
    loop = close_loop(cell, params | {"U": trained[:-1].T, "b_y": trained[-1]})
    warm = forward(cell, params, states[:200])
    spectrum = lyapunov_spectrum(*loop, np.zeros((6000, 1, 2)), warm.h[-1], count=1)
    assert spectrum["lyapunov_exponent"].item() == pytest.approx(HENON[0], abs=0.03)
    driven = lyapunov_spectrum(cell, params, states, count=1)["lyapunov_exponent"].item()
    assert driven < -0.5  # the same network, fed the series, forgets: the chaos is in the loop
