"""Summaries of spectra: known exponents come back, repeated networks are no evidence, and below resolution is said."""

import math

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.errors import LabError
from tests.support import spectral, synthetic

SWEEP = {"spectra": True, "radii": (0.5, 0.9, 1.5), "lengths": (10, 50), "truncations": ("full", "5"), "seeds": 3}
CELLS = {**SWEEP, "cells": ("elman", "lstm"), "lengths": (50,)}
CLOSE = {"rtol": 1e-9}


@pytest.fixture(scope="module")
def study():
    return synthetic.study(**CELLS)


def rows_at(frame, **wanted):
    """The rows with these values."""
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame)
    return frame.reset_index(drop=True)


def exponent(radius, cell="elman", index=1):
    return spectral.largest(synthetic.slope(radius), cell) - spectral.GAP * (index - 1)


OFFSETS = synthetic.SPREAD * (np.arange(3) - 1.0)
"""Of the three networks of a point."""


# ------------------------------------------------------------------ one row per sweep point


@pytest.mark.parametrize("radius", SWEEP["radii"])
@pytest.mark.parametrize("cell", CELLS["cells"])
def test_exponents_come_back(study, radius, cell):
    table = tables.exponents(study.runs)
    assert len(table) == 3 * 2
    (row,) = rows_at(table, initializer_requested=radius, cell=cell).to_dict("records")
    middle = exponent(radius, cell)
    np.testing.assert_allclose(row["lyapunov_exponent"], middle, **CLOSE)
    assert math.isnan(row["lyapunov_exponent_low"])  # three networks
    np.testing.assert_allclose(row["growth_rate"], synthetic.slope(radius), **CLOSE)
    np.testing.assert_allclose(row["trajectory_radius"], math.exp(middle), **CLOSE)
    np.testing.assert_allclose([row["origin_radius"], row["jacobian_radius"]], [0.9 * radius, 0.8 * radius], **CLOSE)
    assert [row["networks"], row["autonomous"], row["zero"], row["diverged"], row["failed"]] == [3, 2, 0, 0, 0]


def test_exponents_have_the_interval_of_their_median():
    changes = {"radii": (0.9,), "truncations": ("full",), "lengths": (10,), "seeds": 9}
    row = tables.exponents(synthetic.study(**{**SWEEP, **changes}).runs).iloc[0]
    found = [row[f"lyapunov_exponent{end}"] for end in ("", "_low", "_high")]
    np.testing.assert_allclose(found, exponent(0.9) + synthetic.SPREAD * np.array([0, -3, 3]), **CLOSE)


def test_dimension_and_entropy_are_of_autonomous_networks(study):
    row = rows_at(tables.exponents(study.runs), initializer_requested=1.5, cell="elman").iloc[0]
    spectrum = [[exponent(1.5, index=i) + offset for i in range(1, 33)] for offset in OFFSETS[::2]]
    sums = [sum(value for value in values if value > 0) for values in spectrum]
    np.testing.assert_allclose(row["entropy_bound"], np.median(sums), **CLOSE)
    driven = study.runs[study.runs["seed"] == 1]
    assert tables.exponents(driven)["entropy_bound"].isna().all()
    assert set(tables.exponents(driven)["autonomous"]) == {0}


def test_a_network_counts_once_however_often_it_was_truncated(study):
    full_only = study.runs[study.runs["truncation"] == "full"]
    pd.testing.assert_frame_equal(tables.exponents(full_only), tables.exponents(study.runs))


def test_runs_that_were_not_asked_for_exponents_leave_no_row(study):
    at = study.runs["initializer_requested"] == 0.5
    runs = study.runs.assign(measure_exponents=np.where(at, "none", "all"))
    runs.loc[at, "lyapunov_exponent"] = np.nan
    table = tables.exponents(runs)
    assert set(table["initializer_requested"]) == {0.9, 1.5}
    unmeasured = study.runs.assign(measure_exponents="none", run_id="0" + study.runs["run_id"].str[1:])
    unmeasured["lyapunov_exponent"] = np.nan
    both = pd.concat([unmeasured, study.runs], ignore_index=True)
    pd.testing.assert_frame_equal(tables.exponents(both), tables.exponents(study.runs))
    unsaid = both.drop(columns="measure_exponents")
    pd.testing.assert_frame_equal(tables.exponents(unsaid), tables.exponents(study.runs))


