"""The gradient under any scheme, with what it lacks of the full one and how far its draws lie apart.

Of a plan, or an ensemble of plans, the cotangents that were not carried on are injected as errors of a full walk, which
gives the part of the gradient that was cut off, exactly and without a difference. What goes forward leaves no such
cotangents: there the difference is taken, which cannot be smaller than the rounding of the gradient.

Index legend: T time, B sequence, N hidden state, R members of an ensemble.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.adaptive_truncation import adaptive_truncation, estimate_steps
from bpttlab.gradients.backward import backward, walk
from bpttlab.gradients.directional import Directions, with_directions
from bpttlab.gradients.forward_mode.rflo import rflo
from bpttlab.gradients.forward_mode.rtrl import rtrl
from bpttlab.gradients.forward_mode.snap import snap, snap_cost
from bpttlab.gradients.forward_mode.uoro import uoro, uoro_draws
from bpttlab.gradients.scaled_gradients import add_to, add_whole, recurrent_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2, Gradients, Scaled
from bpttlab.truncation.adaptive import Adaptive
from bpttlab.truncation.averaged import Random
from bpttlab.truncation.forward import RTRL, UORO, SnAp
from bpttlab.truncation.scheme import Ensemble, Forward, ManyPlans, Plan, Scheme, Segmented, full_plan
from bpttlab.truncation.segmented import PerLoss

HELD_BYTES = 2**26
"""Cotangents of members of an ensemble that are held at once."""


@dataclass(frozen=True)
class Estimate:
    """The gradients that a scheme gives of one loss, and what their mean lacks of the full one.

    Attributes:
        members: one gradient, those of an ensemble, or draws.
        weight: (R,), of each in the mean.
        drawn: whether they are draws from a distribution.
        tail: full minus mean, by parameter; empty where nothing was cut.
        steps_computed: of one of them, and of whatever chose the truncation.
        truncation: K; None for the full gradient.
    """

    members: list[Gradients]
    weight: Array
    drawn: bool
    tail: Gradients
    steps_computed: int
    truncation: int | None

    @classmethod
    def single(cls, gradient: Gradients, tail: Gradients, steps_computed: int, truncation: int | None) -> Estimate:
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

    def along(self, directions: Directions) -> Estimate:
        """With the derivatives along directions beside those of the parameters."""
        members = [with_directions(one, directions) for one in self.members]
        return replace(self, members=members, tail=with_directions(self.tail, directions))


def estimate(
    trace: Trace,
    loss: Loss | Array,
    error: Scaled,
    scheme: Scheme,
    full: Gradients,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """What a scheme makes of a loss.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        error: what it sends to every h_t.
        scheme: of any kind.
        full: the gradient that nothing was cut off.
        rng: needed by schemes that draw.
    """
    if isinstance(scheme, Adaptive):
        return adaptive_estimate(trace, loss, error, scheme, full)
    if isinstance(scheme, Segmented):
        plan = scheme.plan(trace.length)
        if cuts_nothing(plan, trace.length):
            kept = {name: full[name] for name in trace.cell.recurrent_parameters}
            return Estimate.single(kept, {}, plan.steps_computed, scheme.truncation)
        return Estimate.single(*kept_and_tail(trace, error, plan), plan.steps_computed, scheme.truncation)
    if isinstance(scheme, Forward):
        return forward_estimate(trace, loss, scheme, full, rng)
    if not isinstance(scheme, ManyPlans):
        raise ConfigurationError(f"scheme={scheme.name}: has no plans")
    ensemble = scheme.ensemble(trace.length, trace.h.shape[1], rng)
    return mean_of_ensemble(trace, error, ensemble, scheme.truncation)


def adaptive_estimate(trace: Trace, loss: Loss | Array, error: Scaled, scheme: Adaptive, full: Gradients) -> Estimate:
    """The per-loss truncation that was chosen, with the steps that the choice took."""
    longest = scheme.truncation - 1
    chosen = PerLoss(adaptive_truncation(trace, loss, scheme.delta, longest))
    found = estimate(trace, loss, error, chosen, full)
    return replace(found, steps_computed=found.steps_computed + estimate_steps(error, longest))


def gradient_seconds(trace: Trace, loss: Loss | Array, scheme: Scheme, rng: np.random.Generator) -> float:
    """Seconds of one gradient by this scheme in plain numbers, the second of two; no measure of it among them."""
    one_gradient(trace, loss, scheme, rng)
    begun = time.perf_counter()
    one_gradient(trace, loss, scheme, rng)
    return time.perf_counter() - begun


def one_gradient(trace: Trace, loss: Loss | Array, scheme: Scheme, rng: np.random.Generator) -> Params:
    """The gradient as training would compute it: one plan, one draw."""
    if isinstance(scheme, Adaptive):
        scheme = PerLoss(adaptive_truncation(trace, loss, scheme.delta, scheme.truncation - 1))
    if isinstance(scheme, Segmented):
        return backward(trace, loss, scheme)
    if isinstance(scheme, Random):
        return backward(trace, loss, scheme.draw(trace.length, rng, trace.h.shape[1]))
    if isinstance(scheme, ManyPlans):
        carry = scheme.ensemble(trace.length, trace.h.shape[1], rng).carry[-1]
        return backward(trace, loss, full_plan(trace.length, carry))
    if isinstance(scheme, UORO):
        return uoro(trace, loss, rng)
    if isinstance(scheme, SnAp):
        return snap(trace, loss, scheme.steps)
    return rtrl(trace, loss) if isinstance(scheme, RTRL) else rflo(trace, loss)


def cuts_nothing(plan: Plan, length: int) -> bool:
    """Whether the plan is the full one, whose gradient is known."""
    return plan.segments.tolist() == [[0, length, 0]] and bool((plan.carry == 1.0).all())


def kept_and_tail(trace: Trace, error: Scaled, plan: Plan) -> tuple[Gradients, Gradients]:
    """The gradient of a plan, and what it lacks of the full one (empty where nothing was cut)."""
    kept = walk(trace, error, plan)
    gradient = recurrent_gradient(trace.cell, trace.local, kept.da)
    return gradient, tail_of(trace, kept.dropped)


def tail_of(trace: Trace, dropped: Scaled) -> Gradients:
    """The gradient of what a walk did not carry on; empty where that is nothing.  dropped (T+1, B, N)"""
    errors = dropped[1:].normalised()
    if not errors.mantissa.any():
        return {}
    return recurrent_gradient(trace.cell, trace.local, walk(trace, errors, full_plan(trace.length)).da)


def mean_of_ensemble(trace: Trace, error: Scaled, ensemble: Ensemble, truncation: int | None) -> Estimate:
    """The mean over the plans of an ensemble, many of which go back side by side as so many sequences more."""
    T, B, _ = trace.h[1:].shape
    members: list[Gradients] = []
    dropped = Scaled.zeros((T + 1, B, trace.h.shape[-1]), trace.h.dtype)
    for some in np.array_split(np.arange(len(ensemble.weight)), pieces(trace, len(ensemble.weight))):
        carry = np.broadcast_to(ensemble.carry[some], (len(some), T, B)).swapaxes(0, 1).reshape(T, -1)
        copies = trace.repeated(len(some))
        walked = walk(copies, tile(error, len(some)), full_plan(T, carry))
        for place, member in enumerate(some):
            own = np.s_[:, place * B : (place + 1) * B]
            members.append(recurrent_gradient(trace.cell, trace.local, walked.da[own]))
            dropped = dropped + walked.dropped[own] * np.asarray(ensemble.weight[member], trace.h.dtype)
    return Estimate(members, ensemble.weight, ensemble.drawn, tail_of(trace, dropped), T, truncation)


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


# ------------------------------------------------------------------------------------------ forward


def forward_estimate(
    trace: Trace, loss: Loss | Array, scheme: Forward, full: Gradients, rng: np.random.Generator | None
) -> Estimate:
    """A gradient that was carried forwards; of UORO the mean of its draws."""
    names, T = trace.cell.recurrent_parameters, trace.length
    if isinstance(scheme, UORO):
        return drawn_estimate(trace, loss, scheme.draws, full, rng)
    if isinstance(scheme, RTRL):
        found, steps = rtrl(trace, loss), T * sum(trace.params[name].size for name in names)
    elif isinstance(scheme, SnAp):
        found, steps = snap(trace, loss, scheme.steps), math.ceil(T * snap_cost(trace, scheme.steps))
    else:
        found, steps = rflo(trace, loss), T
    gradient = {name: Scaled.whole(found[name]) for name in names}
    return Estimate.single(gradient, differences(full, gradient), steps, None)


def drawn_estimate(
    trace: Trace, loss: Loss | Array, draws: int, full: Gradients, rng: np.random.Generator | None
) -> Estimate:
    if rng is None:
        raise ConfigurationError("rng=None: scheme 'uoro' needs a numpy.random.Generator")
    drawn = uoro_draws(trace, loss, rng, draws)
    members = [{name: Scaled.whole(values[r]) for name, values in drawn.items()} for r in range(draws)]
    weight = np.full(draws, 1.0 / draws)
    return Estimate(members, weight, True, differences(full, weighted_mean(members, weight)), trace.length, None)


def differences(full: Gradients, gradient: Gradients) -> Gradients:
    """full - gradient, by parameter of the second."""
    return {name: add_whole(full[name], Scaled(-one.mantissa, one.exponent)) for name, one in gradient.items()}
