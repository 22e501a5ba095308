"""Theory against published values, and against what networks do."""

import math

import mpmath
import numpy as np
import pytest
from scipy.stats import unitary_group

from bpttlab import theory
from bpttlab.errors import ConfigurationError
from bpttlab.measures.recurrent_matrix import origin_jacobian
from bpttlab.networks.cells import GRU, LSTM, Antisymmetric, Leaky, MinimalRNN
from bpttlab.theory.mean_field import slope_square, state_square
from bpttlab.verification.gradients import cliff

# ------------------------------------------------------------------------------------------ mean field


@pytest.mark.parametrize(("gain", "rate"), [(2.0, 0.1547), (3.0, 0.3102), (1.5, 0.0652), (0.8, -0.2231)])
def test_autonomous_networks(gain, rate):
    assert theory.mean_field(gain).rate == pytest.approx(rate, abs=5e-5)


@pytest.mark.parametrize(("variance", "gain"), [(0.05, 1.3270), (0.25, 1.5497), (1.0, 1.8556)])
def test_the_gain_at_which_a_driven_network_is_critical(variance, gain):
    found, q = theory.critical_gain(variance)
    assert found == pytest.approx(gain, abs=5e-5)
    assert theory.mean_field(found, variance) == pytest.approx((q, 1.0), rel=1e-10)


def test_the_critical_line_of_tanh():
    gain, q = theory.critical_gain(0.05)
    assert gain**2 == pytest.approx(1.76095, abs=1e-5)
    assert q == pytest.approx(0.57005, abs=1e-5)


@pytest.mark.parametrize("q", [1e-8, 1e-3, 0.5, 1.0])
def test_means_of_small_variances_are_those_of_gauss_hermite(q):
    """Its 180 points are exact to rounding while the poles of tanh are far away."""
    points, weights = np.polynomial.hermite_e.hermegauss(180)
    a, weights = np.sqrt(q) * points, weights / weights.sum()
    assert state_square(q) == pytest.approx(weights @ np.tanh(a) ** 2, rel=1e-11)
    assert slope_square(q) == pytest.approx(weights @ np.cosh(a) ** -4, rel=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("q", [1e-8, 1e-3, 0.5, 3.0, 100.0, 1e6])
def test_gaussian_means_are_right_to_many_digits(q):
    def mean(f):
        edge = min(12, 40 / math.sqrt(q))
        return 2 * mpmath.quad(lambda z: f(mpmath.sqrt(q) * z) * mpmath.npdf(z), [0, edge / 20, edge, 12])

    assert state_square(q) == pytest.approx(float(mean(lambda a: mpmath.tanh(a) ** 2)), rel=1e-11)
    assert slope_square(q) == pytest.approx(float(mean(lambda a: mpmath.sech(a) ** 4)), rel=1e-11)


@pytest.mark.parametrize("q", [1e6, 1e9])
def test_gaussian_means_of_large_variances_are_their_series(q):
    """The integrals of sech^2, sech^4 and of a^2 times each over the line are 2, 4/3, pi^2 / 6 and (pi^2 - 6) / 9."""
    density = 1 / math.sqrt(2 * math.pi * q)  # at 0; it falls by a^2 / 2 q
    assert state_square(q) == pytest.approx(1 - density * (2 - math.pi**2 / 12 / q), rel=1e-11)
    assert slope_square(q) == pytest.approx(density * (4 / 3 - (math.pi**2 - 6) / 18 / q), rel=1e-11)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0, 1.0 + 1e-9, 1.01, 2.0, 50.0])
@pytest.mark.parametrize("variance", [0.0, 1e-12, 0.3, 40.0])
def test_the_variance_reproduces_itself(gain, variance):
    field = theory.mean_field(gain, variance)
    assert field.q == pytest.approx(gain**2 * state_square(field.q) + variance, rel=1e-9)
    assert (field.q > 0) == (gain > 1.0 or variance > 0.0)


def test_a_network_at_rest():
    assert theory.mean_field(0.0).rate == -math.inf
    assert theory.mean_field(0.7) == (0.0, pytest.approx(0.49))
    assert theory.critical_gain() == (1.0, 0.0)
    with pytest.raises(ConfigurationError, match="gain=-1"):
        theory.mean_field(-1.0)
    with pytest.raises(ConfigurationError, match="variance=nan"):
        theory.critical_gain(math.nan)


