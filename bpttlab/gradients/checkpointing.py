"""Gradients of sequences whose states do not all fit into memory: some states are kept, the others are computed again.

The forward pass keeps the state before every block of steps, and nothing else of the trajectory. On the way back the
states of a block are computed again from there, used and dropped. Beyond inputs and predictions, memory grows with the
square root of T, and a gradient takes one more forward pass (Chen et al. 2016, section 3).

The results have the bytes of a whole trace's, except the full gradient that engine=numba computes in one call. Blocks
begin where the sums of a gradient are divided anyway (`parameter_gradients.SUMMED_STEPS`). The cotangent that leaves a
block enters the next one as part of the error of its last step, the first number that it would be added to there. (A
carry other than 0 and 1 exactly between two blocks may be rounded once more than in a compiled loop.)

Index legend: T time, B sequence, I input, N hidden state, A pre-activations, O output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from bpttlab.errors import ConfigurationError, DivergedError
from bpttlab.fields import real_number
from bpttlab.gradients.engine import NUMPY, Cotangents, Engine, find_engine, plain
from bpttlab.gradients.inputs import check_inputs, errors_like
from bpttlab.gradients.parameter_gradients import SUMMED_STEPS, check_range, gradient_parts, sum_parts
from bpttlab.gradients.plan import HasPlan, Plan, full_plan, plan_of
from bpttlab.gradients.scaled_gradients import add_to, scaled_parts
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled
from bpttlab.numerics.short_repr import show_briefly

GIB = 1 << 30
_ARRAYS = 3.5
"""What a gradient holds at its peak, at most: so many times state, pre-activations and slopes of every step (1.3 to 3.2
were seen, by cell and engine)."""


@dataclass(frozen=True)
class CheckpointedTrace:
    """A forward pass of which the states at some steps are kept. Nothing in it changes.

    Attributes:
        cell, params, x, y_hat, engine: as in `trace.Trace`.
        states: (ceil(T / steps), B, N), the state before each block.
        steps: of a block; the last one may have fewer.
    """

    cell: Cell
    params: Params
    x: Array
    y_hat: Array
    states: Array
    steps: int
    engine: Engine = NUMPY

    def __repr__(self) -> str:
        return show_briefly(self)

    @property
    def length(self) -> int:
        return len(self.x)

    def prefix(self, length: int) -> CheckpointedTrace:
        """The first steps alone, sharing memory with the whole: a forward pass of that length, to the byte."""
        states = self.states[: -(-length // self.steps)]
        return CheckpointedTrace(
            self.cell, self.params, self.x[:length], self.y_hat[:length], states, self.steps, self.engine
        )

    def __getattr__(self, name: str) -> Any:
        """What only a whole trajectory has is refused by name."""
        if name in ("h", "linearization", "local") or hasattr(Trace, name):
            raise ConfigurationError(
                f"memory_limit: {name} needs all states of {self.length} steps, and one in {self.steps} is kept; "
                "only backward computes the others again"
            )
        raise AttributeError(f"'CheckpointedTrace' object has no attribute {name!r}")


# ------------------------------------------------------------------------------------------ how much memory


class Sizes(Protocol):
    """What a gradient's memory depends on: a cell, or the sizes of one."""

    @property
    def x_size(self) -> int: ...

    @property
    def output_size(self) -> int: ...

    @property
    def state_size(self) -> int: ...

    @property
    def preactivation_size(self) -> int: ...

    @property
    def linearization_size(self) -> int: ...


def whole_bytes(cell: Sizes, length: int, batch: int, dtype: Any) -> float:
    """About what a gradient holds at its peak if every state is kept, inputs, targets and predictions among it."""
    return length * (bytes_of_step(cell, batch, dtype) + bytes_of_data(cell, batch, dtype))


