"""The forward pass: inputs and weights -> `Trace`.

Index legend: T time, B sequence, I input, N hidden state, O output. Times count from 1 as in the notes.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.checkpointing import (
    GIB,
    CheckpointedTrace,
    block_forward,
    check_memory_limit,
    checkpointed_forward,
    fits,
    gibibytes,
    whole_bytes,
)
from bpttlab.gradients.engine import Engine, find_engine
from bpttlab.gradients.inputs import check_inputs
from bpttlab.gradients.trace import Trace, join_stretches, stretches
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.lengths import choose_lengths, cut_padding, drop_equal
from bpttlab.numerics.array import Array, detach, detach_all


@overload
def forward(
    cell: Cell, params: Params, x: Array, h_0: Array | None = ..., engine: str | Engine = ...,
    memory_limit: None = ..., lengths: Any = ..., mask: Any = ...,
) -> Trace: ...  # fmt: skip


@overload
def forward(
    cell: Cell, params: Params, x: Array, h_0: Array | None = ..., engine: str | Engine = ..., *,
    memory_limit: float, lengths: Any = ..., mask: Any = ...,
) -> Trace | CheckpointedTrace: ...  # fmt: skip


def forward(
    cell: Cell,
    params: Params,
    x: Array,
    h_0: Array | None = None,
    engine: str | Engine = "numpy",
    memory_limit: float | None = None,
    lengths: Any = None,
    mask: Any = None,
) -> Trace | CheckpointedTrace:
    """Runs the network over x and keeps all states, or some if a gradient with all states would take too much memory.

    Args:
        cell: the recurrence.
        params: its weights, named as in the notes; these, x and h_0 may be tensors of PyTorch, too.
        x: (T, B, I) inputs, T >= 1. STEPS COME FIRST: data (B, T, I), as PyTorch's batch_first=True has them, are
            x.swapaxes(0, 1). Where T and B differ from those of h_0, a loss, a target or a mask, this is said.
        h_0: (B, N) initial state, zero by default.
        engine: "numpy", or "numba" for compiled loops over t, which differ in the last bits; cells without compiled
            loops use NumPy's. The trace keeps its engine, and all ways back through the trace use it.
        memory_limit: GiB (2^30 bytes) for forward pass, loss and backward pass together, inputs and predictions
            included, as far as this can be estimated; None: no limit.
        lengths: (B,) integers from 1 to T, where sequences have a length of their own: the steps after it are padding.
            What stands there is not read, and x is cut at the end of the longest sequence, as PyTorch's
            `pad_packed_sequence` cuts. The trace has `lengths`, and everything that is made of it means each sequence
            up to its own last step.
        mask: the same as (T, B) ones and zeros, or booleans: ones up to the last step of each sequence.

    Returns:
        A `Trace`, or a `CheckpointedTrace`, whose full gradient by `backward` is the same to the last bit. Functions
        that need every state (Jacobian products, lag terms, other schemes) refuse it and name the reason.

    Raises:
        ConfigurationError: a parameter or an input is missing or has another shape than the cell's; there is no such
            engine; memory_limit is no positive number, or is too small even with checkpoints, or without them where
            lengths differ; lengths or mask are not as above, or both are given.
        NonFiniteError: an input or a weight is NaN or infinite; the error names the first such step.
        DivergedError: the state overflowed; the error names the first such step.
    """
    loops = find_engine(engine)
    params, x, h_0 = detach_all(params), detach(x), detach(h_0)
    if lengths is not None or mask is not None:
        x, lengths = cut_inputs(x, lengths, mask)
        if lengths is not None:
            return forward_padded(loops, cell, params, x, h_0, lengths, memory_limit)
    if memory_limit is None:
        return loops.forward(cell, params, x, h_0)
    x, h_0 = check_inputs(cell, params, x, h_0)
    memory_limit = gibibytes(memory_limit)
    check_memory_limit(memory_limit, cell, len(x), x.shape[1], x.dtype)
    if fits(memory_limit, cell, len(x), x.shape[1], x.dtype):
        return loops.forward(cell, params, x, h_0)
    return checkpointed_forward(cell, params, x, h_0, loops)


def cut_inputs(x: Array, lengths: Any, mask: Any) -> tuple[Array, Array | None]:
    """x without what stands in padding, and the lengths; None where all are equal, and x of another shape as it is."""
    x = np.asarray(x)
    if x.ndim != 3:
        return x, None
    chosen = choose_lengths(lengths, mask, *x.shape[:2])
    return (x, None) if chosen is None else (cut_padding(x, chosen), drop_equal(chosen))


def forward_padded(
    loops: Engine, cell: Cell, params: Params, x: Array, h_0: Array | None, lengths: Array, memory_limit: float | None
) -> Trace:
    """Sequences of different length: from the end of one to that of the next longer one, without those that ended."""
    x, h_0 = check_inputs(cell, params, x, h_0)
    if memory_limit is not None:
        refuse_checkpoints(gibibytes(memory_limit), cell, x)
    h, y_hat = np.empty((len(x) + 1, *h_0.shape), x.dtype), np.zeros((*x.shape[:2], cell.output_size), x.dtype)
    h[0], slopes, engine = h_0, list[Array](), loops
    for steps, going in stretches(lengths):
        own = np.ascontiguousarray(x[steps, going])
        part = block_forward(loops, cell, params, own, np.ascontiguousarray(h[steps.start, going]), steps.start)
        h[steps.start + 1 : steps.stop + 1, going], y_hat[steps, going] = part.h[1:], part.y_hat
        ended = np.flatnonzero(lengths == steps.stop)
        h[steps.stop + 1 :, ended] = h[steps.stop, ended]
        engine = part.engine
        if "linearization" in part.__dict__:  # compiled loops leave it
            slopes.append(part.linearization)
    trace = Trace(cell, params, x, h, y_hat, engine, lengths)
    return trace.with_linearization(join_stretches(lengths, slopes)) if slopes else trace


def refuse_checkpoints(memory_limit: float, cell: Cell, x: Array) -> None:
    """Refuses a limit that sequences of different length, which keep all of their states, do not fit into."""
    if not fits(memory_limit, cell, len(x), x.shape[1], x.dtype):
        raise ConfigurationError(
            f"memory_limit={memory_limit:g}: sequences of different length keep all of their states; must be at least "
            f"{whole_bytes(cell, len(x), x.shape[1], x.dtype) / GIB:.3g} (GiB), or all must be equally long"
        )
