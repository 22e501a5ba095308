"""Norms of the products P_{t,t-l} lag after lag, from every row of the product.

The products are never formed from explicit Jacobians: the rows of the identity go back through
`propagation.propagate`, rescaled by powers of two at every lag, and the error of the loss at t goes along as one more
row.

Index legend: S starts t, B sequence, N hidden state, R rows (N of the product, one of the error).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bpttlab.errors import NonFiniteError
from bpttlab.gradients.engine import SpectralNorms
from bpttlab.gradients.propagation import Lag, propagate
from bpttlab.gradients.trace import Trace
from bpttlab.measures.state_blocks import Blocks, unit_rows
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, log_of_square, median_log, spectral_log_norm

LEADING_TOLERANCE = 1e-8
"""Squared singular values of P this close to the largest, relatively, lead with it: their vectors span a space."""

PRODUCT_NUMBERS = 2**21
"""Entries of Jacobians whose norms are computed at once."""


class ProductNorms(NamedTuple):
    """Everything about the products of some lags that start at the same t.

    Attributes:
        lags: (L,).
        t: (S,).
        log_frobenius_norm: (L, S, B), that of P / sqrt(N), the typical direction.
        places: (R,), those of the lags that are reported.
        log_spectral_norm, log_state_gradient, alignment: (R, S, B), of these alone.
    """

    lags: Array
    t: Array
    log_frobenius_norm: Array
    places: Array
    log_spectral_norm: Array
    log_state_gradient: Array
    alignment: Array

    @property
    def reported(self) -> Array:
        """(R,), the lags that are reported."""
        return self.lags[self.places]


class ProductSteps(NamedTuple):
    """Rows of products at some lags, which start at the same t.

    Attributes:
        lags: (L,).
        t: (S,).
        dh: (L, N+1, S, B, N), normalised.
        log_size: (L, S, B), log ||P||_F, where it is known.
    """

    lags: Array
    t: Array
    dh: Scaled
    log_size: Array | None

    @property
    def products(self) -> Scaled:
        """(L, S, B, N, N): row n is what went back from unit n of h_t."""
        return Scaled(*(rows[:, :-1].transpose(0, 2, 3, 1, 4) for rows in (self.dh.mantissa, self.dh.exponent)))

    @property
    def last_rows(self) -> Scaled:
        """(L, S, B, N), what goes back beside the products."""
        return self.dh[:, -1]


def product_norms(
    trace: Trace, t: Array, errors: Scaled | None, reported: set[int], reach: Reach, blocks: Blocks | None = None
) -> Iterator[ProductNorms]:
    """Norms at lags 0, 1, ... of the products that start at each t; all of them at the lags that are reported.

    Many lags come at once where there is one t. `reach` and `blocks` are shown what goes by.
    """
    batch, size = trace.h.shape[1:]
    start = Scaled.zeros((len(t), batch, size), trace.h.dtype) if errors is None else errors[t - 1]
    width, rows = 0.5 * math.log(size), append_row(unit_rows(trace, t), start)
    for steps in products_back(trace, t, rows):
        products = steps.products
        places = np.array([place for place, lag in enumerate(steps.lags.tolist()) if lag in reported], np.int64)
        if blocks is not None:
            for place, lag in enumerate(steps.lags.tolist()):
                blocks.see(Lag(lag, steps.t, steps.dh[place], None), products[place])
        sizes = products.log_norm_of_normalised(axes=2) if steps.log_size is None else steps.log_size
        found = ProductNorms(
            steps.lags, steps.t, sizes - width, places, *norms_of_steps(steps, places, errors, start, reach.spectral)
        )
        reach.see(steps, found)
        yield found


def norms_of_steps(
    steps: ProductSteps, places: Array, errors: Scaled | None, start: Scaled, spectral: SpectralNorms
) -> tuple[Array, Array, Array]:
    """log ||P||_2, log of the state gradient and alignment, at some of the lags; NaN without errors.  (R, S, B) each

    `start` (S, B, N) is what the last row of each t began with, from the earliest t.
    """
    starts, size = len(steps.t), start.shape[-1]
    if not len(places):
        none = np.empty((0, starts, start.shape[1]))
        return none, none, none
    mantissa, exponent = steps.dh.mantissa[places], steps.dh.exponent[places]
    products = Scaled(mantissa[:, :size].transpose(0, 2, 3, 1, 4), exponent[:, :size].transpose(0, 2, 3, 1, 4))
    if errors is None:
        log_norms, alignments = norm_and_alignment(products, None, spectral)
        return log_norms, np.full(alignments.shape, np.nan), alignments
    log_norms, alignments = norm_and_alignment(products, start[len(start) - starts :], spectral)
    return log_norms, Scaled(mantissa[:, size], exponent[:, size]).log_norm(), alignments


def products_back(trace: Trace, t: Array, rows: Scaled) -> Iterator[ProductSteps]:
    """`propagate` of all rows of products and one more, finite ones; from one t alone many lags at once."""
    if len(t) > 1:
        for step in propagate(trace, t, rows):
            check_finite_products(step)
            yield ProductSteps(np.array([step.lag]), step.t, step.dh[None], None)
        return
    lag = 0
    for back in trace.engine.pass_rows_back(trace, int(t[0]), rows.normalise()):
        steps = ProductSteps(np.arange(lag, lag + len(back.rows)), t, back.rows, back.log_size)
        if not back.finite:
            for place, at in enumerate(steps.lags.tolist()):
                check_finite_products(Lag(at, t, back.rows[place], None))
        yield steps
        lag += len(back.rows)


def append_row(rows: Scaled, last: Scaled) -> Scaled:
    """One more row: (R, S, B, N) and (S, B, N) -> (R+1, S, B, N)."""
    mantissa = np.concatenate([rows.mantissa, last.mantissa[None]])
    return Scaled(mantissa, np.concatenate([rows.exponent, last.exponent[None]]))


def norm_and_alignment(
    products: Scaled, error: Scaled | None, spectral: SpectralNorms | None = None
) -> tuple[Array, Array]:
    """log ||P||_2, and |cosine| between the error at t and the leading left singular vectors of P.  (L, S, B) each

    1 means that the loss sends its error where the product is largest; the norm of P is then the real gradient's. NaN
    where either is zero, or there is no error.

    Args:
        products: rows normalised, (L, S, B, N, N).
        error: (S, B, N).
        spectral: the engine's, which may know one leading vector without all others.
    """
    if error is None:
        log_norm = spectral_log_norm(products, normalised=True)
        return log_norm, np.full(log_norm.shape, np.nan)
    errors = np.broadcast_to(error.mantissa, (*products.shape[:-2], error.shape[-1]))
    pairs = None if spectral is None else spectral.leading_pairs(products)
    if pairs is None:
        log_norm, part = project_on_leading(products, errors)
    else:
        log_norm, part = pairs[0], np.abs(np.einsum("lsbn,lsbn->lsb", errors, pairs[1]))
        several = np.isnan(part)
        if several.any():
            log_norm[several], part[several] = project_on_leading(products[several], errors[several])
    size, alive = np.linalg.norm(error.mantissa, axis=-1), products.mantissa.any(axis=(-2, -1))
    defined = (size > 0) & alive
    alignment = part / np.where(defined, size, 1.0)
    return log_norm, np.where(defined, np.minimum(alignment, 1.0), np.nan)


def project_on_leading(products: Scaled, errors: Array) -> tuple[Array, Array]:
    """log ||P||_2, and the length of each error's part along all leading left singular vectors.

    Rows normalised, (..., N, N), (..., N) -> (...), (...)
    """
    one = products.share_exponent(2)
    matrices = one.mantissa.astype(np.float64, copy=False)
    squares, vectors = np.linalg.eigh(matrices @ matrices.swapaxes(-2, -1))
    most = squares[..., -1]
    foremost = squares >= (1.0 - LEADING_TOLERANCE) * most[..., None]
    components = np.matmul(errors[..., None, :], vectors)[..., 0, :] * foremost
    return log_of_square(most, one.exponent[..., 0, 0]), np.linalg.norm(components, axis=-1)


def check_finite_products(step: Lag) -> None:
    if np.isfinite(step.dh.mantissa).all():
        return
    bad = ~np.isfinite(step.dh.mantissa).all(axis=(0, 2, 3))
    first = int(step.t[bad][0]) - step.lag
    raise NonFiniteError(f"the Jacobian product is not finite at step t - lag = {first} (lag {step.lag})", first)


class Horizons(NamedTuple):
    """First lag with ||P||_2 above e (None: there is none up to T); last lag with ||P||_2 >= 1/e; whether it is T."""

    growing: int | None
    vanishing: int
    censored: bool


def horizons(log_spectral_norm: Array) -> Horizons:
    """How far products reach, from the median over sequences, relative to lag 0 where P = I.  (T+1, B) -> Horizons"""
    median = median_log(log_spectral_norm)
    above = np.flatnonzero(median > 1.0)
    alive = np.flatnonzero(median >= -1.0)
    last = len(median) - 1
    vanishing = int(alive[-1])
    return Horizons(int(above[0]) if len(above) else None, vanishing, vanishing == last)


_SLACK = 1e-9
"""An upper limit of the rounding error in the bounds of a log norm; real errors are far smaller."""


class Reach:
    """`horizons` of products that go by lag after lag from 0 on, of which few have their spectral norm computed.

    Where log(||P||_F / sqrt(N)) <= log ||P||_2 <= log ||P||_F says on which side of 1 and of -1 the median lies,
    nothing more is requested.
    """

    def __init__(self, spectral: SpectralNorms) -> None:
        self.horizons, self.spectral = Horizons(None, 0, True), spectral

    def see(self, steps: ProductSteps, norms: ProductNorms) -> None:
        """Products, the last of which end at T, and their norms."""
        size, spectral = steps.dh.shape[-1], median_log(norms.log_spectral_norm[:, -1]).tolist()
        known = dict(zip(norms.places.tolist(), spectral, strict=True))
        each = norms.log_frobenius_norm[:, -1]  # the median lies between them
        lows = (each.min(axis=-1) - _SLACK).tolist()
        highs = (each.max(axis=-1) + 0.5 * math.log(size) + _SLACK).tolist()
        growing, vanishing, _ = self.horizons
        for place, lag in enumerate(steps.lags.tolist()):
            if place in known:
                least = most = known[place]
            else:
                least, most = lows[place], highs[place]
                if (growing is None and least <= 1.0 < most) or least < -1.0 <= most:  # either side of what matters
                    least = most = float(median_log(self.spectral.logs(steps.products[place, -1])))
            growing = lag if growing is None and least > 1.0 else growing
            vanishing = lag if least >= -1.0 else vanishing
        self.horizons = Horizons(growing, vanishing, vanishing == int(steps.lags[-1]))
