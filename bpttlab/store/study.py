"""A stored study as pandas frames that do not depend on the layout of its files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from bpttlab.errors import ConfigurationError, StoreError, nearest
from bpttlab.files import own_folder
from bpttlab.store import schema
from bpttlab.store.column import MeasureColumns, Table
from bpttlab.store.columns import OWN_MEASURED
from bpttlab.store.commits import Commit, Stored, choose, commits_by_shard
from bpttlab.store.damage import Damage
from bpttlab.store.file_names import NamedFile, with_names
from bpttlab.store.monitored import find_superseded
from bpttlab.store.own_columns import unite
from bpttlab.store.repeated_rows import RepeatedRows
from bpttlab.store.stored_text import limit_columns, read_configuration
from bpttlab.store.where import Where, select

if TYPE_CHECKING:
    import pandas as pd

Reader: TypeAlias = Callable[[str, Sequence[Commit], Sequence[str] | None], Iterator[tuple[str, pa.Table]]]
"""A table, commits and columns -> the shards that were published with them, and their rows: `Store.scan`."""

POOLED_FOLDER = "networks_path"
"""The folder of what is made with networks="path", below that of what is made without."""

_OF_EACH_RUN = ("provenance", "bias_bounds")
"""Tables in which no run repeats rows of another."""


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
        damage: what was found damaged or missing when it was loaded.

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
        scan: Reader,
        where: Where | None = None,
        columns: Sequence[str] | None = None,
        files: Sequence[NamedFile] = (),
        networks: str | None = None,
        damage: Damage | None = None,
    ) -> None:
        if networks not in (None, "path"):
            hint = nearest(networks, ["path"])
            raise ConfigurationError(f"networks={networks!r}: must be 'path' or None.{hint}")
        self.name = name
        self.path = path
        self._files = files
        self._pool = networks == "path"
        self._scan = scan
        self.damage = damage or Damage(path)
        self._chosen = choose(commits, self.damage.commits)
        self._own = unite(stored.commit.own for stored in self._chosen.values())
        self._known = {**schema.TABLES, **{table.name: table for table in self._own.tables}}
        self._runs = self._all_runs()
        if superseded := find_superseded(self._runs, commits):
            self._keep_runs(self._chosen.keys() - set(superseded))
        self._chosen = release_rows(self._chosen)
        self._frames: dict[str, pd.DataFrame] = {}
        if where:
            self._keep(where)
        if columns is not None:
            refuse_unknown_columns(columns, self._runs.column_names, self._own)
        self._columns = columns
        self._joined: Collection[str] | None = None
        self._repeated: RepeatedRows | None = None

    def for_summaries(
        self, joined: Collection[str] = (), run_ids: Collection[str] | None = None, whole: Collection[str] = ()
    ) -> Study:
        """The same study for statistics over networks, in a fraction of the memory.

        Its tables of measures have their own columns and few of the runs', and lack the rows that runs of one forward
        pass repeat (`repeated_rows`). `runs` has all columns.

        Args:
            joined: columns of runs that the tables of measures have.
            run_ids: the runs that the statistics are about; None: all.
            whole: runs that keep all their rows.
        """
        narrow = object.__new__(Study)
        narrow.__dict__.update(self.__dict__)
        narrow._frames = {}
        if run_ids is not None:
            narrow._keep_runs(run_ids)
        narrow._joined = frozenset(joined)
        narrow._repeated = RepeatedRows(narrow._runs, narrow._fixed_columns(), whole)
        return narrow

    def folder_of(self, kind: str) -> Path:
        """The folder of summaries ("tables") or figures; files that are networks of one point have their own.

        Raises:
            StoreError: it is a link or a file.
        """
        folder = own_folder(self.path, kind)
        return own_folder(folder, POOLED_FOLDER) if self._pool else folder

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that have rows."""
        named = {table for commit, _ in self._taken for table in commit.siblings}
        return tuple(table for table in self._known if table == "runs" or table in named)

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name.

        Raises:
            StoreError: there is no such table.
            (A `DamageWarning` names its shards that are damaged or missing, whose rows it lacks.)
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
            StoreError: as `table`.
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
        kept = self._runs.filter(select(self._runs, where, [column.name for column in self._own.summary]))
        self._keep_runs(kept["run_id"].to_pylist())

    def _keep_runs(self, run_ids: Collection[str]) -> None:
        kept = set(run_ids)
        self._runs = self._runs.filter(pc.is_in(self._runs["run_id"], value_set=pa.array(sorted(kept), pa.string())))
        self._chosen = {run_id: stored for run_id, stored in self._chosen.items() if run_id in kept}
        self.__dict__.pop("_taken", None)

    def _all_runs(self) -> pa.Table:
        taken = by_commit(self._chosen.values())
        table = schema.runs_with(self._own.summary)
        rows = pa.concat_tables(schema.conform(rows_of_commit(commit, runs), table) for commit, runs in taken)
        rows = rows.take(schema.sort_indices(rows, ["run_id"]))
        columns = schema.configuration_columns(limit_columns(map(read_configuration, *texts_of(rows))))
        runs = schema.with_configuration(rows, columns)
        return with_names(runs, self._files, self._pool)

    def _read_measured(self, name: str) -> pa.Table:
        """The sorted rows of a table from the chosen commits, with the columns of their runs."""
        table = self._known[name]
        own = self._own_columns(table)
        parts = self._take_rows(table, own)
        if self._repeated and name in schema.TABLES and name not in _OF_EACH_RUN:
            parts = self._repeated.drop(parts)
        rows = pa.concat_tables([table.schema.empty_table().select(own), *parts])
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
        commits = {commit.name: commit for commit, _ in self._taken}
        published = commits_by_shard(name, list(commits.values()))
        of_commit = {commit.name: [stored.run_id for stored in runs] for commit, runs in self._taken}
        for shard, shard_rows in self._scan(name, list(commits.values()), some):
            for commit in published[shard]:
                taken = pc.is_in(shard_rows["run_id"], value_set=pa.array(of_commit[commit.name], pa.string()))
                yield schema.conform(shard_rows.filter(taken), table, columns)

    def _fixed_columns(self) -> list[str]:
        """The columns of `runs` that are no values of a configuration; `network_id` is decided by one."""
        return schema.runs_with(self._own.summary).names

    def _describe_runs(self, table: Table) -> pa.Table:
        """network_id, status and the configuration; `run_<name>` where the table itself has a column <name>."""
        fixed = self._fixed_columns()
        joined = [name for name in self._runs.column_names if name not in fixed]
        names = ["network_id", "status", *joined]
        if self._joined is not None:
            names = [name for name in names if name in self._joined]
        own = table.schema.names
        if self._columns is not None:
            names = [name for name in names if {name, f"run_{name}"} & set(self._columns)]
        return self._runs.select(names).rename_columns([f"run_{name}" if name in own else name for name in names])


def texts_of(rows: pa.Table) -> tuple[Iterator[str], Iterator[str]]:
    """The configurations of runs, and their ids, one by one: all texts together are large."""
    return tuple((value.as_py() for value in rows[name]) for name in ("configuration", "run_id"))  # type: ignore[return-value]


def rows_of_commit(commit: Commit, runs: Sequence[Stored]) -> pa.Table:
    """The rows of some runs of a commit, in any order."""
    whole = len(runs) == commit.rows.num_rows
    return commit.rows if whole else commit.rows.take(pa.array([stored.row for stored in runs]))


def release_rows(chosen: Mapping[str, Stored]) -> dict[str, Stored]:
    """The chosen runs without the rows of their commits but run_id: they are as large as the table `runs`."""
    commits = {stored.commit.name: stored.commit for stored in chosen.values()}
    bare = {name: replace(commit, rows=commit.rows.select(["run_id"])) for name, commit in commits.items()}
    return {run_id: replace(stored, commit=bare[stored.commit.name]) for run_id, stored in chosen.items()}


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