@pytest.mark.slow
def test_diverged_and_infinite_exponents_are_counted(study):
    chosen = (study.runs["initializer_requested"] == 1.5) & (study.runs["seed"] == 0)
    holes = synthetic.diverged(study, chosen)
    row = rows_at(tables.exponents(holes.runs), initializer_requested=1.5, cell="lstm").iloc[0]
    assert [row["networks"], row["diverged"]] == [2, 1]
    np.testing.assert_allclose(row["lyapunov_exponent"], exponent(1.5, "lstm") + OFFSETS[1:].mean(), **CLOSE)
    flat = tables.exponents(synthetic.study(**CELLS, flat=True).runs)
    assert set(flat["lyapunov_exponent"]) == {-np.inf}
    assert set(flat["zero"]) == set(flat["networks"]) == {3}
    assert flat["lyapunov_exponent_low"].isna().all()


def test_the_summaries_have_exponents_where_there_are_some(study):
    assert list(tables.summaries(study)) == [
        *("headline", "growth", "sufficient_truncation", "critical_spectral_radius", "truncation_bias", "exponents")
    ]
    assert "exponents" not in tables.summaries(synthetic.study(radii=(0.9,), lengths=(10,)))
    none = study.runs.assign(lyapunov_exponent=np.nan)
    assert not tables.has_exponents(none)
    with pytest.raises(LabError, match="'lyapunov_exponent'"):
        tables.exponents(study.runs.drop(columns="lyapunov_exponent"))


def test_every_column_has_a_name_in_print(study):
    table = tables.exponents(study.runs)
    ends = {f"{name}_{end}" for name in table for end in ("low", "high") if f"{name}_low" in table}
    assert set(table) - ends <= set(tables.COLUMNS)
    assert "exponent (nat/step)" in tables.markdown(table)


# ------------------------------------------------------------------ spectra


@pytest.mark.parametrize(("cell", "size"), [("elman", 32), ("lstm", 64)])
def test_the_spectrum_is_the_median_of_sequences_and_networks(study, cell, size):
    curve = rows_at(tables.spectrum_curves(study.spectra, study.runs), initializer_requested=0.9, cell=cell)
    expected = np.array([exponent(0.9, cell, index) for index in range(1, size + 1)])
    assert list(curve["index"]) == list(range(1, size + 1))
    np.testing.assert_allclose(curve["median"], expected, **CLOSE)
    band = np.quantile(OFFSETS, [0.25, 0.75])
    np.testing.assert_allclose(curve["low"] - expected, np.full(size, band[0]), rtol=1e-6)
    np.testing.assert_allclose(curve["high"] - expected, np.full(size, band[1]), rtol=1e-6)
    np.testing.assert_allclose(curve["index_per_unit"], curve["index"] / 32, **CLOSE)
    assert set(curve["networks"]) == {3}
    assert set(curve["zero"]) == {0}


def test_what_is_below_resolution_is_counted_and_kept(study):
    curve = rows_at(tables.spectrum_curves(study.spectra, study.runs), initializer_requested=0.5, cell="elman")
    networks = np.array([[exponent(0.5, index=i) + offset for i in range(1, 33)] for offset in OFFSETS])
    below = (networks - spectral.APART <= -1.2).sum(axis=0)  # a median of two is -inf where the smaller one is
    assert curve["unresolved"].tolist() == below.tolist()
    assert {0, 3} <= set(below)
    assert np.isfinite(curve["median"]).all()
    flat = synthetic.study(**CELLS, flat=True)
    zeros = tables.spectrum_curves(flat.spectra, flat.runs)
    assert set(zeros["median"]) == {-np.inf}
    assert set(zeros["zero"]) == {3}


