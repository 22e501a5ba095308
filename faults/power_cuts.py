"""The power fails at every moment of a sweep: every run that was reported as done is intact.

    python -m faults power_cuts [--quick] [--seed N]

The operations on files of a sweep with three commits are recorded. For each moment between two of them, the folders
that a disk may hold are built: `disk_model` says which. A folder is read as a user reads it. What was reported as done
until then is there, with the right numbers; nothing damaged has a final name; nothing is left out. In one folder of
HEALED the same line is run again, and makes the study whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from faults import children, disk_model, recording, studies
from faults.disk_model import Disk, Image
from faults.needs import NotTriedError, Progress, need_linux, need_strace, scratch_folder
from faults.outcome import Outcome
from faults.recording import Operation

MOST = 64
"""Folders of one moment: all that are possible, or so many at random, some of which are equal."""
DRAWN = 4096
"""Folders of one moment that are drawn at most, if there shall be more."""
HEALED = 25


class Cut(NamedTuple):
    """A power failure.

    Attributes:
        moment: after how many operations.
        image: what the disk holds.
        done: the runs that were reported as done.
    """

    moment: int
    image: Image
    done: frozenset[str]


def list_cuts(operations: Sequence[Operation], seed: int, most: int = MOST) -> Iterator[Cut]:
    """All cuts, each folder once for the runs that were reported."""
    disk, random, done = Disk(), np.random.default_rng(seed), frozenset[str]()
    seen: set[tuple[frozenset[tuple[str, bytes | None]], int]] = set()
    for moment, one in enumerate(operations, 1):
        disk.carry_out(one)
        if one.kind == recording.DONE:
            done |= frozenset(one.data.decode().split())
        for image in disk.images(most, random):
            key = frozenset(image.items()), len(done)
            if key not in seen:
                seen.add(key)
                yield Cut(moment, image, done)


def list_enough(operations: Sequence[Operation], seed: int, count: int) -> list[Cut]:
    """At least so many cuts, if drawing more gives so many."""
    most = MOST
    while len(cuts := list(list_cuts(operations, seed, most))) < count and most < DRAWN:
        most *= 2
    return cuts


def choose(cuts: Sequence[Cut], count: int, seed: int) -> list[tuple[int, Cut]]:
    """So many cuts at random, with their numbers."""
    numbers = np.random.default_rng(seed).permutation(len(cuts))[:count]
    return [(number, cuts[number]) for number in sorted(map(int, numbers))]


# ------------------------------------------------------------------ one cut


def judge(results: Path, done: frozenset[str], whole: studies.Found) -> Iterator[str]:
    """What does not hold of what is read after a power failure."""
    found = studies.inspect(results)
    lost = [run_id for run_id in sorted(done) if found.statuses.get(run_id) != "done"]
    yield from (f"run {run_id} was reported as done and is not stored" for run_id in lost)
    yield from (f"{file} has other bytes than its name says" for file in found.corrupt)
    if found.problem:
        yield f"when it is read: {found.problem}"
    yield from studies.compare(found, whole)


def judge_healed(folder: Path, whole: studies.Found) -> Iterator[str]:
    """What does not hold after the same line once more."""
    ended = children.run(studies.sweeping(folder / "results"), folder.with_suffix(".healed"))
    yield from studies.judge_healed(ended, studies.inspect(folder / "results"), whole)


def attempt(scratch: Path, whole: studies.Found, numbered: tuple[int, Cut]) -> list[str]:
    """Builds the folder of a cut and reads it; the losses."""
    number, cut = numbered
    with TemporaryDirectory(dir=scratch) as name:
        folder = Path(name, "disk")
        folder.mkdir()
        disk_model.write(cut.image, folder)
        losses = [*judge(folder / "results", cut.done, whole)]
        if number % HEALED == 0:
            losses += judge_healed(folder, whole)
    return [f"power cut after {cut.moment} operations, disk {number}: {loss}" for loss in losses]


# ------------------------------------------------------------------ all


def record(folder: Path) -> list[Operation]:
    """The operations of a sweep; by strace, if it can be had."""
    try:
        need_strace()
    except NotTriedError:
        return recording.record_in_process(folder / "recorded")
    return recording.record(folder / "recorded")


def run(count: int = 4000, seed: int = 0, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """So many cuts, or all if there are fewer."""
    need_linux()
    tried, losses = Counter[str](), list[str]()
    with TemporaryDirectory(dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        studies.warm_up(folder)
        whole = studies.undisturbed(folder)
        cuts = choose(list_enough(record(folder), seed, count), count, seed)
        tried["disks after a cut"] = len(cuts)
        tried["made whole by the same line"] = sum(number % HEALED == 0 for number, _ in cuts)
        for done, lost in enumerate(children.run_all(partial(attempt, folder, whole), cuts, jobs), 1):
            losses += lost
            if progress:
                progress(done, len(cuts), len(losses))
    return Outcome(tried, sorted(losses), f"python -m faults power_cuts --count {count} --seed {seed}")
