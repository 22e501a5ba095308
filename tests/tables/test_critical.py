"""The critical spectral radius: what a sweep knows of it is a bracket, and its interval holds the whole of it."""

import math

import numpy as np
import pytest

from bpttlab import tables
from bpttlab.tables.critical import describe_brackets, sign_changes
from tests.support import synthetic
from tests.support.analysed import swept
from tests.support.frames import one

CLOSE = {"rtol": 1e-12}
COARSE = (1.0, 2.5)
FINE = (1.0, 1.3, 1.5, 1.7, 2.0, 2.5)


@pytest.fixture(scope="module")
def study():
    return synthetic.study(lengths=(10, 50), truncations=("full",))


def test_critical_radius_is_the_interpolated_zero(study):
    row = one(tables.critical_spectral_radius(study.runs), sequence_length=50)
    crossings = []
    for seed in range(4):
        rates = [synthetic.slope(radius) + synthetic.SPREAD * (seed - 1.5) for radius in (1.0, 1.1)]
        crossings.append(np.interp(0.0, rates, [1.0, 1.1]))
    np.testing.assert_allclose(row["critical"], np.median(crossings), rtol=1e-9)
    assert math.isnan(row["critical_low"])  # four networks
    assert [row["networks"], row["one"], row["none"], row["several"]] == [4, 4, 0, 0]
    assert [row["bracket_low"], row["bracket_high"], row["lowest"], row["highest"]] == [1.0, 1.1, 0.5, 1.5]
    assert abs(row["critical"] - math.exp(synthetic.SHIFT)) < 0.005


def test_a_sweep_on_one_side_has_no_critical_radius():
    row = tables.critical_spectral_radius(synthetic.study(radii=(0.5, 0.9), lengths=(50,)).runs).iloc[0]
    assert [row["one"], row["none"], row["several"]] == [0, 4, 0]
    assert math.isnan(row["critical"])
    assert math.isnan(row["critical_low"])


def test_a_bracket_names_radii_that_were_swept():
    runs = synthetic.study(radii=(1.0, 1.3, 2.0), lengths=(50,), seeds=8, truncations=("full",), rate=curved).runs
    runs["growth_rate"] += runs["seed"].map(dict.fromkeys(range(4), 0.3)).fillna(0.0)  # half of them below 1.3
    row = tables.critical_spectral_radius(runs).iloc[0]
    assert [row["one"], row["bracket_low"], row["bracket_high"]] == [8, 1.0, 2.0]
    assert row["bracket_low"] <= row["critical"] <= row["bracket_high"]


def test_one_radius_is_no_sweep():
    runs = synthetic.study(lengths=(50,), truncations=("full",), tasks=("noise", "adding")).runs
    alone = runs[(runs["task"] == "noise") | (runs["initializer_requested"] == 1.1)]
    assert tables.critical_spectral_radius(alone)["task"].tolist() == ["noise"]
    assert tables.critical_spectral_radius(alone[alone["task"] == "adding"]).empty


def test_the_caption_says_whether_there_is_a_bracket(study):
    assert describe_brackets(tables.critical_spectral_radius(study.runs))[0].startswith("bracket: radii swept")
    below = synthetic.study(radii=(0.5, 0.9), lengths=(50,)).runs
    assert describe_brackets(tables.critical_spectral_radius(below))[0].startswith("no bracket: ")


def test_several_sign_changes_are_counted_and_not_averaged(study):
    runs = study.runs[study.runs["sequence_length"] == 50].copy()
    bumpy = (runs["seed"] == 0) & (runs["initializer_requested"] == 0.5)
    runs.loc[bumpy, "growth_rate"] = 0.1
    row = tables.critical_spectral_radius(runs).iloc[0]
    assert [row["one"], row["none"], row["several"]] == [3, 0, 1]
    alone = tables.critical_spectral_radius(runs[runs["seed"] != 0]).iloc[0]
    np.testing.assert_allclose(row["critical"], alone["critical"], **CLOSE)


def test_a_radius_that_diverged_leaves_a_wider_bracket(study):
    chosen = (study.runs["initializer_requested"] == 1.1) & (study.runs["sequence_length"] == 50)
    row = one(tables.critical_spectral_radius(synthetic.diverged(study, chosen).runs), sequence_length=50)
    assert [row["bracket_low"], row["bracket_high"], row["one"]] == [1.0, 1.5, 4]


