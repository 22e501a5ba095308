"""Which trained networks solved their task, and when: what claims about trainings ask of the table `runs`.

`rows` are runs of the last update, one for each network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bpttlab.claims.claims import Row, at_most, identity, median_of, share_of
from bpttlab.numerics.array import Array

MOST_WRONG = 0.01
"""The share of wrong answers with which a task of answers is solved (docs/tasks.md)."""


def solution_updates(rows: pd.DataFrame) -> Array:
    """`solved_at` of each network; inf: it was never solved.  (networks,)"""
    return rows["solved_at"].astype("Float64").to_numpy(dtype=float, na_value=np.inf)


def solved_shares(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A row for each value of two columns or more: networks, share that is solved, with its interval, and the median of
    `solved_at`, in which the unsolved count as larger than all.
    """
    found = []
    for names, own in rows.groupby(list(by)):
        share = share_of(own["solved_at"].notna())
        known = dict(zip(by, names, strict=True)) | {"networks": len(own), "solved": share.value}
        middle = median_of(solution_updates(own)).value
        found.append(known | {"solved_low": share.low, "solved_high": share.high, "median_update": middle})
    return pd.DataFrame(found)


def count_solved(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """At how many points the task was solved: a row for each seed, a column for each value of `kind`."""
    solved = rows.assign(solved=rows["solved_at"].notna().astype(float))
    return solved.pivot_table(index="seed", columns=kind, values="solved", aggfunc="sum")


def solved_at_the_first_check(rows: pd.DataFrame, training: pd.DataFrame) -> Row:
    """`solved_at` beside the first check with at most 1 % of wrong answers in the table `training`: an identity."""
    right = training[training["validation_error"].astype(float) <= MOST_WRONG]
    first = rows["run_id"].map(right.groupby("run_id")["update"].min()).astype("Float64").fillna(np.inf)
    text = f"networks whose solved_at is not the first check with 1 % of wrong answers, of {len(rows)}"
    away = float((first.to_numpy(dtype=float) != solution_updates(rows)).sum())
    return identity(at_most(text, "definition", away, 0.0))
