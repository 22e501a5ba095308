"""The temporal order problem: two symbols among many that mean nothing; in which order did they come?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.tasks.base import Array, Batch, Task, last_step, one_hot, whole

RELEVANT = 2
DISTRACTORS = 4


@dataclass(frozen=True)
class TemporalOrder(Task):
    """x_t is one of six symbols, one-hot: X (0) or Y (1) at two steps, one of the distractors a, b, c, d (2 to 5) else.

    The first relevant symbol stands at a step t (from 1) with T/10 <= t <= 2T/10, the second at one with 5T/10 <= t <=
    6T/10, both uniform: the second comes at least 3T/10 steps after the first, and at least 4T/10 steps follow it. Each
    is X or Y with probability 1/2; every other symbol is drawn uniformly from the distractors. The classes are XX (0),
    XY (1), YX (2) and YY (3).

    Loss: softmax cross-entropy over the four classes at the last step only. Baseline: giving every class the same
    probability costs ln 4. Not prefix stable: the steps of the two symbols, and the loss, move with T.

    Source: Hochreiter & Schmidhuber 1997, experiment 6a, with one length instead of lengths of 100 to 110 and hence
    without its symbols for start and end.
    """

    name: ClassVar[str] = "temporal_order"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    prefix_stable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        reason = " for task 'temporal_order' (its two symbols stand in two tenths of the sequence)"
        whole("sequence_length", self.sequence_length, least=10, because=reason)

    @property
    def input_size(self) -> int:
        return RELEVANT + DISTRACTORS

    @property
    def output_size(self) -> int:
        return RELEVANT**2

    @property
    def baseline_loss(self) -> float:
        return math.log(RELEVANT**2)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        length, sequence = self.sequence_length, np.arange(batch_size)
        symbols = rng.integers(RELEVANT, RELEVANT + DISTRACTORS, (length, batch_size))
        first, second = rng.integers(0, RELEVANT, (2, batch_size))
        symbols[self.steps(rng, 1, batch_size), sequence] = first
        symbols[self.steps(rng, 5, batch_size), sequence] = second
        target = np.tile(RELEVANT * first + second, (length, 1))
        return Batch(one_hot(symbols, self.input_size), target, last_step(length))

    def steps(self, rng: np.random.Generator, tenth: int, batch_size: int) -> Array:
        """Indices (from 0) of steps t with tenth T / 10 <= t <= (tenth + 1) T / 10."""
        earliest = -(-tenth * self.sequence_length // 10)
        latest = (tenth + 1) * self.sequence_length // 10
        return rng.integers(earliest, latest, batch_size, endpoint=True) - 1
