"""Files as they are written everywhere: whole or not at all, and on disk when the function returns.

A file is written under a temporary name of its own, which begins with a dot and names the process, fsynced, read back
and renamed, and its folder is fsynced. Without the fsync, a power failure leaves an empty file under the final name.
Without reading back, a system that says it has written and has not is noticed at the next reading, too late.

No link and no pipe is followed: the temporary file is new, and renaming replaces whatever has the final name. This is
the one module of the package that writes files (`tests/test_files.py`).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from bpttlab import processes
from bpttlab.errors import StoreError


def _add_known(*names: str) -> int:
    """These flags of `os.open`, each of which some systems do not have, added to O_RDONLY."""
    return sum((getattr(os, name, 0) for name in names), os.O_RDONLY)


READING = _add_known("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
"""Flags of `os.open` to read a file as it is: through no link, and without waiting for the other end of a pipe."""

TEMPORARY = re.compile(rf"\.({processes.PATTERN})-[0-9a-f]{{32}}\.tmp")
"""The names of temporary files; the group names the process."""


class NotAFileError(Exception):
    """A link, a folder, a pipe or the like in place of a file."""


# ------------------------------------------------------------------ writing


def write_atomically(path: Path, data: bytes) -> None:
    """The file exists with all its bytes or not at all, whatever is killed; after the return it is durable.

    Raises:
        OSError: it cannot be written, or what is read back is something else.
    """
    temporary = name_temporary(path.parent)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            _forget_pages(file.fileno())
        _check_reads_back(temporary, data)
        os.replace(temporary, path)
        if os.path.lexists(temporary) or not os.path.lexists(path):
            raise OSError(errno.EIO, "it was reported as renamed and is not")
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)


def name_temporary(folder: Path) -> Path:
    """A new name in a folder, of a file that nobody reads."""
    return folder / f".{processes.name_process()}-{uuid.uuid4().hex}.tmp"


def _forget_pages(descriptor: int) -> None:
    """Lets the system drop what it has in memory of a file, so that reading asks the device."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _check_reads_back(path: Path, data: bytes) -> None:
    """Accepts a file that has these bytes.

    Raises:
        OSError: it has others.
    """
    try:
        found = read_file(path, len(data))
    except NotAFileError:
        found = None
    if found != data:
        raise OSError(errno.EIO, "the bytes that were written are not those that are read back")


def create_exclusively(path: Path, data: bytes) -> bool:
    """Creates a small file with O_EXCL, which NFS grants to one of several machines as well; False if there is one.

    It is neither whole at once nor fsynced: its existence is what counts.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, data)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)
    return True


def move(source: Path, target: Path) -> bool:
    """Renames a file or a link, itself and not what it leads to; False if it is no longer there."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        return False
    return True


def link(source: Path, target: Path) -> bool:
    """Gives a file a second name; False if that name is taken."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        return False
    return True


def check_is_writable(folder: Path) -> None:
    """Accepts a folder in which a file can be made; leaves none.

    Raises:
        OSError: none can be made.
    """
    temporary = name_temporary(folder)
    create_exclusively(temporary, b"")
    temporary.unlink()


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents; its name is on disk before anything is written to it."""
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """The names in a folder are on disk after the return."""
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


# ------------------------------------------------------------------ reading, and what stands in the way


def read_file(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file, at most one more than `most`; refuses links and pipes, without waiting.

    Raises:
        NotAFileError: it is a link, a folder or a pipe.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotAFileError(path)
    with open(os.open(path, READING), "rb") as file:
        return file.read() if most is None else file.read(most + 1)


def check_is_folder(path: Path) -> None:
    """Accepts a folder, and a path that does not exist yet.

    Raises:
        StoreError: it is a link or a file, or has a name that no file can have.
    """
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:  # a name that is too long, or has a null character
        raise StoreError(f"results cannot be used: {path}: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISLNK(kind):
        raise StoreError(f"{path} is a link, and results are neither read nor written through links")
    if not stat.S_ISDIR(kind):
        raise StoreError(f"{path} is a file where a folder of results should be")


def own_folder(study: Path, name: str) -> Path:
    """The folder of a study for files of one kind, such as tables; it need not exist.

    Raises:
        StoreError: it, or the study's, is a link or a file.
    """
    check_is_folder(study)
    check_is_folder(study / name)
    return study / name
