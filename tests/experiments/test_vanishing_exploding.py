"""Vanishing and exploding: claims that hold on a reduced sweep, and fail on doctored tables."""

import numpy as np
import pytest

from tests.support.analysed import analysis_of, swept, tables_of

TABLES = ("runs", "jacobians", "truncations")


def reduced():
    """The sweep of the experiment with fewer networks, lengths and radii."""
    common = {"batch_size": 2, "cell": {"name": "elman", "hidden_size": 32}, "scales": {"V": 0.3}}
    points = [
        {"task": task, "spectral_radius": radius, "sequence_length": T, "truncation": truncation, **common}
        for task, radii in (("noise", (0.5, 1.0, 2.5)), ({"name": "digits", "by": "row"}, (0.5,)))
        for radius in radii
        for T in (10, 50)
        for truncation in ("full", 5, 20)
    ]
    return [{**point, "seed": seed} for point in points for seed in range(6)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "vanishing", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("vanishing_exploding")


def test_every_claim_holds_on_a_reduced_sweep(study, analysis):
    claims = analysis["claims"](study)
    assert claims["held"].all(), claims[~claims["held"]].to_string()
    assert claims["kind"].value_counts().to_dict() == {"claim": 11, "identity": 5}


@pytest.mark.parametrize(
    ("table", "column", "change", "where", "words"),
    [
        ("jacobians", "log_bound", lambda x: x - 1.0, {}, "minus the sum of log ||J_i||_2"),
        ("jacobians", "log_spectral_norm", lambda x: x + 1e-5, {"seed": 0}, "error of log ||P||"),
        ("jacobians", "log_bound", lambda x: x + 1e-5, {"seed": 0}, "error of the sum of log ||J_i||_2"),
        ("jacobians", "log_state_gradient", lambda x: x + 1e-5, {"seed": 0}, "error of log ||e P||"),
        ("runs", "growth_rate", lambda x: x + 1e-5, {"seed": 0}, "largest |growth rate - slope"),
        ("runs", "growth_rate", lambda x: x + 0.3, {"spectral_radius": 1.0}, "at spectral radius 1"),
        ("runs", "asymptote_residual", lambda x: x + 0.1, {"task": "digits"}, "|growth rate - log rho|"),
        ("truncations", "log_relative_bias", lambda x: -x, {"spectral_radius": 0.5}, "largest change of the log bias"),
        ("truncations", "log_relative_bias", lambda x: x + 1e-5, {"seed": 0}, "error of log(|g_K - g| / |g|)"),
        ("truncations", "log_norm", lambda x: x + 1e-5, {"truncation": 5}, "error of log |g_K|"),
        ("truncations", "log_norm", lambda x: x + 1e-5, {"truncation": 20}, "error of log |g|"),
    ],
)
def test_claims_fail_on_doctored_tables(study, analysis, table, column, change, where, words):
    rows = study.table(table).copy()
    chosen = np.ones(len(rows), bool)
    for name, value in where.items():
        chosen &= (rows[name] == value).fillna(False).to_numpy(bool)
    assert chosen.any()
    rows.loc[chosen, column] = change(rows.loc[chosen, column])
    claims = analysis["claims"](tables_of(study, TABLES, **{table: rows}))
    failing = claims.loc[claims["verdict"] == "fails", "claim"]
    assert any(words in text for text in failing), claims["claim"].tolist()


def test_the_radii_of_one_seed_are_one_draw(study, analysis):
    """Three tasks and radii of 6 seeds make 6 values: no claim about medians has a smaller chance to fail than 2^-6."""
    claims = analysis["claims"](study)
    chances = claims.loc[claims["chance"] > 0.0, "chance"]
    assert len(chances) == 4 and set(chances) == {2.0**-6}
