"""Small records beside the runs of a study: JSON with a version, written whole and checked when they are read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bpttlab.errors import StoreError
from bpttlab.files import make_folder, write_atomically
from bpttlab.store.shards import NotAFileError, check_is_folder, name_file_in_errors, read_file

_T = TypeVar("_T")


def to_bytes(content: dict[str, Any]) -> bytes:
    """A record as it is stored: equal contents have equal bytes."""
    return f"{json.dumps(content, sort_keys=True)}\n".encode()


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


def read_record(path: Path, version: int, largest: int, interpret: Callable[[Any], _T], remedy: str) -> _T:
    """A record, checked: results may come from anywhere.

    Args:
        version: the only one that can be read.
        largest: its most bytes.
        interpret: makes the value of the content; raises ValueError, LookupError, TypeError or AttributeError.
        remedy: the end of every message.

    Raises:
        StoreError: naming the file.
    """
    with name_file_in_errors(path):
        try:
            data = read_file(path)
        except NotAFileError:
            raise StoreError(f"{path} is a link or a folder, not a file; {remedy}") from None
    try:
        if len(data) > largest:
            raise ValueError("it is too large")
        content: Any = json.loads(data)
        if content["version"] != version:
            raise ValueError(f"version {content['version']!r:.20}, and this bpttlab reads {version}")
        return interpret(content)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}: {error}); {remedy}") from None
