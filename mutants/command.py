"""The command line of `python -m mutants`."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue

from mutants.catalogue import EXPERIMENTS, SUBJECTS, CatalogueError, Mutant, choose, read_catalogue
from mutants.runner import (
    GRADIENTS,
    KILLED,
    ROOT,
    SURVIVED,
    Detector,
    Outcome,
    Workspace,
    claims_detector,
    examine,
    quick_detector,
    tests_detector,
)

SHARE = 58 / 60
"""Of the mutants, that `verify` has to find. Claims have to find all of those of the experiments."""
INTERRUPTED = 130

Detectors = Sequence[Detector]


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    try:
        mutants = choose(read_catalogue(EXPERIMENTS if chosen.experiments else SUBJECTS), chosen.only)
        for mutant in mutants:
            mutant.check(ROOT)
    except CatalogueError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.name:<60} {mutant.file}")
        print(f"{len(mutants)} mutants, each applies exactly once")
        return 0
    return run(mutants, chosen)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m mutants",
        description="Plants each seeded fault in a copy of the package and runs `bpttlab verify gradients`, then "
        "`bpttlab verify --quick`; with --experiments a small sweep of its experiment and the claims. A mutant is "
        "killed by a check or claim that fails. Exit code 1 if too few are killed, 2 if a mutant does not apply to the "
        "source or the source itself fails a check, 130 after Ctrl-C.",
    )
    found.add_argument("--only", action="append", default=[], metavar="PATTERN", help="mutants by name, with wildcards")
    found.add_argument("--list", action="store_true", help="show the mutants and whether they apply; run nothing")
    found.add_argument(
        "--least",
        type=int,
        metavar="N",
        help="how many have to be killed; default: 58 of every 60, with --experiments all",
    )
    found.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants at a time; default: 2")
    found.add_argument(
        "--time-limit", type=float, default=300.0, metavar="S", help="seconds for a detector; default: 300"
    )
    kind = found.add_mutually_exclusive_group()
    kind.add_argument("--gradients-only", action="store_true", help="run `verify gradients` alone")
    kind.add_argument("--tests", action="store_true", help="run the unit tests of the derivatives instead of verify")
    kind.add_argument(
        "--experiments", action="store_true", help="the wrong engines of the experiments, against their claims"
    )
    return found


def run(mutants: Sequence[Mutant], chosen: argparse.Namespace) -> int:
    """Runs the mutants and reports them; the exit code."""
    share = 1.0 if chosen.experiments else SHARE
    least = math.ceil(share * len(mutants)) if chosen.least is None else chosen.least
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is running ends, too
    try:
        outcomes = run_all(mutants, detectors_of(chosen), chosen.jobs, chosen.time_limit)
    except RuntimeError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mutants: interrupted", file=sys.stderr)
        return INTERRUPTED
    return report(outcomes, least)


def detectors_of(chosen: argparse.Namespace) -> Callable[[Mutant], Detectors]:
    """What has to find a mutant, by the kind that was chosen."""
    if chosen.experiments:
        return lambda mutant: (claims_detector(mutant),)
    if chosen.tests:
        return lambda mutant: (tests_detector(),)
    same = (GRADIENTS,) if chosen.gradients_only else (GRADIENTS, quick_detector())
    return lambda mutant: same


def run_all(
    mutants: Sequence[Mutant], detectors: Callable[[Mutant], Detectors], jobs: int, seconds: float
) -> list[Outcome]:
    """The outcome of every mutant, some at a time; raises a RuntimeError if the source without a fault fails."""
    jobs = max(1, min(jobs, len(mutants)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ExitStack() as stack:
        workspaces = [Workspace(Path(folder, str(number))) for number in range(jobs)]
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for workspace in workspaces:
            stack.callback(workspace.stop)  # before the pool waits for its threads
        print(f"{len(mutants)} mutants; first the source without a fault", flush=True)
        list(pool.map(Workspace.prepare, workspaces))
        free: SimpleQueue[Workspace] = SimpleQueue()
        for workspace in workspaces:
            free.put(workspace)
        check_source(pool, free, list(dict.fromkeys(one for mutant in mutants for one in detectors(mutant))), seconds)
        futures = [pool.submit(examine_next, free, mutant, detectors(mutant), seconds) for mutant in mutants]
        return [shown(future.result(), done, len(mutants)) for done, future in enumerate(as_completed(futures), 1)]


def check_source(pool: ThreadPoolExecutor, free: SimpleQueue[Workspace], detectors: Detectors, seconds: float) -> None:
    """Runs the detectors on the source without a fault, which has to pass all of them."""
    futures = [pool.submit(baseline, free, detector, seconds) for detector in detectors]
    for future in as_completed(futures):
        print(future.result(), flush=True)


def baseline(free: SimpleQueue[Workspace], detector: Detector, seconds: float) -> str:
    """Runs a detector on the source without a fault; raises a RuntimeError if it does not pass."""
    begun = time.monotonic()
    with taken(free) as workspace:
        found = workspace.run(detector, seconds)
    if found.status != SURVIVED:
        failed = "".join(f"\n{what}" for what in found.failed)
        raise RuntimeError(f"{detector.name} of the source without a fault: {found.status}{failed}\n{found.output}")
    return f"no fault: nothing fails in {detector.name} {time.monotonic() - begun:.0f} s"


def examine_next(free: SimpleQueue[Workspace], mutant: Mutant, detectors: Detectors, seconds: float) -> Outcome:
    with taken(free) as workspace:
        return examine(workspace, mutant, detectors, seconds)


@contextmanager
def taken(free: SimpleQueue[Workspace]) -> Iterator[Workspace]:
    """A workspace that nobody else uses meanwhile."""
    workspace = free.get()
    try:
        yield workspace
    finally:
        free.put(workspace)


def shown(outcome: Outcome, done: int, total: int) -> Outcome:
    """Prints one outcome as it comes."""
    first = f": {outcome.failed[0]}" if outcome.failed else ""
    more = f" (and {len(outcome.failed) - 1} more)" if len(outcome.failed) > 1 else ""
    by = f" by {outcome.detector}{first}{more}" if outcome.status != SURVIVED else ""
    print(f"[{done}/{total}] {outcome.status:<9} {outcome.mutant.name} {outcome.seconds:.0f} s{by}", flush=True)
    return outcome


def report(outcomes: Sequence[Outcome], least: int) -> int:
    """A table by name, what was not killed, the counts of each subject, and the exit code."""
    ordered = sorted(outcomes, key=lambda one: one.mutant.name)
    print()
    width = max(len(outcome.mutant.name) for outcome in ordered)
    for outcome in ordered:
        by = f"{outcome.detector}: {outcome.failed[0]}" if outcome.failed else ""
        print(f"{outcome.status:<9}  {outcome.mutant.name:<{width}}  {by}".rstrip())
    for outcome in ordered:
        if outcome.status != KILLED:
            print(f"\nnot killed: {outcome.mutant.name} ({outcome.status})")
            print(outcome.output if outcome.status != SURVIVED else "", end="")
    print()
    for subject, group in groupby(ordered, key=lambda one: one.mutant.subject):
        print(of_subject(subject, list(group)))
    killed = [outcome for outcome in ordered if outcome.status == KILLED]
    print(f"\n{len(killed)} of {len(ordered)} mutants killed; at least {least} have to be")
    return int(len(killed) < least)


def of_subject(subject: str, outcomes: Sequence[Outcome]) -> str:
    """How many mutants of a subject were killed, by what, and the names of the others."""
    killers = [outcome.detector for outcome in outcomes if outcome.status == KILLED]
    by = ", ".join(f"{killers.count(name)} by {name}" for name in dict.fromkeys(killers))
    others = [outcome.mutant.name.split("/", 1)[1] for outcome in outcomes if outcome.status != KILLED]
    line = f"{subject}: {len(killers)} of {len(outcomes)} killed" + (f" ({by})" if by else "")
    return line + (f"; not killed: {', '.join(others)}" if others else "")
