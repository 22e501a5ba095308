"""The stored tables: from rows to files and back, with exactly the columns of `columns`.

Files in `results/` have exactly these columns, and `docs/tables.md` shows them; tests check both. A missing value is
null in a file. In pandas it is NaN in a column of floats or strings and NA in one of integers or truth values. A
measured NaN does not exist: a float is missing, or it is a number, -inf included.

The table `runs` has further columns, one for each configuration value; their types follow from the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bpttlab.errors import ConfigurationError, SchemaError, nearest
from bpttlab.store.column import Column, Table, arrow_type
from bpttlab.store.columns import (
    CONFIGURATION,
    FILE_NAMES,
    MONITORED,
    NETWORK_NAMES,
    RUNS,
    SEQUENCE_LENGTHS,
    TABLES,
    TABLES_OF_TRAINING,
    TRAINED,
)
from bpttlab.store.identity import canonical
from bpttlab.store.plain_arrays import to_arrow

if TYPE_CHECKING:  # pandas takes longer to import than everything else here, and workers only write
    import pandas as pd

SCHEMA_VERSION = 7
"""Goes up whenever a stored table changes its columns or their meaning."""

STATUSES = ("done", "failed", "diverged")

LONGEST_TEXT = 10_000
"""Characters of a string in a table, for example of the reason of a failure."""


_DECLARED = {column.name: column.dtype for column in CONFIGURATION}
_FIRST_IN_RUNS = ("run_id", "network_id", "status", "error", "first_bad_step")

NUMBERS_OR_WORDS = (
    "truncation",
    "cell_recurrent_prefix",
    "cell_readout_prefix",
    "penalty_exponents",
    "measure_exponents",
)
"""Values that are a number or a word: always a text in their column."""

Scalar = bool | int | float | str | None


# ------------------------------------------------------------------ configuration -> columns


def flatten(configuration: Mapping[str, Any]) -> dict[str, Scalar]:
    """The configuration columns of one run: {"seed": 0, "cell": "elman", "cell_hidden_size": 32, …}.

    The name of a group is in the column of the group, its fields are in `<group>_<field>`. A list becomes its JSON
    text. A field that may be a number or a word (`truncation`) is always a string.

    Raises:
        ConfigurationError: two values for one column, or a value for a column of measures.
    """
    flat: dict[str, Scalar] = {}
    for name, value in _named_scalars(configuration, ""):
        if name in flat:
            raise ConfigurationError(f"two values of the configuration would fill the column '{name}' of runs")
        if name in _FIXED:
            raise ConfigurationError(f"a configuration value cannot be called '{name}': runs has a column of that name")
        flat[name] = value
    for name in NUMBERS_OR_WORDS:
        if flat.get(name) is not None:
            flat[name] = str(flat[name])
    return flat


_FIXED = frozenset(column.name for column in RUNS.columns)


class Described(str):
    """The canonical text of a configuration that has its columns with it: nobody need read the text for them.

    Attributes:
        columns: what `flatten` gives of the configuration; not to be changed.
    """

    columns: Mapping[str, Scalar]

    def __new__(cls, text: str, columns: Mapping[str, Scalar]) -> Described:
        described = super().__new__(cls, text)
        described.columns = columns
        return described

    def __getnewargs__(self) -> tuple[str, Mapping[str, Scalar]]:  # type: ignore[override]  # as __new__ has them
        return str(self), self.columns


def _named_scalars(group: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Scalar]]:
    for name, value in group.items():
        column = name if not prefix else prefix if name == "name" else f"{prefix}_{name}"
        if isinstance(value, Mapping):
            yield from _named_scalars(value, column)
        elif isinstance(value, list | tuple):
            yield column, canonical(value)
        else:
            yield column, value


def configuration_columns(rows: Iterable[Mapping[str, Scalar]]) -> pa.Table:
    """The configuration columns of runs, each as `flatten` gives it: in the order of CONFIGURATION, the others by name.

    The types depend on the values only, not on their grouping into files: a column of integers and other numbers is
    float64, any other mixture is a string. Rows are taken one by one, and not kept.
    """
    present = _columns_of(rows)
    names = [name for name in _DECLARED if name in present] + sorted(present.keys() - _DECLARED.keys())
    return pa.Table.from_arrays([_of_any_type(name, present.pop(name)) for name in names], names=names)


def _columns_of(rows: Iterable[Mapping[str, Scalar]]) -> dict[str, list[Scalar]]:
    """The values of each column, None where a row has none; equal strings are one object."""
    columns: dict[str, list[Scalar]] = {}
    known: dict[str, str] = {}
    count = 0
    for count, row in enumerate(rows, 1):
        for name, value in row.items():
            column = columns.setdefault(name, [])
            column.extend([None] * (count - 1 - len(column)))
            column.append(known.setdefault(value, value) if isinstance(value, str) else value)
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    return columns


def _of_any_type(name: str, values: Sequence[Scalar]) -> pa.Array:
    dtype = _common_dtype(values, _DECLARED.get(name))
    if dtype == "string":
        values = [value if value is None or isinstance(value, str) else canonical(value) for value in values]
    elif dtype == "float64":
        values = [None if value is None else float(value) for value in values]
    return to_typed(values, dtype, f"configuration column '{name}'")


def _common_dtype(values: Iterable[Scalar], declared: str | None) -> str:
    names = {bool: "bool", int: "int64", float: "float64", str: "string"}
    found = {names[type(value)] for value in values if value is not None} | ({declared} if declared else set())
    if len(found) <= 1:
        return found.pop() if found else "float64"
    return "float64" if found == {"int64", "float64"} else "string"


# ------------------------------------------------------------------ columns -> files


def to_typed(values: Any, dtype: str, what: str) -> pa.Array:
    """Values as an Arrow array of a type of this page; None, NaN and NA become null.

    Raises:
        StoreError: a value that the type cannot hold exactly; `what` names the column.
    """
    try:
        if dtype == "int64":
            _refuse_fractions(values)
        return to_arrow(values, dtype)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"{what} must be {dtype}: {error}") from None


def _refuse_fractions(values: Any) -> None:
    """Arrow checks arrays of floats, but cuts off the fractions in a list."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return
    for value in values:
        if isinstance(value, float | np.floating) and not (math.isnan(value) or value.is_integer()):
            raise ValueError(f"{value} is not an integer")


