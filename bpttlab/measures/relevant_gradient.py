"""The gradient at an input: what the step that the answer depends on receives of the loss, log ||dL/dx_tau||.

Index legend: T time, B sequence, A pre-activations, I input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.trace import Trace
from bpttlab.measures.measure import Context, Measure, Result
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, median_log
from bpttlab.store.measure_columns import RELEVANT_GRADIENT


def input_gradient_norms(trace: Trace, loss: Loss | Array, steps: Array) -> Array:
    """log ||dL/dx_tau|| at one step tau of each sequence: what a task's relevant step hears of the loss.

    One full walk back in scaled numbers, whose cotangents of a_tau go on to x_tau (`Cell.input_vjp`).

    Args:
        trace: a forward pass; its x is what the network was given, after any scale.
        loss: as in `backward`. All of it counts: for L_T alone give dL/dy_hat with zeros at the other steps. Its
            mean over the batch is not undone: each sequence has 1/B of it.
        steps: (B,) integers tau from 1 to T, as `Batch.relevant_step`.

    Returns:
        (B,) natural logarithms; -inf is exactly zero.

    Raises:
        ConfigurationError: steps of another shape, or beyond the sequence.
    """
    walked = trace.walk(trace.scaled_error(check_errors(trace, loss)), full_plan(trace.length))
    return _input_norms(trace, walked.da, steps)


def _input_norms(trace: Trace, da: Scaled, steps: Array) -> Array:
    """`input_gradient_norms` from the cotangents that a full walk has left.  (T,B,A), (B,) -> (B,)"""
    at = check_steps(trace, steps) - 1, np.arange(trace.x.shape[1])
    da = da[at].normalise()
    dx = trace.cell.input_vjp(trace.params, trace.linearization[at], da.mantissa)
    return Scaled(dx, da.exponent).log_norm()


def check_steps(trace: Trace, steps: Array) -> Array:
    """One step for each sequence, or the error that says what is wrong."""
    steps, batch = np.asarray(steps), trace.x.shape[1]
    if steps.shape != (batch,) or steps.dtype.kind not in "iu":
        found = f"shape {steps.shape} and dtype {steps.dtype}"
        raise ConfigurationError(f"steps: has {found}; must be (B,) = ({batch},), integers")
    bad = (steps < 1) | (steps > trace.lengths)
    if bad.any():
        raise ConfigurationError(f"steps: holds {steps[bad][0]}; must be from 1 to T = {trace.lengths[bad][0]}")
    return steps


@dataclass(frozen=True)
class RelevantGradient(Measure):
    """log ||dL/dx_tau|| at the step tau that the answer depends on, for tasks that have one."""

    name: ClassVar[str] = "relevant_gradient"
    summary = RELEVANT_GRADIENT.summary
    needs_states: ClassVar[bool] = False

    def __call__(self, context: Context) -> Result:
        steps = None if context.batch is None else context.batch.relevant_step
        if steps is None:
            return Result(summary={"log_relevant_gradient": None})
        norms = _input_norms(context.trace, context.cotangents.da, steps)
        return Result(summary={"log_relevant_gradient": median_of_one(norms)})


def median_of_one(input_norms: Array) -> float:
    """The median over B sequences, each as if it were alone in its batch."""
    return float(median_log(input_norms + np.log(len(input_norms))))
