"""Places in which results cannot be written, or have strange names: a sweep stores everything, or says what is wrong.

    python -m faults places [--quick] [--seed N]

A sweep ends with exit code 0 only if all runs are stored. Otherwise it says what is wrong in a few lines without a
traceback, and nothing damaged has a final name. When the place is as it should be, or with results elsewhere, the same
line stores what is missing.
"""

from __future__ import annotations

import ctypes
import os
import random as stdlib_random
import resource
import subprocess
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeAlias
from unittest.mock import patch

import numpy as np

from bpttlab.cli import main
from bpttlab.sweeps import scheduler
from faults import children, studies
from faults.needs import IN_MEMORY, NotTriedError, Progress, need_linux, scratch_folder
from faults.outcome import Outcome

LINES = 12
"""A refusal has no more, those of progress among them."""
WORKERS = ("workers=0", "workers=1")

_CLONE_NEWNS = 0x20000

Opened: TypeAlias = tuple[Path, Callable[[], object]]
"""The folder of results, and what makes the place as it should be again."""


class Place(NamedTuple):
    """A place.

    Attributes:
        name: what is wrong there.
        open: makes the place in a folder.
        before: what the process of the sweep does first.
        succeeds: whether all must be stored there; None: either is right.
    """

    name: str
    open: Callable[[Path, np.random.Generator], AbstractContextManager[Opened]]
    before: Callable[[Path, np.random.Generator], object] = lambda folder, random: None
    succeeds: bool | None = None


# ------------------------------------------------------------------ file systems


def call(*words: str) -> None:
    """Runs a command as root.

    Raises:
        NotTriedError: it fails.
    """
    try:
        subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        raise NotTriedError(f"{' '.join(words[:-1])} fails") from None