def test_with_a_gain_the_measured_radius_of_each_matrix_counts():
    study = synthetic.study(initializer="gaussian", target="gain", lengths=(50,))
    row = tables.critical_spectral_radius(study.runs).iloc[0]
    crossings = []
    for seed in range(4):
        rates = [synthetic.slope(radius) + synthetic.SPREAD * (seed - 1.5) for radius in (1.0, 1.1)]
        crossings.append(np.interp(0.0, rates, np.array([1.0, 1.1]) * (1 + 0.01 * seed)))
    np.testing.assert_allclose(row["critical"], np.median(crossings), rtol=1e-9)
    assert row["initializer_target"] == "gain"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([-1.0, 1.0, 3.0], [(1.0, 2.0, 1.5)]),
        ([-1.0, 0.0, 3.0], [(2.0, 2.0, 2.0)]),
        ([-1.0, 1.0, -1.0], [(1.0, 2.0, 1.5), (2.0, 3.0, 2.5)]),
        ([-1.0, -1.0, -3.0], []),
    ],
)
def test_sign_changes(rates, expected):
    assert sign_changes([1.0, 2.0, 3.0], rates) == expected


def test_no_line_is_drawn_to_an_exact_zero():
    ((low, high, estimate),) = sign_changes([1.0, 2.0], [-np.inf, 1.0])
    assert (low, high) == (1.0, 2.0)
    assert math.isnan(estimate)


def test_median_needs_an_estimate_of_every_network():
    runs = synthetic.study(radii=(0.9, 1.5), lengths=(50,), seeds=6, truncations=("full",)).runs
    runs.loc[(runs["seed"] == 0) & (runs["initializer_requested"] == 0.9), "growth_rate"] = -np.inf
    row = tables.critical_spectral_radius(runs).iloc[0]
    assert row["one"] == 6
    assert math.isnan(row["critical"])
    assert [row["critical_low"], row["critical_high"]] == [0.9, 1.5]


# ------------------------------------------------------------------ the interval holds the interpolation


def curved(radius):
    """A rate that a straight line through two far points is wrong about."""
    return 0.5 * (1.0 - (1.35 / radius) ** 4)


def on_grid(runs, radii):
    return tables.critical_spectral_radius(runs[runs["initializer_requested"].isin(radii)]).iloc[0]


def test_the_interval_is_that_of_the_brackets_ends():
    runs = synthetic.study(radii=(1.0, 1.3, 1.4, 2.0), lengths=(50,), seeds=9, truncations=("full",), rate=curved).runs
    runs["growth_rate"] += runs["seed"].map({0: 0.2, 1: 0.2, 2: 0.2, 8: -0.2}).fillna(0.0)  # below 1.3, above 1.4
    row = tables.critical_spectral_radius(runs).iloc[0]
    assert row["one"] == 9
    assert [row["bracket_low"], row["bracket_high"]] == [1.3, 1.4]
    assert [row["critical_low"], row["critical_high"]] == [1.0, 1.4]  # of nine the second and the eighth


def test_interval_of_coarse_grid_contains_fine_estimate():
    radii = tuple(np.linspace(1.0, 2.5, 16).round(3))
    runs = synthetic.study(radii=radii, lengths=(50,), seeds=8, truncations=("full",), rate=curved).runs
    coarse, fine = on_grid(runs, COARSE), on_grid(runs, radii)
    assert abs(fine["critical"] - 1.35) < 0.02
    assert abs(coarse["critical"] - 1.35) > 0.1  # the straight line is far off
    assert coarse["critical_low"] <= fine["critical_low"] <= fine["critical"]
    assert fine["critical"] <= fine["critical_high"] <= coarse["critical_high"]
    assert fine["critical_high"] - fine["critical_low"] < 0.25


@pytest.mark.slow
def test_so_it_does_for_driven_networks(tmp_path_factory):
    network = {"cell": {"name": "elman", "hidden_size": 32}, "batch_size": 2, "sequence_length": 60, "task": "noise",
               "scales": {"V": 0.7}, "measure": {"lag_terms": "none", "truncations": "none"}}  # fmt: skip
    points = [{**network, "spectral_radius": radius, "seed": seed} for radius in FINE for seed in range(6)]
    runs = swept(points, "critical", tmp_path_factory).runs
    coarse, fine = on_grid(runs, COARSE), on_grid(runs, FINE)
    assert coarse["one"] == fine["one"] == 6
    assert abs(coarse["critical"] - fine["critical"]) > 0.2
    assert coarse["critical_low"] <= fine["critical_low"] <= fine["critical"]
    assert fine["critical"] <= fine["critical_high"] <= coarse["critical_high"]


def test_print_says_that_the_value_is_interpolated():
    runs = synthetic.study(radii=COARSE, lengths=(50,), seeds=8, truncations=("full",), rate=curved).runs
    shown = tables.present(tables.critical_spectral_radius(runs)).iloc[0]
    assert shown["critical radius, interpolated [95 %, brackets]"].endswith("[1.00, 2.50]")
