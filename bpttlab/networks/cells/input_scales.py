"""The weights beside W: Gaussian, with a stated standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bpttlab.fields import Field, settle_fields
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Scales:
    """How large everything but W is."""

    V: Annotated[
        float,
        Field(ge=0, description="standard deviation of entries of V, times sqrt(I)"),
    ] = 1.0
    b: Annotated[float, Field(ge=0, description="standard deviation of entries of b_h and b_y")] = 0.0
    U: Annotated[float, Field(ge=0, description="standard deviation of entries of U, times sqrt(N)")] = 1.0
    x: Annotated[float, Field(ge=0, description="factor on every input; 0: the network runs on its own")] = 1.0
    h_0: Annotated[float, Field(ge=0, description="standard deviation of entries of the initial state")] = 0.0

    def __post_init__(self) -> None:
        settle_fields(self, "scales.{}")


def gaussian(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Entries N(0, scale^2 / fan_in), fan_in the length of the last axis of a matrix, 1 for a vector."""
    fan_in = shape[-1] if len(shape) > 1 else 1
    return rng.standard_normal(shape) * (scale / math.sqrt(fan_in))
