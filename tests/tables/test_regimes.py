"""A regime says what is left over the sequence; the asymptotic rate is another number, and no label follows from it."""

import math

import numpy as np
import pytest

from bpttlab import tables
from bpttlab.tables.regimes import REGIMES, regime
from tests.support import synthetic
from tests.support.analysed import swept
from tests.support.frames import one

PRODUCTS = {"lag_terms": "none", "truncations": "none"}
LINEAR = {"cell": {"name": "elman", "hidden_size": 16, "activation": "identity"}, "batch_size": 1, "task": "noise",
          "initializer": {"name": "non_normal", "feed_forward": 3.0}, "measure": PRODUCTS}  # fmt: skip
DIGITS = {"cell": {"name": "elman", "hidden_size": 32}, "batch_size": 4, "task": {"name": "digits", "by": "row"},
          "measure": PRODUCTS}  # fmt: skip


def of_networks(log_growth, **changes):
    """The row of networks with these values of log_growth, each of another seed."""
    study = synthetic.study(radii=(1.5,), lengths=(50,), truncations=("full",), seeds=len(log_growth), **changes)
    left = study.runs["seed"].map(dict(enumerate(log_growth)))
    return tables.growth(study.runs.assign(log_growth=left)).iloc[0]


# ------------------------------------------------------------------ the rule


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-3.0, -1.1, "vanishing"),
        (-3.0, -1.0, "undecided"),
        (-1.0, 1.0, "critical"),
        (-0.1, 1.1, "undecided"),
        (1.0, 3.0, "undecided"),
        (1.1, 3.0, "exploding"),
        (-5.0, 5.0, "undecided"),
        (-math.inf, -math.inf, "vanishing"),
        (-math.inf, 0.0, "undecided"),
        (math.nan, math.nan, "undecided"),
    ],
)
def test_the_regime_of_an_interval(low, high, expected):
    assert regime([low], [high]) == [expected]


def test_the_regime_of_a_point_follows_from_its_interval():
    table = tables.growth(synthetic.study(seeds=9, lengths=(10, 50), truncations=("full",)).runs)
    ends = zip(table["log_growth_low"], table["log_growth_high"], strict=True)
    assert list(table["regime"]) == [str(regime(low, high)) for low, high in ends]
    assert set(table["regime"]) == set(REGIMES)


def test_networks_that_disagree_are_undecided():
    assert of_networks([-2.0] * 3 + [2.0] * 3)["regime"] == "undecided"
    assert of_networks([2.0] * 6)["regime"] == "exploding"


# ------------------------------------------------------------------ few networks, and nothing left


@pytest.mark.parametrize("log_growth", [-500.0, 0.0, 500.0, -math.inf])
def test_fewer_than_six_networks_have_no_interval_and_no_regime(log_growth):
    row = of_networks([log_growth] * 5)
    assert row["log_growth"] == log_growth
    assert math.isnan(row["log_growth_low"])
    assert math.isnan(row["log_growth_high"])
    assert row["regime"] == "undecided"
    assert row["networks"] == 5


def test_where_nothing_is_left_it_vanished_whatever_the_rate():
    row = of_networks([-math.inf] * 6)
    assert [row["vanished"], row["fitted"], row["regime"]] == [6, 6, "vanishing"]
    assert row["growth_rate_low"] > 0
    assert [row["log_growth_low"], row["log_growth_high"]] == [-math.inf, -math.inf]


def test_one_network_that_lost_everything_does_not_decide_for_the_others():
    assert of_networks([-math.inf, *[5.0] * 8])["regime"] == "exploding"
    assert of_networks([-math.inf, *[5.0] * 5])["regime"] == "undecided"


# ------------------------------------------------------------------ where the rate says another thing


@pytest.fixture(scope="module")
def growth(tmp_path_factory):
    points = [
        *({**LINEAR, "spectral_radius": 0.995, "sequence_length": 50, "seed": seed} for seed in range(8)),
        *({**LINEAR, "spectral_radius": 0.97, "sequence_length": 100, "seed": seed} for seed in range(8)),
        *({**DIGITS, "spectral_radius": 1.05, "sequence_length": 200, "seed": seed} for seed in range(8)),
    ]
    return tables.growth(swept(points, "regimes", tmp_path_factory).runs)


@pytest.mark.parametrize(
    ("length", "by_the_rate", "expected"),
    [(50, "critical", "exploding"), (100, "vanishing", "exploding"), (200, "critical", "vanishing")],
    ids=["linear, rho 0.995", "linear, rho 0.97", "digits, rho 1.05"],
)
def test_a_transient_decides_what_is_left_and_the_rate_does_not(growth, length, by_the_rate, expected):
    row = one(growth, sequence_length=length)
    assert str(regime(*(length * row[f"growth_rate_{end}"] for end in ("low", "high")))) == by_the_rate
    assert row["regime"] == expected
    assert np.sign(row["log_growth"]) == (1 if expected == "exploding" else -1)


def test_what_grew_first_is_kept_to_the_end(growth):
    for length in (50, 100):
        row = one(growth, sequence_length=length)
        assert row["growing_horizon"] == 1
        assert row["vanishing_horizon"] == length
