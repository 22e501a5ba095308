"""System calls of a sweep that trains networks and writes a checkpoint after each update.

    python -m faults training_calls [--quick] [--seed N]

The faults are those of `system_calls`, in a new study, and in one whose first training was killed after an update and
goes on from its checkpoint. A checkpoint that cannot be written or read costs time alone.
"""

from __future__ import annotations

from pathlib import Path

from faults import studies
from faults.needs import Progress
from faults.outcome import Outcome
from faults.system_calls import try_points
from faults.trainings import Stop, stopping

KILLED_AFTER = 3
"""The update after which the first training of a study that was begun was killed."""


def begin(results: Path) -> int:
    """A sweep that is killed while it trains its first network."""
    with stopping(Stop("kill", KILLED_AFTER)):
        return studies.sweep(results, studies.TRAINING)


def run(count: int = 200, seed: int = 0, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """So many faults, or all that there are if there are fewer."""
    tried, losses = try_points(studies.TRAINING, begin, count, seed, jobs, progress)
    return Outcome(tried, losses, f"python -m faults training_calls --count {count} --seed {seed}")
