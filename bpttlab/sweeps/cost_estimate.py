"""What a plan takes: rows of each table, bytes, and about how much time.

Rows follow from the configurations. Bytes are rows times the bytes of a row, and the bytes of shards. Time is measured
on short runs of small networks: of every kind of run (cell, task, measures, engine) with the full gradient at two
lengths, and of every scheme in it one beside the full gradient, for which draws cost alike. A dry run measures for
about a second, and for a few where there are many schemes. The numbers are rounded to what they are worth.

Runs of which even a short one would take much memory are not measured, and the time is then not known.

Nothing is compiled: where the loops of engine=numba are not on disk, the runs are measured with engine=numpy.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.compiled import preload
from bpttlab.measures.jacobian_products import JacobianProducts
from bpttlab.networks.initializers import GaussianRadius
from bpttlab.sweeps.compiled_loops import Kinds, describe_missing, find_cells_without_loops
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.memory_estimate import need_of
from bpttlab.sweeps.plan import Bundle, Options, SweepPlan, bundles
from bpttlab.sweeps.progress import format_count
from bpttlab.truncation.segmented import Full

BUDGET, SCHEME_BUDGET = 1.0, 3.0
"""Seconds of measuring shared work, and schemes; afterwards one kind is estimated from another."""

PROBE_LENGTHS = (12, 24, 48, 96, 192, 784)
PROBE_SIZE = 96
PROBE_MEMBERS = 64
PROBE_BYTES = 1 << 28
"""Of the shortest run that is measured."""

SCHEME_LENGTHS = {False: 96, True: 24}
"""The longest sequence on which a scheme is measured; True: it carries derivatives forwards, which is slow."""

_GROWTH = 2.5
"""A larger network is measured at PROBE_SIZE; the cost of a run grows with about this power of the size."""

START_SECONDS = 1.0
COMPILING_SECONDS = 35.0
"""Of the loops of one kind of cell and dtype."""
PARENT_SECONDS = 0.0001
"""Of the process that publishes, for each run: reading what the worker sends, and its share of a shard."""

ROW_BYTES = {"runs": 120.0, "provenance": 40.0, "jacobians": 20.0, "lag_terms": 23.0, "truncations": 10.0}
SHARD_BYTES = {"runs": 21_000, "provenance": 4_400, "jacobians": 3_500, "lag_terms": 3_500, "truncations": 4_000}
"""Of a shard with no rows: the names and types of its columns. Measured, as are the bytes of a row."""


def lines(planned: SweepPlan, options: Options) -> list[str]:
    """The estimate in words."""
    if not planned.to_do:
        return []
    rows = expected_rows(planned.to_do)
    divided = [tuple(one.without_training() for one in part) for part in bundles(planned.to_do, options.processes)]
    if too_large := [bundle for bundle in divided if not can_be_measured(bundle)]:
        return [
            list_rows(rows),
            f"time: not known, because {format_count(len(too_large), 'bundle')} would take too "
            f"much memory to be measured in a moment; about {rough_bytes(bytes_of(rows, len(divided)))}",
        ]
    seconds, remarks = seconds_without_compiling(divided, options.processes)
    size = bytes_of(rows, shards=min(seconds, len(divided)))
    workers = min(options.processes, len(divided))
    by = format_count(workers, "worker") if workers else "this process"
    if any(one.training is not None for one in planned.to_do):
        remarks = [*remarks, "the time is that of measuring; that of training is not estimated"]
    return [list_rows(rows), f"about {rough_seconds(seconds)} by {by}, about {rough_bytes(size)}", *remarks]


def can_be_measured(bundle: Bundle) -> bool:
    """Whether a short run of its kind takes little memory."""
    return need_of(shrink(bundle[:1], PROBE_LENGTHS[0])[0], False, math.inf).total <= PROBE_BYTES


# ------------------------------------------------------------------ rows and bytes


def list_rows(rows: Counter[str]) -> str:
    shown = ", ".join(f"{number} of {table}" for table, number in rows.items() if number and table != "provenance")
    return f"rows, at most: {shown}"


def expected_rows(configurations: Iterable[Configuration]) -> Counter[str]:
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
    """Seconds that the runs of a bundle share, for each length: of a forward pass and its measures.

    Attributes:
        power: of the length; the triangle has T (T + 1) / 2 products.
    """

    start: float
    step: float
    power: int

    def seconds(self, length: int) -> float:
        return self.start + self.step * length**self.power

    def scale(self, factor: float) -> Cost:
        return Cost(self.start * factor, self.step * factor, self.power)


class Clock:
    """Measures the processor time of bundles, up to a budget of it: other work on the machine does not count."""

    def __init__(self, budget: float) -> None:
        self.end = time.process_time() + budget

    @property
    def left(self) -> float:
        return self.end - time.process_time()

    def seconds(self, bundle: Bundle) -> float:
        """The less of two times, if there is time for a second."""
        from bpttlab.sweeps.run import measure_bundle

        took = float("inf")
        for _ in range(2):
            begun = time.process_time()
            measure_bundle(bundle)
            took = min(took, time.process_time() - begun)
            if took > self.left / 8:
                break
        return took


def seconds_without_compiling(divided: Sequence[Bundle], processes: int) -> tuple[float, list[str]]:
    """`seconds_of`, and what there is to say if the loops of engine=numba would have to be compiled for it."""
    compiled = [one for bundle in divided for one in bundle if one.values.engine == "numba"]
    if not compiled:
        return seconds_of(divided, processes), []
    kinds: Kinds = (
        list({(type(one.cell), getattr(one.cell, "of", None)): one.cell for one in compiled}.values()),
        sorted({one.values.dtype for one in compiled}),
    )
    missing = find_cells_without_loops(kinds)
    remarks = [describe_missing(missing)] if missing else []
    if own := find_own_names(kinds):
        remarks.append(f"each process compiles the kernel of {', '.join(own)}: the time above is that of engine=numpy")
        divided = [interpret_own(bundle, own) for bundle in divided]
    if preload.are_read(kinds):
        with suppress(preload.NotOnDisk), preload.no_compilation():
            return seconds_of(divided, processes), remarks
    number = (len(kinds[0]) - len(missing) - len(own)) * len(kinds[1])
    remark = (
        f"the loops of engine=numba are not compiled yet: about {rough_seconds(number * COMPILING_SECONDS)} more, "
        "once; the time above is that of engine=numpy"
    )
    return seconds_of([interpret(bundle) for bundle in divided], processes), [*remarks, remark]


def find_own_names(kinds: Kinds) -> list[str]:
    """The names of cells with a kernel of a user's own, whose loops no disk keeps."""
    from bpttlab.gradients.compiled import forms

    return [cell.name for cell in kinds[0] if forms.is_own(cell)]