@pytest.mark.parametrize(
    "name",
    [
        *("spectra", "finite_time", "blocks"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("eigenvalues", "singular_values", "sensitivity")),
    ],
)
def test_curves_do_not_need_the_runs_beside_them(study, name):
    make = {
        "spectra": tables.spectrum_curves,
        "finite_time": tables.finite_time_distribution,
        "blocks": tables.block_curves,
        "eigenvalues": tables.eigenvalue_points,
        "singular_values": lambda table, runs=None: tables.singular_value_curves(table, runs, study.spectra),
        "sensitivity": lambda table, runs=None: tables.sensitivity_curves(table, runs, study.jacobians),
    }[name]
    table = getattr(study, name)
    pd.testing.assert_frame_equal(make(table), make(table, study.runs))
    shuffled = make(table.sample(frac=1, random_state=1), study.runs.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(shuffled, make(table, study.runs))


# ------------------------------------------------------------------ finite time


def test_windows_of_all_networks_are_in_the_histogram_once(study):
    bins = rows_at(
        tables.finite_time_distribution(study.finite_time, study.runs), initializer_requested=0.9, cell="lstm"
    )
    raw = rows_at(study.finite_time, spectral_radius=0.9, cell="lstm", index=1, truncation="full")
    assert len(raw) == 3 * 2 * spectral.WINDOWS == bins["windows"].sum()
    expected, edges = np.histogram(raw["finite_time_exponent"], bins=len(bins))
    assert bins["windows"].tolist() == expected.tolist()
    np.testing.assert_allclose(bins["bin_low"], edges[:-1], **CLOSE)
    np.testing.assert_allclose((bins["density"] * (bins["bin_high"] - bins["bin_low"])).sum(), 1.0, **CLOSE)
    np.testing.assert_allclose(bins["mean"], exponent(0.9, "lstm"), **CLOSE)
    assert set(bins["steps"]) == {50}
    assert set(bins["networks"]) == {3}


def test_the_mean_counts_each_window_by_its_steps(study):
    uneven = study.finite_time.assign(steps=np.where(study.finite_time["t"] == 50, 100, 50))
    first = uneven[uneven["t"] <= 100]
    found = rows_at(tables.finite_time_distribution(first, study.runs), initializer_requested=0.9, cell="elman")[
        "mean"
    ][0]
    swings = np.cos(2 * math.pi * (np.arange(2)[:, None] + 0.3 * np.arange(3)) / spectral.WINDOWS)
    networks = exponent(0.9) + OFFSETS + spectral.SWING * (2 * swings[0] + swings[1]) / 3
    np.testing.assert_allclose(found, np.median(networks), **CLOSE)


def test_windows_at_minus_infinity_are_counted(study):
    rows = study.finite_time.assign(
        finite_time_exponent=study.finite_time["finite_time_exponent"].where(study.finite_time["t"] > 50, -np.inf)
    )
    bins = rows_at(tables.finite_time_distribution(rows, study.runs), initializer_requested=0.9, cell="elman")
    assert set(bins["zero"]) == {3 * 2}
    share = (bins["density"] * (bins["bin_high"] - bins["bin_low"])).sum()
    np.testing.assert_allclose(share, 1 - 1 / spectral.WINDOWS, **CLOSE)
    assert set(bins["mean"]) == {-np.inf}
    flat = synthetic.study(**CELLS, flat=True)
    assert tables.finite_time_distribution(flat.finite_time, flat.runs)["density"].isna().all()


def test_one_window_is_one_bin(study):
    one = study.finite_time[(study.finite_time["t"] == 50) & (study.finite_time["sequence"] == 0)]
    one = one[one["seed"] == 0]
    bins = rows_at(tables.finite_time_distribution(one, study.runs), initializer_requested=0.9, cell="elman")
    assert bins["windows"].tolist() == [1]
    assert bins["bin_low"][0] < bins["mean"][0] < bins["bin_high"][0]


# ------------------------------------------------------------------ products


def test_singular_values_tend_to_the_exponents(study):
    curves = tables.singular_value_curves(study.singular_values, study.runs, study.spectra)
    for lag in (1, 5, 16, 50):
        rate = rows_at(curves, initializer_requested=0.9, cell="elman", quantity="rate", lag=lag)
        expected = np.array([exponent(0.9, index=index) for index in range(1, 33)])
        np.testing.assert_allclose(rate["lyapunov_exponent"], expected, **CLOSE)
        np.testing.assert_allclose(rate["median"], expected + spectral.LEVEL / lag, **CLOSE)
        log = rows_at(curves, initializer_requested=0.9, cell="elman", quantity="log_singular_value", lag=lag)
        np.testing.assert_allclose(log["median"], lag * expected + spectral.LEVEL, rtol=1e-8)
    identity = rows_at(curves, initializer_requested=0.9, cell="elman", lag=0)
    assert set(identity["quantity"]) == {"log_singular_value"}
    assert set(identity["median"]) == {0.0}
    alone = tables.singular_value_curves(study.singular_values, study.runs)
    assert alone["lyapunov_exponent"].isna().all()


def test_singular_values_below_resolution_are_counted(study):
    curves = tables.singular_value_curves(study.singular_values, study.runs)
    far = rows_at(curves, initializer_requested=0.9, cell="elman", quantity="rate", lag=50)
    gone = spectral.GAP * (far["index"] - 1) * 50 > spectral.RESOLUTION
    assert far["unresolved"].tolist() == (3 * gone).tolist()
    one = study.singular_values.assign(resolved=study.singular_values["sequence"] == 0)
    assert set(tables.singular_value_curves(one, study.runs)["unresolved"]) == {3}


@pytest.mark.parametrize(("norm", "level"), [("spectral", 0.0), ("frobenius", -1.0)])
def test_blocks_are_curves_of_their_own(study, norm, level):
    curves = rows_at(tables.block_curves(study.blocks, study.runs), quantity=norm)
    part = rows_at(curves, initializer_requested=0.9, block="c<-h")
    expected = (exponent(0.9, "lstm") - 0.05) * part["lag"] - 2.0 + level
    np.testing.assert_allclose(part["median"], expected.astype(float), **CLOSE)
    assert set(curves["unresolved"]) == {0}


def test_unresolved_block_is_smaller_than_resolved_ones(study):
    def with_missing(seeds):
        hidden = study.blocks["seed"].isin(seeds) & (study.blocks["lag"] == 50) & (study.blocks["block"] == "h<-h")
        blocks = study.blocks.assign(log_spectral_norm=study.blocks["log_spectral_norm"].mask(hidden))
        curves = tables.block_curves(blocks, study.runs)
        return rows_at(curves, initializer_requested=0.9, block="h<-h", lag=50, quantity="spectral").iloc[0]

    whole, one, two, smallest = (with_missing(seeds) for seeds in ((), (2,), (1, 2), (0,)))
    assert [row["unresolved"] for row in (whole, one, two, smallest)] == [0, 1, 2, 1]
    np.testing.assert_allclose(whole["median"], 50 * exponent(0.9, "lstm"), **CLOSE)
    np.testing.assert_allclose(smallest["median"], whole["median"], **CLOSE)
    np.testing.assert_allclose(one["median"], 50 * (exponent(0.9, "lstm") + OFFSETS[0]), **CLOSE)
    assert math.isnan(two["median"])
    assert math.isnan(one["low"])
    assert [row["zero"] for row in (whole, one, two)] == [0, 0, 0]


# ------------------------------------------------------------------ sensitivity, eigenvalues


def test_sensitivity_stands_beside_product_of_equal_length(study):
    curves = tables.sensitivity_curves(study.sensitivity, study.runs, study.jacobians)
    part = rows_at(curves, initializer_requested=0.9, cell="lstm", parameter="V", t=50)
    rates = synthetic.slope(0.9) + OFFSETS
    expected = np.median(np.log(np.expm1(50 * rates) / np.expm1(rates))) + 1.5
    np.testing.assert_allclose(part["median"], [expected], **CLOSE)
    product = rows_at(curves, initializer_requested=0.9, cell="lstm", quantity="product")
    assert product["parameter"].isna().all()
    growth = tables.growth_curves(study.jacobians, study.runs)
    beside = rows_at(growth, initializer_requested=0.9, cell="lstm", quantity="spectral")
    assert product["t"].tolist() == beside["lag"].tolist()
    np.testing.assert_allclose(product["median"], beside["median"].astype(float), **CLOSE)
    alone = tables.sensitivity_curves(study.sensitivity, study.runs)
    assert set(alone["quantity"]) == {"sensitivity"}
    none = tables.sensitivity_curves(study.sensitivity, study.runs, study.jacobians.iloc[:0])
    pd.testing.assert_frame_equal(none, alone)


def test_eigenvalues_are_of_the_first_network_of_a_point(study):
    points = tables.eigenvalue_points(study.eigenvalues, study.runs)
    assert set(points["seed"]) == {0}
    assert len(points.drop_duplicates("run_id")) == 3 * 2
    run = points["run_id"].iloc[0]
    stored = study.eigenvalues[study.eigenvalues["run_id"] == run]
    assert len(points[points["run_id"] == run]) == len(stored)
    keys = ["matrix", "sequence", "t", "index"]
    both = points.merge(stored, on=["run_id", *keys], suffixes=("", "_stored"))
    assert len(both) == len(stored)
    assert (both["real"] == both["real_stored"]).all()
    other = study.runs.loc[study.runs["seed"] == 2, "run_id"].iloc[0]
    assert set(tables.eigenvalue_points(study.eigenvalues, study.runs, other)["run_id"]) == {other}


@pytest.mark.slow
def test_nothing_that_is_given_is_changed(study):
    before = {name: frame.copy() for name, frame in synthetic.frames_of(study).items() if name != "name"}
    tables.exponents(study.runs)
    tables.spectrum_curves(study.spectra, study.runs)
    tables.finite_time_distribution(study.finite_time, study.runs)
    tables.singular_value_curves(study.singular_values, study.runs, study.spectra)
    tables.block_curves(study.blocks, study.runs)
    tables.sensitivity_curves(study.sensitivity, study.runs, study.jacobians)
    tables.eigenvalue_points(study.eigenvalues, study.runs)
    for name, frame in before.items():
        pd.testing.assert_frame_equal(getattr(study, name), frame)
