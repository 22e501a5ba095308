"""Tables and columns of a user's own measures.

They are described in the files that hold them: a commit says which it has, a shard says what its columns are. So a
study is read where neither the measure nor the engine is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bpttlab.errors import SchemaError
from bpttlab.store.column import DTYPES, NO_COLUMNS, Column, MeasureColumns, Table
from bpttlab.store.columns import RUNS, TABLES
from bpttlab.store.identity import canonical

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""Names that tables and columns of one's own may have; a table's is that of a folder."""


def check_declared(measure: str, declared: MeasureColumns) -> None:
    """Refuses what cannot be stored.

    Raises:
        SchemaError: a name that is no name or that bpttlab uses, a type that no column can have, or keys that are no
            columns; the message names the measure.
    """
    for table in declared.tables:
        what = f"measure '{measure}': table {table.name!r}"
        check_name(what, table.name, TABLES)
        _check_names(what, table.names)
        for column in table.columns:
            check_column(what, column)
        for key in table.keys:
            if key not in table.names:
                raise SchemaError(f"{what} is sorted by {key!r}; must be one of {', '.join(table.names)}")
    fixed = RUNS.names
    _check_names(f"measure '{measure}': summary", [column.name for column in declared.summary])
    for column in declared.summary:
        check_name(f"measure '{measure}': column {column.name!r} of runs", column.name, fixed)
        check_column(f"measure '{measure}': summary", column)


def check_name(what: str, name: str, used: Iterable[str]) -> None:
    if not NAME.fullmatch(name):
        raise SchemaError(f"{what}: must be at most 64 of a-z, 0-9 and _, and begin with a letter")
    if name in used:
        raise SchemaError(f"{what}: bpttlab has one of that name; must be another name")


def _check_names(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(f"{what} has two columns {twice[0]!r}; must be one")


def check_column(what: str, column: Column) -> None:
    if column.dtype not in DTYPES:
        raise SchemaError(f"{what}: {column.name!r} has dtype {column.dtype!r}; must be one of {', '.join(DTYPES)}")
    if not NAME.fullmatch(column.name):
        raise SchemaError(f"{what}: column {column.name!r}: must be at most 64 of a-z, 0-9 and _, first a letter")


# ------------------------------------------------------------------ several declarations as one


def unite(several: Iterable[MeasureColumns]) -> MeasureColumns:
    """What several measures declare, or one measure before and after it was changed, in an order of their contents.

    Raises:
        SchemaError: one column has two types of which neither holds the other.
    """
    distinct = {canonical(to_plain(one)): one for one in several if one != NO_COLUMNS}
    tables: dict[str, Table] = {}
    summary: tuple[Column, ...] = ()
    for _, one in sorted(distinct.items()):
        summary = unite_columns("runs", summary, one.summary, never_required=True)
        for table in one.tables:
            tables[table.name] = unite_tables(tables.get(table.name, table), table)
    return MeasureColumns(tuple(tables.values()), summary)


def unite_tables(one: Table, other: Table) -> Table:
    return Table(one.name, one.row, one.keys, unite_columns(one.name, one.columns, other.columns))


def unite_columns(
    table: str, one: tuple[Column, ...], other: tuple[Column, ...], never_required: bool = False
) -> tuple[Column, ...]:
    """Columns of both; one that is in one of them only is missing in rows of the other."""
    first, second = ({column.name: column for column in columns} for columns in (one, other))
    found = []
    for name in {**first, **second}:
        column, again = first.get(name), second.get(name)
        known = column or again
        assert known is not None
        dtype = known.dtype if column is None or again is None else common_dtype(table, column, again)
        required = bool(column and again and column.required and again.required) and not never_required
        found.append(Column(name, dtype, known.unit, known.meaning, required))
    return tuple(found)


def common_dtype(table: str, column: Column, again: Column) -> str:
    dtypes = {column.dtype, again.dtype}
    if len(dtypes) == 1:
        return column.dtype
    if dtypes == {"int64", "float64"}:
        return "float64"
    both = " and ".join(sorted(dtypes))
    raise SchemaError(f"column '{column.name}' of table '{table}' was declared as {both}: rename one of them")


# ------------------------------------------------------------------ as metadata of a file


def to_plain(declared: MeasureColumns) -> dict[str, Any]:
    """The declaration as plain data."""
    tables = [table_to_plain(table) for table in declared.tables]
    return {"tables": tables, "summary": columns_to_plain(declared.summary)}


def table_to_plain(table: Table) -> dict[str, Any]:
    return {"name": table.name, "row": table.row, "keys": list(table.keys), "columns": columns_to_plain(table.columns)}


def columns_to_plain(columns: Iterable[Column]) -> list[dict[str, Any]]:
    return [vars(column) for column in columns]


def from_plain(plain: Mapping[str, Any]) -> MeasureColumns:
    """The inverse of `to_plain`, checked: it comes from a file.

    Raises:
        SchemaError: it describes what cannot be stored.
        LookupError, TypeError: it is no description.
    """
    declared = MeasureColumns(
        tuple(table_from_plain(table) for table in plain["tables"]), columns_from_plain(plain["summary"])
    )
    check_declared("of a file", declared)
    return declared


def table_from_plain(plain: Mapping[str, Any]) -> Table:
    return Table(plain["name"], plain["row"], tuple(plain["keys"]), columns_from_plain(plain["columns"]))


def columns_from_plain(plain: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(Column(**column) for column in plain)
