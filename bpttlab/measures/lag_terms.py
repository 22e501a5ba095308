"""The gradient split by lag, and every per-loss truncation read off the same pass.

G_l is the sum over all losses of the term that goes back exactly l steps; sum_l G_l is the gradient, the sum over l <
K the gradient truncated at K, and the sum over l >= K what the truncation left out: the bias is computed as that
tail, since a difference of two gradients floors at the rounding of the larger one.

The cotangents of all losses go back side by side, one lag at a time (`propagation.propagate`): the lag wavefront.

Index legend: S losses, B sequence, N hidden state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from bpttlab.fields import Field, check_integer
from bpttlab.gradients.backward import backward
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.propagation import Between, Lag, wavefront
from bpttlab.gradients.scaled_gradients import recurrent_gradient, sequence_gradients
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lags import check_lags, reported_lags
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.networks.cells.cell import Cell, Local
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame, concatenate
from bpttlab.numerics.cumulative_sums import Beside, Parts, Whole, parts_beside, sum_side_by_side
from bpttlab.numerics.scaled import Gradients, Scaled, norm
from bpttlab.store.measure_columns import GRADIENT_LAG_TERMS
from bpttlab.truncation.segmented import PerLoss

if TYPE_CHECKING:
    import pandas as pd


MOST_NUMBERS = 2**24
"""Numbers of all sums, about, that are held at once; where there are more, terms are made one by one."""


@dataclass(frozen=True)
class LagMeasures:
    """Rows of the tables `lag_terms` and, for the truncations read off the lag terms, `truncations`."""

    lag_terms: dict[str, Array]
    truncations: dict[str, Array]


def lag_terms(
    trace: Trace,
    loss: Loss | Array,
    lags: Literal["log", "all"] | Iterable[int] = "log",
    *,
    count: int = 24,
    max_lag: int | None = None,
) -> pd.DataFrame:
    """The gradient's lag terms, a row per parameter and lag.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        lags: "log" some of 0..T-1, "all" every one, or the lags themselves.
        count: how many lags with "log".
        max_lag: the longest lag; all T by default.

    Returns:
        Columns parameter, lag, log_norm, log_norm_per_loss, relative_size, share, cumulative_share, signal_to_noise.
        Natural logarithms; -inf is exactly zero; NaN where a quotient is not defined. signal_to_noise estimates
        ||E G_l||^2 / tr Cov over sequences without bias from their number B; it is NaN for B = 1, and may be negative
        (`mean_over_scatter`).

    Raises:
        ConfigurationError: lags are not as above, count < 3, max_lag < 0, or one of them is not an integer.
    """
    count = check_integer("count", count, 3)
    max_lag = None if max_lag is None else check_integer("max_lag", max_lag, 0)
    check_lags(lags, trace.length - 1)
    return as_frame(measure_lags(trace, loss, lags, count, max_lag).lag_terms)


def measure_lags(
    trace: Trace,
    loss: Loss | Array,
    which: str | Iterable[int] = "log",
    lags: int = 24,
    max_lag: int | None = None,
    full: Gradients | None = None,
) -> LagMeasures:
    """Lag terms and per-loss truncations of one trace from one wavefront.

    Args:
        full: the full gradient, if it is known already.
    """
    full = full or backward(trace, loss, scaled=True)
    last = trace.length - 1 if max_lag is None else min(max_lag, trace.length - 1)
    reported = np.array(reported_lags(last, which, lags), np.int64)
    gathered = Gathered(trace, full, reported)
    error = trace.scaled_error(check_errors(trace, loss))
    if gathered.sum_in_one_call(error):
        return gathered.make_measures({})
    return gathered.make_measures(gathered.gather(wavefront(trace, error, last, gathered.between), error))


class Gathered:
    """Result of one pass over the wavefront: parts of the gradient in the order of their lags, which are the terms of
    the reported lags and sums of G_l between them."""

    def __init__(self, trace: Trace, full: Gradients, reported: Array) -> None:
        self.trace, self.full = trace, full
        self.names = sorted(trace.cell.recurrent_parameters)
        self.reported = [int(lag) for lag in reported]
        self.parts: list[Gradients] = []
        self.before: dict[int, int] = {}  # how many parts lie before a reported lag
        self.losses: dict[int, float] = {}  # that reach so far back, of those lags that have a term
        self.noise: dict[int, dict[str, float]] = {}
        self.rows: dict[str, Scaled] = {}  # in place of parts: all of them by parameter, (P,E), normalised
        self.between = Between(trace, {*self.reported, self.reported[-1] + 1})

    def gather(self, lags: Iterator[Lag], error: Scaled) -> Gradients:
        """Consume the wavefront; returns the sum of all G_l beyond the last lag reported."""
        wanted = set(self.reported)
        for lag in lags:
            if lag.lag in wanted:
                self.add_between()
                self.before[lag.lag] = len(self.parts)
            if lag.da is None:
                break
            if lag.lag > self.reported[-1]:
                return remainder(self.trace, lag, error)
            self.note_lag(lag.lag, lag.t[lag.t > lag.lag] - lag.lag, lag.da[0])
        self.add_between()
        return {}

    def sum_in_one_call(self, error: Scaled) -> bool:
        """`gather` where the engine has all lags in one loop in plain numbers; whether it has.

        Reported lags and those between two of them are parts, in the order of the lags.
        """
        T, alive = self.trace.length, np.asarray(error.mantissa.any(axis=(1, 2)))
        if self.reported[-1] != T - 1 or not alive[-1] or error.mantissa.size * len(self.reported) > MOST_NUMBERS:
            return False
        place, alone = place_lags(self.reported)
        local, columns = immediate_values(self.trace)
        group = np.repeat(np.arange(len(columns)), [part.stop - part.start for part in columns.values()])
        plain = np.ldexp(error.mantissa, np.clip(error.exponent, -5000, 5000))
        found = self.trace.engine.sum_lags(self.trace, plain, local, place, alone, group)
        if found is None:
            return False
        self.note_sums(*found, columns, place, np.flatnonzero(alive))
        return True

    def note_sums(self, sums: Array, scatter: Array, columns: dict[str, slice], place: Array, reach: Array) -> None:
        """Results of `Engine.sum_lags`; `reach` (S,) the longest lag of each loss."""
        own, B = place[self.reported], self.trace.x.shape[1]
        self.before = dict(zip(self.reported, own.tolist(), strict=True))
        self.losses = {lag: count_losses(self.trace, 1 + reach[reach >= lag]) for lag in self.reported}
        noise = {}
        for number, (name, part) in enumerate(columns.items()):
            rows = sums[:, :, part].reshape(len(sums), -1)
            self.rows[name] = Scaled.of(rows)
            noise[name] = signals_to_noise(rows[own], scatter[own, number], B)
        self.noise = {lag: {name: noise[name][n] for name in columns} for n, lag in enumerate(self.reported)}

    def parts_of(self, name: str) -> Parts:
        return self.rows[name] if self.rows else [part[name] for part in self.parts]

    def note_lag(self, lag: int, k: Array, da: Scaled) -> None:
        local = self.trace.local.at(k - 1)
        self.parts.append(recurrent_gradient(self.trace.cell, local, da))
        self.losses[lag] = count_losses(self.trace, k + lag)
        self.noise[lag] = _signal_to_noise(self.trace, local, da)

    def add_between(self) -> None:
        """The terms of the lags since the last one that was reported, by one product."""
        if self.between.total is not None:
            there, sums = self.between.take()
            self.parts.append(recurrent_gradient(self.trace.cell, self.trace.local.at(there), sums))

    def make_measures(self, rest: Gradients) -> LagMeasures:
        """All rows; `rest` is what `gather` has returned."""
        if not self.parts and not self.rows:
            return LagMeasures({}, {})
        found = [self.columns_of_parameter(name, rest.get(name)) for name in self.names]
        terms, truncations = ([columns[number] for columns in found] for number in range(2))
        return LagMeasures(concatenate(terms), concatenate(truncations) if len(truncations[0]["truncation"]) else {})

    def columns_of_parameter(self, name: str, rest: Scaled | None) -> tuple[dict[str, Array], dict[str, Array]]:
        """Rows of both tables, from the sums of all parts up to each, and from each on."""
        parts, whole = self.parts_of(name), Whole(self.full[name])
        kept = sum_side_by_side(parts, whole)
        backwards = parts[::-1] if rest is None else [rest, *(parts[place] for place in reversed(range(len(parts))))]
        tail = sum_side_by_side(backwards, whole).log_norm[::-1]
        log_full = norm(self.full[name])
        return self.lag_rows(name, parts, whole, kept, log_full), self.truncation_rows(name, kept, tail, log_full)

    def lag_rows(self, name: str, parts: Parts, whole: Whole, kept: Beside, log_full: float) -> dict[str, Array]:
        lags = np.array(list(self.losses))
        own = [self.before[lag] for lag in self.losses]
        terms = parts_beside(parts[own] if isinstance(parts, Scaled) else [parts[place] for place in own], whole)
        losses = np.array(list(self.losses.values()))
        with np.errstate(over="ignore"):
            relative = np.exp(terms.log_norm - (log_full if np.isfinite(log_full) else np.nan))
        return {
            "parameter": np.full(len(lags), name),
            "lag": lags,
            "log_norm": terms.log_norm,
            "log_norm_per_loss": terms.log_norm - np.log(losses),
            "relative_size": relative,
            "share": terms.share,
            "cumulative_share": kept.share[own],
            "signal_to_noise": np.array([self.noise[lag][name] for lag in self.losses]),
        }

    def truncation_rows(self, name: str, kept: Beside, tail: Array, log_full: float) -> dict[str, Array]:
        """The gradient with lags l < K, and what lies beyond, at the reported lags K > 0."""
        truncations = np.array([lag for lag in self.before if lag > 0], np.int64)
        before = np.array([self.before[lag] for lag in self.before if lag > 0], np.int64)
        rest, length = np.append(tail, -np.inf)[before], self.trace.length
        with np.errstate(invalid="ignore"):
            bias = np.where(np.isneginf(rest), -np.inf, rest - log_full)
        rows = len(truncations)
        return {
            "truncation": truncations,
            "parameter": np.full(rows, name),
            "log_norm": kept.log_norm[before - 1],
            "cosine": kept.cosine[before - 1],
            "scheme": np.full(rows, PerLoss.name),
            "length": np.full(rows, length),
            "origin": np.full(rows, "wavefront"),
            "log_relative_bias": bias,
            "log_variance": np.full(rows, np.nan),
            "log_minibatch_variance": np.full(rows, np.nan),
            "draws": np.full(rows, None),
            "steps_computed": np.array(per_loss_costs(length, tuple(truncations.tolist()))),
        }


def count_losses(trace: Trace, t: Array) -> float:
    """The number of losses at these steps, of a sequence; the mean over sequences where some have ended before."""
    return float((trace.lengths >= t[:, None]).sum()) / len(trace.lengths) if trace.padded else len(t)


@lru_cache(maxsize=64)
def per_loss_costs(length: int, truncations: tuple[int, ...]) -> list[int]:
    """`steps_computed` of each."""
    return [PerLoss(K).steps_computed(length) for K in truncations]


def place_lags(reported: list[int]) -> tuple[Array, Array]:
    """The number of the part that each lag belongs to, and whether it is a part by itself.  (last + 1,) each"""
    alone = np.zeros(reported[-1] + 1, bool)
    alone[reported] = True
    begins = alone.copy()
    begins[1:] |= alone[:-1]
    begins[0] = True
    return np.cumsum(begins) - 1, alone


def immediate_values(trace: Trace) -> tuple[Array, dict[str, slice]]:
    """Of a cell whose a_t is V x_t + W h_{t-1} + b_h: what da_k is multiplied by, and the part of each parameter.

    (T,B,M)
    """
    (T, B, I), N = trace.x.shape, trace.h.shape[-1]
    local = np.concatenate([trace.h[:-1], trace.x, np.ones((T, B, 1), trace.h.dtype)], axis=-1)
    return local, {"W": slice(0, N), "V": slice(N, N + I), "b_h": slice(N + I, N + I + 1)}


def signals_to_noise(terms: Array, scatter: Array, B: int) -> Array:
    """`mean_over_scatter` from sums over B sequences, and the sum of their squared distances from the mean.

    (L,E), (L,) -> (L,)
    """
    means = terms.astype(np.float64, copy=False) / B
    squares = np.einsum("le,le->l", means, means)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = squares / (scatter / max(B - 1, 1)) - 1.0 / B
    alike = np.where(squares > 0, np.inf, np.nan)
    return np.where(scatter > 0, quotient, alike) if B > 1 else np.full(len(terms), np.nan)


def remainder(trace: Trace, lag: Lag, error: Scaled) -> Gradients:
    """Sum of G_i over i >= l: the cotangents that have come l steps back, injected there as errors of a full walk."""
    inside = lag.t > lag.lag
    injected = Scaled.zeros(error.shape, error.mantissa.dtype)
    injected[lag.t[inside] - lag.lag - 1] = lag.dh[0, inside]
    cotangents = trace.walk(injected, full_plan(trace.length))
    return recurrent_gradient(trace.cell, trace.local, cotangents.da)


def _signal_to_noise(trace: Trace, local: Local, da: Scaled) -> dict[str, float]:
    """`mean_over_scatter` of the terms G_l of each sequence, by parameter; NaN for one sequence."""
    if da.shape[1] < 2:
        return dict.fromkeys(trace.cell.recurrent_parameters, np.nan)
    each = sequence_gradients(trace.cell, local, da)
    return {name: mean_over_scatter(values) for name, values in each.items()}


def mean_over_scatter(gradients: Array) -> float:
    """Estimate of ||E g||^2 / tr Cov g from B gradients that are independent and alike, in any unit.  (B,*shape)

        ||E g||^2   (||sum_b g_b||^2 - sum_b ||g_b||^2) / (B (B - 1)) = ||mean||^2 - (tr Cov) / B
        tr Cov      sum_b ||g_b - mean||^2 / (B - 1)

    Numerator and denominator are unbiased. ||mean||^2 alone has the scatter of the mean in it, (tr Cov) / B: without
    any signal the ratio would be 1/B. The ratio is at least -1/B, where the mean is zero. Below zero the B gradients
    show no signal: they point in different directions. What is left of the bias is that of a quotient, of the order of
    2 / (B n) without signal, n = B - 1 times the number of directions in which gradients scatter: with B = 2 it may be
    0.2, with B = 16 it is below 0.005.

    Returns:
        inf where all gradients are equal and not zero; NaN where all are zero, and for B = 1.
    """
    count = len(gradients)
    if count < 2 or not gradients.any():
        return np.nan
    values = gradients.reshape(count, -1).astype(np.float64, copy=False)
    mean = values.sum(axis=0) / count
    rest = (values - mean).ravel()
    scatter = float(np.dot(rest, rest)) / (count - 1)
    return float(np.dot(mean, mean)) / scatter - 1.0 / count if scatter > 0 else np.inf


# ------------------------------------------------------------------------------------------ the measure


@dataclass(frozen=True)
class LagTerms(Measure):
    """The gradient split by lag, and every per-loss truncation that can be read off its terms."""

    name: ClassVar[str] = "lag_terms"
    tables = GRADIENT_LAG_TERMS.tables
    summary = GRADIENT_LAG_TERMS.summary
    origins: ClassVar = {"truncations": "wavefront"}
    row_settings: ClassVar = {"lag_terms": ("measure.lag_terms=log", "measure.max_lag")}

    lag_terms: Annotated[Literal["log", "all", "none"], Field(description="lags of the terms of the gradient")] = "log"
    max_lag: Annotated[
        int | None, Field(ge=0, unit="step", description="longest lag of the terms, steps; null: T - 1")
    ] = None
    truncations: Annotated[
        Literal["log", "none"], Field(description="log: the truncations at the lags of the terms are recorded")
    ] = "log"

    @property
    def active(self) -> bool:
        return self.lag_terms != "none"

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        """The terms of every recurrent parameter, and a truncation at each of their lags but 0."""
        last = length if self.max_lag is None else min(length, self.max_lag + 1)
        terms = {"log": min(sampling.lags, last), "all": last, "none": 0}[self.lag_terms]
        parameters = len(cell.recurrent_parameters)
        truncations = max(0, terms - 1) if self.truncations == "log" else 0
        return {"lag_terms": parameters * terms, "truncations": parameters * truncations}

    def __call__(self, context: Context) -> Result:
        lags = context.sampling.lags
        found = measure_lags(context.trace, context.loss, self.lag_terms, lags, self.max_lag, context.gradient)
        read_off = self.truncations == "log" and bool(found.truncations)
        return Result({"lag_terms": found.lag_terms} | ({"truncations": found.truncations} if read_off else {}))
