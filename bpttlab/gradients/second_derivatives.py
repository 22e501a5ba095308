"""Derivatives of Jacobians: the gradient of sums over the J_t of a trajectory, back through time.

    S = sum_t <C_t, J_t>          dS/dtheta, dS/dh_0          C_t given, of the size of J_t

J_t depends on parameters and states. What it has of the parameters itself is `Cell.jacobian_vjp`; what its
linearization has of parameters and states is `Cell.linearize_vjp`; and the states depend on parameters and states
before them, which is one more walk back.

Index legend: T time, B sequence, N hidden state.
"""

from __future__ import annotations

import numpy as np

from bpttlab.gradients.parameter_gradients import check_range, sum_parts, time_blocks
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array


def jacobian_gradient(trace: Trace, dJ: Array) -> Params:
    """The gradient of sum_t <dJ_t, J_t>, summed over sequences, by the parameters of the recurrence and by h_0.

    Args:
        trace: a forward pass of a cell with second derivatives.
        dJ: (T, B, N, N), the cotangent of each J_t; zero in padding.

    Raises:
        ConfigurationError: the cell, or its activation, has no second derivatives.
        GradientRangeError: the gradient is too large for a float.
    """
    direct, dlinearization = trace.cell.jacobian_vjp(trace.params, trace.linearization, dJ)
    return linearization_gradient(trace, dlinearization, direct)


def linearization_gradient(trace: Trace, dlinearization: Array, direct: Params) -> Params:
    """The same from cotangents of the linearization (T,B,any), and the gradients that are known already."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        local, dh = trace.cell.linearize_vjp(trace.params, trace.x, trace.h, dlinearization)
        cotangents = trace.walk(dh[1:], full_plan(trace.length))
        through_states = sum_parts(
            trace.cell.parameter_vjp(trace.local.at(steps), cotangents.da[steps]) for steps in time_blocks(trace.length)
        )
        found = {name: local[name] + through_states[name] + direct.get(name, 0.0) for name in local}
    return check_range({**found, "h_0": dh[0] + cotangents.dropped[0]})
