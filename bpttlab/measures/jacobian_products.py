"""Jacobian products P_{t,t-l} = dh_t/dh_{t-l}: their norms, their bound, and the real gradient beside them.

The products are never formed from explicit Jacobians: the rows of the identity go back through `product_norms`,
rescaled by powers of two at every lag, and the error of the loss at t goes along as one more row.

Index legend: S starts t, B sequence, N hidden state, R rows (N of the product, one of the error).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, check_integer, check_method, format_value
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.trace import Trace
from bpttlab.measures.given_jacobians import Jacobians, JacobianStream, check_source, read_jacobians
from bpttlab.measures.lags import check_lags, reported_lags
from bpttlab.measures.lengths import of_each_length
from bpttlab.measures.low_rank_products import low_rank_norms
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.measures.product_norms import PRODUCT_NUMBERS, Horizons, ProductNorms, Reach, product_norms
from bpttlab.measures.state_blocks import Blocks
from bpttlab.measures.stream_products import forward_norms
from bpttlab.networks.cells.cell import Cell
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame, concatenate
from bpttlab.numerics.random_walks import fit_slope
from bpttlab.numerics.scaled import median_log
from bpttlab.store.measure_columns import JACOBIAN_PRODUCTS

if TYPE_CHECKING:
    import pandas as pd

Which = Literal["log", "all", "triangle"]
WHICH = ("log", "all", "triangle")

Method = Literal["exact", "fast"]
METHODS = ("exact", "fast")


@dataclass(frozen=True)
class ProductMeasures:
    """The rows of the table, and what summaries are made of: from t = T, over all lags.

    Attributes:
        columns: one entry a row, keyed by column.
        log_frobenius_norm: (T+1, B), t = T, lags 0..T.
        reach: how far the products of t = T reach.
        blocks: columns of `state_blocks.block_norms` at the reported lags of t = T; empty for a state with one part.
    """

    columns: dict[str, Array]
    log_frobenius_norm: Array
    reach: Horizons
    blocks: dict[str, Array]


@of_each_length
def jacobian_products(
    trace: Trace | None = None,
    loss: Loss | Array | None = None,
    lags: Which | Iterable[int] = "log",
    *,
    jacobians: Jacobians | None = None,
    length: int | None = None,
    method: Method = "exact",
    t: int | None = None,
    sequences: int = 2,
    count: int = 24,
    bound_lags: int = 100,
) -> pd.DataFrame:
    """Norms of Jacobian products P_{t,t-l}, a row per sequence, t and lag.

    Args:
        trace: a forward pass.
        loss: as in `backward`, for the state gradient and the alignment; without it these are missing.
        lags: "log" some lags of one t, "all" every lag of it, integers from 0 to t those lags, "triangle" every lag of
            every t. Of a stream the last step is reported too with "log" and "all".
        jacobians: in place of trace and loss, the Jacobians of anything: (T, N, N), (T, B, N, N), or an iterator over
            (N, N) or (B, N, N), J_1 first. An iterator is a stream: read once and not kept, so its products are those
            that begin at its first step, P_{l,0} at t = l, and it has neither "triangle" nor "fast" nor t.
        length: the steps of `jacobians` to read; a stream may have more. None: all; then "log" stands for two lags in
            each octave of a stream.
        method: "exact" follows every row of the product. "fast" follows as many rows as the product has directions
            left: norms alone, in float64, their logarithms within 1e-10 of those of the product; of a float32 trace
            these are the products of the Jacobians at its states.
        t: the step at which the products end; T by default.
        sequences: at most so many of the batch, from the first.
        count: how many lags with "log".
        bound_lags: the longest lag for which the bound is computed, by "exact".

    Returns:
        Columns sequence, t, lag, log_spectral_norm, log_frobenius_norm (of P / sqrt(N)); by "exact" log_bound,
        log_state_gradient, alignment, too. By "fast" rank, the rows that were carried of N, and fell_back, whether
        "fast" did not trust itself and this sequence's products are those of "exact": what had been dropped came back,
        or rows lay too far apart to be dropped together.
        Natural logarithms; -inf is exactly zero; NaN stands for what is not defined or was not requested.

    Raises:
        ConfigurationError: an argument is not as above, or it does not go with the method.
        NonFiniteError: a product is not finite; the error names its step.
    """
    check_source(jacobians, length, required={"trace": trace}, others={"loss": loss})
    sequences, count = check_integer("sequences", sequences, 1), check_integer("count", count, 3)
    if not isinstance(lags, Iterable):
        raise ConfigurationError(f"lags={format_value(lags)}: must be {', '.join(WHICH)}, or a list of integers")
    given = trace if jacobians is None else read_jacobians(jacobians, length)
    if isinstance(given, JacobianStream):
        check_forward(method, t)
        bound_lags = check_integer("bound_lags", bound_lags, 0)
        return as_frame(forward_norms(given, lags, sequences, count, bound_lags))
    assert given is not None
    trace = given
    t = trace.length if t is None else check_integer("t", t, 1, trace.length)
    check_method(method, METHODS)
    lags = lags if isinstance(lags, str) else list(lags)
    check_lags(lags, t, WHICH)
    if method == "fast":
        return fast_products(trace, loss, lags, t, sequences, count)
    bound_lags = check_integer("bound_lags", bound_lags, 0)
    return as_frame(measure_products(trace, loss, lags, sequences, count, bound_lags, t).columns)


def check_forward(method: Method, t: int | None) -> None:
    """Refuses what goes back from a last step."""
    check_method(method, METHODS)
    if method == "fast":
        raise ConfigurationError("method='fast': goes back from the last step; a stream comes forwards: give an array")
    if t is not None:
        raise ConfigurationError(f"t={format_value(t)}: the products of a stream begin at its first step; leave it out")


def fast_products(
    trace: Trace, loss: Loss | Array | None, lags: Which | Iterable[int], t: int, sequences: int, count: int
) -> pd.DataFrame:
    """`jacobian_products` in few rows."""
    if lags == "triangle":
        raise ConfigurationError("lags='triangle': method='fast' has the lags of one t; must be log, all, or integers")
    if loss is not None:
        raise ConfigurationError("loss: method='fast' has no state gradient; leave it out, or use method='exact'")
    columns = low_rank_norms(trace, t, sequences)
    reported = np.isin(columns["lag"], reported_lags(t, lags, count))
    return as_frame({name: column[reported] for name, column in columns.items()})


def measure_products(
    trace: Trace,
    loss: Loss | Array | None,
    which: Which | Iterable[int],
    sequences: int,
    lags: int,
    bound_lags: int,
    last: int | None = None,
) -> ProductMeasures:
    """`jacobian_products` as columns, with the curves of t = `last`, T by default."""
    length = trace.length if last is None else last
    errors = None if loss is None else trace.scaled_error(check_errors(trace, loss))[:, :sequences]
    trace = trace.head(sequences)
    t = np.arange(1, length + 1) if which == "triangle" else np.array([length])
    bound = cumulated_bound(trace, t, bound_lags)
    parts, curve, reach = [], [], Reach(trace.engine.spectral_norms(trace.h.shape[-1]))
    lags_reported = set(reported_lags(length, which, lags))
    blocks = Blocks.of(trace.cell, lags_reported)
    for norms in product_norms(trace, t, errors, lags_reported, reach, blocks):
        curve.append(norms.log_frobenius_norm[:, -1])
        parts.append(table_rows(norms, bound))
    columns = concatenate(parts)
    order = np.lexsort((columns["lag"], columns["t"], columns["sequence"]))
    ordered = {name: column[order] for name, column in columns.items()}
    return ProductMeasures(ordered, np.concatenate(curve), reach.horizons, {} if blocks is None else blocks.columns())


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


def jacobian_log_norms(trace: Trace, first: int, last: int) -> Array:
    """log ||J_t||_2 for t from first to last, (last - first + 1, B)."""
    some = max(1, PRODUCT_NUMBERS // (trace.h[0].size * trace.h.shape[-1]))
    norms, spectral = [np.empty((0, trace.h.shape[1]))], trace.engine.spectral_norms(trace.h.shape[-1])
    for t in range(first, last + 1, some):
        slopes = trace.linearization[t - 1 : min(t + some - 1, last)]
        norms.append(spectral.logs_of_plain(trace.cell.jacobian(trace.params, slopes)))
    return np.concatenate(norms)


def table_rows(norms: ProductNorms, bound: Array) -> dict[str, Array]:
    """Rows of the table `jacobians`, by lag and t, sequences fastest; `bound` as of `cumulated_bound`."""
    count, starts, batch = norms.log_spectral_norm.shape
    log_bound = np.full((count, starts, batch), np.nan)
    inside = norms.reported < len(bound)
    log_bound[inside] = bound[norms.reported[inside], -starts:]
    return {
        "sequence": np.tile(np.arange(batch), count * starts),
        "t": np.tile(np.repeat(norms.t, batch), count),
        "lag": np.repeat(norms.reported, starts * batch),
        "log_spectral_norm": norms.log_spectral_norm.ravel(),
        "log_frobenius_norm": norms.log_frobenius_norm[norms.places].ravel(),
        "log_bound": log_bound.ravel(),
        "log_state_gradient": norms.log_state_gradient.ravel(),
        "alignment": norms.alignment.ravel(),
    }


# ------------------------------------------------------------------------------------------ summaries of one run


class Growth(NamedTuple):
    """Slope of the typical log-norm in lag, its error (nats per step; `growth_rate`), and the lags that were fitted."""

    rate: float
    error: float
    first_lag: int
    last_lag: int


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
    ends_with_sequences: ClassVar[bool] = True
    together: ClassVar = (
        ("growth_rate", "growth_rate_error", "fit_first_lag", "fit_last_lag"),
        ("vanishing_horizon", "horizon_censored"),
    )
    tables = JACOBIAN_PRODUCTS.tables
    summary = JACOBIAN_PRODUCTS.summary
    row_settings: ClassVar = dict.fromkeys(("jacobians", "blocks"), ("measure.jacobians=log", "measure.sequences"))

    jacobians: Annotated[
        Literal["log", "all", "triangle", "none"],
        Field(
            description="lags of dh_T/dh_{T-lag}: log, spaced evenly in their logarithm; all; triangle, all of every t"
        ),
    ] = "log"
    bound_lags: Annotated[int, Field(ge=0, unit="step", description="longest lag of log_bound, a product of norms")] = (
        100
    )
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
        which = context.space_steps(sampling.lags) if self.jacobians == "log" else self.jacobians
        norms = measure_products(context.trace, context.loss, which, sampling.sequences, sampling.lags, self.bound_lags)
        tables = {"jacobians": norms.columns} | ({"blocks": norms.blocks} if norms.blocks else {})
        return Result(tables, product_summary(norms, self.fit_from))
