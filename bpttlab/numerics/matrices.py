"""Properties of a recurrent matrix W: seven numbers that are often confused, and its spectrum.

The spectral radius is the final growth rate of powers of W. The largest singular value is the largest growth in one
step. The gain is the growth of a typical vector. The Henrici departure is the distance of W from a normal matrix, for
which these numbers agree. The transient peak is the size that powers reach before they follow the spectral radius. All
describe W alone: no activation and no input enters.

Every function takes a real array (N, N), N >= 1, and raises ConfigurationError for another shape and NonFiniteError for
a NaN or an infinity. Entries may be of any size that a float holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, log_of_square, spectral_log_norm

HIGHER = 1e-10
"""How much higher, in log, a power must be to take the peak from an earlier one: rounding alone stays far below."""

_TOGETHER = 16
"""Powers that are computed at once, from one that is known."""

_HELD_NUMBERS = 2**21
"""Entries of powers that are held at once."""


def spectral_radius(W: Array) -> float:
    """rho(W) = max_i |eigenvalue_i|.

    If W is far from normal, its eigenvalues are ill-conditioned: those of a Jordan block of size n in another basis are
    known only to about eps^(1/n).
    """
    return float(np.abs(np.linalg.eigvals(square(W))).max())


def eigenvalues(W: Array) -> Array:
    """All N eigenvalues, complex, the largest modulus first; equal moduli are ordered by angle, from -pi to pi.

    They are as ill-conditioned as in `spectral_radius`.
    """
    found = np.linalg.eigvals(square(W)).astype(np.complex128)
    return found[np.lexsort((np.angle(found), -np.abs(found)))]


def largest_singular_value(W: Array) -> float:
    """sigma_max(W) = ||W||_2 = max |W u| over unit vectors u."""
    return float(np.linalg.norm(square(W), 2))


def gain(W: Array) -> float:
    """The gain, root mean square entry x sqrt(N) = ||W||_F / sqrt(N): the r.m.s. growth of a random direction.

    It uses the root mean square and not the standard deviation about the sample mean, because a mean of W acts on
    vectors too. So the identity and every orthogonal matrix have gain 1.
    """
    whole = Scaled.whole(square(W))  # squares of entries beyond 1e154 would overflow
    return math.ldexp(float(np.linalg.norm(whole.mantissa)), whole.exponent.item()) / math.sqrt(len(whole))


def rank(W: Array) -> int:
    """The number of singular values above sigma_max N eps, which rounding cannot have made."""
    return int(np.linalg.matrix_rank(square(W)))


def henrici_departure(W: Array) -> float:
    """||strict upper triangle of the complex Schur form||_F / ||W||_F: 0 if W is normal (or zero), 1 if nilpotent.

    It is computed from the real Schur form, which costs a quarter of the complex one. A 2x2 block [[a, b], [c, a]] with
    b c < 0 has the eigenvalues a +- i sqrt(|b c|); the rotation that makes it triangular leaves ||b| - |c|| above its
    diagonal. The formula ||W||_F^2 - sum |eigenvalue|^2 is not used: it cancels where W is nearly normal.

    Source: Henrici 1962; Trefethen & Embree 2005, chapter 48.
    """
    matrix = Scaled.whole(square(W)).mantissa  # a power of two changes nothing in the ratio
    if not matrix.any():
        return 0.0
    schur_form = scipy.linalg.schur(matrix, output="real")[0]
    beside_diagonal = np.abs(np.diag(schur_form, 1)) - np.abs(np.diag(schur_form, -1))
    departure = math.hypot(np.linalg.norm(np.triu(schur_form, 2)), np.linalg.norm(beside_diagonal))
    return departure / float(np.linalg.norm(matrix))


SpectralLogNorms = Callable[[Scaled], Array]


def of_normalised(powers: Scaled) -> Array:
    """log ||A||_2 of matrices whose rows are normalised, through their Gram matrices."""
    return spectral_log_norm(powers, normalised=True)


def transient_peak(W: Array, lags: int, spectral: SpectralLogNorms = of_normalised) -> tuple[float, int]:
    """(max over 0 <= l <= lags of log ||W^l||_2, the first lag l that has it).

    The peak is at least 0, since W^0 is the identity. With rho(W) > 1 it is no transient: it lies at or near `lags`.
    Powers are mantissas with exponents, so none over- or underflows.

    Args:
        W: (N, N).
        lags: the longest lag.
        spectral: log ||A||_2 of matrices (L, N, N) whose rows are normalised, to 1e-11 or better.

    Cost: one N x N product a lag, up to the first power with ||W^l||_F <= 1, since every later power is a product of it
    and earlier ones. A spectral norm is computed only where its bound ||W^l||_F does not exclude the lag.
    """
    if lags < 0:
        raise ConfigurationError(f"lags={lags}: must be an integer >= 0")
    peak, peak_lag, first_lag = 0.0, 0, 1
    for powers, most in portions(Scaled.whole(square(W)), lags):
        for place, log_norm in largest_norms(powers, most, peak, spectral):
            if log_norm > peak + HIGHER:
                peak, peak_lag = log_norm, first_lag + place
        first_lag += len(most)
    return peak, peak_lag


def portions(matrix: Scaled, lags: int) -> Iterator[tuple[Scaled, Array]]:
    """Powers 1, 2, ... with a bound of the log norm of each, in portions that fit into memory: (L, N, N) and (L,)."""
    held = max(1, _HELD_NUMBERS // matrix.mantissa.size)
    first = first_powers(matrix, max(1, min(lags, _TOGETHER, held)))
    factors, powers = first.share_exponent(2), first
    waiting: list[tuple[Scaled, Array]] = []
    for before in range(0, lags, len(first)):
        if before:  # W^(before + i) = W^before W^i
            last = powers[-1]
            powers = Scaled(last.mantissa @ factors.mantissa, last.exponent + factors.exponent).normalise()
        most = log_norms_above(powers)[: lags - before]
        ends = np.flatnonzero(most <= 0.0)[:1]
        most = most[: ends[0] + 1] if len(ends) else most
        waiting.append((powers[: len(most)], most))
        if len(ends):
            break
        if (len(waiting) + 1) * len(first) > held:
            yield join_blocks(waiting)
            waiting = []
    if waiting:
        yield join_blocks(waiting)


def join_blocks(parts: list[tuple[Scaled, Array]]) -> tuple[Scaled, Array]:
    powers, most = zip(*parts, strict=True)
    mantissa, exponent = ([getattr(power, name) for power in powers] for name in ("mantissa", "exponent"))
    return Scaled(np.concatenate(mantissa), np.concatenate(exponent)), np.concatenate(most)


def first_powers(matrix: Scaled, count: int) -> Scaled:
    """W, W^2, ..., rows normalised, of a matrix with one exponent.  (count, N, N)"""
    powers = [Scaled(matrix.mantissa, np.broadcast_to(matrix.exponent, (len(matrix), 1))).normalise()]
    for _ in range(1, count):
        last = powers[-1]
        powers.append(Scaled(last.mantissa @ matrix.mantissa, last.exponent + matrix.exponent).normalise())
    return Scaled(np.stack([power.mantissa for power in powers]), np.stack([power.exponent for power in powers]))


def largest_norms(powers: Scaled, most: Array, least: float, spectral: SpectralLogNorms) -> list[tuple[int, float]]:
    """(place, log ||W^l||_2) of the powers that may be the largest and at least `least`, chosen by bounds.

    ||A||_F / sqrt(N) <= ||A||_2 <= ||A||_F. For the remaining powers a closer bound is used, with G = A A^T: ||G||_F /
    ||A||_F <= ||A||_2 <= ||G||_F^(1/2).
    """
    width = 0.5 * math.log(powers.shape[-1])
    near = np.flatnonzero(most >= max(least, float(most.max()) - width) - 2 * HIGHER)
    if not len(near):
        return []
    one = powers[near].share_exponent(2)
    squares = one.mantissa @ one.mantissa.swapaxes(-2, -1)
    size = log_of_square(np.einsum("pij,pij->p", squares, squares), 2 * one.exponent[:, 0, 0])
    near = near[0.5 * size >= max(least, float((size - most[near]).max())) - 2 * HIGHER]
    return list(zip(near.tolist(), spectral(powers[near]).tolist(), strict=True))


def log_norms_above(matrices: Scaled) -> Array:
    """log ||A||_F or slightly more, of normalised rows: entries 2^-40 below the others count as 2^-40."""
    largest = np.maximum.reduce(matrices.exponent, axis=-2)
    factors = np.ldexp(1.0, np.maximum(matrices.exponent - largest[:, None], -40))[..., 0]
    squares = np.einsum("pij,pij,pi->p", matrices.mantissa, matrices.mantissa, factors * factors)
    return log_of_square(squares, largest[:, 0])


def describe_matrix(
    W: Array, transient_lags: int, spectral: SpectralLogNorms = of_normalised
) -> dict[str, float | int]:
    """All of the above under the names of the columns of the table `runs`."""
    peak, peak_lag = transient_peak(W, transient_lags, spectral)
    return {
        "rho": spectral_radius(W),
        "sigma_max": largest_singular_value(W),
        "gain": gain(W),
        "rank": rank(W),
        "henrici_departure": henrici_departure(W),
        "transient_peak": peak,
        "transient_peak_lag": peak_lag,
    }


def square(W: Array) -> Array:
    """W as float64 (N, N); raises the error that describes what is wrong with it."""
    matrix = np.asarray(W, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ConfigurationError(f"W has shape {matrix.shape}: must be (N, N) with N >= 1")
    if not np.isfinite(matrix).all():
        raise NonFiniteError("W has an entry that is NaN or infinite: all must be finite")
    return matrix


def row_sorted_qr(Y: Array) -> tuple[Array, Array]:
    """QR with the largest rows first, so that rows of zeros stay exactly zero and small ones keep their digits.

    (A unit of relu that is off, or one far into saturation, has such a row.)  (..., N, K) -> (..., N, K'), (..., K', K)
    """
    order = np.argsort(-np.abs(Y).max(axis=-1), axis=-1, kind="stable")[..., None]
    Q, R = np.linalg.qr(np.take_along_axis(Y, order, axis=-2))
    unsorted = np.empty_like(Q)
    np.put_along_axis(unsorted, order, Q, axis=-2)
    return unsorted, R


def qr_vjp(Q: Array, R: Array, dQ: Array, dR: Array) -> Array:
    """The cotangent of Y = Q R from those of Q and R, for a Y of full column rank and no more columns than rows.

    dY = (dQ + Q copyltu(M)) R^-T, M = R dR^T - dQ^T Q, where copyltu mirrors the lower triangle. The signs of the
    diagonal of R may be any. Source: Seeger et al. 2018, derived again.

    (..., N, K), (..., K, K), (..., N, K), (..., K, K) -> (..., N, K)
    """
    M = R @ dR.swapaxes(-2, -1) - dQ.swapaxes(-2, -1) @ Q
    mirrored = np.tril(M) + np.tril(M, -1).swapaxes(-2, -1)
    return np.linalg.solve(R, (dQ + Q @ mirrored).swapaxes(-2, -1)).swapaxes(-2, -1)
