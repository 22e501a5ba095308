"""Truncation schemes: one class each, found by its `name` (`bpttlab.plugins`). A scheme gives a gradient and estimates
its bias.
"""

from __future__ import annotations

from bpttlab.gradients.plan import Ensemble, Plan, full_plan
from bpttlab.truncation.adaptive import Adaptive
from bpttlab.truncation.averaged import ChunkedMean, Random
from bpttlab.truncation.clipped import Clipped
from bpttlab.truncation.forward import RFLO, RTRL, UORO, SnAp
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed

__all__ = [
    "RFLO",
    "RTRL",
    "UORO",
    "Adaptive",
    "Chunked",
    "ChunkedMean",
    "Clipped",
    "Ensemble",
    "Full",
    "PerLoss",
    "Plan",
    "Random",
    "Scheme",
    "SnAp",
    "Windowed",
    "full_plan",
]
