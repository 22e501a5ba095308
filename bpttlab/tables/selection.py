"""Rows and columns of a table that a person names: "cell=gru,lstm spectral_radius>=1", "cell.hidden_size,growth_rate".

A field has the name that a sweep's line gives it, or that of its column. Nothing in a condition is evaluated.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.store.schema import STATUSES
from bpttlab.tables.columns import COLUMNS
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import has_files, with_requested
from bpttlab.tables.writing import REQUESTED_OF

_REQUESTED, TARGET = "initializer_requested", "initializer_target"
_ALIASES = {
    "width": ("cell_hidden_size",),
    **dict.fromkeys(("file", "network_file"), ("cell_label", "cell_content", "data_file", "matrix_file")),
    "length": ("sequence_length",),
    **dict.fromkeys(
        (f"{group}{name}" for group in ("", "initializer_") for name in ("spectral_radius", "gain", "scale")),
        (_REQUESTED,),
    ),
    **dict.fromkeys(("radius", "rho", "ρ"), (_REQUESTED, "rho", "spectral_radius")),
}
_CONDITION = re.compile(r"([\w.]+)(<=|>=|!=|=|<|>)(.*)")
_ORDERS: dict[str, Callable[[Any, float], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TRUTH = {"true": True, "false": False}
_CLOSE = 1e-9  # relative difference of two numbers that are written alike
_MOST = 8  # values that a message names


def find_field(name: str, known: Iterable[str]) -> str | None:
    """The column of a field: "cell.hidden_size", "width" and "cell_hidden_size" are one; None: there is none.

    A column may also be called by its heading in print: "T", "asymptotic_rate".
    """
    columns, plain = set(known), name.replace(".", "_")
    named = (plain, *_ALIASES.get(plain, ()), *_HEADINGS.get(plain, ()))
    return next((one for one in named if one in columns), None)


def list_headings() -> dict[str, tuple[str, ...]]:
    """Heading in print, with "_" for spaces -> the columns that have it."""
    found: dict[str, tuple[str, ...]] = {}
    for name, column in COLUMNS.items():
        heading = column.header.replace(" ", "_")
        found[heading] = (*found.get(heading, ()), name)
    return found


_HEADINGS = list_headings()


@takes_frames
def choose_columns(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The named columns in that order; a value with an interval has both ends beside it.

    Raises:
        ConfigurationError: a name that is no column, with the nearest.
    """
    chosen: dict[str, None] = {}
    for name in names:
        column = _find_column("columns", name, frame)
        ends = [f"{column}_low", f"{column}_high"]
        chosen |= dict.fromkeys([column, *(ends if set(ends) <= set(map(str, frame)) else [])])
    found = frame[list(chosen)]
    targets = frame.get(TARGET, pd.Series(dtype=object)).dropna().unique()
    if TARGET not in chosen and len(targets) == 1:
        found.attrs = {**frame.attrs, REQUESTED_OF: str(targets[0])}
    return found


@takes_frames
def choose_rows_where(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows that fulfil all conditions, which have spaces between them: "cell=gru,lstm spectral_radius>=1".

    There may be none: no run failed, or no rate is above 5. A value that no row has is refused, as it may be misspelt.

    Raises:
        ConfigurationError: what is no condition, no column, or no value of a column.
    """
    frame = whole = frame.reset_index(drop=True)
    for condition in where.split():
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise ConfigurationError(
                f"where={condition}: must be FIELD=VALUE, with !=, <, <=, > or >= in place of =, several values with "
                "commas between them, several conditions with spaces between them"
            )
        name, sign, values = match.groups()
        column = _find_column("where", name, whole)
        frame = frame[_fulfil(whole[column], sign, values.split(","), condition).loc[frame.index]]
    return frame.reset_index(drop=True)


def _find_column(word: str, name: str, frame: pd.DataFrame) -> str:
    known = list(map(str, frame))
    column = find_field(name, known)
    if column is None or (column == _REQUESTED != name and has_files(frame)):  # then it is the place of a file
        raise ConfigurationError(f"{word}={name}: must be one of {', '.join(known)}.{_nearest_column(name, known)}")
    return column


def _nearest_column(name: str, known: Sequence[str]) -> str:
    """`nearest`; of a heading its column."""
    headings = {heading: column for heading in _HEADINGS if (column := find_field(heading, known))}
    found = nearest(name, [*known, *headings])
    column = headings.get(found.partition("'")[2].partition("'")[0])
    return f" Did you mean '{column}'?" if column else found


def _fulfil(column: pd.Series, sign: str, values: list[str], condition: str) -> pd.Series:
    """Which rows fulfil a condition; a missing value is `none` and is neither below nor above anything."""
    if sign in _ORDERS:
        (least,) = [_to_number(value, condition) for value in values[:1]]
        if len(values) > 1 or not _is_number(column):
            raise ConfigurationError(f"where={condition}: must compare a column of numbers with one number")
        return _ORDERS[sign](column.astype("Float64"), least).fillna(False).astype(bool)
    found = pd.Series(False, index=column.index)
    for value in values:
        of_value = _equals(column, value, condition)
        if not of_value.any() and not (column.name == "status" and value in STATUSES):
            raise ConfigurationError(f"where={condition}: no row has {value}; {_describe_stored(column, value)}")
        found |= of_value
    return ~found if sign == "!=" else found


def _equals(column: pd.Series, value: str, condition: str) -> pd.Series:
    if value in ("none", ""):
        return column.isna()
    if _is_number(column):
        wanted = _to_number(value, condition)
        numbers = column.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        return pd.Series(np.isclose(numbers, wanted, rtol=_CLOSE, atol=0.0), index=column.index)
    if pd.api.types.is_bool_dtype(column):
        if value not in _TRUTH:
            raise ConfigurationError(f"where={condition}: must be true, false or none")
        return (column == _TRUTH[value]).fillna(False).astype(bool)
    return (column.astype(object).map(str) == value) & column.notna()


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _to_number(value: str, condition: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigurationError(f"where={condition}: {value!r} must be a number") from None


def _describe_stored(column: pd.Series, value: str) -> str:
    """The values that a column has."""
    stored = [str(one) for one in sorted(column.dropna().unique(), key=lambda one: (str(type(one)), one))]
    more = f", and {len(stored) - _MOST} more" if len(stored) > _MOST else ""
    return f"stored: {', '.join(stored[:_MOST]) or 'no value'}{more}.{nearest(value, stored)}"


class ChosenRuns:
    """A study with some of its runs: every table has the rows of these runs alone."""

    def __init__(self, study: Any, where: str, run_ids: frozenset[str] | None = None) -> None:
        self._study = study
        self._where = where
        self._run_ids = run_ids or frozenset(choose_rows_where(with_requested(study.runs), where)["run_id"])
        if not self._run_ids:
            raise ConfigurationError(f"where={where}: no run fulfils this")

    def for_summaries(self, joined: Collection[str] = (), whole: Collection[str] = ()) -> ChosenRuns:
        """The same runs of a study without what no shipped figure reads (`Study.for_summaries`)."""
        study = self._study
        narrow = study.for_summaries(joined, self._run_ids, whole) if hasattr(study, "for_summaries") else study
        return ChosenRuns(narrow, self._where, self._run_ids)

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name."""
        return self._choose(self._study.table(name))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._study, name)
        return self._choose(found) if isinstance(found, pd.DataFrame) else found

    def _choose(self, frame: pd.DataFrame) -> pd.DataFrame:
        if "run_id" not in frame:
            return frame
        chosen = frame[frame["run_id"].isin(self._run_ids)].reset_index(drop=True)
        chosen.attrs = frame.attrs
        return chosen
