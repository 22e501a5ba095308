"""System calls that fail, or are the last ones, without strace: the functions of `os` that write do it.

Python's functions are replaced in a child of this process.
"""

from __future__ import annotations

import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bpttlab import files
from faults import children, studies

CALLS = ("open", "write", "fsync", "replace", "rename", "link", "mkdir", "rmdir", "unlink")
KILL = "SIGKILL"


class Calls:
    """Counts the calls that touch a folder, and lets one of them fail.

    Args:
        folder: of the results.
        number: which call, from 1; 0: none.
        fault: the name of an error, or KILL.
    """

    def __init__(self, folder: Path, number: int = 0, fault: str = KILL) -> None:
        self.folder, self.number, self.fault = folder, number, fault
        self.count = 0

    def check(self, *arguments: Any) -> None:
        """Counts a call.

        Raises:
            OSError: this one fails.
        """
        if not any(self._is_inside(one) for one in arguments):
            return
        self.count += 1
        if self.count != self.number:
            return
        if self.fault == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            number = getattr(errno, self.fault)
            raise OSError(number, os.strerror(number))

    def _is_inside(self, argument: Any) -> bool:
        """Whether an argument is a path in the folder, or the descriptor of a file there."""
        if isinstance(argument, int) and not isinstance(argument, bool):
            argument = os.readlink(f"/proc/self/fd/{argument}") if os.path.lexists(f"/proc/self/fd/{argument}") else ""
        return isinstance(argument, str | os.PathLike) and str(argument).startswith(str(self.folder))

    @contextmanager
    def watch(self) -> Iterator[None]:
        """In this block the functions are replaced."""
        watched: dict[str, Any] = {name: self._wrap(getattr(os, name)) for name in CALLS}
        with patch.multiple(os, **watched), patch.object(files, "open", self._wrap(open), create=True):
            yield

    def _wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.check(*arguments)
            return function(*arguments, **named)

        return call


def sweep(results: Path, number: int, fault: str) -> int:
    """A sweep in this process during which a call fails, or is the last one; the exit code."""
    with Calls(results, number, fault).watch():
        return studies.sweep(results)


def count_calls(results: Path) -> int:
    """How many calls a sweep has."""
    calls = Calls(results)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), calls.watch():
        studies.sweep(results)
    return calls.count


def attempt(folder: Path, whole: studies.Found, number: int, fault: str) -> list[str]:
    """Sweeps with one fault and once more without, each in a child; the losses."""
    results = folder / "results"
    ended = children.run(partial(sweep, results, number, fault), folder / "said")
    losses = [*studies.judge(ended, studies.inspect(results), whole)]
    healed = children.run(studies.sweeping(results), folder / "healed")
    losses += studies.judge_healed(healed, studies.inspect(results), whole)
    return [f"{fault} at call {number}: {loss}" for loss in losses]
