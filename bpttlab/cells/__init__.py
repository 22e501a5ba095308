"""Recurrent units. A new cell is one file in this folder with one class; it is found by its `name`."""

from __future__ import annotations

from bpttlab.cells.antisymmetric import Antisymmetric
from bpttlab.cells.base import Cell
from bpttlab.cells.diagonal import Diagonal
from bpttlab.cells.elman import Elman
from bpttlab.cells.gru import GRU
from bpttlab.cells.leaky import Leaky
from bpttlab.cells.lstm import LSTM
from bpttlab.cells.minimal_rnn import MinimalRNN
from bpttlab.cells.orthogonal import OrthogonalElman
from bpttlab.cells.stacked import Stacked
from bpttlab.cells.weights import Scales
from bpttlab.discovery import find

__all__ = [
    "GRU",
    "LSTM",
    "Antisymmetric",
    "Cell",
    "Diagonal",
    "Elman",
    "Leaky",
    "MinimalRNN",
    "OrthogonalElman",
    "Scales",
    "Stacked",
    "by_name",
]


def by_name(name: str) -> type[Cell]:
    """The cell of that name, or a ConfigurationError that lists those there are."""
    return find(__name__, Cell, name)
