"""The operations on files of a sweep, in their order: what a power failure may cut off.

strace records them, or, where it is missing, functions of `os` that are replaced in the sweep's process.
"""

from __future__ import annotations

import math
import os
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from bpttlab import files
from bpttlab.store.shards import Finished
from bpttlab.store.store import Store
from bpttlab.sweeps import scheduler
from faults import children, studies

CREATE, WRITE, FSYNC, RENAME, LINK, MKDIR, REMOVE, DONE = (
    *("create", "write", "fsync", "rename", "link"),
    *("mkdir", "remove", "done"),
)
TRACED = "openat,write,fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat,rmdir"
REPORT = b"runs reported as done: "


class Operation(NamedTuple):
    """An operation that succeeded.

    Attributes:
        kind: CREATE, WRITE (at the end), FSYNC, RENAME, LINK, MKDIR, REMOVE, or DONE: runs were reported as done.
        path: from the folder above the results.
        target: the second path of RENAME and LINK.
        data: the bytes of WRITE; of DONE, the ids of the runs.
    """

    kind: str
    path: str
    target: str = ""
    data: bytes = b""


def sweep(results: Path) -> int:
    """A sweep with a commit for each bundle, which says after each which runs are done."""
    publish = Store.publish_rows

    def report(self: Store, finished: Finished) -> str:
        commit = publish(self, finished)
        os.write(2, REPORT + " ".join(finished.column("run_id")).encode() + b"\n")
        return commit

    with patch.object(Store, "publish_rows", report), patch.object(scheduler, "PUBLISHING_SHARE", math.inf):
        return studies.sweep(results)


def read_reports(said: str) -> set[str]:
    """The runs that a sweep has said are done."""
    whole = said.rpartition("\n")[0].splitlines()
    lines = [line.partition(REPORT.decode())[2] for line in whole]
    return {run_id for line in lines for run_id in line.split()}


def sweep_without_fsync(results: Path) -> int:
    """The same sweep, which leaves it to the system when anything is on disk: it must be found out."""
    with patch.object(os, "fsync", lambda descriptor: None):
        return sweep(results)


# ------------------------------------------------------------------ by strace


def record(folder: Path, work: Callable[[Path], int] = sweep) -> list[Operation]:
    """The operations of a sweep into `folder`/results, which it makes.

    Raises:
        RuntimeError: the sweep fails.
    """
    log = folder.with_suffix(".calls")
    inject = ["-s", str(1 << 24), "-xx", "-e", f"trace={TRACED}"]
    ended = children.run(partial(work, folder / "results"), folder.with_suffix(".said"), log, inject)
    if ended.code != 0:
        raise RuntimeError(f"the sweep without a fault has exit code {ended.code}: {ended.said}")
    return list(read_log(log, folder))


_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>")
_NAMES = {"openat": CREATE, "fdatasync": FSYNC, "unlink": REMOVE, "unlinkat": REMOVE, "rmdir": REMOVE}
_PLAIN = ("at2", "at")


def read_log(log: Path, folder: Path) -> Iterator[Operation]:
    """The operations in a log of strace with paths and bytes in hexadecimal digits."""
    for line in log.read_text(encoding="ascii").splitlines():
        match = _CALL.match(line)
        if match and int(match[3]) >= 0 and not (match[1] == "openat" and "O_CREAT" not in match[2]):
            yield from interpret(match[1], match[2], folder)


def interpret(call: str, arguments: str, folder: Path) -> Iterator[Operation]:
    """The operation of a call, if it is one on a file in the folder, or a report."""
    texts = [decode(text) for text in _TEXT.findall(arguments)]
    descriptor = _DESCRIPTOR.match(arguments)
    kind = _NAMES.get(call, next((call.removesuffix(end) for end in _PLAIN if call.endswith(end)), call))
    if kind in (WRITE, FSYNC):
        assert descriptor is not None
        path, data = os.fsdecode(decode(descriptor[2])), texts[0] if texts else b""
        if kind == WRITE and descriptor[1] == "2" and data.startswith(REPORT):
            yield Operation(DONE, "", data=data.removeprefix(REPORT).strip())
        names = [path]
    else:
        names, data = [os.fsdecode(text) for text in texts], b""
    if all(Path(name).is_relative_to(folder) for name in names):
        path, target = [*(str(Path(name).relative_to(folder)) for name in names), ""][:2]
        yield Operation(kind, path, target, data)


