"""Norms of Jacobian products against explicit products and singular values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import NonFiniteError
from bpttlab.gradients.trace import Trace
from bpttlab.measures.jacobian_products import growth_rate, jacobian_products, measure_products
from bpttlab.measures.product_norms import horizons, norm_and_alignment
from bpttlab.numerics.scaled import Scaled, median_log
from bpttlab.verification.gradient_check import agreement
from tests.support.networks import case, cases, linear


def explicit(trace: Trace, errors, row):
    """One row of the table from the definitions."""
    sequence, t, k = int(row.sequence), int(row.t), int(row.t - row.lag)
    product = trace.product(t, k)[sequence].astype(float)
    norms = [np.linalg.norm(product, 2), np.linalg.norm(product) / np.sqrt(len(product))]
    steps = [np.linalg.norm(trace.jacobian(i)[sequence], 2) for i in range(k + 1, t + 1)]
    gradient = errors[t - 1, sequence] @ product
    with np.errstate(divide="ignore"):
        return np.array([*np.log(norms), np.log(steps).sum(), np.log(np.linalg.norm(gradient))])


@given(cases())
def test_the_triangle_is_the_explicit_products(case):
    errors = case.trace.error(case.loss.gradient)
    frame = jacobian_products(case.trace, case.loss, "triangle", sequences=2)
    T, B = case.trace.length, min(2, case.trace.h.shape[1])
    assert len(frame) == B * T * (T + 3) // 2
    names = ["log_spectral_norm", "log_frobenius_norm", "log_bound", "log_state_gradient"]
    tolerance = 10 * agreement(case.trace.h.dtype)
    for row in frame.itertuples():
        measured, expected = np.array([getattr(row, name) for name in names]), explicit(case.trace, errors, row)
        zero = expected < -80  # an explicit product of float32 may round to zero or to a denormal
        np.testing.assert_allclose(measured[~zero], expected[~zero], rtol=tolerance, atol=tolerance)
        assert (measured[zero] < -80).all()


@given(cases())
def test_no_product_exceeds_its_bound(case):
    frame = jacobian_products(case.trace, case.loss, "all")
    finite = np.isfinite(frame["log_bound"])
    slack = 10 * agreement(case.trace.h.dtype)
    assert (frame["log_spectral_norm"][finite] <= frame["log_bound"][finite] + slack).all()
    assert (frame["log_frobenius_norm"] <= frame["log_spectral_norm"] + slack).all()


def test_all_and_log_are_parts_of_the_triangle():
    example = case(T=40, N=4)
    triangle = jacobian_products(example.trace, example.loss, "triangle")
    last = triangle[triangle["t"] == 40].reset_index(drop=True)
    pd.testing.assert_frame_equal(jacobian_products(example.trace, example.loss, "all"), last, rtol=1e-12)
    some = jacobian_products(example.trace, example.loss, "log", count=10)
    assert some["lag"].nunique() == 10
    assert {0, 1, 40} <= set(some["lag"])
    merged = some.merge(last, on=["sequence", "t", "lag"], suffixes=("", "_all"))
    np.testing.assert_allclose(merged["log_spectral_norm"], merged["log_spectral_norm_all"], rtol=1e-12)


def test_the_bound_ends_at_its_lag():
    frame = jacobian_products(case(T=30).trace, None, "all", bound_lags=7)
    assert frame.loc[frame["lag"] <= 7, "log_bound"].notna().all()
    assert frame.loc[frame["lag"] > 7, "log_bound"].isna().all()


def test_without_a_loss_there_is_no_state_gradient():
    frame = jacobian_products(case().trace)
    assert frame["log_state_gradient"].isna().all() and frame["alignment"].isna().all()
    stream = jacobian_products(jacobians=iter(np.eye(3)[None].repeat(4, axis=0)))
    assert stream["log_state_gradient"].isna().all() and stream["alignment"].isna().all()


def test_alignment_is_cosine_with_the_left_singular_vector():
    example = case(N=5, B=1, T=8, seed=3)
    error = example.trace.error(example.loss.gradient)[-1, 0]
    row = jacobian_products(example.trace, example.loss, "all").iloc[4]
    U = np.linalg.svd(example.trace.product(8, 4)[0])[0]
    assert row["alignment"] == pytest.approx(abs(error @ U[:, 0]) / np.linalg.norm(error), rel=1e-10)


def test_alignment_with_equal_values_is_with_the_space():
    rotation = Scaled.of(np.linalg.qr(np.random.default_rng(0).standard_normal((1, 1, 4, 4)))[0])
    log_norm, alignment = norm_and_alignment(rotation, Scaled.of(np.ones((1, 1, 4))))
    assert alignment[0, 0] == pytest.approx(1.0, rel=1e-12)
    assert log_norm[0, 0] == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize(("rho", "T"), [(0.3, 3000), (3.0, 3000)])
def test_products_far_beyond_the_range_of_floats_stay_finite(rho, T):
    example = (
        case(T=T, N=6, B=1, gain=rho, mask=np.arange(T) == T - 1, activation="identity", seed=1) if rho < 1 else None
    )
    trace = example.trace if example else linear(3.0 * np.eye(3), T)
    frame = jacobian_products(trace, None, "log")
    assert np.isfinite(frame["log_spectral_norm"]).all()
    assert frame["log_spectral_norm"].abs().max() > 800


def test_a_nan_names_its_step():
    trace = case(T=9).trace
    broken = trace.h.copy()
    broken[4] = np.nan
    with pytest.raises(NonFiniteError, match="step t - lag = 4") as error:
        jacobian_products(Trace(trace.cell, trace.params, trace.x, broken, trace.y_hat))
    assert error.value.step == 4  # J_5 is the derivative at h_4


@given(st.floats(-2, 2), st.floats(-5, 5), st.integers(4, 50))
def test_growth_rate_recovers_a_slope(slope, level, T):
    lags = np.arange(T + 1)
    growth = growth_rate((level + slope * lags)[:, None], fit_from=0.2)
    assert growth.rate == pytest.approx(slope, rel=1e-9, abs=1e-9)
    assert np.isnan(growth.error) if T + 1 - growth.first_lag <= 8 else growth.error == pytest.approx(0.0, abs=1e-8)
    assert (growth.first_lag, growth.last_lag) == (max(1, int(0.2 * T)), T)


def test_growth_rate_is_the_regression_of_scipy():
    from scipy.stats import linregress

    values = np.random.default_rng(0).standard_normal((41, 3)).cumsum(axis=0)
    expected = linregress(np.arange(8, 41), np.median(values, axis=1)[8:])
    growth = growth_rate(values, fit_from=0.2)
    assert growth.rate == pytest.approx(expected.slope, rel=1e-12)
    assert growth.error > 3 * expected.stderr  # scipy takes the points of a walk for independent


@pytest.mark.parametrize("last", [0, 3, 7, 9, 10])
def test_a_product_that_becomes_zero_has_no_finite_rate(last):
    """The slope of the lags before it would be that of another network."""
    values = np.full((11, 1), -np.inf)
    values[: last + 1, 0] = -0.5 * np.arange(last + 1)
    found = growth_rate(values, 0.2)
    assert found.rate == pytest.approx(-0.5 if last == 10 else -np.inf, rel=1e-12)
    assert np.isnan(found.error) == (last < 10)
    assert np.isnan(growth_rate(np.zeros((2, 1)), 0.2).rate)


def test_horizons_start_at_lag_zero_and_are_censored_at_T():
    curve = np.array([0.0, 0.5, 1.2, 0.8, -0.9, -1.0, -1.1, -2.0])[:, None]
    assert horizons(curve) == (2, 5, False)
    assert horizons(0.0 * curve) == (None, 7, True)


@given(cases(), st.sampled_from(["log", "all", "triangle"]))
def test_horizons_from_few_norms_equal_those_of_all(case, which):
    measured = measure_products(case.trace, case.loss, which, 2, 3, 0)
    frame = jacobian_products(case.trace, case.loss, "all", sequences=2)
    curve = frame.pivot(index="lag", columns="sequence", values="log_spectral_norm").to_numpy()
    assert measured.reach == horizons(curve)


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.0, 1.1, 1.6])
@pytest.mark.parametrize("seed", [0, 1])
def test_horizons_over_many_lags(gain, seed):
    trace = case(seed, T=60, N=12, B=2, gain=gain, activation="identity").trace
    measured = measure_products(trace, None, "log", 2, 3, 0)
    curve = jacobian_products(trace, None, "all").pivot(index="lag", columns="sequence", values="log_spectral_norm")
    assert measured.reach == horizons(curve.to_numpy())


def test_median_of_logarithms_with_zeros_among_them():
    inf = np.inf
    assert median_log(np.array([-inf, -inf, 1.0, 3.0])) == 1.0 or median_log(np.array([-inf, -inf, 1.0, 3.0])) == -inf
    assert median_log(np.array([-inf, -inf, -inf, 3.0])) == -inf
    assert median_log(np.array([-inf, 2.0, 4.0])) == 2.0
