"""Quantities of networks against the update of their training: the data of the figure `training`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bpttlab.store.columns import UPDATE
from bpttlab.tables.curves import band
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.statistics import group_rows, numbers
from bpttlab.tables.success import runs_of_trained

_RECORDED = ("loss", "log_gradient_norm")
"""Columns of the table `training`."""
_OF_RUNS = ("lyapunov_exponent", "vanishing_horizon")
"""Columns of `runs`, known at the updates that were measured."""
MOST_UPDATES = 120
_KEYS = ("quantity", UPDATE)


@takes_frames
def training_curves(training: pd.DataFrame, runs: pd.DataFrame, most: int = MOST_UPDATES) -> pd.DataFrame:
    """Loss, log gradient norm, largest exponent and horizon against the update: of each network, and over networks.

    One row per sweep point, quantity, update and network, with its value in `median`, and `status` at the last one:
    solved, diverged or done. Rows without a network_id have the median and the quartiles (`low`, `high`) over
    `networks`. There a network that was solved keeps its last values, as its weights stay as they are; one that
    diverged takes no part from then on. The own rows of a solved network end at the update at which it was solved. Of
    more than `most` recorded updates some are kept, evenly apart on the axis.

    Args:
        training, runs: `study.training` and `study.runs`.
    """
    rows, by = runs_of_trained(runs)
    curves = pd.concat([_of_updates(training, rows, by, most), _of_runs(rows, by)], ignore_index=True)
    point = group_rows(curves, [*by, "quantity"])[1]
    parts = [_over_networks(part, by) for _, part in curves.groupby(point, sort=True)]
    curves = _move_to_ends(curves, rows, by)
    return pd.concat([*parts, curves.assign(low=np.nan, high=np.nan, networks=1, zero=0)], ignore_index=True)


def _of_updates(training: pd.DataFrame, rows: pd.DataFrame, by: Sequence[str], most: int) -> pd.DataFrame:
    """The rows of networks that the table `training` has."""
    own = training[["run_id", UPDATE, *_RECORDED]].rename(columns={UPDATE: "_at"})
    joined = own.merge(rows[["run_id", "network_id", *by]], on="run_id").rename(columns={"_at": UPDATE})
    kept = choose_recorded(joined[UPDATE], is_logarithmic(rows[UPDATE]), most)
    joined = joined[joined[UPDATE].isin(kept) | (joined[UPDATE] == joined.groupby("run_id")[UPDATE].transform("max"))]
    status = rows.groupby("network_id")["training_status"].agg(_end)
    parts = [_long(joined, by, name, status) for name in _RECORDED]
    return pd.concat(parts, ignore_index=True)


def _of_runs(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows of networks at the updates that were measured."""
    done = rows[rows["status"] == "done"].drop_duplicates([*by, "network_id", UPDATE])
    none = pd.Series(dtype=object)
    parts = [_long(done, by, name, none) for name in _OF_RUNS if name in done and done[name].notna().any()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _long(rows: pd.DataFrame, by: Sequence[str], name: str, status: pd.Series) -> pd.DataFrame:
    """One quantity of networks; `status` at the last update of each."""
    found = rows[[*by, "network_id"]].assign(quantity=name, median=numbers(rows[name]))
    found[UPDATE] = numbers(rows[UPDATE])
    found = found[found["median"].notna()].sort_values(UPDATE, kind="stable")
    is_last = found[UPDATE] == found.groupby("network_id")[UPDATE].transform("max")
    return found.assign(status=found["network_id"].map(status).where(is_last).astype(object))


def _end(statuses: pd.Series) -> str:
    """What became of a network."""
    known = set(statuses.dropna())
    return "solved" if "solved" in known else "diverged" if "diverged" in known else "done"


def _move_to_ends(curves: pd.DataFrame, rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows of networks; measurements after a network was solved are one row, at the update of its last weights."""
    solved = rows[rows["training_status"] == "solved"]
    ends = curves["network_id"].map(numbers(solved["trained_updates"]).groupby(solved["network_id"]).max())
    is_after = curves["quantity"].isin(_OF_RUNS) & (curves[UPDATE] >= ends)
    moved = curves.assign(**{UPDATE: curves[UPDATE].mask(is_after, ends)})
    moved["status"] = moved["status"].mask(is_after, "solved")
    return moved[~(is_after & moved.duplicated([*by, *_KEYS, "network_id"]))]


def _over_networks(part: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Median and quartiles at each update, of one point and quantity."""
    ends = part.loc[part["status"].notna()].set_index("network_id")
    solved = ends.index[ends["status"] == "solved"]
    wide = part.pivot_table(index=UPDATE, columns="network_id", values="median", sort=True)
    filled = wide.copy()
    for name in wide.columns.intersection(solved):
        filled[name] = wide[name].ffill()
    if len(ends):  # without the updates that only a network that ended there has a row of
        left = [(ends[UPDATE] >= update).sum() + (ends.loc[solved, UPDATE] < update).sum() for update in wide.index]
        filled = filled[filled.notna().sum(axis=1) >= np.array(left)]
    values = filled.reset_index().melt(id_vars=UPDATE, value_name="median")
    found = pd.DataFrame(band(values["median"], values[UPDATE])).rename_axis(UPDATE).reset_index()
    found = found[found["networks"] > 0]
    first = part.iloc[0]
    return found.assign(**{name: first[name] for name in [*by, "quantity"]}, network_id=None, status=None)


def is_logarithmic(updates: pd.Series) -> bool:
    """Whether most of the measured updates lie near the beginning, so that an axis of them should be logarithmic."""
    there = np.unique(numbers(updates).dropna())
    return len(there) > 4 and bool(2 * np.sum(there <= 0.15 * there[-1]) > len(there))


def choose_recorded(updates: pd.Series, is_log: bool, most: int) -> list[float]:
    """At most so many of the recorded updates, evenly apart on a linear or a logarithmic axis."""
    there = np.unique(numbers(updates).dropna())
    if len(there) <= most:
        return list(there)
    ends = max(there[0], 1.0), there[-1]
    wanted = np.geomspace(*ends, most) if is_log else np.linspace(*ends, most)
    return list(np.unique(there[np.abs(there[None] - wanted[:, None]).argmin(axis=1)]))
