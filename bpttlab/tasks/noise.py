"""White noise as input and as target: nothing can be learnt, so the gradients depend on the network alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.tasks.task import Batch, Task, every_step


@dataclass(frozen=True)
class Noise(Task):
    """x_t ~ N(0, 1) in each component; the target is white noise N(0, 1) too, independent of the input.

    Loss: squared error at every step. Baseline: predicting 0 gives output_size, and no network does better on new data.
    Prefix stable: input and target come from two generators, step after step.
    """

    name: ClassVar[str] = "noise"
    loss_name: ClassVar[str] = "squared_error"
    prefix_stable: ClassVar[bool] = True
    white_variance: ClassVar[float | None] = 1.0

    input_size: Annotated[int, Field(ge=1, description="I, components of the input")] = 4
    output_size: Annotated[int, Field(ge=1, description="O, components of the target")] = 1

    @property
    def baseline_loss(self) -> float:
        return float(self.output_size)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        for_input, for_target = rng.spawn(2)
        return Batch(
            x=for_input.standard_normal((self.sequence_length, batch_size, self.input_size)),
            target=for_target.standard_normal((self.sequence_length, batch_size, self.output_size)),
            mask=every_step(self.sequence_length),
        )
