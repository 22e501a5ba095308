"""The largest singular value and its vector without the others, held against all of them by LAPACK."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.gradients.compiled import leading_pairs
from bpttlab.gradients.compiled.leading_pairs import ALONE, DirectNorms
from bpttlab.measures.product_norms import norm_and_alignment
from bpttlab.numerics.scaled import LOG_2, Scaled


@st.composite
def matrices(draw):
    """Some of one size: of any rank, rotations, far from normal, or with two leading values of a small distance."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, size = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3, 7, 16, 33, 48]))
    kind = draw(st.sampled_from(["of a rank", "rotations", "triangular", "two that lead"]))
    shape = (count, size, size)
    if kind == "of a rank":
        rank = draw(st.integers(0, size))
        found = rng.standard_normal((count, size, rank)) @ rng.standard_normal((count, rank, size))
    elif kind == "triangular":
        found = np.tril(rng.standard_normal(shape), -1)
    else:
        left, right = np.linalg.qr(rng.standard_normal(shape))[0], np.linalg.qr(rng.standard_normal(shape))[0]
        values = np.ones(size)
        if kind == "two that lead":
            values = np.r_[1.0, 1.0 - 10.0 ** -draw(st.floats(0.5, 12)), rng.uniform(0, 0.5, max(0, size - 2))][:size]
        found = (left * values) @ right
    return found.astype(draw(st.sampled_from([np.float64, np.float32])))


@given(matrices(), st.integers(-3000, 3000))
def test_value_and_vector_are_those_of_lapack(given_matrices, exponent):
    rows = Scaled.of(given_matrices)
    logs, vectors = DirectNorms().leading_pairs(Scaled(rows.mantissa, rows.exponent + exponent))
    left, values, _ = np.linalg.svd(given_matrices.astype(np.float64))
    for log, vector, U, sizes in zip(logs, vectors, left, values, strict=True):
        gap = 1.0 - (sizes[1] / sizes[0]) ** 2 if len(sizes) > 1 and sizes[0] > 0 else float(sizes[0] > 0)
        if np.isneginf(log):
            assert sizes[0] == 0.0
            continue
        assert log == pytest.approx(np.log(sizes[0]) + exponent * LOG_2, abs=1e-13 * max(1.0, abs(exponent)))
        if np.isnan(vector).any():
            assert gap < 2 * ALONE
        else:
            assert gap > 0.5 * ALONE
            assert abs(vector @ U[:, 0]) == pytest.approx(1.0, abs=1e-11)
            assert np.linalg.norm(vector - np.sign(vector @ U[:, 0]) * U[:, 0]) < 1e-10


@given(matrices(), st.integers(0, 2**32))
def test_alignment_is_that_with_all_vectors(given_matrices, seed):
    products = Scaled.of(given_matrices[:, None, None].astype(np.float64))
    error = Scaled.of(np.random.default_rng(seed).standard_normal((1, 1, given_matrices.shape[-1])))
    norms, alignments = norm_and_alignment(products, error, DirectNorms())
    expected_norms, expected = norm_and_alignment(products, error)
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(alignments, expected, rtol=0, atol=1e-10)


def test_several_leading_vectors_are_left_to_lapack():
    _, vectors = DirectNorms().leading_pairs(Scaled.of(np.stack([np.eye(5), np.diag([1.0, 2.0, 3.0, 4.0, 5.0])])))
    assert np.isnan(vectors[0]).all()
    np.testing.assert_allclose(np.abs(vectors[1]), [0, 0, 0, 0, 1], atol=1e-15)


def test_matrix_that_is_not_finite_has_neither():
    given_matrices = np.random.default_rng(0).standard_normal((2, 4, 4))
    given_matrices[0, 1, 1] = np.inf
    logs, vectors = DirectNorms().leading_pairs(Scaled(given_matrices, np.zeros((2, 4, 1), np.int64)))
    assert np.isnan(logs[0]) and np.isnan(vectors[0]).all()
    assert np.isfinite(logs[1]) and np.isfinite(vectors[1]).all()


def test_the_loops_of_leading_pairs_can_be_interpreted(monkeypatch):
    for name in (
        "share_exponent",
        "multiply_by_transpose",
        "tridiagonalise",
        "bound_above",
        "count_above",
        "find_vector",
        "reflect_back",
    ):
        function = getattr(leading_pairs, name)
        monkeypatch.setattr(leading_pairs, name, getattr(function, "py_func", function))
    interpreted = getattr(leading_pairs.find_leading, "py_func", leading_pairs.find_leading)
    given_matrices, logs, vectors = np.random.default_rng(0).standard_normal((2, 6, 6)), np.empty(2), np.empty((2, 6))
    interpreted(given_matrices, np.zeros((2, 6), np.int64), logs, vectors)
    left, values, _ = np.linalg.svd(given_matrices)
    assert logs == pytest.approx(np.log(values[:, 0]), abs=1e-14)
    assert np.abs(np.einsum("mr,mr->m", vectors, left[..., 0])) == pytest.approx(1.0, abs=1e-13)
