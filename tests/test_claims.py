"""Claims hold, fail or stay undecided by where the interval over networks lies."""

import math

import numpy as np
import pytest

from bpttlab.claims import at_least, at_most, claim, median_of, near
from bpttlab.cli.checks import said

NETWORKS = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (at_most("", "", 1.0, 1.0), "holds"),
        (at_most("", "", 1.0 + 1e-9, 1.0), "fails"),
        (at_most("", "", -math.inf, 0.0), "holds"),
        (at_most("", "", math.nan, 1.0), "fails"),
        (at_most("", "", median_of(NETWORKS), 1.8), "holds"),
        (at_most("", "", median_of(NETWORKS), 1.4), "undecided"),
        (at_most("", "", median_of(NETWORKS), 0.9), "fails"),
        (at_most("", "", median_of(NETWORKS[:5]), 9.0), "undecided"),
        (at_most("", "", median_of([]), 9.0), "fails"),
        (at_least("", "", median_of(NETWORKS), 0.9), "holds"),
        (at_least("", "", median_of(NETWORKS), 1.8), "fails"),
        (near("", "", median_of(NETWORKS), 1.35, 0.4), "holds"),
        (near("", "", median_of(NETWORKS), 1.35, 0.1), "undecided"),
        (near("", "", median_of(NETWORKS), 3.0, 0.1), "fails"),
        (near("", "", 1.0, 1.1, 0.05), "fails"),
        (claim("", "", "many", 3.0, 0.0, True), "holds"),
    ],
)
def test_verdicts(row, verdict):
    assert row["verdict"] == verdict
    assert row["held"] == (verdict == "holds")


def test_a_median_is_of_logarithms_too():
    found = median_of([-np.inf] * 4 + [-1.0, -2.0, -3.0])
    assert found == (-np.inf, -np.inf, -1.0)
    assert median_of([-np.inf, -np.inf]).value == -np.inf
    assert median_of([1.0, 2.0]).value == 1.5
    assert math.isnan(median_of([1.0, math.nan]).value)


def test_a_line_shows_the_interval_where_there_is_one():
    line = said(near("rate", "Newman 1986", median_of(NETWORKS), 1.35, 0.1))
    assert line == "undecided rate: 1.35 [1, 1.7], expected 1.35 +- 0.1 (Newman 1986)"
    assert said(at_most("rate", "definition", 2.0, 1.0)) == "FAILS     rate: 2, expected <= 1 (definition)"
