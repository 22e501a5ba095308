"""Rates at which Jacobian products grow: natural logarithms per step, to be multiplied by the lag and laid beside
log ||P_{t, t-lag}||.
"""

from __future__ import annotations

import math

from bpttlab.fields import checked_arguments


@checked_arguments
def bound_rate(sigma_max: float, gamma: float) -> float:
    """log(gamma sigma_max(W)) with gamma = sup f' (`Activation.lipschitz`): no product grows faster, log ||P||_2
    <= lag x this.

    Valid always. Below 0 it suffices for vanishing; at or above 0 it is necessary for exploding, not sufficient.
    -inf where W = 0. Source: Pascanu, Mikolov & Bengio 2013, section 2.1.
    """
    return log(gamma * sigma_max)


@checked_arguments
def asymptote_rate(rho: float) -> float:
    """The rate log rho(W) at which powers of W grow: (1/lag) log ||W^lag|| tends to it (Gelfand's formula).

    Valid for the identity activation, and in the limit of long lags; met at once only by a normal W. For other
    activations the slopes f' <= gamma come in, and the measured rate may lie on either side. -inf where rho = 0.
    """
    return log(rho)


@checked_arguments
def relu_rate(gain: float) -> float:
    """1/2 log(g^2/2) of relu networks: half of the units are off, and log(||P||_F / sqrt(N)) grows by this a step.

    Valid for a Gaussian W of gain g, large N, lags far below N, and biases and inputs symmetric about zero. An on unit
    passes everything: ||P||_F over the sqrt(N/2) units that are on is larger by log(2)/2, at every lag. Critical at
    g = sqrt(2). Source: He et al. 2015, section 2.2, with one W in place of fresh ones.
    """
    return log(gain / math.sqrt(2.0))


def log(value: float) -> float:
    """Natural logarithm, -inf at 0."""
    return math.log(value) if value > 0 else -math.inf
