"""Gradients during learning: claims that hold on fewer networks, and fail on doctored tables."""

import numpy as np
import pytest

from tests.support.analysed import analysis_of, draw, failing, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many networks; `make verify` runs it

TABLES = ("runs", "jacobians", "eigenvalues")
MEASURE = {"sequences": 4, "lags": 8, "bound_lags": 0, "lag_terms": "none", "truncations": "none", "exponents": 1,
           "transient_lags": 5, "eigenvalue_steps": 1}  # fmt: skip
TANH = {"name": "elman", "hidden_size": 20}
LINEAR = {"name": "elman", "hidden_size": 32, "activation": "identity"}
RECALL, SHORT, ORDER = {"name": "delayed_recall", "delay": 15}, {"name": "delayed_recall", "delay": 1}, "temporal_order"


def trained(task, seed, updates, measured, **more):
    """One network that is trained, measured at some updates."""
    training = {"name": "standard", "updates": updates, "learning_rate": 0.003, "clip_norm": 1.0, "stop": "updates",
                "check_sequences": 300, "record_every": updates, "measure_at": list(measured),
                **more.pop("fields", {})}  # fmt: skip
    return {"sequence_length": 20, "batch_size": 32, "task": task, "cell": TANH, "spectral_radius": 0.8,
             "seed": seed, "training": training, "measure": MEASURE, **more}  # fmt: skip


def reduced():
    """The sweep of the experiment with the networks that learn early, and one that does not."""
    points, each = [], range(0, 1001, 100)
    for seed in (0, 1, 2, 3, 6, 8, 9):
        points.append(trained(RECALL, seed, 1000, each))
        points.append(trained(SHORT, seed, 200, (0, 200)))
    for seed in (0, 1, 2, 4, 5, 7, 8, 9):
        points.append(trained(ORDER, seed, 1000, each))
    latch = {"cell": LINEAR, "batch_size": 4, "spectral_radius": 0.5, "optimizer": "sgd"}
    for seed in range(6):
        points.append(trained("hold", seed, 400, (0, 400), fields={"learning_rate": 0.02}, **latch))
    return points


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "learning", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("gradients_during_learning")


def test_every_claim_holds_on_fewer_networks(study, analysis):
    claims = analysis["claims"](study)
    assert claims["held"].all(), claims[~claims["held"]].to_string()
    assert len(claims) == 31


@pytest.mark.parametrize(
    ("task", "column", "change", "words"),
    [
        ("delayed_recall", "lyapunov_exponent", lambda runs: -0.5 + 0.0 * runs, "lambda_1, delayed recall"),
        ("delayed_recall", "lyapunov_exponent", lambda runs: 0.0 * runs, "lambda_1 before training"),
        ("temporal_order", "lyapunov_exponent", lambda runs: runs - 1.0, "lambda_1 at the end"),
        ("temporal_order", "growth_rate", lambda runs: runs + 2.0, "|growth rate|, temporal order"),
        ("temporal_order", "vanishing_horizon", lambda runs: 0 * runs + 5, "horizon, temporal order"),
        ("delayed_recall", "log_relevant_gradient", lambda runs: -runs, "log relevant gradient, delayed"),
        ("delayed_recall", "rho", lambda runs: 0.0 * runs + 0.8, "rho, delayed recall"),
        ("hold", "growth_rate", lambda runs: runs - 0.2, "|growth rate - log outlier|"),
    ],
)
def test_claims_fail_on_doctored_runs(study, analysis, task, column, change, words):
    runs = study.runs.copy()
    own = (runs["task"] == task).to_numpy()
    runs.loc[own, column] = change(runs.loc[own, column])
    assert any(words in text for text in failing(analysis["claims"](tables_of(study, TABLES, runs=runs))))


def test_the_control_fails_if_short_dependencies_do_the_same(study, analysis):
    runs = study.runs.copy()
    runs.loc[(runs["task_delay"] == 1).fillna(False) & (runs["update"] > 0), "lyapunov_exponent"] = 0.0
    failed = failing(analysis["claims"](tables_of(study, TABLES, runs=runs)))
    assert sum("recall one step later" in text for text in failed) == 2


def test_what_is_exact_fails_where_it_is_not(study, analysis):
    jacobians = study.jacobians.assign(log_spectral_norm=study.jacobians["log_spectral_norm"] + 1e-6)
    failed = failing(analysis["claims"](tables_of(study, TABLES, jacobians=jacobians)))
    assert failed == ["log ||P||_2 of a trained network off, at most"]
    moved = study.eigenvalues.assign(real=study.eigenvalues["real"] + 0.1)
    failed = failing(analysis["claims"](tables_of(study, TABLES, eigenvalues=moved)))
    for words in ("trained again", "residual of det", "outside the disk", "prediction of rank one"):
        assert sum(words in text for text in failed) == 1, words


def test_networks_that_learn_nothing_leave_claims_undecided(study, analysis):
    claims = analysis["claims"](tables_of(study, TABLES, runs=study.runs.assign(solved_at=np.nan)))
    missing = claims[claims["reason"] == "there are no values"]
    assert len(missing) == 20 and set(missing["verdict"]) == {"undecided"}


def test_tables_have_a_row_for_each_network(study, analysis):
    found = analysis["summaries"](study)
    assert found["networks"].groupby("part").size().to_dict() == {"recall": 7, "order": 8, "short": 7}
    unsolved = found["networks"][found["networks"]["solved"].isna()]
    assert unsolved["rho_at"].isna().all() and unsolved["rho_after"].notna().all() and len(unsolved)
    assert len(found["latches"]) == 6 and (found["latches"]["imaginary"] == 0).all()


@pytest.mark.parametrize("size", ["page", "column"])
def test_the_figure_is_drawn(study, analysis, size):
    assert len(draw(analysis, study, size).axes) == 3
