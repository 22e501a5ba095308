"""The slope of a random walk: its error against theory, and against the scatter between walks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.gradients.forward import forward
from bpttlab.measures.jacobian_products import growth_rate, measure_products
from bpttlab.networks.cells import LSTM, Elman
from bpttlab.numerics.random_walks import fit_increments, fit_slope, sum_of_correlations


def correlated(rng, walks, m, phi):
    """Increments of variance one, (walks, m), correlated as phi^k."""
    noise = rng.standard_normal((walks, m))
    increments = noise.copy()
    for step in range(1, m):
        increments[:, step] = phi * increments[:, step - 1] + np.sqrt(1.0 - phi**2) * noise[:, step]
    return increments


def scatter_over_error(x, walks):
    """Standard deviation of the slope between walks over the median of their errors."""
    slopes, errors = np.transpose([fit_slope(x, walk) for walk in walks])
    return slopes.std(ddof=1) / np.median(errors)


@given(st.lists(st.integers(1, 4), min_size=9, max_size=40), st.floats(-0.9, 0.9))
def test_the_error_is_that_of_the_increments(gaps, phi):
    """Of any lags: the slope's weights and the explicit covariance matrix of the points of the walk."""
    x = np.cumsum([1.0, *gaps])
    m = len(gaps)
    covariance = phi ** np.abs(np.subtract.outer(np.arange(m), np.arange(m)))
    sums = np.tril(np.ones((m + 1, m)), -1)
    centred = x - x.mean()
    weights = centred / (centred @ centred)
    assert sum_of_correlations(sums.T @ weights, phi) == pytest.approx(weights @ sums @ covariance @ sums.T @ weights)
    y = np.random.default_rng(m).standard_normal(m + 1).cumsum()
    slope, error = fit_slope(x, y)
    increments, drift = np.diff(y), (y[-1] - y[0]) / (x[-1] - x[0])
    found, variance = fit_increments(increments - drift * np.array(gaps))
    covariance = variance * found ** np.abs(np.subtract.outer(np.arange(m), np.arange(m)))
    assert slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert error == pytest.approx(np.sqrt(weights @ sums @ covariance @ sums.T @ weights))


def test_independent_increments_have_the_known_error():
    rng, m = np.random.default_rng(0), 400
    errors = [fit_slope(np.arange(m), rng.normal(0.1, 0.3, m).cumsum())[1] for _ in range(100)]
    assert np.median(errors) == pytest.approx(np.sqrt(1.2 * 0.3**2 / m), rel=0.03)


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("m", [16, 80, 400])
def test_the_error_is_the_scatter_between_walks(phi, m):
    walks = correlated(np.random.default_rng(3), 800, m, phi).cumsum(axis=1)
    assert 0.85 <= scatter_over_error(np.arange(float(m)), walks) <= 1.2


def test_of_points_around_a_line_the_error_is_too_large():
    noise = np.random.default_rng(4).standard_normal((400, 81))  # whose increments cancel
    assert scatter_over_error(np.arange(81.0), noise) < 0.5


def test_few_increments_have_no_error():
    assert np.isnan(fit_slope(np.arange(8.0), np.arange(8.0) ** 2)[1])
    assert fit_slope(np.arange(9.0), 3.0 * np.arange(9.0)) == (3.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [Elman(2, 32, 1), LSTM(2, 16, 1)], ids=["elman", "lstm"])
@pytest.mark.parametrize("seed", [0, 1])
def test_of_a_network_the_error_is_the_scatter_over_inputs(cell, seed):
    """T = 100, two sequences a trajectory, 60 trajectories of the same weights."""
    rng = np.random.default_rng(seed)
    params, growths = cell.init(rng, spectral_radius=1.3), []
    for _ in range(60):
        trace = forward(cell, params, rng.standard_normal((100, 2, 2)))
        growths.append(growth_rate(measure_products(trace, None, "log", 2, 3, 0).log_frobenius_norm, 0.2))
    scatter = np.std([growth.rate for growth in growths], ddof=1)
    assert 0.7 <= scatter / np.median([growth.error for growth in growths]) <= 1.4
