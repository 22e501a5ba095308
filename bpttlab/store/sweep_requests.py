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
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bpttlab.errors import StoreError
from bpttlab.files import make_folder, write_atomically
from bpttlab.store.shards import NotAFileError, check_is_folder, name_file_in_errors, read_file
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
    folder = _folder(store)
    with name_file_in_errors(folder):
        make_folder(folder)
        write_atomically(folder / f"{name}.json", f"{json.dumps(content, sort_keys=True)}\n".encode())


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


def _folder(store: Store) -> Path:
    """The folder of the records; never by way of a link."""
    check_is_folder(store.path)
    check_is_folder(store.path / SWEEPS_FOLDER)
    return store.path / SWEEPS_FOLDER


def _list_files(store: Store) -> list[Path]:
    """The files of records that there are."""
    folder = _folder(store)
    with name_file_in_errors(folder):
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
    files = [folder / name for name in names if _NAME.fullmatch(name)]
    return [*([store.path / FILE_BEFORE] if os.path.lexists(store.path / FILE_BEFORE) else []), *files]


_REMEDY = "delete it; if its sweep is begun again, it is written anew"


def _read(path: Path, file: str) -> SweepRequest:
    with name_file_in_errors(path):
        try:
            data = read_file(path)
        except NotAFileError:
            raise StoreError(f"{path} is a link or a folder, not a file; {_REMEDY}") from None
    return _interpret(data, path, file)


def _interpret(data: bytes, path: Path, file: str) -> SweepRequest:
    """The bytes of a file, checked: results may come from anywhere."""
    try:
        if len(data) > _LARGEST_BYTES:
            raise ValueError("it is too large")
        content: Any = json.loads(data)
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r:.20}, and this bpttlab reads {VERSION}")
        line, runs, begun = content["line"], content["runs"], content.get("begun", "")
        if not (line is None or isinstance(line, str)) or not isinstance(begun, str):
            raise ValueError("its line or its time is not a string")
        if not all(isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) for run_id in runs):
            raise ValueError("it has an invalid run id")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}: {error}); {_REMEDY}") from None
    return SweepRequest(line, tuple(dict.fromkeys(runs)), begun, file)
