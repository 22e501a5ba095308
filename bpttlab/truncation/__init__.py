"""Truncation schemes. A new scheme is one class in this folder; it is found by its `name`."""

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
    "named_schemes",
]


def named_schemes() -> dict[str, type[Scheme]]:
    """The schemes that a configuration may name."""
    known: dict[str, type[Scheme]] = {}
    kinds = [Scheme]
    while kinds:
        kind = kinds.pop(0)
        kinds += kind.__subclasses__()
        if "name" in vars(kind):
            known[kind.name] = kind
    return known
