"""Rows as shards: finished runs to tables, a table to bytes, bytes to a file, and back.

A shard has rows of one table. Its file is named by the SHA-256 of its bytes, so that any damage is detected. It exists
whole or not at all (`files.write_atomically`). Reading follows no link and executes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpttlab.errors import OtherVersionError, SchemaError, StoreError, nearest
from bpttlab.files import NotAFileError, read_file
from bpttlab.store import schema
from bpttlab.store.column import NO_COLUMNS, MeasureColumns, Table
from bpttlab.store.damage import Damage
from bpttlab.store.identity import LARGEST_CANONICAL, canonical, parse_canonical
from bpttlab.store.own_columns import from_plain, unite
from bpttlab.store.stored_text import MOST_COLUMNS, describe_unreadable, read_metadata

if TYPE_CHECKING:
    from bpttlab.store.commits import Commit

METADATA = b"bpttlab"
"""The key under which the file's own metadata says what it is."""

MOST_FILE_BYTES = 1 << 29
"""Largest file of a shard."""

MOST_CELLS = 1 << 25
"""Most rows times columns of a shard: 256 MiB of numbers. More rows are published as several shards."""

MOST_TEXT_BYTES = 1 << 28
"""Most bytes that the strings of a shard have, each counted as often as it occurs."""

SHARD = re.compile(r"([0-9a-f]{64})\.parquet")


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
        OtherVersionError: it has another version.
        StoreError: it is not a shard of the table of its folder; the message names `path`.
    """
    with name_foreign_shard(path):
        rows, about = decode_rows(data, path, columns)
        return decode_strings(rows), about


def check_is_shard(data: bytes, path: Path) -> None:
    """Accepts what `deserialise` decodes, in half of its time: the strings are checked and not made.

    Raises:
        StoreError: as `deserialise`.
    """
    with name_foreign_shard(path):
        rows, _ = decode_rows(data, path)
        check_strings(rows)


def decode_rows(data: bytes, path: Path, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of a shard, each string once in a dictionary of its column, and its metadata.

    Raises:
        Exception: it is no shard of the table of its folder (see `name_foreign_shard`).
    """
    footer = check_footer(data)
    table, about = check_shard(footer, path)
    chosen = table.names if columns is None else list(columns)
    texts = [name for name in chosen if table.schema.field(name).type == pa.string()]
    file = pq.ParquetFile(pa.BufferReader(data), metadata=footer, read_dictionary=texts)
    rows = file.read(columns=chosen, use_threads=False).select(chosen)
    if rows.num_rows != footer.num_rows:
        raise LookupError(f"it has {rows.num_rows} rows, and says that it has {footer.num_rows}")
    return rows.replace_schema_metadata(None), about


def check_shard(footer: pq.FileMetaData, path: Path) -> tuple[Table, dict[str, Any]]:
    """The table of a shard and its metadata.

    Raises:
        StoreError, LookupError: it is of another version, of another table or has other columns.
    """
    about, name = read_metadata(text_of_metadata(footer)), path.parent.name
    if about["schema_version"] != schema.SCHEMA_VERSION:
        raise OtherVersionError(
            f"{path} was written with version {about['schema_version']} of the tables; "
            f"this bpttlab reads version {schema.SCHEMA_VERSION}: sweep again into another study"
        )
    table = table_of_shard(name, about)
    if about["table"] != name:
        raise LookupError(f"its metadata names the table {about['table']}")
    there = footer.schema.to_arrow_schema()
    if not all(there.get_field_index(field.name) >= 0 for field in table.schema):
        raise StoreError(f"{path} does not have the columns of table '{name}'")
    if not pa.schema([there.field(name) for name in table.names]).equals(table.schema):
        raise StoreError(f"{path} does not have the columns of table '{name}'")
    return table, about


def read_about(data: bytes) -> dict[str, Any]:
    """What a shard says of itself.

    Raises:
        Exception: it is no shard (see `name_foreign_shard`).
    """
    return read_metadata(text_of_metadata(pq.read_metadata(pa.BufferReader(data))))


def text_of_metadata(footer: pq.FileMetaData) -> bytes:
    """The text by which a shard says what it is.

    Raises:
        LookupError: it has none.
    """
    text: bytes | None = (footer.metadata or {}).get(METADATA)
    if text is None:
        raise LookupError("it does not say that bpttlab wrote it")
    return text


def check_footer(data: bytes) -> pq.FileMetaData:
    """The footer of a Parquet file, of which nothing else is decoded yet.

    Raises:
        LookupError: its rows would take more memory than those of any shard.
    """
    footer = pq.read_metadata(pa.BufferReader(data))
    if footer.num_columns > MOST_COLUMNS:
        raise LookupError(f"it has {footer.num_columns} columns")
    if footer.num_rows * footer.num_columns > MOST_CELLS:
        raise LookupError(f"it has {footer.num_rows} rows of {footer.num_columns} columns: at most {MOST_CELLS} cells")
    if sum(footer.row_group(place).total_byte_size for place in range(footer.num_row_groups)) > MOST_FILE_BYTES:
        raise LookupError(f"it has more than {MOST_FILE_BYTES} bytes unpacked")
    return footer


