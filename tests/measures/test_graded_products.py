"""Factors, sweeps and the bound of their rounding against literal products."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.measures.graded_products import (
    FROM_BLOCKS,
    LONGEST_FACTOR,
    MOST_PLAIN,
    Factor,
    amplify,
    careful_graded_product,
    factorise,
    find_condition,
    graded_product,
    make_powers_of_two,
    relative_error,
    sorted_qr,
    sweep_factors,
)
from bpttlab.numerics.matrices import row_sorted_qr
from tests.support.examples import examples


def multiply_exactly(factors):
    """The product of factors in mpmath."""
    product = mpmath.eye(factors[0].shape[1])
    for factor in factors:
        product = mpmath.matrix(factor.matrix.tolist()) * product * mpmath.mpf(2) ** factor.exponent
    return product


@st.composite
def graded_cores(draw):
    """Square matrices of one size, some of them with rows of very different sizes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    N, M, decades = draw(st.integers(1, 5)), draw(st.integers(1, 30)), draw(st.sampled_from([0, 2, 12]))
    return [10.0 ** rng.uniform(-decades, 0, (N, 1)) * rng.standard_normal((N, N)) for _ in range(M)]


@examples(60)
@given(graded_cores())
def test_factors_multiply_to_the_product(cores):
    factors = factorise(cores)
    with mpmath.workdps(400):
        whole = multiply_exactly([Factor(core) for core in cores])
        size = max(abs(entry) for entry in whole)
        for name, part in zip(factors._fields, factors, strict=True):
            product = multiply_exactly(part)
            product = product.T if name == "back" else product
            assert max(abs(entry) for entry in product - whole) < 1e-9 * size, name


def test_factors_have_as_many_steps_as_stay_well_conditioned():
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    factors = factorise([rotation] * (2 * LONGEST_FACTOR + 1))
    assert [len(part) for part in factors] == [1, 3, 3]
    assert [factor.condition < 10.0 for factor in factors.there] == [True] * 3
    steep = np.diag([1.0, 1e-2]) @ np.array([[1.0, 0.5], [0.5, -1.0]])
    factors = factorise([steep] * 8)
    assert max(factor.condition for factor in factors.there) <= 1e5 < max(factor.condition for factor in factors.few)
    assert len(factors.few) < len(factors.there)


def test_a_step_beyond_the_condition_is_taken_apart():
    A = np.diag([1.0, 1e-9]) @ np.array([[1.0, 2.0], [2.0, 1.0]])
    for factors in factorise([A]):
        assert [factor.noise is None for factor in factors] == [True, False, True]


@pytest.mark.parametrize("shape", [(6, 6), (40, 40), (6, 4), (4, 6)])
def test_condition_is_near_that_of_a_pivoted_qr(shape):
    rng = np.random.default_rng(0)
    for decades in (0, 2, 4):
        rows = 10.0 ** -np.linspace(0, decades, shape[0])[:, None]
        A = rows * np.linalg.qr(rng.standard_normal((max(shape), max(shape))))[0][: shape[0], : shape[1]]
        values = np.linalg.svd(A, compute_uv=False)
        assert 0.02 < find_condition(A) / (values[0] / values[-1]) < 5.0


@pytest.mark.parametrize("shape", [(3, 3), (2, 3)])
def test_a_singular_matrix_has_no_condition(shape):
    assert find_condition(np.zeros(shape)) == np.inf
    assert find_condition(np.ones((3, 3))) == np.inf


@pytest.mark.parametrize("decades", [4, 200])
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (7, 4), (4, 7), (FROM_BLOCKS, FROM_BLOCKS), (130, 100), (100, 130)])
def test_sorted_qr_is_that_of_numpy(shape, decades):
    rng = np.random.default_rng(0)
    Y = 10.0 ** rng.uniform(-decades, 0, (shape[0], 1)) * rng.standard_normal(shape)
    Q, R = sorted_qr(Y, moderate=decades < 10)
    expected_Q, expected_R = row_sorted_qr(Y)
    rank = min(shape)
    assert Q.shape == (shape[0], rank)
    assert R.shape == (rank, shape[1])
    assert not np.tril(R, -1).any()
    np.testing.assert_allclose(Q.T @ Q, np.eye(rank), atol=1e-13)
    assert (np.abs(Q @ R - Y) <= 1e-12 * np.abs(Y).max(axis=1, keepdims=True)).all()
    sign = np.sign(np.diagonal(R)) * np.sign(np.diagonal(expected_R))
    each = np.abs(expected_R).max(axis=1, keepdims=True)
    assert (np.abs(sign[:, None] * R - expected_R) <= 1e-9 * each).all()
    np.testing.assert_allclose(Q * sign, expected_Q, atol=1e-12)


