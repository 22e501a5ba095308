"""What a plan will take: rows of each table, and about how much time and how many bytes.

Rows follow from the configurations. Time is measured: one bundle of every kind (cell, task, measures) is computed here
and now with a short sequence, twice with different lengths, which tells what a bundle costs at all and what a step of
it costs. Bytes are rows times what a row takes on disk, and what a shard takes that has next to none. All is rounded
to what it is worth; a dry run computes for about a second.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bpttlab.configuration import Configuration
from bpttlab.errors import ConfigurationError
from bpttlab.initializers import GaussianRadius
from bpttlab.planning import Bundle, Options, Plan, bundles
from bpttlab.progress import count

BUDGET = 1.0
"""Seconds of measuring, after which a kind of run is judged by the one before it."""
PROBE_LENGTHS = (12, 24, 48, 96, 192, 784)
PROBE_SIZE = 96
GROWTH = 2.5
"""A larger network is measured at this size; what its runs cost grows with about this power of the size."""

START_SECONDS = 1.0
PARENT_SECONDS = 0.001
"""Of the process that publishes, for each run: reading what the worker sends, and its share of a shard."""

ROW_BYTES = {"runs": 120.0, "provenance": 40.0, "jacobians": 20.0, "lag_terms": 23.0, "truncations": 10.0}
SHARD_BYTES = {"runs": 21_000, "provenance": 4_400, "jacobians": 3_500, "lag_terms": 3_500, "truncations": 4_000}
"""Of a shard with no rows: the names and types of its columns. Measured, as are the bytes of a row."""


def lines(planned: Plan, options: Options) -> list[str]:
    """The forecast in words."""
    if not planned.to_do:
        return []
    rows = rows_of(planned.to_do)
    divided = bundles(planned.to_do, options.processes)
    seconds = seconds_of(divided, options.processes)
    size = bytes_of(rows, shards=min(seconds, len(divided)))
    told = ", ".join(f"{number} of {table}" for table, number in rows.items() if number and table != "provenance")
    workers = min(options.processes, len(divided))
    by = count(workers, "worker") if workers else "this process"
    return [f"rows, at most: {told}", f"about {rough_seconds(seconds)} by {by}, about {rough_bytes(size)}"]


# ------------------------------------------------------------------ rows and bytes


def rows_of(configurations: Iterable[Configuration]) -> Counter[str]:
    """Rows of each table that these runs have at most."""
    total: Counter[str] = Counter(dict.fromkeys(ROW_BYTES, 0))
    for configuration in configurations:
        wanted, parameters = configuration.measure, len(configuration.cell.recurrent_parameters)
        own = wanted.rows(configuration.values.sequence_length, configuration.cell)
        read_off = own["lag_terms"] if wanted.truncations == "log" else 0
        total.update({"runs": 1, "provenance": 1, **own, "truncations": parameters + read_off})
    return total


def bytes_of(rows: Counter[str], shards: float) -> float:
    """Of so many shards of each table; about one a second is published, if there is something to publish."""
    tables = [table for table, number in rows.items() if number]
    return sum(rows[table] * ROW_BYTES[table] + max(1.0, shards) * SHARD_BYTES[table] for table in tables)


# ------------------------------------------------------------------ time


@dataclass(frozen=True)
class Cost:
    """What bundles of one kind take: seconds of each length, and of each step of it.

    Attributes:
        truncation: what another run of the same length adds, as a part of the first.
        power: of the length; the triangle has T (T + 1) / 2 products.
    """

    start: float
    step: float
    truncation: float
    power: int

    def seconds(self, bundle: Bundle) -> float:
        lengths = Counter(configuration.values.sequence_length for configuration in bundle)
        return sum(
            (self.start + self.step * length**self.power) * (1.0 + self.truncation * (runs - 1))
            for length, runs in lengths.items()
        )

    def larger(self, factor: float) -> Cost:
        return Cost(self.start * factor, self.step * factor, self.truncation, self.power)


def seconds_of(divided: Sequence[Bundle], processes: int) -> float:
    """About how long these bundles take on this machine, if it has as many processors as there are processes."""
    kinds: dict[Hashable, list[Bundle]] = {}
    for bundle in divided:
        kinds.setdefault(kind_of(bundle[0]), []).append(bundle)
    costs = costs_of([alike[len(alike) // 2] for alike in kinds.values()])
    each = [cost.seconds(bundle) for cost, alike in zip(costs, kinds.values(), strict=True) for bundle in alike]
    shared = max(sum(each) / max(1, processes), max(each))
    return shared + (START_SECONDS if processes else 0.0) + PARENT_SECONDS * sum(map(len, divided))


def kind_of(configuration: Configuration) -> Hashable:
    """What runs that cost the same for each step have in common."""
    values = configuration.values
    what = (configuration.cell, configuration.task.name, configuration.measure)
    return (*what, values.batch_size, values.dtype, values.engine)


def costs_of(typical: Sequence[Bundle]) -> list[Cost]:
    """What bundles of each kind cost, from a typical bundle of each; small networks are measured first."""
    clock, costs = Clock(BUDGET), [Cost(0.0, 0.0, 0.0, 1)] * len(typical)
    clock.warm_up(typical[0])
    before: tuple[int, Cost] | None = None
    for at in sorted(range(len(typical)), key=lambda at: size_of(typical[at][0])):
        size = size_of(typical[at][0])
        measured = min(size, PROBE_SIZE)
        if before is None or clock.left > 3 * before[1].start:
            before = measured, cost_of(typical[at], measured, clock)
        costs[at] = before[1].larger((size / before[0]) ** GROWTH)
    return costs


class Clock:
    """Measures how long bundles take, for a limited time."""

    def __init__(self, budget: float) -> None:
        self.end = time.perf_counter() + budget

    @property
    def left(self) -> float:
        return self.end - time.perf_counter()

    def warm_up(self, bundle: Bundle) -> None:
        """The first bundle of a process waits for imports; that is not measured, and not counted."""
        begun = time.perf_counter()
        smallest = changed(bundle[:1], PROBE_LENGTHS[0], 2)
        self.seconds(smallest)
        self.end += time.perf_counter() - begun

    def seconds(self, bundle: Bundle) -> float:
        """The less of two times, if there is time for a second."""
        from bpttlab.experiment import measure_bundle

        took = float("inf")
        for _ in range(2):
            begun = time.perf_counter()
            measure_bundle(bundle)
            took = min(took, time.perf_counter() - begun)
            if took > self.left / 8:
                break
        return took


def cost_of(bundle: Bundle, size: int, clock: Clock) -> Cost:
    """Measures a bundle like this one, of two short lengths, and with one truncation more."""
    length, power = max(map(length_of, bundle)), 2 if bundle[0].measure.jacobians == "triangle" else 1
    lone = longest(bundle)[:1]
    short = changed(lone, PROBE_LENGTHS[0], size)
    first, T = clock.seconds(short), length_of(short[0])
    if length == T or clock.left < 2.5 * first:
        return Cost(first / 2, first / 2 / T**power, 0.5, power)  # a guess: there is no time to ask
    long = changed(lone, 4 * T if clock.left > 5 * first else 2 * T, size)
    second, longer = clock.seconds(long), length_of(long[0])
    if longer == T:
        return Cost(first / 2, first / 2 / T**power, 0.5, power)
    step = max(0.0, second - first) / (longer**power - T**power)
    several = longest(bundle)[:2]
    more = 0.0
    if len(several) == 2 and clock.left > second:
        more = clock.seconds(changed(several, longer, size)) / second - 1.0
    return Cost(max(0.0, first - step * T**power), step, min(max(more, 0.0), 1.0), power)


def longest(bundle: Bundle) -> Bundle:
    """The runs of a bundle that have its longest length."""
    length = max(map(length_of, bundle))
    return tuple(configuration for configuration in bundle if length_of(configuration) == length)


def changed(bundle: Bundle, length: int, size: int) -> Bundle:
    """The same runs no longer than this and of this size, or as near to it as their task lets them be."""
    own = length_of(bundle[0])
    for T in [T for T in PROBE_LENGTHS if length <= T < own]:
        try:
            return tuple(resized(one, T, size) for one in bundle)
        except ConfigurationError:  # the task needs a longer sequence, for example
            continue
    return bundle


def resized(one: Configuration, length: int, size: int) -> Configuration:
    """A run like this one, of another length and size."""
    cell: Any = one.cell
    if one.own is not None:  # a network of a file has one size; one of the same cell that is drawn takes as long
        one = replace(one, own=None, initializer=GaussianRadius())
    return replace(
        one,
        values=replace(one.values, sequence_length=length),
        task=replace(one.task, sequence_length=length),
        cell=replace(cell, hidden_size=size),
    )


def length_of(configuration: Configuration) -> int:
    return configuration.values.sequence_length


def size_of(configuration: Configuration) -> int:
    return int(configuration.plain["cell"].get("hidden_size", 1))


# ------------------------------------------------------------------ words


def rough_seconds(seconds: float) -> str:
    """Rounded to what an estimate is worth: 5 s, 40 s, 3 min, 2.5 h."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{rough(seconds / length)} {unit}"
    return f"{rough(max(1.0, seconds))} s"


def rough_bytes(size: float) -> str:
    """40 kB, 3.5 MB."""
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if size >= length:
            return f"{rough(size / length)} {unit}"
    return f"{rough(size / 1e3)} kB"


def rough(number: float) -> str:
    """One digit, or two if the first is a one."""
    digits = 2 if f"{number:.0e}".startswith("1") else 1
    return f"{float(f'{number:.{digits - 1}e}'):g}"
