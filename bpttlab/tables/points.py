"""Sweep points: which configuration columns vary, and which rows belong to the same network.

A network that is measured again for another truncation or scheme is no new evidence about its growth. Therefore every
statistic over networks first keeps one row per network and point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.errors import LabError, nearest
from bpttlab.escapes import escape_mathtext
from bpttlab.store.columns import (
    CONFIGURATION,
    FILE_NAMES,
    FROM,
    MONITORED,
    NETWORK_CONTENT,
    NETWORK_NAMES,
    OWN_MEASURED,
    SCHEME_OF_TRAINING,
    TABLES,
    TRAINED,
    UPDATE,
)
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.statistics import numbers

_MEASURED = {column.name for table in TABLES.values() for column in table.columns} - {
    column.name for column in CONFIGURATION
}
_SHIPPED = {column.name for column in CONFIGURATION}
_POINT = ("task", "initializer", "initializer_target", "initializer_requested", "sequence_length")
_NAMES = {column.name for column in (*NETWORK_NAMES, *FILE_NAMES.values())}
_OF_UPDATES = {column.name for column in (*MONITORED, *TRAINED)} - {UPDATE}
STATED = ("spectral_radius", "gain", "scale")  # what can be requested of an initializer
MEASURED_RADIUS = "measured_radius"  # takes its place if no value was requested
FROM_FILE = "file"  # or this, if all networks are from files
UNDRAWN = "none"  # the initializer of such networks
LABEL, ORDER = "cell_label", "network_order"  # the name of a network from a file, and its place in the order given
_HASH = 8  # digits of the hash of a file in a label
_DIGITS = 4  # significant digits of a measured radius that distinguish points
PREFIXES = ("cell_recurrent_prefix", "cell_readout_prefix")
_ORDER = {"done": 0, "diverged": 1, "failed": 2}


def require_columns(frame: pd.DataFrame, *columns: str) -> None:
    """Refuses a frame that lacks a column, and names the column."""
    for column in columns:
        if column not in frame:
            raise LabError(f"the table has no column '{column}'.{nearest(column, frame.columns)}")


@takes_frames
def find_varying(runs: pd.DataFrame) -> list[str]:
    """The configuration columns of `runs` with more than one value (NA counts as a value), in the table's order."""
    measured = _MEASURED | set(runs.attrs.get(OWN_MEASURED, ()))
    told = _NAMES if ORDER in runs else _NAMES - {LABEL}  # a cell of a user's own may have a field `label`
    names = [name for name in map(str, runs) if name not in measured | told | _OF_UPDATES]
    return [name for name in names if runs[name].nunique(dropna=False) > 1]


