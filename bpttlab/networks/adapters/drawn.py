"""What cells of a person's own file that another library computes have in common: a module that a seed draws."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.networks.adapters.adapter import Adapter
from bpttlab.networks.adapters.row_functions import RowFunctions
from bpttlab.networks.adapters.trials import ReadFunction
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Params
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.initializers import Initializer


@dataclass(frozen=True)
class DrawnAdapter(Adapter):
    """A cell with fields, whose weights a seed draws; subclasses are frozen dataclasses with a name."""

    input_size: int
    hidden_size: Annotated[int, HIDDEN_SIZE]
    output_size: int
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        functions = self.row_functions
        if functions.output_size:
            self.check_own_readout(functions)
        elif functions.state_size < self.hidden_size:
            raise ConfigurationError(
                f"cell.hidden_size={self.hidden_size}: the state of '{self.name}' has {functions.state_size} numbers, "
                "and the readout sees the first hidden_size of them; define predict, or give a larger state"
            )

    def check_own_readout(self, functions: RowFunctions) -> None:
        """Refuses predictions of another size than the task needs, and a second function of them."""
        if functions.output_size != self.output_size:
            raise ConfigurationError(
                f"cell={self.name}: predict returns {functions.output_size} outputs, and the task has "
                f"{self.output_size}: must be self.output_size"
            )
        if self.output_activation != "identity":
            raise ConfigurationError(
                f"cell.output_activation={self.output_activation}: of '{self.name}' must be identity, for predict "
                "returns the predictions"
            )

    @abstractmethod
    def draw_values(self, seed: int) -> Params:
        """All parameters of a network that the seed draws."""

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """In float64, as the library draws them; with those of a readout of its own."""
        self.check_initializer(initializer)
        self.check_scales(scales)
        drawn = self.draw_values(int(rng.integers(2**31)))
        return {name: drawn[name].astype(np.float64) for name in (*self.shapes(), *self.row_functions.readout_shapes)}

    def draw_readout(self, rng: np.random.Generator, scales: Scales) -> Params:
        """U and b_y, where predict is not defined."""
        return {} if not self.has_linear_readout else super().draw_readout(rng, scales)

    def own_reader(self) -> ReadFunction | None:
        """`predict` of the class, if it defines one."""
        return None if type(self).predict is DrawnAdapter.predict else self.predict

    def predict(self, weights: Any, state: Any) -> Any:
        """Optional: y_t from the module, or the parameters, and the state."""
        raise NotImplementedError
