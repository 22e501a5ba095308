"""`bpttlab export`: the tables of a study as files for other programs, each run once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bpttlab.cli.arguments import RESULTS, STUDY, Key, add_command, key_values, load_study, say

_DESCRIPTION = """\
Writes the stored tables of a study as Parquet, CSV or a DuckDB file for other programs. Each run counts once, and every
stored file is checked. The columns are those of bpttlab.load (docs/tables.md)."""

_TEXT = """\
examples:

  bpttlab export study=first                               results/first/export/runs.parquet, jacobians.parquet, ...
  bpttlab export study=first format=csv table=runs         one table; a missing value is empty
  bpttlab export study=first format=duckdb to=/data        /data/first.duckdb, with all tables (needs duckdb)

Exporting again replaces the files. Summaries over networks are written by bpttlab tables.
Exit code: 0: success; 1: a stored file is damaged and was left out; 2: the command could not finish; the message
says why.
"""

EXPORT_FORMAT = Key("format", "the format of the files (parquet)", "parquet", ("parquet", "csv", "duckdb"))
EXPORT_TABLE = Key("table", "only these tables, with commas between (default: all that have rows)")
TO = Key("to", "the folder of the files (results/NAME/export)", value="FOLDER")


def register(commands: Any) -> None:
    """Adds `bpttlab export`."""
    add_command(
        commands,
        "export",
        _command,
        (STUDY, EXPORT_FORMAT, EXPORT_TABLE, TO, RESULTS),
        summary="write the stored tables as Parquet, CSV or DuckDB for other programs",
        usage="study=NAME [format=parquet|csv|duckdb] [table=NAME] [to=FOLDER] [results=FOLDER]",
        description=_DESCRIPTION,
        text=_TEXT,
    )


def _command(parsed: argparse.Namespace) -> int:
    """Writes the files and says where they are."""
    chosen = key_values(parsed.words, parsed.keys, "export")
    from bpttlab.store.export import export

    folder = Path(chosen["to"]) if chosen["to"] else None
    tables = [name for name in chosen["table"].split(",") if name]
    paths = export(load_study(chosen), chosen["format"], folder, tables)
    say("\n".join(map(str, paths)))
    return 0
