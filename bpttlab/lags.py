"""The gradient split by lag, and every per-loss truncation read off the same pass.

G_l is the sum over all losses of the term that goes back exactly l steps; sum_l G_l is the gradient, the sum over l <
K the gradient truncated at K, and the sum over l >= K what the truncation left out: the bias is computed as that
tail, since a difference of two gradients floors at the rounding of the larger one.

The cotangents of all losses go back side by side, one lag at a time (`paths.propagate`): the lag wavefront.

Index legend: S losses, B sequence, N hidden state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.bptt import (
    Array,
    Trace,
    add_to,
    backward_scaled,
    checked_errors,
    recurrent_gradient,
    walk,
)
from bpttlab.cells.base import Local
from bpttlab.grids import log_spaced
from bpttlab.losses import Loss
from bpttlab.paths import Between, Lag, propagate
from bpttlab.scaled import LOG_2, Scaled, dot, ratio
from bpttlab.truncation import PerLoss, full_plan

Gradients = dict[str, Scaled]


@dataclass(frozen=True)
class LagMeasures:
    """Rows of the tables `lag_terms` and, for the truncations read off the lag terms, `truncations`."""

    lag_terms: dict[str, Array]
    truncations: dict[str, Array]


def lag_terms(
    trace: Trace, loss: Loss | Array, which: str = "log", lags: int = 24, max_lag: int | None = None
) -> pd.DataFrame:
    """The gradient's lag terms, a row per parameter and lag.

    Args:
        trace: a forward pass.
        loss: as in `bptt.backward`.
        which: "log" for some lags, "all" for every one.
        lags: how many lags with "log".
        max_lag: the longest lag; all T by default.

    Returns:
        Columns parameter, lag, log_norm, log_norm_per_loss, relative_size, share, cumulative_share, signal_to_noise.
        Natural logarithms; -inf is exactly zero; NaN where a quotient is not defined.
    """
    return pd.DataFrame(measure_lags(trace, loss, which, lags, max_lag).lag_terms)


def measure_lags(
    trace: Trace,
    loss: Loss | Array,
    which: str = "log",
    lags: int = 24,
    max_lag: int | None = None,
    full: Gradients | None = None,
) -> LagMeasures:
    """Lag terms and per-loss truncations of one trace from one wavefront.

    Args:
        full: the full gradient, if it is known already.
    """
    full = full or backward_scaled(trace, loss)
    last = trace.length - 1 if max_lag is None else min(max_lag, trace.length - 1)
    reported = np.arange(last + 1) if which == "all" else log_spaced(last, lags)
    gathered = Gathered(trace, full, reported)
    error = trace.scaled_error(checked_errors(trace, loss))
    rest = gathered.gather(wavefront(trace, error, last, gathered.between), error)
    return LagMeasures(gathered.lag_columns(), gathered.truncation_columns(rest))


def wavefront(trace: Trace, error: Scaled, last: int, between: Between | None = None) -> Iterator[Lag]:
    """The cotangents of all losses at lags 0..last+1, or at some of them; steps without a loss are left out."""
    t = 1 + np.flatnonzero(error.mantissa.any(axis=(1, 2)))
    if not len(t):
        return
    for lag in propagate(trace, t, error[t - 1][None], between):
        yield lag
        if lag.lag > last:
            return


class Gathered:
    """What one pass over the wavefront leaves: the numbers of every reported lag and sums of G_l between them."""

    def __init__(self, trace: Trace, full: Gradients, reported: Array) -> None:
        self.trace, self.full = trace, full
        self.names = trace.cell.recurrent_parameters
        self.log_full = {name: norm(full[name]) for name in self.names}
        self.square = {name: dot(full[name], full[name]) for name in self.names}
        self.reported = [int(lag) for lag in reported]
        self.kept: Gradients = {}  # sum of G_i over i < l
        self.rows: list[dict[str, Any]] = []
        self.truncated: list[dict[str, Any]] = []
        self.intervals: list[Gradients] = []  # sum of G_i over the lags from one reported lag to before the next
        self.between = Between(trace, {*self.reported, self.reported[-1] + 1})

    def gather(self, lags: Iterator[Lag], error: Scaled) -> Gradients:
        """Consume the wavefront; returns the sum of all G_l beyond the last lag reported."""
        trace, wanted = self.trace, set(self.reported)
        for lag in lags:
            if lag.lag in wanted:
                self.add_between()
                self.note_truncation(lag.lag)
                self.intervals.append({})
            if lag.da is None:
                break
            if lag.lag > self.reported[-1]:
                return remainder(trace, lag, error)
            self.note_lag(lag.lag, lag.t[lag.t > lag.lag] - lag.lag, lag.da[0])
        self.add_between()
        return {}

    def note_lag(self, lag: int, k: Array, da: Scaled) -> None:
        local = self.trace.local.at(k - 1)
        term = recurrent_gradient(self.trace.cell, local, da)
        self.add(term)
        noise = signal_to_noise(self.trace, local, da)
        for name in self.names:
            self.rows.append(self.lag_row(name, lag, term[name], len(k), noise[name]))

    def add_between(self) -> None:
        """The terms of the lags since the last one that was reported, by one product."""
        if self.between.total is not None:
            there, sums = self.between.take()
            self.add(recurrent_gradient(self.trace.cell, self.trace.local.at(there), sums))

    def add(self, term: Gradients) -> None:
        add_to(self.intervals[-1], term)
        add_to(self.kept, term)

    def lag_row(self, name: str, lag: int, term: Scaled, losses: int, noise: float) -> dict[str, Any]:
        full = self.full[name]
        log_norm, log_full, square = norm(term), self.log_full[name], self.square[name]
        defined = bool(np.isfinite(log_full))
        return {
            "parameter": name,
            "lag": lag,
            "log_norm": log_norm,
            "log_norm_per_loss": log_norm - np.log(losses),
            "relative_size": float(np.exp(log_norm - log_full)) if defined else np.nan,
            "share": ratio(dot(term, full), square) if defined else np.nan,
            "cumulative_share": ratio(dot(self.kept[name], full), square) if defined else np.nan,
            "signal_to_noise": noise,
        }

    def note_truncation(self, K: int) -> None:
        """The gradient with lags l < K, before the term of lag K is added."""
        for name in self.names if K > 0 else ():
            kept = self.kept[name]
            self.truncated.append(
                {"truncation": K, "parameter": name, "log_norm": norm(kept), "cosine": cosine(kept, self.full[name])}
            )

    def lag_columns(self) -> dict[str, Array]:
        return columns(self.rows, sort=("parameter", "lag"))

    def truncation_columns(self, rest: Gradients) -> dict[str, Array]:
        """Rows of `truncations`: what was noted, with the bias from sums over the lags that were left out."""
        tails: dict[tuple[str, int], Scaled] = {}
        running = dict(rest)
        for K, interval in reversed(list(zip(self.reported, self.intervals, strict=False))):
            add_to(running, interval)
            tails.update({(name, K): running[name] for name in self.names if name in running})
        length = self.trace.length
        steps = {K: PerLoss(K).plan(length).steps_computed for K in {row["truncation"] for row in self.truncated}}
        for row in self.truncated:
            tail = tails.get((row["parameter"], row["truncation"]))
            log_tail = -np.inf if tail is None else norm(tail)
            bias = log_relative(log_tail, self.log_full[row["parameter"]])
            row |= {"scheme": "per_loss", "length": length, "origin": "wavefront", "log_relative_bias": bias}
            row |= {"log_variance": np.nan, "log_minibatch_variance": np.nan, "draws": None}
            row["steps_computed"] = steps[row["truncation"]]
        return columns(self.truncated, sort=("parameter", "truncation"))


def remainder(trace: Trace, lag: Lag, error: Scaled) -> Gradients:
    """Sum of G_i over i >= l: the cotangents that have come l steps back, injected there as errors of a full walk."""
    inside = lag.t > lag.lag
    injected = Scaled.zeros(error.shape, error.mantissa.dtype)
    injected[lag.t[inside] - lag.lag - 1] = lag.dh[0, inside]
    cotangents = walk(trace, injected, full_plan(trace.length))
    return recurrent_gradient(trace.cell, trace.local, cotangents.da)


def signal_to_noise(trace: Trace, local: Local, da: Scaled) -> dict[str, float]:
    """||E G_l||^2 / tr Cov over sequences, from the G_l of each; NaN for one sequence, inf where all are equal."""
    if da.shape[1] < 2:
        return dict.fromkeys(trace.cell.recurrent_parameters, np.nan)
    alone = [(slice(None), slice(b, b + 1)) for b in range(da.shape[1])]
    each = [recurrent_gradient(trace.cell, local.at(sequence), da[sequence]) for sequence in alone]
    return {name: mean_over_scatter([one[name] for one in each]) for name in each[0]}


def mean_over_scatter(gradients: Sequence[Scaled]) -> float:
    exponent = max(int(gradient.exponent.item()) for gradient in gradients)
    values = np.stack([gradient.at(exponent) for gradient in gradients]).astype(np.float64)
    count = len(values)
    if count < 2 or not values.any():
        return np.nan
    mean = values.mean(axis=0)
    scatter = float(((values - mean) ** 2).sum() / (count - 1))
    return float((mean * mean).sum() / scatter) if scatter > 0 else np.inf


# ---------------------------------------------------------------------------------------------------- small pieces


def norm(gradient: Scaled) -> float:
    """Natural logarithm of the Euclidean norm of all of it."""
    if gradient.exponent.size > 1:
        return float(gradient.log_norm(gradient.mantissa.ndim))
    one = Scaled.whole(gradient.mantissa, gradient.exponent.item())
    size = euclidean(one.mantissa)
    return math.log(size) + one.exponent.item() * LOG_2 if size > 0 else -math.inf


def euclidean(mantissa: Array) -> float:
    """Norm of all entries, in float64."""
    flat = mantissa.ravel().astype(np.float64, copy=False)
    return math.sqrt(float(flat @ flat))


def cosine(left: Scaled, right: Scaled) -> float:
    """Of the angle between two gradients; NaN where one of them is zero."""
    one, other = (Scaled.whole(gradient.mantissa).mantissa for gradient in (left, right))
    lengths = euclidean(one) * euclidean(other)
    return min(max(float(np.vdot(one, other)) / lengths, -1.0), 1.0) if lengths else math.nan


def log_relative(log_part: float, log_whole: float) -> float:
    """log(part / whole): -inf where the part is exactly zero, inf where only the whole is."""
    return -np.inf if log_part == -np.inf else log_part - log_whole


def columns(rows: list[dict[str, Any]], sort: Sequence[str]) -> dict[str, Array]:
    """Rows as arrays, one a column."""
    rows = sorted(rows, key=lambda row: tuple(row[name] for name in sort))
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
