"""Lyapunov exponents over networks, and curves of spectra, singular values, blocks and sensitivity.

Rates are in nats per step. An exponent of -inf means that the Jacobians keep no direction of that rank. A value below
resolution is an indication only: `unresolved` counts networks with such values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bpttlab.tables.curves import NORMS, band, comparable_products, keep_common, of_networks
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import describe_rows, join_names, networks, one_run_per_network, require_columns
from bpttlab.tables.statistics import count_networks, group_rows, median, networks_in, numbers, with_interval

_MEDIANS = ("origin_radius", "jacobian_radius", "trajectory_radius", "kaplan_yorke_dimension", "entropy_bound")
_RATES = ("asymptote_rate", "mean_field_rate", "mean_exponent", "determinant_rate")
MOST_BINS = 40
FEWEST_BINS = 5


# ------------------------------------------------------------------ one row per sweep point


@takes_frames
def has_exponents(runs: pd.DataFrame) -> bool:
    """Whether any run has a Lyapunov exponent."""
    return "lyapunov_exponent" in runs and bool(runs["lyapunov_exponent"].notna().any())


@takes_frames
def exponents(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per sweep point: the largest Lyapunov exponent with its interval, and the numbers to compare it with.

    Medians are over networks; `_low` and `_high` are the 95 % interval of the median by order statistics (NA below
    six). They are no convergence intervals: those of the table `spectra` are over time, of the mean along one
    trajectory. `networks` counts those with an exponent, `autonomous` those of them without any input, `zero` those
    with exponent -inf. The growth rate, from the products that end at T, has its interval too. The theory, the radii,
    the Kaplan-Yorke dimension and the entropy bound (autonomous networks only) are medians. Runs without exponents take
    no part and have no row.
    """
    require_columns(runs, "lyapunov_exponent", "growth_rate")
    rows, by = networks(_requested_runs(runs))
    keys, group = group_rows(rows, by)
    measured = _measured_columns(rows, ("lyapunov_exponent", "growth_rate", *_RATES, *_MEDIANS))
    there = measured["lyapunov_exponent"].notna()
    autonomous = rows.get("autonomous", pd.Series(pd.NA, index=rows.index)).astype("boolean").fillna(False)
    return keys.assign(
        networks=count_networks(there, group),
        diverged=count_networks(rows["status"] == "diverged", group),
        failed=count_networks(rows["status"] == "failed", group),
        autonomous=count_networks(there & autonomous, group),
        zero=count_networks(measured["lyapunov_exponent"] == -np.inf, group),
        **with_interval(measured, group, "lyapunov_exponent"),
        **with_interval(measured, group, "growth_rate"),
        **{name: median(measured[name], group) for name in (*_RATES, *_MEDIANS)},
    ).reset_index(drop=True)


def _requested_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs whose settings request exponents, or that have some."""
    requested = runs.get("measure_exponents", pd.Series("all", index=runs.index)).fillna("none") != "none"
    return runs[(requested & (runs["status"] != "done")) | runs["lyapunov_exponent"].notna()].reset_index(drop=True)


def _measured_columns(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Measured columns as floats; NaN without the column or an exponent, so that all columns have one sample."""
    found = pd.DataFrame({name: numbers(rows[name]) for name in names if name in rows}, index=rows.index)
    there = numbers(rows["lyapunov_exponent"]).notna() & (rows["status"] == "done")
    return found.reindex(columns=list(names)).where(there)


# ------------------------------------------------------------------ spectra


