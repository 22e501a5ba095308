"""The full gradient with cotangents that are clipped at every step back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.gradients.clipping import ClippedBy, clip_plain, clip_scaled, walk_clipped
from bpttlab.gradients.estimators import GradientEstimate, tail_of
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.parameter_gradients import check_range, gradient_parts, sum_parts
from bpttlab.gradients.scaled_gradients import recurrent_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Gradients, Scaled
from bpttlab.truncation.scheme import Scheme


@dataclass(frozen=True)
class Clipped(Scheme):
    """Every path, but dL/dh_t is clipped on its way back, at every step; no truncation (after Graves 2013).

    What arrives at h_t, from its own loss and from h_{t+1}, is clipped before it goes on, in each sequence by itself,
    as by a hook on h_t in PyTorch. The gradient is not linear in the loss: a loss that is twice as large is clipped
    more. The threshold has the unit of dL/dh_t, where L is the mean over sequences and has the run's `reduction`.
    Graves clips the cotangents of the pre-activations instead.
    """

    name: ClassVar[str] = "clipped"
    takes_truncation: ClassVar[bool] = False
    truncation: ClassVar[int | None] = None  # type: ignore[misc]
    threshold: Annotated[float, Field(gt=0, description="c, the largest that dL/dh_t may be")] = 1.0
    by: Annotated[
        ClippedBy,
        Field(
            description="value: every entry of dL/dh_t, to [-c, c]; norm: the norm of dL/dh_t of each sequence, to "
            "at most c"
        ),
    ] = "value"

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        """Of all parameters, and of h_0, in plain numbers."""
        dL_dy_hat = check_errors(trace, loss)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            da_y, error = trace.readout_vjp(dL_dy_hat)
            walked = walk_clipped(trace, error, partial(clip_plain, threshold=self.threshold, by=self.by))
            gradients = {**sum_parts(gradient_parts(trace, walked.da, da_y)), "h_0": walked.dropped[0]}
        return check_range(gradients)

    def estimate(
        self, trace: Trace, loss: Loss | Array, error: Scaled, full: Gradients, rng: np.random.Generator | None = None
    ) -> GradientEstimate:
        """What is clipped off goes back by a full walk: the bias is no difference."""
        walked = walk_clipped(trace, error, partial(clip_scaled, threshold=self.threshold, by=self.by))
        tail = tail_of(trace, walked.dropped)
        if not tail:
            kept = {name: full[name] for name in trace.cell.recurrent_parameters}
            return GradientEstimate.from_one_gradient(kept, {}, trace.length, None)
        gradient = recurrent_gradient(trace.cell, trace.local, walked.da)
        return GradientEstimate.from_one_gradient(gradient, tail, trace.length, None)