def test_powers_of_two_end_at_both_ends():
    exponents = np.array([[-(2**40), -401, -400, -1, 0, 1, 5000]])
    np.testing.assert_array_equal(make_powers_of_two(exponents), [[0.0, 0.0, 2.0**-400, 0.5, 1.0, 1.0, 1.0]])


@examples(60)
@given(st.integers(1, 6), st.integers(0, 1000), st.sampled_from([1, 30, 3000]), st.sampled_from([0, 3, 150]))
def test_the_fast_graded_product_is_the_careful_one(size, seed, bits, decades):
    """To the last bit, where the matrix is moderate; where it is not, the careful one is called."""
    rng = np.random.default_rng(seed)
    R = np.triu(10.0 ** -rng.uniform(0, decades, (size, size)) * rng.standard_normal((size, size)))
    exponent, U = rng.integers(-bits, bits, size), np.triu(rng.uniform(0.5, 1.0, (size, size)))
    found, expected = graded_product(R, exponent, U), careful_graded_product(R, exponent, U)
    np.testing.assert_array_equal(found[0], expected[0])
    largest = np.abs(expected[1]).max(axis=1)
    assert ((largest >= 0.5) & (largest < 1.0)).all()
    np.testing.assert_allclose(found[1], expected[1], rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("decades", [0, 200])
def test_a_long_product_has_the_entries_of_mpmath(decades):
    """Longer than what is multiplied as plain numbers, with diagonal factors of any range between."""
    rng = np.random.default_rng(3)
    sizes = 10.0 ** -np.linspace(0, decades, 3)
    factors = [Factor(np.triu(rng.uniform(0.5, 1.0, (3, 3))), exponent=int(e)) for e in rng.integers(-900, 900, 20)]
    factors[5:5] = [Factor(np.diag(sizes), noise=np.zeros(3))] * 2
    assert len(factors) > 2 * MOST_PLAIN
    triangle = sweep_factors(factors, np.eye(3))
    with mpmath.workdps(2000):
        expected = multiply_exactly(factors)
        for i in range(3):
            for j in range(i, 3):
                entry = mpmath.mpf(float(triangle.Q[i, i] * triangle.U[i, j])) * mpmath.mpf(2) ** triangle.exponent[i]
                assert abs(entry / expected[i, j] - 1) < 1e-13


# ------------------------------------------------------------------------------------------ the bound of rounding


def bound_literally(steps):
    """`amplify` by its definition, of moderate triangles."""
    size = len(steps[0][0])
    product = np.eye(size)
    for R, _ in steps:
        product = R @ product
    value = np.log(np.abs(np.diagonal(product)))
    weight = np.exp(value - np.maximum(value[:, None], value))
    shear, Z = np.zeros((size, size)), np.eye(size)
    for R, L in reversed(steps):
        shear += weight * (np.abs(Z) @ L.left @ L.right @ np.abs(np.linalg.inv(Z)))
        Z = Z @ R
    return np.maximum(shear.sum(axis=0), shear.sum(axis=1))


@pytest.mark.parametrize("columns", [1, 4])
def test_the_bound_is_its_definition(columns):
    """|L| from errors that are equal in all columns, as one product of vectors, and from others."""
    rng = np.random.default_rng(0)
    steps = []
    for _ in range(6):
        Q, R = sorted_qr(rng.standard_normal((4, 4)), moderate=True)
        wrong = rng.uniform(0.0, 1e-10, (4, columns))
        L = relative_error(Q, R, wrong)
        literal = np.abs(Q).T @ np.broadcast_to(wrong, (4, 4)) @ np.abs(np.linalg.inv(R))
        np.testing.assert_allclose(L.left @ L.right, literal, rtol=1e-12)
        np.testing.assert_allclose(L.diagonal(), np.diagonal(literal), rtol=1e-12)
        steps.append((R, L))
    np.testing.assert_allclose(amplify(steps), bound_literally(steps), rtol=1e-9)


def test_a_zero_on_the_diagonal_bounds_nothing():
    Q, R = np.eye(2), np.array([[1.0, 2.0], [0.0, 0.0]])
    L = relative_error(Q, R, np.full((2, 1), 1e-16))
    assert not np.isfinite(L.diagonal()[1])
    assert np.isinf(amplify([(R, L), (np.eye(2), relative_error(Q, np.eye(2), np.zeros((2, 1))))])).all()
