"""Every system call of a sweep that touches its results fails, is interrupted, lies, or is the last one.

    python -m faults system_calls [--quick] [--seed N]

The calls of two undisturbed sweeps are recorded by strace: of a new study, and of one that was begun. Then one fault at
a time is injected, at the n-th call of one kind, in a sweep of its own: an error, a write or a rename that does nothing
and says that it has, a write that is cut short by a limit on the size of files, and SIGKILL at the call. The seed
chooses among all faults.
"""

from __future__ import annotations

import re
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from faults import children, studies
from faults.needs import Progress, need_strace, scratch_folder
from faults.outcome import Outcome

ERRORS = ("ENOSPC", "EIO", "EACCES", "EMFILE", "EINTR")
KILL, LIE, SHORT = "SIGKILL", "lie", "short write"
LIARS = ("write", "rename")
"""Calls that say that they have done something, and have not."""
LOOKS = ("newfstatat", "lseek", "fcntl", "close", "fstat", "ioctl", "getdents64")
"""Calls that change nothing and are many: one in LOOKED of their faults is tried."""
LOOKED = 16
SIZES = 16
"""Limits on the size of files that are tried, each another place at which a write is cut short."""

_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")


class Call(NamedTuple):
    """A system call that touches the results.

    Attributes:
        name: of the call.
        number: which call of this name it is in its process, from 1.
        result: what it returned.
    """

    name: str
    number: int
    result: int


class Point(NamedTuple):
    """A fault: what is done at which call.

    Attributes:
        begun: in a sweep that goes on with a study of which some runs are stored.
    """

    call: Call
    fault: str
    begun: bool = False

    def __str__(self) -> str:
        where = ", in a study that was begun" if self.begun else ""
        if self.fault == SHORT:
            return f"{SHORT} of a file of more than {self.call.number} bytes{where}"
        return f"{self.fault} at {self.call.name} number {self.call.number}{where}"

    @property
    def inject(self) -> str:
        """The argument of strace's option -e."""
        what = {KILL: f"signal={KILL}", LIE: f"retval={self.call.result}"}.get(self.fault, f"error={self.fault}")
        return f"inject={self.call.name}:{what}:when={self.call.number}"


# ------------------------------------------------------------------ which calls there are


def record(folder: Path, begun: bool = False, line: Sequence[str] = studies.LINE) -> list[Call]:
    """The calls of an undisturbed sweep that touch its results."""
    results, log = folder / f"recorded{begun:d}", folder / f"calls{begun:d}"
    if begun:
        shutil.copytree(folder / "begun", results)
    ended = children.run(studies.sweeping(results, line), folder / "recorded.txt", log)
    if ended.code != 0:
        raise RuntimeError(f"the sweep without a fault has exit code {ended.code}: {ended.said}")
    return list(read_log(log, results))


def read_log(log: Path, results: Path) -> Iterator[Call]:
    """The calls of a log that name the folder of results, by path or by descriptor."""
    numbers: Counter[str] = Counter()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _CALL.match(line)
        if match:
            numbers[match[1]] += 1
            if str(results) in match[2]:
                yield Call(match[1], numbers[match[1]], int(match[3]))


def list_points(calls: Sequence[Call], begun: bool = False) -> tuple[list[Point], list[Point]]:
    """The faults at calls that change or read something, and those at calls that only look."""
    points = [Point(call, fault, begun) for call in calls for fault in (KILL, *ERRORS)]
    lies = [Point(call, LIE, begun) for call in calls if call.name in LIARS and call.result >= 0]
    largest = max((call.result for call in calls if call.name == "write"), default=1)
    sizes = sorted({round(largest ** (step / SIZES)) for step in range(SIZES)})
    short = [Point(Call("write", size, 0), SHORT, begun) for size in sizes]
    looks = [point for point in points if point.call.name in LOOKS]
    return [*(point for point in points if point.call.name not in LOOKS), *lies, *short], looks