@contextmanager
def memory_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory."""
    call("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield folder
    finally:
        call("umount", "-l", str(folder))


def remount(folder: Path, options: str) -> None:
    call("mount", "-o", f"remount,{options}", str(folder))


@contextmanager
def small_disk(folder: Path, random: np.random.Generator) -> Iterator[Opened]:
    """A disk of a few pages, which is full at some moment of the sweep."""
    with memory_disk(folder, f"size={4 * int(random.integers(1, 40))}k"):
        yield folder / "results", partial(remount, folder, "size=64m")


@contextmanager
def filled_disk(folder: Path, random: np.random.Generator) -> Iterator[Opened]:
    """A disk that another file fills."""
    with memory_disk(folder, "size=1m"):
        filler = folder / "filler"
        filler.write_bytes(bytes((1 << 20) - 4096 * int(random.integers(1, 20))))
        yield folder / "results", filler.unlink


@contextmanager
def few_inodes(folder: Path, random: np.random.Generator) -> Iterator[Opened]:
    """A disk that can have a few files."""
    with memory_disk(folder, f"size=8m,nr_inodes={int(random.integers(2, 40))}"):
        yield folder / "results", partial(remount, folder, "nr_inodes=10000")


@contextmanager
def read_only(folder: Path, random: np.random.Generator) -> Iterator[Opened]:
    """A disk that cannot be written."""
    with memory_disk(folder, "size=8m"):
        remount(folder, "ro")
        yield folder / "results", partial(remount, folder, "rw")


@contextmanager
def quota(folder: Path, random: np.random.Generator) -> Iterator[Opened]:
    """A disk on which each user may have a few blocks; root has no quota, so the sweep has another user."""
    limit = 4 * int(random.integers(4, 40))
    with memory_disk(folder, f"size=8m,usrquota,usrquota_block_hardlimit={limit}k"):
        folder.chmod(0o777)
        yield folder / "results", lambda: None


def become_nobody(folder: Path, random: np.random.Generator) -> None:
    """The process has no rights of root any more."""
    os.setgid(65534)
    os.setuid(65534)


@contextmanager
def closed_folder(folder: Path, random: np.random.Generator) -> Iterator[Opened]:
    """A folder in which this user may not write."""
    folder.chmod(0o555)
    yield folder / "results", lambda: folder.chmod(0o777)


# ------------------------------------------------------------------ names


def named(name: str) -> Callable[[Path, np.random.Generator], AbstractContextManager[Opened]]:
    """A folder of results of that name."""
    return lambda folder, random: nullcontext((folder / name / "results", lambda: None))


def linked(folder: Path, random: np.random.Generator) -> AbstractContextManager[Opened]:
    """A folder of results that is a link to a folder."""
    (folder / "elsewhere").mkdir()
    (folder / "results").symlink_to(folder / "elsewhere")
    return nullcontext((folder / "results", lambda: None))


def plain(folder: Path, random: np.random.Generator) -> AbstractContextManager[Opened]:
    """A place as it should be."""
    return nullcontext((folder / "results", lambda: None))


# ------------------------------------------------------------------ processes


def limit(what: int, least: int, most: int) -> Callable[[Path, np.random.Generator], None]:
    """A limit of the process, somewhere between two."""

    def set_limit(folder: Path, random: np.random.Generator) -> None:
        resource.setrlimit(what, (int(random.integers(least, most)),) * 2)

    return set_limit


def change_environment(**variables: str) -> Callable[[Path, np.random.Generator], None]:
    """Sets variables of the process; `{folder}` is the folder of the place."""

    def change(folder: Path, random: np.random.Generator) -> None:
        os.environ |= {name: value.format(folder=folder) for name, value in variables.items()}
        tempfile.tempdir = None

    return change


def remove_home(folder: Path, random: np.random.Generator) -> None:
    os.environ.pop("HOME", None)


def fill_shared_memory(folder: Path, random: np.random.Generator) -> None:
    """A full file system over /dev/shm that only this process and its children see."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise NotTriedError("no mounts of its own")
    call("mount", "--make-rprivate", "/")
    call("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(IN_MEMORY))
    (IN_MEMORY / "filler").write_bytes(bytes(4096))


def turn_clock_back(folder: Path, random: np.random.Generator) -> None:
    """Each reading of the clock of the day is before the last one, by up to an hour."""
    begin, chance = time.time_ns(), stdlib_random.Random(int(random.integers(1 << 30)))
    passed = [0]

    def time_ns() -> int:
        passed[0] += chance.randrange(3_600_000_000_000)
        return begin - passed[0]

    time.time_ns, time.time = time_ns, lambda: time_ns() / 1e9


# ------------------------------------------------------------------ the places

NAMES = {
    "spaces": "a b  c",
    "newline": "a\nb",
    "quotes": 'it\'s "so" `$x` {y} ;&|',
    "Unicode, composed": unicodedata.normalize("NFC", "größe-é-日本"),
    "Unicode, decomposed": unicodedata.normalize("NFD", "größe-é-日本"),
    "200 bytes": "é" * 100,
    "wildcards and brackets": "*[a]?{b,c}",
    "equals sign": "a=b,c=d",
}
PLACES = (
    Place("small disk", small_disk),
    Place("disk that is full", filled_disk),
    Place("few inodes", few_inodes),
    Place("read-only disk", read_only, succeeds=False),
    Place("quota", quota, become_nobody),
    Place("folder without the right to write", closed_folder, become_nobody, False),
    *(Place(f"path with {what}", named(name), succeeds=True) for what, name in NAMES.items()),
    Place("link to a folder", linked, succeeds=True),
    Place("few descriptors", plain, limit(resource.RLIMIT_NOFILE, 5, 60)),
    Place("limit on the size of files", plain, limit(resource.RLIMIT_FSIZE, 2_000, 12_000)),
    Place("HOME missing", plain, change_environment(HOME="{folder}/missing"), True),
    Place("HOME not set", plain, remove_home, True),
    Place("HOME not writable", plain, change_environment(HOME="/proc", XDG_CACHE_HOME="/proc"), True),
    Place("TMPDIR missing", plain, change_environment(TMPDIR="{folder}/missing"), True),
    Place("TMPDIR not writable", plain, change_environment(TMPDIR="/proc"), True),
    Place("full /dev/shm", plain, fill_shared_memory, True),
    Place("clock that goes backwards", plain, turn_clock_back, True),
)


# ------------------------------------------------------------------ one place


def judge(place: Place, ended: children.Ended, found: studies.Found, whole: studies.Found) -> Iterator[str]:
    """What does not hold of a sweep in a place."""
    yield from studies.judge(ended, found, whole)
    said = ended.said.strip().splitlines()
    if place.succeeds is not None and place.succeeds != (ended.code == 0):
        yield f"exit code {ended.code}: {ended.said[-500:]}"
    if ended.code and (not said or len(said) > LINES):
        yield f"exit code {ended.code} with {len(said)} lines: {ended.said[-1500:]}"
    if ended.code not in (0, 1, 2):
        yield f"exit code {ended.code}: {ended.said[-500:]}"
    if found.litter:
        yield f"it leaves {', '.join(found.litter)}"


def sweep(place: Place, folder: Path, results: Path, workers: str, seeds: Sequence[int]) -> int:
    """A sweep in this process, which is a child, in a place."""
    place.before(folder, np.random.default_rng(seeds))
    return sweep_into(results, workers)


def sweep_into(results: Path, workers: str = WORKERS[0]) -> int:
    """The same sweep; the path is in quotes, as Hydra wants it."""
    escaped = str(results).replace("'", "\\'")
    with patch.object(scheduler, "PUBLISHING_SECONDS", 0.0):
        return main(
            ["sweep", f"study={studies.STUDY}", f"results='{escaped}'", *studies.LINE[1:], *studies.ENGINE, workers]
        )


def attempt(whole: studies.Found, seed: int, number: int) -> tuple[str, list[str]]:
    """Sweeps in a place, and once more when it is as it should be; the place, and the losses."""
    place, random = PLACES[number % len(PLACES)], np.random.default_rng([seed, number])
    workers = WORKERS[number // len(PLACES) % 2]
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        scratch, folder = Path(name), Path(name, "place")
        scratch.chmod(0o711)
        folder.mkdir()
        try:
            with place.open(folder, random) as (results, free):
                ended = children.run(partial(sweep, place, folder, results, workers, [seed, number]), scratch / "said")
                losses = [*judge(place, ended, children.call(studies.inspect, results), whole)]
                free()
                healed = children.run(partial(sweep_into, results), scratch / "healed")
                losses += studies.judge_healed(healed, children.call(studies.inspect, results), whole)
        except NotTriedError:
            return f"{place.name} (not tried: it cannot be made here)", []
    return place.name, [f"{place.name}, {workers}, number {number}: {loss}" for loss in losses]


def run(count: int = 150, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """So many sweeps, in each place in turn."""
    need_linux()
    tried, losses = Counter[str](), list[str]()
    with TemporaryDirectory(dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        studies.warm_up(Path(name))
        whole = studies.undisturbed(Path(name))
    for number in range(count):
        kind, lost = attempt(whole, seed, number)
        tried[kind] += "(not tried" not in kind
        losses += lost
        if progress:
            progress(number + 1, count, len(losses))
    return Outcome(tried, losses, f"python -m faults places --count {count} --seed {seed}")
