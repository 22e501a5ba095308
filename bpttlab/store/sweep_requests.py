"""The record of every sweep that was requested of a study: one file for each line in results/<study>/sweeps/.

    {"begun": "2026-11-29T20:51:07.123456+00:00", "line": "bpttlab sweep study=first 'seed=range(0,8)'",
     "runs": ["0a1b…", …], "sha256": "3f2a…", "version": 2}

A file is written before the first run is computed, so that missing runs are known however the sweep ends. A sweep that
finds everything stored also writes it, if it can. Its name is a hash of the line, so that a line that is repeated has
one file; a sweep from Python has no line, and the name is a hash of its runs. Sweeps at the same time write different
files. No number depends on them, and a study without them is complete. Who deletes one withdraws that request.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpttlab.files import own_folder
from bpttlab.store.damage import Damage
from bpttlab.store.records import list_records, read_record, read_records, to_bytes, write_record

if TYPE_CHECKING:
    from bpttlab.store.store import Store

SWEEPS_FOLDER = "sweeps"
VERSION = 2
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


def write_request(store: Store, line: str | None, run_ids: Iterable[str]) -> str:
    """Records the runs that a sweep is about to compute; it replaces the record of the same line.

    Returns:
        its file, from the study's folder.

    Raises:
        StoreError: the file cannot be written.
    """
    runs = sorted(run_ids)
    content = {"version": VERSION, "line": line, "runs": runs, "begun": datetime.now(UTC).isoformat()}
    name = name_request(line, runs)
    write_record(own_folder(store.path, SWEEPS_FOLDER) / name, to_bytes(content))
    return f"{SWEEPS_FOLDER}/{name}"


def name_request(line: str | None, runs: Sequence[str]) -> str:
    """The name of the file of a line, or of runs that were requested from Python."""
    return f"{hashlib.sha256((line or ' '.join(runs)).encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"


def read_requests(study: Path, damage: Damage) -> list[SweepRequest]:
    """Every sweep that was requested of a study, in the order in which they were last begun; what cannot be read is
    noted as damaged.
    """
    found = read_records(list_records(study / SWEEPS_FOLDER, _NAME), _read, damage)
    return sorted(found, key=lambda request: (request.begun, request.file))


def find_last_line(store: Store) -> str | None:
    """The line of the last sweep; None if there is none, or if it was begun from Python.

    Raises:
        StoreError: the study's folder cannot be read.
    """
    requests = read_requests(store.path, Damage(store.path))
    return requests[-1].line if requests else None


def _read(path: Path) -> SweepRequest:
    return read_record(path, VERSION, _LARGEST_BYTES, partial(_interpret, path.name))


def _interpret(name: str, content: Any) -> SweepRequest:
    line, runs, begun = content["line"], content["runs"], content.get("begun", "")
    if not (line is None or isinstance(line, str)) or not isinstance(begun, str):
        raise ValueError("its line or its time is not a string")
    if not all(isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) for run_id in runs):
        raise ValueError("it has an invalid run id")
    if name != name_request(line, runs):
        raise ValueError("its name is that of another line")
    return SweepRequest(line, tuple(dict.fromkeys(runs)), begun, f"{SWEEPS_FOLDER}/{name}")
