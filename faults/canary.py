"""What input must not cause, noticed by Python's audit events: processes, pickles, code from a text, other files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bpttlab import user_environment
from bpttlab.sweeps import blas_threads

EXECUTES = (
    *(
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "subprocess.Popen",
        "os.startfile",
    ),
    *("pickle.find_class", "ctypes.dlopen", "socket.connect", "socket.bind", "pty.spawn", "os.kill"),
    *("webbrowser.open", "urllib.Request", "os.chdir", "logging.config", "signal.pthread_kill"),
)
CHANGES = ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod")
OWN_VARIABLES = (*blas_threads.VARIABLES, user_environment.BACKEND)
"""What every command sets."""
OF_CLASSES = (("_find_and_load", "<frozen importlib"), ("get_type_hints", "typing"))
"""Functions, with the stems of their files, below which Python compiles the texts of classes."""
OF_LOOPS = (("load_overload", "caching"),)
"""The same, below which Numba reads machine code that it has kept: its index is a pickle of its own."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Canary:
    """Lists the events that input must not cause. An audit hook cannot be removed: there is one, which is watched.

    Attributes:
        seen: what happened while it was watched.
        folders: where files may be written.
    """

    def __init__(self) -> None:
        self.watched = False
        self.seen: list[str] = []
        self.folders: Sequence[str] = ()
        sys.addaudithook(self.take)

    def take(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watched:
            return
        self.watched = False  # what is done here is no input's doing
        try:
            if self.is_forbidden(event, arguments):
                self.seen.append(f"{event} {arguments!r}"[:300])
        finally:
            self.watched = True

    def is_forbidden(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "pickle.find_class" and is_below(OF_LOOPS):
            return False
        if event in EXECUTES or (event == "exec" and is_from_text(arguments[0]) and not is_below(OF_CLASSES)):
            return True
        if event == "os.putenv":
            return os.fsdecode(arguments[0]) not in OWN_VARIABLES
        if event == "open":
            return bool(arguments[2] & WRITES) and self.is_elsewhere(arguments[0])
        return event in CHANGES and self.is_elsewhere(arguments[0])

    def is_elsewhere(self, path: Any) -> bool:
        """Whether a path that is written is in none of the folders. Python's own caches are no result."""
        if isinstance(path, int) or str(path) == os.devnull or "__pycache__" in str(path):
            return False
        real = os.path.realpath(os.fsdecode(path))
        return not any(Path(real).is_relative_to(folder) for folder in self.folders)

    @contextmanager
    def watch(self, *folders: str | Path) -> Iterator[list[str]]:
        """What happens meanwhile; files may be written in these folders."""
        self.seen, self.folders = [], [os.path.realpath(folder) for folder in folders]
        self.watched = True
        try:
            yield self.seen
        finally:
            self.watched = False


def is_from_text(code: Any) -> bool:
    """Whether code was compiled from a text, and not from a module's file."""
    name = getattr(code, "co_filename", "")
    return name.startswith("<") and not name.startswith("<frozen")


def is_below(functions: Sequence[tuple[str, str]]) -> bool:
    """Whether one of these functions has been called and has not returned."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if (frame.f_code.co_name, Path(frame.f_code.co_filename).stem) in functions:
            return True
    return False
