"""The regime of a network: growth over a whole sequence in one word.

The word depends on log_growth = log(||P_{T,0}||_F / sqrt N) only. The asymptotic rate of products is another number:
transients and a finite T can differ from it.
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
