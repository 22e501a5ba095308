"""Networks while they are trained: what was measured at each update, and before training beside after it.

The unit of statistics is a training run: a label and a seed. Its first and its last measured update are a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bpttlab.store.columns import UPDATE
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import networks, require_columns
from bpttlab.tables.statistics import count_networks, group_rows, median, numbers, with_interval

_WITH_INTERVAL = ("training_loss", "growth_rate", "vanishing_horizon", "lyapunov_exponent", "rho")
_MEDIANS = ("training_log_gradient_norm", "loss")
QUANTITIES = (*_WITH_INTERVAL, *_MEDIANS, "log_growth")
"""Columns of `runs` that are paired."""

MOST_CHOSEN = 5
"""Updates of which a headline has rows."""

_HORIZON, _CENSORED = "vanishing_horizon", "horizon_censored"


@takes_frames
def has_updates(runs: pd.DataFrame) -> bool:
    """Whether networks were measured while they were trained."""
    return UPDATE in runs and bool(runs[UPDATE].notna().any())


@takes_frames
def choose_updates(rows: pd.DataFrame, most: int = MOST_CHOSEN) -> pd.DataFrame:
    """The rows of so many updates, evenly apart, the first and the last among them; without updates all rows."""
    if UPDATE not in rows:
        return rows
    there = sorted(rows[UPDATE].dropna().unique())
    if len(there) <= most:
        return rows
    chosen = {there[place] for place in np.linspace(0, len(there) - 1, most).round().astype(int)}
    kept = rows[rows[UPDATE].isin(chosen) | rows[UPDATE].isna()].reset_index(drop=True)
    kept.attrs = rows.attrs
    return kept


@takes_frames
def updates(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per sweep point, of which the update is a part: the loss, the growth rate, horizon, exponent and rho.

    Medians are over networks (training runs), `_low` and `_high` their 95 % interval by order statistics, NA below six
    networks. `vanishing_censored` counts the networks whose horizon ended only because the sequence did. Networks that
    failed or diverged at an update take no part in its medians.
    """
    require_columns(runs, UPDATE)
    rows, by = networks(runs[runs[UPDATE].notna()].reset_index(drop=True))
    by = list(dict.fromkeys([*by, UPDATE]))
    keys, group = group_rows(rows, by)
    measured = _measured_where_done(rows, [*_WITH_INTERVAL, *_MEDIANS])
    found = keys.assign(
        networks=count_networks(rows["status"] == "done", group),
        diverged=count_networks(rows["status"] == "diverged", group),
        failed=count_networks(rows["status"] == "failed", group),
        **with_interval(measured, group, "training_loss"),
        **{name: median(measured[name], group) for name in _MEDIANS},
    )
    for name in _WITH_INTERVAL[1:]:
        found = found.assign(**with_interval(measured, group, name))
        if name == _HORIZON:
            found = found.assign(vanishing_censored=count_networks(_are_censored(rows), group))
    return found.reset_index(drop=True)


