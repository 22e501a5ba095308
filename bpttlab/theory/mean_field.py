"""Mean field of wide tanh networks: pre-activations are Gaussian with a variance q that solves a fixed-point equation.

    q = g^2 E tanh^2(sqrt(q) z) + s,    chi = g^2 E tanh'^2(sqrt(q) z),    z standard normal

g is the gain of a Gaussian W (entries of variance g^2/N). s is the variance of all other terms of a_t: biases, and
inputs that are Gaussian and white in time (sigma_v^2 R if V has entries of variance sigma_v^2/I and R = mean x^2 per
component). For N -> infinity 1/2 log chi is the largest Lyapunov exponent, and the growth of a typical product a step.

Sources: without input Molgedey, Schuchhardt & Schuster 1992, Engelken, Wolf & Abbott 2023 (Sompolinsky, Crisanti &
Sommers 1988 is continuous time); with input Chen, Pennington & Schoenholz 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import roots_legendre

from bpttlab.errors import ConfigurationError
from bpttlab.fields import check_arguments
from bpttlab.numerics.array import Array

TAIL = 12.0
"""Standard deviations beyond which a Gaussian is left out: 1e-32 of it."""

PRECISION = 1e-13

NODES, WEIGHTS = roots_legendre(128)
NODES, WEIGHTS = 0.5 * (NODES + 1.0), 0.5 * WEIGHTS
"""On [0, 1]."""


class MeanField(NamedTuple):
    """q, the variance of a pre-activation, and chi, the mean square growth of a perturbation a step."""

    q: float
    chi: float

    @property
    def rate(self) -> float:
        """lambda_1 = 1/2 log chi, natural logarithm per step; -inf where chi = 0."""
        return 0.5 * math.log(self.chi) if self.chi > 0 else -math.inf


@check_arguments
def mean_field(gain: float, variance: float = 0.0) -> MeanField:
    """The stationary state of a wide tanh network.

    Args:
        gain: g, of W.
        variance: s, of biases and inputs together; 0 for a network without input, whose state is at rest (q = 0, chi =
            g^2) for g <= 1.

    Valid for large N (at N = 200 single networks differ by some hundredths) and white inputs. For the network without
    input, lambda_1 near g = 1 needs N >= 512.
    """
    check_not_negative(gain=gain, variance=variance)
    q = _variance_root(gain, variance)
    return MeanField(q, gain**2 * slope_square(q))


def _variance_root(gain: float, variance: float) -> float:
    """The root q > 0, between the lower bound from tanh^2 a >= a^2 - 2/3 a^4 and the upper bound g^2 + s."""
    if variance == 0.0 and gain <= 1.0:
        return 0.0
    low = variance if variance > 0.0 else 0.25 * (1.0 - 1.0 / gain**2)
    high = gain**2 + variance
    if not low < high:  # g = 0, or below the rounding of s
        return high
    return find_root(lambda q: gain**2 * state_square(q) + variance - q, low, high)


@check_arguments
def critical_gain(variance: float = 0.0) -> tuple[float, float]:
    """g and q at which chi = 1, where lambda_1 of a driven network changes its sign. -> (g, q)

    g^2 = 1 / E tanh'^2 and q = E tanh^2 / E tanh'^2 + s. Without a drive g = 1; inputs increase it: 1.3270, 1.5497 and
    1.8556 at s = 0.05, 0.25 and 1. With s = sigma_b^2 it is the critical line of Poole et al. 2016.
    """
    check_not_negative(variance=variance)
    if variance == 0.0:
        return 1.0, 0.0

    def excess(q: float) -> float:
        return q - state_square(q) / slope_square(q) - variance

    high = 1.0
    while excess(high) <= 0.0:
        high *= 2.0
    q = find_root(excess, variance, high) if high > variance else high
    return 1.0 / math.sqrt(slope_square(q)), q


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root between two ends at which the function has different signs."""
    from scipy.optimize import brentq  # its import takes as much memory as numpy's

    return float(brentq(function, low, high, xtol=PRECISION * high))


def state_square(q: float) -> float:
    """E tanh^2(sqrt(q) z)."""
    return gaussian_mean(lambda a: np.tanh(a) ** 2, q)


def slope_square(q: float) -> float:
    """E tanh'^2(sqrt(q) z) = E sech^4(sqrt(q) z)."""
    return gaussian_mean(lambda a: np.cosh(np.minimum(a, 100.0)) ** -4, q)


def gaussian_mean(function: Callable[[Array], Array], variance: float) -> float:
    """E function(sqrt(variance) z), to about 1e-12, for a function of arrays that is even and of order one.

    Gauss-Legendre quadrature over two intervals: from 0 to where tanh is 1 and sech^4 is zero to rounding, and from
    there to the end of the Gaussian. The nearest pole of tanh is i pi/2, so 128 points have an error below 1e-16.
    """
    scale = math.sqrt(variance)
    near = min(TAIL, 20.0 / scale) if scale > 0.0 else TAIL
    total = 0.0
    for low, high in ((0.0, near), (near, TAIL)):
        z = low + (high - low) * NODES
        total += (high - low) * float(WEIGHTS @ (function(scale * z) * np.exp(-0.5 * z * z)))
    return total * math.sqrt(2.0 / math.pi)


@check_arguments
def tanh_log_determinant(log_abs_det: float, a: Array) -> float:
    """(1/N) log |det W| + <log tanh'(a)>, the mean exponent (1/N) sum_i lambda_i along a trajectory of h = tanh(a).

    An identity for every N, exact along the same steps; -inf if W is singular.

    Args:
        log_abs_det: log |det W|, `numpy.linalg.slogdet(W)[1]`.
        a: (..., N) pre-activations arctanh(h_t): log tanh' = -2 log cosh a is accurate where 1 - h^2 is not.
    """
    a = np.abs(np.asarray(a, np.float64))
    log_cosh = a + np.log1p(np.exp(-2.0 * a)) - math.log(2.0)
    return float(log_abs_det / a.shape[-1] - 2.0 * log_cosh.mean())


def check_not_negative(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0.0):
            raise ConfigurationError(f"{name}={value}: must be a finite number >= 0")
