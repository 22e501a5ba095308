"""Hold a bit: it is given at the first step, and is the target at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.tasks.task import Batch, Task, every_step


@dataclass(frozen=True)
class Hold(Task):
    """x_1 is 1 or -1, each with probability 1/2, and x_t = 0 after it; the target is x_1 at every step.

    A linear network solves it with one eigenvalue 1 of W.

    Loss: squared error at every step. Baseline: predicting 0 gives 1. Prefix stable: T does not move the bit. Relevant
    step: the first.

    Source: the latching problem of Bengio, Simard & Frasconi 1994, section II, without noise after the first step, and
    with a loss at every step in place of sequences of several lengths.
    """

    name: ClassVar[str] = "hold"
    loss_name: ClassVar[str] = "squared_error"
    solved_below: ClassVar[float | None] = 0.05
    prefix_stable: ClassVar[bool] = True
    input_size: ClassVar[int] = 1
    output_size: ClassVar[int] = 1
    baseline_loss: ClassVar[float] = 1.0

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        bits = 2.0 * rng.integers(0, 2, (batch_size, 1)) - 1.0
        x = np.zeros((self.sequence_length, batch_size, 1))
        x[0] = bits
        target = np.tile(bits, (self.sequence_length, 1, 1))
        return Batch(x, target, every_step(self.sequence_length), np.ones(batch_size, np.int64))