@takes_frames
def training_pairs(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per network and quantity: the values of its first and its last measured update, `before` and `after`.

    `is_pair` is false for a network with one measured update, or that failed or diverged at its first or last one. A
    quantity that no pair has is left out. `before_censored` and `after_censored` say that the value is a horizon that
    ended only because the sequence did. The data of the figure `paired`.
    """
    require_columns(runs, UPDATE)
    rows, point = networks(runs[runs[UPDATE].notna()].reset_index(drop=True))
    by = [name for name in point if name != UPDATE]
    first, last = _first_and_last(rows, by)
    ends = first[["network_id", *by]].assign(first_update=first[UPDATE], last_update=last[UPDATE])
    is_pair = first["done"] & last["done"] & (first[UPDATE] < last[UPDATE])
    parts = [
        ends.assign(quantity=name, is_pair=is_pair, before=first[name], after=last[name]).assign(
            before_censored=first["censored"] & (name == _HORIZON), after_censored=last["censored"] & (name == _HORIZON)
        )
        for name in QUANTITIES
    ]
    found = pd.concat(parts, ignore_index=True)
    there = found["is_pair"] & found["before"].notna() & found["after"].notna()
    return found[found["quantity"].isin(found["quantity"][there])].reset_index(drop=True)


@takes_frames
def paired(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per training (sweep point without its update) and quantity: before, after, and the difference.

    Each network is paired with itself: its first measured update with its last one. So the interval of the difference
    is about the effect of training, without the scatter between networks. Networks that are no pair
    (`training_pairs`) are counted in `unpaired` and take no part; what no pair of a training has, has no row.
    `before_censored` and `after_censored` count the networks whose horizon ended there only because the sequence did:
    the true one is at least as long. A network keeps its label, seed, sizes and probe (or T): of another size or T it
    is another training.
    """
    ends = training_pairs(runs)
    apart = ("network_id", "first_update", "last_update", "is_pair", "before", "after", *_ENDS_CENSORED)
    by = [name for name in map(str, ends) if name not in apart]
    keys, group = group_rows(ends, by)
    there = ends["is_pair"] & ends["before"].notna() & ends["after"].notna()
    with np.errstate(invalid="ignore"):
        difference = (ends["after"] - ends["before"]).mask(ends["after"] == ends["before"], 0.0)  # -inf - -inf
    values = ends[["before", "after"]].assign(difference=difference).where(there)
    columns = [with_interval(values, group, name) for name in ("before", "after", "difference")]
    spans = ends[["first_update", "last_update"]].astype("Float64").where(ends["is_pair"]).groupby(group)
    found = keys.assign(
        networks=count_networks(there, group),
        unpaired=count_networks(~ends["is_pair"], group),
        first_update=spans["first_update"].max().astype("Int64"),
        last_update=spans["last_update"].min().astype("Int64"),
        **{name: column for part in columns for name, column in part.items()},
        **{name: count_networks(there & ends[name], group) for name in _ENDS_CENSORED},
        rose=count_networks(values["difference"] > 0, group),
    )
    found = found[found["networks"] > 0]
    place = found["quantity"].map({name: place for place, name in enumerate(QUANTITIES)})
    order = found.assign(quantity=place).sort_values(by=by, kind="stable").index
    return found.loc[order].reset_index(drop=True)


_ENDS_CENSORED = ("before_censored", "after_censored")


def describe_paired(table: pd.DataFrame) -> list[str]:
    """The caption of the summary."""
    return ["difference: median of the differences within networks, not the difference of the medians"]


def _are_censored(rows: pd.DataFrame) -> pd.Series:
    """Whether the sequence ended before the horizon of a measured network did."""
    if _CENSORED not in rows:
        return pd.Series(False, index=rows.index)
    return (rows["status"] == "done") & (numbers(rows[_CENSORED]) == 1)


def _measured_where_done(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    done = rows["status"] == "done"
    found = pd.DataFrame({name: numbers(rows[name]).where(done) for name in names if name in rows}, index=rows.index)
    return found.reindex(columns=list(names))


def _first_and_last(rows: pd.DataFrame, by: Sequence[str]) -> list[pd.DataFrame]:
    """The rows of each network's first and of its last update, in one order; NaN where a run is not done."""
    keys = ["network_id", *by]
    ordered = rows.sort_values([*keys, UPDATE], kind="stable")
    measured = ordered[[*keys, UPDATE]].join(_measured_where_done(ordered, QUANTITIES))
    known = measured.assign(done=ordered["status"] == "done", censored=_are_censored(ordered))
    groups = known.groupby(keys, dropna=False, sort=True)
    ends = [pd.DataFrame(groups.nth(place)) for place in (0, -1)]
    return [end.sort_values(by=keys, kind="stable").reset_index(drop=True) for end in ends]
