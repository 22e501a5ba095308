"""A sweep is killed again and again, most often while it publishes, and started again until it is done.

    python -m faults kills [--quick] [--seed N]

SIGKILL comes at the n-th system call by which the launcher publishes (strace injects it), or after a random time.
After each kill all runs that were reported as done must be stored, whole and with the right numbers, and no worker may
be left. In the end the tables must be those of a sweep that was never killed, and no temporary file may be left.
"""

from __future__ import annotations

import io
import os
import signal
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from bpttlab.sweeps import progress as of_sweep
from bpttlab.sweeps.process_state import look_at
from faults import children, studies
from faults.needs import NotTriedError, Progress, need_linux, need_strace, scratch_folder
from faults.outcome import Outcome

RUNS = 48
LINE = (*studies.LINE[1:-1], "seed=range(0,24)")
PUBLISHING = "fsync,rename,unlink,mkdir,write"
"""The calls by which a launcher publishes."""
SHARE_WHILE_PUBLISHING = 0.75
LAST_CALL = 60
WORKERS = (0, 0, 0, 1, 2)
"""Of a launcher, one of these at random."""
LONGEST = 1.2
"""Seconds after which a launcher is killed at the latest."""
MOST = 20
"""Kills of one study."""
MARK = "BPTTLAB_FAULTS_MARK"
MOST_PROCESSOR = 10.0
"""Seconds of the processor that workers may use after their launcher was killed: they end when they have imported."""
MOST_SILENCE = 10.0
"""Seconds for which they may use no processor and still not have ended."""


class Killing(NamedTuple):
    """How a launcher is killed: at which of its calls, or after how many seconds.

    Attributes:
        workers: how many it has.
    """

    call: int | None
    seconds: float
    workers: int

    def __str__(self) -> str:
        when = f"after {self.seconds:.3f} s" if self.call is None else f"at call {self.call} of {PUBLISHING}"
        return f"SIGKILL {when}, workers={self.workers}"

    @property
    def kind(self) -> str:
        when = "at a random moment" if self.call is None else "while publishing"
        return f"{when}, {'with workers' if self.workers else 'alone'}"


def choose(random: np.random.Generator, with_strace: bool) -> Killing:
    """A way to be killed."""
    call, seconds, workers = random.integers(1, LAST_CALL), random.uniform(0, LONGEST), random.choice(WORKERS)
    publishing = with_strace and random.random() < SHARE_WHILE_PUBLISHING
    return Killing(int(call) if publishing else None, float(seconds), int(workers))


def sweep(results: Path, line: Sequence[str], workers: int, mark: str = "") -> int:
    """A sweep that says each time that runs are done."""
    os.environ[MARK] = mark
    tempfile.tempdir = str(results.parent)  # of the sockets of the fork server, which a killed launcher leaves
    with patch.object(of_sweep, "SECONDS_BETWEEN_LINES", 0.0):
        return studies.sweep(results, (*line, f"workers={workers}"))


def kill(folder: Path, line: Sequence[str], number: int, killing: Killing) -> tuple[children.Ended, bool]:
    """One sweep that is killed, unless it ends before; and whether workers are left."""
    mark = uuid.uuid4().hex
    work, said = partial(sweep, folder / "results", line, killing.workers, mark), folder / f"said{number}"
    if killing.call is None:
        ended = children.run(work, said, kill_after=killing.seconds)
    else:
        inject = ["-e", f"trace={PUBLISHING}", "-e", f"inject={PUBLISHING}:signal=KILL:when={killing.call}"]
        ended = children.run(work, said, folder / "calls", inject)
    return ended, has_survivors(mark)


def has_survivors(mark: str) -> bool:
    """Whether processes with this mark do not end by themselves; they are killed then."""
    first, before, changed = dict[int, int](), dict[int, int](), time.monotonic()
    while used := {pid: look_at(pid)[1] or 0 for pid in find_marked(mark)}:
        first = used | first
        if used != before:
            before, changed = used, time.monotonic()
        seconds = sum(ticks - first[pid] for pid, ticks in used.items()) / os.sysconf("SC_CLK_TCK")
        if seconds > MOST_PROCESSOR or time.monotonic() - changed > MOST_SILENCE:
            end_all(used)
            return True
        time.sleep(0.01)
    return False


