"""The adding problem: remember two marked numbers and return their sum at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.tasks.marked_numbers import mark_two_steps
from bpttlab.tasks.task import Batch, Task, last_step, minimum_length, number_at_the_end


@dataclass(frozen=True)
class Adding(Task):
    """x_t = (value, marker); the target is the sum of the two values that are marked.

    Values are drawn from U(0, 1); the marker is 1 at two steps and 0 elsewhere. One marked step is uniform over the
    first half (t <= floor(T/2)), the other over the second. Loss: squared error at the last step only. Baseline:
    predicting the mean, 1, gives the variance of the sum, 1/6. Not prefix stable: markers and loss move with T.
    Relevant step: the first marked one.

    Source: Hochreiter & Schmidhuber 1997, section 5.4, with the values in [0, 1] and the plain sum that became usual
    (Le, Jaitly & Hinton 2015).
    """

    name: ClassVar[str] = "adding"
    loss_name: ClassVar[str] = "squared_error"
    solved_below: ClassVar[float | None] = 0.01
    prefix_stable: ClassVar[bool] = False
    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1
    baseline_loss: ClassVar[float] = 1.0 / 6.0

    sequence_length: Annotated[int, minimum_length(2, "for task 'adding' (a marker in each half)")]

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        x, numbers, first = mark_two_steps(rng, self.sequence_length, batch_size)
        target = number_at_the_end(self.sequence_length, numbers[0] + numbers[1])
        return Batch(x, target, last_step(self.sequence_length), first)
