"""A limit on how long something may take that must not hang."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limit_seconds(seconds: int) -> Iterator[None]:
    """Ends what takes longer, with TimeoutError; in the main thread."""

    def end(number: int, frame: object) -> None:
        raise TimeoutError(f"it hangs for {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
