"""The cost of each truncation and estimator: bias, variance, error, steps and seconds, over networks.

    error^2 = bias^2 + variance          relative to |g|^2, of one gradient by the scheme

For a scheme that draws, the bias is that of the mean of all draws and contains their noise. `log_bias_noise` is the
logarithm of the noise's standard deviation, sqrt(variance / draws). A measured bias below it is not significant. Errors
exclude the noise: bias^2 is measured^2 - variance / draws, or zero if that is negative. `equal_cost` compares means of
several gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bpttlab.numerics.array import Array
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import describe_rows, join_names, require_columns, scheme_columns
from bpttlab.tables.statistics import count_networks, group_rows, median, networks_in, numbers

OWN = ("origin", "scheme", "truncation", "parameter")
_MEASURED = ("log_relative_bias", "log_variance", "log_minibatch_variance", "draws", "steps_computed")
_MEDIANS = ("log_relative_bias", "log_variance", "log_bias_noise", "log_relative_error", "log_minibatch_variance")
COSTS = ("steps_computed", "scheme_seconds")
NEARLY_FULL = 1e-6
"""A gradient this near the full one, relatively, can stand for it where the full one itself was not measured."""
NORMAL = 1.959964
"""Standard deviations that hold 95 %."""


@takes_frames
def costs(
    truncations: pd.DataFrame, runs: pd.DataFrame | None = None, provenance: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row per sweep point, scheme (with its fields, as far as they vary), K and parameter or direction.

    Medians over `networks` of: reach (the K that was used; for `adaptive` it differs between networks, and `truncation`
    is the longest K that it tries; NA: no truncation), the bias, the variance over draws or offsets (NA: one plan), the
    noise of the draws in the bias (NA: no draws), the error of one gradient, the variance of the full gradient over
    batches of as many sequences, the steps computed, and the seconds of one gradient (NA without `provenance`, or if it
    was not timed). `exact` counts networks with zero bias.

    truncations: the stored table with its configuration joined, or with `runs` given separately. Only the runs' own
    schemes count.
    """
    rows, by = network_costs(truncations, runs, provenance)
    keys, group = group_rows(rows, by)
    exact = count_networks(numbers(rows["log_relative_bias"]) == -np.inf, group)
    number = networks_in(rows, group)
    values = {name: median(rows[name], group) for name in ("reach", *_MEDIANS, "draws", *COSTS)}
    return keys.assign(networks=number, exact=exact, **values).reset_index(drop=True)


def network_costs(
    truncations: pd.DataFrame, runs: pd.DataFrame | None, provenance: pd.DataFrame | None
) -> tuple[pd.DataFrame, list[str]]:
    """One row for each network with the values that `costs` takes medians of; and the columns that distinguish points
    and schemes.
    """
    rows, by = of_schemes(truncations, runs, _MEASURED)
    return rows.assign(**errors(rows), scheme_seconds=_seconds_of(rows, provenance)), by


@takes_frames
def has_costs(truncations: pd.DataFrame, provenance: pd.DataFrame | None = None) -> bool:
    """Whether the table has more than a bias: a variance, or the seconds of a gradient."""
    timed = (
        provenance is not None and "scheme_seconds" in provenance and bool(provenance["scheme_seconds"].notna().any())
    )
    own = truncations[truncations["origin"] == "scheme"] if "origin" in truncations else truncations
    return not own.empty and "log_variance" in own and (timed or bool(own["log_variance"].notna().any()))


