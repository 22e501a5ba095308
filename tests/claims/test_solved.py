"""Which networks solved their task, against the definitions."""

import numpy as np
import pandas as pd
import pytest

from bpttlab.claims import solved
from bpttlab.numerics.verdicts import share_of

ROWS = pd.DataFrame(
    {
        "run_id": list("abcdef"),
        "seed": [0, 0, 1, 1, 2, 2],
        "kind": ["x", "y"] * 3,
        "length": [5] * 6,
        "solved_at": pd.array([20, None, 40, 60, None, None], dtype="Int64"),
    }
)
CHECKS = pd.DataFrame(
    {
        "run_id": ["a", "a", "b", "c", "d", "d"],
        "update": [10, 20, 20, 40, 40, 60],
        "validation_error": [0.5, 0.01, 0.02, 0.0, np.nan, 0.005],
    }
)


def test_a_network_that_was_never_solved_has_inf():
    assert solved.solution_updates(ROWS).tolist() == [20, np.inf, 40, 60, np.inf, np.inf]


def test_shares_and_medians_are_those_of_each_point():
    found = solved.solved_shares(ROWS, ["kind", "length"]).set_index("kind")
    assert found["networks"].tolist() == [3, 3] and found["length"].tolist() == [5, 5]
    assert found["solved"].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found["median_update"].tolist() == [40, np.inf]
    share = share_of(pd.Series([True, True, False]))
    assert tuple(found.loc["x", ["solved_low", "solved_high"]]) == (share.low, share.high)


def test_points_that_are_solved_are_counted_for_each_seed():
    counts = solved.count_solved(ROWS, "kind")
    assert counts["x"].tolist() == [1, 1, 0] and counts["y"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("run_id", "wrong"), [("a", 10), ("b", 20), ("d", 40), ("c", None)])
def test_another_solved_at_than_the_first_check_fails(run_id, wrong):
    right = solved.solved_at_the_first_check(ROWS, CHECKS)
    assert right["verdict"] == "holds" and right["kind"] == "identity"
    rows = ROWS.assign(solved_at=ROWS["solved_at"].mask(ROWS["run_id"] == run_id, wrong))
    assert solved.solved_at_the_first_check(rows, CHECKS)["verdict"] == "fails"
