"""Jacobian products P_{t,t-l} = dh_t/dh_{t-l}: their norms, their bound, and the real gradient beside them.

The products are never formed from explicit Jacobians: the rows of the identity go back through `paths.propagate`,
rescaled by powers of two at every lag, and the error of the loss at t goes along as one more row.

Index legend: S starts t, B sequence, N hidden state, R rows (N of the product, one of the error).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from bpttlab.errors import NonFiniteError
from bpttlab.fields import Field, check_integer
from bpttlab.gradients.backward import check_errors
from bpttlab.gradients.propagation import Lag, propagate
from bpttlab.gradients.trace import Trace
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.measures.spectral_norm import SpectralNorms
from bpttlab.measures.state_blocks import Blocks, product_matrices, unit_rows
from bpttlab.networks.cells.cell import Cell
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame, concatenate
from bpttlab.numerics.log_spacing import log_spacing
from bpttlab.numerics.random_walks import fit_slope
from bpttlab.numerics.scaled import Scaled, log_of_square, median_log, spectral_log_norm
from bpttlab.store.measure_columns import JACOBIAN_PRODUCTS

if TYPE_CHECKING:
    import pandas as pd

Which = Literal["log", "all", "triangle"]

LEADING_TOLERANCE = 1e-8
"""Squared singular values of P this close to the largest, relatively, lead with it: their vectors span a space."""


class ProductNorms(NamedTuple):
    """Everything about the products of one lag, each array (S, B).

    `log_frobenius_norm` is that of P / sqrt(N), the typical direction; the others are None unless the lag is reported.
    """

    lag: int
    t: Array
    log_frobenius_norm: Array
    log_spectral_norm: Array | None = None
    log_state_gradient: Array | None = None
    alignment: Array | None = None


@dataclass(frozen=True)
class ProductMeasures:
    """The rows of the table, and what summaries are made of: from t = T, over all lags.

    Attributes:
        columns: one entry a row, keyed by column.
        log_frobenius_norm: (T+1, B), t = T, lags 0..T.
        reach: how far the products of t = T reach.
        blocks: columns of `blocks.block_norms` at the reported lags of t = T; empty for a state with one part.
    """

    columns: dict[str, Array]
    log_frobenius_norm: Array
    reach: Horizons
    blocks: dict[str, Array]


def jacobian_products(
    trace: Trace,
    loss: Loss | Array | None = None,
    which: Which = "log",
    sequences: int = 2,
    lags: int = 24,
    bound_lags: int = 100,
) -> pd.DataFrame:
    """Norms of Jacobian products, a row per sequence, t and lag.

    Args:
        trace: a forward pass.
        loss: as in `backward`, for the state gradient and the alignment; without it these are missing.
        which: "log" some lags of t = T, "all" every lag of t = T, "triangle" every lag of every t.
        sequences: how many of the batch, from the first.
        lags: how many lags with "log".
        bound_lags: the longest lag for which the bound is computed.

    Returns:
        Columns sequence, t, lag, log_spectral_norm, log_frobenius_norm, log_bound, log_state_gradient, alignment.
        Natural logarithms; -inf is exactly zero; NaN stands for what is not defined or was not requested.

    Raises:
        ConfigurationError: sequences < 1, lags < 3, bound_lags < 0, or one of them is not an integer.
    """
    sequences, lags = check_integer("sequences", sequences, 1), check_integer("lags", lags, 3)
    bound_lags = check_integer("bound_lags", bound_lags, 0)
    return as_frame(measure_products(trace, loss, which, sequences, lags, bound_lags).columns)


def measure_products(
    trace: Trace, loss: Loss | Array | None, which: Which, sequences: int, lags: int, bound_lags: int
) -> ProductMeasures:
    """`jacobian_products` as columns, with the curves of t = T."""
    length = trace.length
    errors = None if loss is None else trace.scaled_error(check_errors(trace, loss))[:, :sequences]
    trace = trace.head(sequences)
    t = np.arange(1, length + 1) if which == "triangle" else np.array([length])
    reported = log_spacing(length, lags) if which == "log" else np.arange(length + 1)
    bound = cumulated_bound(trace, t, bound_lags)
    parts, curve, reach = [], [], Reach(SpectralNorms(trace.h.shape[-1], trace.compiled))
    lags_reported = set(reported.tolist())
    blocks = Blocks.of(trace.cell, lags_reported)
    for norms in product_norms(trace, t, errors, lags_reported, reach, blocks):
        curve.append(norms.log_frobenius_norm[-1])
        if norms.alignment is not None:
            parts.append(table_rows(norms, bound, bound_lags))
    columns = concatenate(parts)
    order = np.lexsort((columns["lag"], columns["t"], columns["sequence"]))
    ordered = {name: column[order] for name, column in columns.items()}
    return ProductMeasures(ordered, np.stack(curve), reach.horizons, {} if blocks is None else blocks.columns())


def product_norms(
    trace: Trace, t: Array, errors: Scaled | None, reported: set[int], reach: Reach, blocks: Blocks | None = None
) -> Iterator[ProductNorms]:
    """Norms at lags 0, 1, ... of the products that start at each t; all of them at the lags that are reported.

    `reach` and `blocks` are shown what goes by.
    """
    batch, size = trace.h.shape[1:]
    start = Scaled.zeros((len(t), batch, size), trace.h.dtype) if errors is None else errors[t - 1]
    width = 0.5 * math.log(size)
    for step, sizes in products_back(trace, t, stacked(unit_rows(trace, t), start)):
        products = product_matrices(step, size)
        if blocks is not None:
            blocks.see(step, products)
        typical = (products.log_norm_of_normalised(axes=2) if sizes is None else sizes) - width
        norms = ProductNorms(step.lag, step.t, typical)
        if step.lag in reported:
            error = None if errors is None else start[len(t) - len(step.t) :]
            log_norm, alignment = norm_and_alignment(products, error)
            norms = norms._replace(
                log_spectral_norm=log_norm, log_state_gradient=step.dh[size].log_norm(), alignment=alignment
            )
        reach.see(step.lag, products[-1], typical[-1], norms.log_spectral_norm)
        yield norms


def products_back(trace: Trace, t: Array, rows: Scaled) -> Iterator[tuple[Lag, Array | None]]:
    """`propagate` of all rows of products and one more, finite ones; and the log of ||P||_F, (1, B), where it is known.

    From one t alone many lags are one call of a compiled loop.
    """
    if len(t) > 1 or not trace.compiled:
        for step in propagate(trace, t, rows):
            check_finite_products(step)
            yield step, None
        return
    from bpttlab.gradients.compiled import dispatch

    most = max(1, HELD_NUMBERS // rows.mantissa.size)
    first, dh = Lag(0, t, rows.normalised(), None), rows.normalised()
    check_finite_products(first)
    yield first, None
    for end in range(int(t[0]), 0, -most):
        slopes = trace.linearization[max(0, end - most) : end]
        mantissas, exponents, sizes = dispatch.vjp_many(trace.cell, trace.params, slopes, dh.mantissa, dh.exponent)
        finite = np.isfinite(mantissas).all()
        for number, size in enumerate(sizes):
            dh = Scaled(mantissas[number], exponents[number])
            step = Lag(int(t[0]) - end + number + 1, t, dh, None)
            if not finite:
                check_finite_products(step)
            yield step, size[None]


def stacked(rows: Scaled, last: Scaled) -> Scaled:
    """One more row: (R, S, B, N) and (S, B, N) -> (R+1, S, B, N)."""
    mantissa = np.concatenate([rows.mantissa, last.mantissa[None]])
    return Scaled(mantissa, np.concatenate([rows.exponent, last.exponent[None]]))


def norm_and_alignment(products: Scaled, error: Scaled | None) -> tuple[Array, Array]:
    """log ||P||_2, and |cosine| between the error at t and the leading left singular vectors of P.  (S, B) each

    1 means that the loss sends its error where the product is largest; the norm of P is then the real gradient's. NaN
    where either is zero, or there is no error.

    Args:
        products: rows normalised, (S, B, N, N).
        error: (S, B, N).
    """
    if error is None:
        log_norm = spectral_log_norm(products, normalised=True)
        return log_norm, np.full(log_norm.shape, np.nan)
    one = products.common(2)
    matrices = one.mantissa.astype(np.float64, copy=False)
    squares, vectors = np.linalg.eigh(matrices @ matrices.swapaxes(-2, -1))
    most = squares[..., -1]
    foremost = squares >= (1.0 - LEADING_TOLERANCE) * most[..., None]
    components = np.matmul(error.mantissa[..., None, :], vectors)[..., 0, :] * foremost
    size, alive = np.linalg.norm(error.mantissa, axis=-1), matrices.any(axis=(-2, -1))
    defined = (size > 0) & alive
    alignment = np.linalg.norm(components, axis=-1) / np.where(defined, size, 1.0)
    return log_of_square(most, one.exponent[..., 0, 0]), np.where(defined, np.minimum(alignment, 1.0), np.nan)


def cumulated_bound(trace: Trace, t: Array, lags: int) -> Array:
    """sum of log ||J_i||_2 over the l steps i = t, t-1, ...: entry [l, s, b], l = 0..lags, which bounds log
    ||P_{t,t-l}||_2.

    Pascanu, Mikolov & Bengio 2013, eq. 6 and 7, with each step's own norm. NaN where t - l < 0.
    """
    longest = min(lags, int(t.max()))
    first = max(1, int(t.min()) - longest + 1)
    norms = jacobian_log_norms(trace, first, int(t.max()))
    bound = np.full((longest + 1, len(t), trace.h.shape[1]), np.nan)
    bound[0] = 0.0
    if len(t) == 1:
        bound[1:, 0] = np.cumsum(norms[::-1], axis=0)
        return bound
    for lag in range(1, longest + 1):
        inside = t >= lag
        bound[lag, inside] = bound[lag - 1, inside] + norms[t[inside] - lag + 1 - first]
    return bound


HELD_NUMBERS = 2**21
"""Entries of Jacobians whose norms are computed at once."""


def jacobian_log_norms(trace: Trace, first: int, last: int) -> Array:
    """log ||J_t||_2 for t from first to last, (last - first + 1, B)."""
    some = max(1, HELD_NUMBERS // (trace.h[0].size * trace.h.shape[-1]))
    norms, spectral = [np.empty((0, trace.h.shape[1]))], SpectralNorms(trace.h.shape[-1], trace.compiled)
    for t in range(first, last + 1, some):
        slopes = trace.linearization[t - 1 : min(t + some - 1, last)]
        norms.append(spectral.logs(Scaled.of(trace.cell.jacobian(trace.params, slopes))))
    return np.concatenate(norms)


def table_rows(norms: ProductNorms, bound: Array, bound_lags: int) -> dict[str, Array]:
    """One lag's rows of the table `jacobians`, sequences fastest."""
    assert norms.log_spectral_norm is not None
    assert norms.log_state_gradient is not None
    assert norms.alignment is not None
    starts, batch = norms.log_spectral_norm.shape
    inside = norms.lag < len(bound)
    log_bound = bound[norms.lag, -starts:] if inside else np.full((starts, batch), np.nan)
    return {
        "sequence": np.tile(np.arange(batch), starts),
        "t": np.repeat(norms.t, batch),
        "lag": np.full(starts * batch, norms.lag),
        "log_spectral_norm": norms.log_spectral_norm.ravel(),
        "log_frobenius_norm": norms.log_frobenius_norm.ravel(),
        "log_bound": log_bound.ravel(),
        "log_state_gradient": norms.log_state_gradient.ravel(),
        "alignment": norms.alignment.ravel(),
    }


