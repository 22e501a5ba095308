"""Claims hold, fail or stay undecided by where the interval lies; what is missing decides nothing."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from bpttlab.claims import multiplicity
from bpttlab.claims.claims import (
    at_least,
    at_most,
    identity,
    largest_of,
    mean_of,
    median_of,
    near,
    one_per_draw,
    share_of,
    smallest_of,
    unknown_estimate,
    with_error,
)
from bpttlab.cli.claims import describe_claims
from bpttlab.numerics import verdicts

NETWORKS = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
MANY = [index / 10.0 for index in range(20)]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (at_most("", "", 1.0, 1.0), "holds"),
        (at_most("", "", 1.0 + 1e-9, 1.0), "fails"),
        (at_most("", "", -math.inf, 0.0), "holds"),
        (at_most("", "", math.nan, 1.0), "undecided"),
        (at_least("", "", math.nan, 1.0), "undecided"),
        (near("", "", math.nan, 1.0, 0.1), "undecided"),
        (at_most("", "", unknown_estimate("not measured"), 1.0), "undecided"),
        (at_most("", "", median_of(NETWORKS), 1.8), "holds"),
        (at_most("", "", median_of(NETWORKS), 1.4), "undecided"),
        (at_most("", "", median_of(NETWORKS), 0.9), "fails"),
        (at_most("", "", median_of(NETWORKS[:5]), 9.0), "undecided"),
        (at_least("", "", median_of([1.0] * 4), 5.0), "undecided"),
        (at_most("", "", median_of([]), 9.0), "undecided"),
        (at_least("", "", median_of(NETWORKS), 0.9), "holds"),
        (at_least("", "", median_of(NETWORKS), 1.8), "fails"),
        (near("", "", median_of(NETWORKS), 1.35, 0.4), "holds"),
        (near("", "", median_of(NETWORKS), 1.35, 0.1), "undecided"),
        (near("", "", median_of(NETWORKS), 3.0, 0.1), "fails"),
        (near("", "", 1.0, 1.1, 0.05), "fails"),
        (near("", "", mean_of(MANY), 0.95, 0.5), "holds"),
        (near("", "", mean_of(MANY[:5]), 0.95, 5.0), "undecided"),
        (near("", "", with_error(1.0, 0.1), 1.0, 0.2), "holds"),
        (near("", "", with_error(1.0, math.nan), 1.0, 0.2), "undecided"),
        (at_least("", "", share_of([True] * 8), 0.6), "holds"),
        (at_least("", "", share_of([True] * 8), 0.7), "undecided"),
        (at_least("", "", share_of([False] * 8), 0.7), "fails"),
        (at_most("", "", largest_of([1.0, math.nan]), 2.0), "undecided"),
        (at_most("", "", largest_of([3.0, math.nan]), 2.0), "fails"),
        (at_most("", "", largest_of([]), 2.0), "undecided"),
        (at_least("", "", smallest_of([1.0, 3.0]), 1.0), "holds"),
        (at_least("", "", smallest_of([1.0, math.nan]), 2.0), "fails"),
    ],
)
def test_verdicts(row, verdict):
    assert row["verdict"] == verdict
    assert row["held"] == (verdict == "holds")


def test_a_median_is_of_logarithms_too():
    assert median_of([-np.inf] * 4 + [-1.0, -2.0, -3.0])[:3] == (-np.inf, -np.inf, -1.0)
    assert median_of([-np.inf, -np.inf]).value == -np.inf
    assert median_of([1.0, 2.0]).value == 1.5


def test_a_missing_value_may_be_any_number():
    """So the interval is that of all numbers that could stand in its place."""
    found = median_of([*MANY, math.nan], missing="no sign change")
    filled = [verdicts.median_interval([*MANY, value]) for value in np.linspace(-9.0, 9.0, 181)]
    assert (found.low, found.high) == (min(low for low, _ in filled), max(high for _, high in filled))
    assert found.value == np.median(MANY)
    assert found.reason == "no sign change: 1 of 21"
    assert median_of([*NETWORKS[:7], math.nan])[1:3] == (-math.inf, math.inf)


def test_a_number_that_is_missing_says_why():
    assert median_of([1.0] * 4).reason == "an interval needs 6 independent draws, there are 4"
    assert median_of([math.nan] * 3, missing="no edge").reason == "no edge: all of 3"
    assert at_most("", "", math.nan, 1.0)["reason"] == "it is not a number (NaN)"
    assert describe_claims(at_most("rate", "theory", unknown_estimate("no run"), 1.0)).endswith(
        "expected <= 1 (theory); no run"
    )


def test_a_line_shows_the_interval_where_there_is_one():
    line = describe_claims(near("rate", "Newman 1986", median_of(NETWORKS), 1.35, 0.1))
    assert line == "undecided rate: 1.35 [1, 1.7], expected 1.35 +- 0.1 (Newman 1986)"
    assert describe_claims(at_most("rate", "definition", 2.0, 1.0)) == "FAILS     rate: 2, expected <= 1 (definition)"


# ---------------------------------------------------------------------------------------------------- independent draws


def test_networks_of_one_matrix_are_one_draw():
    values = pd.Series([1.0, 3.0, 2.0, 8.0, math.nan, 1.0], index=[5, 4, 3, 2, 1, 0])
    found = one_per_draw(values, pd.Series([0, 0, 1, 1, 2, 2], index=range(6)))
    assert found.tolist()[:2] == [2.0, 5.0]
    assert math.isnan(found[2])


# ---------------------------------------------------------------------------------------------------- many claims


@pytest.mark.parametrize("count", [6, 8, 12, 30])
def test_p_values_of_a_median_are_those_of_the_sign_test(count):
    values = np.random.default_rng(count).normal(size=count)
    above = int((values > 0.3).sum())
    row = at_most("", "", median_of(values), 0.3)
    assert row["p_inside"] == pytest.approx(binomtest(above, count, alternative="greater").pvalue)
    assert row["p_outside"] == pytest.approx(binomtest(above, count, alternative="less").pvalue)
    assert row["chance"] == verdicts.miss_probability(count) <= 0.025


def test_true_claims_fail_as_rarely_as_said():
    rng = np.random.default_rng(1)
    rows = [near("", "", median_of(rng.exponential(size=9)), math.log(2.0), 0.0) for _ in range(4000)]
    failed = np.mean([row["verdict"] == "fails" for row in rows])
    assert failed == pytest.approx(rows[0]["chance"], abs=3.0 * math.sqrt(rows[0]["chance"] / 4000))
    significant = np.mean([row["p_inside"] <= 0.05 for row in rows])
    assert significant <= 0.05


def test_a_family_adds_its_chances_up():
    true = [at_most("", "", median_of(NETWORKS), 2.0)] * 10
    rows = pd.DataFrame([*true, identity(at_most("", "", median_of(NETWORKS), 2.0)), at_most("", "", 1.0, 2.0)])
    family = multiplicity.family_of(rows)
    assert family.claims == 10
    assert family.expected == family.level == pytest.approx(10 / 256)
    assert (family.hold, family.fail) == (10, 0)  # 1/256 is below 0.05/10
    assert multiplicity.family_of(pd.DataFrame(true * 2)).hold == 0  # and not below 0.05/20
    wrong = at_most("", "", median_of(NETWORKS), 0.5)
    assert multiplicity.family_of(pd.DataFrame([*true, wrong])).fail == 1
    assert "at most 0.039 of them fail by chance" in multiplicity.describe_family(family)


def test_holm_rejects_step_by_step():
    assert multiplicity.holm(np.array([0.04, 0.01, 0.02])).tolist() == [True, True, True]
    assert multiplicity.holm(np.array([0.04, 0.02, 0.03])).tolist() == [False, False, False]
    assert multiplicity.holm(np.array([0.6, 0.01, 0.03])).tolist() == [False, True, False]
