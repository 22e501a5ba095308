"""Sums of parts of a gradient, held against numbers of 60 digits and any exponent."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.numerics.cumulative_sums import Whole, parts_beside, sum_side_by_side
from bpttlab.numerics.scaled import LOG_2, Scaled

DIGITS = mpmath.MPContext()
DIGITS.dps = 60


def precisely(part):
    """The numbers of a scaled array."""
    exponent = part.exponent.item() if part.mantissa.any() else 0
    return [DIGITS.ldexp(DIGITS.mpf(float(value)), exponent) for value in part.mantissa.ravel()]


def literal(vectors, whole):
    """(log norm, share, cosine) of each."""
    size, found = DIGITS.fdot(whole, whole), []
    for vector in vectors:
        square, dot = DIGITS.fdot(vector, vector), DIGITS.fdot(vector, whole)
        log_norm = DIGITS.log(square) / 2 if square else -np.inf
        cosine = dot / DIGITS.sqrt(square * size) if square and size else np.nan
        found.append((log_norm, dot / size if size else np.nan, cosine))
    return np.array(found, dtype=float)


def accumulated(vectors):
    sums = [vectors[0]]
    for vector in vectors[1:]:
        sums.append([a + b for a, b in zip(sums[-1], vector, strict=True)])
    return sums


@st.composite
def parts_of_a_gradient(draw):
    """Parts of moderate to immoderate size, some of them zero; entries are positive, so that sums cancel nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.sampled_from([(1,), (3,), (2, 3)]))
    exponents = draw(st.lists(st.sampled_from([0, -3, 40, -400, 900, -3000, 5000]), min_size=1, max_size=7))
    dead = draw(st.sets(st.integers(0, 6)))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    parts = [Scaled.whole(rng.uniform(0.5, 2.0, shape).astype(dtype), exponent) for exponent in exponents]
    return [Scaled.whole(0.0 * part.mantissa) if place in dead else part for place, part in enumerate(parts)]


@given(parts_of_a_gradient(), st.sampled_from([2, 2**21]))
def test_sums_are_those_of_sixty_digits_at_any_size(parts, held):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpttlab.numerics.cumulative_sums.HELD_NUMBERS", held)
        vectors = [precisely(part) for part in parts]
        whole = Scaled.whole(parts[-1].mantissa + parts[-1].mantissa.dtype.type(0.25), parts[0].exponent.item())
        digits = 1e-12 if parts[0].mantissa.dtype == np.float64 else 2e-6
        for found, expected in (
            (parts_beside(parts, Whole(whole)), literal(vectors, precisely(whole))),
            (sum_side_by_side(parts, Whole(whole)), literal(accumulated(vectors), precisely(whole))),
        ):
            np.testing.assert_allclose(found.log_norm, expected[:, 0], rtol=digits, atol=digits)
            in_range = (np.abs(expected[:, 1]) < 1e300) & ~((expected[:, 1] != 0) & (np.abs(expected[:, 1]) < 1e-300))
            np.testing.assert_allclose(found.share[in_range], expected[in_range, 1], rtol=10 * digits)
            np.testing.assert_allclose(found.cosine, expected[:, 2], rtol=10 * digits)


def test_vanishing_sum_is_minus_infinity_without_direction():
    one = Scaled.whole(np.array([3.0, -1.0]), 7)
    minus = Scaled(-one.mantissa, one.exponent)
    found = sum_side_by_side([one, minus], Whole(one))
    assert found.log_norm[1] == -np.inf
    assert found.share.tolist() == [1.0, 0.0]
    assert found.cosine[0] == pytest.approx(1.0, rel=1e-15)
    assert np.isnan(found.cosine[1])


def test_beside_a_gradient_of_zero_nothing_has_a_share():
    one, zero = Scaled.whole(np.ones(3)), Scaled.whole(np.zeros(3))
    found = parts_beside([one, zero], Whole(zero))
    assert np.isnan(found.share).all()
    assert np.isnan(found.cosine).all()
    assert found.log_norm.tolist() == [pytest.approx(0.5 * np.log(3.0), rel=1e-15), -np.inf]


def test_exponents_beyond_every_float_are_told_apart():
    parts = [Scaled.whole(np.ones(2), exponent) for exponent in (0, -5000, 5000)]
    found = sum_side_by_side(parts, Whole(parts[2]))
    expected = 0.5 * np.log(2.0) + np.array([0, 0, 5000]) * LOG_2
    np.testing.assert_allclose(found.log_norm, expected, rtol=1e-14)
    assert found.share.tolist() == [0.0, 0.0, 1.0]