def interpret_own(bundle: Bundle, names: Collection[str]) -> Bundle:
    """The same runs, those of these cells with NumPy's loops."""
    return interpret(bundle) if bundle[0].cell.name in names else bundle


def interpret(bundle: Bundle) -> Bundle:
    """The same runs with NumPy's loops."""
    return tuple(replace(one, values=replace(one.values, engine="numpy")) for one in bundle)


def seconds_of(divided: Sequence[Bundle], processes: int) -> float:
    """About how long these bundles take on this machine if it has a processor for each process, and no other work."""
    kinds: dict[Hashable, list[Bundle]] = {}
    for bundle in sorted(divided, key=lambda bundle: size_of(bundle[0])):
        kinds.setdefault(_kind_of(bundle[0]), []).append(bundle)
    Clock(0.0).seconds(shrink(divided[0][:1], PROBE_LENGTHS[0]))  # the first bundle of a process waits for imports
    shared = shared_costs([alike[len(alike) // 2] for alike in kinds.values()])
    added = scheme_costs(one for alike in kinds.values() for bundle in alike for one in bundle)
    each = [seconds_of_bundle(bundle, shared[kind], added) for kind, alike in kinds.items() for bundle in alike]
    slowest = max(sum(each) / max(1, processes), max(each))
    return slowest + (START_SECONDS if processes else 0.0) + PARENT_SECONDS * sum(map(len, divided))


def seconds_of_bundle(bundle: Bundle, shared: Cost, added: dict[Hashable, float]) -> float:
    """What its runs share, for each of their lengths, and what the scheme of each adds."""
    lengths = {length_of(one) for one in bundle}
    own = (added[_scheme_of(one)] * length_of(one) * _members_of(one) for one in bundle)
    return sum(map(shared.seconds, lengths)) + sum(own)


def _kind_of(one: Configuration) -> Hashable:
    """What runs with the same cost of a step have in common."""
    values = one.values
    return one.cell, one.task.name, one.measure, values.batch_size, values.dtype, values.engine


def _scheme_of(one: Configuration) -> Hashable:
    """What schemes with the same cost of a step and member have in common: all but how far they reach."""
    return _kind_of(one), one.scheme.name, getattr(one.scheme, "steps", None)


def shared_costs(typical: Sequence[Bundle]) -> dict[Hashable, Cost]:
    """What runs of each kind share, from a typical bundle of each. When time is up, the kind before is scaled."""
    clock, costs = Clock(BUDGET), dict[Hashable, Cost]()
    before: tuple[int, Cost] | None = None
    for bundle in typical:
        size = size_of(bundle[0])
        if before is None or clock.left > 3 * before[1].start:
            before = min(size, PROBE_SIZE), shared_cost(bundle, clock)
        costs[_kind_of(bundle[0])] = before[1].scale((size / before[0]) ** _GROWTH)
    return costs


def shared_cost(bundle: Bundle, clock: Clock) -> Cost:
    """Measures one run with the full gradient at two short lengths; at one if there is no second, or no time."""
    longest = max(bundle, key=length_of)
    power = 1 + (longest.measure.get(JacobianProducts).jacobians == "triangle")
    short = shrink(replace_by_full((longest,)), PROBE_LENGTHS[0])
    first, T = clock.seconds(short), length_of(short[0])
    long = shrink(replace_by_full((longest,)), 4 * T if clock.left > 5 * first else 2 * T)
    longer = length_of(long[0])
    if longer == T or clock.left < 2.5 * first:
        return Cost(first / 2, first / 2 / T**power, power)
    step = max(0.0, clock.seconds(long) - first) / (longer**power - T**power)
    return Cost(max(0.0, first - step * T**power), step, power)


def scheme_costs(runs: Iterable[Configuration]) -> dict[Hashable, float]:
    """Seconds that a run of each scheme adds, for a step and a member; small networks are measured first.

    When time is up, a scheme costs what it cost in another cell, scaled by the size.
    """
    furthest: dict[Hashable, Configuration] = {}
    for one in runs:
        other = furthest.setdefault(_scheme_of(one), one)
        if (one.scheme.truncation or 0) > (other.scheme.truncation or 0):
            furthest[_scheme_of(one)] = one
    clock, known, costs = Clock(SCHEME_BUDGET), dict[str, tuple[int, float]](), dict[Hashable, float]()
    for scheme, one in furthest.items():
        name, size = one.scheme.name, size_of(one)
        if name not in known or clock.left > 0:
            known[name] = min(size, PROBE_SIZE), scheme_cost(one, clock)
        costs[scheme] = known[name][1] * (size / known[name][0]) ** _GROWTH
    return costs


def scheme_cost(one: Configuration, clock: Clock) -> float:
    """Measures a short run beside one with the full gradient: seconds of a step and a member that it adds."""
    if one.scheme == Full():
        return 0.0
    longest = SCHEME_LENGTHS[one.scheme.forwards]
    below = [T for T in PROBE_LENGTHS if longest >= T and length_of(one) > T]
    (short,) = shrink((one,), max(below, default=PROBE_LENGTHS[0]))
    if _members_of(short) > PROBE_MEMBERS:
        short = replace(short, scheme=short.scheme.with_members(PROBE_MEMBERS))
    alone, both = (clock.seconds(bundle) for bundle in (replace_by_full((short,)), (*replace_by_full((short,)), short)))
    return max(0.0, both - alone) / length_of(short) / _members_of(short)


def replace_by_full(bundle: Bundle) -> Bundle:
    """The same runs with the full gradient."""
    return tuple(replace(one, scheme=Full()) for one in bundle)


def shrink(bundle: Bundle, length: int) -> Bundle:
    """The same runs at this length or, if their task needs more, a longer one, and no larger than PROBE_SIZE."""
    for T in [T for T in PROBE_LENGTHS if length <= T < length_of(bundle[0])]:
        try:
            return tuple(resize(one, T) for one in bundle)
        except ConfigurationError:  # the task needs a longer sequence, for example
            continue
    return bundle


def resize(one: Configuration, length: int) -> Configuration:
    """A run like this one, of another length, and no larger than PROBE_SIZE."""
    cell: Any = one.cell
    if one.own is not None:  # a network of a file has one size; one of the same cell that is drawn takes as long
        one = replace(one, own=None, initializer=GaussianRadius())
    return replace(
        one,
        values=replace(one.values, sequence_length=length),
        task=replace(one.task, sequence_length=length),
        cell=replace(cell, hidden_size=min(size_of(one), PROBE_SIZE)),
    )


def _members_of(one: Configuration) -> int:
    """Draws, or plans, of an estimate; 1 where there is one gradient."""
    return max(1, one.scheme.members(length_of(one)))


def length_of(one: Configuration) -> int:
    return one.values.sequence_length


def size_of(one: Configuration) -> int:
    return int(getattr(one.groups["cell"], "hidden_size", 1))


# ------------------------------------------------------------------ words


def rough_seconds(seconds: float) -> str:
    """Rounded to what an estimate is worth: 5 s, 40 s, 3 min, 2.5 h."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{round_roughly(seconds / length)} {unit}"
    return f"{round_roughly(max(1.0, seconds))} s"


def rough_bytes(size: float) -> str:
    """40 kB, 3.5 MB."""
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if size >= length:
            return f"{round_roughly(size / length)} {unit}"
    return f"{round_roughly(size / 1e3)} kB"


def round_roughly(number: float) -> str:
    """One digit, or two if the first is a one."""
    digits = 2 if f"{number:.0e}".startswith("1") else 1
    return f"{float(f'{number:.{digits - 1}e}'):g}"
