"""The edge of chaos: every claim holds on a reduced sweep, and fails on doctored tables."""

import numpy as np
import pytest

from bpttlab import theory
from tests.support.analysed import analysis_of, draw, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many networks; `make verify` runs it

TABLES = ("runs", "jacobians", "spectra", "eigenvalues")
QUIET = {
    "jacobians": "none",
    "sequences": 1,
    "exponents": 1,
    "transient": 0.2,
    "lag_terms": "none",
    "transient_lags": 0,
}
ALONE = {"batch_size": 1, "sequence_length": 500, "scales": {"V": 0.0, "x": 0.0, "h_0": 1.0}, "measure": QUIET}
SIZES = {64: (0.6, 1.5, 2.0, 3.0), 128: (0.6, 2.0, 3.0), 256: (1.5, 2.0, 3.0)}
DRIVEN = {"batch_size": 1, "sequence_length": 400, "task": {"name": "noise", "input_size": 200}, "measure": QUIET}


def network(gain, size, **more):
    return {"initializer": {"name": "gaussian", "gain": gain}, "cell": {"name": "elman", "hidden_size": size}, **more}


def reduced():
    """The sweep of the experiment with fewer networks and gains, and shorter."""
    points = [network(gain, size, **ALONE) for size, gains in SIZES.items() for gain in gains]
    points += [network(3.0, 200, **{**ALONE, "measure": {**QUIET, "exponents": "all"}})]
    points += [network(0.6, 64, **{**ALONE, "measure": {**QUIET, "exponents": "all", "eigenvalue_steps": 1}})]
    points += [
        network(gain, 200, **DRIVEN, scales={"V": V}) for gain in (1.2, 1.4, 1.7, 2.0) for V in (0.05**0.5, 0.5, 1)
    ]
    products = {**QUIET, "jacobians": "log", "exponents": "none", "bound_lags": 0, "lags": 8}
    points += [network(gain, 128, **{**ALONE, "sequence_length": 300, "measure": products}) for gain in SIZES[128]]
    return [{**point, "seed": seed} for point in points for seed in range(6)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "edge", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("edge_of_chaos")


def frames(study, **changed):
    return tables_of(study, TABLES, **changed)


def test_no_claim_fails_on_a_reduced_sweep(study, analysis):
    """What six networks of 200 units cannot tell in 400 steps may stay undecided."""
    claims = analysis["claims"](study)
    loose = claims["claim"].str.contains("/ N,|fraction of positive|noise of variance|share of networks")
    assert claims.loc[~loose, "held"].all(), claims[~claims["held"]].to_string()
    assert (claims["verdict"] != "fails").all(), claims[~claims["held"]].to_string()
    assert len(claims) == 27 and set(claims["kind"]) == {"claim"}


@pytest.mark.parametrize(
    ("table", "column", "change", "where", "words"),
    [
        ("runs", "lyapunov_exponent", lambda x: x + 0.03, {"initializer_gain": 0.6}, "networks with rho < 1"),
        ("spectra", "lyapunov_exponent", lambda x: x * 1.1, {"initializer_gain": 0.6}, "eigenvalue_i of W"),
        ("runs", "lyapunov_exponent", lambda x: x - 0.05, {"cell_hidden_size": 256}, "lambda_1, gain 2, 256 units"),
        ("runs", "lyapunov_exponent", lambda x: x - 0.2, {"cell_hidden_size": 256}, "64 over 256 units, gain 3"),
        ("runs", "lyapunov_exponent", lambda x: x + 0.1, {"cell_hidden_size": 64}, "of 6, that are not chaotic"),
        ("runs", "lyapunov_exponent", lambda x: x - 0.1, {"cell_hidden_size": 256}, "256 units that are chaotic"),
        ("runs", "lyapunov_exponent", lambda x: x + 0.01, {"scales_V": 1.0}, "largest error of lambda_1"),
        ("runs", "entropy_bound", lambda x: x * 1.01, {"initializer_gain": 3.0}, "largest relative error of Kaplan"),
        ("runs", "kaplan_yorke_dimension", lambda x: x * 1.2, {"initializer_gain": 3.0}, "Kaplan-Yorke"),
        ("runs", "entropy_bound", lambda x: x * 1.3, {"initializer_gain": 3.0}, "sum of positive"),
        ("spectra", "lyapunov_exponent", lambda x: x + 0.1, {"initializer_gain": 3.0}, "fraction of positive"),
        ("runs", "lyapunov_exponent", lambda x: x + 0.05, {"scales_V": 0.5}, "of the gains, noise of variance 0.25"),
        ("runs", "lyapunov_exponent", lambda x: x + 0.05, {"scales_V": 1.0}, "lambda_1 = 0, noise of variance 1"),
        ("runs", "lyapunov_exponent", lambda x: x + 0.1, {"scales_V": 0.5}, "gain 1.4, noise of variance 0.25"),
        ("jacobians", "log_state_gradient", lambda x: -x, {"initializer_gain": 3.0}, "slowest growth of a loss"),
        ("jacobians", "log_state_gradient", lambda x: -x, {"initializer_gain": 0.6}, "fastest growth of a loss"),
        ("jacobians", "log_spectral_norm", lambda x: x * 1.3, {}, "log ||dh_T/dh_0|| / T"),
        ("jacobians", "log_state_gradient", lambda x: x * 1.3, {}, "log(||dL_T/dh_0||"),
        ("runs", "log_gradient_norm", lambda x: x * 0.5, {}, "log ||dL/dtheta||"),
    ],
)
def test_claims_fail_on_doctored_tables(study, analysis, table, column, change, where, words):
    rows = study.table(table).copy()
    chosen = np.logical_and.reduce([rows[name] == value for name, value in where.items()], axis=0)
    chosen = np.broadcast_to(chosen, len(rows)) if where else np.ones(len(rows), bool)
    assert chosen.any()
    rows.loc[chosen, column] = change(rows.loc[chosen, column])
    claims = analysis["claims"](frames(study, **{table: rows}))
    assert any(words in text for text in claims.loc[claims["verdict"] == "fails", "claim"]), claims["claim"].tolist()


def test_networks_of_one_matrix_are_one_draw(study, analysis):
    """The gradient claims have one value for each of 6 seeds, not one for each of 12 networks above the edge."""
    claims = analysis["claims"](study).set_index("claim")
    chance = claims.loc[claims.index.str.contains("gain >= 2"), "chance"]
    assert len(chance) == 3 and np.allclose(chance, 2.0 / 2**6)


def test_a_network_whose_exponent_changes_sign_twice_has_no_edge(study, analysis):
    runs = study.table("runs").copy()
    runs.loc[runs["initializer_gain"] == 1.2, "lyapunov_exponent"] = 0.1
    claims = analysis["claims"](frames(study, runs=runs))
    edges = claims[claims["claim"].str.contains("gain at which")]
    assert set(edges["verdict"]) == {"undecided"}
    assert edges["reason"].str.startswith("lambda_1 does not change its sign exactly once: ").all()


def test_the_table_stands_beside_the_mean_field(study, analysis):
    table = analysis["summaries"](study)["chaos"]
    assert len(table) == 10 + 12 and (table["networks"] == 6).all()
    row = table[(table["variance"] == 1.0) & (table["initializer_gain"] == 1.7)].iloc[0]
    assert row["mean_field"] == pytest.approx(theory.mean_field(1.7, 1.0).rate, rel=1e-12)
    assert (table["lowest"] <= table["lyapunov_exponent"]).all() and (table["chaotic"] <= table["networks"]).all()


@pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])
def test_the_figure_has_three_panels(study, analysis, size):
    figure = draw(analysis, study, size)
    alone, driven, gradients = figure.axes
    assert len(alone.lines) == 2 + 3 and len(driven.lines) == 1 + 2 * 3 and len(gradients.lines) == 1 + 2 * 3
