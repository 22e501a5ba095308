"""One question, one function: what `method=` gives is the same numbers, and each says where it did not trust itself."""

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from tests.support.networks import case, linear

NORMS = ["log_spectral_norm", "log_frobenius_norm"]


@pytest.mark.parametrize("lags", ["log", "all", [0, 3, 7], np.array([2, 9])])
@pytest.mark.parametrize("t", [None, 11])
def test_products_are_the_same_by_both_methods(lags, t):
    trace = case(T=20).trace
    exact, fast = (lab.jacobian_products(trace, lags=lags, method=way, t=t, count=6) for way in ("exact", "fast"))
    pd.testing.assert_frame_equal(exact[["sequence", "t", "lag"]], fast[["sequence", "t", "lag"]])
    np.testing.assert_allclose(exact[NORMS], fast[NORMS], atol=1e-10)
    assert set(exact["t"]) == {t or 20}


def test_products_of_one_t_are_rows_of_the_triangle():
    example = case(T=9)
    triangle = lab.jacobian_products(example.trace, example.loss, "triangle")
    one = lab.jacobian_products(example.trace, example.loss, [0, 2, 5], t=6)
    rows = triangle[(triangle["t"] == 6) & triangle["lag"].isin([0, 2, 5])].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, rows, rtol=1e-12)


def test_windows_are_the_same_by_both_methods():
    trace = case(T=17).trace
    fast, exact = (lab.windowed_products(trace, [1, 4, 9, 17], method=way) for way in ("fast", "exact"))
    pd.testing.assert_frame_equal(fast[["sequence", "t", "lag"]], exact[["sequence", "t", "lag"]])
    np.testing.assert_allclose(fast[NORMS], exact[NORMS], atol=1e-10)
    assert "log_spectral_norm" not in lab.windowed_products(trace, [3], method="exact", spectral=False)


def test_curves_are_the_same_by_both_methods():
    example = case(T=15)
    fast, exact = (lab.truncation_curve(example.trace, example.loss, [1, 4, 15], method=way)
                   for way in ("fast", "exact"))  # fmt: skip
    assert not fast["fell_back"].any() and not exact["fell_back"].any()
    for column in ("share", "log_norm", "cosine", "log_relative_bias"):
        np.testing.assert_allclose(fast[column], exact[column], atol=1e-9)


def test_a_fast_answer_says_where_it_took_the_exact_one():
    spread = linear(np.diag([1.0, 1e-200]), T=6)
    assert lab.jacobian_products(spread, lags="all", method="fast")["fell_back"].all()
    assert not lab.jacobian_products(case(T=6).trace, lags="all", method="fast")["fell_back"].any()


def test_lag_terms_are_reported_at_the_lags_given():
    example = case(T=12)
    every, some = (lab.lag_terms(example.trace, example.loss, lags) for lags in ("all", [2, 5]))
    rows = every[every["lag"].isin([2, 5])].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, rows, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: lab.jacobian_products(one.trace, method="fats"), "method='fats': must be one of exact, fast"),
        (lambda one: lab.jacobian_products(one.trace, one.loss, method="fast"), "loss: method='fast' has no state"),
        (
            lambda one: lab.jacobian_products(one.trace, lags="triangle", method="fast"),
            "lags='triangle': method='fast",
        ),
        (lambda one: lab.jacobian_products(one.trace, lags="al"), "lags='al': must be log, all, triangle"),
        (lambda one: lab.jacobian_products(one.trace, lags=[7]), "lags=7: must be an integer from 0 to 6"),
        (lambda one: lab.jacobian_products(one.trace, t=7), "t=7: must be an integer from 1 to 6"),
        (lambda one: lab.windowed_products(one.trace, [1], method="slow"), "method='slow': must be one of fast, exact"),
        (lambda one: lab.truncation_curve(one.trace, one.loss, method=1), "method=1: must be one of fast, exact"),
        (lambda one: lab.lag_terms(one.trace, one.loss, "logs"), "lags='logs': must be log, all, or integers"),
        (lambda one: lab.lag_terms(one.trace, one.loss, [6]), "lags=6: must be an integer from 0 to 5"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ConfigurationError, match=message):
        call(case(T=6))
