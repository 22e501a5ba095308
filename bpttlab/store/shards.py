"""Rows as shards: finished runs to tables, a table to bytes, bytes to a file, and back.

A shard has rows of one table. Its file is named by the SHA-256 of its bytes, so that any damage is detected. It exists
whole or not at all (`files.write_atomically`). Reading follows no link and executes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from bpttlab.errors import DamagedShardError, SchemaError, StoreError, nearest
from bpttlab.files import READING, write_atomically
from bpttlab.store import schema
from bpttlab.store.column import NO_COLUMNS, MeasureColumns, Table
from bpttlab.store.identity import canonical, parse_canonical
from bpttlab.store.own_columns import from_plain, unite
from bpttlab.store.stored_text import MOST_COLUMNS, read_metadata

METADATA = b"bpttlab"
"""The key under which the file's own metadata says what it is."""

SHARD = re.compile(r"([0-9a-f]{64})\.parquet")
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


# ------------------------------------------------------------------ records -> tables


class Records(Protocol):
    """The results of a finished run: its row of `runs`, its provenance, and its rows of the other tables, by column."""

    @property
    def run(self) -> Mapping[str, Any]: ...

    @property
    def provenance(self) -> Mapping[str, Any]: ...

    @property
    def tables(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    def own(self) -> MeasureColumns: ...


@dataclass(frozen=True)
class Finished:
    """Finished runs as checked rows of all tables: workers send them, and the parent publishes them.

    Attributes:
        runs: the fixed columns of the table `runs`.
        configurations: the columns of each run's configuration; their types follow from all runs published together.
        siblings: the rows of the other tables, without empty tables.
        own: the tables and columns of a user's own measures.
    """

    runs: pa.Table
    configurations: Sequence[Mapping[str, Any]]
    siblings: Mapping[str, pa.Table]
    own: MeasureColumns = NO_COLUMNS

    @classmethod
    def of(cls, records: Sequence[Records]) -> Finished:
        """The rows of one run or more.

        Raises:
            SchemaError: a column, type or value that the schema does not have.
        """
        described = [_describe_configuration(record.run) for record in records]
        flat = [text.columns for text in described]
        rows = [{**record.run, "configuration": text} for record, text in zip(records, described, strict=True)]
        for row in rows:
            if row.get("status") not in schema.STATUSES:
                what = f"run {row.get('run_id')} has status = {row.get('status')!r}"
                raise SchemaError(f"{what}: must be one of {', '.join(schema.STATUSES)}")
        own = unite(record.own for record in records)
        runs = schema.rows_of_runs_table(rows, flat, own.summary)
        return cls(runs, flat, sibling_tables(records, own), own)

    @classmethod
    def join(cls, parts: Sequence[Finished]) -> Finished:
        """The rows of several, one after another."""
        names = {name: None for part in parts for name in part.siblings}
        own = unite(part.own for part in parts)
        known = {**schema.TABLES, **{table.name: table for table in own.tables}}
        siblings = {
            name: pa.concat_tables(
                [schema.conform(part.siblings[name], known[name]) for part in parts if name in part.siblings]
            )
            for name in names
        }
        flat = [columns for part in parts for columns in part.configurations]
        runs = schema.runs_with(own.summary)
        return cls(pa.concat_tables([schema.conform(part.runs, runs) for part in parts]), flat, siblings, own)

    def column(self, name: str) -> list[Any]:
        """A fixed column of `runs`."""
        values: list[Any] = self.runs[name].to_pylist()
        return values

    def runs_table(self) -> pa.Table:
        """The rows of `runs`, each with its configuration as a text and as columns.

        Raises:
            SchemaError: a run is there twice.
        """
        known: set[str] = set()
        for run_id in self.column("run_id"):
            if run_id in known:
                raise SchemaError(f"run {run_id} occurs twice among the runs to publish")
            known.add(run_id)
        return schema.with_configuration(self.runs, schema.configuration_columns(self.configurations))


def _describe_configuration(run: Mapping[str, Any]) -> schema.Described:
    """The configuration of a row of `runs`, given as a text of ours, as any JSON or as a mapping."""
    value = run.get("configuration")
    if isinstance(value, schema.Described):
        return value
    plain = parse_canonical(value) if isinstance(value, str) else value
    if not isinstance(plain, Mapping):
        raise SchemaError(
            f"run {run.get('run_id')} has configuration = {value!r:.80}: must be a mapping, or one as JSON"
        )
    text = canonical(plain)
    return schema.Described(text, schema.flatten(plain if text == value else parse_canonical(text)))


def sibling_tables(records: Sequence[Records], own: MeasureColumns = NO_COLUMNS) -> dict[str, pa.Table]:
    """The rows of all runs by table, without empty tables."""
    known = {**schema.TABLES, **{table.name: table for table in own.tables}}
    parts: dict[str, list[tuple[str, Mapping[str, Any]]]] = {name: [] for name in known if name != "runs"}
    for record in records:
        run_id, provenance = record.run["run_id"], {name: [value] for name, value in record.provenance.items()}
        for name, columns in {**record.tables, "provenance": provenance}.items():
            if name not in parts:
                raise SchemaError(f"run {run_id} has rows of an unknown table '{name}'.{nearest(name, parts)}")
            parts[name].append((run_id, columns))
    tables = {name: schema.rows_of_runs(known[name], runs) for name, runs in parts.items() if runs}
    return {name: table for name, table in tables.items() if table.num_rows}


# ------------------------------------------------------------------ a table -> bytes, and back


def serialise(table: str, rows: pa.Table, **about: Any) -> bytes:
    """The bytes of a shard: its rows, and as metadata its table, the version and further facts."""
    described = canonical({"schema_version": schema.SCHEMA_VERSION, "table": table, **about})
    repeating = [column.name for column in rows.schema if column.type != pa.float64()]
    sink = pa.BufferOutputStream()
    whole = rows.combine_chunks().replace_schema_metadata({METADATA: described})
    pq.write_table(whole, sink, compression="zstd", use_dictionary=repeating)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def deserialise(data: bytes, path: Path, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of a shard and its metadata; the version is checked first.

    Args:
        columns: those to read; None: all of its table.

    Raises:
        StoreError: it has another version, or is not a shard of the table of its folder; the message names `path`.
    """
    name = path.parent.name
    with name_foreign_shard(path):
        file = pq.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_columns > MOST_COLUMNS:
            raise LookupError(f"it has {file.metadata.num_columns} columns")
        about = read_metadata(file.schema_arrow.metadata[METADATA])
        if about["schema_version"] != schema.SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written with version {about['schema_version']} of the tables; "
                f"this bpttlab reads version {schema.SCHEMA_VERSION}"
            )
        table = table_of_shard(name, about)
        if about["table"] != name:
            raise LookupError(f"its metadata names the table {about['table']}")
        known = set(table.names)
        if not pa.schema([field for field in file.schema_arrow if field.name in known]).equals(table.schema):
            raise StoreError(f"{path} does not have the columns of table '{name}'")
        chosen = table.names if columns is None else list(columns)
        rows = file.read(columns=chosen, use_threads=False).select(chosen)
    return rows.replace_schema_metadata(None), about


def table_of_shard(name: str, about: Mapping[str, Any]) -> Table:
    """The columns of a shard: those of this version, and those that it describes itself."""
    declared = from_plain(about["own"]) if "own" in about else NO_COLUMNS
    if name == "runs":
        return schema.runs_with(declared.summary)
    return {**schema.TABLES, **{table.name: table for table in declared.tables}}[name]


@contextmanager
def name_foreign_shard(path: Path) -> Iterator[None]:
    """Handles a file whose SHA-256 is right but which this program did not write."""
    try:
        yield
    except StoreError as error:
        if not isinstance(error, SchemaError):
            raise
        raise StoreError(f"{path} is not a shard of bpttlab ({error})") from None
    except Exception as error:  # bytes from anywhere: whatever the libraries that read them say of them
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} is not a shard of bpttlab ({type(error).__name__}: {reason:.200})") from None


# ------------------------------------------------------------------ bytes -> a shard in its folder, and back


def shard_path(folder: Path, name: str) -> Path:
    """The file of a shard."""
    return folder / f"{name}.parquet"


def write_shard(folder: Path, data: bytes) -> str:
    """Writes a shard to the folder of its table and returns its name."""
    name = hashlib.sha256(data).hexdigest()
    write_atomically(shard_path(folder, name), data)
    return name


def read_shard(path: Path, damage: Damage, commits: Iterable[str]) -> bytes | None:
    """The bytes of a shard if its SHA-256 is right; else None, and the damage is noted."""
    data = None
    with name_file_in_errors(path):
        try:
            data = read_file(path)
            reason = "its bytes are not those that were published"
        except FileNotFoundError:
            reason = "missing"
        except NotAFileError:
            reason = "a link or a folder, not a file"
    if data is not None and hashlib.sha256(data).hexdigest() == path.stem:
        return data
    damage.add(path, reason, commits)
    return None


@dataclass
class Damage:
    """Damaged shards, collected for one error message."""

    store: Path
    shards: dict[str, str] = field(default_factory=dict)
    commits: set[str] = field(default_factory=set)

    def add(self, shard: Path, reason: str, commits: Iterable[str]) -> None:
        """Notes a shard, its fault, and the commits that name it."""
        self.shards[f"{shard.parent.name}/{shard.name}"] = reason
        self.commits.update(commits)

    @property
    def remedy(self) -> str:
        """What the user can do."""
        commits = ", ".join(f"runs/{name}.parquet" for name in sorted(self.commits))
        return (
            f"there, delete {commits} and run the same sweep again: it repeats the runs that were committed with them"
        )

    def refuse(self) -> None:
        """Raises DamagedShardError if any shard is damaged."""
        if self.shards:
            named = ", ".join(f"{shard} ({reason})" for shard, reason in self.shards.items())
            raise DamagedShardError(f"damaged in {self.store}: {named}; {self.remedy}")


# ------------------------------------------------------------------ files and folders


class NotAFileError(Exception):
    """A link, a folder, a pipe or the like in place of a file."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; refuses links and pipes, without waiting for the other end of a pipe."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotAFileError(path)
    with open(os.open(path, READING), "rb") as file:
        return file.read()


def age(path: Path) -> float:
    """Seconds since a file was written; 0 if it is no longer there."""
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest existing folder above it."""
    return folder if os.path.lexists(folder) else nearest_existing(folder.parent)


def check_is_folder(path: Path) -> None:
    """Accepts a folder, and a path that does not exist yet."""
    if path.is_symlink():
        raise StoreError(f"{path} is a link, and results are neither read nor written through links")
    if os.path.lexists(path) and not path.is_dir():
        raise StoreError(f"{path} is a file where a folder of results should be")


@contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Turns an error of the operating system into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"results cannot be used: {path}: {error.strerror or error}") from None
