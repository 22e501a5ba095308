"""What some faults need of the machine: without it they are not tried, and the table says so."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int, int], None]
"""Receives how many faults were tried, of how many, and how many losses there are."""

IN_MEMORY = Path("/dev/shm")


class NotTriedError(Exception):
    """This fault cannot be injected here; the message says why."""


def need_linux() -> None:
    """Accepts a system with /proc, fork and prctl."""
    if sys.platform != "linux":
        raise NotTriedError("it needs Linux")


def need_strace() -> str:
    """The path of strace, which injects faults into system calls."""
    need_linux()
    found = shutil.which("strace")
    if found is None:
        raise NotTriedError("there is no strace (Debian: apt-get install strace)")
    return found


def scratch_folder() -> str | None:
    """Where results are written whose loss by a power failure is not the question: in memory; None: the default."""
    return str(IN_MEMORY) if os.access(IN_MEMORY, os.W_OK) else None
