"""Layer normalisation within a step, and its derivative.

    a_hat = (a - mean a) / sqrt(var a + epsilon)          mean and variance over the units of one step and sequence

The derivative takes out what a shift or a factor of all units would do: with r = 1 / sqrt(var a + epsilon),
da = r (da_hat - mean da_hat - a_hat mean(da_hat . a_hat)). At a = 0 it is the centring times 1 / sqrt(epsilon).

Index legend: N units; `...` any leading axes.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from bpttlab.fields import Field
from bpttlab.numerics.array import Array

Epsilon = Annotated[float, Field(gt=0, description="added to the variance over units")]
"""The field of cells with layer normalisation."""


def normalise_units(a: Array, epsilon: float) -> tuple[Array, Array]:
    """a_hat, and r.  (...,N) -> (...,N), (...,1)"""
    centred = a - a.mean(axis=-1, keepdims=True)
    r = 1.0 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
    return centred * r, r


def normalise_units_vjp(a_hat: Array, r: Array, da_hat: Array) -> Array:
    """Cotangent of a from that of a_hat.  (...,N), (...,1), (...,N) -> (...,N)"""
    along = (da_hat * a_hat).mean(axis=-1, keepdims=True)
    return r * (da_hat - da_hat.mean(axis=-1, keepdims=True) - a_hat * along)