def with_requested(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with initializer_target and initializer_requested filled from the configuration for runs that never began.

    Without an initializer, the measured spectral radius of W is used; of a study of networks from files alone, their
    place in the order given.
    """
    target = runs.get("initializer_target", pd.Series(pd.NA, index=runs.index)).astype(object)
    requested = runs.get("initializer_requested", pd.Series(np.nan, index=runs.index)).astype("Float64")
    for name in STATED:
        stated = runs.get(f"initializer_{name}", pd.Series(np.nan, index=runs.index)).astype("Float64")
        target = target.mask(target.isna() & stated.notna(), name)
        requested = requested.fillna(stated.where(target == name))
    undrawn = runs.get("initializer", pd.Series("", index=runs.index)).eq(UNDRAWN).fillna(False).astype(bool)
    if has_labels(runs) and runs[LABEL].notna().all():
        target, requested = target.mask(undrawn, FROM_FILE), requested.mask(undrawn, runs[ORDER].astype("Float64"))
    else:
        target, requested = target.mask(undrawn, MEASURED_RADIUS), requested.mask(undrawn, _measured_radius(runs))
    return runs.assign(
        initializer_target=target, initializer_requested=requested.to_numpy(dtype=np.float64, na_value=np.nan)
    )


def has_labels(rows: pd.DataFrame) -> bool:
    """Whether some rows are of networks from files that have names."""
    return {LABEL, ORDER} <= {*map(str, rows)} and bool(rows[LABEL].notna().any())


def _measured_radius(runs: pd.DataFrame) -> pd.Series:
    """rho of each run's W, the median over networks that differ only in their draw; of networks in training that of
    their first update.

    It names a point, and is rounded as names are.
    """
    if "rho" not in runs:
        return pd.Series(np.nan, index=runs.index).astype("Float64")
    of_cell = [name for name in map(str, runs) if name.startswith("cell") and name not in _NAMES]
    by = [*of_cell, *(name for name in (LABEL, "initializer", "dtype") if name in runs)]
    group = runs.groupby(by, dropna=False).ngroup()
    rho = numbers(runs["rho"])
    if UPDATE in runs:
        update = numbers(runs[UPDATE])
        rho = rho.where(update.isna() | (update == update.groupby(group).transform("min")))
    found = rho.groupby(group).transform("median")
    return found.map(lambda value: float(f"{value:.{_DIGITS}g}")).astype("Float64")


@takes_frames
def point_columns(runs: pd.DataFrame) -> list[str]:
    """The columns that distinguish sweep points: POINT, and all else that varies except seed, scheme and truncation.

    Networks from files are distinguished by their names, if they have some.

    Networks that a sweep has trained are distinguished by the scheme and the truncation of their training, too.

    The settings of measures do not distinguish points, except the first lag of the fit of the growth rate. A field that
    follows from the name of its group (`task_input_size` if each task has its own) is left out.
    """
    require_columns(runs, "task", "initializer", "sequence_length", "network_id", "run_id")
    skipped = {"seed", "spectral_radius", "truncation", "scheme", *_POINT, *(f"initializer_{name}" for name in STATED)}
    names = [
        name for name in find_varying(runs) if name not in skipped and not name.startswith(("scheme_", "measure_"))
    ]
    names += [name for name in SCHEME_OF_TRAINING if name in runs and runs[name].nunique(dropna=False) > 1]
    file = NETWORK_CONTENT if NETWORK_CONTENT in runs else "network_id"  # where files are networks of one point
    names = [name for name in names if name not in PREFIXES or not _is_decided_by(runs, file, name)]
    if "initializer_array" in names and _is_decided_by(runs, "initializer_content", "initializer_array"):
        names.remove("initializer_array")
    fit = [name for name in find_varying(runs) if name == "measure_fit_from"]
    label = [LABEL] if has_labels(runs) else []
    names = [name for name in names if not (label and (name in (NETWORK_CONTENT, FROM) or _follows_cell(runs, name)))]
    names = [name for name in names if not _is_decided_by_group(runs, name)]
    shown = {content: name.name for content, name in FILE_NAMES.items() if name.name in runs}
    names = [shown.get(name, name) for name in names]
    point = [*_POINT[:-1], *label, _POINT[-1]]
    return [*point, *names, *fit]


def rows_at_points(study: Any, table: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a table of a user's own measure with the columns of their sweep point, and the names of these.

    They are `point_columns` and the varying settings of own measures, `plugins` included: two versions of a file are
    two points. Of runs that share the network and the point, and differ in scheme or truncation, one is kept.

    Args:
        study: a loaded study.
        table: a name of one of its tables.

    Returns:
        run_id, network_id, the table's own columns and those of the point; and the names of the point's columns.
    """
    rows, runs = study.table(table), study.runs
    known = set(map(str, runs))
    own = [name for name in map(str, rows) if name not in known]
    runs = with_requested(describe_rows(rows, runs))
    settings = [name for name in find_varying(runs) if name.startswith("measure_") and name not in _SHIPPED]
    point = list(dict.fromkeys([*point_columns(runs), *settings]))
    of_run = runs.reindex(columns=["run_id", "network_id", *point])
    joined = rows[["run_id", *own]].merge(of_run, on="run_id", how="inner", validate="many_to_one")
    return one_run_per_network(joined, point).reset_index(drop=True), point


@takes_frames
def label_points(rows: pd.DataFrame, point: Sequence[str]) -> pd.Series:
    """A label for the point of each row, of the columns that vary: "spectral_radius=0.9, plugins=1b2c3d4e".

    A network from a file is called by its name: "lstm_100". The text is for a figure: a dollar sign in it begins no
    mathematics, and characters that do not print are escapes.
    """
    columns = [name for name in point if rows[name].nunique(dropna=False) > 1]
    if has_files(rows):
        columns = [name for name in columns if name not in ("initializer_target", "initializer_requested")]
    parts = {name: rows[name].astype(object).where(rows[name].notna(), "none").map(str) for name in columns}
    parts = {name: values.str[:_HASH] if name == "plugins" else values for name, values in parts.items()}
    labels = pd.Series("", index=rows.index)
    for number, (name, values) in enumerate(parts.items()):
        labels = labels + (", " if number else "") + ("" if name == LABEL else f"{name}=") + values
    return labels.map(escape_mathtext)


def has_files(rows: pd.DataFrame) -> bool:
    """Whether all rows are of networks from files, so that the requested value is their place in the order given."""
    target = rows.get("initializer_target")
    return target is not None and bool(len(target)) and bool(target.eq(FROM_FILE).fillna(False).all())


def network_labels(rows: pd.DataFrame) -> dict[float, str]:
    """The requested values of networks from files -> their names, in the order given; empty if rows have others."""
    if not has_files(rows) or LABEL not in rows:
        return {}
    named = rows[["initializer_requested", LABEL]].drop_duplicates().sort_values("initializer_requested")
    return {float(place): str(label) for place, label in named.itertuples(index=False)}


def has_names_of_files(rows: pd.DataFrame) -> bool:
    """Whether a summary has names of networks from files; a user's own cell may have a field `label`."""
    if not {LABEL, "initializer_target"} <= {*map(str, rows)}:
        return False
    of_files = rows.loc[rows[LABEL].notna(), "initializer_target"]
    return bool(len(of_files)) and bool(of_files.isin([MEASURED_RADIUS, FROM_FILE]).all())


def value_names_file(rows: pd.DataFrame) -> bool:
    """Whether networks are from files, and the requested value says which file each of them is from."""
    if has_files(rows) or not has_names_of_files(rows):
        return has_files(rows)
    return bool((rows.groupby("initializer_requested", dropna=False)[LABEL].nunique(dropna=False) <= 1).all())


def _follows_cell(runs: pd.DataFrame, name: str) -> bool:
    """Whether it is the activation of networks from files of which only an nn.RNN has one."""
    return name == "cell_activation" and "cell_of" in runs and _is_decided_by(runs, "cell_of", name)


def _is_decided_by_group(runs: pd.DataFrame, name: str) -> bool:
    groups = [name.split("_", 1)[0], *(["cell_of"] if name.startswith("cell_of_") else [])]
    return any(group in runs and group != name and _is_decided_by(runs, group, name) for group in groups)


def _is_decided_by(runs: pd.DataFrame, other: str, name: str) -> bool:
    return bool((runs.groupby(other)[name].nunique(dropna=False) <= 1).all())


def scheme_columns(runs: pd.DataFrame) -> list[str]:
    """The fields of schemes that vary (k1 of windowed): they belong to the scheme and not to the point."""
    return [name for name in find_varying(runs) if name.startswith("scheme_")]


def networks(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row per network and sweep point, a measured one if there is one; and the point's columns."""
    by, runs = point_columns(runs), with_requested(runs)
    require_columns(runs, "status", "growth_rate")
    order = runs.assign(_order=runs["status"].map(_ORDER), _unfitted=runs["growth_rate"].isna())
    seed = ["seed"] if "seed" in runs else []
    order = order.sort_values(["_order", "_unfitted", *seed, "run_id"], kind="stable")
    order = order.drop(columns=["_order", "_unfitted"])
    return order.drop_duplicates(["network_id", *by]).sort_values("run_id").reset_index(drop=True), by


def join_names(
    rows: pd.DataFrame, runs: pd.DataFrame | None, own: Sequence[str], more: Sequence[str] = ()
) -> pd.DataFrame:
    """`rows` (run_id and their `own` columns) with the network, the point and `more` columns of their runs.

    Without `runs`, the configuration and network_id of `rows` themselves are used.
    """
    require_columns(rows, "run_id", *own)
    runs = describe_rows(rows, runs)
    by = point_columns(runs)
    extra = [name for name in more if name not in own]
    of_run = _of_first_seed(with_requested(runs), by).reindex(columns=["run_id", "network_id", *by, *extra])
    return rows[["run_id", *own]].merge(of_run, on="run_id", how="inner", validate="many_to_one")


def _of_first_seed(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Of each network and point, the runs of its smallest seed.

    A network from a file is the same for all seeds, which only draw its data. Comparisons need the same data.
    """
    if "seed" not in runs:
        return runs
    first = runs.groupby(["network_id", *by], dropna=False)["seed"].transform("min")
    return runs[runs["seed"] == first]


def describe_rows(rows: pd.DataFrame, runs: pd.DataFrame | None) -> pd.DataFrame:
    """The runs that have rows in a table: those of `runs`, or as the table's joined columns describe them.

    If a table has a column with the name of a configuration column (`scheme`), the configuration's is joined as
    `run_scheme`.
    """
    if runs is None:
        require_columns(rows, "network_id")
        runs = rows.drop_duplicates("run_id").reset_index(drop=True)
        whole = {name: name[4:] for name in map(str, runs) if name.startswith("run_") and name != "run_id"}
        return runs.drop(columns=[name for name in whole.values() if name in runs]).rename(columns=whole)
    return runs[runs["run_id"].isin(rows["run_id"])].reset_index(drop=True)


def one_run_per_network(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows of the first run (in order of run_id) of each network at each point."""
    first = rows[["run_id", "network_id", *by]].drop_duplicates().sort_values("run_id")
    kept = first.drop_duplicates(["network_id", *by])["run_id"]
    return rows[rows["run_id"].isin(kept)]
