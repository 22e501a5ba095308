"""A sweep that trains networks is killed again and again, and started again until it is done.

    python -m faults training_kills [--quick] [--seed N]

The kills are those of `kills`. Launchers without workers write a checkpoint after each update, so most kills while a
file is written are at a checkpoint. In the end there are no checkpoints.
"""

from __future__ import annotations

from faults import studies
from faults.kills import kill_again_and_again
from faults.needs import Progress
from faults.outcome import Outcome

RUNS = 24
LINE = (*studies.TRAINING[1:-1], "seed=range(0,8)")
"""Eight networks, each measured at three updates."""


def run(count: int = 40, seed: int = 0, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """At least so many kills."""
    tried, losses = kill_again_and_again(LINE, RUNS, count, seed, jobs, progress)
    return Outcome(tried, losses, f"python -m faults training_kills --count {count} --seed {seed}")
