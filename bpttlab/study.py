"""A stored study as pandas frames that do not depend on the files they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from bpttlab import schema
from bpttlab.commits import Commit, Stored, choose
from bpttlab.errors import StoreError, nearest
from bpttlab.identity import parse

if TYPE_CHECKING:
    import pandas as pd

Reader: TypeAlias = Callable[[str, Sequence[Commit]], dict[str, pa.Table]]
"""A table and commits -> the rows that were published with them, by shard: `Store.rows`."""


class Study:
    """The tables of a study as pandas frames: `study.runs`, `study.jacobians`, … (`docs/tables.md`).

    Each is read when it is first asked for. Beside their own columns the tables of measures have those of their run's
    configuration, and `network_id` and `status`. Rows are sorted by run_id and the table's keys, so that a frame does
    not depend on the files that it came from.

    `Store.load` makes one.

    Attributes:
        name: the study's name.
        path: its folder.

    Raises:
        CollisionError: two configurations have one run id.
    """

    def __init__(self, name: str, path: Path, commits: Sequence[Commit], rows: Reader) -> None:
        self.name = name
        self.path = path
        self._read = rows
        self._chosen = choose(commits)
        self._frames: dict[str, pd.DataFrame] = {}

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that have rows; any other is empty."""
        named = {table for commit, _ in self._taken for table in commit.siblings}
        return tuple(table for table in schema.TABLES if table == "runs" or table in named)

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name.

        Raises:
            StoreError: there is no such table.
            DamagedShardError: naming all its shards that are damaged or missing.
        """
        if name not in schema.TABLES:
            raise StoreError(f"there is no table '{name}': {', '.join(schema.TABLES)}.{nearest(name, schema.TABLES)}")
        if name not in self._frames:
            self._frames[name] = schema.frame(self._runs if name == "runs" else self._measured(name))
        return self._frames[name]

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name.startswith("_") or name not in schema.TABLES:
            raise AttributeError(f"a study has no '{name}'.{nearest(name, [*schema.TABLES, 'name', 'path', 'tables'])}")
        return self.table(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *schema.TABLES]

    def __repr__(self) -> str:
        statuses = [stored.status for stored in self._chosen.values()]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in schema.STATUSES if status in statuses)
        return f"Study '{self.name}' in {self.path}: {len(statuses)} runs ({counts}); tables {', '.join(self.tables)}"

    @cached_property
    def _taken(self) -> list[tuple[Commit, list[Stored]]]:
        """The runs that are taken from each commit, in order of the commits' names; no commit without one."""
        taken: dict[str, list[Stored]] = {}
        for stored in self._chosen.values():
            taken.setdefault(stored.commit.name, []).append(stored)
        return [(runs[0].commit, runs) for _, runs in sorted(taken.items())]

    @cached_property
    def _runs(self) -> pa.Table:
        parts = [commit.rows.take(pa.array([stored.row for stored in runs])) for commit, runs in self._taken]
        rows = pa.concat_tables(parts)
        rows = rows.take(schema.sort_indices(rows, ["run_id"]))
        flat = [schema.flatten(parse(text)) for text in rows["configuration"].to_pylist()]
        return schema.with_configuration(rows, schema.configuration_columns(flat))

    def _measured(self, name: str) -> pa.Table:
        """The rows of a table from the commits chosen, sorted, and beside them what is known of their runs."""
        table = schema.TABLES[name]
        rows = pa.concat_tables([table.schema.empty_table(), *self._taken_rows(name)])
        position = pc.index_in(rows["run_id"], value_set=self._runs["run_id"].combine_chunks())
        order = schema.sort_indices(rows.append_column("position", position), ["position", *table.keys])
        rows, position = rows.take(order), position.take(order)
        return rows if name == "provenance" else schema.beside(rows, self._about_runs(table).take(position))

    def _taken_rows(self, name: str) -> Iterator[pa.Table]:
        shards = self._read(name, [commit for commit, _ in self._taken])
        for commit, runs in self._taken:
            taken = pa.array([stored.run_id for stored in runs], pa.string())
            for shard in commit.named(name):
                yield shards[shard].filter(pc.is_in(shards[shard]["run_id"], value_set=taken))

    def _about_runs(self, table: schema.Table) -> pa.Table:
        """network_id, status and the configuration; `run_<name>` where the table itself has a column <name>."""
        fixed = schema.RUNS.schema.names
        names = ["network_id", "status", *(name for name in self._runs.column_names if name not in fixed)]
        own = table.schema.names
        return self._runs.select(names).rename_columns([f"run_{name}" if name in own else name for name in names])
