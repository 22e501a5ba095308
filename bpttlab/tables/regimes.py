"""What is left of a gradient over a whole sequence, in a word.

The word is about log_growth = log(||P_{T,0}||_F / sqrt N), and about nothing else: the rate at which products grow or
decay in the end says little of what the lags before it, or a finite T, make of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

REGIMES = ("vanishing", "exploding", "critical", "undecided")
E_FOLD = 1.0
"""Nats: a product that changed by less than a factor e over the sequence is critical."""


def regime(low: Any, high: Any) -> np.ndarray:
    """The regime of each interval [low, high] of log_growth; without an interval (NaN) it is undecided.

    vanishing: high < -1; exploding: low > 1; critical: all of it within [-1, 1]; undecided: anything else.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    conditions = [high < -E_FOLD, low > E_FOLD, (low >= -E_FOLD) & (high <= E_FOLD)]
    return np.select(conditions, REGIMES[:3], default=REGIMES[3])
