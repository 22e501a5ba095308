"""Truncation schemes. A new scheme is one class in this folder; it is found by its `name` (`bpttlab.plugins`)."""

from __future__ import annotations

from bpttlab.truncation.adaptive import Adaptive
from bpttlab.truncation.averaged import ChunkedMean, Random
from bpttlab.truncation.forward import RFLO, RTRL, UORO, SnAp
from bpttlab.truncation.scheme import Ensemble, Plan, Scheme, full_plan
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed

__all__ = [
    "RFLO",
    "RTRL",
    "UORO",
    "Adaptive",
    "Chunked",
    "ChunkedMean",
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
