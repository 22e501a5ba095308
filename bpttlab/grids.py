"""Which lags to report: a few, spread evenly in their logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_spaced(last: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """About `count` distinct integers from 0 to `last`, dense at the start, both ends among them.

    Small lags come one by one until the logarithmic spacing is wider than one; `count` is met exactly where last + 1
    integers or more are there.
    """
    if last + 1 <= count:
        return np.arange(last + 1)
    wanted = count
    while True:  # rounding merges the smallest ones, so ask for more until enough are distinct
        grid = np.unique(np.concatenate([[0], np.round(np.geomspace(1, last, wanted))])).astype(np.int64)
        if len(grid) >= count or wanted > 50 * count:
            return grid
        wanted += 1
