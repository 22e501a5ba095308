"""The multiplication problem: remember two marked numbers and return their product at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.tasks.marked_numbers import mark_two_steps
from bpttlab.tasks.task import Batch, Task, last_step, minimum_length, number_at_the_end


@dataclass(frozen=True)
class Multiplication(Task):
    """The input of the adding problem; the target is the product of the two marked values.

    Values are drawn from U(0, 1). One marked step is uniform over the first half (t <= floor(T/2)), the other over the
    second. Loss: squared error at the last step only. Baseline: predicting the mean, 1/4, gives the variance of the
    product, 1/9 - 1/16 = 7/144. Not prefix stable: markers and loss move with T. Relevant step: the first marked one.

    Source: Hochreiter & Schmidhuber 1997, section 5.5, and Martens & Sutskever 2011, section 4.1; markers as in
    `Adding`.
    """

    name: ClassVar[str] = "multiplication"
    loss_name: ClassVar[str] = "squared_error"
    solved_below: ClassVar[float | None] = 0.003
    prefix_stable: ClassVar[bool] = False
    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1
    baseline_loss: ClassVar[float] = 7.0 / 144.0

    sequence_length: Annotated[int, minimum_length(2, "for task 'multiplication' (a marker in each half)")]

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        x, numbers, first = mark_two_steps(rng, self.sequence_length, batch_size)
        target = number_at_the_end(self.sequence_length, numbers[0] * numbers[1])
        return Batch(x, target, last_step(self.sequence_length), first)