def checkpointed_bytes(cell: Sizes, length: int, batch: int, dtype: Any) -> float:
    """The same with checkpoints: one block as a whole, a state for each block, and what comes and goes with x."""
    steps = block_steps(length)
    states = -(-length // steps) * batch * cell.state_size * np.dtype(dtype).itemsize
    in_block = min(steps, length) * bytes_of_step(cell, batch, dtype)
    return in_block + states + length * bytes_of_data(cell, batch, dtype)


def bytes_of_step(cell: Sizes, batch: int, dtype: Any) -> float:
    return (
        _ARRAYS
        * (cell.state_size + cell.preactivation_size + cell.linearization_size)
        * batch
        * np.dtype(dtype).itemsize
    )


def bytes_of_data(cell: Sizes, batch: int, dtype: Any) -> float:
    """x; predictions, targets, the errors of the loss and what it needs to find them, each of which is like y_hat."""
    return (cell.x_size + 6 * cell.output_size) * batch * np.dtype(dtype).itemsize


def block_steps(length: int) -> int:
    """About sqrt(T), a multiple of `parameter_gradients.SUMMED_STEPS`."""
    return SUMMED_STEPS * max(1, round(math.sqrt(length) / SUMMED_STEPS))


# ---------------------------------------------------------------------------------------------------- forward


def fits(memory_limit: float, cell: Cell, length: int, batch: int, dtype: Any) -> bool:
    """Whether a gradient of T steps and B sequences with all its states is expected to fit into `gib` GiB."""
    return whole_bytes(cell, length, batch, dtype) <= memory_limit * GIB


def gibibytes(memory_limit: float) -> float:
    """A limit that was given, as a float."""
    allowed = "a number of GiB > 0, or None: no limit"
    return real_number("memory_limit", memory_limit, allowed, lambda number: 0 < number < math.inf)


def check_memory_limit(memory_limit: float, cell: Cell, length: int, batch: int, dtype: Any) -> None:
    least = min(of(cell, length, batch, dtype) for of in (whole_bytes, checkpointed_bytes)) / GIB
    if least > memory_limit:
        raise ConfigurationError(
            f"memory_limit={memory_limit:g}: must be at least {least:.3g} (GiB), which a gradient of {length} steps is "
            "expected to take even where few states are kept"
        )


def checkpointed_forward(
    cell: Cell,
    params: Params,
    x: Array,
    h_0: Array | None = None,
    engine: str | Engine = "numpy",
    steps: int | None = None,
) -> CheckpointedTrace:
    """A forward pass that keeps the state before each block of so many steps, by default about sqrt(T).

    Raises:
        ConfigurationError: steps is no multiple of `parameter_gradients.SUMMED_STEPS`.
        LabError: whatever `forward` raises.
    """
    loops = find_engine(engine)
    x, h = check_inputs(cell, params, x, h_0)
    steps = block_steps(len(x)) if steps is None else steps
    if steps < 1 or steps % SUMMED_STEPS:
        raise ConfigurationError(f"steps={steps}: must be a multiple of {SUMMED_STEPS}")
    states = np.empty((-(-len(x) // steps), *h.shape), x.dtype)
    y_hat = np.empty((*x.shape[:2], cell.output_size), x.dtype)
    for number, start in enumerate(range(0, len(x), steps)):
        states[number] = h
        part = block_forward(loops, cell, params, x[start : start + steps], h, start)
        y_hat[start : start + steps], h = part.y_hat, part.h[-1]
    return CheckpointedTrace(cell, params, x, y_hat, states, steps, loops)


def block_forward(engine: Engine, cell: Cell, params: Params, x: Array, h: Array, start: int) -> Trace:
    """The forward pass of a block; where it diverges, the error has the step within the whole sequence."""
    try:
        return engine.forward(cell, params, x, h)
    except DivergedError as error:
        what = str(error).partition(" overflowed")[0]
        raise DivergedError(start + error.step, what) from None


# ---------------------------------------------------------------------------------------------------- backward


class Block(NamedTuple):
    """Some steps on the way back.

    Attributes:
        steps: where they are in the sequence.
        trace: their forward pass, computed again.
        cotangents: what the walk has left in them; `dropped[0]` goes on into the block before.
    """

    steps: slice
    trace: Trace
    cotangents: Cotangents

    def __repr__(self) -> str:
        return show_briefly(self)


def blocks(trace: CheckpointedTrace, dL_dy_hat: Array, carry: Array, scaled: bool) -> Iterator[Block]:
    """The way back, the last block first.

    Args:
        dL_dy_hat: (T, B, O).
        carry: (T,) or (T, B), as in a `Plan` of one segment.
        scaled: whether the numbers are scaled ones; plain ones become so where loops are compiled.
    """
    entering: Any = None
    for number in reversed(range(len(trace.states))):
        steps = slice(number * trace.steps, min((number + 1) * trace.steps, trace.length))
        h = trace.states[number]
        part = block_forward(trace.engine, trace.cell, trace.params, trace.x[steps], h, steps.start)
        own = part.scaled_error(dL_dy_hat[steps]) if scaled else part.error(dL_dy_hat[steps])
        error = part.engine.widen(own)
        if entering is not None:
            error[-1] = error[-1] + carry_into(entering, carry[steps.stop - 1])
        cotangents = part.walk(error, full_plan(part.length, carry[steps]))
        entering = cotangents.dropped[0]
        yield Block(steps, part, cotangents)


def carry_into(dh: Any, carry: Array) -> Any:
    """A cotangent times the carry of a step, one number or one for each sequence."""
    if (carry == 1.0).all():
        return dh
    dtype = dh.mantissa.dtype if isinstance(dh, Scaled) else dh.dtype
    return dh * carry.reshape(-1, 1).astype(dtype)


def gradient_by_blocks(trace: CheckpointedTrace, loss: Loss | Array, carry: Array) -> Params:
    """`backward` of a checkpointed trace, under a plan of one segment with that carry."""
    dL_dy_hat = errors_like(trace.y_hat, loss)
    total: Params = {}
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for block in blocks(trace, dL_dy_hat, carry, scaled=False):
            da, h_0 = (floats(numbers) for numbers in (block.cotangents.da, block.cotangents.dropped[0]))
            da_y, _ = block.trace.readout_vjp(dL_dy_hat[block.steps])
            total = sum_parts(gradient_parts(block.trace, da, da_y), total)
    return check_range({**total, "h_0": h_0})


def scaled_gradient_by_blocks(trace: CheckpointedTrace, loss: Loss | Array, carry: Array) -> dict[str, Scaled]:
    """The same in scaled numbers."""
    dL_dy_hat = errors_like(trace.y_hat, loss)
    total: dict[str, Scaled] = {}
    for block in blocks(trace, dL_dy_hat, carry, scaled=True):
        for part in scaled_parts(block.trace, dL_dy_hat[block.steps], block.cotangents.da):
            add_to(total, part)
        h_0 = block.cotangents.dropped[0]
    return total | {"h_0": h_0.normalise()}


def floats(numbers: Any) -> Array:
    return plain(numbers) if isinstance(numbers, Scaled) else numbers


def carry_of(trace: CheckpointedTrace, scheme: HasPlan | Plan | None) -> Array:
    """The carry of a plan of one segment over everything; others are refused."""
    plan = plan_of(scheme, trace.length)
    if plan.segments.tolist() != [[0, trace.length, 0]]:
        requested = getattr(scheme, "name", "a plan")
        raise ConfigurationError(
            f"scheme={requested}: needs all states, of which a checkpointed trace has few; must be full, or a plan "
            "of one segment over all steps"
        )
    return plan.carry
