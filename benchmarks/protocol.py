"""Timing some things against each other: rounds in turn A B C A B C, so that what disturbs one disturbs all.

A round has one number for each: seconds a call, from as many calls as take 0.1 s. Ratios are taken within a round and
summarised afterwards, so that a machine that is slower for a while makes no ratio.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Call = Callable[[], Any]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Protocol:
    """How often and for how long.

    Attributes:
        rounds: how many.
        least: seconds that the calls of one contender take in a round, at least.
        longest: seconds that all rounds may take; where they would take longer there are fewer, which the table says.
    """

    rounds: int = 7
    least: float = 0.1
    longest: float = 60.0


FULL = Protocol()
QUICK = Protocol(rounds=3, least=0.01, longest=3.0)


@dataclass(frozen=True)
class Spread:
    """Some numbers, one a round."""

    least: float
    median: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values), len(values))


@dataclass(frozen=True)
class Timed:
    """Seconds of one call, a number a round, by contender; and what each contender's first call gave."""

    seconds: dict[str, tuple[float, ...]]
    answers: dict[str, Any]

    def spread(self, name: str) -> Spread:
        """Seconds a call."""
        return Spread.of(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> Spread:
        """How many times as long `slow` takes, round by round."""
        return Spread.of([a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True)])

    def fraction(self, name: str, flops: float, speed: float) -> Spread:
        """Of a speed in floating-point operations a second, round by round."""
        return Spread.of([flops / seconds / speed for seconds in self.seconds[name]])


def compared(
    contenders: Mapping[str, Call],
    protocol: Protocol,
    check: Callable[[dict[str, Any]], None] = lambda answers: None,
    clock: Clock = time.perf_counter,
) -> Timed:
    """Answers of all contenders, checked before anything is timed, and then the rounds.

    The first call of each gives the answer, and is not timed: it compiles, where something compiles. The second says
    how often to call; where the second ones alone take `longest`, they are the only round.
    """
    with collector_off():
        answers = {name: call() for name, call in contenders.items()}
        check(answers)
        warm = in_turn(contenders, dict.fromkeys(contenders, 1), 1, clock)
        if sum(seconds for (seconds,) in warm.values()) >= protocol.longest:
            return Timed(warm, answers)
        repeats = {name: calls_a_round(seconds, protocol) for name, (seconds,) in warm.items()}
        rounds = rounds_that_fit(sum(seconds * repeats[name] for name, (seconds,) in warm.items()), protocol)
        return Timed(in_turn(contenders, repeats, rounds, clock), answers)


def in_turn(
    contenders: Mapping[str, Call], repeats: Mapping[str, int], rounds: int, clock: Clock
) -> dict[str, tuple[float, ...]]:
    """A B C A B C …: seconds a call, one number a round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            seconds[name].append(once(call, repeats[name], clock))
    return {name: tuple(values) for name, values in seconds.items()}


def once(call: Call, repeats: int, clock: Clock) -> float:
    """Seconds a call, over some calls one after another."""
    begun = clock()
    for _ in range(repeats):
        call()
    return (clock() - begun) / repeats


def calls_a_round(seconds: float, protocol: Protocol) -> int:
    return max(1, math.ceil(protocol.least / max(seconds, 1e-9)))


def rounds_that_fit(seconds: float, protocol: Protocol) -> int:
    return max(1, min(protocol.rounds, int(protocol.longest / max(seconds, 1e-9))))


@contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection meanwhile; as it was before afterwards."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
