"""The gradient step by step: what each use of the parameters adds to it, and what each input of a step receives.

    dL/dW = sum_t (dL/dW)_t,        (dL/dW)_t = sum_b dL/da_t d+a_t/dW        W at step t alone is changed
    dL/dx_t = dL/da_t da_t/dx_t

The cotangents of a_t are those of one full walk back, in numbers that neither over- nor underflow.

Index legend: T time, B sequence, I input, A pre-activations, O output.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.scaled_gradients import recurrent_gradient, scaled_readout_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled


def step_gradients(trace: Trace, loss: Loss | Array) -> Params:
    """The gradient by every parameter as it acts at step t, for each t; their sum over t is the gradient of `backward`.

    It holds the parameters T times over, and takes one walk back and one product a step.

    Args:
        trace: a forward pass.
        loss: as in `backward`. That of L_t alone is the gradient of one step's loss by all earlier steps.

    Returns:
        Keyed like the parameters, each (T, *shape); summed over sequences, of which one has nothing to add after its
        last step. Numbers that are too small for a float are rounded to the nearest float, zero included.

    Raises:
        GradientRangeError: a number is too large for a float.
    """
    dL_dy_hat = check_errors(trace, loss)
    da = trace.walk(trace.scaled_error(dL_dy_hat), full_plan(trace.length)).da
    found = [gradient_of_step(trace, dL_dy_hat, da, slice(t, t + 1)) for t in range(trace.length)]
    return {name: values_of([one[name] for one in found]) for name in found[0]}


def gradient_of_step(trace: Trace, dL_dy_hat: Array, da: Scaled, step: slice) -> dict[str, Scaled]:
    """Of one step."""
    recurrent = recurrent_gradient(trace.cell, trace.local.at(step), da[step])
    return {**recurrent, **scaled_readout_gradient(trace, dL_dy_hat, step)}


def values_of(gradients: Sequence[Scaled]) -> Array:
    """One after another, as floats."""
    return np.stack([gradient.value() for gradient in gradients])


def input_gradients(trace: Trace, loss: Loss | Array) -> Array:
    """dL/dx_t of every step and sequence: (T, B, I), zero in padding.

    Args:
        trace: a forward pass; its x is what the network was given, after any scale.
        loss: as in `backward`. Its mean over the batch is not undone: each sequence has its share of it.

    Returns:
        Floats; numbers that are too small for one are rounded to the nearest float, zero included.
        (`measures.relevant_gradient.input_gradient_norms` has logarithms, at one step of each sequence.)

    Raises:
        GradientRangeError: a number is too large for a float.
    """
    da = trace.walk(trace.scaled_error(check_errors(trace, loss)), full_plan(trace.length)).da.normalise()
    return Scaled(trace.cell.input_vjp(trace.params, trace.linearization, da.mantissa), da.exponent).value()
