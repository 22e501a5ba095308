"""The command line of `python -m mutants`."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from mutants.catalogue import CatalogueError, Mutant, choose, read_catalogue
from mutants.runner import GRADIENTS, KILLED, ROOT, SURVIVED, Detector, Outcome, Workspace, examine, quick_detector

SHARE = 58 / 60
"""Of the mutants, that has to be killed."""


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    try:
        mutants = choose(read_catalogue(), chosen.only)
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
    least = math.ceil(SHARE * len(mutants)) if chosen.least is None else chosen.least
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is running ends, too
    detectors = [GRADIENTS] if chosen.gradients_only else [GRADIENTS, quick_detector()]
    try:
        outcomes = run_all(mutants, detectors, chosen.jobs, chosen.time_limit)
    except RuntimeError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    return report(outcomes, least)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m mutants",
        description="Plants each seeded fault in a copy of the package and runs `bpttlab verify gradients`, then "
        "`bpttlab verify --quick`. A mutant is killed by a check that fails. Exit code 1 if too few are killed, 2 if a "
        "mutant does not apply to the source or the source itself fails a check.",
    )
    found.add_argument("--only", action="append", default=[], metavar="PATTERN", help="mutants by name, with wildcards")
    found.add_argument("--list", action="store_true", help="show the mutants and whether they apply; run nothing")
    found.add_argument("--least", type=int, metavar="N", help="how many have to be killed; default: 58 of 60")
    found.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants at a time; default: 2")
    found.add_argument(
        "--time-limit", type=float, default=300.0, metavar="S", help="seconds for a detector; default: 300"
    )
    found.add_argument("--gradients-only", action="store_true", help="run `verify gradients` alone")
    return found


def run_all(mutants: Sequence[Mutant], detectors: Sequence[Detector], jobs: int, seconds: float) -> list[Outcome]:
    """The outcome of every mutant, some at a time; raises a RuntimeError if the source without a fault fails."""
    jobs = max(1, min(jobs, len(mutants)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ExitStack() as stack:
        workspaces = [Workspace(Path(folder, str(number))) for number in range(jobs)]
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        for workspace in workspaces:
            stack.callback(workspace.stop)  # before the pool waits for its threads
        print(f"{len(mutants)} mutants; first the source without a fault", flush=True)
        prepare_all(pool, workspaces, detectors, seconds)
        free: SimpleQueue[Workspace] = SimpleQueue()
        for workspace in workspaces:
            free.put(workspace)
        futures = [pool.submit(examine_next, free, mutant, detectors, seconds) for mutant in mutants]
        stack.callback(lambda: [future.cancel() for future in futures])
        return [shown(future.result(), done, len(mutants)) for done, future in enumerate(as_completed(futures), 1)]


def prepare_all(
    pool: ThreadPoolExecutor, workspaces: Sequence[Workspace], detectors: Sequence[Detector], seconds: float
) -> None:
    """Copies the source into every workspace; in the first one it has to pass all detectors."""
    chosen = [detectors, *[()] * (len(workspaces) - 1)]
    futures = [pool.submit(baseline, one, some, seconds) for one, some in zip(workspaces, chosen, strict=True)]
    for future in futures:
        future.result()


def baseline(workspace: Workspace, detectors: Sequence[Detector], seconds: float) -> None:
    """Copies the source, and runs the detectors on it, which all have to pass."""
    workspace.prepare()
    for detector in detectors:
        run = workspace.run(detector, seconds)
        if run.status != SURVIVED:
            raise RuntimeError(f"{detector.name} of the source without a fault: {run.status}\n{run.output}")


def examine_next(
    free: SimpleQueue[Workspace], mutant: Mutant, detectors: Sequence[Detector], seconds: float
) -> Outcome:
    workspace = free.get()
    try:
        return examine(workspace, mutant, detectors, seconds)
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
    """A table by name, what was not killed and which experiments are about it, and the exit code."""
    print()
    width = max(len(outcome.mutant.name) for outcome in outcomes)
    for outcome in sorted(outcomes, key=lambda one: one.mutant.name):
        by = f"{outcome.detector}: {outcome.failed[0]}" if outcome.failed else ""
        print(f"{outcome.status:<9}  {outcome.mutant.name:<{width}}  {by}".rstrip())
    others = [outcome for outcome in outcomes if outcome.status != KILLED]
    for outcome in others:
        about = f", subject of {', '.join(outcome.mutant.experiments)}" if outcome.mutant.experiments else ""
        print(f"\nnot killed: {outcome.mutant.name} ({outcome.status}{about})")
        if outcome.status != SURVIVED:
            print(outcome.output)
    killed = Counter(outcome.detector for outcome in outcomes if outcome.status == KILLED)
    by = ", ".join(f"{count} by {name}" for name, count in sorted(killed.items()))
    print(f"\n{killed.total()} of {len(outcomes)} mutants killed ({by or 'none'}); at least {least} have to be")
    return int(killed.total() < least)