def end_all(pids: Iterable[int]) -> None:
    """Kills processes."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def find_marked(mark: str) -> Iterator[int]:
    """The processes that have the mark in their environment."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                if f"{MARK}={mark}".encode() in Path(f"/proc/{entry}/environ").read_bytes():
                    yield int(entry)


def count_reported(said: str, runs: int = RUNS) -> int:
    """The most runs that the lines of progress, or the last line, report as done."""
    lines = [line.partition(f" of {runs} runs")[0] for line in said.splitlines() if f" of {runs} runs" in line]
    return max([studies.count_reported(said), *(int(line) for line in lines if line.isdigit())])


def judge(ended: children.Ended, left: bool, before: int, found: studies.Found, whole: studies.Found) -> Iterator[str]:
    """What does not hold after a kill, of a study that had so many runs before."""
    runs = len(whole.statuses)
    if left:
        yield f"workers are left after their launcher was killed: they compute for {MOST_PROCESSOR:.0f} s, or wait"
    if "Traceback" in ended.said:
        yield f"a traceback: {ended.said[-1500:]}"
    if not ended.killed and (ended.code or found.statuses != whole.statuses):
        yield f"exit code {ended.code}, {len(found.statuses)} of {runs} runs are stored: {ended.said[-500:]}"
    if (reported := count_reported(ended.said, runs)) > len(found.statuses) - before:
        yield f"{reported} runs were reported as done, {len(found.statuses) - before} were stored"
    yield from (f"{file} has other bytes than its name says" for file in found.corrupt)
    if found.problem:
        yield f"afterwards: {found.problem}"
    yield from studies.compare(found, whole)


def sweep_study(
    scratch: Path, whole: studies.Found, line: Sequence[str], seed: int, with_strace: bool, study: int
) -> tuple[Counter[str], list[str]]:
    """One study that is killed until it is done; the kills, and the losses."""
    random, tried, losses, before = np.random.default_rng([seed, study]), Counter[str](), list[str](), 0
    with TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        for number in range(MOST):
            killing = choose(random, with_strace)
            ended, left = kill(folder, line, number, killing)
            found = children.call(studies.inspect, folder / "results")
            losses += [f"study {study}, {killing}: {loss}" for loss in judge(ended, left, before, found, whole)]
            tried.update([killing.kind] if ended.killed else [])
            before = len(found.statuses)
            if not ended.killed:
                break
        healed = children.run(partial(sweep, folder / "results", line, 0), folder / "healed")
        found = children.call(studies.inspect, folder / "results")
        losses += [f"study {study}, in the end: {loss}" for loss in studies.judge_healed(healed, found, whole)]
    return tried, losses


def run(count: int = 200, seed: int = 0, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """At least so many kills."""
    tried, losses = kill_again_and_again(LINE, RUNS, count, seed, jobs, progress)
    return Outcome(tried, losses, f"python -m faults kills --count {count} --seed {seed}")


def kill_again_and_again(
    line: Sequence[str], runs: int, count: int, seed: int, jobs: int = 2, progress: Progress | None = None
) -> tuple[Counter[str], list[str]]:
    """At least so many kills of sweeps of a line, which has so many runs; the kinds, and the losses."""
    need_linux()
    tried, losses, studied = Counter[str](), list[str](), 0
    with TemporaryDirectory(dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        studies.warm_up(folder, (*line, "workers=0"))
        whole = children.call(sweep_undisturbed, folder, line, runs)
        work = partial(sweep_study, folder, whole, line, seed, has_strace())
        while tried.total() < count:
            for kills, lost in children.run_all(work, range(studied, studied + jobs), jobs):
                tried += kills
                losses += lost
                if progress:
                    progress(min(tried.total(), count), count, len(losses))
            studied += jobs
    return tried, sorted(losses)


def sweep_undisturbed(folder: Path, line: Sequence[str], runs: int) -> studies.Found:
    """The study of a sweep that nobody kills.

    Raises:
        RuntimeError: it fails: the kills would prove nothing.
    """
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        code = sweep(folder / "whole", line, 0)
    whole = studies.inspect(folder / "whole")
    if code or len(whole.statuses) != runs or whole.problem:
        raise RuntimeError(f"the sweep that nobody kills has exit code {code}: {whole.problem}")
    return whole


def has_strace() -> bool:
    """Whether kills can be injected at a system call."""
    try:
        return bool(need_strace())
    except NotTriedError:
        return False