def test_input_damps_and_so_moves_the_critical_gain_up():
    assert np.all(np.diff([theory.critical_gain(s)[0] for s in (0.0, 1e-6, 0.01, 1.0, 30.0)]) > 0)
    assert np.all(np.diff([theory.mean_field(2.0, s).rate for s in (0.0, 0.01, 1.0, 30.0)]) < 0)


def test_the_log_determinant_of_saturated_states():
    a = np.array([[0.0, 1.0], [400.0, -400.0]])
    expected = math.log(3.0) / 2 - 2.0 * (math.log(math.cosh(1.0)) + 800.0 - 2 * math.log(2.0)) / 4
    assert theory.tanh_log_determinant(math.log(3.0), a) == pytest.approx(expected, rel=1e-14)
    assert theory.tanh_log_determinant(-math.inf, a) == -math.inf


# ------------------------------------------------------------------------------------------ Gaussian matrices


def test_powers_of_a_gaussian_matrix():
    """At lag 1 the edge 2g of one Gaussian matrix; a mean square of one leaves the moments alone."""
    assert theory.log_sigma_max_of_power(1.5, 1) == pytest.approx(math.log(3.0))
    assert theory.log_sigma_max_of_power(1.5, 0) == 0.0
    assert theory.log_sigma_max_of_power(1.0, 2) == pytest.approx(0.5 * math.log(27 / 4))
    assert theory.log_sigma_max_of_power(0.0, 3) == -math.inf
    with pytest.raises(ConfigurationError, match="lag=-1"):
        theory.fourth_moment_of_power(-1)


def test_a_gaussian_matrix_has_these_powers():
    """A mean of ten at N = 200, where 5 % is left of finite size."""
    rng, grown, moments = np.random.default_rng(0), [], []
    for _ in range(10):
        W = rng.standard_normal((200, 200)) / math.sqrt(200)
        s = np.linalg.svd(W @ W @ W, compute_uv=False)
        grown.append(s[0])
        moments.append(np.mean(s**4) / np.mean(s**2) ** 2)
    assert np.mean(grown) == pytest.approx(math.exp(theory.log_sigma_max_of_power(1.0, 3)), rel=0.05)
    assert np.mean(moments) == pytest.approx(theory.fourth_moment_of_power(3), rel=0.08)


def test_an_orthogonal_product_has_no_spread():
    Q = unitary_group.rvs(5, random_state=0)
    s = np.linalg.svd(Q, compute_uv=False)
    assert np.mean(s**4) / np.mean(s**2) ** 2 == pytest.approx(theory.fourth_moment_of_power(0))


def test_newman_exponents():
    """At N = 1 the mean of log |z|; their sum is the mean log-determinant, of chi-square numbers."""
    assert theory.newman_exponents(1) == pytest.approx([0.5 * (math.log(2.0) + float(mpmath.digamma(0.5)))])
    rng = np.random.default_rng(0)
    draws = [np.linalg.slogdet(rng.standard_normal((4, 4)) * 0.7 / 2.0)[1] for _ in range(20_000)]
    assert theory.newman_exponents(4, 0.7).sum() == pytest.approx(
        np.mean(draws), abs=5 * np.std(draws) / math.sqrt(2e4)
    )
    assert np.all(np.diff(theory.newman_exponents(9)) < 0)


@pytest.mark.parametrize(("size", "gain"), [(2, 1.33), (10, 1.05)])
def test_means_grow_while_medians_decay_between_two_gains(size, gain):
    assert theory.typical_critical_gain(size) == pytest.approx(gain, abs=0.005)
    assert theory.newman_exponents(size, theory.typical_critical_gain(size))[0] == pytest.approx(0.0, abs=1e-15)


def test_the_scatter_of_a_growing_vector():
    """||W u||^2 is a chi-square number with N degrees of freedom."""
    rng = np.random.default_rng(1)
    draws = 0.5 * np.log(rng.chisquare(10, 100_000))
    assert theory.log_growth_variance(10) == pytest.approx(draws.var(), rel=0.02)
    assert theory.log_growth_variance(10, 200) == pytest.approx(200 * theory.log_growth_variance(10))


def test_relu():
    assert theory.relu_rate(math.sqrt(2.0)) == pytest.approx(0.0, abs=1e-15)
    assert theory.relu_rate(1.0) == pytest.approx(0.5 * math.log(0.5))
    assert theory.relu_rate(0.0) == -math.inf


# ------------------------------------------------------------------------------------------ at the origin

