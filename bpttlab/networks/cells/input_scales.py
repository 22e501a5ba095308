"""The weights beside W: Gaussian, with a stated standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import settle_fields
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Scales:
    """How large everything but W is.

    Attributes:
        V: entries of V have standard deviation V / sqrt(I), so that V x has the variance of x times V^2.
        b: entries of b_h and b_y have standard deviation b.
        U: entries of U have standard deviation U / sqrt(N).
        x: factor on the task's input; 0 leaves a network to itself.
        h_0: entries of the initial state have standard deviation h_0.
    """

    V: float = 1.0
    b: float = 0.0
    U: float = 1.0
    x: float = 1.0
    h_0: float = 0.0

    def __post_init__(self) -> None:
        settle_fields(self, "scales.{}")
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(f"scales.{field.name}={value}: must be a finite number >= 0")


def gaussian(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Entries N(0, scale^2 / fan_in), fan_in the length of the last axis of a matrix, 1 for a vector."""
    fan_in = shape[-1] if len(shape) > 1 else 1
    return rng.standard_normal(shape) * (scale / math.sqrt(fan_in))
