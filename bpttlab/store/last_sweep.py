"""The record of the last sweep of a study: results/<study>/last_sweep.json.

    {"line": "bpttlab sweep study=first 'seed=range(0,8)'", "runs": ["0a1b…", …], "version": 1}

It is written before the first run is computed, so that missing runs are known however the sweep ends. A sweep that
finds everything stored also writes it, if it can. No number depends on it, and a study without it is complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpttlab.errors import StoreError
from bpttlab.files import make_folder, write_atomically
from bpttlab.store.shards import (
    NotAFileError,
    check_is_folder,
    name_file_in_errors,
    read_file,
)
from bpttlab.store.store import Store

FILE = "last_sweep.json"
VERSION = 1
_LARGEST_BYTES = 1 << 26
"""A million runs have about 36 million bytes."""

_RUN_ID = re.compile(r"[0-9a-f]{32,128}")


@dataclass(frozen=True)
class LastSweep:
    """A sweep that was begun.

    Attributes:
        line: the command; None: it was begun from Python.
        runs: the ids of its runs.
    """

    line: str | None
    runs: tuple[str, ...]


def write_last_sweep(store: Store, line: str | None, run_ids: Iterable[str]) -> None:
    """Records the runs that a sweep is about to compute; it replaces the former record.

    Raises:
        StoreError: the file cannot be written.
    """
    content = {"version": VERSION, "line": line, "runs": sorted(run_ids)}
    check_is_folder(store.path)
    with name_file_in_errors(store.path / FILE):
        make_folder(store.path)
        write_atomically(store.path / FILE, f"{json.dumps(content, sort_keys=True)}\n".encode())


def read_last_sweep(store: Store) -> LastSweep | None:
    """The record of the last sweep; None if there is none.

    Raises:
        StoreError: the file was not written by `write_last_sweep`.
    """
    path = store.path / FILE
    check_is_folder(store.path)
    with name_file_in_errors(path):
        try:
            data = read_file(path)
        except FileNotFoundError:
            return None
        except NotAFileError:
            raise StoreError(f"{path} is a link or a folder, not a file; {_REMEDY}") from None
    return _interpret(data, path)


_REMEDY = "delete it, and the next sweep writes it anew"


def _interpret(data: bytes, path: Path) -> LastSweep:
    """The bytes of the file, checked: results may come from anywhere."""
    try:
        if len(data) > _LARGEST_BYTES:
            raise ValueError("it is too large")
        content: Any = json.loads(data)
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r:.20}, and this bpttlab reads {VERSION}")
        line, runs = content["line"], content["runs"]
        if not (line is None or isinstance(line, str)):
            raise ValueError("its line is not a string")
        if not all(isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) for run_id in runs):
            raise ValueError("it has an invalid run id")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}: {error}); {_REMEDY}") from None
    return LastSweep(line, tuple(dict.fromkeys(runs)))
