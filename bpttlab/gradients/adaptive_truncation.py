"""The decay of the gradient of a loss on its way back, and the truncation length for a requested bias.

    phi_l = sum_t mean_b || dL_t/dh_{t-l} ||          E_K = M sum_{l >= K} phi_l          M >= || d+h_k/dtheta ||_2

    || g_K - g || / || g ||  <=  E_K / (|| g_K || - E_K)          where the denominator is positive

(Aicher, Foti & Fox 2019). With every phi_l this is a bound. Without the lags beyond R, phi is continued as a geometric
series. This is their estimate; it has another name here, because it is no bound.

Index legend: T time, B sequence, S losses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bpttlab.gradients.forward_mode.rtrl import immediate_derivatives
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.propagation import wavefront
from bpttlab.gradients.scaled_gradients import add_to, recurrent_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.scaled import Scaled, norm

if TYPE_CHECKING:
    import pandas as pd


class Decay(NamedTuple):
    """The two quantities of the bound and the estimate.

    Attributes:
        log_phi: (R+1,), log phi_l for the computed lags; -inf is exactly zero.
        whole: whether these are all lags.
        log_norms: by parameter (R+1,), log |g_K| for K = 1..R+1.
        log_immediate: by parameter, log M.
    """

    log_phi: Array
    whole: bool
    log_norms: dict[str, Array]
    log_immediate: dict[str, float]

    def limit_lags(self, longest: int) -> Decay:
        """As if no longer lag had been looked at."""
        seen = min(longest, len(self.log_phi) - 1) + 1
        log_norms = {name: values[:seen] for name, values in self.log_norms.items()}
        return Decay(self.log_phi[:seen], self.whole and seen == len(self.log_phi), log_norms, self.log_immediate)

    def log_bias(self, name: str) -> Array:
        """log(E_K / (|g_K| - E_K)) for K = 1..R+1; NaN where |g_K| is not larger than E_K.  (R+1,)"""
        log_norm = self.log_norms[name]
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
    """phi_l for l = 0..R, and g_K and M of every recurrent parameter.

    M is the largest spectral norm of the immediate derivative over all steps and sequences, whose gradients carry their
    part of the mean over the batch already.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        longest: R, the longest lag; T - 1 by default, and at most.
    """
    last = trace.length - 1 if longest is None else min(longest, trace.length - 1)
    error = trace.scaled_error(check_errors(trace, loss))
    log_phi, log_norms = measure_wavefront(trace, error, last)
    return Decay(log_phi, last == trace.length - 1, log_norms, log_immediate_norms(trace))


def measure_wavefront(trace: Trace, error: Scaled, last: int) -> tuple[Array, dict[str, Array]]:
    """log phi_l for l = 0..R and, by parameter, log |g_K| for K = 1..R+1, from one wavefront."""
    names, kept = trace.cell.recurrent_parameters, dict[str, Scaled]()
    log_phi, log_norms = np.full(last + 1, -np.inf), {name: np.full(last + 1, -np.inf) for name in names}
    for lag in wavefront(trace, error, last):
        if lag.da is None:
            break
        inside = lag.t > lag.lag
        log_phi[lag.lag] = np.logaddexp.reduce(lag.dh[0, inside].log_norm().ravel(), initial=-np.inf)
        add_to(kept, recurrent_gradient(trace.cell, trace.local.at(lag.t[inside] - lag.lag - 1), lag.da[0]))
        for name in names:
            log_norms[name][lag.lag :] = norm(kept[name])
        if lag.lag == last:  # one lag further would be a step that is not needed
            break
    return log_phi, log_norms


def log_immediate_norms(trace: Trace) -> dict[str, float]:
    """log of the largest spectral norm of d+h_k/dtheta over k and the sequences, by parameter."""
    largest = dict.fromkeys(trace.cell.recurrent_parameters, -np.inf)
    for t in range(1, trace.length + 1):
        immediate = immediate_derivatives(trace, t)  # each (B, N, P), of which N is the smaller
        for name in largest:
            matrix = immediate[name][trace.lengths >= t].astype(np.float64)
            square = np.linalg.eigvalsh(matrix @ matrix.swapaxes(-2, -1))[:, -1].max()
            largest[name] = max(largest[name], 0.5 * float(np.log(square)) if square > 0 else -np.inf)
    return largest


# ------------------------------------------------------------------------------------------ bounds on the bias


def bound_biases(trace: Trace, loss: Loss | Array, longest: int | None = None) -> pd.DataFrame:
    """The estimate of the relative bias of per-loss truncations without going back to the start, beside the bound.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        longest: R, the longest lag of the estimate; at most T - 1, which is the default.

    Returns:
        A row per recurrent parameter and truncation K = 1..T: parameter, truncation, log_norm of g_K, log_bias_bound
        (from every phi_l), log_bias_estimate (from those up to R, for K <= R + 1). Natural logarithms; -inf: nothing is
        left out; NaN: no finite bound, because the error is as large as g_K or phi does not decay.
    """
    return as_frame(measure_bounds(trace, loss, longest, np.arange(1, trace.length + 1)))


def measure_bounds(trace: Trace, loss: Loss | Array, longest: int | None, truncations: Array) -> dict[str, Array]:
    """`bound_biases` as columns, at some K."""
    found = decay(trace, loss)
    seen = found.limit_lags(trace.length - 1 if longest is None else longest)
    at, parts = truncations - 1, []
    for name, log_norm in sorted(found.log_norms.items()):
        estimate = np.full(trace.length, np.nan)
        estimate[: len(seen.log_phi)] = seen.log_bias(name)
        numbers = (log_norm, found.log_bias(name), estimate)
        parts.append((np.full(len(at), name, object), truncations, *(values[at] for values in numbers)))
    names = ("parameter", "truncation", "log_norm", "log_bias_bound", "log_bias_estimate")
    return {name: np.concatenate(column) for name, column in zip(names, zip(*parts, strict=True), strict=True)}


def estimate_steps(error: Scaled, longest: int) -> int:
    """Products of a transposed Jacobian with one vector that `decay` takes: min(t, R + 1) for each loss L_t."""
    t = 1 + np.flatnonzero(error.mantissa.any(axis=(1, 2)))
    return int(np.minimum(t, longest + 1).sum())


def adaptive_truncation(trace: Trace, loss: Loss | Array, delta: float, longest: int | None = None) -> int:
    """The smallest K whose estimated relative bias is at most delta for every parameter; R + 1 if there is none.

    Args:
        trace, loss, longest: as in `bound_biases`.
        delta: the tolerated relative bias, above 0.
    """
    found = decay(trace, loss, longest)
    enough = np.ones(len(found.log_phi), bool)
    for name in found.log_norms:
        enough &= found.log_bias(name) <= np.log(delta)  # NaN is not enough
    return int(np.argmax(enough)) + 1 if enough.any() else len(enough)
