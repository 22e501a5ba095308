"""The copy memory problem: read some symbols, wait, repeat them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.tasks.task import Batch, Task, every_step, integer_at_least, one_hot


@dataclass(frozen=True)
class Copy(Task):
    """x_t is one symbol: letters, then blanks and a delimiter, after which the letters are to be repeated.

    With S = `symbols`, A = `alphabet` and the delay D = T - 2 S, where T is the whole length (S and A are 10 and 8, and
    T is D + 20, in the source):

        steps       1 … S        S+1 … S+D-1    S+D          S+D+1 … T
        input       S letters    blank          delimiter    blank
        target      blank        blank          blank        the S letters, in their order

    Letters are drawn uniformly and independently, with repetition. Input and prediction have the same A + 2 symbols,
    one-hot: the letters 0 to A - 1, the blank A, the delimiter A + 1 (which is never a target). A letter must be kept
    for D + S steps.

    Loss: softmax cross-entropy at every step. Baseline: the blank at its steps, and every letter with the same
    probability at the others, costs S ln A / T. Not prefix stable: the delimiter and the target move with T.

    Source: Hochreiter & Schmidhuber 1997; in this form Arjovsky, Shah & Bengio 2016, section 5.1.
    """

    name: ClassVar[str] = "copy"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    solved_below: ClassVar[float | None] = 0.01
    prefix_stable: ClassVar[bool] = False

    symbols: Annotated[int, Field(ge=1, description="S, symbols to be repeated; sequence_length >= 2 S + 1")] = 10
    alphabet: Annotated[
        int,
        Field(
            ge=2,
            because="(with one letter there is nothing to remember)",
            description="A, different letters; a blank and a delimiter come on top",
        ),
    ] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        reason = f" for task 'copy' ({self.symbols} symbols to read, a delimiter, {self.symbols} to repeat)"
        integer_at_least("sequence_length", self.sequence_length, least=2 * self.symbols + 1, because=reason)

    @property
    def delay(self) -> int:
        """D: steps from the last letter read to the delimiter."""
        return self.sequence_length - 2 * self.symbols

    @property
    def input_size(self) -> int:
        return self.alphabet + 2

    @property
    def output_size(self) -> int:
        return self.alphabet + 2

    @property
    def baseline_loss(self) -> float:
        return self.symbols * math.log(self.alphabet) / self.sequence_length

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        letters = rng.integers(0, self.alphabet, (self.symbols, batch_size))
        blank, delimiter = self.alphabet, self.alphabet + 1
        read = np.full((self.sequence_length, batch_size), blank)
        target = read.copy()
        read[: self.symbols] = letters
        read[-self.symbols - 1] = delimiter
        target[-self.symbols :] = letters
        return Batch(one_hot(read, self.input_size), target, every_step(self.sequence_length))
