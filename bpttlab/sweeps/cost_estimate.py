"""What a plan will take: rows of each table, and about how much time and how many bytes.

Rows follow from the configurations. Time is measured: one bundle of every kind (cell, task, measures) is computed here
and now with a short sequence, twice with different lengths, which tells what a bundle costs at all and what a step of
it costs; and once more with a run of each scheme beside it, with few and with more of its draws, which tells what such
a run adds. Bytes are rows times what a row takes on disk, and what a shard takes that has next to none. All is rounded
to what it is worth; a dry run computes for about a second, or a few where there are many schemes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

from bpttlab.errors import ConfigurationError
from bpttlab.measures.jacobian_products import JacobianProducts
from bpttlab.networks.initializers import GaussianRadius
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.plan import Bundle, Options, Plan, bundles
from bpttlab.sweeps.progress import count
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Full

BUDGET = 1.0
"""Seconds of measuring, after which a kind of run is judged by the one before it."""
PROBE_LENGTHS = (12, 24, 48, 96, 192, 784)
PROBE_SIZE = 96
SCHEME_BUDGET = 3.0
"""Seconds of measuring schemes, after which one is judged by what it took in another cell."""
SCHEME_LENGTHS = {False: 96, True: 24}
"""The longest sequence on which a scheme is measured, and what goes forward, which is slow."""
FEW, MORE = 2, 64
"""Members of an ensemble that are measured: draws, or places where the first chunk may begin."""
GROWTH = 2.5
"""A larger network is measured at this size; what its runs cost grows with about this power of the size."""

START_SECONDS = 1.0
PARENT_SECONDS = 0.0001
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
        length = configuration.values.sequence_length
        rows = configuration.measure.rows(configuration.cell, length, configuration.scheme)
        total.update({"runs": 1, "provenance": 1, **rows})
    return total


def bytes_of(rows: Counter[str], shards: float) -> float:
    """Of so many shards of each table; about one a second is published, if there is something to publish."""
    tables = [table for table, number in rows.items() if number]
    each = [(rows[table] * ROW_BYTES.get(table, 20.0), SHARD_BYTES.get(table, 4_000)) for table in tables]
    return sum(of_rows + max(1.0, shards) * of_shard for of_rows, of_shard in each)


# ------------------------------------------------------------------ time


@dataclass(frozen=True)
class Cost:
    """What bundles of one kind take: seconds of each length, and of each step of it, and what a run of a scheme adds.

    Attributes:
        power: of the length; the triangle has T (T + 1) / 2 products.
        schemes: by kind of scheme.
    """

    start: float
    step: float
    power: int
    schemes: Mapping[Hashable, SchemeCost] = field(default_factory=dict)

    def seconds(self, bundle: Bundle) -> float:
        lengths = {configuration.values.sequence_length for configuration in bundle}
        shared = sum(self.start + self.step * length**self.power for length in lengths)
        return shared + sum(self.schemes[scheme_kind(one.scheme)].seconds(one) for one in bundle)

    def larger(self, factor: float) -> Cost:
        return Cost(self.start * factor, self.step * factor, self.power)


class SchemeCost(NamedTuple):
    """What a run adds to a bundle: seconds of a step at all, and of a step of each member of its ensemble."""

    step: float
    member: float

    def seconds(self, one: Configuration) -> float:
        return length_of(one) * (self.step + self.member * one.scheme.members(length_of(one)))

    def larger(self, factor: float) -> SchemeCost:
        return SchemeCost(self.step * factor, self.member * factor)


def seconds_of(divided: Sequence[Bundle], processes: int) -> float:
    """About how long these bundles take on this machine, if it has as many processors as there are processes."""
    kinds: dict[Hashable, list[Bundle]] = {}
    for bundle in divided:
        kinds.setdefault(kind_of(bundle[0]), []).append(bundle)
    shared = costs_of([alike[len(alike) // 2] for alike in kinds.values()])
    schemes = scheme_costs(list(kinds.values()))
    costs = [replace(cost, schemes=own) for cost, own in zip(shared, schemes, strict=True)]
    each = [cost.seconds(bundle) for cost, alike in zip(costs, kinds.values(), strict=True) for bundle in alike]
    slowest = max(sum(each) / max(1, processes), max(each))
    return slowest + (START_SECONDS if processes else 0.0) + PARENT_SECONDS * sum(map(len, divided))


def kind_of(configuration: Configuration) -> Hashable:
    """What runs that cost the same for each step have in common."""
    values = configuration.values
    what = (configuration.cell, configuration.task.name, configuration.measure)
    return (*what, values.batch_size, values.dtype, values.engine)


def costs_of(typical: Sequence[Bundle]) -> list[Cost]:
    """What bundles of each kind cost, from a typical bundle of each; small networks are measured first."""
    clock, costs = Clock(BUDGET), [Cost(0.0, 0.0, 1)] * len(typical)
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
        from bpttlab.sweeps.run import measure_bundle

        took = float("inf")
        for _ in range(2):
            begun = time.perf_counter()
            measure_bundle(bundle)
            took = min(took, time.perf_counter() - begun)
            if took > self.left / 8:
                break
        return took


def cost_of(bundle: Bundle, size: int, clock: Clock) -> Cost:
    """Measures what runs like these share, at two short lengths, beside a full gradient."""
    length, power = max(map(length_of, bundle)), 1 + (bundle[0].measure.get(JacobianProducts).jacobians == "triangle")
    lone = uncut(longest(bundle)[:1])
    short = changed(lone, PROBE_LENGTHS[0], size)
    first, T = clock.seconds(short), length_of(short[0])
    if length == T or clock.left < 2.5 * first:
        return Cost(first / 2, first / 2 / T**power, power)  # a guess: there is no time to ask
    long = changed(lone, 4 * T if clock.left > 5 * first else 2 * T, size)
    second, longer = clock.seconds(long), length_of(long[0])
    if longer == T:
        return Cost(first / 2, first / 2 / T**power, power)
    step = max(0.0, second - first) / (longer**power - T**power)
    return Cost(max(0.0, first - step * T**power), step, power)


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


# ------------------------------------------------------------------ time of schemes


def scheme_kind(scheme: Scheme) -> Hashable:
    """What schemes that cost the same for each step and member have in common: all but how far they reach."""
    return scheme.name, getattr(scheme, "steps", None)


def scheme_costs(kinds: Sequence[Sequence[Bundle]]) -> list[dict[Hashable, SchemeCost]]:
    """What a run of each scheme adds, for every kind of bundle; small networks are measured first.

    Where time is up, what the scheme took elsewhere is multiplied by how many more parameters there are.
    """
    clock = Clock(SCHEME_BUDGET)
    known: dict[Hashable, tuple[int, SchemeCost]] = {}
    found: list[dict[Hashable, SchemeCost]] = [{} for _ in kinds]
    for at in sorted(range(len(kinds)), key=lambda at: parameters_of(kinds[at][0][0])):
        alone: dict[int, float] = {}
        for kind, one in schemes_among(kinds[at]).items():
            size, (before, cost) = parameters_of(one), known.get(kind, (0, SchemeCost(0.0, 0.0)))
            measured = min(size_of(one), PROBE_SIZE)
            if not before or clock.left > 0:
                larger = (size_of(one) / measured) ** GROWTH
                known[kind] = size, scheme_cost(one, measured, clock, alone).larger(larger)
                found[at][kind] = known[kind][1]
            else:
                found[at][kind] = cost.larger(size / before)
    return found


def schemes_among(bundles: Iterable[Bundle]) -> dict[Hashable, Configuration]:
    """Of each kind of scheme the run that reaches furthest."""
    chosen: dict[Hashable, Configuration] = {}
    for one in (one for bundle in bundles for one in bundle):
        kind = scheme_kind(one.scheme)
        if kind not in chosen or (one.scheme.truncation or 0) > (chosen[kind].scheme.truncation or 0):
            chosen[kind] = one
    return chosen


def scheme_cost(one: Configuration, size: int, clock: Clock, alone: dict[int, float]) -> SchemeCost:
    """Measures a short run beside one with the full gradient, with few and with more members.

    `alone` is what the latter takes, by length, as far as it is known.
    """
    if one.scheme == Full():
        return SchemeCost(0.0, 0.0)
    longest = SCHEME_LENGTHS[one.scheme.forwards]
    below = [T for T in PROBE_LENGTHS if longest >= T and length_of(one) > T]
    short = changed((one,), max(below, default=PROBE_LENGTHS[0]), size)
    T = length_of(short[0])
    if T not in alone:
        alone[T] = clock.seconds(uncut(short))
    most = one.scheme.members(length_of(one))
    added = {number: max(0.0, clock.seconds((*uncut(short), *with_members(short, number))) - alone[T]) / T
             for number in sorted({min(most, FEW), min(most, MORE)})}  # fmt: skip
    few, more = min(added), max(added)
    member = max(0.0, added[more] - added[few]) / (more - few) if more > few else 0.0
    return SchemeCost(max(0.0, added[few] - few * member), member)


def uncut(bundle: Bundle) -> Bundle:
    """The same runs with the full gradient."""
    return tuple(replace(one, scheme=Full()) for one in bundle)


def with_members(bundle: Bundle, number: int) -> Bundle:
    """The same runs with so many draws, or places."""
    scheme = bundle[0].scheme.with_members(number) if number else bundle[0].scheme
    return tuple(replace(one, scheme=scheme) for one in bundle)


def parameters_of(one: Configuration) -> int:
    return sum(prod(shape) for shape in one.cell.shapes().values())


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
