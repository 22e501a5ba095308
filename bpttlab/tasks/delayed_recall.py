"""Delayed recall: remember the one marked number and return it at the end. There is one path of known length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.numerics.array import Array
from bpttlab.tasks.marked_numbers import mark_steps
from bpttlab.tasks.task import Batch, Task, integer_at_least, last_step, number_at_the_end


@dataclass(frozen=True)
class DelayedRecall(Task):
    """x_t = (value, marker); the target is the value at the one step tau that is marked.

    Values are drawn from U(0, 1). tau is T - `delay` in every sequence, or uniform over the first half (tau <=
    floor(T/2)) if no delay is given. Loss: squared error at the last step only. Baseline: predicting the mean, 1/2,
    gives the variance, 1/12. Not prefix stable: marker and loss move with T. Relevant step: tau.

    Source: the adding problem of Hochreiter & Schmidhuber 1997, section 5.4, with one of its two markers.
    """

    name: ClassVar[str] = "delayed_recall"
    loss_name: ClassVar[str] = "squared_error"
    solved_below: ClassVar[float | None] = 0.005
    prefix_stable: ClassVar[bool] = False
    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1
    baseline_loss: ClassVar[float] = 1.0 / 12.0

    delay: Annotated[
        int | None,
        Field(
            ge=0,
            unit="step",
            description="T - tau, steps from the marked number to the end; null: drawn for each sequence, at least T/2",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delay is None:
            least, reason = 2, " for task 'delayed_recall' (a marker in the first half)"
        else:
            least = self.delay + 1
            reason = f" for task 'delayed_recall' (a marker {self.delay} steps before the end)"
        integer_at_least("sequence_length", self.sequence_length, least=least, because=reason)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        values = rng.random((self.sequence_length, batch_size))
        step = self.marked_step(rng, batch_size)
        x, numbers = mark_steps(values, step[None] - 1)
        target = number_at_the_end(self.sequence_length, numbers[0])
        return Batch(x, target, last_step(self.sequence_length), step)

    def marked_step(self, rng: np.random.Generator, batch_size: int) -> Array:
        """tau of each sequence, (B,), counted from 1."""
        if self.delay is None:
            return rng.integers(1, self.sequence_length // 2, batch_size, endpoint=True)
        return np.full(batch_size, self.sequence_length - self.delay)
