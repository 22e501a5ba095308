"""Theory beside the measurement: right where it holds, silent with a reason where it does not."""

import math

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import tables, theory
from bpttlab.store import schema
from bpttlab.store.shards import Finished
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import compare_theory
from bpttlab.sweeps.theory_comparison import OVERLAYS

NOTHING = {"jacobians": "none", "lag_terms": "none", "truncations": "none"}
PRODUCTS = {"jacobians": "log", "lag_terms": "none", "truncations": "none"}
WIDE = {"cell": {"name": "elman", "hidden_size": 128}, "initializer": {"name": "gaussian", "gain": 1.5},
        "sequence_length": 100, "batch_size": 2, "measure": PRODUCTS}  # fmt: skip


def said(**plain):
    """What is known of a run before it is measured."""
    return compare_theory(Configuration.parse({"engine": "numpy", **plain}), {})


def run(plain):
    """What is measured of a run; nothing is compiled for it."""
    return lab.run({"engine": "numpy", **plain})


def changed(plain, **more):
    return {**plain, **more}


def test_every_overlay_has_its_columns_and_speaks_or_says_why():
    names = {column.name for column in schema.RUNS.columns}
    for name in OVERLAYS:
        assert {f"{name}_rate", f"{name}_residual", f"{name}_outside"} <= names
    for cell in ("elman", "lstm", "gru", "leaky", "diagonal", "orthogonal"):
        found = said(cell={"name": cell, "hidden_size": 4})
        for name in OVERLAYS:
            assert (f"{name}_rate" in found) or found[f"{name}_outside"], (cell, name)


# ------------------------------------------------------------------ wide networks


@pytest.mark.parametrize(
    "gain", [pytest.param(0.8, marks=pytest.mark.slow), 1.5, pytest.param(2.5, marks=pytest.mark.slow)]
)
def test_driven_networks_follow_their_mean_field(gain):
    residuals = [run(changed(WIDE, initializer={"name": "gaussian", "gain": gain}, seed=seed)).run for seed in range(4)]
    assert [one["mean_field_outside"] for one in residuals if "mean_field_outside" in one] == []
    assert abs(np.median([one["mean_field_residual"] for one in residuals])) < 0.06
    expected = theory.mean_field(residuals[0]["gain"], 1.0).rate
    assert residuals[0]["mean_field_rate"] == pytest.approx(expected, rel=1e-12)


def test_the_drive_is_that_of_inputs_and_biases():
    plain = changed(WIDE, scales={"V": 0.5, "x": 2.0, "b": 0.3})
    gain = run(changed(plain, measure=NOTHING)).run["gain"]
    assert said(**plain)["mean_field_rate"] == pytest.approx(theory.mean_field(gain, 1.0 + 0.09).rate, rel=1e-12)
    alone = changed(WIDE, scales={"x": 0.0, "h_0": 1.0})
    assert said(**alone)["mean_field_rate"] == pytest.approx(theory.mean_field(gain, 0.0).rate, rel=1e-12)


@pytest.mark.slow
def test_linear_and_relu_networks_follow_it_for_short_lags():
    for activation, offset in (("identity", 0.0), ("relu", 0.5 * math.log(2.0))):
        cell = {"name": "elman", "hidden_size": 256, "activation": activation}
        plain = changed(WIDE, cell=cell, sequence_length=16)
        residuals = [run(changed(plain, seed=seed)).run["mean_field_residual"] for seed in range(2)]
        assert abs(np.median(residuals)) < 0.04, activation
        gain = run(changed(plain, measure=NOTHING)).run["gain"]
        assert said(**plain)["mean_field_rate"] == pytest.approx(math.log(gain) - offset, rel=1e-12)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"cell": {"name": "gru", "hidden_size": 64}}, "cell=gru"),
        ({"cell": {"name": "elman", "hidden_size": 63}}, "cell.hidden_size=63"),
        ({"cell": {"name": "elman", "hidden_size": 64, "activation": "softplus"}}, "cell.activation=softplus"),
        ({"initializer": "orthogonal"}, "initializer=orthogonal"),
        ({"task": "adding"}, "task=adding"),
        ({"sequence_length": 49}, "sequence_length=49"),
        ({"scales": {"x": 0.0}}, "scales.h_0=0"),
        ({"cell": {"name": "elman", "hidden_size": 64, "activation": "relu"}}, "up to lag 4"),
    ],
)
def test_mean_field_says_why_it_is_silent(more, words):
    found = said(**changed(WIDE, **more))
    assert words in found["mean_field_outside"]
    assert "mean_field_rate" not in found
    assert "mean_field_residual" not in found


# ------------------------------------------------------------------ exact statements


@pytest.mark.parametrize("length", [30, 200])
def test_the_mean_exponent_is_that_of_the_determinants(length):
    plain = {"cell": {"name": "elman", "hidden_size": 12}, "spectral_radius": 1.3, "sequence_length": length,
             "measure": {**NOTHING, "exponents": "all"}}  # fmt: skip
    found = run(plain).run
    assert abs(found["determinant_residual"]) < 1e-9
    assert found["determinant_rate"] == pytest.approx(found["mean_exponent"], abs=1e-9)
    assert "measure.exponents=2" in run(changed(plain, measure={**NOTHING, "exponents": 2})).run["determinant_outside"]
    singular = changed(plain, initializer={"name": "identity"}, spectral_radius=0.0)
    assert "singular" in run(singular).run["determinant_outside"]


