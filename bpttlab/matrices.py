"""What a recurrent matrix W is, in numbers: seven quantities that are often taken for one another, and its spectrum.

The spectral radius says how powers of W grow in the end, the largest singular value what one step can do at most, the
gain what it does to a typical vector; the Henrici departure says how far W is from a matrix for which these tell one
story, and the transient peak how large the powers become on the way. All are of W alone: no activation, no input.

Every function takes a real array (N, N), N >= 1, and raises ConfigurationError for another shape and NonFiniteError for
a NaN or an infinity. Entries may be of any size that a float holds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.scaled import LOG_2, Scaled, spectral_log_norm

Array = np.ndarray[Any, np.dtype[Any]]

HIGHER = 1e-10
"""How much higher, in log, a power must be to take the peak from an earlier one: rounding alone stays far below."""

HELD_NUMBERS = 2**21
"""Entries of powers that wait for their spectral norm."""


def spectral_radius(W: Array) -> float:
    """rho(W) = max_i |eigenvalue_i|.

    Where W is far from normal its eigenvalues are ill-conditioned: of a Jordan block of size n that a change of basis
    hides, only about eps^(1/n) can be known.
    """
    return float(np.abs(np.linalg.eigvals(square(W))).max())


def eigenvalues(W: Array) -> Array:
    """All N of them, complex, the largest modulus first; of one modulus by angle, from -pi to pi.

    As ill-conditioned as in `spectral_radius`.
    """
    found = np.linalg.eigvals(square(W)).astype(np.complex128)
    return found[np.lexsort((np.angle(found), -np.abs(found)))]


def largest_singular_value(W: Array) -> float:
    """sigma_max(W) = ||W||_2 = max |W u| over unit vectors u."""
    return float(np.linalg.norm(square(W), 2))


def gain(W: Array) -> float:
    """The gain, root mean square entry x sqrt(N) = ||W||_F / sqrt(N): the r.m.s. growth of a random direction.

    The root mean square, not the standard deviation about the sample mean: the ensembles have mean zero, and a mean
    that a matrix does have acts on vectors too. So the identity has gain 1, as has every orthogonal matrix.
    """
    whole = Scaled.whole(square(W))  # squares of entries beyond 1e154 would overflow
    exponent = max(whole.exponent.item(), -5000)  # that of a matrix of zeros is below all that ldexp takes
    return float(np.ldexp(np.linalg.norm(whole.mantissa), exponent)) / math.sqrt(len(whole))


def rank(W: Array) -> int:
    """The number of singular values above sigma_max N eps, those that rounding cannot have made."""
    return int(np.linalg.matrix_rank(square(W)))


def henrici_departure(W: Array) -> float:
    """||strict upper triangle of the complex Schur form||_F / ||W||_F: 0 if W is normal (or zero), 1 if nilpotent.

    Read off the real Schur form, which costs a quarter of the complex one. Its 2x2 blocks [[a, b], [c, a]] with b c < 0
    stand for the eigenvalues a +- i sqrt(|b c|), and the rotation that makes one triangular leaves ||b| - |c|| above
    its diagonal. Never as ||W||_F^2 - sum |eigenvalue|^2, which cancels where W is nearly normal.

    Source: Henrici 1962; Trefethen & Embree 2005, chapter 48.
    """
    matrix = Scaled.whole(square(W)).mantissa  # a power of two changes nothing in the ratio
    if not matrix.any():
        return 0.0
    schur_form = scipy.linalg.schur(matrix, output="real")[0]
    beside_diagonal = np.abs(np.diag(schur_form, 1)) - np.abs(np.diag(schur_form, -1))
    departure = math.hypot(np.linalg.norm(np.triu(schur_form, 2)), np.linalg.norm(beside_diagonal))
    return departure / float(np.linalg.norm(matrix))


def transient_peak(W: Array, lags: int) -> tuple[float, int]:
    """(max over 0 <= l <= lags of log ||W^l||_2, the first lag l that has it).

    At least 0, since W^0 is the identity. With rho(W) > 1 it is no transient: the peak then lies at or near `lags`.
    Powers are carried as mantissa x 2^exponent, so none over- or underflows.

    Cost: one N x N product a lag, up to the first power with ||W^l||_F <= 1, since every later one is a product of it
    and of earlier ones; and a spectral norm only where ||W^l||_F, which bounds it, does not rule the lag out.
    """
    if lags < 0:
        raise ConfigurationError(f"lags={lags}: must be a whole number >= 0")
    factor = Scaled.whole(square(W))
    width = 0.5 * math.log(len(factor))
    power, least, waiting, found = Scaled.of(np.eye(len(factor))), 0.0, {}, {0: 0.0}
    for lag in range(1, lags + 1):
        power = Scaled(power.mantissa @ factor.mantissa, power.exponent + factor.exponent).normalised()
        most = log_norm_above(power)
        least = max(least, most - width - HIGHER)
        waiting[lag] = most, power
        if most <= 0.0:
            break
        if len(waiting) * power.mantissa.size > HELD_NUMBERS:
            found |= spectral_norms(waiting, least)
            least, waiting = max(least, *found.values()), {}
    found |= spectral_norms(waiting, least)
    peak, peak_lag = 0.0, 0
    for lag, log_norm in sorted(found.items()):
        if log_norm > peak + HIGHER:
            peak, peak_lag = log_norm, lag
    return peak, peak_lag


def spectral_norms(powers: dict[int, tuple[float, Scaled]], least: float) -> dict[int, float]:
    """log ||W^l||_2 of those powers that may be as large as any other and as `least`, from a bound of each."""
    found = {}
    for lag, (most, power) in sorted(powers.items(), key=lambda item: -item[1][0]):
        if most < least - 2 * HIGHER:
            break
        found[lag] = float(spectral_log_norm(power, normalised=True))
        least = max(least, found[lag])
    return found


def log_norm_above(matrix: Scaled) -> float:
    """log ||A||_F or a little more, of rows that are normalised: what lies 2^-40 below the rest is counted as that."""
    largest = int(matrix.exponent.max())
    factors = np.ldexp(1.0, np.maximum(matrix.exponent[:, 0] - largest, -40))
    size = float(np.linalg.norm(matrix.mantissa * factors[:, None]))
    return math.log(size) + LOG_2 * largest if size > 0 else -math.inf


def describe(W: Array, transient_lags: int) -> dict[str, float | int]:
    """All of the above under the names of the columns of the table `runs`."""
    peak, peak_lag = transient_peak(W, transient_lags)
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
    """W as float64 (N, N), or the error that says what is wrong with it."""
    matrix = np.asarray(W, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ConfigurationError(f"W has shape {matrix.shape}: must be (N, N) with N >= 1")
    if not np.isfinite(matrix).all():
        raise NonFiniteError("W has an entry that is NaN or infinite: all must be finite")
    return matrix