def check_finite_products(step: Lag) -> None:
    if np.isfinite(step.dh.mantissa).all():
        return
    bad = ~np.isfinite(step.dh.mantissa).all(axis=(0, 2, 3))
    first = int(step.t[bad][0]) - step.lag
    raise NonFiniteError(f"the Jacobian product is not finite at step t - lag = {first} (lag {step.lag})", first)


# ------------------------------------------------------------------------------------------ summaries of one run


class Growth(NamedTuple):
    """Slope of the typical log-norm in lag, its error (nats per step; `growth_rate`), and the lags that were fitted."""

    rate: float
    error: float
    first_lag: int
    last_lag: int


class Horizons(NamedTuple):
    """First lag with ||P||_2 above e (None: there is none up to T); last lag with ||P||_2 >= 1/e; whether it is T."""

    growing: int | None
    vanishing: int
    censored: bool


def growth_rate(log_frobenius_norm: Array, fit_from: float) -> Growth:
    """Least-squares slope of the median over sequences, over lags [fit_from T, T].  (T+1, B) -> Growth

    Where the product becomes exactly zero within the window the rate is -inf: the lags before it say nothing of that.
    With fewer than two lags in the window there is no rate: NaN.

    The error is that of the slope of a random walk (`random_walks.fit_slope`): the standard deviation of the rate of
    this one network over other input sequences of the same kind. Other networks differ more: their weights differ, too.
    NaN with fewer than `random_walks.LEAST_INCREMENTS` increments, and where there is no finite rate.
    """
    last = len(log_frobenius_norm) - 1
    first = max(1, int(fit_from * last))
    lags = np.arange(first, last + 1)
    median = median_log(log_frobenius_norm[first:])
    if len(lags) < 2:
        return Growth(np.nan, np.nan, first, last)
    if np.isneginf(median).any():
        return Growth(-np.inf, np.nan, first, last)
    return Growth(*fit_slope(lags.astype(float), median), first, last)


