"""Theory at each sweep point and its residual: the overlays of `runs` over networks."""

from __future__ import annotations

import pandas as pd

from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import networks
from bpttlab.tables.statistics import count_networks, group_rows, median, networks_in, numbers, with_interval

_ENDING = "_outside"


def overlays(runs: pd.DataFrame) -> list[str]:
    """The overlays that a table of runs has columns for."""
    return [str(name).removesuffix(_ENDING) for name in runs if str(name).endswith(_ENDING)]


@takes_frames
def theory(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per sweep point and overlay: the rate, and the residual (measured minus theory) with its interval.

    Medians are over networks, `_low` and `_high` the 95 % interval of the median by order statistics (NA below six).
    `networks` counts those that are done, `within` those of them for which the theory holds. `outside` is the most
    common reason why it does not hold for the others. A rate outside its range belongs to another network, for example
    a linear one.
    """
    rows, by = networks(runs)
    rows = rows[rows["status"] == "done"].reset_index(drop=True)
    parts = [_of(rows, by, name) for name in overlays(rows)]
    if not parts:
        return pd.DataFrame(columns=[*by, "overlay", "networks"])
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values([*by, "overlay"], kind="stable").reset_index(drop=True)


def _of(rows: pd.DataFrame, by: list[str], name: str) -> pd.DataFrame:
    keys, group = group_rows(rows, by)
    why = rows[f"{name}{_ENDING}"]
    renamed = pd.DataFrame({"rate": numbers(rows[f"{name}_rate"]), "residual": numbers(rows[f"{name}_residual"])})
    return keys.assign(
        overlay=name,
        networks=networks_in(rows, group),
        within=count_networks(why.isna(), group),
        rate=median(renamed["rate"], group),
        **with_interval(renamed, group, "residual"),
        outside=why.groupby(group).agg(_find_commonest),
    ).reset_index(drop=True)


def _find_commonest(reasons: pd.Series) -> str | None:
    """The reason of most networks; the first of equally many."""
    found = reasons.mode()
    return None if found.empty else str(found.iloc[0])
