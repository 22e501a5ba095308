"""Growth rates of Jacobian products in nats per step: rate x lag compares with log ||P_{t, t-lag}||."""

from __future__ import annotations

import math

from bpttlab.fields import check_arguments


@check_arguments
def bound_rate(sigma_max: float, gamma: float) -> float:
    """log(gamma sigma_max(W)) with gamma = sup f' (`Activation.lipschitz`): log ||P||_2 <= lag x this rate.

    Always valid. Below 0 it suffices for vanishing. At or above 0 it is necessary for exploding, but not sufficient.
    -inf if W = 0. Source: Pascanu, Mikolov & Bengio 2013, section 2.1.
    """
    return log(gamma * sigma_max)


@check_arguments
def asymptote_rate(rho: float) -> float:
    """log rho(W), the growth rate of powers of W: (1/lag) log ||W^lag|| tends to it (Gelfand's formula).

    Valid for the identity activation in the limit of long lags; a normal W has it at every lag. For other activations
    the slopes f' <= gamma also matter, and the measured rate may be larger or smaller. -inf if rho = 0.
    """
    return log(rho)


@check_arguments
def relu_rate(gain: float) -> float:
    """1/2 log(g^2/2) of relu networks: half of the units are off, and log(||P||_F / sqrt(N)) grows by this a step.

    Valid for a Gaussian W of gain g, large N, lags far below N, and biases and inputs symmetric about zero. Over the
    sqrt(N/2) units that are on, ||P||_F is larger by log(2)/2 at every lag. Critical at g = sqrt(2). Source: He et al.
    2015, section 2.2, with one W in place of fresh ones.
    """
    return log(gain / math.sqrt(2.0))


def log(value: float) -> float:
    """Natural logarithm, -inf at 0."""
    return math.log(value) if value > 0 else -math.inf
