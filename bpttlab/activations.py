"""The non-linearities f_h and f_y of the notes, each with its derivative beside it.

The derivative is written in h = f(a), the value that the forward pass keeps anyway, so that no pre-activation has to be
stored. Where a unit is saturated, 1 - h*h has the relative accuracy that the stored h leaves it; every backward pass on
one trajectory shares it, and so do the frameworks that this laboratory is compared with.

All accept complex arguments, which is what the complex step of `checking` needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError, nearest

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Activation:
    """A function f, its derivative written in h = f(a), and what theory needs to know of it.

    Attributes:
        largest_slope: sup f', the gamma of the product bound.
        analytic: whether the complex step gives its derivative (relu has a kink).
    """

    name: str
    function: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    largest_slope: float
    analytic: bool = True


def tanh(a: Array) -> Array:
    return np.tanh(a)


def tanh_slope(h: Array) -> Array:
    return 1.0 - h * h


def logistic(a: Array) -> Array:
    right = np.real(a) >= 0
    decay = np.exp(np.where(right, -a, a))  # never overflows: the exponent has a real part <= 0
    return np.where(right, 1.0, decay) / (1.0 + decay)


def logistic_slope(h: Array) -> Array:
    return h * (1.0 - h)


def relu(a: Array) -> Array:
    return np.where(np.real(a) > 0, a, np.zeros_like(a))


def relu_slope(h: Array) -> Array:
    return (np.real(h) > 0).astype(h.dtype)  # 0 at the kink itself


def softplus(a: Array) -> Array:
    """log(1 + e^a) = max(a, 0) + log(1 + e^-|a|), which neither overflows nor loses small values.

    log(1 + z) is 2 artanh(z / (2 + z)): NumPy's log1p of a complex number rounds a small z away.
    """
    right = np.real(a) >= 0
    decay = np.exp(np.where(right, -a, a))
    return np.where(right, a, 0.0) + 2.0 * np.arctanh(decay / (2.0 + decay))


def softplus_slope(h: Array) -> Array:
    return -np.expm1(-h)  # 1 - e^-h = logistic(a), exact to rounding for small h too


def identity(a: Array) -> Array:
    return a


def identity_slope(h: Array) -> Array:
    return np.ones_like(h)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("tanh", tanh, tanh_slope, largest_slope=1.0),
        Activation("relu", relu, relu_slope, largest_slope=1.0, analytic=False),
        Activation("logistic", logistic, logistic_slope, largest_slope=0.25),
        Activation("softplus", softplus, softplus_slope, largest_slope=1.0),
        Activation("identity", identity, identity_slope, largest_slope=1.0),
    )
}


def by_name(name: str) -> Activation:
    """The activation of that name.

    Raises:
        ConfigurationError: there is none; the message lists those there are.
    """
    if name not in ACTIVATIONS:
        raise ConfigurationError(
            f"activation={name!r}: must be one of {', '.join(ACTIVATIONS)}.{nearest(name, ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]
