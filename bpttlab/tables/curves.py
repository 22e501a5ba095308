"""Curves over lag with their bands over networks, and the triangle of one run: the data of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bpttlab.errors import LabError
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import describe_rows, join_names, one_run_per_network, require_columns
from bpttlab.tables.statistics import count_networks, group_rows, median, numbers, quantile
from bpttlab.theory import log_sigma_max_of_power

NORMS = {"spectral": "log_spectral_norm", "frobenius": "log_frobenius_norm"}
PARTS = {name: name for name in ("log_norm", "log_norm_per_loss", "share", "cumulative_share")}
BAND = (0.25, 0.75)
_THEORY = {"asymptote": "asymptote_rate", "bound": "bound_rate", "mean_field": "mean_field_rate"}


@takes_frames
def growth_curves(jacobians: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """log norm of Jacobian products against lag: one row per sweep point, norm ("spectral", "frobenius") and lag.

    The value of a network at a lag is the median over sequences of the products that end at its last t. Where sequences
    of a run differ in length, only lags that all of them have are kept. `median`, `low` and `high` are the median and
    the quartiles of these values over networks. `zero` counts networks with the value -inf (a
    product that is exactly zero). `asymptote` = lag * median log rho, `bound` = lag * median log(gamma sigma_max).
    `mean_field` is lag * the rate of a wide network for the Frobenius norm (per root N); for the spectral norm of a
    linear network it is the edge of the spectrum of W^lag. NA if `runs` lacks it.
    """
    present = {kind: name for kind, name in NORMS.items() if name in jacobians}
    runs = describe_rows(jacobians, runs)
    there = runs.get("asymptote_outside", pd.Series("", index=runs.index)).isna()
    runs = runs.assign(linear=there.astype(float))
    curves = _curves(comparable_products(jacobians), runs, present, ("lag",), (*_THEORY.values(), "linear"))
    curves = curves.assign(**{name: _line(curves["lag"], curves.pop(rate)) for name, rate in _THEORY.items()})
    edge = curves["mean_field"] + _edge(curves["lag"])
    spectral = edge.where(curves.pop("linear") == 1)
    return curves.assign(mean_field=curves["mean_field"].where(curves["quantity"] == "frobenius", spectral))


def _line(lag: pd.Series, rate: pd.Series) -> pd.Series:
    """lag * rate, and 0 at lag 0 for every rate: W^0 = I even for W = 0."""
    return (numbers(lag) * numbers(rate)).mask((lag == 0) & rate.notna(), 0.0)


def _edge(lag: pd.Series) -> pd.Series:
    """log of the largest singular value of a wide Gaussian W^lag relative to gain^lag."""
    return numbers(lag).map(lambda steps: log_sigma_max_of_power(1.0, int(steps)))


@takes_frames
def lag_curves(lag_terms: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Lag terms of the gradient against lag: one row per sweep point, parameter, lag and quantity.

    The quantities are log_norm, log_norm_per_loss, share and cumulative_share, as far as the table has them; median
    and band over networks as in `growth_curves`.
    """
    present = {kind: name for kind, name in PARTS.items() if name in lag_terms}
    return _curves(lag_terms, runs, present, ("parameter", "lag"), ())


def _curves(
    rows: pd.DataFrame,
    runs: pd.DataFrame | None,
    columns: Mapping[str, str],
    keys: Sequence[str],
    more: Sequence[str],
) -> pd.DataFrame:
    """Median and quartiles over networks of every quantity, in long form."""
    network, by = of_networks(rows, runs, list(columns.values()), keys, more)
    points, group = group_rows(network, [*by, *keys])
    theory = {name: median(network[name], group) for name in more}
    parts = [points.assign(quantity=kind, **band(network[name], group), **theory) for kind, name in columns.items()]
    return pd.concat(parts, ignore_index=True)


