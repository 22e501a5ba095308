"""Back-propagation whose cotangents are clipped at every step.

    u_t = e_t + J_{t+1}^T delta_{t+1}          delta_t = clip(u_t)

u_t is all that arrives at h_t: from its own loss, and from h_{t+1}. The part that is clipped off, u_t - delta_t, is
kept. A full walk with these parts as errors gives exactly what the clipped gradient lacks, without a difference of two
gradients, as for every plan (`estimators`): behind the clip, the way back is linear.

Index legend: T time, B sequence, N hidden state, A pre-activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from bpttlab.gradients.engine import Cotangents, normalise, vjp, zeros_like
from bpttlab.gradients.trace import Trace
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled

ClippedBy = Literal["value", "norm"]
Clip = Callable[[Any], tuple[Any, Any]]
"""u -> delta and u - delta, both (B, N), plain or scaled as u."""


def walk_clipped(trace: Trace, error: Any, clip: Clip) -> Cotangents:
    """Back through all steps, plain or scaled as the errors are.  (T,B,N)

    `dropped` has what was clipped off at every h_t; entry 0 is dL/dh_0, which is not clipped.
    """
    T, B, N = error.shape
    da, dropped = zeros_like(error, (T, B, trace.cell.preactivation_size)), zeros_like(error, (T + 1, B, N))
    dh = zeros_like(error, (B, N))
    for t in range(T, 0, -1):
        delta, dropped[t] = clip(normalise(error[t - 1] + dh))
        da[t - 1], dh = vjp(trace.cell, trace.params, trace.linearization[t - 1], delta)
    dropped[0] = dh
    return Cotangents(da, dropped)


def clip_plain(u: Array, threshold: float, by: ClippedBy) -> tuple[Array, Array]:
    """Every entry to [-threshold, threshold], or every row to a norm of at most threshold; and the rest."""
    if by == "value":
        delta = np.clip(u, -threshold, threshold)
        return delta, u - delta
    largest = np.abs(u).max(axis=-1, keepdims=True)
    unit = np.where(largest > 0, largest, 1.0)
    size = np.linalg.norm(u / unit, axis=-1, keepdims=True)  # a square of u itself may overflow, or be 0
    kept = np.minimum(1.0, threshold / unit / np.where(size > 0, size, 1.0)).astype(u.dtype)
    return u * kept, u * (1.0 - kept)


def clip_scaled(u: Scaled, threshold: float, by: ClippedBy) -> tuple[Scaled, Scaled]:
    """The same of rows of any size; `u` is normalised.

    A row that is clipped gets the exponent of the threshold. A row that is not is left as it is.
    """
    mantissa, exponent = math.frexp(threshold)  # 0.5 <= mantissa < 1
    shift = np.clip(exponent - u.exponent, -5000, 5000)
    with np.errstate(over="ignore", invalid="ignore"):  # a limit beyond every float clips nothing
        limit = np.ldexp(np.full(shift.shape, mantissa, u.mantissa.dtype), shift)  # in the unit of each row
        bound = np.asarray(mantissa, u.mantissa.dtype)
        over, kept, rest = (clip_entries if by == "value" else clip_rows)(u.mantissa, limit, bound, shift)
    rows = over.any(axis=-1, keepdims=True)
    delta = Scaled(np.where(rows, kept, u.mantissa), np.where(rows, exponent, u.exponent))
    return delta.normalise(), Scaled(np.where(over, rest, 0.0), u.exponent)


def clip_entries(mantissa: Array, limit: Array, bound: Array, shift: Array) -> tuple[Array, Array, Array]:
    """Which entries are clipped; what is kept of a row, over 2^(exponent of the threshold); what is clipped off."""
    over = np.abs(mantissa) > limit
    inside = np.ldexp(np.where(over, 0.0, mantissa), -shift)  # below the threshold, hence no overflow
    return over, np.where(over, np.sign(mantissa) * bound, inside), mantissa - np.sign(mantissa) * limit


def clip_rows(mantissa: Array, limit: Array, bound: Array, shift: Array) -> tuple[Array, Array, Array]:
    """`clip_entries` by the norm of a row."""
    length = np.linalg.norm(mantissa, axis=-1, keepdims=True)
    over = np.broadcast_to(length > limit, mantissa.shape)
    length = np.where(length > 0, length, 1.0).astype(mantissa.dtype)
    return over, mantissa * (bound / length), mantissa * (1.0 - limit / length)
