"""Truncation in training: claims that hold on smaller networks and a shorter gap, and fail on doctored tables."""

import numpy as np
import pytest

from bpttlab.figures import style
from tests.support.analysed import analysis_of, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many trainings; `make verify` runs it

TABLES = ("runs", "training", "truncations")
QUIET = {"jacobians": "none", "bound_lags": 0, "lag_terms": "none", "truncations": "none", "transient_lags": 5}
CURVES = QUIET | {"lag_terms": "all", "truncations": "log"}
UPDATES = 500


def point(seed, truncation, radius=0.5, measure=QUIET, measure_at="ends", **more):
    """Delayed recall with a gap of 8 steps, the marker at the second step."""
    training = {"name": "standard", "updates": UPDATES, "learning_rate": 0.01, "clip_norm": 1.0, "check_every": 20,
                "check_sequences": 300, "measure_at": measure_at}  # fmt: skip
    return {"sequence_length": 10, "batch_size": 16, "task": {"name": "delayed_recall", "delay": 8}, "seed": seed,
            "spectral_radius": radius, "cell": {"name": "elman", "hidden_size": 12}, "truncation": truncation,
            "training": training, "measure": measure, **more}  # fmt: skip


def adding(seed):
    found = point(seed, 4)
    found["training"] |= {"updates": 300, "learning_rate": 0.02}
    return found | {"task": "adding", "cell": {"name": "lstm", "hidden_size": 8}}


def series(seed, truncation, update):
    found = point(seed, truncation, 1.0, scheme="chunked")
    found["training"] |= {"updates": 60, "check_every": 15, "learning_rate": 0.005, "update": update}
    return found | {"task": {"name": "mackey_glass", "horizon": 10}, "sequence_length": 20}


def reduced():
    points = []
    for seed in range(6):
        points += [point(seed, K) for K in (4, 9)] + [point(seed, 8, 1.0)]
        points += [point(seed, "full", measure=CURVES, measure_at="[0,200]"), adding(seed)]
        points += [series(seed, 5, update) for update in ("sequence", "window")]
    points += [series(0, 20, update) for update in ("sequence", "window")]
    adaptive = {"name": "adaptive", "delta": 0.1}
    return points + [point(seed, 10, scheme=adaptive, measure_at="[0,200]") for seed in range(2)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "truncated", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("truncation_in_training")


def failing(claims):
    return claims.loc[~claims["held"], "claim"].tolist()


def frames(study, **changed):
    """The tables of a study, some of them doctored."""
    return tables_of(study, TABLES, **changed)


LOOSE = "adaptive scheme before|variance of the target"
"""Claims that two networks, or a gap of 8 steps, leave undecided."""


def test_every_claim_holds_on_smaller_networks(study, analysis):
    claims = analysis["claims"](study)
    loose = claims["claim"].str.contains(LOOSE)
    assert claims.loc[~loose, "held"].all(), claims[~claims["held"]].to_string()
    assert (claims["verdict"] != "fails").all()
    assert len(claims) == 14


@pytest.mark.parametrize(
    ("where", "column", "change", "words"),
    [
        ({"training_truncation": "4"}, "validation_loss", lambda x: 0.5 * x, "variance of the target, K = 4"),
        ({"training_truncation": "4"}, "solved_at", lambda x: x.fillna(100), "learn with K = 4"),
        ({"training_truncation": "9"}, "solved_at", lambda x: x.where(x < 0), "learn with K = 9"),
        ({"training_truncation": "9"}, "solved_at", lambda x: 3 * x, "over the full gradient"),
        ({"training_truncation": "8", "spectral_radius": 1.0}, "solved_at", lambda x: x.where(x < 0), "K = gap"),
        ({"task": "adding"}, "validation_loss", lambda x: 100 * x, "adding"),
    ],
)
def test_claims_fail_on_doctored_runs(study, analysis, where, column, change, words):
    runs, rows = study.runs.copy(), np.ones(len(study.runs), bool)
    for name, value in where.items():
        rows &= (runs[name] == value).fillna(False).to_numpy(dtype=bool)
    assert rows.any()
    runs.loc[rows, column] = change(runs.loc[rows, column])
    assert any(words in text for text in failing(analysis["claims"](frames(study, runs=runs))))


def test_updates_that_are_not_those_of_numpy_are_found(study, analysis):
    training = study.training.assign(log_gradient_norm=study.training["log_gradient_norm"] + 1e-6)
    failed = failing(analysis["claims"](frames(study, training=training)))
    assert sum("largest error" in text for text in failed) == 2


def test_windows_that_learn_otherwise_are_found(study, analysis):
    by_window = (study.training["training_update"] == "window").to_numpy(dtype=bool)
    for factor, words in ((10.0, "batches each"), (0.01, "updates each")):
        loss = study.training["validation_loss"].mask(by_window, study.training["validation_loss"] * factor)
        failed = failing(analysis["claims"](frames(study, training=study.training.assign(validation_loss=loss))))
        assert any(words in text for text in failed) and any("away from by sequence" in text for text in failed)


def test_a_bias_that_is_the_same_throughout_is_found(study, analysis):
    for bias, words in ((0.0, "before training"), (-9.0, "where the task is learnt")):
        truncations = study.truncations.assign(log_relative_bias=bias)
        failed = failing(analysis["claims"](frames(study, truncations=truncations)))
        assert any(f"full gradient, {words}" in text for text in failed)


def test_networks_that_are_never_solved_count(study, analysis):
    found = analysis["summaries"](study)
    rows = found["solved_by_truncation"].set_index(["task", "spectral_radius", "training_truncation"])
    assert rows.loc[("delayed_recall", 0.5, "4"), "solved"].item() == 0
    assert np.isinf(rows.loc[("delayed_recall", 0.5, "4"), "solved_at"].item())
    assert rows.loc[("delayed_recall", 0.5, "9"), "solved"].item() == 6
    assert set(found["named_truncation"]["update"]) == {0, 200, UPDATES}


@pytest.mark.parametrize("size", ["page", "column"])
def test_the_figure_is_drawn(study, analysis, size):
    with style.style_context(size):
        figure = analysis["draw"](study, size)[analysis["FIGURE"]]
    assert len(figure.axes) == 3
