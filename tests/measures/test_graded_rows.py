"""One-sided Jacobi after a QR: singular values and left vectors of graded matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.measures.graded_rows import GradedRows, complete_rows, decompose_rows, orthogonalise, pairs


def draw_rows(size, seed, decades, width=None):
    """Well-conditioned unit rows, with lengths over so many decades in any order."""
    rng = np.random.default_rng(seed)
    unit = rng.standard_normal((size, width or size)) + 3.0 * np.eye(size, width or size)
    return GradedRows.normalise(unit, rng.uniform(-decades, 0.0, size) * np.log(10.0))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9])
def test_every_pair_of_rows_meets_once(size):
    met = [tuple(sorted(pair)) for first, second in pairs(size) for pair in zip(first, second, strict=True)]
    assert sorted(met) == [(i, j) for i in range(size) for j in range(i + 1, size)]


@given(st.integers(1, 9), st.integers(0, 1000), st.floats(0.0, 300.0))
def test_jacobi_keeps_the_gram_matrix_of_columns(size, seed, decades):
    rows = draw_rows(size, seed, decades)
    before = np.exp(rows.log)[:, None] * rows.unit
    determinant = rows.log.sum() + np.linalg.slogdet(rows.unit)[1]
    assert orthogonalise(rows)
    after = np.exp(rows.log)[:, None] * rows.unit
    np.testing.assert_allclose(rows.unit @ rows.unit.T, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(after.T @ after, before.T @ before, atol=1e-12)
    assert rows.log.sum() == pytest.approx(determinant, rel=1e-10, abs=1e-10)


@given(st.integers(1, 9), st.integers(0, 3), st.integers(0, 1000), st.floats(0.0, 300.0))
def test_a_decomposition_is_the_svd_at_any_range(size, more, seed, decades):
    rows = draw_rows(size, seed, decades, size + more)
    found = decompose_rows(GradedRows(rows.unit.copy(), rows.log.copy()))
    assert (np.diff(found.log) <= 0).all()
    assert sorted(found.row) == list(range(size))
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(size), atol=1e-12)
    whole = np.exp(rows.log)[:, None] * rows.unit
    values = np.linalg.svd(whole, compute_uv=False)
    np.testing.assert_allclose(np.exp(found.log), values, rtol=1e-10, atol=1e-13 * values[0])
    spectral = found.vectors.T @ (np.exp(2.0 * found.log)[:, None] * found.vectors)
    np.testing.assert_allclose(spectral, whole @ whole.T, atol=1e-12)
    determinant = rows.log.sum() + 0.5 * np.linalg.slogdet(rows.unit @ rows.unit.T)[1]
    assert found.log.sum() == pytest.approx(determinant, rel=1e-10, abs=1e-10)


def test_lengths_beyond_floats_are_the_diagonal_of_a_qr():
    """Rows e^-1000 apart: each value is what is left of a row when those before are taken out."""
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((6, 6))
    order = rng.permutation(6)
    rows = GradedRows.normalise(unit, -1000.0 * order)
    left = np.abs(np.diagonal(np.linalg.qr(unit[np.argsort(order)].T)[1]))
    found = decompose_rows(GradedRows(rows.unit.copy(), rows.log.copy()))
    np.testing.assert_allclose(found.log, -1000.0 * np.arange(6) + np.log(left), rtol=1e-13)
    assert (found.row == np.argsort(order)).all()
    np.testing.assert_allclose(np.abs(found.vectors), np.eye(6)[np.argsort(order)], atol=1e-15)


def test_equal_rows_leave_zeros_with_vectors():
    rows = GradedRows.normalise(np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0], [3.0, 4.0, 0.0]]), np.zeros(3))
    found = decompose_rows(rows)
    np.testing.assert_allclose(np.exp(found.log[:2]), [5.0 * np.sqrt(2.0), 1.0], rtol=1e-14)
    assert found.log[2] < -30.0
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(3), atol=1e-12)


def test_no_rows_have_no_values():
    found = decompose_rows(GradedRows(np.empty((0, 3)), np.empty(0)))
    assert [part.shape for part in found] == [(0,), (0, 0), (0,)]


def test_unknown_vectors_are_completed():
    vectors = complete_rows(
        np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), np.array([True, False, False])
    )
    np.testing.assert_array_equal(vectors[0], [0.6, 0.8, 0.0])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-15)