@pytest.mark.parametrize(
    "cell",
    [
        {"name": "lstm", "forget_bias": 2.0},
        {"name": "lstm"},
        {"name": "gru"},
        {"name": "minimal_rnn"},
        {"name": "leaky", "alpha": 0.3},
        {"name": "leaky", "alpha": 0.3, "activation": "logistic"},
        {"name": "antisymmetric", "gamma": 0.1},
    ],
)
def test_formulas_at_the_origin_are_exact(cell):
    found = run({"cell": {**cell, "hidden_size": 7}, "sequence_length": 3, "measure": NOTHING}).run
    assert found["origin_rate"] == pytest.approx(math.log(found["origin_radius"]), abs=1e-12)
    assert abs(found["origin_residual"]) < 1e-12
    biased = run({"cell": {**cell, "hidden_size": 7}, "sequence_length": 3, "measure": NOTHING, "scales": {"b": 0.5}})
    assert "scales.b" in biased.run["origin_outside"]


def test_lstm_without_input_forgets_at_the_rate_of_its_gate():
    plain = {"cell": {"name": "lstm", "hidden_size": 5, "forget_bias": 2.0}, "spectral_radius": 0.0,
             "sequence_length": 60, "scales": {"x": 0.0}, "measure": PRODUCTS}  # fmt: skip
    found = run(plain).run
    assert found["cell_path_rate"] == pytest.approx(-math.log1p(math.exp(-2.0)), rel=1e-13)
    assert abs(found["cell_path_residual"]) < 1e-12
    for more in ({"scales": {}}, {"spectral_radius": 0.5}, {"cell": {"name": "lstm", "chrono": 9, "hidden_size": 5}}):
        assert "cell_path_rate" not in said(**changed(plain, **more))


def test_bounds_hold_and_linear_network_tends_to_radius():
    linear = run({"cell": {"name": "elman", "hidden_size": 8, "activation": "identity"}, "sequence_length": 400,
                  "initializer": "orthogonal", "spectral_radius": 0.9, "measure": PRODUCTS}).run  # fmt: skip
    assert "asymptote_outside" not in linear
    assert abs(linear["asymptote_residual"]) < 1e-12
    bent = run({"sequence_length": 50, "measure": PRODUCTS}).run
    assert bent["bound_residual"] < 0
    assert "linear network" in bent["asymptote_outside"]
    assert bent["asymptote_residual"] == bent["growth_rate"] - bent["asymptote_rate"]


def test_of_a_run_that_failed_theory_still_speaks():
    found = said(cell={"name": "elman", "hidden_size": 8})
    assert "bound_rate" in found
    assert found["bound_residual"] is None


# ------------------------------------------------------------------ over networks


@pytest.fixture(scope="module")
def studied():
    import pandas as pd

    points = [(gain, seed) for gain in (0.8, 1.5) for seed in range(3)]
    rows = [run(changed(WIDE, initializer={"name": "gaussian", "gain": gain}, seed=seed)) for gain, seed in points]
    runs = schema.frame(Finished.of(rows).runs_table())
    jacobians = pd.concat([one.jacobians.assign(run_id=one.run["run_id"]) for one in rows], ignore_index=True)
    return runs, jacobians


@pytest.mark.slow
def test_a_table_of_theory_has_residuals_over_networks(studied):
    runs, _ = studied
    table = tables.theory(runs).set_index(["initializer_requested", "overlay"])
    row = table.loc[(1.5, "mean_field")]
    of_point = runs[runs["initializer_requested"] == 1.5]
    assert (row["networks"], row["within"]) == (3, 3)
    assert row["residual"] == pytest.approx(of_point["mean_field_residual"].median(), rel=1e-12)
    assert np.isnan([row["residual_low"], row["residual_high"]]).all()  # of three networks there is no interval
    assert table.loc[(1.5, "origin"), "within"] == 0
    assert "elman" in table.loc[(1.5, "origin"), "outside"]


def test_curves_have_the_mean_field_beside_the_typical_norm_only(studied):
    runs, jacobians = studied
    curves = tables.growth_curves(jacobians, runs)
    typical = curves[curves["quantity"] == "frobenius"]
    rate = runs.groupby("initializer_requested")["mean_field_rate"].median()
    expected = typical["lag"] * typical["initializer_requested"].map(rate)
    np.testing.assert_allclose(typical["mean_field"].astype(float), expected.astype(float), rtol=1e-12, atol=1e-300)
    assert curves.loc[curves["quantity"] == "spectral", "mean_field"].isna().all()


def test_linear_network_has_the_edge_of_its_powers():
    cell = {"name": "elman", "hidden_size": 256, "activation": "identity"}
    records = run(changed(WIDE, cell=cell, sequence_length=4, measure={**PRODUCTS, "jacobians": "all"}))
    runs = schema.frame(Finished.of([records]).runs_table())
    curves = tables.growth_curves(records.jacobians.assign(run_id=records.run["run_id"]), runs)
    spectral = curves[curves["quantity"] == "spectral"].set_index("lag")
    for lag in range(5):
        expected = theory.log_sigma_max_of_power(records.run["gain"], lag)
        assert spectral.loc[lag, "mean_field"] == pytest.approx(expected, abs=1e-12)
        assert spectral.loc[lag, "median"] == pytest.approx(expected, abs=0.07 * max(lag, 1))
