"""Mantissa and exponent: the same numbers, at any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bpttlab.numerics.scaled import ZERO_EXPONENT, Scaled, dot, spectral_log_norm

floats = st.floats(-1e100, 1e100).filter(lambda value: value == 0 or abs(value) > 1e-100)
arrays = hnp.arrays(float, st.tuples(st.integers(1, 3), st.integers(1, 4)), elements=floats)


@given(arrays)
def test_of_and_value_are_inverse_to_the_last_bit(array):
    np.testing.assert_array_equal(Scaled.of(array).value(), array)
    np.testing.assert_array_equal(Scaled.whole(array).value(), array)


@given(arrays, st.integers(-(10**6), 10**6))
def test_addition_is_exact_at_any_exponent(array, exponent):
    one, other = (
        Scaled(array, np.full((len(array), 1), exponent)),
        Scaled(array[::-1], np.full((len(array), 1), exponent)),
    )
    total = one + other
    np.testing.assert_array_equal(total.mantissa, array + array[::-1])


def test_a_row_of_zeros_outweighs_nothing():
    zeros = Scaled(np.zeros((1, 2)), np.array([[5000]]))
    small = Scaled(np.ones((1, 2)), np.array([[-5000]]))
    assert (zeros + small).log_norm()[0] == pytest.approx(0.5 * np.log(2) - 5000 * np.log(2), rel=1e-15)
    assert (small + zeros).log_norm()[0] == pytest.approx(0.5 * np.log(2) - 5000 * np.log(2), rel=1e-15)


@given(arrays, st.integers(-5000, 5000))
def test_log_norm_is_that_of_numpy_shifted(array, exponent):
    scaled = Scaled(array, np.full((len(array), 1), exponent))
    largest = np.abs(array).max()
    if largest == 0:
        assert scaled.log_norm(2) == -np.inf
        return
    expected = np.log(np.linalg.norm(array / largest)) + np.log(largest) + exponent * np.log(2)
    assert scaled.log_norm(2) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_exact_zero_is_minus_infinity():
    assert Scaled.zeros((2, 3), float).log_norm().tolist() == [-np.inf, -np.inf]
    assert Scaled.of(np.zeros((1, 3))).exponent[0, 0] == ZERO_EXPONENT
    assert spectral_log_norm(Scaled.of(np.zeros((2, 3, 3)))).tolist() == [-np.inf, -np.inf]


def test_powers_beyond_every_float():
    matrix = Scaled.whole(np.array([[3.0, 1.0], [0.0, 2.0]]), 10**7)
    expected = np.log(np.linalg.norm([[3.0, 1.0], [0.0, 2.0]], 2)) + 10**7 * np.log(2)
    assert spectral_log_norm(matrix) == pytest.approx(expected, rel=1e-15)
    square = 2 * np.log(np.linalg.norm([3.0, 1.0, 2.0])) + 2e7 * np.log(2)
    assert dot(matrix, matrix).log_norm() == pytest.approx(square, rel=1e-15)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(-3000, 3000))
def test_spectral_norm_is_the_singular_value(seed, size, exponent):
    matrix = np.random.default_rng(seed).standard_normal((size, size))
    scaled = Scaled(matrix, np.full((size, 1), exponent))
    expected = np.log(np.linalg.svd(matrix, compute_uv=False)[0]) + exponent * np.log(2)
    assert float(spectral_log_norm(scaled)) == pytest.approx(expected, rel=1e-13, abs=1e-13)
