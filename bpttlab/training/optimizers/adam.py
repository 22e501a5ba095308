"""Adam: running means of the gradient and of its square, without the bias of their start (Kingma & Ba 2015)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.cells.cell import Params
from bpttlab.training.optimizers.optimizer import Optimizer, OptimizerState, WeightDecay, add_decay, make_slot


@dataclass(frozen=True)
class AdamMoments(Optimizer):
    """What Adam and AdamW have in common (`torch.optim.Adam`), at update u:

        m <- beta_1 m + (1 - beta_1) g,   v <- beta_2 v + (1 - beta_2) g^2
        theta <- theta - learning_rate / (1 - beta_1^u) m / (sqrt(v) / sqrt(1 - beta_2^u) + eps)

    With `amsgrad` the largest v of all updates stands in place of the last one (Reddi, Kale & Kumar 2018).
    """

    elementwise: ClassVar[bool] = True

    beta_1: Annotated[float, Field(ge=0, lt=1, description="factor of the running mean of gradients")] = 0.9
    beta_2: Annotated[float, Field(ge=0, lt=1, description="factor of the running mean of squares")] = 0.999
    eps: Annotated[float, Field(ge=0, description="added to the root of the mean square")] = 1e-8
    amsgrad: Annotated[bool, Field(description="the largest mean square so far in place of the last one")] = False

    def init(self, params: Params) -> OptimizerState:
        slots = ["mean", "square", *(["largest"] if self.amsgrad else [])]
        return OptimizerState(0, {slot: make_slot(params) for slot in slots})

    def move(
        self, params: Params, gradient: Params, state: OptimizerState, learning_rate: float
    ) -> tuple[Params, OptimizerState]:
        """One update by the equations above."""
        updates = state.updates + 1
        rate, root = learning_rate / (1.0 - self.beta_1**updates), math.sqrt(1.0 - self.beta_2**updates)
        slots: dict[str, Params] = {slot: {} for slot in state.slots}
        moved: Params = {}
        for name, value in params.items():
            g = gradient[name]
            mean = self.beta_1 * state.slots["mean"][name]
            mean += (1.0 - self.beta_1) * g
            square = self.beta_2 * state.slots["square"][name]
            square += (1.0 - self.beta_2) * (g * g)
            slots["mean"][name], slots["square"][name] = mean, square
            if self.amsgrad:
                square = np.maximum(state.slots["largest"][name], square)
                slots["largest"][name] = square
            scale = np.sqrt(square)
            scale /= root
            scale += self.eps
            moved[name] = value - rate * (mean / scale)
        return moved, OptimizerState(updates, slots)


@dataclass(frozen=True)
class Adam(AdamMoments):
    """Adam; `weight_decay` adds to the gradient, so that it is divided like the gradient (see `AdamW`)."""

    name: ClassVar[str] = "adam"

    weight_decay: WeightDecay = 0.0

    def update(
        self, params: Params, gradient: Params, state: OptimizerState, learning_rate: float
    ) -> tuple[Params, OptimizerState]:
        return self.move(params, add_decay(params, gradient, self.weight_decay), state, learning_rate)
