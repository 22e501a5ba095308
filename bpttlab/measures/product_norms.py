"""Norms of the products P_{t,t-l} lag after lag, from every row of the product.

The products are never formed from explicit Jacobians: the rows of the identity go back through
`propagation.propagate`, rescaled by powers of two at every lag, and the error of the loss at t goes along as one more
row.

Index legend: S starts t, B sequence, N hidden state, R rows (N of the product, one of the error).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from bpttlab.errors import NonFiniteError
from bpttlab.gradients.engine import SpectralNorms
from bpttlab.gradients.propagation import Lag, propagate
from bpttlab.gradients.trace import Trace
from bpttlab.measures.state_blocks import Blocks, product_matrices, unit_rows
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, log_of_square, median_log, spectral_log_norm

LEADING_TOLERANCE = 1e-8
"""Squared singular values of P this close to the largest, relatively, lead with it: their vectors span a space."""

_TOGETHER = 2**18
"""Entries of products whose norms are computed at once where they start at one t."""

PRODUCT_NUMBERS = 2**21
"""Entries of Jacobians whose norms are computed at once."""


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


def product_norms(
    trace: Trace, t: Array, errors: Scaled | None, reported: set[int], reach: Reach, blocks: Blocks | None = None
) -> Iterator[ProductNorms]:
    """Norms at lags 0, 1, ... of the products that start at each t; all of them at the lags that are reported.

    `reach` and `blocks` are shown what goes by.
    """
    batch, size = trace.h.shape[1:]
    start = Scaled.zeros((len(t), batch, size), trace.h.dtype) if errors is None else errors[t - 1]
    width, rows = 0.5 * math.log(size), append_row(unit_rows(trace, t), start)
    together = max(1, _TOGETHER // rows.mantissa.size) if len(t) == 1 else 1
    for steps in batches(products_back(trace, t, rows), together):
        chosen = [step for step, _ in steps if step.lag in reported]
        exact = dict(zip([step.lag for step in chosen], norms_of_steps(chosen, errors, start), strict=True))
        for step, sizes in steps:
            if blocks is not None:
                blocks.see(step, product_matrices(step, size))
            sizes = product_matrices(step, size).log_norm_of_normalised(axes=2) if sizes is None else sizes
            norms = ProductNorms(step.lag, step.t, sizes - width, *exact.get(step.lag, ()))
            reach.see(step, norms.log_frobenius_norm[-1], norms.log_spectral_norm)
            yield norms


def batches(steps: Iterator[tuple[Lag, Array | None]], together: int) -> Iterator[list[tuple[Lag, Array | None]]]:
    """So many at once, fewer at the end."""
    while some := list(islice(steps, together)):
        yield some


def norms_of_steps(steps: list[Lag], errors: Scaled | None, start: Scaled) -> list[tuple[Array, Array, Array]]:
    """log ||P||_2, log of the state gradient and alignment, of steps that have as many starts.  (S, B) each

    `start` (S, B, N) is what the last row of each step began with, from the earliest t.
    """
    if not steps:
        return []
    size, starts = start.shape[-1], len(steps[0].t)
    mantissa, exponent = (np.stack([getattr(step.dh, name) for step in steps]) for name in ("mantissa", "exponent"))
    products = Scaled(mantissa[:, :size].transpose(0, 2, 3, 1, 4), exponent[:, :size].transpose(0, 2, 3, 1, 4))
    error = None if errors is None else start[len(start) - starts :]
    log_norms, alignments = norm_and_alignment(products, error)
    gradients = Scaled(mantissa[:, size], exponent[:, size]).log_norm()
    return list(zip(log_norms, gradients, alignments, strict=True))


def products_back(trace: Trace, t: Array, rows: Scaled) -> Iterator[tuple[Lag, Array | None]]:
    """`propagate` of all rows of products and one more, finite ones; and the log of ||P||_F, (1, B), where it is known.

    From one t alone many lags are one call of a compiled loop.
    """
    if len(t) > 1:
        for step in propagate(trace, t, rows):
            check_finite_products(step)
            yield step, None
        return
    first = Lag(0, t, rows.normalise(), None)
    check_finite_products(first)
    yield first, None
    for lag, back in enumerate(trace.engine.pass_rows_back(trace, int(t[0]), first.dh), start=1):
        step = Lag(lag, t, back.rows, None)
        if not back.finite:
            check_finite_products(step)
        yield step, back.log_size


def append_row(rows: Scaled, last: Scaled) -> Scaled:
    """One more row: (R, S, B, N) and (S, B, N) -> (R+1, S, B, N)."""
    mantissa = np.concatenate([rows.mantissa, last.mantissa[None]])
    return Scaled(mantissa, np.concatenate([rows.exponent, last.exponent[None]]))


def norm_and_alignment(products: Scaled, error: Scaled | None) -> tuple[Array, Array]:
    """log ||P||_2, and |cosine| between the error at t and the leading left singular vectors of P.  (L, S, B) each

    1 means that the loss sends its error where the product is largest; the norm of P is then the real gradient's. NaN
    where either is zero, or there is no error.

    Args:
        products: rows normalised, (L, S, B, N, N).
        error: (S, B, N).
    """
    if error is None:
        log_norm = spectral_log_norm(products, normalised=True)
        return log_norm, np.full(log_norm.shape, np.nan)
    one = products.share_exponent(2)
    matrices = one.mantissa.astype(np.float64, copy=False)
    squares, vectors = np.linalg.eigh(matrices @ matrices.swapaxes(-2, -1))
    most = squares[..., -1]
    foremost = squares >= (1.0 - LEADING_TOLERANCE) * most[..., None]
    components = np.matmul(error.mantissa[..., None, :], vectors)[..., 0, :] * foremost
    size, alive = np.linalg.norm(error.mantissa, axis=-1), matrices.any(axis=(-2, -1))
    defined = (size > 0) & alive
    alignment = np.linalg.norm(components, axis=-1) / np.where(defined, size, 1.0)
    return log_of_square(most, one.exponent[..., 0, 0]), np.where(defined, np.minimum(alignment, 1.0), np.nan)


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

    def see(self, step: Lag, typical: Array, known: Array | None) -> None:
        """Rows of products, the last of which end at T; their log(||P||_F / sqrt(N)), (B,); log ||P||_2, (S, B), if it
        is known."""
        lag, size = step.lag, step.dh.shape[-1]
        if known is not None:
            least = most = float(median_log(known[-1]))
        else:
            each = typical.tolist()  # the median lies between them
            least, most = min(each) - _SLACK, max(each) + 0.5 * math.log(size) + _SLACK
            if self.open(least, most):
                least = most = float(median_log(self.spectral.logs(product_matrices(step, size)[-1])))
        growing, vanishing, _ = self.horizons
        growing = lag if growing is None and least > 1.0 else growing
        vanishing = lag if least >= -1.0 else vanishing
        self.horizons = Horizons(growing, vanishing, vanishing == lag)

    def open(self, least: float, most: float) -> bool:
        """Whether a median between these two may lie on either side of what matters."""
        return (self.horizons.growing is None and least <= 1.0 < most) or least < -1.0 <= most