def decode_strings(rows: pa.Table) -> pa.Table:
    """The rows with plain strings.

    Raises:
        LookupError: see `check_strings`.
    """
    check_strings(rows)
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(place, field.with_type(pa.string()), rows.column(place).cast(pa.string()))
    return rows


def check_strings(rows: pa.Table) -> None:
    """Accepts rows whose strings can be decoded.

    Raises:
        LookupError: they are too long: a string that is stored once may occur in a million rows. Or one is not UTF-8.
    """
    for column, field in zip(rows.columns, rows.schema, strict=True):
        if pa.types.is_dictionary(field.type):
            refuse_invalid_text(column, field.name)
            refuse_long_text(column)


def refuse_invalid_text(column: pa.ChunkedArray, name: str) -> None:
    """Accepts a column of dictionaries whose strings are UTF-8.

    Raises:
        LookupError: one is not, or a row names none of them.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raise LookupError(f"the column {name:.80} has a value that is no text in UTF-8") from None


def refuse_long_text(column: pa.ChunkedArray) -> None:
    """Accepts a column of dictionaries whose strings have few bytes, each counted as often as it occurs.

    Raises:
        LookupError: they have too many, or one string is too long.
    """
    lengths = [pc.binary_length(chunk.dictionary) for chunk in column.chunks]
    longest = max((pc.max(one).as_py() or 0 for one in lengths), default=0)
    if longest > LARGEST_CANONICAL:
        raise LookupError(f"it has a string of more than {LARGEST_CANONICAL} bytes")
    if longest * len(column) <= MOST_TEXT_BYTES:  # there is no need to count
        return
    pairs = zip(lengths, column.chunks, strict=True)
    if sum(pc.sum(pc.take(one, chunk.indices).cast(pa.int64())).as_py() or 0 for one, chunk in pairs) > MOST_TEXT_BYTES:
        raise LookupError(f"it has more than {MOST_TEXT_BYTES} bytes of strings")


def split_rows(rows: pa.Table) -> list[pa.Table]:
    """The rows in parts that are shards, a shard each."""
    texts = sum(column.nbytes for column in rows.columns if pa.types.is_string(column.type))
    parts = max(-(-rows.num_rows * rows.num_columns // MOST_CELLS), -(-2 * texts // MOST_TEXT_BYTES), 1)
    size = max(-(-rows.num_rows // parts), 1)
    return [rows.slice(begin, size) for begin in range(0, max(rows.num_rows, 1), size)]


def table_of_shard(name: str, about: Mapping[str, Any]) -> Table:
    """The columns of a shard: those of this version, and those that it describes itself."""
    declared = from_plain(about["own"]) if "own" in about else NO_COLUMNS
    if name == "runs":
        return schema.runs_with(declared.summary)
    known = {**schema.TABLES, **{table.name: table for table in declared.tables}}
    if name not in known:
        raise LookupError(f"there is no table {name:.80}")
    return known[name]


@contextmanager
def name_foreign_shard(path: Path) -> Iterator[None]:
    """Handles a file whose SHA-256 is right but which this program did not write."""
    try:
        yield
    except StoreError as error:
        if not isinstance(error, SchemaError):
            raise
        raise StoreError(f"{path} is not a file that bpttlab wrote: {error}") from None
    except Exception as error:  # bytes from anywhere: whatever the libraries that read them say of them
        raise StoreError(f"{path} is not a file that bpttlab wrote: {describe_unreadable(error)}") from None


# ------------------------------------------------------------------ bytes -> a shard in its folder, and back


def shard_path(folder: Path, name: str) -> Path:
    """The file of a shard."""
    return folder / f"{name}.parquet"


def name_shard(data: bytes) -> str:
    """The name of a shard: the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()


def read_shard(path: Path, damage: Damage, commits: Iterable[Commit] = ()) -> bytes | None:
    """The bytes of a shard if its SHA-256 is right; else None, and the damage is noted."""
    data = None
    with name_file_in_errors(path):
        try:
            data = read_file(path, MOST_FILE_BYTES)
            reason = "its bytes are not those that were published"
        except FileNotFoundError:
            reason = "missing"
        except NotAFileError:
            reason = "a link or a folder, not a file"
    if data is not None and len(data) <= MOST_FILE_BYTES and name_shard(data) == path.stem:
        return data
    damage.add(path, reason, commits)
    return None


# ------------------------------------------------------------------ files and folders


class Stamp(NamedTuple):
    """What changes when a file is written."""

    written: int
    size: int
    number: int


def stamp(path: Path) -> Stamp | None:
    """The time of writing, the size and the inode of a file; None if it does not exist."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def describe_fault(error: StoreError, path: Path) -> str:
    """What an error says of a path that it begins with."""
    return " ".join(str(error).removeprefix(str(path)).removeprefix(" is ").split())


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest existing folder above it."""
    return folder if os.path.lexists(folder) else nearest_existing(folder.parent)


@contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Turns an error of the operating system into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"results cannot be used: {path}: {error.strerror or error}") from None
