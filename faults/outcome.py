"""What became of a series of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Faults that were injected, and what was lost.

    Attributes:
        tried: how many faults of each kind.
        losses: one line for each promise that did not hold.
        replay: the command that injects the same faults again.
    """

    tried: Counter[str]
    losses: Sequence[str]
    replay: str

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {times}" for kind, times in sorted(self.tried.items()))
        lines = [f"{self.tried.total()} faults, {len(self.losses)} losses: {kinds}", *self.losses]
        return "\n".join([*lines, *([f"again: {self.replay}"] if self.losses else [])])
