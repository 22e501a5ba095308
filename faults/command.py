"""The command line of `python -m faults`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from tabulate import tabulate

from bpttlab.errors import nearest
from faults.catalogue import FAULTS, Fault
from faults.needs import NotTriedError
from faults.outcome import Outcome

LOST, NOT_TRIED, WRONG, INTERRUPTED = 1, 3, 2, 130
"""Exit codes."""

STOPPED: list[int] = []
"""The signals that ended the command."""

SECONDS_BETWEEN_LINES = 10.0
SHOWN_LOSSES = 20


@dataclass(frozen=True)
class Result:
    """What became of a fault.

    Attributes:
        outcome: None: it was not tried.
        reason: why not, or why it stopped.
    """

    fault: Fault
    outcome: Outcome | None
    reason: str = ""
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        if self.outcome is None:
            return f"not tried: {self.reason}"
        return "LOST" if self.outcome.losses else "nothing lost"

    @property
    def row(self) -> list[object]:
        """Of the table."""
        times = self.outcome.tried.total() if self.outcome else 0
        losses = len(self.outcome.losses) if self.outcome else ""
        return [self.fault.module, self.fault.how, times, losses, f"{self.seconds:.0f} s", self.verdict]


def main(arguments: Sequence[str] | None = None) -> int:
    """Injects the chosen faults; the exit code."""
    chosen = build_parser().parse_args(arguments)
    faults = choose(chosen.names) if chosen.names else list(FAULTS)
    if isinstance(faults, str):
        print(f"faults: {faults}", file=sys.stderr)
        return WRONG
    if chosen.list:
        print(tabulate([[one.module, one.how, one.whole, one.quick] for one in faults], HEADINGS_OF_LIST))
        return 0
    try:
        with stoppable():
            results = [inject(fault, chosen) for fault in faults]
    except BaseException as error:  # a pool whose processes heard the signal first is broken
        if not (STOPPED or isinstance(error, KeyboardInterrupt)):
            raise
        print("faults: interrupted", file=sys.stderr)
        return INTERRUPTED
    return report(results, chosen.all_needed)


HEADINGS = ("fault", "how it is tried", "times", "lost", "time", "result")
HEADINGS_OF_LIST = ("fault", "how it is tried", "times", "with --quick")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description="Injects faults into sweeps and stored studies, and checks that nothing is lost and nothing is "
        "silently wrong. Exit code 1 if something is, 2 for a name that does not exist, 3 with --all-needed if a "
        "fault cannot be tried on this machine, 130 after Ctrl-C.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults by name; default: all")
    parser.add_argument("--quick", action="store_true", help="few of each: five minutes in all")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which faults are chosen; default: 0")
    parser.add_argument("--count", type=int, metavar="N", help="how many of each, instead of the stated number")
    parser.add_argument("--list", action="store_true", help="show the faults; try none")
    parser.add_argument(
        "--all-needed", action="store_true", help="a fault that cannot be tried here makes the exit code 3"
    )
    return parser


def choose(names: Sequence[str]) -> list[Fault] | str:
    """The faults of these names, or what is wrong with a name."""
    known = {fault.module: fault for fault in FAULTS}
    for name in names:
        if name not in known:
            return f"there is no fault '{name}': must be one of {', '.join(known)}.{nearest(name, known)}"
    return [known[name] for name in dict.fromkeys(names)]


@contextmanager
def stoppable() -> Iterator[None]:
    """In this block Ctrl-C and SIGTERM end the command, with all that it has begun."""
    STOPPED.clear()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(number: int, frame: object) -> NoReturn:
    """Ends the command as Ctrl-C does; where an exception is ignored, as while a process forks, a moment later."""
    STOPPED.append(number)
    raise KeyboardInterrupt


def inject(fault: Fault, chosen: argparse.Namespace) -> Result:
    """Injects one kind of fault, and says how far it is."""
    count = chosen.count or (fault.quick if chosen.quick else fault.whole)
    begun = last = time.monotonic()
    print(f"{fault.module}: {count} times", file=sys.stderr, flush=True)

    def show(done: int, of: int, losses: int) -> None:
        nonlocal last
        if STOPPED:
            raise KeyboardInterrupt
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{fault.module}: {done} of {of}, {losses} losses", file=sys.stderr, flush=True)

    try:
        outcome = fault.inject(count, chosen.seed, show)
    except NotTriedError as error:
        return Result(fault, None, str(error))
    return Result(fault, outcome, seconds=time.monotonic() - begun)


def report(results: Sequence[Result], all_needed: bool) -> int:
    """Prints the table, what was tried of each kind, and the losses; the exit code."""
    widths = [None, 40, None, None, None, 30]
    print(tabulate([result.row for result in results], HEADINGS, maxcolwidths=widths))
    for result in results:
        if result.outcome is not None:
            print()
            describe(result.fault.module, result.outcome)
    if any(result.outcome is not None and result.outcome.losses for result in results):
        return LOST
    return NOT_TRIED if all_needed and any(result.outcome is None for result in results) else 0


def describe(name: str, outcome: Outcome) -> None:
    """Prints how often each kind was tried, and the losses."""
    print(f"{name}: {', '.join(f'{kind} {times}' for kind, times in sorted(outcome.tried.items()))}")
    for loss in outcome.losses[:SHOWN_LOSSES]:
        print(f"  lost: {loss}")
    if outcome.losses:
        print(f"  {len(outcome.losses)} losses; again: {outcome.replay}")