@takes_frames
def spectrum_curves(spectra: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Lyapunov exponents against index: one row per sweep point and index.

    The exponent of a network is the median over sequences. `median`, `low` and `high` are median and quartiles of these
    over networks, `zero` counts -inf, `unresolved` counts networks whose convergence interval has no lower end.
    `index_per_unit` is index / N, N the hidden units: with two numbers of state a unit (LSTM) it ends at 2.
    `mean_by_determinant` is the theory of the mean of all exponents, the same in all rows of a point.
    """
    require_columns(spectra, "run_id", "index", "lyapunov_exponent", "low")
    runs = describe_rows(spectra, runs)
    rows = spectra.assign(index_per_unit=spectra["index"] / _hidden_units(spectra, runs))
    values = ["lyapunov_exponent", "low", "index_per_unit"]
    network, by = of_networks(rows, runs, values, ["index"], ["determinant_rate"])
    points, group = group_rows(network, [*by, "index"])
    return points.assign(
        mean_by_determinant=median(network["determinant_rate"], group),
        index_per_unit=median(network["index_per_unit"], group),
        **band(network["lyapunov_exponent"], group),
        unresolved=count_networks(network["low"] == -np.inf, group),
    ).reset_index(drop=True)


def _hidden_units(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    of_run = runs.set_index("run_id").reindex(columns=["cell_hidden_size"])["cell_hidden_size"]
    return rows["run_id"].map(numbers(of_run))


@takes_frames
def finite_time_distribution(
    finite_time: pd.DataFrame, runs: pd.DataFrame | None = None, index: int = 1
) -> pd.DataFrame:
    """The distribution of the exponent of one index over windows of time: one row per sweep point and bin.

    All windows of all sequences and networks of a point together, in bins of equal width over their range: `bin_low`,
    `bin_high`, `windows` and `density` (per nat/step; its integral is the share of windows that are finite). The same
    in every bin of a point: `networks`, `steps` (median length of a window), `zero` (windows at -inf) and `mean`, the
    exponent over all windows (median over sequences, then over networks).
    """
    require_columns(finite_time, "sequence", "t", "index", "finite_time_exponent", "steps")
    rows = join_names(
        finite_time[finite_time["index"] == index], runs, ["sequence", "t", "finite_time_exponent", "steps"]
    )
    own = {"run_id", "network_id", "sequence", "t", "finite_time_exponent", "steps"}
    by = [name for name in map(str, rows) if name not in own]
    rows = one_run_per_network(rows, by).reset_index(drop=True)
    keys, group = group_rows(rows, by)
    of_point = keys.assign(
        networks=networks_in(rows, group),
        steps=median(rows["steps"], group),
        zero=count_networks(rows["finite_time_exponent"] == -np.inf, group),
        mean=_mean_of_windows(rows, by),
    )
    bins = [_bins(values).assign(group=number) for number, values in rows.groupby(group)["finite_time_exponent"]]
    return (
        of_point.merge(pd.concat(bins), left_index=True, right_on="group").drop(columns="group").reset_index(drop=True)
    )


def _mean_of_windows(rows: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """By point: the mean over windows, each counted by its steps, median over sequences and over networks."""
    weighed = rows.assign(grown=rows["finite_time_exponent"] * rows["steps"])
    sequences, group = group_rows(weighed, [*by, "network_id", "sequence"])
    sums = weighed.groupby(group)[["grown", "steps"]].sum()
    of_network, group = group_rows(sequences.assign(mean=sums["grown"] / sums["steps"]), [*by, "network_id"])
    means = median(sums["grown"] / sums["steps"], group)
    _, group = group_rows(of_network, by)
    return median(means, group)


def _bins(values: pd.Series) -> pd.DataFrame:
    """The histogram of the finite values; the number of bins is about the root of their number."""
    finite = values[np.isfinite(values)].to_numpy(dtype=float)
    if not finite.size:
        return pd.DataFrame({"bin_low": [np.nan], "bin_high": [np.nan], "windows": [0], "density": [np.nan]})
    low, high = finite.min(), finite.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high, number = low - 1e-3, high + 1e-3, 1
    else:
        number = int(np.clip(np.ceil(np.sqrt(finite.size)), FEWEST_BINS, MOST_BINS))
    windows, edges = np.histogram(finite, bins=number, range=(low, high))
    density = windows / (len(values) * np.diff(edges))
    return pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:], "windows": windows, "density": density})


# ------------------------------------------------------------------ products


@takes_frames
def singular_value_curves(
    singular_values: pd.DataFrame, runs: pd.DataFrame | None = None, spectra: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Singular values of the products that end at a run's last t: one row per sweep point, quantity, lag and index.

    The quantities are `log_singular_value` and `rate`, the same divided by the lag (none at lag 0), which tends to the
    Lyapunov exponent of that index. Median and quartiles over networks are as in `spectrum_curves`. `unresolved` counts
    networks with a value below resolution in any sequence. `lyapunov_exponent` is the median over the same networks, NA
    without `spectra`.
    """
    require_columns(singular_values, "run_id", "sequence", "t", "lag", "index", "log_singular_value", "resolved")
    runs = describe_rows(singular_values, runs)
    rows = _join_exponents(comparable_products(singular_values), spectra)
    rows = rows.assign(
        rate=(rows["log_singular_value"] / rows["lag"]).where(rows["lag"] > 0),
        unresolved=1.0 - numbers(rows["resolved"]),
    )
    network, by = of_networks(rows, runs, [*_QUANTITIES, "unresolved", "lyapunov_exponent"], ["lag", "index"])
    points, group = group_rows(network, [*by, "lag", "index"])
    beside = {
        "unresolved": count_networks(network["unresolved"] > 0, group),
        "lyapunov_exponent": median(network["lyapunov_exponent"], group),
    }
    parts = [points.assign(quantity=name, **band(network[name], group), **beside) for name in _QUANTITIES]
    table = pd.concat(parts, ignore_index=True)
    return table[(table["quantity"] != "rate") | (table["lag"] > 0)].reset_index(drop=True)


_QUANTITIES = ("log_singular_value", "rate")


def _join_exponents(rows: pd.DataFrame, spectra: pd.DataFrame | None) -> pd.DataFrame:
    """Each row with the Lyapunov exponent of its run, sequence and index, where there is one."""
    if spectra is None or spectra.empty:
        return rows.assign(lyapunov_exponent=np.nan)
    keys = ["run_id", "sequence", "index"]
    return rows.merge(spectra[[*keys, "lyapunov_exponent"]], on=keys, how="left", validate="many_to_one")


@takes_frames
def block_curves(blocks: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """log norm of the blocks of products against lag: one row per sweep point, norm, block and lag.

    For the products that end at a run's last t; norms ("spectral", "frobenius"), median and quartiles as in
    `growth_curves`. A block that is too small to be resolved beside the others counts as smaller than all resolved
    ones. It takes its place in medians and quartiles, which are NA if they fall on it, and is counted in `unresolved`.
    `cell_path` = lag * log f is the theory of c<-c for an LSTM with a constant forget gate.
    """
    require_columns(blocks, "run_id", "t", "lag", "block", *NORMS.values())
    runs, last = describe_rows(blocks, runs), comparable_products(blocks)
    parts = [_blocks_of(last, runs, name).assign(quantity=kind) for kind, name in NORMS.items()]
    return pd.concat(parts, ignore_index=True)


def _blocks_of(blocks: pd.DataFrame, runs: pd.DataFrame, norm: str) -> pd.DataFrame:
    missing = blocks[norm].isna()
    rows = blocks.assign(value=numbers(blocks[norm]).fillna(-np.inf), missing=missing.astype(float))
    network, by = of_networks(rows, runs, ["value", "missing"], ["block", "lag"], ["cell_path_rate"])
    points, group = group_rows(network, [*by, "block", "lag"])
    small = (network["value"] == -np.inf) & (network["missing"] > 0)
    unresolved, found = count_networks(small, group), band(network["value"], group)
    for name in ("median", "low", "high"):
        found[name] = found[name].mask((found[name] == -np.inf) & (unresolved > 0))
    found["zero"] = found["zero"] - unresolved
    path = numbers(points["lag"]) * median(network["cell_path_rate"], group)
    return points.assign(**found, unresolved=unresolved, cell_path=path.where(points["block"] == "c<-c"))


# ------------------------------------------------------------------ sensitivity


@takes_frames
def sensitivity_curves(
    sensitivity: pd.DataFrame, runs: pd.DataFrame | None = None, jacobians: pd.DataFrame | None = None
) -> pd.DataFrame:
    """log norm of dh_t/dparameter against t: one row per sweep point, quantity, parameter and t.

    Median and quartiles over networks are as in `growth_curves`. With `jacobians` there is also the quantity "product"
    with no parameter: the spectral norm of the product over as many steps, at the end of the sequence. It is the effect
    of a state t steps later, and "sensitivity" is the effect of a parameter in all these steps.
    """
    require_columns(sensitivity, "run_id", "t", "parameter", "log_norm")
    runs, rows = describe_rows(sensitivity, runs), keep_common(sensitivity, "t").assign(quantity="sensitivity")
    if jacobians is not None and not jacobians.empty:
        rows = pd.concat([rows[list(OF_SENSITIVITY)], _products_of(rows, jacobians)], ignore_index=True)
    network, by = of_networks(rows, runs, ["log_norm"], ["quantity", "parameter", "t"])
    points, group = group_rows(network, [*by, "quantity", "parameter", "t"])
    return points.assign(**band(network["log_norm"], group)).reset_index(drop=True)


OF_SENSITIVITY = ("run_id", "t", "parameter", "log_norm", "quantity")


def _products_of(rows: pd.DataFrame, jacobians: pd.DataFrame) -> pd.DataFrame:
    """Products of the runs in `rows` as rows of the same form, with the lag as t."""
    last = comparable_products(jacobians[jacobians["run_id"].isin(rows["run_id"])])
    nameless = pd.Series([None] * len(last), index=last.index, dtype=rows["parameter"].dtype)
    form = {"run_id": last["run_id"], "t": last["lag"], "parameter": nameless, "log_norm": last["log_spectral_norm"]}
    return pd.DataFrame({**form, "quantity": "product"})


# ------------------------------------------------------------------ eigenvalues


@takes_frames
def eigenvalue_points(
    eigenvalues: pd.DataFrame, runs: pd.DataFrame | None = None, run_id: str | None = None
) -> pd.DataFrame:
    """Eigenvalues of one network per sweep point, that of the smallest seed: run_id, the point's columns, seed,
    origin_rate (theory: the log radius at the origin), and matrix, sequence, t, index, real and imaginary of
    `eigenvalues`; with `run_id` those of that run only.
    """
    own, theory = ["matrix", "sequence", "t", "index", "real", "imaginary"], ["seed", "origin_rate"]
    chosen = eigenvalues if run_id is None else eigenvalues[eigenvalues["run_id"] == run_id]
    rows = join_names(chosen, runs, own, theory)
    by = [name for name in map(str, rows) if name not in {"run_id", "network_id", *theory, *own}]
    first = rows.drop_duplicates("run_id").sort_values(["seed", "run_id"]).drop_duplicates(by)["run_id"]
    rows = rows[rows["run_id"].isin(first)].sort_values(["run_id", *own[:4]])
    return rows[["run_id", *by, *theory, *own]].reset_index(drop=True)
