"""Real power failures of an ext4 file system: at random moments of a sweep its disk is copied, and the copy is read.

    python -m faults ext4_cuts [--quick] [--seed N]

The results are on an image that is mounted as a loop device. The sweep is stopped, the image is copied as it is,
without a sync, and the sweep goes on. What the system has not written to the disk until then is not in the copy. The
copy is mounted, by which ext4 replays its journal. Every run that was reported as done before is intact.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from faults import power_cuts, recording, studies
from faults.needs import NotTriedError, Progress, need_linux, scratch_folder
from faults.outcome import Outcome

MEGABYTES = 32
OPTIONS = "loop,commit=600,data=ordered"
"""The journal is written when somebody asks for it, and not each five seconds."""
CUTS = 5
"""Of one sweep; the first is at a random moment after it has reported 0 to 3 times."""
LONGEST = 0.03
"""Seconds between two cuts at most."""
PATIENCE = 20.0


class Cut(NamedTuple):
    """A copy of the disk.

    Attributes:
        image: the file of the copy.
        done: the runs that were reported as done before.
    """

    image: Path
    done: frozenset[str]


def need_loop_devices(folder: Path) -> None:
    """Accepts a machine on which an image can be made and mounted."""
    need_linux()
    if os.geteuid() != 0:
        raise NotTriedError("it needs root, to mount an image")
    if not Path("/dev/loop-control").exists():
        raise NotTriedError("there are no loop devices")
    if shutil.which("mkfs.ext4") is None:
        raise NotTriedError("there is no mkfs.ext4 (Debian: apt-get install e2fsprogs)")
    try:
        with mounted(make_image(folder / "tried"), folder / "mounted"):
            pass
    except subprocess.CalledProcessError as error:
        raise NotTriedError(f"an image cannot be mounted: {error.stderr.decode(errors='replace').strip()}") from None


def make_image(image: Path) -> Path:
    """Makes an empty ext4 file system in a file."""
    with image.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    call("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    return image


def call(*words: str) -> None:
    """Runs a command."""
    subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The folder in which an image is mounted."""
    folder.mkdir(exist_ok=True)
    call("mount", "-t", "ext4", "-o", OPTIONS, str(image), str(folder))
    try:
        yield folder
    finally:
        call("umount", "-l", str(folder))


# ------------------------------------------------------------------ a sweep, and copies of its disk


def cut_sweep(folder: Path, work: Callable[[Path], int], random: np.random.Generator, count: int) -> list[Cut]:
    """Copies the disk of a sweep at random moments, until it has ended or so many copies are made."""
    image, said, cuts = make_image(folder / "image"), folder / "said", list[Cut]()
    said.write_bytes(b"")
    with mounted(image, folder / "mounted") as disk:
        pid = begin(partial(work, disk / "results"), said)
        try:
            wait_for_reports(said, int(random.integers(4)))
            while len(cuts) < count and stop(pid, random.uniform(0, LONGEST)):
                done = frozenset(recording.read_reports(said.read_text(encoding="utf-8", errors="replace")))
                copy = folder / f"copy{len(cuts)}"
                call("cp", "--sparse=always", str(image), str(copy))
                cuts.append(Cut(copy, done))
                os.kill(pid, signal.SIGCONT)
        finally:
            end(pid)
    return cuts


def begin(work: Callable[[], int], said: Path) -> int:
    """Runs work in a child; its number."""
    pid = os.fork()
    if pid == 0:
        try:
            descriptor = os.open(said, os.O_WRONLY | os.O_APPEND)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            work()
        finally:
            os._exit(0)
    return pid


def wait_for_reports(said: Path, count: int) -> None:
    """Returns when a sweep has reported so many times, or after PATIENCE."""
    until = time.monotonic() + PATIENCE
    while said.read_bytes().count(recording.REPORT) < count and time.monotonic() < until:
        time.sleep(0.001)


def stop(pid: int, seconds: float) -> bool:
    """Stops a child after some seconds, between two system calls; False if it has ended."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGSTOP)
    found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if found is None or found.si_code != os.CLD_STOPPED:
        return False
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    return True


def end(pid: int) -> None:
    """Ends a child."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def judge(cut: Cut, folder: Path, whole: studies.Found) -> list[str]:
    """What does not hold of a copy of the disk."""
    with mounted(cut.image, folder / "mounted") as disk:
        return list(power_cuts.judge(disk / "results", cut.done, whole))


# ------------------------------------------------------------------ all


def cut_and_judge(folder: Path, whole: studies.Found, work: Callable[[Path], int], seed: int, count: int) -> Outcome:
    """Cuts the power of one sweep so many times at most; how often, and the losses."""
    cuts = cut_sweep(folder, work, np.random.default_rng(seed), count)
    tried = Counter({"before any run was reported": 0, "after some runs were reported": 0})
    losses = []
    for number, cut in enumerate(cuts):
        tried["after some runs were reported" if cut.done else "before any run was reported"] += 1
        losses += [f"cut {number} of sweep {seed}: {loss}" for loss in judge(cut, folder, whole)]
        cut.image.unlink()
    return Outcome(tried, losses, "")


def run(count: int = 40, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """At least so many cuts, of several sweeps."""
    tried, losses, sweeps = Counter[str](), list[str](), 0
    with TemporaryDirectory(dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        need_loop_devices(folder)
        studies.warm_up(folder)
        whole = studies.undisturbed(folder)
        while tried.total() < count:
            one = cut_and_judge(folder, whole, recording.sweep, 1000 * seed + sweeps, CUTS)
            sweeps += 1
            tried += one.tried
            losses += one.losses
            if progress:
                progress(min(tried.total(), count), count, len(losses))
    return Outcome(tried, losses, f"python -m faults ext4_cuts --count {count} --seed {seed}")
