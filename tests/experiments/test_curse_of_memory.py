"""The curse of memory: every claim holds on a reduced sweep, and fails on doctored tables."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.analysed import analysis_of, draw, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many networks; `make verify` runs it

QUIET = {
    "jacobians": "log",
    "lags": 4,
    "bound_lags": 0,
    "lag_terms": "none",
    "transient_lags": 0,
    "sensitivity_steps": 2,
}
SCALAR = {"batch_size": 500, "sequence_length": 300, "task": {"name": "noise", "input_size": 1},
          "cell": {"name": "elman", "hidden_size": 1, "activation": "identity"}, "initializer": "identity",
          "measure": {**QUIET, "jacobians": "none", "sequences": 500}}  # fmt: skip
RING = {"batch_size": 16, "sequence_length": 500, "task": {"name": "noise", "input_size": 6},
        "measure": {**QUIET, "sequences": 16}}  # fmt: skip


def reduced():
    """The sweep of the experiment with shorter memories, and fewer networks."""
    points = [{**SCALAR, "spectral_radius": decay, "seed": seed} for decay in (0.5, 0.9, 0.96) for seed in range(8)]
    for radius in (0.5, 0.9, 0.98):
        for normalise in (True, False):
            cell = {"name": "diagonal", "hidden_size": 6, "r_min": radius, "r_max": radius, "normalise": normalise}
            points += [{**RING, "cell": cell, "seed": seed} for seed in range(8)]
    return points


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "curse", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("curse_of_memory")


def test_every_claim_holds_on_a_reduced_sweep(study, analysis):
    claims = analysis["claims"](study)
    assert claims["held"].all(), claims[~claims["held"]].to_string()
    assert len(claims) == 21


@pytest.mark.parametrize(
    ("table", "column", "change", "where", "words"),
    [
        ("jacobians", "log_spectral_norm", lambda x: x + 1.0, {"lag": 0}, "lag log |lambda|"),
        ("sensitivity", "log_norm", lambda x: x + 0.1, {"parameter": "V", "spectral_radius": 0.9}, "E h^2 over"),
        ("sensitivity", "log_norm", lambda x: x + 0.1, {"parameter": "W", "spectral_radius": 0.9}, "E (dh/dl)^2 over"),
        ("sensitivity", "log_norm", lambda x: x + 0.3, {"parameter": "V", "spectral_radius": 0.96}, "E |h|^2 grows"),
        ("sensitivity", "log_norm", lambda x: x - 0.3, {"parameter": "W", "spectral_radius": 0.96}, "dlambda|^2 grows"),
        ("sensitivity", "log_norm", lambda x: x + 0.5, {"parameter": "V", "cell_r_max": 0.5}, "mean square of h "),
        ("sensitivity", "log_norm", lambda x: x + 0.2, {"parameter": "nu", "cell_normalise": True}, "of dh/dnu over"),
        ("sensitivity", "log_norm", lambda x: x + 0.2, {"parameter": "theta", "cell_normalise": False}, "of dh/dangle"),
        ("sensitivity", "log_norm", lambda x: x + 0.4, {"parameter": "nu", "cell_r_max": 0.98}, "dnu|^2 grows"),
        ("sensitivity", "log_norm", lambda x: x + 0.4, {"parameter": "nu", "cell_r_max": 0.98}, "E |dh/dnu|^2 at"),
        ("sensitivity", "log_norm", lambda x: x - 0.4, {"parameter": "theta", "cell_r_max": 0.98}, "dangle|^2 grows"),
    ],
)
def test_claims_fail_on_doctored_tables(study, analysis, table, column, change, where, words):
    rows = study.table(table).copy()
    chosen = np.logical_and.reduce([(rows[name] == value).fillna(False).astype(bool) for name, value in where.items()])
    assert chosen.any()
    rows.loc[chosen, column] = change(rows.loc[chosen, column])
    claims = analysis["claims"](tables_of(study, ("runs", "jacobians", "sensitivity"), **{table: rows}))
    assert any(words in text for text in claims.loc[~claims["held"], "claim"]), claims["claim"].tolist()


def test_one_modulus_has_no_power(study, analysis):
    few = study.sensitivity[study.sensitivity["cell_r_max"].isna() | (study.sensitivity["cell_r_max"] == 0.5)]
    claims = analysis["claims"](SimpleNamespace(runs=study.runs, jacobians=study.jacobians, sensitivity=few))
    grown = claims[claims["claim"].str.contains("ring.*grows|grows.*ring", regex=True)]
    assert set(grown["verdict"]) == {"undecided"} and len(grown) == 3


@pytest.mark.parametrize(("cell", "words"), [("elman", "one unit"), ("diagonal", "ring")])
def test_a_sensitivity_that_is_a_little_off_is_seen(study, analysis, cell, words):
    """Every mean square stays where it was to 1e-6."""
    rows = study.sensitivity.copy()
    rows.loc[(rows["cell"] == cell) & (rows["sequence"] == 3), "log_norm"] += 1e-6
    claims = analysis["claims"](tables_of(study, ("runs", "jacobians", "sensitivity"), sensitivity=rows))
    failed = claims.loc[~claims["held"], "claim"].tolist()
    assert len(failed) == 1 and words in failed[0]


@pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])
def test_the_figure_shows_measurement_and_formula(study, analysis, size):
    figure = draw(analysis, study, size)
    scalar, ring = figure.axes
    assert len(scalar.lines) == 1 + 2 * 2 and len(ring.lines) == 1 + 2 * 3
    formula, measured = scalar.lines[1:3]
    np.testing.assert_allclose(formula.get_ydata(), measured.get_ydata(), rtol=0.05)