def decode(text: str) -> bytes:
    """The bytes of a text of strace."""
    return bytes.fromhex(text.replace("\\x", ""))


# ------------------------------------------------------------------ by replaced functions


def record_in_process(folder: Path, work: Callable[[Path], int] = sweep) -> list[Operation]:
    """The same operations where there is no strace, from functions of `os` in a child.

    Raises:
        RuntimeError: the sweep fails.
    """
    log = folder.with_suffix(".pickle")
    ended = children.run(partial(sweep_watched, folder, work, log), folder.with_suffix(".said"))
    if ended.code != 0:
        raise RuntimeError(f"the sweep without a fault has exit code {ended.code}: {ended.said}")
    return [Operation(*fields) for fields in pickle.loads(log.read_bytes())]


def sweep_watched(folder: Path, work: Callable[[Path], int], log: Path) -> int:
    """A sweep whose operations are written to a file."""
    found: list[Operation] = []
    with watch(folder, found):
        code = work(folder / "results")
    log.write_bytes(pickle.dumps([tuple(one) for one in found]))
    return code


@contextmanager
def watch(folder: Path, found: list[Operation]) -> Iterator[None]:
    """In this block the functions of `os` that change files also append what they did in the folder."""

    def note(kind: str, *paths: Any, data: bytes = b"") -> None:
        names = [os.readlink(f"/proc/self/fd/{one}") if isinstance(one, int) else os.fspath(one) for one in paths]
        if all(Path(name).is_relative_to(folder) for name in names):
            path, target = [*(str(Path(name).relative_to(folder)) for name in names), ""][:2]
            found.append(Operation(kind, path, target, data))

    def wrap(name: str, kind: str, count: int = 1) -> Callable[..., Any]:
        function = getattr(os, name)

        def call(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            note(kind, *arguments[:count])
            return result

        return call

    opening, writing, making = os.open, os.write, open

    def open_descriptor(path: Any, flags: int, *others: Any, **named: Any) -> int:
        descriptor = opening(path, flags, *others, **named)
        if flags & os.O_CREAT:
            note(CREATE, path)
        return descriptor

    def write(descriptor: int, data: bytes) -> int:
        if descriptor == 2 and data.startswith(REPORT):
            found.append(Operation(DONE, "", data=data.removeprefix(REPORT).strip()))
        note(WRITE, descriptor, data=data)
        return writing(descriptor, data)

    def open_file(path: Any, mode: str = "r", *others: Any) -> Any:
        if "x" not in mode:
            return making(path, mode, *others)
        file = NotedFile(making(path, mode, *others), partial(note, WRITE))
        note(CREATE, path)
        return file

    one = {"fsync": FSYNC, "unlink": REMOVE, "remove": REMOVE, "rmdir": REMOVE, "mkdir": MKDIR}
    two = {"replace": RENAME, "rename": RENAME, "link": LINK}
    watched: dict[str, Any] = {name: wrap(name, kind) for name, kind in one.items()}
    watched |= {name: wrap(name, kind, 2) for name, kind in two.items()}
    with (
        patch.multiple(os, **watched, open=open_descriptor, write=write),
        patch.object(files, "open", open_file, create=True),
    ):
        yield


class NotedFile:
    """A new file; what is written to it is noted."""

    def __init__(self, file: Any, note: Callable[..., None]) -> None:
        self.file, self.note = file, note

    def write(self, data: bytes) -> int:
        self.note(self.file.fileno(), data=data)
        return int(self.file.write(data))

    def __enter__(self) -> NotedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
