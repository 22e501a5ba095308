"""What one truncation scheme does to the gradient: its size, its direction, what it left out, and what chance adds.

Works for every scheme that is a plan of segments and carries, or an ensemble of them: the cotangents that a plan did
not carry on are injected as errors of a full walk, which gives the part of the gradient that was cut off, exactly and
without a difference. Of an ensemble the mean gradient is measured, and how far its members lie apart.

Index legend: T time, B sequence, N hidden state, R members of an ensemble.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bpttlab.bptt import Array, Trace, add_to, backward_scaled, checked_errors, recurrent_gradient, walk
from bpttlab.decay import adaptive_truncation
from bpttlab.errors import ConfigurationError
from bpttlab.lags import Gradients, columns, cosine, log_relative, norm
from bpttlab.losses import Loss
from bpttlab.scaled import LOG_2, Scaled
from bpttlab.truncation import Adaptive, Ensemble, ManyPlans, PerLoss, Plan, Scheme, Segmented, full_plan

HELD_BYTES = 2**26
"""Cotangents of members of an ensemble that are held at once."""


def truncation_bias(
    trace: Trace, loss: Loss | Array, scheme: Scheme, rng: np.random.Generator | None = None
) -> pd.DataFrame:
    """Norm, cosine, relative bias and variance of the gradient under a scheme, a row per recurrent parameter.

    Args:
        trace: a forward pass.
        loss: as in `bptt.backward`.
        scheme: how the gradient is cut.
        rng: where random cuts come from; needed by schemes that draw.

    Returns:
        Columns scheme, truncation (missing: full), length, parameter, origin, log_norm and cosine of the gradient (of
        several plans: of their mean), log_relative_bias, log_variance (over plans: log of the trace of the covariance /
        |g|^2; missing: there is one plan), log_minibatch_variance (the same over batches of as many sequences; missing:
        one sequence), draws (missing: nothing is drawn), steps_computed (of one plan).
        Natural logarithms; -inf is exactly zero; NaN where a quotient is not defined.
    """
    frame = pd.DataFrame(measure_truncation(trace, loss, scheme, rng=rng))
    return frame.astype({"truncation": "Int64", "draws": "Int64"})


def measure_truncation(
    trace: Trace,
    loss: Loss | Array,
    scheme: Scheme,
    full: Gradients | None = None,
    minibatch: dict[str, float] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, Array]:
    """`truncation_bias` as columns; `full` is the full gradient and `minibatch` its variance, if they are known."""
    full = full or backward_scaled(trace, loss)
    error = trace.scaled_error(checked_errors(trace, loss))
    minibatch = minibatch_log_variance(trace, error, full) if minibatch is None else minibatch
    found = estimated(trace, loss, error, scheme, rng)
    rows = [
        {
            "scheme": scheme.name,
            "truncation": found.truncation,
            "length": trace.length,
            "parameter": name,
            "origin": "scheme",
            **found.row(name, full[name]),
            "log_minibatch_variance": minibatch[name],
        }
        for name in trace.cell.recurrent_parameters
    ]
    return columns(rows, sort=("parameter",))


# ------------------------------------------------------------------------------------------ one plan, or many


class Estimate:
    """A gradient, what it lacks of the full one, and how far its draws lie apart.

    Attributes:
        gradient: the mean.
        tail: full minus mean, by parameter; empty where nothing was cut.
        log_scatter: log of the expected squared distance from the mean, by parameter; empty where there is one plan.
        draws: how many draws the mean is made of; None where nothing is drawn.
        steps_computed: of one of them.
        truncation: K; None for the full gradient.
    """

    def __init__(
        self,
        gradient: Gradients,
        tail: Gradients,
        log_scatter: dict[str, float],
        draws: int | None,
        steps_computed: int,
        truncation: int | None,
    ) -> None:
        self.gradient, self.tail, self.log_scatter = gradient, tail, log_scatter
        self.draws, self.steps_computed, self.truncation = draws, steps_computed, truncation

    def row(self, name: str, full: Scaled) -> dict[str, Any]:
        """Its numbers for one parameter, beside the full gradient of it."""
        log_full = norm(full)
        bias = log_relative(norm(self.tail[name]), log_full) if name in self.tail else -np.inf
        scatter = log_relative(self.log_scatter[name], 2 * log_full) if name in self.log_scatter else np.nan
        return {
            "log_norm": norm(self.gradient[name]),
            "cosine": cosine(self.gradient[name], full),
            "log_relative_bias": bias,
            "log_variance": scatter,
            "draws": self.draws,
            "steps_computed": self.steps_computed,
        }


def estimated(
    trace: Trace, loss: Loss | Array, error: Scaled, scheme: Scheme, rng: np.random.Generator | None
) -> Estimate:
    """What a scheme makes of these errors."""
    if isinstance(scheme, Adaptive):
        scheme = PerLoss(adaptive_truncation(trace, loss, scheme.delta, scheme.truncation - 1))
    if isinstance(scheme, Segmented):
        plan = scheme.plan(trace.length)
        return Estimate(*kept_and_tail(trace, error, plan), {}, None, plan.steps_computed, scheme.truncation)
    if not isinstance(scheme, ManyPlans):
        raise ConfigurationError(f"scheme={scheme.name}: has no plans")
    ensemble = scheme.ensemble(trace.length, trace.h.shape[1], rng)
    return mean_of_ensemble(trace, error, ensemble, scheme.truncation)


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
        walked = walk(copies, tiled(error, len(some)), full_plan(T, carry))
        for place, member in enumerate(some):
            own = np.s_[:, place * B : (place + 1) * B]
            members.append(recurrent_gradient(trace.cell, trace.local, walked.da[own]))
            dropped = dropped + walked.dropped[own] * np.asarray(ensemble.weight[member], trace.h.dtype)
    mean = weighted_mean(members, ensemble.weight)
    factor = len(members) / (len(members) - 1) if ensemble.drawn else 1.0
    scatter = {name: log_scatter([one[name] for one in members], mean[name], ensemble.weight, factor) for name in mean}
    draws = len(members) if ensemble.drawn else None
    return Estimate(mean, tail_of(trace, dropped), scatter, draws, T, truncation)


def pieces(trace: Trace, members: int) -> int:
    """In how many pieces an ensemble is walked, each within `HELD_BYTES`."""
    numbers = trace.slopes[0].size + 2 * trace.h[0].size + trace.h.shape[1] * trace.cell.local_size
    held = numbers * trace.length * trace.h.itemsize * members
    return min(members, -(-held // HELD_BYTES))


def tiled(error: Scaled, times: int) -> Scaled:
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


def minibatch_log_variance(trace: Trace, error: Scaled, full: Gradients) -> dict[str, float]:
    """log(trace of the covariance of the full gradient over batches of B sequences / |g|^2), from the B at hand.

    B / (B - 1) times the scatter of what each sequence adds to the gradient; missing (NaN) for B = 1.
    """
    batch, names = error.shape[1], trace.cell.recurrent_parameters
    if batch < 2:
        return dict.fromkeys(names, np.nan)
    da = walk(trace, error, full_plan(trace.length)).da
    alone = [(slice(None), slice(b, b + 1)) for b in range(batch)]
    parts = [recurrent_gradient(trace.cell, trace.local.at(sequence), da[sequence]) for sequence in alone]
    found = {}
    for name in names:
        mean = Scaled.whole(full[name].mantissa / batch, full[name].exponent.item())
        scatter = log_scatter([part[name] for part in parts], mean, np.ones(batch), batch / (batch - 1))
        found[name] = log_relative(scatter, 2 * norm(full[name]))
    return found
