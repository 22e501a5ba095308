"""Statistics over networks, computed for all groups of a frame at once.

The centre is the median. Its interval is that of `verdicts.median_of`: two order statistics that contain the median of
all networks with 95 %. Both depend on order only, so that -inf, the logarithm of zero, takes part in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from bpttlab.numerics.verdicts import LEAST_NETWORKS, Estimate, median_of

_FAR_BELOW = -1e300  # replaces -inf while quantiles interpolate: inf - inf is NaN


def numbers(column: pd.Series) -> pd.Series:
    """A measured column as float64 with NaN for NA, for every nullable type."""
    values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(values, index=column.index)


def group_rows(rows: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, pd.Series]:
    """The distinct combinations of `by` (NA is a value), in order, and the number of each row's combination."""
    group = rows.groupby(list(by), dropna=False, sort=True).ngroup()
    keys = rows[list(by)].assign(group=group).drop_duplicates("group").set_index("group").sort_index()
    return keys, group


def quantile(column: pd.Series, group: pd.Series, q: float) -> pd.Series:
    """The q-quantile of each group, linear between order statistics; -inf if it falls on or next to a -inf."""
    values = numbers(column).replace(-np.inf, _FAR_BELOW)
    found = values.groupby(group).quantile(q)
    return found.mask(found < _FAR_BELOW / 1e100, -np.inf)


def median(column: pd.Series, group: pd.Series) -> pd.Series:
    """The median of each group; NA where it has no value."""
    return quantile(column, group, 0.5)


def middle_value(column: pd.Series, group: pd.Series, side: Literal["lower", "higher"]) -> pd.Series:
    """The median of each group as one of its values: of two in the middle the lower or the higher one."""
    return numbers(column).groupby(group).quantile(0.5, interpolation=side)


def count_networks(condition: pd.Series, group: pd.Series) -> pd.Series:
    """The number of rows of each group that meet a condition."""
    return condition.astype(bool).groupby(group).sum().astype("Int64")


def networks_in(rows: pd.DataFrame, group: pd.Series) -> pd.Series:
    """The number of different networks of each group."""
    return rows.groupby(group)["network_id"].nunique().astype("Int64")


def with_interval(rows: pd.DataFrame, group: pd.Series, column: str) -> dict[str, pd.Series]:
    """`column` as its median over the rows (one a network), `column_low` and `column_high` as the median's interval.

    Missing values take no part. The interval is missing if fewer than `LEAST_NETWORKS` values are left: the smallest
    and the largest of five contain the median with 94 % only.
    """
    found = estimates(rows[column], group)
    return {column: found["value"], f"{column}_low": found["low"], f"{column}_high": found["high"]}


def estimates(column: pd.Series, group: pd.Series) -> pd.DataFrame:
    """value, low and high of each group, by `verdicts.median_of`."""
    values = numbers(column).dropna()
    of_group = {number: reported_median(part.to_numpy())[:3] for number, part in values.groupby(group)}
    found = pd.DataFrame.from_dict(of_group, orient="index", columns=["value", "low", "high"], dtype=np.float64)
    return found.reindex(pd.Index(np.sort(group.unique()), name=group.name))


def reported_median(values: np.ndarray) -> Estimate:
    """`median_of`; with too few values its interval is missing (NaN) and not infinite."""
    found = median_of(values)
    return found if len(values) >= LEAST_NETWORKS else found._replace(low=np.nan, high=np.nan)