def choose(calls: Sequence[Call], of_begun: Sequence[Call], count: int, seed: int) -> list[Point]:
    """So many faults at random; if they suffice for that, all kills, lies and short writes are among them.

    Args:
        calls: of a sweep of a new study.
        of_begun: of a sweep that goes on with a study.
    """
    random = np.random.default_rng(seed)
    listed = [list_points(calls), list_points(of_begun, begun=True)]
    points, looks = ([point for one in listed for point in one[kind]] for kind in (0, 1))
    few = [looks[number] for number in random.permutation(len(looks))[: len(looks) // LOOKED]]
    points = [[*points, *few][number] for number in random.permutation(len(points) + len(few))]
    if count > sum(point.fault not in ERRORS for point in points):
        points.sort(key=lambda point: point.fault in ERRORS)
    return points[:count]


# ------------------------------------------------------------------ one fault


def attempt(scratch: Path, whole: studies.Found, line: Sequence[str], point: Point) -> tuple[str, list[str]]:
    """Sweeps with one fault and once more without; the kind of the fault, "" if it did not occur, and the losses."""
    with TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        results, log = folder / "results", folder / "calls"
        if point.begun:
            shutil.copytree(scratch / "begun", results)
        if point.fault == SHORT:
            ended = children.run(partial(sweep_with_limit, results, point.call.number, line), folder / "said")
        else:
            ended = children.run(studies.sweeping(results, line), folder / "said", log, ["-e", point.inject])
            if not occurred(log, results, ended):
                return "", []
        found = children.call(studies.inspect, results)
        losses = [*studies.judge(ended, found, whole)]
        healed = children.run(studies.sweeping(results, line), folder / "healed")
        losses += studies.judge_healed(healed, children.call(studies.inspect, results), whole)
    kind = point.fault if point.fault == SHORT else f"{point.fault} ({point.call.name})"
    return kind, [f"{point}: {loss}" for loss in losses]


def sweep_with_limit(results: Path, size: int, line: Sequence[str]) -> int:
    """A sweep that cannot write more than so many bytes to a file: the system cuts the write short."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return studies.sweep(results, line)


def occurred(log: Path, results: Path, ended: children.Ended) -> bool:
    """Whether the fault was injected, at a call that touches the results, and as the system may do it."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if ended.killed:
        return True
    injected = [line for line in lines if "(INJECTED)" in line]
    return any(str(results) in line and is_possible(line) for line in injected)


def is_possible(line: str) -> bool:
    """Whether no more bytes were said to be written than there were."""
    match = re.match(r"write\(.*, (\d+)\)\s+= (\d+) \(INJECTED\)", line)
    return match is None or int(match[2]) <= int(match[1])


# ------------------------------------------------------------------ all


def run(count: int = 620, seed: int = 0, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """So many faults, or all that there are if there are fewer."""
    tried, losses = try_points(studies.LINE, partial(studies.sweep, line=studies.FIRST), count, seed, jobs, progress)
    return Outcome(tried, losses, f"python -m faults system_calls --count {count} --seed {seed}")


def try_points(
    line: Sequence[str],
    begin: Callable[[Path], int],
    count: int,
    seed: int,
    jobs: int = 2,
    progress: Progress | None = None,
) -> tuple[Counter[str], list[str]]:
    """So many faults in sweeps of a line; the kinds of those that occurred, and the losses.

    Args:
        begin: makes the results with which a sweep of the line goes on; it may kill its process.
    """
    need_strace()
    tried, losses = Counter[str](), list[str]()
    with TemporaryDirectory(dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        studies.warm_up(folder, line)
        whole = studies.undisturbed(folder, line)
        children.run(partial(begin, folder / "begun"), folder / "begun.txt")
        points = choose(record(folder, line=line), record(folder, begun=True, line=line), count, seed)
        for done, (kind, lost) in enumerate(children.run_all(partial(attempt, folder, whole, line), points, jobs), 1):
            tried.update([kind] if kind else [])
            losses += lost
            if progress:
                progress(done, len(points), len(losses))
    return tried, sorted(losses)
