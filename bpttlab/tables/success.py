"""Which networks learnt their task, and after how many updates: some never do, and a mean over the others misleads.

A network that was not solved when its training ended is censored there: it is known that it would take more updates. A
network whose training diverged will never be solved. It counts as unsolved at every update, also at those that it did
not reach; if it were censored where it diverged, it would count as one that had still been learning.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bpttlab.numerics.censored_times import kaplan_meier, median_time
from bpttlab.numerics.verdicts import LEAST_NETWORKS, share_of
from bpttlab.store.columns import SCHEME_OF_TRAINING, UPDATE
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import point_columns, require_columns, with_requested
from bpttlab.tables.statistics import count_networks, group_rows, numbers

_SCHEME = SCHEME_OF_TRAINING[0]


@takes_frames
def has_training(runs: pd.DataFrame) -> bool:
    """Whether a sweep trained networks."""
    return _SCHEME in runs and bool(runs[_SCHEME].notna().any())


def runs_of_trained(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The runs of networks that a sweep trained, and the columns of their sweep points, without the update."""
    require_columns(runs, _SCHEME, UPDATE, "network_id", "solved_at", "trained_updates", "training_status")
    rows = with_requested(runs[runs[_SCHEME].notna()].reset_index(drop=True))
    return rows, [name for name in point_columns(rows) if name != UPDATE]


@takes_frames
def solution_times(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per trained network: its sweep point, network_id, `updates`, `solved`, `training_diverged`, `trained`.

    `updates` are those to the check that found the task solved first. Of an unsolved network they are those that it was
    trained for, and inf if its training diverged. They are missing if all of its runs failed. `trained` are the updates
    that it was trained for.
    """
    rows, by = runs_of_trained(runs)
    keys, group = group_rows(rows, [*by, "network_id"])
    solved_at = numbers(rows["solved_at"]).groupby(group).min()
    trained = numbers(rows["trained_updates"]).groupby(group).max()
    solved = solved_at.notna()
    diverged = (rows["training_status"] == "diverged").groupby(group).any() & ~solved
    updates = solved_at.where(solved, trained.mask(diverged, np.inf))
    found = keys.assign(updates=updates, solved=solved, training_diverged=diverged, trained=trained)
    return found.reset_index(drop=True)


@takes_frames
def success(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per sweep point: how many networks learnt their task, which share, and the median updates to it.

    `success_rate` has the 95 % interval of Clopper & Pearson. `updates_to_solution` is the first update at which the
    Kaplan-Meier estimate of the unsolved share is at most 1/2, with the interval of `median_time`; inf, in print none:
    it lies beyond the end of training. `trained_for` are the most updates of a network. A network whose runs all failed
    is counted in `failed` alone.
    """
    times = solution_times(runs)
    by = _point_of(times)
    known = times["updates"].notna()
    keys, group = group_rows(times, by)
    found = keys.assign(
        networks=count_networks(known, group),
        solved=count_networks(times["solved"], group),
        training_diverged=count_networks(times["training_diverged"], group),
        failed=count_networks(~known, group),
        trained_for=times["trained"].groupby(group).max().astype("Int64"),
    )
    parts = {number: _estimate(part) for number, part in times[known].groupby(group[known])}
    measured = pd.DataFrame.from_dict(parts, orient="index", columns=_ESTIMATED, dtype=np.float64)
    return found.join(measured).reset_index(drop=True)


def _point_of(times: pd.DataFrame) -> list[str]:
    """The columns of the sweep point, which come first."""
    names = [str(name) for name in times]
    return names[: names.index("network_id")]


_ESTIMATED = [f"{name}{end}" for name in ("success_rate", "updates_to_solution") for end in ("", "_low", "_high")]


def _estimate(times: pd.DataFrame) -> list[float]:
    """The share of solved networks and the median updates to it, with their intervals: NaN for few networks."""
    share, median = share_of(times["solved"]), median_time(times["updates"], times["solved"])
    few = len(times) < LEAST_NETWORKS
    return [number for found in (share, median) for number in (found.value, *([np.nan] * 2 if few else found[1:3]))]


@takes_frames
def success_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per sweep point and update at which a network was solved or seen last: the share that is solved by then.

    `solved_share` is 1 minus the Kaplan-Meier estimate, `at_risk` the number of networks that were neither solved nor
    left before, `solved` and `censored` those that were solved and seen last at this update. The first row of a point
    is update 0. The data of the figure `success_curves`.
    """
    times = solution_times(runs)
    by = _point_of(times)
    times = times[times["updates"].notna()].reset_index(drop=True)
    keys, group = group_rows(times, by)
    parts = []
    for number, part in times.groupby(group):
        curve = kaplan_meier(part["updates"], part["solved"])
        columns = {
            UPDATE: [0.0, *curve.times],
            "networks": len(part),
            "solved_share": [0.0, *(1.0 - curve.survival)],
            "at_risk": [len(part), *curve.at_risk],
            "solved": [0, *curve.events],
            "censored": [0, *curve.censored],
        }
        parts.append(pd.DataFrame(columns).assign(group=number))
    if not parts:
        return keys.assign(**{name: [] for name in _CURVE})
    rows = pd.concat(parts, ignore_index=True).astype({name: "Int64" for name in _CURVE if name != "solved_share"})
    return keys.join(rows.set_index("group")).reset_index(drop=True)


_CURVE = (UPDATE, "networks", "solved_share", "at_risk", "solved", "censored")


def describe_success(table: pd.DataFrame) -> list[str]:
    """The caption of the summary."""
    return [_CAPTION]


_CAPTION = (
    "updates to solution: by Kaplan-Meier; networks that were never solved are censored at the end of their training, "
    "those that diverged count as unsolved for ever; none: more than half were unsolved at the end"
)
