"""Stochastic gradient descent with momentum (Polyak 1964; Nesterov 1983, in the form of Sutskever et al. 2013)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.networks.cells.cell import Params
from bpttlab.training.optimizers.optimizer import Optimizer, OptimizerState, WeightDecay, add_decay, make_slot


@dataclass(frozen=True)
class SGD(Optimizer):
    """Steps against the gradient, or against its running sum b (`torch.optim.SGD`).

    b <- momentum b + (1 - dampening) g      (b = g at the first update)
    theta <- theta - learning_rate d,  d = b, or g + momentum b with nesterov; g without momentum
    """

    name: ClassVar[str] = "sgd"
    elementwise: ClassVar[bool] = True

    momentum: Annotated[float, Field(ge=0, lt=1, description="factor of the running sum of gradients; 0: none")] = 0.0
    dampening: Annotated[float, Field(ge=0, le=1, description="1 - dampening is the factor of a new gradient")] = 0.0
    nesterov: Annotated[bool, Field(description="the step looks ahead along the running sum")] = False
    weight_decay: WeightDecay = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ConfigurationError(
                f"optimizer.nesterov=True: needs a momentum > 0 and a dampening of 0, "
                f"not {self.momentum:g} and {self.dampening:g}"
            )

    def update(
        self, params: Params, gradient: Params, state: OptimizerState, learning_rate: float
    ) -> tuple[Params, OptimizerState]:
        gradient = add_decay(params, gradient, self.weight_decay)
        if not self.momentum:
            moved = {name: value - learning_rate * gradient[name] for name, value in params.items()}
            return moved, OptimizerState(state.updates + 1)
        total = self.add_to_sum(gradient, state)
        moved = {}
        for name, value in params.items():
            direction = gradient[name] + self.momentum * total[name] if self.nesterov else total[name]
            moved[name] = value - learning_rate * direction
        return moved, OptimizerState(state.updates + 1, {"momentum": total})

    def add_to_sum(self, gradient: Params, state: OptimizerState) -> Params:
        """The running sum with a new gradient, which is all of it at the first update."""
        if state.updates == 0:
            return {name: value.copy() for name, value in gradient.items()}
        before = state.slots["momentum"]
        return {name: self.momentum * before[name] + (1.0 - self.dampening) * value for name, value in gradient.items()}

    def init(self, params: Params) -> OptimizerState:
        """With a sum of zeros, which the first update does not read."""
        return OptimizerState(0, {"momentum": make_slot(params)} if self.momentum else {})
