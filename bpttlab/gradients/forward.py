"""The forward pass: inputs and weights -> `Trace`.

Index legend: T time, B sequence, I input, N hidden state, O output. Times count from 1 as in the notes.
"""

from __future__ import annotations

from typing import overload

from bpttlab.gradients.checkpointing import (
    CheckpointedTrace,
    check_memory_limit,
    checkpointed_forward,
    fits,
    gibibytes,
)
from bpttlab.gradients.engine import Engine, find_engine
from bpttlab.gradients.inputs import check_inputs
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array


@overload
def forward(
    cell: Cell, params: Params, x: Array, h_0: Array | None = ..., engine: str | Engine = ..., memory_limit: None = ...
) -> Trace: ...


@overload
def forward(
    cell: Cell, params: Params, x: Array, h_0: Array | None = ..., engine: str | Engine = ..., *, memory_limit: float
) -> Trace | CheckpointedTrace: ...


def forward(
    cell: Cell,
    params: Params,
    x: Array,
    h_0: Array | None = None,
    engine: str | Engine = "numpy",
    memory_limit: float | None = None,
) -> Trace | CheckpointedTrace:
    """Runs the network over x and keeps all states, or some if a gradient with all states would take too much memory.

    Args:
        cell: the recurrence.
        params: its weights, named as in the notes.
        x: (T, B, I) inputs, T >= 1. STEPS COME FIRST: data (B, T, I), as PyTorch's batch_first=True has them, are
            x.swapaxes(0, 1). Where T and B differ from those of h_0, a loss, a target or a mask, this is said.
        h_0: (B, N) initial state, zero by default.
        engine: "numpy", or "numba" for compiled loops over t, which differ in the last bits; cells without compiled
            loops use NumPy's. The trace keeps its engine, and all ways back through the trace use it.
        memory_limit: GiB (2^30 bytes) for forward pass, loss and backward pass together, inputs and predictions
            included, as far as this can be estimated; None: no limit.

    Returns:
        A `Trace`, or a `CheckpointedTrace`, whose full gradient by `backward` is the same to the last bit. Functions
        that need every state (Jacobian products, lag terms, other schemes) refuse it and name the reason.

    Raises:
        ConfigurationError: a parameter or an input is missing or has another shape than the cell's; there is no such
            engine; memory_limit is no positive number, or is too small even with checkpoints.
        NonFiniteError: an input or a weight is NaN or infinite; the error names the first such step.
        DivergedError: the state overflowed; the error names the first such step.
    """
    loops = find_engine(engine)
    if memory_limit is None:
        return loops.forward(cell, params, x, h_0)
    x, h_0 = check_inputs(cell, params, x, h_0)
    memory_limit = gibibytes(memory_limit)
    check_memory_limit(memory_limit, cell, len(x), x.shape[1], x.dtype)
    if fits(memory_limit, cell, len(x), x.shape[1], x.dtype):
        return loops.forward(cell, params, x, h_0)
    return checkpointed_forward(cell, params, x, h_0, loops)
