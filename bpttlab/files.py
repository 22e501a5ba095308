"""Files as they are written everywhere: whole or not at all, and on disk when the function returns.

A file is written under a temporary name that begins with a dot, fsynced and renamed, and its folder is fsynced.
Without the fsync, a power failure leaves an empty file under the final name.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

from bpttlab.errors import StoreError


def _add_known(*names: str) -> int:
    """These flags of `os.open`, each of which some systems do not have, added to O_RDONLY."""
    return sum((getattr(os, name, 0) for name in names), os.O_RDONLY)


READING = _add_known("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
"""Flags of `os.open` to read a file as it is: through no link, and without waiting for the other end of a pipe."""


def write_atomically(path: Path, data: bytes) -> None:
    """The file exists with all its bytes or not at all, whatever is killed; after the return it is durable."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _fsync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents; its name is on disk before anything is written to it."""
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    _fsync_folder(folder.parent)


def _fsync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: Path, content: str | bytes) -> Path:
    """Writes a file for a person, durably; a text in UTF-8. The folder is made. Returns the path.

    Raises:
        StoreError: naming the file that cannot be written.
    """
    try:
        if not path.parent.is_dir():
            make_folder(path.parent)
        write_atomically(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    return path
