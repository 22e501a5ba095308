"""Results on disk: what is reported done survives, what is damaged is named, what is loaded is the same in any layout.

    results/<study>/store/<table>/<SHA-256 of its bytes>.parquet

A batch of finished runs is published as one shard of each table, and the shard of `runs` comes last: its metadata names
the others. It is the commit record. Before it stands under its name nothing has happened, and a shard that no commit
names is nothing to a reader, so there is no state in between, no lock, and nothing to repair after a crash. A shard
never changes; a run that is tried again is a new commit, and the reader chooses.

Publishing is: write a file whose name begins with a dot, fsync it, rename it, fsync the folder. Reading checks every
byte against the name, follows no link and executes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpttlab import schema
from bpttlab.errors import CollisionError, ConfigurationError, DamagedShardError, StoreError, nearest
from bpttlab.identity import canonical, parse

if TYPE_CHECKING:
    import pandas as pd

ORPHAN_AGE = 3600.0
"""Seconds after which a shard that no commit names was left behind, not about to be committed by a slow writer."""

_METADATA = b"bpttlab"
_STUDY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_SHARD = re.compile(r"([0-9a-f]{64})\.parquet")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


class Records(Protocol):
    """What a finished run leaves: its row of `runs`, its provenance, and its rows of the other tables, by column."""

    @property
    def run(self) -> Mapping[str, Any]: ...

    @property
    def provenance(self) -> Mapping[str, Any]: ...

    @property
    def tables(self) -> Mapping[str, Mapping[str, Any]]: ...


@dataclass(frozen=True)
class Commit:
    """A shard of `runs` as read.

    Attributes:
        name: SHA-256 of the shard.
        published: nanoseconds since 1970 on the clock of the writer.
        rows: the fixed columns of `runs`.
        siblings: table -> SHA-256 of the shards published with it.
    """

    name: str
    published: int
    rows: pa.Table
    siblings: Mapping[str, Sequence[str]]

    def named(self, table: str) -> Sequence[str]:
        """The shards of a table that were published with it."""
        return self.siblings.get(table, ())


@dataclass(frozen=True)
class Stored:
    """One run in one commit: `row` of its `rows`."""

    commit: Commit
    row: int
    run_id: str
    status: str
    configuration: str

    @property
    def precedence(self) -> tuple[bool, int, str, str]:
        """Smallest first: a result before a failure, the last failure before others, and then by content."""
        failed = self.status == "failed"
        content = canonical(self.commit.rows.slice(self.row, 1).to_pylist()[0])
        return failed, -self.commit.published if failed else 0, content, self.commit.name


@dataclass
class Damage:
    """Shards that are not what was published, collected to be told all at once."""

    store: Path
    shards: list[str] = field(default_factory=list)
    commits: set[str] = field(default_factory=set)

    def add(self, table: str, name: str, reason: str, commits: Iterable[str]) -> None:
        self.shards.append(f"{table}/{name}.parquet ({reason})")
        self.commits.update(commits)

    def refuse(self) -> None:
        """Raises DamagedShardError if there is any."""
        if self.shards:
            commits = ", ".join(f"runs/{name}.parquet" for name in sorted(self.commits))
            raise DamagedShardError(
                f"damaged in {self.store}: {', '.join(self.shards)}; there, delete {commits} and run the same sweep "
                "again: it repeats the runs that were committed with them"
            )


class NotAFileError(Exception):
    """A link, a folder, a pipe or the like where a file should be."""


class Store:
    """The stored runs of one study.

    Args:
        root: the folder of all results; it need not exist before something is published.
        study: the study's name: letters, digits, `.`, `_` and `-`.

    Raises:
        ConfigurationError: another name.
    """

    def __init__(self, root: Path | str, study: str) -> None:
        if not isinstance(study, str) or not _STUDY.fullmatch(study):
            raise ConfigurationError(
                f"study = {study!r}: must be a name of at most 100 letters (a-z, A-Z), digits, '.', '_' and '-' "
                "that does not begin with a dot"
            )
        self.root = Path(root)
        self.study = study
        self.path = self.root / study
        self._read_before: dict[str, Commit] = {}
        self._made: set[Path] = set()

    def __reduce__(self) -> tuple[type[Store], tuple[Path, str]]:
        return Store, (self.root, self.study)  # what one process has read is not sent to its workers

    # -------------------------------------------------------------- writing

    def writable(self) -> None:
        """Tells whether runs could be published, before any is computed; leaves nothing behind.

        Raises:
            StoreError: the results cannot be written, and why.
        """
        for folder in {_nearest_existing(self._folder(table)) for table in schema.TABLES}:
            with _telling(folder), tempfile.TemporaryFile(dir=folder):
                pass

    def publish(self, records: Sequence[Records]) -> None:
        """Stores runs; when it returns, they survive the death of the process and of the machine.

        Raises:
            StoreError: a column, type or value that the schema does not have, or a file that cannot be written. None
                of these runs is stored then.
        """
        if not records:
            return
        runs, siblings, now = _runs_table(records), _sibling_tables(records), time.time_ns()
        names = {table: [self._put(table, _shard(table, rows, published=now))] for table, rows in siblings.items()}
        self._put("runs", _shard("runs", runs, published=now, siblings=names))

    def sweep_up(self, older_than: float = ORPHAN_AGE) -> list[Path]:
        """Deletes what dead writers left: temporary files, and shards that no commit names.

        Args:
            older_than: seconds since a file was written, before which a living writer may be about to commit it.

        Returns:
            the files deleted.
        """
        old = [path for path in self._left_behind() if _age(path) > older_than]
        commits = self.commits()  # later than the listing: what was committed in between is seen
        named = {table: _namers(table, commits) for table in schema.TABLES}
        orphans = [path for path in old if path.stem not in named[path.parent.name]]
        for path in orphans:
            with _telling(path):
                path.unlink(missing_ok=True)
        return orphans

    def _left_behind(self) -> Iterator[Path]:
        """Temporary files and the shards of all tables but `runs`: those are commits."""
        for table in schema.TABLES:
            for name in self._listing(table):
                if _TEMPORARY.fullmatch(name) or (_SHARD.fullmatch(name) and table != "runs"):
                    yield self._folder(table) / name

    def _put(self, table: str, data: bytes) -> str:
        """Publishes one shard; its name."""
        folder = self._folder(table)
        name = hashlib.sha256(data).hexdigest()
        with _telling(folder):
            self._make_folders(folder)
            _write_atomically(folder / f"{name}.parquet", data)
        return name

    def _make_folders(self, folder: Path) -> None:
        """Makes the folders down to a table's; one that is there may be another writer's, its name not yet on disk."""
        if folder not in self._made:
            if not self.root.is_dir():
                _make_folder(self.root)
            for path in (self.path, folder.parent, folder):
                _make_folder(path)
            self._made.add(folder)

    # -------------------------------------------------------------- reading

    def load(self) -> Study:
        """The study as it is stored now.

        Raises:
            StoreError: there is none, or it is empty or of another version.
            DamagedShardError: the shards of `runs` are damaged, or others are missing. (Each other table is checked
                when it is first asked for.)
            CollisionError: two configurations have one run id.
        """
        if not self._folder().exists():
            raise StoreError(_no_study(self.root, self.study))
        commits = self.commits()
        if not commits:
            raise StoreError(f"study '{self.study}' in {self.root} holds no runs yet")
        return Study(self, commits)

    def statuses(self) -> dict[str, str]:
        """run_id -> done, failed or diverged, of all stored runs; nothing if there is no such study."""
        return {run_id: stored.status for run_id, stored in choose(self.commits()).items()}

    def configurations(self) -> dict[str, str]:
        """run_id -> configuration (canonical JSON), of all stored runs."""
        return {run_id: stored.configuration for run_id, stored in choose(self.commits()).items()}

    def refuse_collisions(self, planned: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuses to run what has the id of something else that is stored.

        Args:
            planned: run_id -> configuration.

        Raises:
            CollisionError: naming both configurations.
        """
        configurations = self.configurations()
        for run_id in planned.keys() & configurations.keys():
            _refuse_collision(run_id, configurations[run_id], canonical(planned[run_id]))

    def verify(self) -> int:
        """Reads every committed shard of every table; the number of shards.

        Raises:
            DamagedShardError: naming all that are damaged or missing.
        """
        self._read_before.clear()
        damage = Damage(self._folder("store"))
        commits = self._commits(damage)
        for table in schema.TABLES:
            for name, namers in _namers(table, commits).items():
                self._checked(table, name, damage, namers)
        damage.refuse()
        return len(commits) + sum(len(_namers(table, commits)) for table in schema.TABLES)

    def commits(self) -> list[Commit]:
        """All commits, checked, in order of their names.

        Raises:
            DamagedShardError: one is damaged, or names a shard that is missing.
        """
        damage = Damage(self._folder("store"))
        commits = self._commits(damage)
        for table in schema.TABLES:
            there = self._listing(table)
            for name, namers in _namers(table, commits).items():
                if f"{name}.parquet" not in there:
                    damage.add(table, name, "missing", namers)
        damage.refuse()
        return commits

    def rows(self, table: str, commits: Sequence[Commit]) -> dict[str, pa.Table]:
        """The rows of a table that were published with these commits: shard -> rows, in order of the shards' names.

        Raises:
            DamagedShardError: naming all that are damaged or missing.
        """
        damage, found = Damage(self._folder("store")), {}
        for name, namers in sorted(_namers(table, commits).items()):
            data = self._checked(table, name, damage, namers)
            if data is not None:
                found[name] = self._open(table, name, data)[0]
        damage.refuse()
        return found

    def _commits(self, damage: Damage) -> list[Commit]:
        names = sorted(match[1] for match in map(_SHARD.fullmatch, self._listing("runs")) if match)
        return [commit for name in names if (commit := self._commit(name, damage)) is not None]

    def _commit(self, name: str, damage: Damage) -> Commit | None:
        if name not in self._read_before:
            data = self._checked("runs", name, damage, [name])
            if data is None:
                return None
            rows, about = self._open("runs", name, data)
            with _naming_what_is_no_shard(self._folder("runs") / f"{name}.parquet"):
                self._read_before[name] = Commit(name, int(about["published"]), rows, _siblings(about))
        return self._read_before[name]

    def _checked(self, table: str, name: str, damage: Damage, commits: Iterable[str]) -> bytes | None:
        """The bytes of a shard if they are those that were published; else None, and the damage is noted."""
        path = self._folder(table) / f"{name}.parquet"
        data = None
        with _telling(path):
            try:
                data = _read(path)
                reason = "its bytes are not those that were published"
            except FileNotFoundError:
                reason = "missing"
            except NotAFileError:
                reason = "a link or a folder, not a file"
        if data is not None and hashlib.sha256(data).hexdigest() == name:
            return data
        damage.add(table, name, reason, commits)
        return None

    def _open(self, table: str, name: str, data: bytes) -> tuple[pa.Table, dict[str, Any]]:
        """The rows of a shard and what its metadata says; the version is looked at before anything else is."""
        path = self._folder(table) / f"{name}.parquet"
        with _naming_what_is_no_shard(path):
            file = pq.ParquetFile(pa.BufferReader(data))
            about = parse(file.schema_arrow.metadata[_METADATA].decode())
            if about["schema_version"] != schema.SCHEMA_VERSION:
                raise StoreError(
                    f"{path} was written with version {about['schema_version']} of the tables; "
                    f"this bpttlab reads version {schema.SCHEMA_VERSION}"
                )
            rows = file.read(columns=schema.TABLES[table].schema.names, use_threads=False)
            if about["table"] != table:
                raise LookupError(f"it says that it belongs to {about['table']}")
        rows = rows.replace_schema_metadata(None)
        if not rows.schema.equals(schema.TABLES[table].schema):
            raise StoreError(f"{path} does not have the columns of table '{table}'")
        return rows, about

    # -------------------------------------------------------------- folders

    def _folder(self, table: str | None = None) -> Path:
        """The study's folder, that of its store ("store"), or that of a table; never by way of a link."""
        parts = [] if table is None else ["store"] if table == "store" else ["store", table]
        folder = self.path
        _refuse_what_is_no_folder(folder)
        for part in parts:
            folder = folder / part
            _refuse_what_is_no_folder(folder)
        return folder

    def _listing(self, table: str) -> set[str]:
        folder = self._folder(table)
        with _telling(folder):
            return set(os.listdir(folder)) if folder.exists() else set()


