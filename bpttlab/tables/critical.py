"""The spectral radius at which the growth rate of a network changes its sign."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import FROM_FILE, MEASURED_RADIUS, networks, require_columns
from bpttlab.tables.statistics import count_networks, group_rows, median, middle_value, numbers, with_interval


@takes_frames
def critical_spectral_radius(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per task, length and all else that varies except the requested value: where growth changes into decay.

    A network is followed through the sweep of W = rho W_0 with the same W_0, that is the same seed. Its critical radius
    lies between two neighbouring radii whose growth rates differ in sign. The sweep gives only this bracket. `one`,
    `none` and `several` count networks by their number of sign changes; only those with one take part. A network with
    a rate at fewer than two radii was not followed through a sweep: it is not counted, and a point of such networks has
    no row.

    `bracket_low` and `bracket_high` are two of the radii swept: the lower median of the brackets' lower ends and the
    upper median of their upper ends, which contain the median critical radius of these networks. `critical_low` is the
    lower end of the 95 % interval of the median lower end, `critical_high` the upper end of that of the median upper
    end, each by order statistics (NA below six networks). They contain the median critical radius for any place within
    the brackets, so that a coarse sweep has a wide interval. `critical` is interpolated: the median of the radii at
    which the straight line between the two rates is zero. It is NA if a network has a rate of -inf at one end.

    `lowest` and `highest` are the range of the sweep. If an initializer states a gain, the measured radius of each
    matrix is used. Networks without a requested value belong to no sweep and are left out.
    """
    require_columns(runs, "seed", "rho")
    rows, by = networks(runs)
    rows = rows[~rows["initializer_target"].isin([MEASURED_RADIUS, FROM_FILE])].reset_index(drop=True)
    by = [name for name in by if name != "initializer_requested"]
    rows = rows.assign(radius=_radius(rows), rate=numbers(rows["growth_rate"]).where(rows["status"] == "done"))
    keys, family = group_rows(rows, [*by, "seed"])
    found = pd.DataFrame(
        [_find_crossing(part) for _, part in rows[["radius", "rate"]].groupby(family)],
        index=keys.index,
        columns=list(CROSSING),
    )
    families = keys.join(found)
    families = families[families["crossings"] != UNKNOWN].reset_index(drop=True)
    points, group = group_rows(families, by)
    low, high = (with_interval(families, group, end) for end in ("bracket_low", "bracket_high"))
    return points.assign(
        networks=count_networks(families["crossings"].notna(), group),
        one=count_networks(families["crossings"] == 1, group),
        none=count_networks(families["crossings"] == 0, group),
        several=count_networks(families["crossings"] > 1, group),
        critical=_interpolate(families, group),
        critical_low=low["bracket_low_low"],
        critical_high=high["bracket_high_high"],
        bracket_low=middle_value(families["bracket_low"], group, "lower"),
        bracket_high=middle_value(families["bracket_high"], group, "higher"),
        lowest=families.groupby(group)["lowest"].min(),
        highest=families.groupby(group)["highest"].max(),
    ).reset_index(drop=True)


def describe_brackets(table: pd.DataFrame) -> list[str]:
    """The caption of the summary: what a bracket is, or that there is none."""
    if table["bracket_low"].isna().all():
        return ["no bracket: the asymptotic rate of no network changes its sign once within the radii swept"]
    return ["bracket: radii swept that enclose the sign change of the asymptotic rate, in the median over networks"]


def _interpolate(families: pd.DataFrame, group: pd.Series) -> pd.Series:
    """The median of the interpolated radii, where all of the networks with a bracket have one."""
    without = count_networks(families["bracket_low"].notna() & families["critical"].isna(), group)
    return median(families["critical"], group).mask(without > 0)


CROSSING = ("crossings", "critical", "bracket_low", "bracket_high", "lowest", "highest")
UNKNOWN = -1
"""The crossings of a network without rates at two radii: no sweep was measured."""


def _radius(rows: pd.DataFrame) -> pd.Series:
    """The requested spectral radius if there is one (the scale of a matrix of radius one counts), else the measured
    one.
    """
    return numbers(rows["initializer_requested"]).where(rows["initializer_target"] != "gain", numbers(rows["rho"]))


def _find_crossing(part: pd.DataFrame) -> dict[str, float]:
    """The sign changes of one family of matrices: their number, and estimate and bracket where there is one."""
    part = part.dropna(subset=["radius", "rate"]).sort_values("radius")
    radius, rate = part["radius"].to_numpy(dtype=float), part["rate"].to_numpy(dtype=float)
    if len(set(radius)) < 2:
        return dict.fromkeys(CROSSING, np.nan) | {"crossings": UNKNOWN}
    brackets = sign_changes(radius, rate)
    low, high, estimate = brackets[0] if len(brackets) == 1 else (np.nan, np.nan, np.nan)
    found = (len(brackets), estimate, low, high, radius.min(), radius.max())
    return dict(zip(CROSSING, found, strict=True))


def sign_changes(radius: Sequence[float] | np.ndarray, rate: Sequence[float] | np.ndarray) -> list[tuple[float, ...]]:
    """(lower end, upper end, estimate) of every bracket of a sign change, for ascending radii."""
    radius, rate = np.asarray(radius, dtype=float), np.asarray(rate, dtype=float)
    zeros = [(at, at, at) for at in radius[rate == 0]]
    (left,) = np.nonzero(np.sign(rate[:-1]) * np.sign(rate[1:]) < 0)
    below, above = rate[left], rate[left + 1]
    with np.errstate(invalid="ignore"):  # a rate of -inf leaves the bracket and no line to draw in it
        estimate = radius[left] + (radius[left + 1] - radius[left]) * (below / (below - above))
    between = zip(radius[left], radius[left + 1], estimate, strict=True)
    return sorted([*zeros, *between])