N = 6


def at_rest(cell, **gates):
    """Weights drawn, biases zero but for those of whole gates, by their place."""
    params = cell.init(np.random.default_rng(3), spectral_radius=0.9)
    for name in params:
        params[name] = params[name] * 0.0 if name.startswith("b") else params[name]
    for place, bias in gates.values():
        params["b_h"][place * N : (place + 1) * N] = bias
    return cell, params


@pytest.mark.parametrize(
    ("network", "block", "expected"),
    [
        (at_rest(LSTM(2, N, 1), f=(1, 1.5)), "W_g", lambda W: theory.lstm_at_origin(W, 1.5)),
        (
            at_rest(LSTM(2, N, 1), i=(0, -1.0), f=(1, 1.5), o=(3, 0.5)),
            "W_g",
            lambda W: theory.lstm_at_origin(W, 1.5, -1.0, 0.5),
        ),
        (at_rest(GRU(2, N, 1)), "W_n", theory.gru_at_origin),
        (at_rest(GRU(2, N, 1), r=(0, 2.0), u=(1, -1.0)), "W_n", lambda W: theory.gru_at_origin(W, 2.0, -1.0)),
        (at_rest(MinimalRNN(2, N, 1), u=(0, 1.2)), "W", lambda W: theory.minimal_rnn_at_origin(W, 1.2)),
        (at_rest(Leaky(2, N, 1, alpha=0.3)), "W", lambda W: theory.leaky_at_origin(W, 0.3)),
        (
            at_rest(Leaky(2, N, 1, alpha=0.3, activation="logistic")),
            "W",
            lambda W: theory.leaky_at_origin(W, 0.3, slope=0.25),
        ),
    ],
    ids=["lstm", "lstm, gates", "gru", "gru, gates", "minimal_rnn", "leaky", "leaky, logistic"],
)
def test_eigenvalues_at_the_origin(network, block, expected):
    cell, params = network
    found = np.poly(origin_jacobian(cell, params))
    predicted = np.poly(expected(cell.recurrent_blocks(params)[block]))
    np.testing.assert_allclose(found, predicted, rtol=1e-12, atol=1e-12)


def test_eigenvalues_of_the_antisymmetric_cell():
    cell, params = at_rest(Antisymmetric(2, N, 1, epsilon=0.4, gamma=0.1))
    found = theory.antisymmetric_at_origin(params["W"], 0.4, 0.1)
    np.testing.assert_allclose(np.poly(origin_jacobian(cell, params)), np.poly(found), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.real, 1.0 - 0.4 * 0.1, rtol=1e-12)


def test_the_largest_eigenvalue_comes_first():
    W = np.diag([-2.0, 1.0, 0.5])
    assert np.all(np.diff(np.abs(theory.gru_at_origin(W))) <= 0)
    assert theory.gru_at_origin(W)[0] == pytest.approx(0.75)


# ------------------------------------------------------------------------------------------ few units


def test_the_latch():
    assert theory.latch(1.5) == pytest.approx((0.858560, 0.394313), abs=1e-6)
    assert theory.latch(0.4) == (0.0, 0.4)
    for w in (1.0 + 1e-6, 1.2, 5.0, 300.0):
        state, slope = theory.latch(w)
        assert 0.0 < state <= 1.0
        assert state == pytest.approx(math.tanh(w * state), rel=1e-9)
        assert 0.0 <= slope < 1.0
    with pytest.raises(ConfigurationError, match="w=-2"):
        theory.latch(-2.0)


def test_the_folds():
    assert theory.folds(5.0) == pytest.approx((-2.655610, -2.344390), abs=1e-6)
    assert theory.folds(4.0) == pytest.approx((-2.0, -2.0))
    with pytest.raises(ConfigurationError, match="w=3"):
        theory.folds(3.0)


def test_between_the_folds_there_are_three_fixed_points():
    x = np.linspace(-10.0, 10.0, 100_001)

    def crossings(b):
        return np.count_nonzero(np.diff(np.sign(5.0 / (1.0 + np.exp(-x)) + b - x)))

    lower, upper = theory.folds(5.0)
    assert [crossings(b) for b in (lower - 0.01, lower + 0.01, upper - 0.01, upper + 0.01)] == [1, 3, 3, 1]