class Study:
    """The tables of a study as pandas frames: `study.runs`, `study.jacobians`, … (`docs/tables.md`).

    Each is read when it is first asked for. Beside their own columns the tables of measures have those of their run's
    configuration, and `network_id` and `status`. Rows are sorted by run_id and the table's keys, so that a frame does
    not depend on the files that it came from.

    Attributes:
        name: the study's name.
        path: its folder.
    """

    def __init__(self, store: Store, commits: Sequence[Commit]) -> None:
        self.name = store.study
        self.path = store.path
        self._store = store
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
        shards = self._store.rows(name, [commit for commit, _ in self._taken])
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


def load(study: str, results: Path | str = "results") -> Study:
    """A stored study: `load("first").runs` is the table of its runs.

    Raises:
        StoreError: no such study, with the nearest name; an empty one; one of another version of the tables.
        DamagedShardError: files are not what was published; each is named, with what to do.
        CollisionError: two configurations have one run id.
    """
    return Store(results, study).load()


def studies(results: Path | str = "results") -> list[str]:
    """The names of the studies stored in a folder of results."""
    root = Path(results)
    return sorted(path.parent.name for path in root.glob("*/store") if _STUDY.fullmatch(path.parent.name))


def choose(commits: Sequence[Commit]) -> dict[str, Stored]:
    """One commit for each run, in order of run_id: a result outranks a failure, a later failure an earlier one.

    Equal ranks are told apart by content, so that the same runs published in another layout give the same rows.

    Raises:
        CollisionError: two configurations have one run id.
    """
    chosen: dict[str, Stored] = {}
    for commit in commits:
        columns = commit.rows.select(["run_id", "status", "configuration"]).to_pydict()
        for row, (run_id, status, configuration) in enumerate(zip(*columns.values(), strict=True)):
            stored, other = Stored(commit, row, run_id, status, configuration), chosen.get(run_id)
            if other is not None:
                _refuse_collision(run_id, other.configuration, configuration)
                stored = min(stored, other, key=lambda candidate: candidate.precedence)
            chosen[run_id] = stored
    return dict(sorted(chosen.items()))


