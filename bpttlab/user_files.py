"""A user's files: read within limits, identified by their content, and remembered until they change.

Nothing in a file is executed: archives are read without pickle. A fault is refused in one line that begins with the
field that names the file.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import zipfile
from collections.abc import Callable, Collection, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.lib import format as npy

from bpttlab.errors import ConfigurationError, LabError, NonFiniteError, nearest
from bpttlab.fields import Field
from bpttlab.numerics.array import Array

LARGEST_BYTES = 1 << 30
"""Largest file, and largest content of one that is packed."""

FILES_REMEMBERED = 16

_DIGITS = 32
"""How many of the 64 digits that sha256sum shows of a file are kept, as many as a run's id has."""

Content = Annotated[
    str | None,
    Field(description="SHA-256 of the file, 32 digits or all 64: a file with other bytes is refused; null: any file"),
]
"""The field by which a configuration names the bytes of a file."""


def read_user_file(
    field: str, path: str, endings: Collection[str] | None, understand: Callable[..., Any], *requested: Hashable
) -> Any:
    """What `understand(data, ending, content, *requested)` makes of a file.

    A file is read again only when its size, its inode or its time of modification has changed.

    Args:
        field: what named the file, for messages.
        path: from the current folder; ~ is the home folder.
        endings: of the names of files that can be read, with their dots; None: any.
        understand: takes the file's bytes, the ending of its name in lower case, its `content`, and `requested`.

    Raises:
        ConfigurationError: there is no such file, or something is wrong in it.
        NonFiniteError: it holds a NaN or an infinity where `understand` does not allow one.
    """
    try:
        status = os.stat(make_absolute(path))
        refuse_kind(path, status, endings)
        return remember(understand, make_absolute(path), status.st_size, status.st_mtime_ns, status.st_ino, *requested)
    except (ConfigurationError, NonFiniteError) as error:
        raise type(error)(f"{field}={path!r}: {error}") from None
    except FileNotFoundError:
        raise ConfigurationError(f"{field}={path!r}: there is no such file.{_nearest_file(path, endings)}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{field}={path!r}: cannot be read: {reason}") from None


def make_absolute(path: str) -> str:
    """The path from the root, ~ being the home folder."""
    return os.path.abspath(os.path.expanduser(path))


def show_path(path: str) -> str:
    """An absolute path for a message: from the current folder, if the file is below it."""
    short = os.path.relpath(path)
    return path if short.startswith(os.pardir) else short


def content(data: bytes) -> str:
    """By what a file is known: the first 128 bits of the SHA-256 of its bytes, 32 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def refuse_other_content(field: str, wanted: str | None, path: str, found: str) -> None:
    """Refuses a file whose SHA-256 differs from the requested one, given in full or by its first digits."""
    if wanted is not None and wanted[:_DIGITS] != found:
        raise ConfigurationError(f"{field}: SHA-256 mismatch: expected {wanted}, {path} has {found}")


def refuse_change(path: str, before: str | None, found: str) -> None:
    """Refuses a file that has changed since the run was configured."""
    if found != before:
        raise LabError(f"{path} has changed since the run was configured: start the sweep again")


def refuse_kind(path: str, status: os.stat_result, endings: Collection[str] | None) -> None:
    """Refuses a file of an unknown format or of too large a size, before it is opened."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError("is not a file")
    if endings is not None and Path(path).suffix.lower() not in endings:
        raise ConfigurationError(f"must end in {', '.join(endings)}")
    refuse_size(status.st_size)


def refuse_size(size: int, largest: int | None = None) -> None:
    largest = LARGEST_BYTES if largest is None else largest
    if size > largest:
        raise ConfigurationError(f"holds {size} bytes: must be at most {largest}")


def _nearest_file(path: str, endings: Collection[str] | None) -> str:
    """A suggestion: the existing file with the nearest name."""
    try:
        names = os.listdir(Path(make_absolute(path)).parent)
    except OSError:
        return ""
    return nearest(Path(path).name, [name for name in names if endings is None or Path(name).suffix.lower() in endings])


@lru_cache(maxsize=FILES_REMEMBERED)
def remember(
    understand: Callable[..., Any], path: str, size: int, modified: int, inode: int, *requested: Hashable
) -> Any:
    data = Path(path).read_bytes()
    try:
        return understand(data, Path(path).suffix.lower(), content(data), *requested)
    except LabError:
        raise
    except Exception as error:  # bytes from anywhere: whatever the libraries that unpack them say of them
        raise ConfigurationError(f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from None


# ------------------------------------------------------------------ .npz


def unpack(data: bytes, refuse: Callable[[Collection[str]], None] = lambda names: None) -> dict[str, bytes]:
    """The arrays of a .npz archive by name, as .npy files; `refuse` sees the names before anything is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        refuse(members)
        refuse_size(sum(info.file_size for info in members.values()))
        return {name: archive.read(info) for name, info in members.items()}


def array_of(name: str, data: bytes, kinds: str = "biuf") -> Array:
    """The array of a .npy file, with a dtype of these kinds. Its header is compared with its size first."""
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, in_columns, dtype = header(stream)
    if dtype.kind not in kinds:
        raise ConfigurationError(f"array {name!r} has the type {dtype}: must be numbers")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ConfigurationError(f"array {name!r} is damaged: it has not as many bytes as its header says")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if in_columns else "C")
