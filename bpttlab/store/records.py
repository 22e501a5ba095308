"""Small records beside the runs of a study: JSON with a version and a SHA-256, written whole and checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from bpttlab.errors import DamagedShardError
from bpttlab.files import NotAFileError, check_is_folder, make_folder, read_file, write_atomically
from bpttlab.store.damage import Damage
from bpttlab.store.shards import name_file_in_errors
from bpttlab.store.stored_text import describe_unreadable

_T = TypeVar("_T")


def to_bytes(content: dict[str, Any]) -> bytes:
    """A record as it is stored, with the SHA-256 of its content: equal contents have equal bytes."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{json.dumps({**content, 'sha256': digest}, sort_keys=True)}\n".encode()


def write_record(path: Path, data: bytes) -> None:
    """Writes a record; its folder is made.

    Raises:
        StoreError: it cannot be written.
    """
    with name_file_in_errors(path):
        make_folder(path.parent)
        write_atomically(path, data)


def list_records(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """The records of a folder in the order of their names; none where there is no folder.

    Raises:
        StoreError: the folder, or that of the study above it, is a link or a file, or cannot be read.
    """
    for path in (folder.parent, folder):
        check_is_folder(path)
    with name_file_in_errors(folder):
        names = os.listdir(folder) if folder.exists() else []
    return [folder / found for found in sorted(filter(name.fullmatch, names))]


def read_record(path: Path, version: int, largest: int, interpret: Callable[[Any], _T]) -> _T:
    """A record, checked: results may come from anywhere.

    Args:
        path: in a folder of its kind in the study's folder.
        version: the only one that can be read.
        largest: its most bytes.
        interpret: makes the value of the content; raises ValueError, LookupError, TypeError or AttributeError.

    Raises:
        DamagedShardError: it is not what was written, or is no record.
        StoreError: it cannot be read.
    """
    reason = "a link or a folder, not a file"
    with name_file_in_errors(path), suppress(NotAFileError):
        data = read_file(path, largest)
        try:
            return interpret(_parse(data, version, largest))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            reason = f"it is not what was written: {describe_unreadable(error)}"
    damage = Damage(path.parents[1])
    damage.add(path, reason)
    raise DamagedShardError(f"{path} cannot be read ({reason}); {damage.remedy}", reason)


def _parse(data: bytes, version: int, largest: int) -> dict[str, Any]:
    """The content of a record; its version and SHA-256 are right.

    Raises:
        ValueError, LookupError, TypeError, RecursionError: they are not, or it is no record.
    """
    if len(data) > largest:
        raise ValueError("it is too large")
    content: dict[str, Any] = json.loads(data)
    if content["version"] != version:
        raise ValueError(f"it has version {content['version']!r:.20}, and this bpttlab reads {version}")
    del content["sha256"]
    if to_bytes(content) != data:
        raise ValueError("its SHA-256 is not that of its content")
    return content


def read_records(paths: Iterable[Path], read: Callable[[Path], _T], damage: Damage) -> list[_T]:
    """The records that can be read; the others are noted as damaged."""
    found = []
    for path in paths:
        try:
            found.append(read(path))
        except DamagedShardError as error:
            damage.add(path, error.reason)
    return found
