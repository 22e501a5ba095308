"""The command line in a process of its own, timed from outside: nothing is warm, nothing is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import IO

from benchmarks.environment import every_processor

CHECKOUT = Path(__file__).resolve().parents[1]
PROCESSES = Path("/proc")
EVERY = 0.05
"""Seconds from one look at the processes to the next: the kernel keeps the largest memory of each."""


class Failed(RuntimeError):
    """A command did not end with 0."""


@dataclass
class Taken:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        parent: bytes that the command itself had in memory at most, pages among them that it shares with others; 0
            where the system does not tell.
        workers: the same of each process that it started.
    """

    seconds: float = 0.0
    parent: int = 0
    workers: dict[int, int] = field(default_factory=dict)


def seconds(words: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> float:
    """How long `bpttlab <words>` takes in that folder, results stored, with these variables set.

    Raises:
        Failed: with the last line that the command said.
    """
    return taken(words, folder, variables).seconds


def taken(
    words: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None, memory: bool = False
) -> Taken:
    """The seconds of `bpttlab <words>` and, if requested, the largest memory of its processes.

    Raises:
        Failed: with the last line that the command said.
    """
    found, begun = Taken(), time.perf_counter()
    with TemporaryFile() as said:
        with every_processor():
            process = subprocess.Popen(
                [sys.executable, "-m", "bpttlab", *words],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT), **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        with watched(process.pid, found) if memory else nullcontext():
            code = process.wait()
        found.seconds = time.perf_counter() - begun
        if code:
            raise Failed(f"bpttlab {' '.join(words)}: {last_line(said, code)}")
    return found


def last_line(said: IO[bytes], code: int) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else str(code)


# ------------------------------------------------------------------------------------------ memory, on Linux


@contextmanager
def watched(process: int, found: Taken) -> Iterator[None]:
    """Notes the largest memory of a process and of its descendants meanwhile."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            found.parent = max(found.parent, largest_memory(process))
            for one in descendants(process):
                found.workers[one] = max(found.workers.get(one, 0), largest_memory(one))

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def largest_memory(process: int) -> int:
    """Bytes in memory at most so far (VmHWM); 0 of a process that has ended, or where there is no /proc."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB", (PROCESSES / str(process) / "status").read_text(), re.MULTILINE)
        return 1024 * int(found[1]) if found else 0
    return 0


def descendants(process: int) -> list[int]:
    """Children, their children and so on."""
    found: list[int] = []
    with suppress(OSError):
        for task in (PROCESSES / str(process) / "task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found + [one for child in found for one in descendants(child)]
