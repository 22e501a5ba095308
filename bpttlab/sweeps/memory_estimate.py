"""The memory that the runs of a plan need at least, and the refusal of runs for which the machine has too little.

Counted are the weights with their copies, and the states, pre-activations and derivatives of a forward pass with its
walk back. Measures take more; so a run that is refused here cannot be computed, and one that is not may still fail.
Everything is counted from sizes: no large network is built for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.checkpointing import GIB, Sizes, checkpointed_bytes, whole_bytes
from bpttlab.measures import checkpointed
from bpttlab.networks.cells import Cell
from bpttlab.sweeps.configuration import Configuration, Values
from bpttlab.sweeps.plan import Options, SweepPlan

WORKER_BYTES = 0.15 * GIB
"""Of a worker before its first run."""

COPIES_OF_WEIGHTS = 2
"""Those that are drawn are kept, and a network has its own."""


LARGEST_BUILT = 1 << 22
"""Bytes of the weights of a network that is built to count the numbers of its steps."""

SMALL_SIZES = (4, 8)
"""Units of networks of the same cell that are built where it is larger."""


class CountedSizes(NamedTuple):
    """The sizes of a cell, without the cell."""

    x_size: int
    output_size: int
    state_size: int
    preactivation_size: int
    linearization_size: int


class Need(NamedTuple):
    """The bytes of a run, in the two parts that different fields decide."""

    run: Configuration
    weights: float
    steps: float

    @property
    def total(self) -> float:
        return self.weights + self.steps

    @property
    def fields(self) -> list[str]:
        """The fields to lower with their values, the one to lower first: that which is furthest above its default."""
        values = self.run.values
        sizes = {"sequence_length": values.sequence_length, "batch_size": values.batch_size}
        above = {name: size / getattr(Values, name) for name, size in sizes.items()}
        if self.run.own is None:  # whose size is that of its file
            sizes["cell.hidden_size"] = self.run.cell.hidden_size
            above["cell.hidden_size"] = self.run.cell.hidden_size / Configuration.DEFAULTS["cell"]["hidden_size"]
        if self.weights > self.steps:
            return [f"cell.hidden_size={self.run.cell.hidden_size}"]
        order = sorted(sizes, key=lambda name: -above[name])
        return [f"{name}={sizes[name]}" for name in order if above[name] > 1 or name == order[0]]


def largest_need(runs: Iterable[Configuration], checkpoints: bool, available: float) -> Need | None:
    """The run that needs the most; None without runs. See `need_of`."""
    kinds = {(one.cell, one.values.sequence_length, one.values.batch_size, one.values.dtype): one for one in runs}
    needs = (need_of(one, checkpoints, available) for one in kinds.values())
    return max(needs, key=lambda need: need.total, default=None)


def need_of(run: Configuration, checkpoints: bool, available: float) -> Need:
    """The bytes that a run needs at least.

    Args:
        checkpoints: whether a memory limit lets it keep few states where it can.
        available: if the weights alone need more, nothing else is counted.
    """
    values, cell, size = run.values, run.cell, np.dtype(run.values.dtype).itemsize
    weights = COPIES_OF_WEIGHTS * size * float(sum(math.prod(shape) for shape in cell.parameter_shapes().values()))
    if weights > available:
        return Need(run, weights, 0.0)
    sizes = sizes_of(cell, weights), values.sequence_length, values.batch_size, values.dtype
    steps = whole_bytes(*sizes)
    if checkpoints and checkpointed.suffices(run.measure, run.scheme):
        steps = min(steps, checkpointed_bytes(*sizes))
    return Need(run, weights, steps)


def sizes_of(cell: Cell, weights: float) -> Sizes:
    """What the steps of a cell have: the cell itself, or the sizes without a network where that would be large."""
    if weights <= LARGEST_BUILT:
        return cell
    kind: Any = cell
    with suppress(ConfigurationError):
        few, more = (replace(kind, input_size=1, hidden_size=N, output_size=1) for N in SMALL_SIZES)
        return CountedSizes(cell.x_size, cell.output_size, *extrapolate(cell.hidden_size, few, more))
    return CountedSizes(cell.x_size, cell.output_size, cell.hidden_size, 0, 0)  # at least


def extrapolate(hidden_size: int, few: Cell, more: Cell) -> Iterator[int]:
    """The sizes of a step of so many units, from those of two small networks: they are in proportion to the units."""
    for name in CountedSizes._fields[2:]:
        one, other = getattr(few, name), getattr(more, name)
        yield one + (other - one) // (more.hidden_size - few.hidden_size) * (hidden_size - few.hidden_size)


def describe_memory(planned: SweepPlan, options: Options, available: float) -> list[str]:
    """The forecast in a line; and one if the workers together need more than there is."""
    need = largest_need(planned.to_do, options.memory_limit is not None, available)
    if need is None:
        return []
    lines = [f"at least {format_gib(WORKER_BYTES + need.total)} of memory in each process that computes"]
    workers = max(1, min(options.processes, len(planned.to_do)))
    fit = int(min(available / (WORKER_BYTES + need.total), workers))
    if fit < workers:
        lines.append(
            f"{workers} workers need {format_gib(workers * (WORKER_BYTES + need.total))} together, and there are "
            f"{format_gib(available)}: give workers={max(1, fit)}"
        )
    return lines


def refuse_too_large(planned: SweepPlan, options: Options, available: float) -> None:
    """Refuses a run that needs more memory than there is.

    Raises:
        ConfigurationError: naming what to lower.
    """
    need = largest_need(planned.to_do, options.memory_limit is not None, available)
    if need is None or need.total <= available:
        return
    fields = need.fields
    few_states = need_of(need.run, True, available).total
    remedy = f", or give memory_limit={math.ceil(few_states / GIB)}" if few_states <= available else ""
    raise ConfigurationError(
        f"{', '.join(fields)}: a run needs at least {format_gib(need.total)} of memory, and this process may use "
        f"{format_gib(available)}: lower {fields[0].partition('=')[0]}{remedy}"
    )


def format_gib(size: float) -> str:
    """Bytes in GiB, to three digits at most."""
    gib = size / GIB
    return f"{gib:.3g} GiB" if gib < 1000 else f"{gib:,.0f} GiB"
