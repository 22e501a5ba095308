"""Eigenvalues that a change of rank one moves out of the disk of the others."""

import math

import numpy as np
import pytest

from bpttlab.errors import ConfigurationError
from bpttlab.theory import rank_one_outlier


def drawn(size, seed, radius=0.5):
    """A Gaussian W of some spectral radius, and two unit vectors."""
    rng = np.random.default_rng(seed)
    W, u, v = rng.standard_normal((size, size)), rng.standard_normal(size), rng.standard_normal(size)
    return radius * W / np.abs(np.linalg.eigvals(W)).max(), u / np.linalg.norm(u), v / np.linalg.norm(v)


def outliers(W, u, v):
    """Real eigenvalues of W + u v^T outside the disk, the farthest first."""
    found = np.linalg.eigvals(W + np.outer(u, v))
    beyond = found[(np.abs(found) > np.abs(np.linalg.eigvals(W)).max() + 1e-9) & (np.abs(found.imag) < 1e-12)]
    return sorted(beyond.real, key=abs, reverse=True)


@pytest.mark.parametrize("size", [1, 2, 7, 30])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_is_an_eigenvalue_of_the_changed_matrix(size, sign):
    for seed in range(5):
        W, u, v = drawn(size, seed)
        v = sign * 3.0 * (v + 1.5 * u)
        expected = [*outliers(W, u, v), math.nan][0]  # the two of one small matrix are a complex pair
        assert rank_one_outlier(W, u, v) == pytest.approx(expected, rel=1e-9, nan_ok=size == 2 and seed == 0)


def test_it_solves_the_equation_of_the_determinant():
    W, u, v = drawn(12, 3)
    value = rank_one_outlier(W, u, u + 0.5 * v)
    assert (u + 0.5 * v) @ np.linalg.inv(value * np.eye(12) - W) @ u == pytest.approx(1.0, abs=1e-10)
    series = sum((u + 0.5 * v) @ np.linalg.matrix_power(W, k) @ u / value**k for k in range(300))
    assert series == pytest.approx(value, rel=1e-9)


def test_there_is_none_where_the_change_is_small():
    W, u, v = drawn(20, 0)
    assert not outliers(W, 0.01 * u, v)
    assert math.isnan(rank_one_outlier(W, 0.01 * u, v))
    assert math.isnan(rank_one_outlier(W, 0.0 * u, v))


def test_the_farther_one_of_two_is_found():
    assert rank_one_outlier(np.diag([0.5, -0.5]), np.array([1.0, -3.0]), np.array([1.0, 1.0])) == pytest.approx(
        outliers(np.diag([0.5, -0.5]), np.array([1.0, -3.0]), np.array([1.0, 1.0]))[0], rel=1e-12
    )


def test_of_no_matrix_it_is_vtu():
    assert rank_one_outlier(np.zeros((3, 3)), np.array([1.0, 2.0, 0.0]), np.array([1.0, 1.0, 5.0])) == pytest.approx(
        3.0
    )


def test_it_is_near_vtu_for_a_large_independent_matrix():
    W, u, v = drawn(400, 1)
    v = v + 1.5 * u
    assert rank_one_outlier(W, u, v) == pytest.approx(v @ u, abs=0.1)
    learnt = v + W @ u  # not independent of W: another term of the series counts
    assert rank_one_outlier(W, u, learnt) > learnt @ u + 0.05


@pytest.mark.parametrize(("u", "v"), [(np.ones(2), np.ones(3)), (np.ones(3), np.ones((3, 1)))])
def test_vectors_of_another_size_are_refused(u, v):
    with pytest.raises(ConfigurationError, match=r"u, v have shapes .*: must be \(3,\), as W is \(3, 3\)"):
        rank_one_outlier(np.eye(3), u, v)
