"""A regime says what is left over the sequence; the asymptotic rate is another number, and no label follows from it."""

import math

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.tables.regimes import OF_NETWORK, OF_POINT, REGIMES, describe_regimes, regime
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
        (math.nan, math.nan, "no interval"),
    ],
)
def test_the_regime_of_an_interval(low, high, expected):
    assert regime([low], [high]) == [expected]


def test_the_regime_of_a_point_follows_from_its_interval():
    table = tables.growth(synthetic.study(seeds=9, lengths=(10, 50), truncations=("full",)).runs)
    ends = zip(table["log_growth_low"], table["log_growth_high"], strict=True)
    assert list(table["regime"]) == [str(regime(low, high)) for low, high in ends]
    assert set(table["regime"]) == set(REGIMES)


def test_networks_that_disagree_are_undecided_and_counted():
    row = of_networks([-2.0] * 3 + [2.0] * 3 + [0.5])
    assert row["regime"] == "undecided"
    assert row["regimes_of_networks"] == "3 vanishing, 3 exploding, 1 critical"
    assert of_networks([2.0] * 6)["regime"] == "exploding"


# ------------------------------------------------------------------ few networks, and nothing left


@pytest.mark.parametrize("log_growth", [-500.0, 0.0, 500.0, -math.inf])
def test_fewer_than_six_networks_have_no_interval_and_no_regime(log_growth):
    row = of_networks([log_growth] * 5)
    assert row["log_growth"] == log_growth
    assert math.isnan(row["log_growth_low"])
    assert math.isnan(row["log_growth_high"])
    assert row["regime"] == "no interval"
    assert row["networks"] == 5


@pytest.mark.parametrize(
    ("log_growth", "own"),
    [(-25.0, "1 vanishing"), (25.0, "1 exploding"), (1.0, "1 critical"), (-math.inf, "1 vanishing")],
)
def test_one_network_has_a_regime_of_its_own(log_growth, own):
    row = of_networks([log_growth])
    assert [row["regime"], row["regimes_of_networks"]] == ["no interval", own]


def described(log_growth, **changes):
    """The caption of a point of networks with these values."""
    return describe_regimes(pd.DataFrame([of_networks(log_growth, **changes)]))


def test_the_caption_says_what_is_lacking_and_the_thresholds():
    assert described([-25.0])[0] == "1 network: no interval over networks; sweep seed=range(0,8)"
    assert described([-25.0] * 3)[0] == "3 networks: no interval over networks (it needs 6); sweep seed=range(0,8)"
    assert described([-25.0] * 6) == [OF_POINT, f"by network: {OF_NETWORK}"]


def test_networks_of_files_are_not_told_to_sweep_seeds():
    row = of_networks([-25.0]).replace({"spectral_radius": "measured_radius"})
    assert describe_regimes(pd.DataFrame([row]))[0] == "1 network: no interval over networks"


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_point_whose_networks_all_ended_early_says_so(status):
    study = synthetic.study(radii=(0.5, 9.0), lengths=(50,), truncations=("full",), seeds=8)
    lost = synthetic.diverged(study, study.runs["initializer_requested"] == 9.0, status).runs
    row = one(tables.growth(lost), initializer_requested=9.0)
    assert [row["regime"], row["regimes_of_networks"], row["networks"]] == [status, f"8 {status}", 0]


def test_a_network_that_diverged_is_counted_beside_the_others():
    study = synthetic.study(radii=(0.5,), lengths=(50,), truncations=("full",), seeds=7)
    row = tables.growth(synthetic.diverged(study, study.runs["seed"] == 0).runs).iloc[0]
    assert [row["regime"], row["regimes_of_networks"]] == ["vanishing", "6 vanishing, 1 diverged"]


def test_a_point_that_was_not_asked_for_its_growth_has_no_row():
    study = synthetic.study(radii=(0.5, 0.9), lengths=(50,), truncations=("full",), seeds=3)
    unasked = synthetic.diverged(study, study.runs["initializer_requested"] == 0.9, "done").runs
    assert tables.growth(unasked)["initializer_requested"].tolist() == [0.5]
    some = synthetic.diverged(study, study.runs["seed"] == 2, "done").runs
    row = one(tables.growth(some), initializer_requested=0.9)
    assert [row["regimes_of_networks"], row["growing_none"]] == ["2 vanishing, 1 not measured", 2]


def test_where_nothing_is_left_it_vanished_whatever_the_rate():
    row = of_networks([-math.inf] * 6)
    assert [row["vanished"], row["fitted"], row["regime"]] == [6, 6, "vanishing"]
    assert row["growth_rate_low"] > 0
    assert [row["log_growth_low"], row["log_growth_high"]] == [-math.inf, -math.inf]


def test_one_network_at_minus_infinity_decides_nothing():
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
