"""Largest singular values by Lanczos and by the Gram matrix, held against all singular values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.gradients.compiled import spectral_kernels
from bpttlab.gradients.compiled.lanczos import LanczosNorms, largest_logs
from bpttlab.gradients.engine import ENGINES, find_engine
from bpttlab.numerics.scaled import LOG_2, Scaled


def literal(matrices, exponents):
    """log of the largest singular value of 2^exponent A, by LAPACK's SVD."""
    with np.errstate(divide="ignore"):
        largest = np.log(np.linalg.svd(matrices.astype(np.float64), compute_uv=False)[..., 0])
    return largest + exponents * LOG_2


@st.composite
def sequences_of_matrices(draw):
    """Matrices that come one after another: of any rank, alike or not, some of them zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, size = draw(st.integers(1, 6)), draw(st.sampled_from([1, 2, 3, 8, 33, 60]))
    rank = draw(st.integers(0, size))
    kind = draw(st.sampled_from(["of a rank", "rotations", "alike", "triangular"]))
    if kind == "rotations":
        matrices = np.linalg.qr(rng.standard_normal((count, size, size)))[0]
    elif kind == "alike":
        matrices = rng.standard_normal((size, size)) + 1e-9 * rng.standard_normal((count, size, size))
    elif kind == "triangular":
        matrices = np.tril(rng.standard_normal((count, size, size)), -1)
    else:
        matrices = rng.standard_normal((count, size, rank)) @ rng.standard_normal((count, rank, size))
    return matrices.astype(draw(st.sampled_from([np.float64, np.float32])))


@given(sequences_of_matrices(), st.integers(-3000, 3000), st.sampled_from(ENGINES))
def test_it_is_the_largest_singular_value_at_any_exponent(matrices, exponent, engine):
    rows = Scaled.of(matrices)
    found = find_engine(engine).spectral_norms(matrices.shape[-1]).logs(Scaled(rows.mantissa, rows.exponent + exponent))
    expected = literal(matrices, exponent)
    assert (np.isneginf(found) == ~matrices.any(axis=(1, 2))).all()
    alive = np.isfinite(found)
    np.testing.assert_allclose(np.expm1(found[alive] - expected[alive]), 0.0, atol=2e-11)


@given(sequences_of_matrices())
def test_portions_give_what_all_at_once_give(matrices):
    rows = Scaled.of(matrices)
    spectral = LanczosNorms(matrices.shape[-1])
    portions = [float(spectral.logs(rows[place])) for place in range(len(matrices))]
    assert portions == LanczosNorms(matrices.shape[-1]).logs(rows).tolist()


def test_rows_of_very_different_size_are_weighed():
    """The rows that lead have the larger exponent, whatever their mantissas."""
    matrices = Scaled(np.array([[[0.5, 0.5], [0.9, -0.9]]]), np.array([[[40], [-40]]]))
    assert LanczosNorms(2).logs(matrices)[0] == pytest.approx(np.log(np.sqrt(0.5)) + 40 * LOG_2, rel=1e-14)


@pytest.mark.parametrize("engine", ENGINES)
def test_nonfinite_value_is_missing_and_spoils_nothing(engine):
    matrices = np.random.default_rng(1).standard_normal((3, 4, 4))
    expected = literal(matrices, 0)
    matrices[1, 2, 2] = np.nan
    found = find_engine(engine).spectral_norms(4).logs(Scaled.of(matrices))
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], rtol=1e-12)


def test_many_leading_directions_use_all_eigenvalues():
    """Where Lanczos is not done within its steps the number is that of the Gram matrix."""
    diagonal = np.diag(1.0 + 1e-3 * np.arange(200.0)[::-1] / 200)
    start = np.ones(200) / np.sqrt(200)
    found = largest_logs(diagonal[None], start.copy(), start)
    assert found[0] == pytest.approx(np.log(diagonal[0, 0]), rel=1e-9)


def test_the_loops_can_be_interpreted():
    """Without Numba, or with NUMBA_DISABLE_JIT=1, exponents are NumPy's integers."""
    interpreted = getattr(spectral_kernels.log_norms, "py_func", spectral_kernels.log_norms)
    matrices = np.random.default_rng(0).standard_normal((2, 3, 3))
    exponents, found = np.array([[0, 3, -2], [900, 901, -900]]), np.empty(2)
    start = np.full(3, 3.0**-0.5)
    interpreted(matrices, exponents, start.copy(), start, found)
    rows = matrices * np.exp2(np.maximum(exponents - exponents.max(axis=1, keepdims=True), -1000))[..., None]
    known = np.log(np.linalg.norm(rows, 2, axis=(1, 2))) + exponents.max(axis=1) * np.log(2.0)
    assert found == pytest.approx(known, rel=1e-12)


@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("engine", ENGINES)
def test_plain_matrices_have_the_same_norms(engine, size):
    matrices = np.random.default_rng(0).standard_normal((3, 2, 5, 5))
    matrices[1, 0] *= size
    norms = find_engine(engine).spectral_norms(5).logs_of_plain(matrices)
    np.testing.assert_allclose(norms, literal(matrices, 0), rtol=1e-11, atol=1e-11)
    matrices[2, 1] = 0.0
    assert np.isneginf(find_engine(engine).spectral_norms(5).logs_of_plain(matrices)[2, 1])
