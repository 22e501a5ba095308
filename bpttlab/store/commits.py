"""Commits: the runs in the shards of `runs`, the shards published with them, and the commit that counts for each run.

A run that is repeated is in several commits. The reader chooses one by rules that do not depend on the layout.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bpttlab.errors import CollisionError, StoreError
from bpttlab.store import schema
from bpttlab.store.chain import Place, read_place
from bpttlab.store.column import NO_COLUMNS, MeasureColumns
from bpttlab.store.damage import Damage
from bpttlab.store.identity import id_of
from bpttlab.store.own_columns import from_plain
from bpttlab.store.shards import SHARD, deserialise, name_foreign_shard, shard_path
from bpttlab.store.stored_text import read_configuration, read_siblings


@dataclass(frozen=True)
class Commit:
    """A shard of `runs` as read.

    Attributes:
        name: SHA-256 of the shard.
        published: nanoseconds since 1970 on the clock of the writer.
        rows: the fixed columns of `runs`.
        siblings: table -> SHA-256 of the shards published with it.
        own: the tables and columns of a user's own measures.
        place: its place among the commits of its writer.
    """

    name: str
    published: int
    rows: pa.Table
    siblings: Mapping[str, Sequence[str]]
    place: Place
    own: MeasureColumns = NO_COLUMNS

    @property
    def run_ids(self) -> list[str]:
        ids: list[str] = self.rows["run_id"].to_pylist()
        return ids

    def shards_of(self, table: str) -> Sequence[str]:
        """The shards of a table that were published with it."""
        return self.siblings.get(table, ())


@dataclass(frozen=True)
class Stored:
    """One run in one commit: `row` of its `rows`."""

    commit: Commit
    row: int
    run_id: str
    status: str

    @property
    def configuration(self) -> str:
        """Canonical JSON, a kilobyte, read where it is needed."""
        text: str = self.commit.rows["configuration"][self.row].as_py()
        return text

    @property
    def precedence(self) -> tuple[bool, int, str, str]:
        """Smallest first: a result before a failure, the last failure before others, and then by content."""
        failed = self.status == "failed"
        (row,) = self.commit.rows.slice(self.row, 1).to_pylist()
        content = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)  # of any length
        return failed, -self.commit.published if failed else 0, content, self.commit.name


def read_commit(data: bytes, path: Path) -> Commit:
    """A commit from the bytes of its shard.

    Raises:
        StoreError: it has another version, or is not a commit; the message names `path`.
    """
    rows, about = deserialise(data, path)
    with name_foreign_shard(path):
        own = from_plain(about["own"]) if "own" in about else NO_COLUMNS
        if not rows.num_rows:
            raise LookupError("it has no rows")
        refuse_unreadable_configurations(rows)
        return Commit(path.stem, about["published"], rows, _siblings(about, own), read_place(about), own)


def refuse_unreadable_configurations(rows: pa.Table, thorough: bool = False) -> None:
    """Accepts rows of runs whose configurations can be read.

    Args:
        thorough: reads each. Otherwise only those of which the run id is not the hash: it costs a twentieth, and what
            this program stores is readable.

    Raises:
        StoreError: one cannot be read.
    """
    for run_id, text in zip(rows["run_id"].to_pylist(), rows["configuration"].to_pylist(), strict=True):
        if thorough or id_of(text) != run_id:
            read_configuration(text, run_id)


def leave_out_unreadable(commits: Sequence[Commit], damage: Damage) -> list[Commit]:
    """The commits whose configurations can be read, each of which is read; the others are noted."""
    readable = []
    for commit in commits:
        try:
            refuse_unreadable_configurations(commit.rows, thorough=True)
            readable.append(commit)
        except StoreError as error:
            damage.add(shard_path(damage.folder / "store" / "runs", commit.name), str(error), [commit])
    return readable


def _siblings(about: Mapping[str, Any], own: MeasureColumns) -> dict[str, tuple[str, ...]]:
    """The shards that a commit names; only known tables and valid names of shards are accepted."""
    known = {*schema.TABLES, *(table.name for table in own.tables)}
    siblings = read_siblings(about)
    for table, names in siblings.items():
        if table not in known or table == "runs" or not all(SHARD.fullmatch(f"{name}.parquet") for name in names):
            raise LookupError(f"it names an invalid shard, {table:.40}: {names!s:.100}")
    return siblings


def tables_of(commits: Sequence[Commit]) -> list[str]:
    """The names of all tables: those of this version, then those that commits describe."""
    return list(dict.fromkeys([*schema.TABLES, *sorted(table.name for one in commits for table in one.own.tables)]))


def commits_by_shard(table: str, commits: Sequence[Commit]) -> dict[str, list[Commit]]:
    """Shard of the table -> the commits that name it."""
    found: dict[str, list[Commit]] = {}
    for commit in commits:
        for name in commit.shards_of(table):
            found.setdefault(name, []).append(commit)
    return found


def choose(commits: Sequence[Commit], last: Container[str] = ()) -> dict[str, Stored]:
    """One commit for each run, in order of run_id: a result comes before a failure, a later failure before an earlier
    one; commits of which shards are damaged, `last`, come after all others.

    Equal ranks are ordered by content, so that the same runs published in another layout give the same rows.

    Raises:
        CollisionError: two configurations have one run id.
    """
    chosen: dict[str, Stored] = {}
    for commit in commits:
        columns = commit.rows.select(["run_id", "status"]).to_pydict()
        for row, (run_id, status) in enumerate(zip(*columns.values(), strict=True)):
            stored, other = Stored(commit, row, run_id, status), chosen.get(run_id)
            if other is not None:
                refuse_collision(run_id, other.configuration, stored.configuration)
                stored = min(stored, other, key=lambda one: (one.commit.name in last, one.precedence))
            chosen[run_id] = stored
    return dict(sorted(chosen.items()))


def refuse_collision(run_id: str, one: str, other: str) -> None:
    """Accepts only equal configurations (canonical JSON).

    Raises:
        CollisionError: with both configurations, and the fields in which they differ.
    """
    if one == other:
        return
    first, second = read_configuration(one, run_id), read_configuration(other, run_id)
    fields = sorted(name for name in {**first, **second} if first.get(name) != second.get(name))
    raise CollisionError(
        f"two configurations have the run id {run_id} and differ in {', '.join(fields):.400}: "
        f"{one:.2000} and {other:.2000}"
    )
