"""Adam with weight decay beside the gradient step (Loshchilov & Hutter 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bpttlab.fields import Field
from bpttlab.networks.cells.cell import Params
from bpttlab.training.optimizers.adam import AdamMoments
from bpttlab.training.optimizers.optimizer import OptimizerState


@dataclass(frozen=True)
class AdamW(AdamMoments):
    """Parameters times 1 - learning_rate weight_decay, then moved as by Adam (`torch.optim.AdamW`)."""

    name: ClassVar[str] = "adamw"

    weight_decay: Annotated[
        float, Field(ge=0, description="lambda; parameters shrink by learning_rate lambda at each update")
    ] = 0.01

    def update(
        self, params: Params, gradient: Params, state: OptimizerState, learning_rate: float
    ) -> tuple[Params, OptimizerState]:
        shrunk = {name: value * (1.0 - learning_rate * self.weight_decay) for name, value in params.items()}
        return self.move(shrunk, gradient, state, learning_rate)
