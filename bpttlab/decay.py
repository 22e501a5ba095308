"""How fast the gradient of a loss decays on its way back, and how long a truncation has to be for a bias that is asked.

    phi_l = sum_t mean_b || dL_t/dh_{t-l} ||          E_K = M sum_{l >= K} phi_l          M >= || d+h_k/dtheta ||_2

    || g_K - g || / || g ||  <=  E_K / (|| g_K || - E_K)          where the denominator is positive

(Aicher, Foti & Fox 2019). With every phi_l this is a bound. Who does not go back to the end continues phi beyond the
longest lag R looked at as a geometric series: their estimate, under another name here, for it bounds nothing.

Index legend: T time, B sequence, S losses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from bpttlab.bptt import Array, Trace, add_to, checked_errors, recurrent_gradient
from bpttlab.forward_mode.exact import immediate_derivatives
from bpttlab.lags import Gradients, norm, wavefront
from bpttlab.losses import Loss
from bpttlab.scaled import Scaled


class Decay(NamedTuple):
    """What Aicher's two quantities are made of.

    Attributes:
        log_phi: (R+1,), log phi_l for the lags that were looked at; -inf is exactly zero.
        whole: whether these are all lags that there are.
        log_immediate: by parameter, log M.
    """

    log_phi: Array
    whole: bool
    log_immediate: dict[str, float]

    def up_to(self, longest: int) -> Decay:
        """As if no longer lag had been looked at."""
        last = min(longest, len(self.log_phi) - 1)
        return Decay(self.log_phi[: last + 1], self.whole and last == len(self.log_phi) - 1, self.log_immediate)

    def log_bias(self, name: str, log_norm: Array) -> Array:
        """log(E_K / (|g_K| - E_K)) from log |g_K|, K = 1..R+1; NaN where |g_K| is not larger than E_K.  -> (R+1,)"""
        if self.log_immediate[name] == -np.inf:  # all of the gradient is zero
            return np.full(log_norm.shape, np.nan)
        log_error = self.log_immediate[name] + np.logaddexp(self.log_tail(), self.log_beyond())
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(
                log_error < log_norm, log_error - log_norm - np.log1p(-np.exp(log_error - log_norm)), np.nan
            )

    def log_tail(self) -> Array:
        """log of the sum of phi_l over the lags l >= K that were looked at, K = 1..R+1.  (R+1,)"""
        return np.append(np.logaddexp.accumulate(self.log_phi[:0:-1])[::-1], -np.inf)

    def log_beyond(self) -> float:
        """log of the geometric series that goes on from phi_R; inf where phi does not decay, -inf with every lag.

        The ratio is the least-squares one over the second half of the lags.
        """
        if self.whole:
            return -np.inf
        lags = np.arange(len(self.log_phi))
        late = (lags >= len(lags) // 2) & np.isfinite(self.log_phi)
        if late.sum() < 2:
            return -np.inf if np.isneginf(self.log_phi[-1]) else np.inf
        slope = float(np.polyfit(lags[late], self.log_phi[late], 1)[0])
        return float(self.log_phi[-1] + slope - np.log(-np.expm1(slope))) if slope < 0 else np.inf


def decay(trace: Trace, loss: Loss | Array, longest: int | None = None) -> Decay:
    """phi_l for l = 0..R, and M of every recurrent parameter.

    M is the largest spectral norm of the immediate derivative over all steps and sequences, whose gradients carry their
    part of the mean over the batch already.

    Args:
        trace: a forward pass.
        loss: as in `bptt.backward`.
        longest: R, the longest lag; T - 1 by default, and at most.
    """
    last = trace.length - 1 if longest is None else min(longest, trace.length - 1)
    error = trace.scaled_error(checked_errors(trace, loss))
    return Decay(log_phi(trace, error, last), last == trace.length - 1, log_immediate_norms(trace))


def log_phi(trace: Trace, error: Scaled, last: int) -> Array:
    """(R+1,)"""
    found = np.full(last + 1, -np.inf)
    for lag in wavefront(trace, error, last):
        if lag.lag <= last:
            inside = lag.dh[0, lag.t > lag.lag]
            found[lag.lag] = np.logaddexp.reduce(inside.log_norm().ravel(), initial=-np.inf)
    return found


def log_immediate_norms(trace: Trace) -> dict[str, float]:
    """log of the largest spectral norm of d+h_k/dtheta over k and the sequences, by parameter."""
    largest = dict.fromkeys(trace.cell.recurrent_parameters, -np.inf)
    for t in range(1, trace.length + 1):
        immediate = immediate_derivatives(trace, t)  # each (B, N, P), of which N is the smaller
        for name in largest:
            matrix = immediate[name].astype(np.float64)
            square = np.linalg.eigvalsh(matrix @ matrix.swapaxes(-2, -1))[:, -1].max()
            largest[name] = max(largest[name], 0.5 * float(np.log(square)) if square > 0 else -np.inf)
    return largest


# ------------------------------------------------------------------------------------------ bounds on the bias


def bias_bounds(trace: Trace, loss: Loss | Array, longest: int | None = None) -> pd.DataFrame:
    """What is known of the relative bias of per-loss truncations without going back to the start, beside the bound.

    Args:
        trace: a forward pass.
        loss: as in `bptt.backward`.
        longest: R, the longest lag that the estimate looks at; at most T - 1, which is the default.

    Returns:
        A row per recurrent parameter and truncation K = 1..T: parameter, truncation, log_norm of g_K, log_bias_bound
        (from every phi_l), log_bias_estimate (from those up to R, for K <= R + 1). Natural logarithms; -inf: nothing is
        left out; NaN where they say nothing, the error being as large as g_K or phi not decaying.
    """
    return pd.DataFrame(measure_bounds(trace, loss, longest, np.arange(1, trace.length + 1)))


def measure_bounds(trace: Trace, loss: Loss | Array, longest: int | None, truncations: Array) -> dict[str, Array]:
    """`bias_bounds` as columns, at some K."""
    found, kept = decay(trace, loss), kept_norms(trace, loss)
    seen = found.up_to(trace.length - 1 if longest is None else longest)
    parts = []
    for name in sorted(kept):
        bound, estimate = np.full((2, trace.length), np.nan)
        bound[:] = found.log_bias(name, kept[name])
        estimate[: len(seen.log_phi)] = seen.log_bias(name, kept[name][: len(seen.log_phi)])
        parts.append((np.full(len(truncations), name, object), truncations, kept[name], bound, estimate))
    names = ("parameter", "truncation", "log_norm", "log_bias_bound", "log_bias_estimate")
    at = truncations - 1
    picked = [(name, K, *(values[at] for values in rest)) for name, K, *rest in parts]
    return {name: np.concatenate(column) for name, column in zip(names, zip(*picked, strict=True), strict=True)}


def kept_norms(trace: Trace, loss: Loss | Array, last: int | None = None) -> dict[str, Array]:
    """log |g_K| for K = 1..R+1, by parameter: running sums of the lag terms."""
    last = trace.length - 1 if last is None else last
    names = trace.cell.recurrent_parameters
    kept: Gradients = {}
    norms: dict[str, list[float]] = {name: [] for name in names}
    for lag in wavefront(trace, trace.scaled_error(checked_errors(trace, loss)), last):
        if lag.da is None or lag.lag > last:
            break
        local = trace.local.at(lag.t[lag.t > lag.lag] - lag.lag - 1)
        add_to(kept, recurrent_gradient(trace.cell, local, lag.da[0]))
        for name in names:
            norms[name].append(norm(kept[name]))
    return {name: np.array([*values, *values[-1:] * (last + 1 - len(values))]) for name, values in norms.items()}


def adaptive_truncation(trace: Trace, loss: Loss | Array, delta: float, longest: int | None = None) -> int:
    """The smallest K whose estimated relative bias is at most delta for every parameter; R + 1 if there is none.

    Args:
        trace, loss, longest: as in `bias_bounds`.
        delta: the relative bias that is tolerated, above 0.
    """
    found = decay(trace, loss, longest)
    kept = kept_norms(trace, loss, len(found.log_phi) - 1)
    enough = np.ones(len(found.log_phi), bool)
    for name, log_norm in kept.items():
        enough &= found.log_bias(name, log_norm) <= np.log(delta)  # NaN is not enough
    return int(np.argmax(enough)) + 1 if enough.any() else len(enough)
