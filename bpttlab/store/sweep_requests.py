"""The record of every sweep that was requested of a study: one file for each line in results/<study>/sweeps/.

    {"begun": "2026-11-29T20:51:07.123456+00:00", "line": "bpttlab sweep study=first 'seed=range(0,8)'",
     "runs": ["0a1b…", …], "version": 1}

A file is written before the first run is computed, so that missing runs are known however the sweep ends. A sweep that
finds everything stored also writes it, if it can. Its name is a hash of the line, so that a line that is repeated has
one file; a sweep from Python has no line, and the name is a hash of its runs. Sweeps at the same time write different
files. No number depends on them, and a study without them is complete. Who deletes one withdraws that request.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bpttlab.errors import StoreError
from bpttlab.store.records import list_records, read_record, to_bytes, write_record
from bpttlab.store.shards import check_is_folder
from bpttlab.store.store import Store

SWEEPS_FOLDER = "sweeps"
FILE_BEFORE = "last_sweep.json"
"""The one file that earlier versions wrote, of the last sweep alone."""

VERSION = 1
_LARGEST_BYTES = 1 << 26
"""A million runs have about 36 million bytes."""

_RUN_ID = re.compile(r"[0-9a-f]{32,128}")
_NAME = re.compile(r"[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class SweepRequest:
    """A sweep that was begun.

    Attributes:
        line: the command; None: it was begun from Python.
        runs: the ids of its runs.
        begun: when it was last begun, ISO 8601, UTC; empty: not known.
        file: its file, from the study's folder.
    """

    line: str | None
    runs: tuple[str, ...]
    begun: str = ""
    file: str = ""


def write_request(store: Store, line: str | None, run_ids: Iterable[str]) -> None:
    """Records the runs that a sweep is about to compute; it replaces the record of the same line.

    Raises:
        StoreError: the file cannot be written.
    """
    runs = sorted(run_ids)
    content = {"version": VERSION, "line": line, "runs": runs, "begun": datetime.now(UTC).isoformat()}
    name = hashlib.sha256((line or " ".join(runs)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    check_is_folder(store.path)
    check_is_folder(store.path / SWEEPS_FOLDER)  # never by way of a link
    write_record(store.path / SWEEPS_FOLDER / f"{name}.json", to_bytes(content))


def read_requests(store: Store) -> tuple[list[SweepRequest], dict[str, str]]:
    """Every sweep that was requested, in the order in which they were last begun; and file -> reason of those that
    cannot be read.
    """
    found, damaged = [], {}
    for path in _list_files(store):
        file = str(path.relative_to(store.path))
        try:
            found.append(_read(path, file))
        except StoreError as error:
            damaged[file] = str(error)
    return sorted(found, key=lambda request: (request.begun, request.file)), damaged


def find_last_line(store: Store) -> str | None:
    """The line of the last sweep; None if there is none, or if it was begun from Python.

    Raises:
        StoreError: the study's folder cannot be read.
    """
    requests, _ = read_requests(store)
    return requests[-1].line if requests else None


def _list_files(store: Store) -> list[Path]:
    """The files of records that there are."""
    files = list_records(store.path / SWEEPS_FOLDER, _NAME)
    return [*([store.path / FILE_BEFORE] if os.path.lexists(store.path / FILE_BEFORE) else []), *files]


_REMEDY = "delete it; if its sweep is begun again, it is written anew"


def _read(path: Path, file: str) -> SweepRequest:
    return read_record(path, VERSION, _LARGEST_BYTES, partial(_interpret, file), _REMEDY)


def _interpret(file: str, content: Any) -> SweepRequest:
    line, runs, begun = content["line"], content["runs"], content.get("begun", "")
    if not (line is None or isinstance(line, str)) or not isinstance(begun, str):
        raise ValueError("its line or its time is not a string")
    if not all(isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) for run_id in runs):
        raise ValueError("it has an invalid run id")
    return SweepRequest(line, tuple(dict.fromkeys(runs)), begun, file)
