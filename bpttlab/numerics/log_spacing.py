"""Which lags to report: a few, spread evenly in their logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_spacing(last: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """`count` distinct integers from 0 to `last` (all of them, where there are no more), both ends among them.

    They are spread evenly in their logarithm, one by one at the start.

    Args:
        last: >= 0.
        count: >= 3.
    """
    if last + 1 <= count:
        return np.arange(last + 1)
    wanted = count - 1
    while True:  # rounding merges the smallest ones, so ask for more until enough are distinct
        grid = np.unique(np.concatenate([[0], np.round(np.geomspace(1, last, wanted))])).astype(np.int64)
        if len(grid) >= count:
            return grid
        wanted += 1
