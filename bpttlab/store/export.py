"""A study as files for other programs: every table whole, each run once, checked as it is read.

    <folder>/<table>.parquet     <folder>/<table>.csv     <folder>/<study>.duckdb

The columns are those of `load` (`docs/tables.md`). The files under store/ are plain Parquet too, but a program that
reads them has to leave out runs that are stored twice and files that no commit names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from bpttlab.errors import ConfigurationError, LabError, nearest
from bpttlab.escapes import escape_csv
from bpttlab.files import own_folder, publish
from bpttlab.store.study import Study

FOLDER_OF_EXPORTS = "export"


def export(study: Study, format: str = "parquet", folder: Path | None = None, tables: Iterable[str] = ()) -> list[Path]:
    """Writes tables of a study for other programs; the files.

    Args:
        format: parquet, csv (a string that a spreadsheet would run has an apostrophe before it) or duckdb (one file
            with all tables; it needs the package duckdb).
        folder: results/<study>/export by default; it is made, and files of these names are replaced.
        tables: their names; by default all that have rows.

    Raises:
        ConfigurationError: an unknown format.
        StoreError: an unknown table, a damaged file, or a file that cannot be written.
        LabError: duckdb is not installed.
    """
    if format not in WRITERS:
        raise ConfigurationError(
            f"format={format}: must be one of {', '.join(WRITERS)}.{nearest(format, list(WRITERS))}"
        )
    names = list(dict.fromkeys(tables)) or list(study.tables)
    return WRITERS[format](study, names, own_folder(study.path, FOLDER_OF_EXPORTS) if folder is None else Path(folder))


def write_parquet(study: Study, names: Iterable[str], folder: Path) -> list[Path]:
    """One Parquet file for each table."""
    return [publish(folder / f"{name}.parquet", parquet_bytes(study.arrow(name))) for name in names]


def parquet_bytes(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def write_csv(study: Study, names: Iterable[str], folder: Path) -> list[Path]:
    """One file of comma-separated values for each table; a missing value is empty."""
    return [publish(folder / f"{name}.csv", csv_bytes(study.arrow(name))) for name in names]


def csv_bytes(rows: pa.Table) -> bytes:
    escaped = [escape_column(column) if pa.types.is_string(column.type) else column for column in rows.columns]
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.table(escaped, names=[escape_csv(name) for name in rows.column_names]), sink)
    return sink.getvalue().to_pybytes()


def escape_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strings for a spreadsheet; each value is escaped once."""
    encoded = column.combine_chunks().dictionary_encode()
    values = pa.array([escape_csv(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return pc.take(values, encoded.indices)


def write_duckdb(study: Study, names: Iterable[str], folder: Path) -> list[Path]:
    """One DuckDB file with all tables."""
    duckdb = import_duckdb()
    with tempfile.TemporaryDirectory() as workplace:
        path = Path(workplace) / "study.duckdb"
        with duckdb.connect(str(path)) as connection:
            for name in names:
                connection.register("rows_of_table", study.arrow(name))
                connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM rows_of_table')
                connection.unregister("rows_of_table")
        return [publish(folder / f"{study.name}.duckdb", path.read_bytes())]


def import_duckdb() -> Any:
    """The package, which only this format needs.

    Raises:
        LabError: it is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise LabError("format=duckdb needs the package duckdb: pip install 'bpttlab[duckdb]'") from None
    return duckdb


WRITERS: dict[str, Callable[[Study, Iterable[str], Path], list[Path]]] = {
    "parquet": write_parquet,
    "csv": write_csv,
    "duckdb": write_duckdb,
}
