"""A stored study as pandas frames that do not depend on the layout of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from bpttlab.errors import ConfigurationError, StoreError, nearest
from bpttlab.store import schema
from bpttlab.store.column import MeasureColumns, Table
from bpttlab.store.columns import OWN_MEASURED
from bpttlab.store.commits import Commit, Stored, choose
from bpttlab.store.file_names import NamedFile, with_names
from bpttlab.store.own_columns import unite
from bpttlab.store.stored_text import limit_columns, read_configuration
from bpttlab.store.where import Where, select

if TYPE_CHECKING:
    import pandas as pd

Reader: TypeAlias = Callable[[str, Sequence[Commit], Sequence[str] | None], dict[str, pa.Table]]
"""A table, commits and columns -> the rows that were published with them, by shard: `Store.rows`."""


class Study:
    """The tables of a study as pandas frames: `study.runs`, `study.jacobians`, … (`docs/tables.md`).

    Each table is read at its first use. The tables of measures also have the configuration columns, `network_id` and
    `status` of their runs. Rows are sorted by run_id and the table's keys, so that a frame does not depend on the
    layout of the files.

    `Store.load` makes one.

    Networks from files of a user's own have the columns network_file, cell_label and network_order beside cell_content
    (`file_names`).

    Attributes:
        name: the study's name.
        path: its folder.

    Raises:
        CollisionError: two configurations have one run id.
        ConfigurationError: `where` or `columns` (see `store.load`) names an unknown column, or `where` has an
            impossible value, or a value that no run has.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        commits: Sequence[Commit],
        rows: Reader,
        where: Where | None = None,
        columns: Sequence[str] | None = None,
        files: Sequence[NamedFile] = (),
        networks: str | None = None,
    ) -> None:
        if networks not in (None, "path"):
            hint = nearest(networks, ["path"])
            raise ConfigurationError(f"networks={networks!r}: must be 'path' or None.{hint}")
        self.name = name
        self.path = path
        self._files = files
        self._pool = networks == "path"
        self._read = rows
        self._chosen = choose(commits)
        self._own = unite(stored.commit.own for stored in self._chosen.values())
        self._known = {**schema.TABLES, **{table.name: table for table in self._own.tables}}
        self._runs = self._all_runs()
        self._frames: dict[str, pd.DataFrame] = {}
        if where:
            self._keep(where)
        if columns is not None:
            refuse_unknown_columns(columns, self._runs.column_names, self._own)
        self._columns = columns
        self._left_out: frozenset[str] = frozenset()

    def without_constant_settings(self) -> Study:
        """The same study for summaries: its tables of measures lack the settings of measures and scales that all runs
        have in common, which are half of their bytes. `runs` has all columns."""
        narrow = object.__new__(Study)
        narrow.__dict__.update(self.__dict__)
        settings = [name for name in self._runs.column_names if name.startswith(("measure_", "scales_"))]
        constant = (name for name in settings if pc.count_distinct(self._runs[name], "all").as_py() < 2)
        narrow._left_out = frozenset(constant)
        narrow._frames = {}
        return narrow

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that have rows."""
        named = {table for commit, _ in self._taken for table in commit.siblings}
        return tuple(table for table in self._known if table == "runs" or table in named)

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name.

        Raises:
            StoreError: there is no such table.
            DamagedShardError: naming all its shards that are damaged or missing.
        """
        if name not in self._frames:
            frame = schema.frame(self.arrow(name))
            if name == "runs" and self._own.summary:  # which no other table has
                frame.attrs[OWN_MEASURED] = [column.name for column in self._own.summary]
            self._frames[name] = frame
        return self._frames[name]

    def arrow(self, name: str) -> pa.Table:
        """`table` as an Arrow table, read anew each time.

        Raises:
            StoreError, DamagedShardError: as `table`.
        """
        if name not in self._known:
            raise StoreError(
                f"there is no table '{name}': must be one of {', '.join(self._known)}.{nearest(name, self._known)}"
            )
        return self._runs if name == "runs" else self._read_measured(name)

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name.startswith("_") or name not in self._known:
            raise AttributeError(f"a study has no '{name}'.{nearest(name, [*self._known, 'name', 'path', 'tables'])}")
        return self.table(name)

    def __getitem__(self, name: object) -> NoReturn:
        """Refuses what would be asked of a frame; so do `in` and iteration.

        Raises:
            StoreError: with the tables that there are.
        """
        known = ", ".join(f"study.{table}" for table in self.tables)
        raise StoreError(f"study '{self.name}' is not a frame: take one of its tables, {known}")

    __contains__ = __getitem__

    def __iter__(self) -> Iterator[str]:
        return self[None]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._known]

    def __repr__(self) -> str:
        statuses = [stored.status for stored in self._chosen.values()]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in schema.STATUSES if status in statuses)
        return f"Study '{self.name}' in {self.path}: {len(statuses)} runs ({counts}); tables {', '.join(self.tables)}"

    @cached_property
    def _taken(self) -> list[tuple[Commit, list[Stored]]]:
        return by_commit(self._chosen.values())

    def _keep(self, where: Where) -> None:
        """Keeps only the wanted runs; columns and types stay those of all runs."""
        self._runs = self._runs.filter(select(self._runs, where, [column.name for column in self._own.summary]))
        kept = set(self._runs["run_id"].to_pylist())
        self._chosen = {run_id: stored for run_id, stored in self._chosen.items() if run_id in kept}

    def _all_runs(self) -> pa.Table:
        taken = by_commit(self._chosen.values())
        table = schema.runs_with(self._own.summary)
        parts = [
            schema.conform(commit.rows.take(pa.array([stored.row for stored in runs])), table) for commit, runs in taken
        ]
        rows = pa.concat_tables(parts)
        rows = rows.take(schema.sort_indices(rows, ["run_id"]))
        columns = schema.configuration_columns(limit_columns(map(read_configuration, *texts_of(rows))))
        runs = schema.with_configuration(rows, columns)
        return with_names(runs, self._files, self._pool)

    def _read_measured(self, name: str) -> pa.Table:
        """The sorted rows of a table from the chosen commits, with the columns of their runs."""
        table = self._known[name]
        own = self._own_columns(table)
        rows = pa.concat_tables([table.schema.empty_table().select(own), *self._take_rows(table, own)])
        position = pc.index_in(rows["run_id"], value_set=self._runs["run_id"].combine_chunks())
        order = schema.sort_indices(rows.append_column("position", position), ["position", *table.keys])
        rows, position = rows.take(order), position.take(order)
        if name == "provenance":
            return rows
        about = self._describe_runs(table)
        return self._select_requested(schema.join_side_by_side(rows, about.take(position)))

    def _own_columns(self, table: Table) -> list[str]:
        """The columns to read: all, or the requested ones and those that rows are sorted by."""
        names: list[str] = table.schema.names
        if self._columns is None or table.name == "provenance":
            return names
        return [name for name in names if name in {"run_id", *table.keys, *self._columns}]

    def _select_requested(self, rows: pa.Table) -> pa.Table:
        """The columns that were requested, in that order."""
        if self._columns is None:
            return rows
        there = dict.fromkeys(["run_id", *(name for name in self._columns if name in rows.column_names)])
        return rows.select(list(there))

    def _take_rows(self, table: Table, columns: Sequence[str]) -> Iterator[pa.Table]:
        name, some = table.name, columns if table.name in schema.TABLES else None
        shards = self._read(name, [commit for commit, _ in self._taken], some)
        for commit, runs in self._taken:
            taken = pa.array([stored.run_id for stored in runs], pa.string())
            for shard in commit.shards_of(name):
                rows = shards[shard].filter(pc.is_in(shards[shard]["run_id"], value_set=taken))
                yield schema.conform(rows, table, columns)

    def _describe_runs(self, table: Table) -> pa.Table:
        """network_id, status and the configuration; `run_<name>` where the table itself has a column <name>."""
        fixed = schema.runs_with(self._own.summary).names
        joined = [name for name in self._runs.column_names if name not in fixed and name not in self._left_out]
        names = ["network_id", "status", *joined]
        own = table.schema.names
        if self._columns is not None:
            names = [name for name in names if {name, f"run_{name}"} & set(self._columns)]
        return self._runs.select(names).rename_columns([f"run_{name}" if name in own else name for name in names])


