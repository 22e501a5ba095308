"""What ends a sweep early: signals are remembered, and looked at between two steps and between two updates."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

INTERRUPTIONS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, what a batch system sends before it kills, and what a process gets whose terminal is closed."""


class StoppedTraining(BaseException):
    """A training that ends before its last update because of a signal. Its checkpoint is written."""


class Checkpoints(NamedTuple):
    """What a training of a sweep needs to stop and to go on later.

    Attributes:
        folder: of the checkpoints of a study.
        interrupted: the list of `interruption`. In a worker it stays empty: a worker is ended from outside.
    """

    folder: Path
    interrupted: Sequence[int] = ()


def ignores_hangup(number: int) -> bool:
    """Whether a signal is SIGHUP, and this process was told to survive its terminal (`nohup`)."""
    return number not in (signal.SIGINT, signal.SIGTERM) and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def interruption() -> Iterator[list[int]]:
    """A list that stays empty until one of INTERRUPTIONS, which is put into it; a second one ends the process at once.

    An exception in the middle of publishing could leave it unclear what is stored; a flag is checked between two steps.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard  # only the main thread may say what a signal does
        return

    def hear(number: int, _: object) -> None:
        heard.append(number)
        for known, handler in before.items():
            signal.signal(known, handler)

    before = {number: signal.getsignal(number) for number in INTERRUPTIONS if not ignores_hangup(number)}
    for number in before:
        signal.signal(number, hear)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
