"""The random permutation problem: predict symbols, of which only the last is known: it is the first again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task, every_step, last_step, minimum_length, one_hot

_FIRST = 2


@dataclass(frozen=True)
class RandomPermutation(Task):
    """Of T + 1 symbols s_1 … s_{T+1}, one-hot, x_t is s_t and the target is the next one, s_{t+1}.

    s_1 is 0 or 1, each with probability 1/2, and s_{T+1} = s_1. All symbols between are drawn uniformly and
    independently from the other A - 2 symbols, A = `alphabet` (100 in the source), and cannot be predicted.

    Loss: softmax cross-entropy at every step. Baseline: equal probability for all possible symbols costs ((T - 1) ln(A
    - 2) + ln 2) / T. Only the ln 2 can be gained, by remembering s_1 for T steps. Not prefix stable: the last symbol
    moves with T. Relevant step: the first, on which the last loss depends.

    Source: Hochreiter & Schmidhuber 1997, experiment 2b (no local regularities); Martens & Sutskever 2011, section 4.1.
    """

    name: ClassVar[str] = "random_permutation"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    prefix_stable: ClassVar[bool] = False
    solved_below: ClassVar[float | None] = 0.01

    sequence_length: Annotated[
        int, minimum_length(2, "for task 'random_permutation' (the symbol to be remembered, and one between)")
    ]
    alphabet: Annotated[
        int,
        Field(
            ge=_FIRST + 1,
            because=f"({_FIRST} to be remembered and another one between)",
            description="A, different symbols; the first of a sequence is one of two",
        ),
    ] = 100

    @property
    def input_size(self) -> int:
        return self.alphabet

    @property
    def output_size(self) -> int:
        return self.alphabet

    @property
    def baseline_loss(self) -> float:
        between = (self.sequence_length - 1) * math.log(self.alphabet - _FIRST)
        return (between + math.log(_FIRST)) / self.sequence_length

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        symbols = self.symbols(rng, batch_size)
        mask, first = every_step(self.sequence_length), np.ones(batch_size, dtype=np.int64)
        return Batch(one_hot(symbols[:-1], self.alphabet), symbols[1:].copy(), mask, first)

    def judged(self, batch: Batch) -> Array:
        """The last step: what comes before cannot be predicted."""
        return last_step(len(batch.mask))

    def symbols(self, rng: np.random.Generator, batch_size: int) -> Array:
        """s_1 … s_{T+1}.  (T+1, B)"""
        first = rng.integers(0, _FIRST, (1, batch_size))
        between = rng.integers(_FIRST, self.alphabet, (self.sequence_length - 1, batch_size))
        return np.concatenate([first, between, first])
