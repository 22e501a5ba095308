"""Random feedback local online learning, of which the local part: of J_t the leak alone is kept.

    M_t = (1 - alpha) M_{t-1} + d+h_t/dtheta          J_t = (1 - alpha) I + alpha diag f_h'(a_t) W

so that the influence of a parameter stays in the one unit that it touches: an average over the past, weighted by the
leak (an eligibility trace).

Index legend: T time, B sequence, N hidden state, O output.
"""

from __future__ import annotations

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.forward_mode.rtrl import with_readout
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.cells.leaky import Leaky
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array


def rflo(trace: Trace, loss: Loss | Array, feedback: Array | None = None) -> Params:
    """The gradient by RFLO (Murray 2019), of a leaky cell; at alpha = 1 that of `PerLoss(1)`.

    Cost: P multiplications a step and sequence in the order of the formula above. Here the sums over t and k are
    exchanged, sum_t e_t sum_k (1 - alpha)^(t-k) d+h_k = sum_k (sum_t (1 - alpha)^(t-k) e_t) d+h_k, which is N a step
    and one product at the end.

    Args:
        trace: a forward pass of a `Leaky` cell.
        loss: as in `backward`.
        feedback: (O, N) matrix that sends errors to the units in place of U, as in the paper; by default U itself, so
            that what is measured is the bias of the recursion alone.

    Returns:
        As `rtrl`.

    Raises:
        ConfigurationError: the cell is no leaky one, or `feedback` has another shape than U.
        GradientRangeError: the gradient is too large for a float.
    """
    alpha = check_leak(trace)
    dL_dy_hat = check_errors(trace, loss)
    feedback = check_feedback(trace, feedback)
    da = np.empty_like(trace.linearization)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        da_y, _ = trace.readout_vjp(dL_dy_hat)
        error = trace.cell.state_vjp(feedback, da_y)
        delta = np.zeros_like(error[0])
        for t in range(trace.length, 0, -1):
            delta = error[t - 1] + (1.0 - alpha) * delta
            da[t - 1], _ = trace.cell.vjp(trace.params, trace.linearization[t - 1], delta)
        return with_readout(trace, dL_dy_hat, trace.cell.parameter_vjp(trace.local, da))


def check_leak(trace: Trace) -> float:
    if not isinstance(trace.cell, Leaky):
        raise ConfigurationError(
            f"cell '{trace.cell.name}': rflo keeps of J_t the leak (1 - alpha) I, which only the cell 'leaky' has "
            "(with alpha = 1 it is the Elman cell)"
        )
    return trace.cell.alpha


def check_feedback(trace: Trace, feedback: Array | None) -> Array:
    U = trace.params["U"]
    feedback = U if feedback is None else np.asarray(feedback, U.dtype)
    if feedback.shape != U.shape:
        raise ConfigurationError(f"feedback: shape {feedback.shape}; must be (O, N) = {U.shape}")
    return feedback