def horizons(log_spectral_norm: Array) -> Horizons:
    """How far products reach, from the median over sequences, relative to lag 0 where P = I.  (T+1, B) -> Horizons"""
    median = median_log(log_spectral_norm)
    above = np.flatnonzero(median > 1.0)
    alive = np.flatnonzero(median >= -1.0)
    last = len(median) - 1
    vanishing = int(alive[-1])
    return Horizons(int(above[0]) if len(above) else None, vanishing, vanishing == last)


SLACK = 1e-9
"""What rounding may make of the bounds of a log norm; far more than it does."""


class Reach:
    """`horizons` of products that go by lag after lag from 0 on, of which few have their spectral norm computed.

    Where log(||P||_F / sqrt(N)) <= log ||P||_2 <= log ||P||_F says on which side of 1 and of -1 the median lies,
    nothing more is requested.
    """

    def __init__(self, spectral: SpectralNorms) -> None:
        self.horizons, self.spectral = Horizons(None, 0, True), spectral

    def see(self, lag: int, products: Scaled, typical: Array, known: Array | None) -> None:
        """The products of t = T at one lag, rows normalised, (B, N, N); log(||P||_F / sqrt(N)), (B,); log ||P||_2,
        (S, B), if it is known."""
        middle = float(typical[0] if len(typical) == 1 else median_log(typical))
        least, most = middle - SLACK, middle + 0.5 * math.log(products.shape[-1]) + SLACK
        if known is not None:
            least = most = float(median_log(known[-1]))
        elif self.open(least, most):
            least = most = float(median_log(self.spectral.logs(products)))
        growing, vanishing, _ = self.horizons
        growing = lag if growing is None and least > 1.0 else growing
        vanishing = lag if least >= -1.0 else vanishing
        self.horizons = Horizons(growing, vanishing, vanishing == lag)

    def open(self, least: float, most: float) -> bool:
        """Whether a median between these two may lie on either side of what matters."""
        return (self.horizons.growing is None and least <= 1.0 < most) or least < -1.0 <= most


