"""Penalties that training adds to a loss. A new one is one file in this folder with one class; it is found by its
`name`.
"""

from __future__ import annotations

from bpttlab.training.penalties.flossing import Flossing
from bpttlab.training.penalties.omega import Omega, OmegaOfTheCode
from bpttlab.training.penalties.penalty import Penalty

__all__ = ["Flossing", "Omega", "OmegaOfTheCode", "Penalty"]
