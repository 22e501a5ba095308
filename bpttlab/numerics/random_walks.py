"""The least-squares slope of a random walk with drift, and its standard error.

The log-norm of a product of random matrices is such a walk: each factor adds an increment. Neighbouring points of the
walk share almost all of their increments. So the residuals of a straight line through it are not independent, and the
usual standard error of a fit is too small by a factor of the order of the number of points.

The slope is linear in the increments d_j = y_j - y_{j-1}:

    slope = sum_i w_i y_i = sum_j c_j d_j          c_j = sum_{i >= j} w_i
    Var slope = s^2 sum_ij c_i c_j phi^|i-j|

where the increments have variance s^2 and are correlated as phi^|i-j| (an autoregressive process of order one). For
phi = 0 and m points one step apart this is (6/5) s^2 / m.
"""

from __future__ import annotations

import numpy as np

from bpttlab.numerics.array import Array

LEAST_INCREMENTS = 8
"""With fewer increments their correlation cannot be estimated, and there is no error."""

MOST_CORRELATED = 0.9
"""The largest estimated |phi|. With a larger one, fluctuations are as slow as the slope."""

LONGEST_CORRELATION = 400
"""Steps after which phi^k is below the rounding of one."""


def fit_slope(x: Array, y: Array) -> tuple[float, float]:
    """Least-squares slope of y in x, and its standard error as the slope of a random walk.

    The error is the standard deviation of the slope over walks of the same law: constant drift, and increments of
    constant variance that are correlated with their neighbours. It is too large where increments cancel, as in a
    stationary series, and too small where they are correlated over more than about ten steps.

    Args:
        x: (m,), increasing, m >= 2.
        y: (m,).

    Returns:
        The slope and its error; the error is NaN with fewer than `LEAST_INCREMENTS` increments.
    """
    centred = x - x.mean()
    weights = centred / (centred @ centred)
    slope = float(weights @ y)
    if len(x) <= LEAST_INCREMENTS:
        return slope, np.nan
    steps, increments = np.diff(x), np.diff(y)
    phi, variance = fit_increments(increments - steps * (increments.sum() / steps.sum()))
    coefficients = weights[::-1].cumsum()[-2::-1]
    return slope, float(np.sqrt(variance * sum_of_correlations(coefficients, phi)))


def fit_increments(centred: Array) -> tuple[float, float]:
    """Correlation phi of neighbouring increments, and their variance, after subtraction of the mean.

    Subtracting the mean makes both too small: phi by (1 + 4 phi) / m to first order in 1/m, the variance by the
    variance of the mean. Both are corrected.
    """
    m, square = len(centred), float(centred @ centred)
    if square == 0.0:
        return 0.0, 0.0
    measured = float(centred[1:] @ centred[:-1]) / square
    phi = min(max((m * measured + 1.0) / (m - 4.0), -MOST_CORRELATED), MOST_CORRELATED)
    return phi, square / m / (1.0 - sum_of_correlations(np.full(m, 1.0 / m), phi))


def sum_of_correlations(coefficients: Array, phi: float) -> float:
    """sum over i and j of c_i c_j phi^|i-j|: the variance of sum_j c_j d_j for increments d_j of variance one."""
    m = len(coefficients)
    powers = phi ** np.arange(1, min(m, LONGEST_CORRELATION))
    before = np.convolve(coefficients, powers)[: m - 1]
    return float(coefficients @ coefficients + 2.0 * (coefficients[1:] @ before))
