"""Medians over networks and their intervals: an interval belongs to the number beside it, whatever the distribution."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.numerics.verdicts import LEAST_NETWORKS, median_of
from bpttlab.tables.statistics import estimates, group_rows, median, quantile, with_interval

CLOSE = {"rtol": 1e-12}
SAMPLES = st.lists(st.floats(-50.0, 50.0), min_size=1, max_size=40)
ZEROS = st.integers(0, 10)


def of_one_group(values):
    """median, low and high of one group."""
    found = with_interval(pd.DataFrame({"x": values}), pd.Series([3] * len(values)), "x")
    assert list(found) == ["x", "x_low", "x_high"]
    return [float(column[3]) for column in found.values()]


# ------------------------------------------------------------------ an interval belongs to its number


@given(SAMPLES, ZEROS)
def test_a_median_lies_within_its_own_interval(values, zeros):
    skewed = [-math.exp(value / 10.0) for value in values] + [-math.inf] * zeros
    middle, low, high = of_one_group(skewed)
    if len(skewed) < LEAST_NETWORKS:
        assert math.isnan(low)
        assert math.isnan(high)
    else:
        assert low <= middle <= high
        assert {low, high} <= set(skewed)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-1e6, 1e6)), min_size=1, max_size=60))
def test_every_group_has_the_estimate_of_the_verdicts(rows):
    frame = pd.DataFrame(rows, columns=["group", "x"])
    found = estimates(frame["x"], frame["group"])
    for number, part in frame.groupby("group"):
        expected = median_of(part["x"])
        assert found.loc[number, "value"] == expected.value
        if len(part) >= LEAST_NETWORKS:
            assert tuple(found.loc[number]) == expected[:3]


@pytest.mark.parametrize("count", [6, 16, *(pytest.param(n, marks=pytest.mark.slow) for n in (7, 10, 25, 100))])
def test_the_interval_holds_the_median_of_a_skewed_law(count):
    rng = np.random.default_rng(count)
    draws = -rng.lognormal(sigma=1.5, size=(4_000, count))  # of median -1 and mean -3.1
    rows, group = pd.DataFrame({"x": draws.ravel()}), pd.Series(np.repeat(np.arange(4_000), count))
    found = with_interval(rows, group, "x")
    assert ((found["x_low"] <= -1.0) & (found["x_high"] >= -1.0)).mean() >= 0.94
    assert (found["x_high"] < -3.1).mean() < 0.06  # it does not speak of the mean


def test_missing_values_are_skipped_and_few_have_no_interval():
    six, gaps = [5.0, 1.0, 2.0, 9.0, 3.0, 4.0], [np.nan, np.nan]
    assert of_one_group(six + gaps) == [3.5, 1.0, 9.0]
    middle, low, high = of_one_group(six[:5] + gaps)
    assert middle == 3.0
    assert math.isnan(low)
    assert math.isnan(high)
    assert all(math.isnan(value) for value in of_one_group(gaps))


def test_a_group_without_values_keeps_its_row():
    rows = pd.DataFrame({"x": pd.array([1.0, pd.NA, 2.0], dtype="Float64")})
    found = estimates(rows["x"], pd.Series([4, 7, 4]))
    assert list(found.index) == [4, 7]
    assert found.loc[7].isna().all()


# ------------------------------------------------------------------ quantiles and groups


@pytest.mark.parametrize(
    ("values", "quarter", "middle"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], 2.0, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 1.75, 2.5),
        ([-np.inf, 0.0, 1.0], -np.inf, 0.0),
        ([-np.inf, -np.inf, 1.0], -np.inf, -np.inf),
        ([-np.inf, -np.inf], -np.inf, -np.inf),
        ([np.nan, 2.0], 2.0, 2.0),
    ],
)
def test_quantiles_are_about_order_and_know_exact_zeros(values, quarter, middle):
    column, group = pd.Series(values), pd.Series([7] * len(values))
    np.testing.assert_allclose([quantile(column, group, 0.25)[7], median(column, group)[7]], [quarter, middle], **CLOSE)


def test_missing_values_are_a_group_of_their_own():
    rows = pd.DataFrame({"a": ["x", None, "x", None], "b": pd.array([1, 1, None, 1], dtype="Int64")})
    keys, group = group_rows(rows, ["a", "b"])
    assert len(keys) == 3
    assert group[1] == group[3]
