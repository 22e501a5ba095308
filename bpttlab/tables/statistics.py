"""Statistics over networks, computed for all groups of a frame at once.

Averages are over logarithms, where -inf means exactly zero: an infinite value takes part in medians and quantiles,
which are about order, and never in an interval, which is about arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

LEVEL = 0.95
_FAR_BELOW = -1e300  # stands for -inf while quantiles interpolate: inf - inf has no answer


def numbers(column: pd.Series) -> pd.Series:
    """A measured column as float64 with NaN for NA, whatever nullable type it was stored with."""
    values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(values, index=column.index)


def grouped(rows: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, pd.Series]:
    """The distinct combinations of `by` (NA is a value), in order, and the number of the one each row belongs to."""
    group = rows.groupby(list(by), dropna=False, sort=True).ngroup()
    keys = rows[list(by)].assign(group=group).drop_duplicates("group").set_index("group").sort_index()
    return keys, group


def quantile(column: pd.Series, group: pd.Series, q: float) -> pd.Series:
    """The q-quantile of each group, linear between order statistics; -inf where it falls on or next to a -inf."""
    values = numbers(column).replace(-np.inf, _FAR_BELOW)
    found = values.groupby(group).quantile(q)
    return found.mask(found < _FAR_BELOW / 1e100, -np.inf)


def median(column: pd.Series, group: pd.Series) -> pd.Series:
    """The median of each group; NA where it has no value."""
    return quantile(column, group, 0.5)


def t_interval(column: pd.Series, group: pd.Series, level: float = LEVEL) -> tuple[pd.Series, pd.Series]:
    """Both ends of the Student interval of each group's mean; NA with fewer than two finite values.

    A group with an infinite value has no interval: a mean without its zeros would speak for the networks that are left.
    """
    values = numbers(column)
    groups = values.where(np.isfinite(values)).groupby(group)
    count, mean, deviation = groups.count(), groups.mean(), groups.std(ddof=1)
    half = stdtrit((count - 1).clip(lower=1), 0.5 + level / 2) * deviation / np.sqrt(count.clip(lower=1))
    missing = (count < 2) | np.isinf(values).groupby(group).any()
    return (mean - half).mask(missing), (mean + half).mask(missing)


def count(condition: pd.Series, group: pd.Series) -> pd.Series:
    """How many rows of each group meet a condition."""
    return condition.astype(bool).groupby(group).sum().astype("Int64")


def networks_in(rows: pd.DataFrame, group: pd.Series) -> pd.Series:
    """How many different networks each group has."""
    return rows.groupby(group)["network_id"].nunique().astype("Int64")


def with_interval(rows: pd.DataFrame, group: pd.Series, column: str) -> dict[str, pd.Series]:
    """`column` as its median and `column_low`, `column_high` as its interval over the rows (one a network)."""
    low, high = t_interval(rows[column], group)
    return {column: median(rows[column], group), f"{column}_low": low, f"{column}_high": high}
