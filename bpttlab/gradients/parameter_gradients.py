"""From cotangents to the gradients of parameters, in plain numbers: one product for each block of time.

Index legend: T time, B sequence, A pre-activations, O output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bpttlab.errors import GradientRangeError
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array

SUMMED_STEPS = 1024
"""Steps whose part of a gradient is one product; the parts are added up, that of the last steps first.

Always as many, from the start of a sequence on: a gradient whose states are computed again, so many at a time
(`checkpointing`), is the same to the last bit. A multiple of `cells.cell.BLOCK_STEPS`.
"""


def time_blocks(length: int) -> Iterator[slice]:
    """Blocks of SUMMED_STEPS steps, the last one, which may have fewer, first."""
    for start in reversed(range(0, length, SUMMED_STEPS)):
        yield slice(start, min(start + SUMMED_STEPS, length))


def gradient_parts(trace: Trace, da: Array, da_y: Array) -> Iterator[Params]:
    """What each block of time adds to the gradient by every parameter.  da (T,B,A), da_y (T,B,O)"""
    for steps in time_blocks(trace.length):
        recurrent = trace.cell.parameter_vjp(trace.local.at(steps), da[steps])
        yield {**recurrent, **trace.cell.read_gradient(trace.params, trace.h[1:][steps], da_y[steps])}


def sum_parts(parts: Iterable[Params], total: Params | None = None) -> Params:
    """The sum of gradients by name, in their order, after what is there already."""
    total = total or {}
    for part in parts:
        total = {name: total[name] + values for name, values in part.items()} if total else part
    return total


def check_range(gradients: Params) -> Params:
    if not all(np.isfinite(gradient).all() for gradient in gradients.values()):
        dtype = gradients["h_0"].dtype
        raise GradientRangeError(
            f"the gradient is beyond the range of {dtype}; backward(..., scaled=True) returns it as mantissa and "
            "exponent"
        )
    return gradients


def readout_gradient(trace: Trace, dL_dy_hat: Array) -> Params:
    da_y, _ = trace.readout_vjp(dL_dy_hat)
    return trace.cell.read_gradient(trace.params, trace.h[1:], da_y)
