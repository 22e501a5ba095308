"""Which networks learnt their task, and when: what was never solved is censored and not left out."""

import math

import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.errors import ConfigurationError
from tests.support.monitoring import trained_runs, training_runs


def row_of(*parts, **changes):
    (row,) = tables.success(trained_runs(*parts, **changes)).to_dict("records")
    return row


def test_networks_that_were_never_solved_raise_the_median():
    row = row_of([100, 200, 300, 400], [500, 500, 500])
    assert (row["networks"], row["solved"], row["trained_for"]) == (7, 4, 500)
    assert row["success_rate"] == pytest.approx(4 / 7)
    assert (row["updates_to_solution"], row["updates_to_solution_low"]) == (400, 100)
    assert math.isinf(row["updates_to_solution_high"])


def test_the_success_rate_has_the_clopper_pearson_interval():
    row = row_of([100] * 3, [500] * 5)
    assert (row["success_rate_low"], row["success_rate_high"]) == pytest.approx((0.0852, 0.7551), abs=1e-4)


def test_a_diverged_network_is_unsolved_for_ever():
    diverged = row_of([100, 200, 300], [500], [50, 50, 50])
    assert (diverged["training_diverged"], diverged["networks"]) == (3, 7)
    assert math.isinf(diverged["updates_to_solution"])
    censored = row_of([100, 200, 300], [500, 50, 50, 50])
    assert censored["updates_to_solution"] == 200


def test_a_network_that_diverged_after_it_was_solved_is_solved():
    runs = trained_runs([100] * 6)
    runs.loc[runs["update"] > 0, "training_status"] = "diverged"
    (row,) = tables.success(runs).to_dict("records")
    assert (row["solved"], row["training_diverged"], row["updates_to_solution"]) == (6, 0, 100)


def test_few_networks_have_no_interval():
    row = row_of([100, 200], [500])
    assert row["updates_to_solution"] == 200
    assert all(math.isnan(row[f"{name}_low"]) for name in ("success_rate", "updates_to_solution"))


def test_a_network_of_which_nothing_is_known_is_counted_apart():
    runs = trained_runs([100, 200], [500])
    of_one = runs["network_id"] == "n2"
    runs = runs.astype({"trained_updates": "Float64"})
    runs.loc[of_one, ["training_status", "trained_updates", "solved_at"]] = pd.NA
    runs.loc[of_one, "status"] = "failed"
    (row,) = tables.success(runs).to_dict("records")
    assert (row["networks"], row["failed"], row["success_rate"]) == (2, 1, 1.0)


def test_points_differ_in_what_was_swept_and_not_in_the_update():
    short, long = trained_runs([100] * 6), trained_runs([], [500] * 6).assign(sequence_length=40)
    long["network_id"] = "long " + long["network_id"]
    found = tables.success(pd.concat([short, long], ignore_index=True))
    assert found["sequence_length"].tolist() == [20, 40]
    assert "update" not in found
    assert found["success_rate"].tolist() == [1, 0]


def test_curves_rise_with_each_solved_network():
    curve = tables.success_curves(trained_runs([100, 200, 200], [150]))
    assert curve["update"].tolist() == [0, 100, 150, 200]
    assert curve["solved_share"].tolist() == pytest.approx([0, 0.25, 0.25, 1.0])
    assert curve["at_risk"].tolist() == [4, 4, 3, 2]
    assert curve["censored"].tolist() == [0, 0, 1, 0]


def test_a_study_without_training_has_no_such_table():
    assert not tables.has_training(training_runs())
    assert not tables.has_training(pd.DataFrame())
    with pytest.raises(ConfigurationError, match=r"write tables\.success\(study\.runs\)"):
        tables.success(type("Study", (), {"runs": training_runs()})())


def test_print_says_none_beyond_the_end():
    text = tables.format_table(tables.success(trained_runs([], [500] * 6)))
    assert "none [500, none]" in text


def test_points_of_which_no_network_was_solved_keep_their_rows():
    runs = pd.concat([trained_runs([], [300] * 6).assign(optimizer=name) for name in ("adam", "sgd")])
    text = tables.format_table(tables.success(runs.assign(network_id=runs["network_id"] + runs["optimizer"])))
    assert [line.split()[0] for line in text.splitlines()[-2:]] == ["adam", "sgd"]
    assert text.count("0.00 [0.00, 0.46]") == 2