def _refuse_collision(run_id: str, one: str, other: str) -> None:
    if one == other:
        return
    first, second = schema.flatten(parse(one)), schema.flatten(parse(other))
    fields = sorted(name for name in {**first, **second} if first.get(name) != second.get(name))
    raise CollisionError(
        f"two configurations have the run id {run_id} and differ in {', '.join(fields)}: {one} and {other}"
    )


def _no_study(root: Path, study: str) -> str:
    if not root.is_dir():
        return f"there is no folder of results {root}: run a sweep first, or say where they are with results="
    return f"there is no study '{study}' in {root}.{nearest(study, studies(root))}"


def _namers(table: str, commits: Sequence[Commit]) -> dict[str, list[str]]:
    """Shard of the table -> the commits that name it."""
    namers: dict[str, list[str]] = {}
    for commit in commits:
        for name in commit.named(table):
            namers.setdefault(name, []).append(commit.name)
    return namers


# ------------------------------------------------------------------ records -> bytes


def _runs_table(records: Sequence[Records]) -> pa.Table:
    rows = [{**record.run, "configuration": _canonical(record.run)} for record in records]
    known: set[str] = set()
    for row in rows:
        what, status = f"run {row.get('run_id')}", row.get("status")
        if status not in schema.STATUSES:
            raise StoreError(f"{what} has status = {status!r}: must be one of {', '.join(schema.STATUSES)}")
        if what in known:
            raise StoreError(f"{what} is there twice in what was to be published")
        known.add(what)
    return schema.runs_and_configurations(rows)


