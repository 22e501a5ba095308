"""Messages that cannot be written: a terminal that has gone, a pipe whose reader has ended, a full disk.

Results do not depend on them. Messages of a sweep and all errors go through this module: where a stream refuses one, it
and all that follow are discarded, and the command continues.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


class Lenient:
    """A stream of text that never fails: after the first refusal it is silent. None is a stream that was closed."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = io.StringIO() if stream is None else stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: it is closed
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            silence(self._stream)

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(stream: TextIO) -> None:
    """Discards the rest of a stream that cannot be written: the interpreter would try again at its end."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, stream.fileno())
        finally:
            os.close(nothing)


def print_error(text: str) -> None:
    """Prints to stderr at once, as far as it can be written."""
    print(text, file=Lenient(sys.stderr), flush=True)


def open_closed() -> None:
    """Opens /dev/null in place of standard streams that the caller has closed (`>&-`, a program without a console).

    Otherwise the next file that is opened, such as one of results, has the number of the stream, and what a library
    writes there goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # which has the lowest free number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
