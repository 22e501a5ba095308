"""The contract of an optimizer: what it keeps between two updates, and one update.

Both methods are pure: the state is passed and returned, and no array that is given is changed. So a state can be kept,
compared and stored, and an update can be repeated.

A new optimizer is one class in this folder, or in a file of a user's own; it is found by its `name`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field, settle_fields
from bpttlab.networks.cells.cell import Params


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer keeps between two updates: plain arrays, which a checkpoint stores.

    Attributes:
        updates: how many updates were done.
        slots: arrays like the parameters, by name: the momentum, the mean of squared gradients, ...
    """

    updates: int = 0
    slots: Mapping[str, Params] = field(default_factory=dict)


@dataclass(frozen=True)
class Optimizer(ABC):
    """One way to move parameters along a gradient.

    Attributes:
        name: what configurations call it.
        elementwise: whether each number moves by itself. Then training may give it all parameters as one vector, which
            takes fewer calls. If an optimizer looks at a whole matrix, at a norm or at names, it must be False.
        usual_learning_rate: the default of PyTorch, as a first guess.
    """

    name: ClassVar[str]
    elementwise: ClassVar[bool] = False
    usual_learning_rate: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        settle_fields(self, "optimizer.{}")

    def init(self, params: Params) -> OptimizerState:
        """The state before the first update; without arrays by default."""
        return OptimizerState()

    @abstractmethod
    def update(
        self, params: Params, gradient: Params, state: OptimizerState, learning_rate: float
    ) -> tuple[Params, OptimizerState]:
        """The parameters and the state after one update.

        Args:
            params, gradient: have the same names and shapes.
            state: of `init`, or of the last update.
            learning_rate: of this update.
        """


WeightDecay = Annotated[
    float, Field(ge=0, description="lambda; lambda times the parameter is added to its gradient (L2 penalty)")
]


def make_slot(params: Params) -> Params:
    """An array of zeros for each parameter."""
    return {name: np.zeros_like(value) for name, value in params.items()}


def add_decay(params: Params, gradient: Params, weight_decay: float) -> Params:
    """The gradient of the loss and of weight_decay / 2 times the squared norm of all parameters."""
    if not weight_decay:
        return gradient
    return {name: gradient[name] + weight_decay * value for name, value in params.items()}
