"""The contract of a penalty: a number that training adds to the loss, with its gradient.

    @dataclass(frozen=True)
    class SquaredWeights(Penalty):
        name = "squared_weights"

        def value_and_gradient(self, trace, loss):
            W = trace.params["W"]
            others = {name: np.zeros_like(trace.params[name]) for name in trace.cell.recurrent_parameters}
            return float((W * W).sum()), others | {"W": 2.0 * W}

A penalty is found by its name (`plugins.find("penalty", name)`). How strongly it counts, and at which updates, is said
by what trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import settle_fields
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array


class Penalty(ABC):
    """A function of a network on a batch; subclasses are frozen dataclasses and final.

    Attributes:
        name: what configurations call it.
        needs_loss: whether it depends on the loss; where it does not, None may be given.
    """

    name: ClassVar[str]
    needs_loss: ClassVar[bool] = False

    def __post_init__(self) -> None:
        settle_fields(self, "penalty.{}")

    @abstractmethod
    def value_and_gradient(self, trace: Trace, loss: Loss | Array | None) -> tuple[float, Params]:
        """The penalty and its gradient by the parameters of the recurrence.

        Args:
            trace: a forward pass.
            loss: as in `backward`.

        Returns:
            the value, without any factor; and the gradient, keyed by `Cell.recurrent_parameters`, each of the shape and
            dtype of that parameter.

        Raises:
            ConfigurationError: it does not serve the cell, or needs a loss.
        """

    def check(self, cell: Cell) -> None:  # noqa: B027  # nothing is refused by default
        """Refuses a cell that it does not serve, by name, before anything is computed."""

    def require_loss(self, loss: Loss | Array | None) -> Loss | Array:
        """The loss; refuses None."""
        if loss is None:
            raise ConfigurationError(f"penalty={self.name}: needs a loss")
        return loss


def complete_gradient(trace: Trace, known: Params) -> Params:
    """A gradient by all parameters of the recurrence in their dtype: zeros for those that are not known."""
    return {
        name: np.asarray(known.get(name, np.zeros(trace.params[name].shape)), trace.params[name].dtype)
        for name in trace.cell.recurrent_parameters
    }
