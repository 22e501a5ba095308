"""The progress of a sweep: one bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from itertools import islice
from typing import TypeVar

from tqdm import tqdm

from bpttlab.streams import Lenient, print_error

SECONDS_BETWEEN_LINES = 15.0

SILENT_SECONDS = 1.5
"""Seconds of planning that nothing is said of."""

T = TypeVar("T")


class Progress:
    """Counts runs that are stored; to be used in a `with` statement. A stream that cannot be written is no error.

    Args:
        total: runs to do.
        shown: True or False, or None: a bar if stderr is a terminal, else lines.
    """

    def __init__(self, total: int, shown: bool | None = None) -> None:
        self.total = total
        self.statuses: Counter[str] = Counter()
        self.elsewhere = 0
        self.in_lines = shown is None and not Lenient(sys.stderr).isatty()
        hidden = None if shown is None else not shown
        self.bar = tqdm(total=total, unit="run", disable=hidden, smoothing=0.1, file=Lenient(sys.stderr))
        self.begun = self.last_line = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def add(self, statuses: Mapping[str, int]) -> None:
        """So many more runs are stored with each status."""
        self.statuses.update(statuses)
        self._advance(sum(statuses.values()))

    def add_elsewhere(self, runs: int) -> None:
        """Other launchers have computed so many more runs."""
        self.elsewhere += runs
        self._advance(runs)

    def _advance(self, runs: int) -> None:
        unusual = {status: n for status, n in self.statuses.items() if status != "done" and n}
        others = {"by others": self.elsewhere} if self.elsewhere else {}
        self.bar.set_postfix({**unusual, **others}, refresh=False)
        self.bar.update(runs)
        if self.in_lines and time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            print_error(self.line())

    def line(self) -> str:
        """Where it stands, in words."""
        ended, seconds = self.statuses.total() + self.elsewhere, time.monotonic() - self.begun
        rate = ended / seconds if seconds else 0.0
        left = f", {duration((self.total - ended) / rate)} left" if rate else ""
        others = f" ({self.elsewhere} by other launchers)" if self.elsewhere else ""
        return f"{ended} of {self.total} runs{others}, {rate:.3g} runs/s{left}"


def show_planning(
    configurations: Iterable[T], total: int | None = None, shown: bool | None = None
) -> Generator[T, None, None]:
    """Passes configurations on, and says after SILENT_SECONDS how many they were: in a bar, or in lines (`Progress`).

    Args:
        total: how many there will be, if that is known.
    """
    following = iter(configurations)
    yield from islice(following, 1)  # it waits for imports, which are no planning
    of = "" if total is None else f" of {total}"
    due = time.monotonic() + SILENT_SECONDS if shown is None and not Lenient(sys.stderr).isatty() else math.inf
    hidden = None if shown is None else not shown
    options = {"desc": "planning", "unit": "run", "disable": hidden, "delay": SILENT_SECONDS, "leave": False}
    with tqdm(total=total, initial=1, file=Lenient(sys.stderr), **options) as bar:
        for count, one in enumerate(following, 2):
            yield one
            bar.update()
            if time.monotonic() >= due:
                due = time.monotonic() + SECONDS_BETWEEN_LINES
                print_error(f"planning: {count}{of} runs")


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 3 min 10 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


def format_count(number: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def report(statuses: Mapping[str, int]) -> str:
    """3 done, 1 diverged."""
    known = ("done", "diverged", "failed")
    return ", ".join(f"{statuses[status]} {status}" for status in known if statuses.get(status)) or "none"
