"""Norms of the products P_{t,t-l} at every lag of one t, from as many rows as the product has directions left.

The singular values of a product separate exponentially with the lag. So P = Q R + D with Q^T D = 0: R has few rows,
goes back one step a lag, and what lies far below its largest is dropped now and then, by a QR of R^T with pivots. Since

    P^T P = R^T R + D^T D

the norms of R are those of P up to (||D|| / ||R||)^2 / 2, and no more is lost on the way however many steps follow. But
D can grow where R shrinks: some random combinations of its rows go along, with the rounding of R among them, and where
they are no longer small beside R nothing of it is kept: the whole product is taken instead, and the result says so.

Sources: Stewart 1997 (QR of products), Businger & Golub 1965 (pivots), Golub & Kahan 1965 and Parlett 1980 (Lanczos
with full reorthogonalisation).

Index legend: B sequence, N state, R rows of R, K random combinations, L lags.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.linalg

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.gradients.engine import vjp
from bpttlab.gradients.trace import Trace
from bpttlab.measures.product_norms import Reach, product_norms
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2, Scaled, spectral_log_norm

DROPPED = 1e-11
"""Rows this far below the largest are dropped: by the diagonal of a QR with pivots."""

_ROUNDING = 1e-12
"""Bound on the rounding error that a QR causes in R, four digits larger than needed; dropped parts get it as noise."""

OBJECTION = 1e-7
"""||D|| / ||R|| at which R is given up. An estimate from K = 4 combinations is 100 times too small once in 10^7."""

COMBINATIONS = 4

FIRST_CHECK, BETWEEN_CHECKS = 8, 1.25
"""The lag at which rows are first dropped, and the ratio of the lags of one time and the next."""

SPREAD = 450
"""Exponents between rows of one product from which on it is not followed here."""

_RANGE = 2.0**460
"""How large or small a product may become before it is rescaled: squares of squares must not leave the range."""

_HELD_NUMBERS = 2**17
"""Numbers of the products whose norms are computed together."""

MOST_LAGS = 128
"""... and how many lags at most."""


class LagNorms(NamedTuple):
    """Of one sequence and all lags, (T+1,) each.

    Attributes:
        log_spectral_norm: log ||P||_2.
        log_frobenius_norm: log(||P||_F / sqrt(N)).
        rank: the rows that were carried.
        fell_back: whether the product was taken whole, because what had been dropped came back.
    """

    log_spectral_norm: Array
    log_frobenius_norm: Array
    rank: Array
    fell_back: bool


def low_rank_norms(trace: Trace, t: int, sequences: int) -> dict[str, Array]:
    """Norms of P_{t,t-l} at every lag 0..t of one t, as columns: `jacobian_products` with method="fast".

    Raises:
        ConfigurationError: numbers are complex.
        NonFiniteError: a product is not finite; the error names its step.
    """
    check_real(trace)
    found = [norms_of_sequence(widen(trace, t, sequence)) for sequence in range(min(sequences, trace.h.shape[1]))]
    batch, lags = len(found), t + 1
    return {
        "sequence": np.repeat(np.arange(batch), lags),
        "t": np.full(batch * lags, t),
        "lag": np.tile(np.arange(lags), batch),
        "log_spectral_norm": np.concatenate([norms.log_spectral_norm for norms in found]),
        "log_frobenius_norm": np.concatenate([norms.log_frobenius_norm for norms in found]),
        "rank": np.concatenate([norms.rank for norms in found]),
        "fell_back": np.repeat([norms.fell_back for norms in found], lags),
    }


def check_real(trace: Trace) -> None:
    if np.iscomplexobj(trace.h):
        raise ConfigurationError("trace: its numbers are complex; must be real")


def norms_of_sequence(trace: Trace) -> LagNorms:
    """All lags of t = T of the one sequence of a trace, by few rows if that can be had."""
    try:
        return Product(trace).norms()
    except FellBackError:
        return whole_norms(trace)


def widen(trace: Trace, t: int, sequence: int) -> Trace:
    """The first t steps of one sequence in float64, with the slopes that they have."""
    one, states = np.s_[:t, sequence : sequence + 1], np.s_[: t + 1, sequence : sequence + 1]
    part = Trace(trace.cell, trace.params, trace.x[one], trace.h[states], trace.y_hat[one], trace.engine)
    return part.with_linearization(trace.linearization[one]).in_float64()


def whole_norms(trace: Trace) -> LagNorms:
    """The same from the product itself, every row with its exponent: slow, and always right."""
    T, spectral, frobenius = trace.length, [], []
    reach = Reach(trace.engine.spectral_norms(trace.h.shape[-1]))
    for norms in product_norms(trace, np.array([T]), None, set(range(T + 1)), reach):
        spectral.append(norms.log_spectral_norm[:, 0, 0])
        frobenius.append(norms.log_frobenius_norm[:, 0, 0])
    return LagNorms(np.concatenate(spectral), np.concatenate(frobenius), np.full(T + 1, trace.h.shape[-1]), True)


class FellBackError(Exception):
    """The dropped part may be large enough to change the result."""


class Chunk(NamedTuple):
    """Some lags of a product: rows (L,R+K,N) times 2^exponent, the last K combinations of what was dropped."""

    rows: Array
    exponent: int

    def rescale(self) -> Chunk:
        """The same with its largest number in [1/2, 1)."""
        one = Scaled.whole(self.rows, self.exponent)
        return Chunk(one.mantissa, one.exponent.item())


class Product:
    """The product of one sequence on its way back from t = T, in few rows.

    Attributes:
        block: (R+K, N), the rows of R and the combinations of those of D, times 2^exponent.
        u: (R,), the left singular vector that leads.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace, self.size = trace, trace.h.shape[-1]
        self.rng = np.random.default_rng(0)
        self.block = np.concatenate([np.eye(self.size), np.zeros((COMBINATIONS, self.size))])
        self.exponent = 0
        self.u = self.noise(self.size)

    @property
    def rank(self) -> int:
        return len(self.block) - COMBINATIONS

    def noise(self, size: int) -> Array:
        """A random vector of norm one, the same in every process."""
        vector = self.rng.standard_normal(size)
        return np.asarray(vector / np.linalg.norm(vector))

    def norms(self) -> LagNorms:
        T, half = self.trace.length, 0.5 * np.log(self.size)
        spectral, frobenius, rank = np.zeros(T + 1), np.zeros(T + 1), np.full(T + 1, self.size)
        frobenius[0] = half
        lag, check, longest = 0, FIRST_CHECK, MOST_LAGS
        while lag < T:
            lags = min(longest, check - lag, T - lag, max(1, _HELD_NUMBERS // self.block.size))
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                chunk = self.push(lag, lags)
                squares, sizes, others = self.sizes(chunk)
            if not are_moderate(sizes, others):
                if lags > 1:
                    longest = max(1, lags // 4)
                    continue
                chunk = chunk.rescale()
                squares, sizes, others = self.sizes(chunk)
            self.object(lag, sizes, others)
            self.refuse_lost(squares, lag)
            at = slice(lag + 1, lag + 1 + lags)
            rank[at] = self.rank
            with np.errstate(divide="ignore"):
                frobenius[at] = np.log(sizes) + chunk.exponent * LOG_2
            spectral[at] = frobenius[at] if self.rank == 1 else self.spectral(chunk, sizes)
            lag += lags
            self.take(chunk)
            if lag >= check and lag < T:
                self.drop()
                check = max(check + 4, int(check * BETWEEN_CHECKS))
            longest = min(2 * longest, MOST_LAGS)
            if not self.block.any():
                spectral[lag:], frobenius[lag:], rank[lag:] = -np.inf, -np.inf, self.rank
                break
        return LagNorms(spectral, frobenius - half, rank, False)

    def push(self, lag: int, lags: int) -> Chunk:
        """So many lags further."""
        trace, end = self.trace, self.trace.length - lag
        rows = np.empty((lags + 1, *self.block.shape))
        rows[0] = self.block
        slopes = trace.linearization[end - lags : end, 0]
        trace.engine.pass_plain_rows_back(trace, slopes, rows)
        return Chunk(rows[1:], self.exponent)

    def sizes(self, chunk: Chunk) -> tuple[Array, Array, Array]:
        """Squares of the rows of R; Frobenius norms of R and, estimated, of D. Without the exponent.

        (L,R), (L,), (L,)
        """
        squares = np.vecdot(chunk.rows, chunk.rows)
        own, others = squares[:, : self.rank], squares[:, self.rank :]
        return own, np.sqrt(own.sum(axis=1)), np.sqrt(others.mean(axis=1))

    def object(self, lag: int, sizes: Array, others: Array) -> None:
        """Refuses to go on where the product is not finite, or what was dropped is no longer small."""
        bad = ~np.isfinite(sizes)
        if bad.any():
            first = lag + 1 + int(np.flatnonzero(bad)[0])
            step = self.trace.length - first
            raise NonFiniteError(f"the Jacobian product is not finite at step t - lag = {step} (lag {first})", step)
        if (others > OBJECTION * sizes).any():
            raise FellBackError

    def refuse_lost(self, squares: Array, lag: int) -> None:
        """Refuses to go on where rows become nothing beside others, unless they are exactly zero in the end.

        Args:
            squares: (L, R) of the rows.
            lag: that of the block from which they come.
        """
        least = 4.0**-SPREAD * squares.max(axis=1, keepdims=True)
        lost = self.block[: self.rank].any(axis=1) & (squares <= least).any(axis=0)
        if not lost.any():
            return
        rows, trace = Scaled.of(self.block[: self.rank][lost]), self.trace
        for step in range(trace.length - lag, trace.length - lag - len(squares), -1):
            rows = vjp(trace.cell, trace.params, trace.linearization[step - 1, 0], rows)[1].normalise()
        if rows.mantissa.any():
            raise FellBackError

    def spectral(self, chunk: Chunk, sizes: Array) -> Array:
        """log ||R||_2 of every lag.  (L,)"""
        matrices = chunk.rows[:, : self.rank]
        logs = self.trace.engine.largest_logs(matrices, self.u, partial(self.noise, self.rank)) if sizes.all() else None
        if logs is not None:
            return logs + chunk.exponent * LOG_2
        exponents = np.full((len(matrices), self.rank, 1), chunk.exponent)
        return spectral_log_norm(Scaled(matrices, exponents))

    def take(self, chunk: Chunk) -> None:
        """Goes on from the last lag, its largest number in [1/2, 1)."""
        last = Scaled.whole(chunk.rows[-1], chunk.exponent)
        self.block, self.exponent = last.mantissa, last.exponent.item()

    def drop(self) -> None:
        """R = Q' R' + what lies below; Q' becomes part of Q, and the combinations take up the rest and the rounding."""
        R, S = self.block[: self.rank], self.block[self.rank :]
        size = float(np.linalg.norm(R))
        if size == 0.0:
            return
        _, upper, pivots = scipy.linalg.qr(R.T, mode="economic", pivoting=True, check_finite=False)
        diagonal = np.abs(np.diagonal(upper))
        rank = int(np.count_nonzero(diagonal > DROPPED * diagonal[0]))
        if rank == self.rank:
            return
        Q = scipy.linalg.qr(upper[:rank].T, mode="economic", check_finite=False)[0]  # (R, rank), of the pivoted rows
        R = R[pivots]
        kept = Q.T @ R
        dropped = R - Q @ kept
        S = S + self.rng.standard_normal((COMBINATIONS, len(R))) @ dropped
        S = S + _ROUNDING * size * self.rng.standard_normal(S.shape) / np.sqrt(self.size)
        self.u = Q.T @ self.u[pivots]
        self.block = np.concatenate([kept, S])


def are_moderate(sizes: Array, others: Array) -> bool:
    """Whether no product on the way left the range in which squares are exact to rounding; zeros count as left."""
    return bool((sizes < _RANGE).all() and (sizes > 1.0 / _RANGE).all() and (others < _RANGE).all())