def test_the_wall_of_the_one_unit_error():
    """The steepest point of a grid of 301 x 241 values, (4.94, -2.575), is near it; it begins on the lower fold."""
    assert theory.wall(4.94, 0.5).bias == pytest.approx(-2.575, abs=1e-4)
    begin = 1.0 / theory.wall(1.0, 0.5).local
    wall = theory.wall(begin, 0.5)
    assert wall.slope == pytest.approx(1.0) and wall.sensitivity(50) == pytest.approx(50.0 * wall.local)
    assert wall.bias == pytest.approx(theory.folds(begin)[0], abs=1e-12)
    lower, upper = theory.folds(6.0)
    assert lower < theory.wall(6.0, 0.5).bias < upper


def test_the_largest_gradient_norm_is_of_the_grid():
    """The largest of a grid of 301 x 241 points, and that of a grid four times finer. No figure says either."""
    norm = {w: float(cliff(w, np.array([b])).norm[0]) for w, b in ((4.94, -2.575), (5.0525, -2.645))}
    assert norm == pytest.approx({4.94: 3320.0, 5.0525: 9632.0}, rel=1e-3)


def test_the_curse_of_memory():
    """Against the recursions for the second moments, run until they rest."""
    decay, hh, hs, ss = 0.9, 0.0, 0.0, 0.0
    for _ in range(2000):
        hh, hs, ss = decay**2 * hh + 1.0, decay * hh + decay**2 * hs, hh + 2 * decay * hs + decay**2 * ss
    assert theory.memory_moments(decay) == pytest.approx((hh, ss), rel=1e-12)
    with pytest.raises(ConfigurationError, match="decay=1"):
        theory.memory_moments(1.0)


@pytest.mark.parametrize("modulus", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_unit_of_the_ring(modulus, normalise):
    """Against sums over the lags k of |d(gamma l^k)/dnu|^2 and |d(gamma l^k)/dphi|^2, the derivatives by steps."""
    k, nu, step = np.arange(8000), math.log(-math.log(modulus)), 1e-4

    def weight(nu):
        gamma = math.sqrt(-math.expm1(-2.0 * math.exp(nu))) if normalise else 1.0
        return gamma * np.exp(-math.exp(nu) * k)

    slope = (weight(nu + step) - weight(nu - step)) / (2.0 * step)
    expected = ((weight(nu) ** 2).sum(), (slope**2).sum(), ((k * weight(nu)) ** 2).sum())
    assert theory.ring_moments(modulus, normalise) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ConfigurationError, match=r"modulus=1\.0"):
        theory.ring_moments(1.0, normalise)


def test_the_sensitivity_to_nu_tends_to_a_quarter():
    assert theory.ring_moments(1.0 - 1e-7).nu == pytest.approx(0.25, rel=1e-6)


def test_random_truncation():
    """Against the same recursion drawn."""
    b, c, p = 1.0, 0.6, 0.8
    rng, z = np.random.default_rng(0), np.zeros(200_000)
    for _ in range(80):
        z = b + np.where(rng.random(z.shape) < p, 1.0 / p, 0.0) * c * z
    moments = theory.random_truncation_moments(b, c, p)
    assert np.mean(z) == pytest.approx(moments.mean, rel=0.01)
    assert np.std(z) == pytest.approx(moments.deviation, rel=0.05)
    assert theory.random_truncation_moments(b, c, 1.0).deviation == pytest.approx(0.0, abs=1e-7)
    assert theory.random_truncation_moments(1.0, 0.9, 0.8).deviation == math.inf
    with pytest.raises(ConfigurationError, match="p=0"):
        theory.random_truncation_moments(1.0, 0.5, 0.0)


def test_cell_paths():
    assert theory.cell_path(1.0, 7) == pytest.approx(7 * math.log(1 / (1 + math.exp(-1.0))))
    assert theory.chrono_cell_path(50.0, 7) == pytest.approx(theory.cell_path(math.log(50.0), 7))
    assert theory.cell_path(-1000.0, 1) == -1000.0
    with pytest.raises(ConfigurationError, match="time=0"):
        theory.chrono_cell_path(0.0, 7)


def test_the_cell_path_of_an_lstm():
    cell, params = at_rest(LSTM(2, N, 1), f=(1, 1.5))
    params["W"] = params["W"] * 0.0
    J = origin_jacobian(cell, params)
    product = np.linalg.matrix_power(J, 20)[N:, N:]
    np.testing.assert_allclose(product, math.exp(theory.cell_path(1.5, 20)) * np.eye(N), rtol=1e-12)
