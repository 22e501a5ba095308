"""The two rates, and what they promise of products and powers."""

import math

import numpy as np
import pytest

from bpttlab.networks import activations
from bpttlab.numerics import matrices
from bpttlab.theory import asymptote_rate, bound_rate


@pytest.mark.parametrize(
    ("name", "rate"),
    [("tanh", math.log(2)), ("relu", math.log(2)), ("identity", math.log(2)), ("logistic", -math.log(2))],
)
def test_bound_rate_holds_the_largest_slope(name, rate):
    assert bound_rate(2.0, activations.find_activation(name).lipschitz) == pytest.approx(rate, rel=1e-15)


@pytest.mark.parametrize("name", ["tanh", "relu", "identity", "logistic"])
def test_the_largest_slope_is_the_supremum(name):
    activation = activations.find_activation(name)
    slopes = activation.slope(np.linspace(-5.0, 5.0, 10001))
    assert slopes.max() == pytest.approx(activation.lipschitz, rel=1e-12)


def test_a_zero_matrix_vanishes_at_once():
    assert bound_rate(0.0, 1.0) == -math.inf
    assert asymptote_rate(0.0) == -math.inf


@pytest.mark.parametrize("name", ["tanh", "logistic"])
def test_no_product_exceeds_the_bound(name):
    activation, rng = activations.find_activation(name), np.random.default_rng(0)
    W, product = 1.5 * rng.standard_normal((10, 10)) / math.sqrt(10), np.eye(10)
    rate = bound_rate(matrices.largest_singular_value(W), activation.lipschitz)
    for lag in range(1, 30):
        product = activation.slope(rng.standard_normal(10))[:, None] * W @ product
        assert math.log(np.linalg.norm(product, 2)) <= lag * rate


def test_powers_tend_to_the_asymptote():
    W = np.array([[0.9, 5.0], [0.0, 0.8]])
    grown = math.log(np.linalg.norm(np.linalg.matrix_power(W, 2000), 2)) / 2000
    assert grown == pytest.approx(asymptote_rate(matrices.spectral_radius(W)), abs=0.003)
    assert asymptote_rate(matrices.spectral_radius(W)) == pytest.approx(math.log(0.9), rel=1e-14)
