"""Back-propagation through time: a trace walked back along the segments of a plan.

The cotangents go back through the steps (`engine`), then one product sums the parameters' gradients over all of them.

Index legend: T time, B sequence, N hidden state, O output. Times count from 1 as in the notes.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np

from bpttlab.gradients.checkpointing import (
    CheckpointedTrace,
    carry_of,
    gradient_by_blocks,
    scaled_gradient_by_blocks,
)
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.lengths import sum_gradients, sum_scaled_gradients
from bpttlab.gradients.parameter_gradients import check_range, gradient_parts, sum_parts
from bpttlab.gradients.plan import HasPlan, Plan, is_shared, plan_of
from bpttlab.gradients.scaled_gradients import scaled_gradients
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss, refuse_no_readout
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled


@overload
def backward(
    trace: Trace | CheckpointedTrace,
    loss: Loss | Array,
    scheme: HasPlan | Plan | None = ...,
    scaled: Literal[False] = ...,
) -> Params: ...


@overload
def backward(
    trace: Trace | CheckpointedTrace,
    loss: Loss | Array,
    scheme: HasPlan | Plan | None = ...,
    *,
    scaled: Literal[True],
) -> dict[str, Scaled]: ...


def backward(
    trace: Trace | CheckpointedTrace,
    loss: Loss | Array,
    scheme: HasPlan | Plan | None = None,
    scaled: bool = False,
) -> Params | dict[str, Scaled]:
    """dL/dparams and dL/dh_0 under a truncation scheme.

    Args:
        trace: a forward pass.
        loss: a `Loss`, or the array dL/dy_hat of shape (T, B, O) itself.
        scheme: a truncation scheme, or a plan of one (`Random.draw`); full by default. A checkpointed trace takes a
            plan of one segment over all steps.
        scaled: whether the gradient has numbers that neither over- nor underflow: mantissas with one exponent for each
            parameter, and for h_0 one for each sequence.

    Sequences of different length go back from their own last step. The scheme is that of each length.

    Returns:
        Keyed like the parameters, and "h_0" of shape (B, N). Plain numbers that are too small for a float are rounded
        to the nearest float, zero included; scaled numbers keep them.

    Raises:
        ConfigurationError: the network has no readout; the scheme has no single plan; the trace is checkpointed, and
            the plan has many segments.
        GradientRangeError: the gradient is too large for a float (not with `scaled`).
    """
    refuse_no_readout(trace.cell.output_size)
    if isinstance(trace, CheckpointedTrace):
        by_blocks = scaled_gradient_by_blocks if scaled else gradient_by_blocks
        return by_blocks(trace, loss, carry_of(trace, scheme))
    if trace.padded:
        loss = check_errors(trace, loss)
        if not is_shared(scheme, trace.lengths):
            if scaled:
                return sum_scaled_gradients(trace, loss, lambda part, errors: _scaled_gradient(part, errors, scheme))
            return sum_gradients(trace, loss, lambda part, errors: plain_gradient(part, errors, scheme))
    return _scaled_gradient(trace, loss, scheme) if scaled else plain_gradient(trace, loss, scheme)


def plain_gradient(trace: Trace, loss: Loss | Array, scheme: HasPlan | Plan | None) -> Params:
    """In floats; the full gradient by the engine's fastest way."""
    if cuts_nothing(scheme, trace.length):
        found = trace.engine.gradient(trace, loss)
        if found is not None:
            return found
    dL_dy_hat = check_errors(trace, loss)
    plan = plan_of(scheme, trace.length)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        da_y, error = trace.readout_vjp(dL_dy_hat)
        cotangents = trace.walk(error, plan)
        gradients = {**sum_parts(gradient_parts(trace, cotangents.da, da_y)), "h_0": cotangents.dropped[0]}
    return check_range(gradients)


def _scaled_gradient(trace: Trace, loss: Loss | Array, scheme: HasPlan | Plan | None) -> dict[str, Scaled]:
    """In scaled numbers."""
    dL_dy_hat = check_errors(trace, loss)
    cotangents = trace.walk(trace.scaled_error(dL_dy_hat), plan_of(scheme, trace.length))
    return scaled_gradients(trace, dL_dy_hat, cotangents)


def cuts_nothing(scheme: HasPlan | Plan | None, length: int) -> bool:
    """Whether it is a scheme whose gradient is the full one at this length; a plan is walked as it is."""
    return scheme is None or (not isinstance(scheme, Plan) and plan_of(scheme, length).cuts_nothing)