def texts_of(rows: pa.Table) -> tuple[Iterator[str], Iterator[str]]:
    """The configurations of runs, and their ids, one by one: all texts together are large."""
    return tuple((value.as_py() for value in rows[name]) for name in ("configuration", "run_id"))  # type: ignore[return-value]


def by_commit(runs: Iterable[Stored]) -> list[tuple[Commit, list[Stored]]]:
    """The runs that are read from each commit, in order of the commits' names; only commits with runs."""
    taken: dict[str, list[Stored]] = {}
    for stored in runs:
        taken.setdefault(stored.commit.name, []).append(stored)
    return [(of_one[0].commit, of_one) for _, of_one in sorted(taken.items())]


# ------------------------------------------------------------------ which columns


def refuse_unknown_columns(columns: Sequence[str], of_runs: Sequence[str], own_measures: MeasureColumns) -> None:
    """Accepts the columns of tables of measures and of their runs.

    Raises:
        ConfigurationError: another name, with the nearest.
    """
    if isinstance(columns, str):
        raise ConfigurationError(f"columns={columns!r}: must be a list of names")
    runs = schema.runs_with(own_measures.summary).names
    fixed = [name for name in runs if name not in ("run_id", "network_id", "status")]
    joined = [name for name in of_runs if name not in fixed]
    tables = [*schema.TABLES.values(), *own_measures.tables]
    own = [name for table in tables if table.keys for name in table.names]
    known = dict.fromkeys([*own, *joined, *(f"run_{name}" for name in joined if name in own and name != "run_id")])
    for name in columns:
        if name not in known:
            of = " (a column of runs, which has all of its columns)" if name in fixed else ""
            raise ConfigurationError(f"columns: no table of measures has {name!r}{of}.{nearest(name, known)}")