def of_networks(
    rows: pd.DataFrame, runs: pd.DataFrame | None, values: Sequence[str], keys: Sequence[str], more: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """One row per network, point and keys, with the medians of `values` over everything else inside it; the point.

    Only keys that every network of a point has are kept, so that all values of a curve are medians of the same
    networks.
    """
    rows = join_names(rows, runs, [*keys, *values], more)
    by = [name for name in map(str, rows) if name not in {"run_id", "network_id", *keys, *values, *more}]
    rows = one_run_per_network(rows, by).reset_index(drop=True)
    inside, group = group_rows(rows, [*by, *keys, "network_id"])
    network = inside.assign(**{name: median(rows[name], group) for name in (*values, *more)})
    return _common_keys(network, [*by, *keys], by), by


def _common_keys(network: pd.DataFrame, keys: Sequence[str], by: Sequence[str]) -> pd.DataFrame:
    have = network.groupby(list(keys), dropna=False)["network_id"].transform("size")
    most = have.groupby(group_rows(network, by)[1]).transform("max")
    return network[have == most].reset_index(drop=True)


def band(values: pd.Series, group: pd.Series) -> dict[str, pd.Series]:
    """Median and quartiles of each group, how many values there are, and how many are -inf."""
    low, high = BAND
    return {
        "median": median(values, group),
        "low": quantile(values, group, low),
        "high": quantile(values, group, high),
        "networks": count_networks(values.notna(), group),
        "zero": count_networks(values == -np.inf, group),
    }


def products_to_the_end(products: pd.DataFrame) -> pd.DataFrame:
    """Of a table of products P_{t,k}, those of the last t of each sequence of each run."""
    require_columns(products, "run_id", "t")
    return products[products["t"] == products.groupby(_sequences_of(products))["t"].transform("max")]


def comparable_products(products: pd.DataFrame) -> pd.DataFrame:
    """Products to the end, at the lags that all sequences of their run have.

    A median over sequences that become fewer along a curve would step where one of them ends.
    """
    return keep_common(products_to_the_end(products), "lag")


def keep_common(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """The rows with values of a key that all sequences of their run have."""
    if "sequence" not in rows:
        return rows
    pairs = rows[["run_id", "sequence", key]].drop_duplicates()
    have = pairs.groupby(["run_id", key], as_index=False).agg(have=("sequence", "size"))
    most = have.groupby("run_id")["have"].transform("max")
    if (have["have"] == most).all():
        return rows
    common = pd.MultiIndex.from_frame(have.loc[have["have"] == most, ["run_id", key]])
    return rows[pd.MultiIndex.from_frame(rows[["run_id", key]]).isin(common)]


def _sequences_of(products: pd.DataFrame) -> list[str]:
    """The columns that tell one sequence from another; sequences of a run may end at different t."""
    return [name for name in ("run_id", "sequence") if name in products]


@takes_frames
def triangle(jacobians: pd.DataFrame, runs: pd.DataFrame | None = None, run_id: str | None = None) -> pd.DataFrame:
    """log ||P_{t,k}||_2 for every pair of one run, median over sequences: columns run_id, the point's, seed, t, k, lag.

    Without `run_id` it takes, among the runs with products ending at more than one t, the one with the requested value
    closest to 1, then the longest, then the first run_id. Raises LabError if there is none.
    """
    require_columns(jacobians, "run_id", "t", "lag", "log_spectral_norm")
    rows = join_names(jacobians, runs, ["t", "lag", "log_spectral_norm"], ["seed"])
    ends = jacobians.groupby(_sequences_of(jacobians))["t"].nunique().groupby("run_id").max()
    chosen = _nearest_critical(rows[rows["run_id"].isin(ends.index[ends > 1])]) if run_id is None else run_id
    rows = rows[rows["run_id"] == chosen].reset_index(drop=True)
    if rows.empty or ends.get(chosen, 0) < 2:
        raise LabError(
            f"run {chosen} has no products ending at several t: measure it with measure.jacobians=triangle"
            if chosen
            else "no run has products ending at several t: measure one with measure.jacobians=triangle"
        )
    by = [name for name in map(str, rows) if name not in {"network_id", "log_spectral_norm"}]
    keys, group = group_rows(rows, by)
    norms = median(rows["log_spectral_norm"], group)
    return keys.assign(k=keys["t"] - keys["lag"], log_spectral_norm=norms).reset_index(drop=True)


def _nearest_critical(rows: pd.DataFrame) -> str | None:
    runs = rows.drop_duplicates("run_id").assign(distance=lambda table: (table["initializer_requested"] - 1).abs())
    order = runs.sort_values(["distance", "sequence_length", "run_id"], ascending=[True, False, True])
    return None if order.empty else str(order["run_id"].iloc[0])
