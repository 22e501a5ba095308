"""The gradient clipped before an update: by its norm over all parameters together, or entry by entry.

No square overflows or becomes 0: norms come from numbers divided by the largest of them where that is needed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bpttlab.fields import real_number
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array

PYTORCH_EPS = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm."""

SAFE_SQUARES = 1e-280, 1e280
"""Sums of squares within these limits have neither overflowed nor lost digits."""


class ClippedGradient(NamedTuple):
    """A gradient after clipping.

    Attributes:
        gradient: keyed like the parameters; the arrays that were given, if nothing was clipped.
        log_norm: log of the norm of all entries before clipping; -inf: all are 0; NaN: some are not finite.
        clipped: whether anything was changed.
    """

    gradient: Params
    log_norm: float
    clipped: bool


class Norm(NamedTuple):
    """A norm as size x unit: the size neither overflows nor underflows, and neither does their logarithm."""

    size: float
    unit: float

    @property
    def log(self) -> float:
        """-inf of zero, NaN where an entry is not finite."""
        if not math.isfinite(self.size) or not math.isfinite(self.unit):
            return math.nan
        return math.log(self.size) + math.log(self.unit) if self.size > 0 else -math.inf


def global_norm(gradient: Params) -> Norm:
    """The Euclidean norm of all entries of all parameters."""
    square = sum_of_squares(gradient, 1.0)
    if SAFE_SQUARES[0] < square < SAFE_SQUARES[1]:
        return Norm(math.sqrt(square), 1.0)
    largest = max((float(np.max(np.abs(value), initial=0.0)) for value in gradient.values()), default=0.0)
    if largest == 0.0 or not math.isfinite(largest):
        return Norm(largest, 1.0)
    unit = 2.0 ** (math.frexp(largest)[1] - 1)  # at most the largest finite number
    return Norm(math.sqrt(sum_of_squares(gradient, unit)), unit)


def sum_of_squares(gradient: Params, unit: float) -> float:
    """Of all entries, each divided by `unit`; in float64, whatever the dtype."""
    total = 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for value in gradient.values():
            flat = value.ravel().astype(np.float64, copy=False)
            flat = flat if unit == 1.0 else flat / unit
            total += float(np.dot(flat, flat))
    return total


def clip_gradient_norm(gradient: Params, max_norm: float, norm: Norm | None = None) -> ClippedGradient:
    """The gradient times min(1, max_norm / (norm + 1e-6)), as `torch.nn.utils.clip_grad_norm_` does.

    Args:
        gradient: keyed like the parameters.
        max_norm: > 0, of all parameters together.
        norm: of the gradient, where it is known.

    Raises:
        ConfigurationError: max_norm is not a finite number > 0.
    """
    bound, norm = check_bound("clip_norm", max_norm), global_norm(gradient) if norm is None else norm
    if math.isnan(norm.log):
        return ClippedGradient(gradient, norm.log, False)
    factor = bound / norm.unit / (norm.size + PYTORCH_EPS / norm.unit)
    if factor >= 1.0:
        return ClippedGradient(gradient, norm.log, False)
    if factor > np.finfo(np.float64).tiny:
        return ClippedGradient({name: value * factor for name, value in gradient.items()}, norm.log, True)
    shrunk = {name: (value / norm.unit) * (bound / norm.size) for name, value in gradient.items()}
    return ClippedGradient(shrunk, norm.log, True)


def clip_gradient_value(gradient: Params, max_value: float) -> ClippedGradient:
    """Every entry to [-max_value, max_value], as `torch.nn.utils.clip_grad_value_` does.

    Raises:
        ConfigurationError: max_value is not a finite number > 0.
    """
    bound, log_norm = check_bound("clip_value", max_value), global_norm(gradient).log
    clipped = {name: bound_entries(value, bound) for name, value in gradient.items()}
    changed = any(clipped[name] is not value for name, value in gradient.items())
    return ClippedGradient(clipped, log_norm, changed)


def bound_entries(values: Array, bound: float) -> Array:
    """Entries within the bounds; the array itself where all are."""
    within = bool((np.abs(values) <= bound).all())
    return values if within else np.clip(values, -bound, bound)


def check_bound(field: str, bound: float) -> float:
    return real_number(field, bound, "a finite number > 0", lambda number: 0 < number < math.inf)
