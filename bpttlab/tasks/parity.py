"""The parity problem: was the number of ones odd? Every bit decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.tasks.task import Batch, Task, last_step, number_at_the_end


@dataclass(frozen=True)
class Parity(Task):
    """x_t is 1 or -1, each with probability 1/2; the target is 1 where the number of ones is odd, else 0.

    Loss: sigmoid cross-entropy at the last step only. Baseline: probability 1/2 costs ln 2. Not prefix stable: the loss
    moves with T. No relevant step: every step changes the answer.

    Source: Bengio, Simard & Frasconi 1994, section V (the parity problem, the final parity, not a running one), with
    one length instead of several, and with a cross-entropy.
    """

    name: ClassVar[str] = "parity"
    loss_name: ClassVar[str] = "sigmoid_cross_entropy"
    solved_below: ClassVar[float | None] = 0.01
    prefix_stable: ClassVar[bool] = False
    input_size: ClassVar[int] = 1
    output_size: ClassVar[int] = 1
    baseline_loss: ClassVar[float] = math.log(2.0)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        bits = rng.integers(0, 2, (self.sequence_length, batch_size))
        target = number_at_the_end(self.sequence_length, bits.sum(axis=0) % 2)
        return Batch(2.0 * bits[..., None] - 1.0, target, last_step(self.sequence_length))
