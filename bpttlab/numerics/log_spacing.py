"""The lags to report: a few, evenly spaced in their logarithm."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np


def log_spacing(last: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """`count` distinct integers from 0 to `last`, both ends included; all integers if there are fewer than `count`.

    They are evenly spaced in their logarithm. At the start they are consecutive.

    Args:
        last: >= 0.
        count: >= 3.
    """
    return np.array(_space(last, count), np.int64)


@lru_cache(maxsize=256)
def _space(last: int, count: int) -> tuple[int, ...]:
    if last + 1 <= count:
        return tuple(range(last + 1))
    wanted = count - 1
    while True:  # rounding merges the smallest ones, so ask for more until enough are distinct
        grid = np.unique(np.concatenate([[0], np.round(np.geomspace(1, last, wanted))])).astype(np.int64)
        if len(grid) >= count:
            return tuple(grid.tolist())
        wanted += 1