def _canonical(run: Mapping[str, Any]) -> str:
    """The configuration of a row of `runs`, given as JSON or as a mapping."""
    value = run.get("configuration")
    plain = parse(value) if isinstance(value, str) else value
    if not isinstance(plain, Mapping):
        raise StoreError(
            f"run {run.get('run_id')} has configuration = {value!r:.80}: must be a mapping, or one as JSON"
        )
    return canonical(plain)


def _sibling_tables(records: Sequence[Records]) -> dict[str, pa.Table]:
    """The rows of all runs by table, without tables that have none."""
    parts: dict[str, list[pa.Table]] = {name: [] for name in schema.TABLES if name != "runs"}
    for record in records:
        run_id, provenance = record.run["run_id"], {name: [value] for name, value in record.provenance.items()}
        for name, columns in {**record.tables, "provenance": provenance}.items():
            if name not in parts:
                raise StoreError(f"run {run_id} has rows of an unknown table '{name}'.{nearest(name, parts)}")
            parts[name].append(schema.rows_of_run(schema.TABLES[name], run_id, columns))
    tables = {name: pa.concat_tables(rows) for name, rows in parts.items() if rows}
    return {name: table for name, table in tables.items() if table.num_rows}


def _shard(table: str, rows: pa.Table, **about: Any) -> bytes:
    """The bytes of a shard: its rows and, as metadata, its table, the version and what else there is to say."""
    described = canonical({"schema_version": schema.SCHEMA_VERSION, "table": table, **about})
    repeating = [column.name for column in rows.schema if column.type != pa.float64()]
    sink = pa.BufferOutputStream()
    whole = rows.combine_chunks().replace_schema_metadata({_METADATA: described})
    pq.write_table(whole, sink, compression="zstd", use_dictionary=repeating)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _siblings(about: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The shards that a commit names: only tables that there are, and only names that a shard can have."""
    siblings = {table: tuple(names) for table, names in about["siblings"].items()}
    for table, names in siblings.items():
        if (
            table not in schema.TABLES
            or table == "runs"
            or not all(_SHARD.fullmatch(f"{name}.parquet") for name in names)
        ):
            raise LookupError(f"it names what cannot be a shard, {table}: {names}")
    return siblings


@contextmanager
def _naming_what_is_no_shard(path: Path) -> Iterator[None]:
    """Its bytes are what its name says, but this program did not write them."""
    foreign = (pa.ArrowException, ConfigurationError, LookupError, TypeError, AttributeError, ValueError, OSError)
    try:
        yield
    except foreign as error:
        raise StoreError(f"{path} is not a shard of bpttlab ({type(error).__name__}: {error})") from None


# ------------------------------------------------------------------ bytes -> files


def _write_atomically(path: Path, data: bytes) -> None:
    """The file is there with all its bytes or not at all, whatever dies; after the return it stays."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _fsync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Makes a folder and those above it; its name is on disk before anything is put into it."""
    if not folder.parent.is_dir():
        _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    _fsync_folder(folder.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    """The bytes of a regular file; a link is refused, and a pipe too, without waiting for its other end."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotAFileError(path)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read()


def _nearest_existing(folder: Path) -> Path:
    return folder if os.path.lexists(folder) else _nearest_existing(folder.parent)


def _age(path: Path) -> float:
    """Seconds since a file was written; 0 if it is no longer there."""
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _refuse_what_is_no_folder(path: Path) -> None:
    if path.is_symlink():
        raise StoreError(f"{path} is a link, and results are neither read nor written through links")
    if os.path.lexists(path) and not path.is_dir():
        raise StoreError(f"{path} is a file where a folder of results should be")


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """An error of the operating system as one line that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"results cannot be used: {path}: {error.strerror or error}") from None
