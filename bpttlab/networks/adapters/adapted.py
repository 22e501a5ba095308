"""A network that was given as an object: its functions are fields of the cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bpttlab.networks.adapters.adapter import Adapter
from bpttlab.networks.adapters.row_functions import RowFunctions
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.initializers import Initializer
from bpttlab.networks.pretrained import Network


@dataclass(frozen=True, eq=False)
class AdaptedNetwork(Adapter):
    """The cell that `from_torch` and `from_jax` return; equal to itself alone.

    Attributes:
        row_functions: step and readout with their derivatives.
    """

    name: ClassVar[str] = "adapted"

    input_size: int
    hidden_size: int
    output_size: int
    row_functions: RowFunctions = field(repr=False)
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        """Nothing is left to check: the sizes are those that the functions have."""

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """The weights that were given."""
        self.check_initializer(initializer)
        self.check_scales(scales)
        return {name: self.row_functions.values[name].astype(np.float64) for name in self.parameter_shapes()}

    def draw_readout(self, rng: np.random.Generator, scales: Scales) -> Params:
        return {}


def make_network(kind: type[AdaptedNetwork], input_size: int, functions: RowFunctions, dtype: str) -> Network:
    """A cell of these functions, and its parameters in that dtype."""
    first = next(iter(functions.parts.values()))
    cell = kind(input_size, first.stop - first.start, functions.output_size, functions)
    return Network(cell, {name: functions.values[name].astype(dtype) for name in cell.parameter_shapes()})
