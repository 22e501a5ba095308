"""Estimates of a gradient: its gradients for one loss, the bias of their mean, and their scatter.

For a plan, or an ensemble of plans, the cotangents that were not carried are used as errors of a full walk. This gives
the part of the gradient that was cut off, exactly and without a difference. A gradient that is carried forward leaves
no such cotangents. There the difference is taken, which cannot be smaller than the rounding of the gradient.

Index legend: T time, B sequence, N hidden state, R members of an ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bpttlab.gradients.directional import Directions, with_directions
from bpttlab.gradients.plan import Ensemble, Plan, full_plan
from bpttlab.gradients.scaled_gradients import add_to, add_whole, recurrent_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2, Gradients, Scaled
from bpttlab.numerics.short_repr import show_briefly

HELD_BYTES = 2**26
"""Cotangents of members of an ensemble that are held at once."""


@dataclass(frozen=True)
class GradientEstimate:
    """The gradients of a scheme for one loss, and the bias of their mean.

    Attributes:
        members: one gradient, those of an ensemble, or draws.
        weight: (R,), of each in the mean.
        drawn: whether they are draws from a distribution.
        tail: full minus mean, by parameter; empty if nothing was cut.
        steps_computed: of one of them, and of the choice of the truncation.
        truncation: K; None for the full gradient.
    """

    members: list[Gradients]
    weight: Array
    drawn: bool
    tail: Gradients
    steps_computed: int
    truncation: int | None

    def __repr__(self) -> str:
        return show_briefly(self)

    @classmethod
    def from_one_gradient(
        cls, gradient: Gradients, tail: Gradients, steps_computed: int, truncation: int | None
    ) -> GradientEstimate:
        return cls([gradient], np.ones(1), False, tail, steps_computed, truncation)

    @property
    def draws(self) -> int | None:
        return len(self.members) if self.drawn else None

    @cached_property
    def mean(self) -> Gradients:
        return self.members[0] if len(self.members) == 1 else weighted_mean(self.members, self.weight)

    def log_scatter(self, name: str) -> float:
        """log of the expected squared distance of a member from the mean; NaN where there is but one."""
        R = len(self.members)
        if R == 1:
            return np.nan
        factor = R / (R - 1) if self.drawn else 1.0
        return log_scatter([one[name] for one in self.members], self.mean[name], self.weight, factor)

    def add_directions(self, directions: Directions) -> GradientEstimate:
        """With the derivatives along directions beside those of the parameters."""
        members = [with_directions(one, directions) for one in self.members]
        return replace(self, members=members, tail=with_directions(self.tail, directions))


# ------------------------------------------------------------------------------------------ of plans


def plan_estimate(trace: Trace, error: Scaled, plan: Plan, full: Gradients, truncation: int | None) -> GradientEstimate:
    """The gradient of one plan, and what it cut off.

    Args:
        trace: a forward pass.
        error: (T, B, N) what the loss sends to every h_t.
        plan: what is back-propagated.
        full: the gradient that nothing was cut off.
        truncation: K, for the record.
    """
    if plan.cuts_nothing:
        kept = {name: full[name] for name in trace.cell.recurrent_parameters}
        return GradientEstimate.from_one_gradient(kept, {}, plan.steps_computed, truncation)
    return GradientEstimate.from_one_gradient(*kept_and_tail(trace, error, plan), plan.steps_computed, truncation)


def kept_and_tail(trace: Trace, error: Scaled, plan: Plan) -> tuple[Gradients, Gradients]:
    """The gradient of a plan, and what it lacks of the full one (empty where nothing was cut)."""
    kept = trace.walk(error, plan)
    gradient = recurrent_gradient(trace.cell, trace.local, kept.da)
    return gradient, tail_of(trace, kept.dropped)


def tail_of(trace: Trace, dropped: Scaled) -> Gradients:
    """The gradient of what a walk did not carry on; empty where that is nothing.  dropped (T+1, B, N)"""
    errors = dropped[1:].normalise()
    if not errors.mantissa.any():
        return {}
    return recurrent_gradient(trace.cell, trace.local, trace.walk(errors, full_plan(trace.length)).da)


def ensemble_estimate(trace: Trace, error: Scaled, ensemble: Ensemble, truncation: int | None) -> GradientEstimate:
    """The mean over the plans of an ensemble, many of which go back side by side as so many sequences more."""
    T, B, _ = trace.h[1:].shape
    members: list[Gradients] = []
    dropped = Scaled.zeros((T + 1, B, trace.h.shape[-1]), trace.h.dtype)
    for some in np.array_split(np.arange(len(ensemble.weight)), pieces(trace, len(ensemble.weight))):
        carry = np.broadcast_to(ensemble.carry[some], (len(some), T, B)).swapaxes(0, 1).reshape(T, -1)
        copies = trace.repeat(len(some))
        walked = copies.walk(tile(error, len(some)), full_plan(T, carry))
        for place, member in enumerate(some):
            own = np.s_[:, place * B : (place + 1) * B]
            members.append(recurrent_gradient(trace.cell, trace.local, walked.da[own]))
            dropped = dropped + walked.dropped[own] * np.asarray(ensemble.weight[member], trace.h.dtype)
    return GradientEstimate(members, ensemble.weight, ensemble.drawn, tail_of(trace, dropped), T, truncation)


def pieces(trace: Trace, members: int) -> int:
    """In how many pieces an ensemble is walked, each within `HELD_BYTES`."""
    numbers = trace.linearization[0].size + 2 * trace.h[0].size + trace.h.shape[1] * trace.cell.preactivation_size
    held = numbers * trace.length * trace.h.itemsize * members
    return min(members, -(-held // HELD_BYTES))


def tile(error: Scaled, times: int) -> Scaled:
    return Scaled(np.tile(error.mantissa, (1, times, 1)), np.tile(error.exponent, (1, times, 1)))


# ------------------------------------------------------------------------------------------ means and variances


def weighted_mean(members: list[Gradients], weight: Array) -> Gradients:
    total: Gradients = {}
    for gradient, part in zip(members, weight, strict=True):
        add_to(total, {name: Scaled.whole(one.mantissa * part, one.exponent.item()) for name, one in gradient.items()})
    return total


def log_scatter(members: list[Scaled], mean: Scaled, weight: Array, factor: float = 1.0) -> float:
    """log of factor * sum_r weight_r |g_r - mean|^2; -inf where all are equal to the last bit."""
    exponent = max(int(one.exponent.item()) for one in members)
    centre = mean.at(exponent).astype(np.float64)
    equal = all(np.array_equal(one.at(exponent), members[0].at(exponent)) for one in members[1:])
    squares = [((one.at(exponent) - centre) ** 2).sum() for one in members]
    total = 0.0 if equal else factor * float(weight @ np.array(squares))
    return float(np.log(total)) + 2 * exponent * LOG_2 if total > 0 else -np.inf


# ------------------------------------------------------------------------------------------ by difference


def estimate_by_difference(
    trace: Trace, gradient: Params, full: Gradients, steps: int, truncation: int | None = None
) -> GradientEstimate:
    """For a gradient in plain numbers whose bias can only be a difference."""
    own = {name: Scaled.whole(gradient[name]) for name in trace.cell.recurrent_parameters}
    return GradientEstimate.from_one_gradient(own, differences(full, own), steps, truncation)


def estimate_of_draws(drawn: Params, full: Gradients, steps: int, truncation: int | None = None) -> GradientEstimate:
    """Of many draws of a gradient in plain numbers, each (draws, *shape); `steps` of one of them."""
    draws = len(next(iter(drawn.values())))
    members = [{name: Scaled.whole(values[r]) for name, values in drawn.items()} for r in range(draws)]
    weight = np.full(draws, 1.0 / draws)
    return GradientEstimate(members, weight, True, differences(full, weighted_mean(members, weight)), steps, truncation)


def differences(full: Gradients, gradient: Gradients) -> Gradients:
    """full - gradient, by parameter of the second."""
    return {name: add_whole(full[name], Scaled(-one.mantissa, one.exponent)) for name, one in gradient.items()}