def product_summary(measures: ProductMeasures, fit_from: float) -> dict[str, Any]:
    """The columns of the table `runs` that are made of Jacobian products."""
    growth = growth_rate(measures.log_frobenius_norm, fit_from)
    reach = measures.reach
    return {
        "growth_rate": growth.rate,
        "growth_rate_error": growth.error,
        "fit_first_lag": growth.first_lag,
        "fit_last_lag": growth.last_lag,
        "log_growth": float(median_log(measures.log_frobenius_norm[-1])),
        "growing_horizon": reach.growing,
        "vanishing_horizon": reach.vanishing,
        "horizon_censored": reach.censored,
    }


# ------------------------------------------------------------------------------------------ the measure


@dataclass(frozen=True)
class JacobianProducts(Measure):
    """Norms of Jacobian products and of their blocks, and what they amount to: growth rate and horizons."""

    name: ClassVar[str] = "jacobian_products"
    tables = JACOBIAN_PRODUCTS.tables
    summary = JACOBIAN_PRODUCTS.summary
    row_settings: ClassVar = dict.fromkeys(("jacobians", "blocks"), ("measure.jacobians=log", "measure.sequences"))

    jacobians: Annotated[
        Literal["log", "all", "triangle", "none"],
        Field(
            description="lags of dh_T/dh_{T-lag}: log, spaced evenly in their logarithm; all; triangle, all of every t"
        ),
    ] = "log"
    bound_lags: Annotated[int, Field(ge=0, description="longest lag of log_bound, a product of norms")] = 100
    fit_from: Annotated[
        float, Field(ge=0, lt=1, description="the growth rate is fitted over the lags from this fraction of T to T")
    ] = 0.2

    @property
    def active(self) -> bool:
        return self.jacobians != "none"

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        """The products of every sequence, and where the state has parts their blocks at the lags of t = T."""
        products = {
            "log": min(sampling.lags, length + 1),
            "all": length + 1,
            "triangle": length * (length + 3) // 2,
            "none": 0,
        }[self.jacobians]
        parts = len(cell.parts)
        blocks = min(products, length + 1) * parts**2 if parts > 1 else 0
        return {"jacobians": products * sampling.sequences, "blocks": blocks * sampling.sequences}

    def __call__(self, context: Context) -> Result:
        assert self.jacobians != "none"
        sampling = context.sampling
        norms = measure_products(
            context.trace, context.loss, self.jacobians, sampling.sequences, sampling.lags, self.bound_lags
        )
        tables = {"jacobians": norms.columns} | ({"blocks": norms.blocks} if norms.blocks else {})
        return Result(tables, product_summary(norms, self.fit_from))
