"""Which truncation suffices: the smallest K that leaves out at most 5 %, or 1 %, of the gradient.

K suffices for a network if it and every longer K that was measured has a relative bias within the limit. A bias need
not fall with K, so that a shorter K may be within the limit by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.numerics.verdicts import LEAST_NETWORKS
from bpttlab.tables.bias import length_column
from bpttlab.tables.costs import select_fields
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import FROM_FILE, LABEL, describe_rows, join_names, scheme_columns
from bpttlab.tables.statistics import estimates, group_rows, middle_value, networks_in, numbers
from bpttlab.tables.writing import describe_interval_of, describe_value, key_names

LIMITS = {"sufficient_5_percent": 0.05, "sufficient_1_percent": 0.01}
"""Column -> largest relative bias."""

_KEYS = ("origin", "scheme", "truncation", "parameter")
_MEASURED = ("log_relative_bias", "draws")


@takes_frames
def sufficient_truncation(truncations: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per sweep point, scheme (with its fields, as far as they vary) and parameter: the smallest sufficient K.

    `sufficient_5_percent` and `sufficient_1_percent` are K that suffices for half of the networks or more, with the
    95 % interval of the median by order statistics (NA below six networks); inf: no K that was measured suffices. Only
    K below T - 1 count: T - 1 leaves out no more than the first step, and is no truncation. `longest` is the longest K
    measured, and `lengths_measured` the number of different K below T - 1.

    The K of a scheme are those that were swept; those of per_loss are also those of the lag terms of every run. Schemes
    that draw, and adaptive, which chooses K itself, have no row. `truncations`: the stored table with its configuration
    joined, or with `runs` given separately.
    """
    rows, by = _network_biases(truncations, runs)
    network, group = group_rows(rows, [*by, "network_id"])
    found = {name: _find_sufficient(rows, group, np.log(limit)) for name, limit in LIMITS.items()}
    network = network.assign(longest=rows["truncation"].groupby(group).max(), **found).reset_index(drop=True)
    keys, point = group_rows(network, by)
    lengths = rows[rows["counts"]].groupby(group_rows(rows, by)[1])["truncation"].nunique()
    table = keys.assign(
        networks=networks_in(network, point),
        lengths_measured=lengths.reindex(keys.index).fillna(0).astype("Int64"),
        longest=network.groupby(point)["longest"].max().astype("Int64"),
    )
    for name in LIMITS:
        ends = estimates(network[name], point)
        value = middle_value(network[name], point, "higher")
        table = table.assign(**{name: value, f"{name}_low": ends["low"], f"{name}_high": ends["high"]})
    return table[table["lengths_measured"] > 0].reset_index(drop=True)


def _network_biases(truncations: pd.DataFrame, runs: pd.DataFrame | None) -> tuple[pd.DataFrame, list[str]]:
    """The known biases of every network, one row for each K; and the columns that distinguish rows of the summary.

    `counts` says whether K is below T - 1.
    """
    runs, lengths = describe_rows(truncations, runs), length_column(truncations)
    fields = scheme_columns(runs)
    rows = join_names(truncations, runs, [*_KEYS, *lengths, *_MEASURED], fields)
    for field in fields:  # a row from the lag terms is the same for every scheme of the run
        rows[field] = rows[field].where(rows["origin"] != "wavefront")
    bias = numbers(rows["log_relative_bias"])
    is_plan = rows["truncation"].notna() & numbers(rows["draws"]).isna() & rows["scheme"].ne("adaptive")
    steps = numbers(rows[(lengths or ["sequence_length"])[0]])
    truncates = numbers(rows["truncation"]) <= steps
    rows = rows.assign(log_relative_bias=bias, counts=numbers(rows["truncation"]) < steps - 1)
    rows = rows[(is_plan & truncates & bias.notna()).astype(bool)].reset_index(drop=True)
    own = {"run_id", "network_id", "counts", *_KEYS, *_MEASURED, *fields}
    point = [name for name in map(str, rows) if name not in own]
    by = [*point, "scheme", *select_fields(rows, point, fields), "parameter"]
    rows = rows.sort_values("run_id", kind="stable").drop_duplicates([*by, "network_id", "truncation"])
    return rows.reset_index(drop=True), by


def _find_sufficient(rows: pd.DataFrame, group: pd.Series, limit: float) -> pd.Series:
    """The smallest K of each group from which on every bias is within the limit; inf where none below T - 1 is."""
    lengths = numbers(rows["truncation"])
    outside = lengths.where(rows["log_relative_bias"] > limit)
    last = outside.groupby(group).transform("max").fillna(0.0)
    return lengths.where((lengths > last) & rows["counts"]).groupby(group).min().fillna(np.inf)


# ------------------------------------------------------------------ in words

CAPTION = (
    "K for 5 %: the smallest K such that it and every larger K measured has a relative bias of at most 5 %; none: "
    "no K below T - 1"
)


def describe_sufficient(table: pd.DataFrame) -> list[str]:
    """The caption of the summary."""
    return [CAPTION]


def tell_sufficient(table: pd.DataFrame) -> list[str]:
    """A sentence for each row of the summary, named by the keys that vary.

    noise, spectral_radius 0.5: K = 3 [2, 4] keeps the bias of dL/dW within 5 %, K = 5 [4, 6] within 1 %
    """
    keys = [name for name in key_names(table) if table[name].nunique(dropna=False) > 1 and name != "parameter"]
    return [_tell(row, keys) for row in table.to_dict("records")]


def _tell(row: Mapping[Any, Any], keys: Sequence[str]) -> str:
    where = ", ".join(filter(None, (_tell_key(row, name) for name in keys)))
    five, one = (describe_interval_of(row, name, none="") for name in LIMITS)
    what = f"keeps the bias of dL/d{row['parameter']} within"
    if np.isinf(row["sufficient_5_percent"]):
        said = f"{_tell_none(row, five)} {what} 5 %"
    elif np.isinf(row["sufficient_1_percent"]):
        said = f"K = {five} {what} 5 %, {_tell_none(row, one)} within 1 %"
    else:
        said = f"K = {five} {what} 5 %, K = {one} within 1 %"
    few = f" ({row['networks']} network{'s' * (row['networks'] > 1)})" if row["networks"] < LEAST_NETWORKS else ""
    return f"{where}: {said}{few}" if where else f"{said}{few}"


def _tell_none(row: Mapping[Any, Any], interval: str) -> str:
    """No K within T, or no K that was measured; with the interval, if there is one."""
    whole = row["longest"] >= row.get("length", row["sequence_length"]) - 1
    ends = f" {interval.partition(' ')[2]}" if "[" in interval and "[none" not in interval else ""
    return f"no K within T{ends}" if whole else f"no K measured up to {row['longest']}{ends}"


def _tell_key(row: Mapping[Any, Any], name: str) -> str:
    """One column of the sweep point: "noise", "spectral_radius 0.5", "T = 50"; nothing where it has no value."""
    value = describe_value(row[name])
    if pd.isna(row[name]) or name == "initializer_target":
        return ""
    if name == "initializer_requested" and row["initializer_target"] == FROM_FILE:
        return ""  # its name stands for it
    if name == "initializer_requested":
        return f"{row['initializer_target']} {value}"
    if name == "sequence_length":
        return f"T = {value}"
    return value if name in ("task", "cell", LABEL, "initializer", "scheme") else f"{name} {value}"
