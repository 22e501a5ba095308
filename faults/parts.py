"""Many faults in several processes: each process tries a part of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from faults import children
from faults.needs import Progress

PART = 500
"""Faults that a process tries before it says what was lost."""

Tried: TypeAlias = tuple[Counter[str], list[str]]
"""How many faults of each kind were tried, and the losses."""


def try_in_parts(try_part: Callable[[range], Tried], count: int, jobs: int, progress: Progress | None = None) -> Tried:
    """Tries the faults 0 to count - 1; so many parts at a time, and a single part in this process."""
    tried, losses = Counter[str](), list[str]()
    parts = [range(start, min(start + PART, count)) for start in range(0, count, PART)]
    for kinds, lost in children.run_all(try_part, parts, jobs) if len(parts) > 1 else map(try_part, parts):
        tried += kinds
        losses += lost
        if progress:
            progress(tried.total(), count, len(losses))
    return tried, sorted(losses)
