"""Networks that a monitor measured inside a training loop, in the table `runs`: which rows count, and their names.

Each measured update is a run. A training run is a label and a seed, which `network_id` is the hash of. If an update of
a training run was measured twice, with other weights or settings, the one published last counts: a loop that was
interrupted and goes on, or is started again, replaces what it measures again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from bpttlab.store.columns import MONITOR_LABEL, TRAINING, UPDATE
from bpttlab.store.commits import Commit


def find_superseded(runs: pa.Table, commits: Iterable[Commit]) -> list[str]:
    """The runs of updates that were measured again later."""
    if not {UPDATE, "network_weights"} <= set(runs.column_names):
        return []
    rows = runs.filter(pc.is_valid(runs[UPDATE]))
    if TRAINING in rows.column_names:  # networks that a sweep has trained have no run for another
        rows = rows.filter(pc.is_null(rows[TRAINING]))
    rows = rows.select(["network_id", UPDATE, "run_id"])
    updates: dict[tuple[str, int], list[str]] = {}
    for network, update, run_id in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        updates.setdefault((network, update), []).append(run_id)
    several = [run_ids for run_ids in updates.values() if len(run_ids) > 1]
    if not several:
        return []
    published = last_published(commits)
    latest = {max(run_ids, key=lambda run_id: (published[run_id], run_id)) for run_ids in several}
    return [run_id for run_ids in several for run_id in run_ids if run_id not in latest]


def last_published(commits: Iterable[Commit]) -> Mapping[str, int]:
    """When each run was last published, in nanoseconds since 1970."""
    published: dict[str, int] = {}
    for commit in commits:
        for run_id in commit.run_ids:
            published[run_id] = max(commit.published, published.get(run_id, 0))
    return published


def labels_of(runs: pa.Table) -> list[str | None]:
    """The label of the training run of each row; None for other runs."""
    is_monitored = {UPDATE, MONITOR_LABEL} <= set(runs.column_names)
    return runs[MONITOR_LABEL].to_pylist() if is_monitored else [None] * runs.num_rows


def places_of(labels: Sequence[str | None], after: int) -> dict[str, int]:
    """The place of each label, in order of the labels, behind so many others."""
    return {label: after + place for place, label in enumerate(sorted({one for one in labels if one}), 1)}
