"""Products of Gaussian matrices: powers of one W, and products of a fresh W at every step.

The two are different. Powers of one W finally grow as its spectral radius. Products of fresh matrices have exponents of
their own. These test the QR and are never drawn beside a network.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma, polygamma

from bpttlab.errors import ConfigurationError
from bpttlab.fields import check_arguments, check_integer
from bpttlab.numerics.array import Array
from bpttlab.theory.rates import log


@check_arguments
def log_sigma_max_of_power(gain: float, lag: int) -> float:
    """log of g^l sqrt((l+1)^(l+1) / l^l), the limit of sigma_max(W^l) for large N.

    Valid for a Gaussian W (entries of variance g^2/N), linear, large N and small l: at l = 4 and N = 600 the largest
    singular value still scatters by a few per cent. 0 at l = 0. Source: the edge of the Fuss-Catalan distribution, the
    limit of both powers and products of independent matrices (Alexeev, Gotze & Tikhomirov 2010).
    """
    check_lag(lag)
    grown = 0.5 * ((lag + 1) * math.log(lag + 1) - lag * math.log(lag)) if lag else 0.0
    return grown + (lag * log(gain) if lag else 0.0)


@check_arguments
def fourth_moment_of_power(lag: int) -> float:
    """mean s^4 / (mean s^2)^2 -> l + 1 over the singular values s of W^l: how different the directions become.

    Valid as in `log_sigma_max_of_power`. 1 if all are equal, as for an orthogonal W.
    """
    check_lag(lag)
    return lag + 1.0


@check_arguments
def newman_exponents(size: int, gain: float = 1.0) -> Array:
    """lambda_i = log g + 1/2 [log(2/N) + psi((N-i+1)/2)], i = 1..N, the largest first.  -> (N,)

    Lyapunov exponents of products of N x N Gaussian matrices of variance g^2/N, a fresh one each step; exact at every
    N. Source: Newman 1986.
    """
    i = np.arange(1, check_integer("size", size, 1) + 1)
    return np.asarray(log(gain) + 0.5 * (math.log(2.0 / size) + digamma((size - i + 1) / 2.0)))


@check_arguments
def log_growth_variance(size: int, steps: int = 1) -> float:
    """var log ||P u|| = T psi_1(N/2) / 4 over products of T fresh Gaussian N x N matrices, for any fixed u; exact."""
    return steps * float(polygamma(1, size / 2.0)) / 4.0


@check_arguments
def typical_critical_gain(size: int) -> float:
    """g = exp(1/2 [log(N/2) - psi(N/2)]): below it a typical product of fresh Gaussian matrices decays.

    E ||P u||^2 = g^(2T) grows if g > 1. Between 1 and this gain the mean grows because of a few draws while the median
    decays: 1.33 at N = 2, 1.05 at N = 10, 1 + 1/(2N) for large N. There the largest of Newman's exponents is zero;
    exact.
    """
    return math.exp(-float(newman_exponents(size)[0]))


def check_lag(lag: int) -> None:
    if lag < 0:
        raise ConfigurationError(f"lag={lag}: must be an integer >= 0")
