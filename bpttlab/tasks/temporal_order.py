"""The temporal order problem: two or three relevant symbols among distractors; the class is their order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from bpttlab.fields import Field
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task, last_step, minimum_length, one_hot

RELEVANT = 2
DISTRACTORS = 4

EARLIEST = {2: (10, 50), 3: (10, 33, 66)}
"""Where each relevant symbol may stand, in hundredths of T: from here on, over a tenth of T."""


@dataclass(frozen=True)
class TemporalOrder(Task):
    """x_t is one of six symbols, one-hot: X (0) or Y (1) at two or three steps, a distractor a, b, c, d (2 to 5)
    elsewhere.

    With two symbols the first is at a step t (from 1) with T/10 <= t <= 2T/10, the second at one with 5T/10 <= t <=
    6T/10. With three they are at 10T/100 <= t <= 20T/100, 33T/100 <= t <= 43T/100 and 66T/100 <= t <= 76T/100. All
    steps are uniform. Each is X or Y with probability 1/2; every other symbol is drawn uniformly from the distractors.
    The classes are XX (0), XY (1), YX (2) and YY (3), or XXX (0) to YYY (7).

    Loss: softmax cross-entropy over the 2^symbols classes at the last step only. Baseline: equal probability for every
    class costs ln 4, or ln 8. Not prefix stable: the steps of the symbols, and the loss, move with T. Relevant step:
    that of the first symbol.

    Source: Hochreiter & Schmidhuber 1997, experiments 6a and 6b, with one length instead of lengths of 100 to 110 and
    hence without its symbols for start and end.
    """

    name: ClassVar[str] = "temporal_order"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    solved_below: ClassVar[float | None] = 0.01
    prefix_stable: ClassVar[bool] = False

    sequence_length: Annotated[
        int, minimum_length(10, "for task 'temporal_order' (each of its symbols stands within a tenth of the sequence)")
    ]
    symbols: Annotated[
        Literal[2, 3], Field(description="symbols whose order is to be named: 2 (four classes) or 3 (eight)")
    ] = 2

    @property
    def input_size(self) -> int:
        return RELEVANT + DISTRACTORS

    @property
    def output_size(self) -> int:
        return RELEVANT**self.symbols

    @property
    def baseline_loss(self) -> float:
        return math.log(self.output_size)

    def identity_fields(self) -> dict[str, Any]:
        """Its fields. `symbols` is left out if it is two, so that such a run keeps the identity it had before the field
        existed.
        """
        return {} if self.symbols == 2 else super().identity_fields()

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        length = self.sequence_length
        symbols = rng.integers(RELEVANT, RELEVANT + DISTRACTORS, (length, batch_size))
        relevant = rng.integers(0, RELEVANT, (self.symbols, batch_size))
        steps = np.stack([self.steps(rng, earliest, batch_size) for earliest in EARLIEST[self.symbols]])
        symbols[steps, np.arange(batch_size)] = relevant
        target = np.tile(RELEVANT ** np.arange(self.symbols)[::-1] @ relevant, (length, 1))
        return Batch(one_hot(symbols, self.input_size), target, last_step(length), steps[0] + 1)

    def steps(self, rng: np.random.Generator, earliest: int, batch_size: int) -> Array:
        """Indices (from 0) of steps t with earliest T / 100 <= t <= (earliest + 10) T / 100."""
        first = -(-earliest * self.sequence_length // 100)
        last = (earliest + 10) * self.sequence_length // 100
        return rng.integers(first, last, batch_size, endpoint=True) - 1
