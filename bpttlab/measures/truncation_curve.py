"""Every per-loss truncation K = 1..T from one pass: how much of the gradient each holds.

The lag wavefront as in `lag_terms`, in plain numbers, with as little as can be computed for each lag: one product with
W, and the inner product of its term G_l with the whole gradient g, for which no G_l is needed,

    <G_l, g> = sum_k da_k . Z_k,        Z_k = g_W h_{k-1} for W, g_V x_k for V, g_b for b_h

Sums of G_l themselves are computed between the K that are requested. The wavefront ends where the cotangents are
nothing beside the gradient; what they would have added further back is one more walk, and where that is something after
all, or where numbers leave their range, everything is computed as `lag_terms` does it, and the result says so.

Index legend: T time, B sequence, N hidden unit, A pre-activations, P parameters, M what da_k is multiplied by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from bpttlab.fields import check_integer, check_method
from bpttlab.gradients.backward import backward
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lag_terms import measure_lags
from bpttlab.measures.low_rank_products import check_real
from bpttlab.networks.cells import LSTM, Elman, Leaky
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.log_spacing import log_spacing
from bpttlab.numerics.scaled import LOG_2, Scaled, cosine_of, euclidean, log_of, norm

if TYPE_CHECKING:
    import pandas as pd

NOTHING = 1e-15
"""Of the gradient: cotangents that can add no more of it in one lag, and as a rule add 1e-17, are left ..."""

REMAINS = 1e-15
"""... unless what they add together, over all lags, is more than this of it."""

_RANGE = 2.0**400
"""Sizes of cotangents, beside those of the errors, and their inverse, between which squares of them are numbers."""

TILE = 96
"""Rows of a tile, of losses and sequences."""

AFFINE = (Elman, Leaky, LSTM)
"""Cells whose a_t is V x_t + W h_{t-1} + b_h, of the visible part of the state."""


def truncation_curve(
    trace: Trace,
    loss: Loss | Array,
    truncations: Iterable[int] | None = None,
    norms: int = 30,
    *,
    method: Literal["fast", "exact"] = "fast",
) -> pd.DataFrame:
    """How much of the gradient the per-loss truncation at each K = 1..T keeps, a row per recurrent parameter and K.

    Computed in float64, of a float32 trace too.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        truncations: the K with norm, cosine and bias, which cost a product each; by default `norms` of 1..T, evenly
            spaced in log K.
        method: "fast" follows the wavefront in plain numbers, as far as there is something left; "exact" takes every
            lag to the last in numbers that neither over- nor underflow, as `lag_terms` does.

    Returns:
        Columns parameter, truncation (K), share (<g_K, g> / |g|^2, at every K, to 1e-15 of the sum of what all lags add
        to it; NaN where g is zero), log_norm, cosine and log_relative_bias as in `truncation_bias`, NaN at the K that
        were not requested; fell_back, whether "fast" did not trust itself
        and everything is as by "exact". A bias is NaN, too, at K beyond the last
        lag that was followed, where all cotangents together add less than 1e-15 of the gradient; -inf is exactly zero.

    Raises:
        ConfigurationError: a K is not an integer from 1 to T, norms is less than 3, or numbers are complex.
    """
    T = trace.length
    check_real(trace)
    spaced = log_spacing(T - 1, check_integer("norms", norms, 3)) + 1
    chosen = [check_integer("truncation", K, 1, T) for K in (spaced if truncations is None else truncations)]
    requested = np.array(sorted(set(chosen)), np.int64)
    check_method(method, ("fast", "exact"))
    if method == "exact":
        return curve_frame(trace, term_by_term(trace, loss, requested), False)
    try:
        curve = Curve(trace, check_errors(trace, loss), requested)
        found, fell_back = curve.columns(), False
    except CurveFellBackError:
        found, fell_back = term_by_term(trace, loss, requested), True
    return curve_frame(trace, found, fell_back)


def curve_frame(trace: Trace, found: dict[str, dict[str, Array]], fell_back: bool) -> pd.DataFrame:
    """Columns of each parameter, one after another."""
    T, names = trace.length, trace.cell.recurrent_parameters
    frame = {
        "parameter": np.repeat(np.array(names, object), T),
        "truncation": np.tile(np.arange(1, T + 1), len(names)),
    }
    values = {column: np.concatenate([found[name][column] for name in names]) for column in _COLUMNS}
    return as_frame(frame | values | {"fell_back": np.full(T * len(names), fell_back)})


_COLUMNS = ("share", "log_norm", "cosine", "log_relative_bias")


class CurveFellBackError(Exception):
    """Plain numbers, or the end of the wavefront, do not do."""


class Wave(NamedTuple):
    """The result of the wavefront.

    Attributes:
        shares: (followed, P), <G_l, g>.
        intervals: for each parameter the sums of G_l over each interval of lags, (intervals, entries).
        left: (T,B,N), cotangents of h_{t-l} at the first lag that was not followed, as errors of a walk.
    """

    shares: Array
    intervals: dict[str, Array]
    left: Array


class Curve:
    """One wavefront; errors are divided by the power of two that makes the largest one of order one."""

    def __init__(self, trace: Trace, dL_dy_hat: Array, requested: Array) -> None:
        one = Scaled.whole(np.asarray(dL_dy_hat, np.float64))
        self.trace, self.requested, self.exponent = trace.in_float64(), requested, int(one.exponent.item())
        self.names = trace.cell.recurrent_parameters
        self.error = self.trace.error(one.mantissa)
        self.full = self.gradient(self.error)
        self.size = {name: euclidean(gradient) for name, gradient in self.full.items()}
        if not all(1.0 / _RANGE < size < _RANGE for size in self.size.values()):
            raise CurveFellBackError

    def gradient(self, error: Array) -> Params:
        """Of all paths from these errors; each parameter as one row."""
        with np.errstate(all="ignore"):
            da = self.trace.walk(error, full_plan(self.trace.length)).da
            return self.contract(da)

    def contract(self, da: Array) -> Params:
        """The immediate derivatives of the first steps contracted with da.  (T or less,B,A)"""
        gradients = self.trace.cell.parameter_vjp(self.trace.local.at(slice(0, len(da))), da)
        return {name: gradients[name].ravel() for name in self.names}

    @property
    def least(self) -> float:
        """The Frobenius norm of da_k at which all G_l are nothing beside the gradient: |G_l| <= |da| |local|.

        Of the derivatives of a_t by a parameter it is supposed that they are no larger than x_t, h_{t-1} and ones
        together; where that is not so, what remains is found by the last walk.
        """
        local, ones = self.trace.local, self.trace.x[..., :1].size * self.trace.cell.preactivation_size
        most = math.sqrt(euclidean(local.x) ** 2 + euclidean(local.h_prev) ** 2 + ones)
        return NOTHING * min(self.size.values()) / most

    def columns(self) -> dict[str, dict[str, Array]]:
        """COLUMNS of each parameter, by K = 1..T."""
        T = self.trace.length
        interval = np.searchsorted(self.requested, np.arange(T), side="right")  # how many of the K requested are <= l
        tiles = self.trace.engine.takes_tiles(self.trace.cell)
        wave = self.sum_in_tiles(interval) if tiles else self.sum_lag_after_lag(interval)
        rest = self.gradient(wave.left)
        return {
            name: self.columns_of_parameter(number, name, wave, rest[name]) for number, name in enumerate(self.names)
        }

    def columns_of_parameter(self, number: int, name: str, wave: Wave, rest: Array) -> dict[str, Array]:
        """COLUMNS from the sums over intervals of lags, and over those before and after each K."""
        T, followed, size = self.trace.length, len(wave.shares), self.size[name]
        if not euclidean(rest) <= REMAINS * size:
            raise CurveFellBackError
        columns = {"share": np.ones(T), **{column: np.full(T, np.nan) for column in _COLUMNS[1:]}}
        columns["share"][:followed] = np.cumsum(wave.shares[:, number]) / size**2
        reached = np.searchsorted(self.requested, followed, side="right")
        before, after = _accumulate_both_ways(wave.intervals[name][: reached + 1], rest)
        for place, K in enumerate(self.requested):
            kept, tail = (before[place], after[place]) if place < reached else (self.full[name], rest)
            columns["log_norm"][K - 1] = log_of(euclidean(kept)) + self.exponent * LOG_2
            columns["cosine"][K - 1] = cosine_of(kept, self.full[name])
            if place < reached or euclidean(tail) == 0.0 or K == T:
                columns["log_relative_bias"][K - 1] = log_of(euclidean(tail) / size) if K < T else -np.inf
        return columns

    # ------------------------------------------------------------------------------------ the wavefront

    def sum_lag_after_lag(self, interval: Array) -> Wave:
        """For every cell: all losses one lag further, and again."""
        trace, T = self.trace, self.trace.length
        Z, dh, least = self.compute_inner(), self.error, self.least
        shares, total = (
            np.zeros((T, len(self.names))),
            np.zeros((T, *trace.linearization.shape[1:-1], trace.cell.preactivation_size)),
        )
        intervals = {name: np.zeros((len(self.requested) + 1, self.full[name].size)) for name in self.names}
        lag, begun, size = 0, 0, math.inf
        while lag < T and size > least:
            da, dh = trace.cell.vjp(trace.params, trace.linearization[: T - lag], dh)
            size = euclidean(da)
            if not size < _RANGE:
                raise CurveFellBackError
            shares[lag] = self.inner_products(Z, da)
            total[: T - lag] += da
            lag, dh = lag + 1, dh[1:]
            if lag == T or size <= least or interval[lag] != interval[lag - 1]:
                for name, gradient in self.contract(total[: T - begun]).items():
                    intervals[name][interval[lag - 1]] = gradient
                total[: T - begun], begun = 0.0, lag
        return Wave(shares[:lag], intervals, self.inject(dh))

    def inject(self, dh: Array) -> Array:
        """Cotangents of h_1, h_2, ... as the errors of all steps.  (some,B,N) -> (T,B,N)"""
        left = np.zeros(self.error.shape)
        left[: len(dh)] = dh
        return left

    def compute_inner(self) -> Array | None:
        """Z_k of each parameter, (P,T,B,A), where a_t is affine in them; else None."""
        cell, local = self.trace.cell, self.trace.local
        if not isinstance(cell, AFFINE):
            return None
        Z = np.empty((len(self.names), *local.x.shape[:-1], cell.preactivation_size))
        inputs = {"V": local.x, "W": local.h_prev[..., cell.readout_slice]}
        for number, name in enumerate(self.names):
            gradient = self.full[name].reshape(cell.shapes()[name])
            Z[number] = inputs[name] @ gradient.T if name in inputs else gradient
        return Z

    def inner_products(self, Z: Array | None, da: Array) -> Array:
        """<G_l, g> of each parameter, from the da of one lag.  (P,)"""
        if Z is not None:
            return np.array([np.vdot(of_parameter[: len(da)], da) for of_parameter in Z])
        term = self.contract(da)
        return np.array([term[name] @ self.full[name] for name in self.names])

    def sum_in_tiles(self, interval: Array) -> Wave:
        """For an Elman cell, by compiled loops that keep a tile of losses near the processor."""
        trace, (T, B, N), Z = self.trace, self.error.shape, self.compute_inner()
        assert Z is not None
        local = np.concatenate([trace.local.h_prev, trace.x, np.ones((T, B, 1))], axis=-1).reshape(T * B, -1)
        together = min(T, max(1, TILE // B))
        tiles = -(-T // together)
        dh, shares = self.error.reshape(T * B, N).copy(), np.zeros((T, len(self.names)))
        gradients = np.zeros((len(self.requested) + 1, N, local.shape[1]))
        followed = trace.engine.wave_in_tiles(
            trace, Z.reshape(len(Z), -1), local, interval, self.least / math.sqrt(tiles), _RANGE, together, dh, shares,
            gradients,
        )  # fmt: skip
        if followed < 0:
            raise CurveFellBackError
        I = trace.x.shape[-1]
        parts = {"W": gradients[:, :, :N], "V": gradients[:, :, N : N + I], "b_h": gradients[:, :, -1]}
        intervals = {name: parts[name].reshape(len(gradients), -1) for name in self.names}
        return Wave(shares[:followed], intervals, self.inject(dh.reshape(T, B, N)[followed:]))


def _accumulate_both_ways(intervals: Array, rest: Array) -> tuple[Array, Array]:
    """Sums of all intervals up to each but the last, and of those after it and the rest.  (K+1,E), (E,) -> 2 (K,E)"""
    before, after = intervals[:-1].copy(), intervals[1:].copy()
    for place in range(1, len(before)):
        before[place] += before[place - 1]
    for place in reversed(range(len(after))):
        after[place] += rest if place == len(after) - 1 else after[place + 1]
    return before, after


def term_by_term(trace: Trace, loss: Loss | Array, requested: Array) -> dict[str, dict[str, Array]]:
    """COLUMNS from `lag_terms.measure_lags`: every lag to the last, in numbers that neither over- nor underflow."""
    trace = trace.in_float64()
    full = backward(trace, np.asarray(check_errors(trace, loss), np.float64), scaled=True)
    found = measure_lags(trace, loss, "all", full=full)
    columns = {
        name: columns_of_whole(norm(full[name]), trace.length, requested) for name in trace.cell.recurrent_parameters
    }
    terms, truncated, wanted = found.lag_terms, found.truncations, set(requested.tolist())
    for row, name in enumerate(terms.get("parameter", ())):
        columns[name]["share"][terms["lag"][row]] = terms["cumulative_share"][row]
    for row, name in enumerate(truncated.get("parameter", ())):
        if truncated["truncation"][row] in wanted:
            for column in _COLUMNS[1:]:
                columns[name][column][truncated["truncation"][row] - 1] = truncated[column][row]
    return columns


def columns_of_whole(log_size: float, T: int, requested: Array) -> dict[str, Array]:
    """COLUMNS of truncations that leave out nothing."""
    columns = {column: np.full(T, np.nan) for column in _COLUMNS}
    alive = np.isfinite(log_size)
    columns["share"][:] = 1.0 if alive else np.nan
    for column, value in zip(_COLUMNS[1:], (log_size, 1.0 if alive else np.nan, -np.inf), strict=True):
        columns[column][requested - 1] = value
    return columns
