"""Gates: claims that hold on fewer networks, and fail on doctored tables."""

import numpy as np
import pytest

from tests.support.analysed import analysis_of, draw, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many networks; `make verify` runs it

GRADIENT = "log_relevant_gradient"
TABLES = ("runs", "blocks", "eigenvalues", "jacobians")
QUIET = {"sequences": 1, "lags": 10, "bound_lags": 0, "lag_terms": "none", "truncations": "none", "transient_lags": 5}


def point(cell, delay, radius, seed, size=16, **more):
    task = {"name": "delayed_recall", "delay": delay}
    return {"sequence_length": 200, "batch_size": size // 4, "task": task, "spectral_radius": radius, "seed": seed,
            "cell": {"hidden_size": size, **cell}, "measure": QUIET, **more}  # fmt: skip


def reduced():
    """The sweep of the experiment with fewer networks and points, most of them smaller."""
    lstm, spectra = {"name": "lstm"}, {"measure": {**QUIET, "eigenvalue_steps": 1}}
    points = [point({**lstm, "chrono": T_max}, 100, 0.0, 0, scales={"x": 0.0}) for T_max in (None, 100)]
    for seed in range(6):
        points += [point({**lstm, "forget_bias": float(bias)}, delay, 0.25, seed)
                   for bias in (0, 1, 2) for delay in (20, 180)]  # fmt: skip
        points += [point({**lstm, "forget_bias": float(bias)}, 180, 1.0, seed, size=32) for bias in (0, 1, 4)]
        points += [point({**lstm, "chrono": T_max}, delay, 0.25, seed)
                   for T_max, delay in ((10, 180), (30, 20), (300, 20), (300, 180), (1000, 20))]  # fmt: skip
        points += [point({"name": name}, 100, radius, seed, size=32, **spectra)
                   for name in ("elman", "gru", "minimal_rnn", "lstm") for radius in (0.5, 1.5)]  # fmt: skip
        points += [point({**lstm, "forget_bias": 0.0}, 100, radius, seed, size=32) for radius in (0.5, 1.5)]
    return points


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "gates", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("gates_remember")


def failing(claims):
    return claims.loc[~claims["held"], "claim"].tolist()


def frames(study, **changed):
    """The tables of a study, some of them doctored."""
    return tables_of(study, TABLES, **changed)


LOOSE = "vanishing horizon / T_max|forget bias 1 over 0, rho = 1.5"
"""Claims that six networks, most of them small, may leave undecided."""


def test_every_claim_holds_on_fewer_networks(study, analysis):
    claims = analysis["claims"](study)
    loose = claims["claim"].str.contains(LOOSE)
    assert claims.loc[~loose, "held"].all(), claims[~claims["held"]].to_string()
    assert (claims["verdict"] != "fails").all()
    assert len(claims) == 25


def chosen(rows, where):
    found = np.ones(len(rows), bool)
    for name, value in where.items():
        found &= (rows[name] == value).fillna(False).to_numpy(dtype=bool)
    assert found.any()
    return found


@pytest.mark.parametrize(
    ("where", "column", "change", "words"),
    [
        ({"cell_forget_bias": 1.0, "task_delay": 180}, GRADIENT, lambda x: x - 60.0, "bias 1 over 0"),
        ({"cell_forget_bias": 1.0, "task_delay": 180}, GRADIENT, lambda x: x + 60.0, "lost from delay"),
        ({"cell_forget_bias": 2.0}, "growth_rate", lambda x: 3.0 * x, "exponent of the decay rate"),
        ({"cell_chrono": 300, "task_delay": 180}, GRADIENT, lambda x: x - 15.0, "T_max 300 over 10"),
        ({"cell_chrono": 300, "task_delay": 180}, GRADIENT, lambda x: x - 15.0, "T_max = 300"),
        ({"cell_chrono": 1000}, GRADIENT, lambda x: x - 5.0, "T_max 1000 over 30"),
        ({"cell_chrono": 30}, "vanishing_horizon", lambda x: x // 2, "vanishing horizon / T_max"),
        ({"cell_chrono": 100}, "vanishing_horizon", lambda x: x + 1, "in whole steps"),
        ({"cell": "elman", "spectral_radius": 0.5}, GRADIENT, lambda x: x + 60.0, "to 1.5, elman"),
        ({"cell": "gru", "spectral_radius": 1.5}, GRADIENT, lambda x: x + 60.0, "gru, as a part"),
        ({"cell": "gru", "spectral_radius": 1.5}, GRADIENT, lambda x: x + 60.0, "lstm (forget bias 1) over gru"),
        ({"cell": "minimal_rnn", "spectral_radius": 0.5}, GRADIENT, lambda x: x - 60.0, "minimal_rnn, as a part"),
        ({"task_delay": 100, "cell_forget_bias": 0.0}, GRADIENT, lambda x: x + 60.0, "forget bias 0) over"),
        ({"task_delay": 100, "cell_forget_bias": 1.0}, GRADIENT, lambda x: x - 60.0, "forget bias 1 over 0"),
        ({"cell": "gru"}, GRADIENT, lambda x: x + 1e-5, "error of log ||dL/dx_tau||"),
    ],
)  # fmt: skip
def test_claims_fail_on_doctored_runs(study, analysis, where, column, change, words):
    runs = study.runs.copy()
    rows = chosen(runs, where)
    runs.loc[rows, column] = change(runs.loc[rows, column])
    assert any(words in text for text in failing(analysis["claims"](frames(study, runs=runs))))


def test_what_is_exact_fails_where_it_is_not(study, analysis):
    blocks = study.blocks.assign(log_frobenius_norm=study.blocks["log_frobenius_norm"] + 1e-6)
    assert any("prod f" in text for text in failing(analysis["claims"](frames(study, blocks=blocks))))
    moved = study.eigenvalues.assign(real=study.eigenvalues["real"] + 1e-6)
    failed = failing(analysis["claims"](frames(study, eigenvalues=moved)))
    assert sum("at the origin" in text for text in failed) == 3
    nothing = frames(study, blocks=study.blocks[:0], eigenvalues=study.eigenvalues[:0])
    claims = analysis["claims"](nothing)
    missing = claims[claims["reason"] == "there are no values"]
    assert len(missing) == 4 and set(missing["verdict"]) == {"undecided"}


def test_products_that_stay_below_one_do_not_explode(study, analysis):
    jacobians = study.jacobians.assign(log_spectral_norm=0.0)
    assert any("at any lag" in text for text in failing(analysis["claims"](frames(study, jacobians=jacobians))))


def test_tables_are_medians_over_networks(study, analysis):
    found = analysis["summaries"](study)
    assert {name: len(frame) for name, frame in found.items()} == {"forget_bias": 9, "chrono": 5, "cells": 10}
    assert (found["cells"]["networks"] == 6).all()
    row = found["cells"].set_index(["cell", "spectral_radius"]).loc[("gru", 1.5)]
    own = study.runs[(study.runs["cell"] == "gru") & (study.runs["spectral_radius"] == 1.5)]["log_relevant_gradient"]
    assert row["log_relevant_gradient"] == pytest.approx(own.median()) and row["log_relevant_gradient_low"] == own.min()


@pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])
def test_the_figure_is_drawn(study, analysis, size):
    assert len(draw(analysis, study, size).axes) == 3
