"""The non-linearities f_h and f_y of the notes, each with its derivatives beside it.

The derivative is a function of the pre-activation a. In terms of the value h = f(a) it would lose its digits, and then
vanish, where a unit is saturated: tanh(20) rounds to 1, but tanh'(20) = 1.7e-17 is not 1 - 1 = 0. (relu and identity do
not saturate. Their derivative can be read off h as well, and no a has to be computed for it.)

`slope` is zero where f' is below the smallest normal number of the dtype; `log_slope` has no such limit.

The functions accept complex arguments, which is what the complex step of `checking` needs; the slopes are of real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Activation:
    """A function f, its derivative f', and what theory needs to know of it.

    Attributes:
        slope: f'(a), to rounding; zero where it is below the smallest normal number of the dtype.
        log_slope: log f'(a), of any size; -inf is exactly zero (relu).
        lipschitz: sup f', the gamma of the product bound.
        saturates: whether f' tends to zero without being zero. Only then `slope` has to be given a; where false it
            says the same of h = f(a).
        analytic: whether the complex step gives its derivative (relu has a kink).
        curvature: f''(a), always of a; None: not known, and what needs second derivatives refuses it.
    """

    name: str
    function: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    log_slope: Callable[[Array], Array]
    lipschitz: float
    saturates: bool = True
    analytic: bool = True
    curvature: Callable[[Array], Array] | None = None

    def underflows(self, a: Array) -> int:
        """How many of the derivatives at a, of any shape, are not zero, but below the smallest normal number."""
        if not self.saturates:
            return 0
        return int(np.count_nonzero(self.log_slope(a.astype(np.float64)) < np.log(np.finfo(a.dtype).tiny)))


def _decay(a: Array) -> Array:
    """e^-|a|, a new array."""
    size = np.abs(np.asarray(a))
    return np.exp(np.negative(size, out=size), out=size) if size.ndim else np.asarray(np.exp(-size))


def flush(slope: Array) -> Array:
    """Zero in place of denormal numbers, which have lost digits and are slow to compute with."""
    slope = np.asarray(slope)
    small = slope < np.finfo(slope.dtype).tiny
    if small.any():
        slope[small] = 0.0
    return slope


def _tanh(a: Array) -> Array:
    return np.tanh(a)


def tanh_slope(a: Array) -> Array:
    """1 / cosh(a)^2 = (2 e^-|a| / (1 + e^-2|a|))^2"""
    root = _decay(a)
    below = root * root
    below += 1.0
    root *= 2.0
    root /= below
    root *= root
    return flush(root)


def tanh_curvature(a: Array) -> Array:
    """-2 tanh(a) tanh'(a), of which the second factor keeps its digits where a unit is saturated."""
    return -2.0 * np.tanh(a) * tanh_slope(a)


def tanh_log_slope(a: Array) -> Array:
    size = np.abs(a)
    with np.errstate(over="ignore"):  # of a float's range: the slope is 0
        return 2.0 * (np.log(2.0) - size - np.log1p(np.exp(-2.0 * size)))


def logistic(a: Array) -> Array:
    right = np.real(a) >= 0
    decay = np.exp(np.where(right, -a, a))  # never overflows: the exponent has a real part <= 0
    return np.where(right, 1.0, decay) / (1.0 + decay)


def logistic_slope(a: Array) -> Array:
    """sigma(a) sigma(-a) = e^-|a| / (1 + e^-|a|)^2"""
    slope = _decay(a)
    below = slope + 1.0
    below *= below
    slope /= below
    return flush(slope)


def logistic_curvature(a: Array) -> Array:
    """sigma'(a) (1 - 2 sigma(a)) = -sigma'(a) tanh(a/2), without the cancellation near a = 0."""
    return -logistic_slope(a) * np.tanh(0.5 * a)


def logistic_log_slope(a: Array) -> Array:
    size = np.abs(a)
    return -size - 2.0 * np.log1p(np.exp(-size))


def relu(a: Array) -> Array:
    return np.where(np.real(a) > 0, a, np.zeros_like(a))


def relu_slope(a: Array) -> Array:
    return (a > 0).astype(a.dtype)  # 0 at the kink itself


def relu_log_slope(a: Array) -> Array:
    return np.where(a > 0, 0.0, -np.inf)


def softplus(a: Array) -> Array:
    """log(1 + e^a) = max(a, 0) + log(1 + e^-|a|), which neither overflows nor loses small values.

    log(1 + z) is 2 artanh(z / (2 + z)): NumPy's log1p of a complex number rounds a small z away.
    """
    right = np.real(a) >= 0
    decay = np.exp(np.where(right, -a, a))
    return np.where(right, a, 0.0) + 2.0 * np.arctanh(decay / (2.0 + decay))


def softplus_slope(a: Array) -> Array:
    return flush(logistic(a))


def softplus_log_slope(a: Array) -> Array:
    return np.minimum(a, 0.0) - np.log1p(np.exp(-np.abs(a)))


def _identity(a: Array) -> Array:
    return a


def identity_slope(a: Array) -> Array:
    return np.ones_like(a)


def identity_log_slope(a: Array) -> Array:
    return np.zeros_like(a)


def no_curvature(a: Array) -> Array:
    """Of identity, and of relu, whose kink has no second derivative and counts as none."""
    return np.zeros_like(a)


TANH = Activation("tanh", _tanh, tanh_slope, tanh_log_slope, lipschitz=1.0, curvature=tanh_curvature)
RELU = Activation(
    "relu", relu, relu_slope, relu_log_slope, lipschitz=1.0, saturates=False, analytic=False, curvature=no_curvature
)
LOGISTIC = Activation(
    "logistic", logistic, logistic_slope, logistic_log_slope, lipschitz=0.25, curvature=logistic_curvature
)
SOFTPLUS = Activation("softplus", softplus, softplus_slope, softplus_log_slope, lipschitz=1.0, curvature=logistic_slope)
IDENTITY = Activation(
    "identity", _identity, identity_slope, identity_log_slope, lipschitz=1.0, saturates=False, curvature=no_curvature
)

ACTIVATIONS = {activation.name: activation for activation in (TANH, RELU, LOGISTIC, SOFTPLUS, IDENTITY)}
"""Those that come with bpttlab, by name."""


def activation_names() -> Collection[str]:
    """The activations that there are: the shipped ones in their order, then a user's own."""
    return plugins.Names("activation")


ActivationName = Annotated[str, Field(choices=activation_names, description="f_h")]


def find_activation(name: str) -> Activation:
    """The activation of that name.

    Raises:
        ConfigurationError: there is none; the message lists those there are.
    """
    found: Activation = ACTIVATIONS.get(name) or plugins.find("activation", name)
    return found


def find_curvature(name: str) -> Callable[[Array], Array]:
    """f'' of the activation of that name.

    Raises:
        ConfigurationError: it states none.
    """
    found = find_activation(name).curvature
    if found is None:
        raise ConfigurationError(f"activation={name!r}: has no second derivative; give its Activation a curvature")
    return found
