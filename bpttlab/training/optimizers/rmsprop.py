"""RMSprop: a gradient divided by the root of the running mean of its square (Tieleman & Hinton 2012; Graves 2013)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.cells.cell import Params
from bpttlab.training.optimizers.optimizer import Optimizer, OptimizerState, WeightDecay, add_decay, make_slot


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """The gradient in units of its running root mean square (`torch.optim.RMSprop`).

        v <- alpha v + (1 - alpha) g^2,   s = sqrt(v) + eps
        theta <- theta - learning_rate d,  d = g / s, or with momentum b <- momentum b + g / s and d = b

    With `centered` the square of the running mean of g is subtracted from v before the root is taken.
    """

    name: ClassVar[str] = "rmsprop"
    elementwise: ClassVar[bool] = True
    usual_learning_rate: ClassVar[float] = 1e-2

    alpha: Annotated[float, Field(ge=0, lt=1, description="factor of the running mean of squares")] = 0.99
    eps: Annotated[float, Field(ge=0, description="added to the root")] = 1e-8
    momentum: Annotated[float, Field(ge=0, lt=1, description="factor of the running sum of steps; 0: none")] = 0.0
    centered: Annotated[bool, Field(description="the variance of the gradient in place of its mean square")] = False
    weight_decay: WeightDecay = 0.0

    def init(self, params: Params) -> OptimizerState:
        slots = ["square", *(["momentum"] if self.momentum else []), *(["mean"] if self.centered else [])]
        return OptimizerState(0, {slot: make_slot(params) for slot in slots})

    def update(
        self, params: Params, gradient: Params, state: OptimizerState, learning_rate: float
    ) -> tuple[Params, OptimizerState]:
        gradient = add_decay(params, gradient, self.weight_decay)
        slots: dict[str, Params] = {slot: {} for slot in state.slots}
        moved: Params = {}
        for name, value in params.items():
            g, before = gradient[name], {slot: arrays[name] for slot, arrays in state.slots.items()}
            square = self.alpha * before["square"] + (1.0 - self.alpha) * (g * g)
            slots["square"][name] = square
            if self.centered:
                mean = self.alpha * before["mean"] + (1.0 - self.alpha) * g
                slots["mean"][name] = mean
                square = np.maximum(square - mean * mean, 0.0)  # rounding may leave less than nothing
            step = g / (np.sqrt(square) + self.eps)
            if self.momentum:
                step = self.momentum * before["momentum"] + step
                slots["momentum"][name] = step
            moved[name] = value - learning_rate * step
        return moved, OptimizerState(state.updates + 1, slots)
