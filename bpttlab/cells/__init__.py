"""Recurrent units. A new cell is one file in this folder with one class; it is found by its `name`."""

from __future__ import annotations

from bpttlab.cells.base import Cell
from bpttlab.cells.elman import Elman
from bpttlab.cells.weights import Scales
from bpttlab.discovery import find

__all__ = ["Cell", "Elman", "Scales", "by_name"]


def by_name(name: str) -> type[Cell]:
    """The cell of that name, or a ConfigurationError that lists those there are."""
    return find(__name__, Cell, name)
