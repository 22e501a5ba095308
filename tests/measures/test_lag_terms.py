"""Lag terms, truncations read off them, and truncations of their own: they have to be one thing."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.estimators import kept_and_tail
from bpttlab.gradients.forward import forward
from bpttlab.gradients.scaled_gradients import recurrent_gradient, sequence_gradients, stack_whole
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.measures.lag_terms import Gathered, lag_terms, mean_over_scatter, measure_lags, signals_to_noise
from bpttlab.numerics.scaled import Scaled
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.gradient_check import assert_agree, disagreement
from tests.support.compiled import dtypes, needs_numba
from tests.support.networks import case, cases, linear, schemes

PARAMETERS = ("W", "V", "b_h")


def literal_lag_term(example, lag):
    return literal_sum(example.trace, example.loss, lambda t, k: t - k == lag)


def log_size(term):
    """log of the norm, without squares that underflow."""
    largest = np.abs(term).max()
    return np.log(np.linalg.norm(term / largest)) + np.log(largest) if largest > 0 else -np.inf


@given(cases(dtypes=("float64",)))
def test_lag_terms_are_those_of_the_double_sum(case):
    frame = lag_terms(case.trace, case.loss, "all")
    assert len(frame) > 0 or not case.trace.error(case.loss.gradient).any()
    full = literal_sum(case.trace, case.loss)
    for _, row in frame.iterrows():
        name, lag = row["parameter"], row["lag"]
        term = literal_lag_term(case, lag)[name]
        size = np.linalg.norm(term)
        assert row["log_norm"] == pytest.approx(log_size(term), rel=1e-12, abs=1e-12)
        if np.linalg.norm(full[name]) > 0:
            assert row["relative_size"] == pytest.approx(size / np.linalg.norm(full[name]), rel=1e-9)
            share = np.vdot(term, full[name]) / np.linalg.norm(full[name]) ** 2
            assert row["share"] == pytest.approx(share, rel=1e-9, abs=1e-9 * max(1.0, row["relative_size"]))


def test_shares_sum_to_one_and_are_cumulated():
    example = case(T=30, N=5, B=3)
    frame = lag_terms(example.trace, example.loss, "all")
    for _, terms in frame.groupby("parameter"):
        assert terms["share"].sum() == pytest.approx(1.0, rel=1e-12)
        np.testing.assert_allclose(terms["cumulative_share"], terms["share"].cumsum(), rtol=1e-10)


def test_size_per_loss_counts_losses_that_reach_so_far():
    example = case(T=10, mask=[0, 1, 0, 0, 1, 0, 0, 1, 0, 1])
    frame = lag_terms(example.trace, example.loss, "all").query("parameter == 'W'").set_index("lag")
    losses = {lag: sum(t > lag for t in (2, 5, 8, 10)) for lag in range(10)}
    for lag, row in frame.iterrows():
        assert row["log_norm"] - row["log_norm_per_loss"] == pytest.approx(np.log(losses[lag]), rel=1e-12, abs=1e-12)


def literal_signal_to_noise(gradients):
    """From all pairs of sequences: mean <g_a, g_b> over a != b, and half the mean |g_a - g_b|^2."""
    flat = np.array([np.ravel(gradient) for gradient in gradients])
    inner, count = flat @ flat.T, len(flat)
    pairs = ~np.eye(count, dtype=bool)
    apart = [((one - other) ** 2).sum() / 2 for one in flat for other in flat]
    return inner[pairs].mean() / (np.sum(apart) / (count * (count - 1)))


@given(cases(dtypes=("float64",), tame=True))
def test_signal_to_noise_is_that_of_all_pairs_of_sequences(case):
    frame = lag_terms(case.trace, case.loss, "all")
    for row in frame[frame["lag"].isin([0, 3])].itertuples() if len(frame) else ():
        each = []
        for b in range(case.trace.x.shape[1]):
            alone = np.zeros_like(case.loss.gradient)
            alone[:, b] = case.loss.gradient[:, b]
            each.append(literal_sum(case.trace, alone, lambda t, k, lag=row.lag: t - k == lag)[row.parameter])
        if len(each) > 1 and np.ptp(each, axis=0).max() > 1e-6 * np.abs(each).max() > 0:
            assert row.signal_to_noise == pytest.approx(literal_signal_to_noise(each), rel=1e-6, abs=1e-9)
            assert row.signal_to_noise >= -1.0 / len(each) - 1e-12


@pytest.mark.parametrize("B", [2, 4, 16, 64])
@pytest.mark.parametrize("signal", [0.0, 0.3])
def test_signal_to_noise_has_no_floor(B, signal):
    """Gaussian gradients of 200 entries, as small as 2^-5000: the mean over draws is right within 4 standard errors."""
    rng, size = np.random.default_rng(B), 200
    mean = np.sqrt(signal) * np.eye(size)[0]  # |E g|^2 = signal * tr Cov
    found = []
    for _ in range(300):
        drawn = mean + rng.standard_normal((B, size)) / np.sqrt(size)
        found.append(mean_over_scatter(stack_whole([Scaled.whole(one[None], -5000) for one in drawn])))
    quotient = 2.0 / size / (B - 1)  # E [1 / scatter] is larger than one by so much: 0.01 of 1/B and of the signal
    assert abs(np.mean(found) - signal) <= 4 * np.std(found) / np.sqrt(300) + quotient * (1.0 / B + signal)


def test_signal_to_noise_at_its_ends():
    one = np.array([[3.0, -1.0]])
    assert mean_over_scatter(np.stack([one, -one])) == -0.5
    assert mean_over_scatter(stack_whole([Scaled.whole(one, 9), Scaled.whole(one, 9)])) == np.inf
    assert np.isnan(mean_over_scatter(stack_whole([Scaled.whole(0.0 * one)] * 2)))


@given(cases(dtypes=("float64", "float32")), st.integers(-900, 900), st.integers(-900, 900))
def test_gradients_of_sequences_are_those_of_each_alone(case, first, last):
    """Whether all rows go into one product or have sizes too different for it."""
    trace = case.trace
    B = trace.x.shape[1]
    exponent = np.linspace(first, last, trace.length * B).astype(np.int64).reshape(trace.length, B, 1)
    mantissa = np.random.default_rng(0).standard_normal((trace.length, B, trace.cell.preactivation_size))
    da = Scaled(mantissa.astype(trace.h.dtype), exponent).normalise()
    found = sequence_gradients(trace.cell, trace.local, da)
    one_by_one = [
        recurrent_gradient(trace.cell, trace.local.at(np.s_[:, b : b + 1]), da[:, b : b + 1]) for b in range(B)
    ]
    for name, values in found.items():
        expected = stack_whole([one[name] for one in one_by_one])
        unit = np.abs(expected).max() / np.abs(values).max() if values.any() else 1.0
        tolerance = 100 * np.finfo(trace.h.dtype).eps * max(np.abs(expected).max(), 1e-300)
        assert np.abs(values * unit - expected).max() <= tolerance * np.sqrt(trace.length)


def one_by_one(trace, loss, lags):
    """`measure_lags` as other cells have it: a lag after the other, in scaled numbers."""
    with patch.object(Gathered, "sum_in_one_call", lambda self, error: False):
        return measure_lags(trace, loss, lags)


@needs_numba
@pytest.mark.compiles
@dtypes
@pytest.mark.parametrize("lags", ["log", "all", [0, 3, 4, 29]])
@pytest.mark.parametrize("mask", [None, [0] * 11 + [1, 0] * 9 + [1]], ids=["every step", "some steps"])
@pytest.mark.parametrize("B", [1, 3])
def test_one_call_gives_what_lags_one_by_one_give(B, mask, lags, dtype):
    example = case(T=30, B=B, N=9, mask=mask)
    given = example.trace
    params = {name: values.astype(dtype) for name, values in given.params.items()}
    trace = forward(given.cell, params, given.x.astype(dtype), engine="numba")
    errors = example.loss.gradient.astype(dtype)
    with patch.object(Gathered, "note_lag", side_effect=AssertionError):  # nothing is left to the other way
        found = measure_lags(trace, errors, lags)
    expected, digits = one_by_one(trace, errors, lags), 1e-9 if dtype == "float64" else 2e-4
    for one, other in ((found.lag_terms, expected.lag_terms), (found.truncations, expected.truncations)):
        pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other), rtol=digits, atol=digits)


@needs_numba
@pytest.mark.compiles
@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_lags_beyond_plain_numbers_go_one_by_one(size):
    trace = case(T=12, B=2, N=4).trace
    trace = forward(trace.cell, trace.params, trace.x, engine="numba")
    errors = np.full(trace.y_hat.shape, size)
    found, expected = measure_lags(trace, errors), one_by_one(trace, errors, "log")
    pd.testing.assert_frame_equal(pd.DataFrame(found.lag_terms), pd.DataFrame(expected.lag_terms), rtol=0, atol=0)


@pytest.mark.parametrize("B", [1, 2, 7])
def test_signal_to_noise_from_sums_is_that_of_the_gradients(B):
    each = np.random.default_rng(B).standard_normal((B, 4, 5))
    each[:, 1] = 1.0
    each[:, 2] = 0.0
    of_lags = each.swapaxes(0, 1)
    scatter = ((of_lags - of_lags.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2))
    scatter[1:3] = 0.0
    expected = [mean_over_scatter(gradients) for gradients in of_lags]
    np.testing.assert_allclose(signals_to_noise(each.sum(axis=0), scatter, B), expected, rtol=1e-10)


def test_one_sequence_has_no_signal_to_noise():
    example = case(B=1)
    assert lag_terms(example.trace, example.loss)["signal_to_noise"].isna().all()


@given(cases(dtypes=("float64",)), schemes())
def test_kept_and_tail_are_the_kept_and_the_dropped_terms(case, scheme):
    from bpttlab.verification.gradient_check import terms_that_scheme_keeps

    keeps = terms_that_scheme_keeps(scheme)
    error = Scaled.of(case.trace.error(case.loss.gradient))
    kept, tail = kept_and_tail(case.trace, error, scheme.plan(case.trace.length))
    dropped = literal_sum(case.trace, case.loss, lambda t, k: not keeps(t, k))
    expected = literal_sum(case.trace, case.loss, keeps)
    for name in PARAMETERS:
        assert_agree({name: kept[name].value()}, {name: expected[name]})
        if name in tail:
            assert disagreement(tail[name].value(), dropped[name]) <= 1e-12
        else:
            assert not dropped[name].any()


@given(cases(dtypes=("float64",)), st.integers(0, 12))
def test_truncations_of_the_wavefront_are_those_of_the_scheme(case, max_lag):
    """Whether all lags are followed, or the last ones are lumped together."""
    frame = pd.DataFrame(measure_lags(case.trace, case.loss, "all", max_lag=max_lag).truncations)
    for K in frame["truncation"].unique() if len(frame) else ():
        expected = truncation_bias(case.trace, case.loss, PerLoss(int(K))).set_index("parameter")
        measured = frame[frame["truncation"] == K].set_index("parameter")
        for name in PARAMETERS:
            one, other = measured.loc[name], expected.loc[name]
            assert one["steps_computed"] == other["steps_computed"]
            for column in ("log_norm", "log_relative_bias", "cosine"):
                # logarithms of sums that cancel, and cosines of small sums, carry the rounding of their terms
                assert one[column] == pytest.approx(other[column], rel=1e-6, abs=1e-9, nan_ok=True)


def test_the_bias_does_not_floor_at_rounding():
    """Linear and diagonal: at K = 100 the relative bias is 0.1^100, far below one rounding of the gradient."""
    trace = linear(0.1 * np.eye(1), T=200)
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    row = truncation_bias(trace, errors, PerLoss(100)).set_index("parameter").loc["b_h"]
    expected = np.log(sum(0.1**lag for lag in range(100, 200)) / sum(0.1**lag for lag in range(200)))
    assert row["log_relative_bias"] == pytest.approx(expected, rel=1e-13)


def test_the_bias_of_the_full_gradient_is_exactly_zero():
    example = case(T=9)
    for scheme in (Full(), PerLoss(9), Chunked(20), Windowed(4, 12)):
        frame = truncation_bias(example.trace, example.loss, scheme)
        assert (frame["log_relative_bias"] == -np.inf).all()
        np.testing.assert_allclose(frame["cosine"], 1.0, rtol=1e-14)


def test_norm_and_cosine_are_of_the_truncated_gradient():
    example = case(T=12, N=4)
    cut, full = backward(example.trace, example.loss, Chunked(5)), backward(example.trace, example.loss)
    frame = truncation_bias(example.trace, example.loss, Chunked(5)).set_index("parameter")
    for name in PARAMETERS:
        size, whole = np.linalg.norm(cut[name]), np.linalg.norm(full[name])
        assert frame.loc[name, "log_norm"] == pytest.approx(np.log(size), rel=1e-12)
        assert frame.loc[name, "cosine"] == pytest.approx(np.vdot(cut[name], full[name]) / size / whole, rel=1e-12)
        bias = np.linalg.norm(full[name] - cut[name]) / whole
        assert frame.loc[name, "log_relative_bias"] == pytest.approx(np.log(bias), rel=1e-10)


def test_a_loss_without_gradient_has_no_lag_terms():
    example = case()
    assert len(lag_terms(example.trace, np.zeros_like(example.loss.gradient))) == 0