def of_schemes(
    truncations: pd.DataFrame, runs: pd.DataFrame | None, values: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the runs' own schemes, one for each network, and the columns that distinguish points and schemes."""
    require_columns(truncations, "run_id", *OWN, *values)
    runs = describe_rows(truncations, runs)
    requested = runs.set_index("run_id")["truncation"] if "truncation" in runs else pd.Series(dtype=object)
    fields = scheme_columns(runs)
    rows = join_names(truncations[truncations["origin"] == "scheme"], runs, [*OWN, *values], fields)
    tried = pd.to_numeric(rows["run_id"].map(requested).astype(object), errors="coerce")
    reach = numbers(rows["truncation"])
    adaptive = rows["scheme"] == "adaptive"
    rows = rows.assign(reach=reach, truncation=reach.mask(adaptive, tried.astype(float)).astype("Int64"))
    own = {"run_id", "network_id", "reach", *OWN, *fields, *values}
    point = [name for name in map(str, rows) if name not in own]
    by = [*point, "scheme", *select_fields(rows, point, fields), "truncation", "parameter"]
    rows = rows.sort_values("run_id", kind="stable").drop_duplicates(["network_id", *by])
    return rows.reset_index(drop=True), by


def select_fields(rows: pd.DataFrame, point: Sequence[str], fields: Sequence[str]) -> list[str]:
    """The fields that distinguish runs of one scheme and K. The step between windows, if it is half of K, does not
    count.
    """
    groups = rows.groupby([*point, "scheme", "truncation"], dropna=False)
    return [name for name in fields if (groups[name].nunique(dropna=False) > 1).any()]


def errors(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """The noise of a bias, and the error of one gradient."""
    names = ("log_relative_bias", "log_variance", "draws", "reach")
    bias, variance, draws, reach = (numbers(rows[name]).to_numpy() for name in names)
    error = log_error(bias, variance, draws, reach, np.ones(len(rows)))
    noise = 0.5 * (variance - np.log(draws))
    return {name: pd.Series(values, index=rows.index) for name, values in zip(ERRORS, (noise, error), strict=True)}


ERRORS = ("log_bias_noise", "log_relative_error")


def log_error(bias: Array, variance: Array, draws: Array, reach: Array, averaged: Array) -> Array:
    """log of the relative error sqrt(bias^2 + variance of the mean) of the mean of `averaged` gradients.

    The variance of the mean of independent draws is variance / averaged. If there is a variance but no draws, different
    offsets of K are averaged, and the variance of the mean is (K - averaged) / (K - 1) of that.

    Args:
        bias, variance: logarithms, as stored; no variance (NaN): there is one plan.
        draws: the draws of the measured bias, which leave variance / draws in its square; NaN: no draws.
        reach: K.
        averaged: number of gradients, from 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = variance - np.log(draws)
        without = np.where(noise < 2.0 * bias, 2.0 * bias + np.log1p(-np.exp(noise - 2.0 * bias)), -np.inf)
        squared_bias = np.where(np.isnan(noise) | np.isnan(bias), 2.0 * bias, without)
        offsets = np.clip((reach - averaged) / (reach - 1.0), 0.0, None)
        of_mean = variance - np.log(averaged) + np.where(np.isnan(draws), np.log(offsets), 0.0)
    return np.asarray(0.5 * np.logaddexp(squared_bias, np.where(np.isnan(of_mean), -np.inf, of_mean)))


def _seconds_of(rows: pd.DataFrame, provenance: pd.DataFrame | None) -> pd.Series:
    """Seconds of one gradient by each row's run; NaN where it was not timed."""
    if provenance is None or provenance.empty or "scheme_seconds" not in provenance:
        return pd.Series(np.nan, index=rows.index)
    return numbers(rows["run_id"].map(provenance.set_index("run_id")["scheme_seconds"]))


# ------------------------------------------------------------------ what is known of the bias


@takes_frames
def bias_bounds(bounds: pd.DataFrame, truncations: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The exact bias of per-loss truncations with its bound and its estimate: one row per sweep point, parameter, K.

    Medians over `networks` of the exact `log_relative_bias` (from the lag terms of the same run; NA without them), of
    `log_bias_bound` over the `bounded` networks where it is finite, and of `log_bias_estimate` over the `estimated`
    ones; -inf: nothing is left out. `above` counts networks whose bound is below the exact bias, which is impossible.
    `below` counts those whose estimate is below, which is possible. Rounding, 1e-9 in the logarithm, counts as neither.

    bounds: the stored table `bias_bounds` with its configuration joined, or with `runs` given separately.
    """
    values = ["log_bias_bound", "log_bias_estimate"]
    require_columns(bounds, "run_id", "parameter", "truncation", *values)
    rows = join_names(_join_exact(bounds, truncations), runs, ["parameter", "truncation", *values, "log_relative_bias"])
    own = {"run_id", "network_id", *values, "log_relative_bias"}
    by = [name for name in map(str, rows) if name not in {*own, "parameter", "truncation"}]
    by = [*by, "parameter", "truncation"]
    longest = rows.assign(known=rows[values].notna().sum(axis=1)).sort_values(
        ["known", "run_id"], ascending=[False, True]
    )
    rows = longest.drop_duplicates(["network_id", *by]).reset_index(drop=True)
    exact, bound, estimate = (numbers(rows[name]) for name in ("log_relative_bias", *values))
    keys, group = group_rows(rows, by)
    return keys.assign(
        networks=networks_in(rows, group),
        log_relative_bias=median(exact, group),
        log_bias_bound=median(bound, group),
        bounded=count_networks(bound.notna(), group),
        log_bias_estimate=median(estimate, group),
        estimated=count_networks(estimate.notna(), group),
        above=count_networks(exact > bound + _ROUNDING, group),
        below=count_networks(exact > estimate + _ROUNDING, group),
    ).reset_index(drop=True)


_ROUNDING = 1e-9


def _join_exact(bounds: pd.DataFrame, truncations: pd.DataFrame) -> pd.DataFrame:
    """Each bound with the bias that its own run measured at that K; none is left where K is the whole sequence."""
    keys = ["run_id", "parameter", "truncation"]
    exact = truncations.loc[truncations["origin"] == "wavefront", [*keys, "log_relative_bias"]]
    exact = exact.astype({"truncation": "int64"}).drop_duplicates(keys)
    rows = bounds.astype({"truncation": "int64"}).merge(exact, on=keys, how="left", validate="one_to_one")
    whole = rows["truncation"] >= rows.groupby("run_id")["truncation"].transform("max")
    return rows.assign(log_relative_bias=numbers(rows["log_relative_bias"]).mask(whole, -np.inf))


# ------------------------------------------------------------------ along directions


@takes_frames
def along_directions(truncations: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The derivative along each direction relative to the full one: 1 is right, below 0 the sign is wrong.

    One row per sweep point, scheme, K and direction (`parameter`): the mean over `networks`, each weighted by the size
    of its full derivative; `_low` and `_high`, its 95 % interval from the draws (NA: no draws); `one_draw`, the
    standard deviation of a single draw, median over networks; and `wrong`, the number of networks with the wrong sign.
    A network without a gradient within 1e-6 of the full one has no scale, and no row.
    """
    rows, by = of_schemes(truncations, runs, (*_MEASURED, "log_norm", "cosine"))
    rows = rows[
        rows["parameter"].str.contains(" ", regex=False)
    ]  # names of directions have a space, names of parameters do not
    log_full = _log_full(rows, by)
    relative = numbers(rows["cosine"]) * np.exp(numbers(rows["log_norm"]) - log_full)
    spread = np.exp(0.5 * numbers(rows["log_variance"]))
    rows = rows.assign(relative=relative, one_draw=spread, log_full=log_full)
    rows = rows[rows["relative"].notna()].reset_index(drop=True)
    keys, group = group_rows(rows, by)
    size = (rows["log_full"] - rows["log_full"].groupby(group).transform("max")).map(np.exp)
    weight = size / size.groupby(group).transform("sum")
    mean = (weight * rows["relative"]).groupby(group).sum()
    squared = (weight * rows["one_draw"]).pow(2) / numbers(rows["draws"])
    half = NORMAL * squared.groupby(group).sum(min_count=1).pow(0.5)
    return keys.assign(
        networks=networks_in(rows, group),
        wrong=count_networks(rows["relative"] < 0, group),
        relative_derivative=mean,
        relative_derivative_low=mean - half,
        relative_derivative_high=mean + half,
        one_draw=median(rows["one_draw"], group),
    ).reset_index(drop=True)


def _log_full(rows: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """log of the full derivative of each row's network: that of the gradient with the smallest bias, if this is nearly
    zero.
    """
    point = list(by[: by.index("scheme")])
    known = rows.assign(bias=numbers(rows["log_relative_bias"]))
    known = known[known["bias"] <= np.log(NEARLY_FULL)].sort_values("bias", kind="stable")
    keys = [*point, "network_id", "parameter"]
    best = known.drop_duplicates(keys)[[*keys, "log_norm"]].rename(columns={"log_norm": "log_full"})
    return numbers(rows[keys].merge(best, on=keys, how="left")["log_full"].set_axis(rows.index))
