"""Gates in training: claims that hold on fewer networks and shorter sequences, and fail on doctored tables."""

import numpy as np
import pandas as pd
import pytest

from tests.support.analysed import analysis_of, draw, failing, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many networks; `make verify` runs it

MEASURE = {"sequences": 4, "lags": 8, "bound_lags": 0, "lag_terms": "none", "truncations": "none",
           "transient_lags": 5}  # fmt: skip
TRAINING = {"name": "standard", "updates": 250, "learning_rate": 0.01, "clip_norm": 1.0, "check_every": 50,
            "check_sequences": 200, "record_every": 50, "measure_at": "ends"}  # fmt: skip
SHORT, LONG = 10, 30
CELLS = [
    ({"name": "lstm", "forget_bias": 0.0}, (SHORT, LONG)),
    ({"name": "lstm", "forget_bias": 1.0}, (SHORT, LONG)),
    ({"name": "lstm", "chrono": 36}, (LONG,)),
    ({"name": "gru"}, (SHORT, LONG)),
    ({"name": "elman"}, (LONG,)),
]


def reduced():
    """The sweep of the experiment with fewer networks and shorter sequences."""
    return [{"sequence_length": 36, "batch_size": 16, "seed": seed, "measure": MEASURE, "training": TRAINING,
             "task": {"name": "delayed_recall", "delay": delay}, "cell": {"hidden_size": 16, **cell}}
            for cell, delays in CELLS for delay in delays for seed in range(6)]  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "learning_gates", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("gates_in_training")


LOOSE = "share"
"""Claims that six networks may leave undecided."""


def test_every_claim_holds_on_fewer_networks(study, analysis):
    claims = analysis["claims"](study)
    loose = claims["claim"].str.contains(LOOSE)
    assert claims.loc[~loose, "held"].all(), claims[~claims["held"]].to_string()
    assert (claims["verdict"] != "fails").all(), claims[~claims["held"]].to_string()
    assert len(claims) == 13


def chosen(runs, delay, cell, **fields):
    found = ((runs["task_delay"] == delay) & (runs["cell"] == cell)).to_numpy(bool)
    for name, value in fields.items():
        found &= (runs[name].astype(float) == value).to_numpy(bool)
    assert found.any()
    return found


@pytest.mark.parametrize(
    ("where", "column", "value", "words"),
    [
        ((SHORT, "lstm", {"cell_forget_bias": 0.0}), "solved_at", 50, "bias 0 less 1"),
        ((LONG, "lstm", {"cell_forget_bias": 0.0}), "solved_at", 50, "share solved, bias 0"),
        ((LONG, "lstm", {"cell_chrono": 36.0}), "solved_at", None, "share solved, chrono"),
        ((LONG, "lstm", {"cell_chrono": 36.0}), "solved_at", None, "bias 1 less chrono"),
        ((LONG, "elman", {}), "solved_at", 50, "share solved, Elman"),
        ((SHORT, "gru", {}), "solved_at", None, "share solved, GRU"),
        ((LONG, "gru", {}), "log_relevant_gradient", 0.0, "GRU over bias 1"),
        ((LONG, "lstm", {"cell_forget_bias": 0.0}), "log_relevant_gradient", 0.0, "bias 1 over 0"),
        ((LONG, "lstm", {"cell_forget_bias": 0.0}), "log_relevant_gradient", 0.0, "larger gradient"),
        ((LONG, "lstm", {"cell_chrono": 36.0}), "log_relevant_gradient", -50.0, "chrono over bias 1"),
        ((LONG, "lstm", {"cell_chrono": 36.0}), "vanishing_horizon", 0, "horizon over delay"),
    ],
)
def test_claims_fail_on_doctored_runs(study, analysis, where, column, value, words):
    runs = study.runs.copy()
    delay, cell, fields = where
    runs.loc[chosen(runs, delay, cell, **fields), column] = value
    assert any(words in text for text in failing(analysis["claims"](tables_of(study, (), runs=runs))))


def test_order_told_counts_pairs(analysis):
    told = analysis["order_told"]
    frame = pd.DataFrame({"updates": [100.0, 1e6, 1e6, 50.0], "value": [3.0, 1.0, 3.0, 0.0]})
    assert told(frame, "value") == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert np.isnan(told(frame[:1], "value"))


def test_tables_have_a_row_for_each_cell_and_delay(study, analysis):
    found = analysis["summaries"](study)["cells"]
    assert len(found) == 8 and (found["networks"] == 6).all()
    assert (found["solved"] <= 6).all() and found.loc[found["solved"] == 0, "updates"].isna().all()


@pytest.mark.parametrize("size", ["page", "column"])
def test_the_figure_is_drawn(study, analysis, size):
    assert len(draw(analysis, study, size).axes) == 3
