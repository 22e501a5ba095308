"""When two exact ways to one result agree: the largest difference, in units of the largest number.

An absolute tolerance is never used: it would accept a vanished gradient that is five times too large. An
element-by-element tolerance relative to the result is not used either: correct code cannot meet it where terms cancel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpttlab.numerics.array import Array

AGREEMENT = 1e-12
"""Between two exact algorithms in float64; scales with the machine epsilon of other dtypes."""


def agreement(dtype: Any) -> float:
    """The agreement tolerance for numbers of that dtype: 1e-12 in float64, 5e-4 in float32."""
    return float(AGREEMENT * np.finfo(dtype).eps / np.finfo(np.float64).eps)


def disagreement(one: Array, other: Array) -> float:
    """max|one - other| / max|other|; zero if both are zero, infinite if only the other is."""
    one, other = np.asarray(one), np.asarray(other)
    difference, size = float(np.abs(one - other).max(initial=0.0)), float(np.abs(other).max(initial=0.0))
    if difference == 0.0:
        return 0.0
    return difference / size if size > 0.0 else np.inf