def rows_of_run(table: Table, run_id: str, columns: Mapping[str, Any]) -> pa.Table:
    """One run's rows of a table, with the table's types; `run_id` is added, and a column that is not given is null.

    Args:
        columns: 1-D arrays or lists of one length, by column name.

    Raises:
        StoreError: an unknown column, a value of another type, unequal lengths, a required value that is missing.
    """
    what = f"table '{table.name}' of run {run_id}"
    _refuse_unknown(columns, table.schema.names, what)
    lengths = {name: _length(values, f"{what}: column '{name}'") for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SchemaError(f"{what}: columns of unequal length, {lengths}")
    length = next(iter(lengths.values()), 0)
    return _assemble(table, {**columns, "run_id": [run_id] * length}, length, what)


def rows_of_runs(table: Table, runs: Sequence[tuple[str, Mapping[str, Any]]]) -> pa.Table:
    """`rows_of_run` of several runs, (run_id, columns) each, in any order; runs whose columns are alike go together.

    Raises:
        StoreError: as `rows_of_run` would, of the first run that it refuses.
    """
    alike: dict[Any, list[tuple[str, Mapping[str, Any]]]] = {}
    known = frozenset(table.names)
    try:
        for run_id, columns in runs:
            alike.setdefault(_kinds(known, columns), []).append((run_id, columns))
        return pa.concat_tables([_rows_of_alike(table, some) for some in alike.values()])
    except (SchemaError, TypeError, ValueError):  # one by one: whose fault it is, and what
        return pa.concat_tables([rows_of_run(table, run_id, columns) for run_id, columns in runs])


def _kinds(known: Set[str], columns: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The columns that there are, and what their values are; refused where they are not as they should be."""
    kinds: list[tuple[str, Any]] = []
    for name, values in columns.items():
        if name not in known:
            raise ValueError(name)
        if isinstance(values, np.ndarray) and values.ndim == 1:
            kinds.append((name, values.dtype if values.dtype.kind != "U" else "text"))  # of any width
        else:
            if type(values) is not list:
                _length(values, name)
            kinds.append((name, type(values)))
    return tuple(kinds)


def _rows_of_alike(table: Table, runs: Sequence[tuple[str, Mapping[str, Any]]]) -> pa.Table:
    """Rows of runs with the same columns, of the same kinds."""
    lengths = [{len(values) for values in columns.values()} or {0} for _, columns in runs]
    if any(len(found) > 1 for found in lengths):
        raise ValueError("columns of unequal length")
    counts = [found.pop() for found in lengths]
    given = {name: _one_after_another([columns[name] for _, columns in runs]) for name in runs[0][1]}
    run_ids = to_arrow([run_id for run_id, _ in runs], "string")
    of_rows = run_ids.take(to_arrow(np.repeat(np.arange(len(runs)), counts), "int64"))
    return _assemble(table, {**given, "run_id": of_rows}, sum(counts), f"table '{table.name}'")


def _one_after_another(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]


def runs_with(summary: Sequence[Column]) -> Table:
    """The table `runs` with columns of a user's own measures."""
    return Table("runs", RUNS.row, RUNS.keys, (*RUNS.columns, *summary)) if summary else RUNS


def rows_of_runs_table(
    rows: Sequence[Mapping[str, Any]], flat: Sequence[Mapping[str, Scalar]], summary: Sequence[Column] = ()
) -> pa.Table:
    """The fixed columns of rows of `runs` and those of own measures, `summary`. Rows may have those of their
    configurations, `flat`, beside them, and no others."""
    runs = runs_with(summary)
    fixed = _FIXED | {column.name for column in summary}
    for row, columns in zip(rows, flat, strict=True):
        if not row.keys() <= columns.keys() | fixed:
            _refuse_unknown(row, {*fixed, *columns}, f"table 'runs' of run {row.get('run_id')}")
    given = {column.name: [row.get(column.name) for row in rows] for column in runs.columns}
    return _assemble(runs, given, len(rows), "table 'runs'")


def conform(rows: pa.Table, table: Table, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows with the columns of a table, by default all: what they lack is missing, integers may become floats."""
    target = table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
    if rows.schema.equals(target):
        return rows
    there = set(rows.column_names)
    arrays = [
        rows[field.name].cast(field.type) if field.name in there else pa.nulls(len(rows), field.type)
        for field in target
    ]
    return pa.Table.from_arrays(arrays, schema=target)


def with_configuration(runs: pa.Table, configuration: pa.Table) -> pa.Table:
    """The fixed columns of `runs` with the configuration's between the run's identity and what was measured."""
    rest = [name for name in runs.column_names if name not in _FIRST_IN_RUNS]
    for name in sorted({*rest, *_FIRST_IN_RUNS} & set(configuration.column_names)):
        raise SchemaError(f"column '{name}' of runs is a value of the configuration, and a measure fills it, too")
    return join_side_by_side(join_side_by_side(runs.select(_FIRST_IN_RUNS), configuration), runs.select(rest))


def join_side_by_side(left: pa.Table, right: pa.Table) -> pa.Table:
    """Two tables of equally many rows as one."""
    return pa.Table.from_arrays([*left.columns, *right.columns], schema=pa.schema([*left.schema, *right.schema]))


def _length(values: Any, what: str) -> int:
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__") or getattr(values, "ndim", 1) != 1:
        raise SchemaError(f"{what} must be a list or 1-D array, not {' '.join(repr(values).split()):.80}")
    return len(values)


def _assemble(table: Table, given: Mapping[str, Any], length: int, what: str) -> pa.Table:
    arrays = []
    for column in table.columns:
        name = f"{what}: column '{column.name}'"
        values = given.get(column.name)
        if values is None:
            array = pa.nulls(length, arrow_type(column.dtype))
        else:
            array = values if isinstance(values, pa.Array) else to_typed(values, column.dtype, name)
            if column.dtype == "string" and column.name != "configuration":  # which is identity, and has its own limit
                array = cut_long_texts(array)
        if column.required and array.null_count:
            raise SchemaError(f"{name} has {array.null_count} missing (or NaN) values: no value may be missing")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=table.schema)


def cut_long_texts(array: pa.Array) -> pa.Array:
    """The strings, of which longer ones than LONGEST_TEXT are cut: a reason may have any length where it arises."""
    if (pc.max(pc.binary_length(array)).as_py() or 0) <= LONGEST_TEXT:
        return array
    return pa.array([None if text is None else cut_text(text) for text in array.to_pylist()], array.type)


def cut_text(text: str, most: int = LONGEST_TEXT) -> str:
    """The text; a longer one ends with a mark that says how long it was."""
    return text if len(text) <= most else f"{text[:most]}… (cut: it has {len(text):,} characters)"


def _refuse_unknown(columns: Iterable[str], known: Iterable[str], what: str) -> None:
    known = set(known)
    for name in columns:
        if name not in known:
            raise SchemaError(f"{what} has no column '{name}'.{nearest(name, sorted(known))}")


# ------------------------------------------------------------------ files -> frames


def sort_indices(table: pa.Table, keys: Sequence[str]) -> pa.Array:
    """The order of rows by the keys: strings by code point, missing values last, equal keys in their former order."""
    return pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])


def frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table with the types of this page as a pandas frame.

    string -> str, float64 -> float64, int64 -> Int64 (int64 where the column is required), bool -> boolean.
    """
    import pandas as pd

    dtypes = {
        pa.string(): pd.StringDtype(na_value=np.nan),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    data: pd.DataFrame = table.to_pandas(types_mapper=dtypes.get, ignore_metadata=True, split_blocks=True)
    for field in table.schema:
        if field.type == pa.int64() and not field.nullable:  # in place: astype of a frame copies every column
            data[field.name] = data[field.name].to_numpy("int64")
    return data


# ------------------------------------------------------------------ the page in the documentation


def columns_markdown() -> str:
    """The tables of `docs/tables.md`."""
    parts = []
    for table in (*TABLES.values(), SEQUENCE_LENGTHS, *TABLES_OF_TRAINING):
        parts.append(
            f"## {table.name}\n\nOne row per {table.row}. {_describe_order(table)}\n\n{_markdown(table.columns)}"
        )
    parts.append(f"## configuration\n\nFurther columns of `runs`.\n\n{_markdown(CONFIGURATION)}")
    said = "Columns of `runs` that are added when a study of a user's own files is read; no shard has them."
    parts.append(f"## names of files\n\n{said}\n\n{_markdown([*NETWORK_NAMES, *FILE_NAMES.values()])}")
    said = "Columns of `runs` that networks measured inside a training loop have ([monitor](monitor.md))."
    parts.append(f"## networks in training\n\n{said}\n\n{_markdown(MONITORED)}")
    said = "Columns of `runs` that networks trained by a sweep have, beside `update` ([training](training.md))."
    parts.append(f"## networks trained by a sweep\n\n{said}\n\n{_markdown(TRAINED)}")
    return "\n\n".join(parts) + "\n"


def _describe_order(table: Table) -> str:
    return "Sorted by " + ", ".join(f"`{key}`" for key in ("run_id", *table.keys)) + "."


def _markdown(columns: Sequence[Column]) -> str:
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in columns:
        dtype = column.dtype if column.required else f"{column.dtype}?"
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {dtype} | {column.unit} | {meaning} |")
    return "\n".join(lines)
