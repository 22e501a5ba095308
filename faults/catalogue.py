"""The faults, each a module of this package with a function `run(count, seed)`."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from functools import partial

from faults.needs import Progress
from faults.outcome import Outcome


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        module: its module in this package, and its name.
        how: how it is injected, and what must hold.
        whole: how often, in the whole test.
        quick: how often with --quick.
    """

    module: str
    how: str
    whole: int
    quick: int

    def inject(self, count: int, seed: int, progress: Progress) -> Outcome:
        """Injects it so many times.

        Raises:
            NotTriedError: it cannot be injected here.
        """
        run = importlib.import_module(f"faults.{self.module}").run
        if "progress" in inspect.signature(run).parameters:
            run = partial(run, progress=progress)
        outcome: Outcome = run(count, seed)
        return outcome


FAULTS = (
    Fault("system_calls", "strace fails the n-th call, kills at it, or lets it lie; writes are cut short", 620, 20),
    Fault("kills", "SIGKILL of a launcher, most often while it publishes, until its study is done", 200, 6),
    Fault("training_calls", "the same of a sweep that trains networks and writes checkpoints", 200, 12),
    Fault("training_kills", "SIGKILL of a launcher that trains networks, until its study is done", 40, 4),
    Fault("power_cuts", "all that a disk may hold after a power failure at each moment of a sweep", 4000, 100),
    Fault("ext4_cuts", "the disk of a sweep on ext4 is copied without a sync at random moments, and mounted", 40, 5),
    Fault(
        "model", "Hypothesis: random steps of writers, kills, damage and repairs, beside a model of the store", 400, 30
    ),
    Fault("places", "full disks, few inodes, read-only, limits, strange paths, clocks that go backwards", 150, 25),
    Fault("damage", "bits flipped, files cut, swapped, deleted, foreign, links, pipes, in a stored study", 4100, 150),
    Fault("workers", "runs that end their worker in every way; workers and fork server killed and stopped", 1000, 60),
    Fault("company", "rounds of eight launchers of one study, some killed, stopped or ended", 5, 1),
    Fault("override_lines", "hostile override lines, words and configuration files", 100_000, 2000),
    Fault(
        "stored_files",
        "hostile stored studies, networks and sequences: other values, bytes, shapes, pickles",
        10_000,
        50,
    ),
    Fault("load", "a study of so many runs, with a thousand rows each, is counted and summarised in time", 10_000, 300),
)
"""In the order in which they are tried."""
