"""Noiseless memorization: read a pattern, keep it over blanks, repeat it after a cue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task, integer_at_least, one_hot


@dataclass(frozen=True)
class Memorization(Task):
    """A pattern of S = `symbols` symbols out of A = `alphabet`, which is the target after a delay without noise.

    With the delay D = T - 2 S, where T is the whole length:

        steps       1 … S        S+1 … S+D-1    S+D          S+D+1 … T
        input       S symbols    blank          cue          blank
        target                                               the S symbols, in their order

    S = 5 and A = 2 are five bits. S = 10 and A = 5, called 20 bits in the source (log2 of 5^10 is 23.2), are harder.
    Symbols are drawn uniformly and independently. Input: A + 2 symbols one-hot, the blank is A, the cue A + 1.

    Loss: softmax cross-entropy over the A symbols at the last S steps only. (The copy memory problem has the same
    input, and its targets at all other steps are blanks.) Baseline: equal probability for every symbol costs ln A. Not
    prefix stable: cue and loss move with T. No relevant step: there are S.

    Source: Martens & Sutskever 2011, section 4.1, after Hochreiter & Schmidhuber 1997; coded as in Jaeger 2012, Long
    Short-Term Memory in Echo State Networks, which has targets at all steps.
    """

    name: ClassVar[str] = "memorization"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    solved_below: ClassVar[float | None] = 0.01
    prefix_stable: ClassVar[bool] = False

    symbols: Annotated[int, Field(ge=1, description="S, symbols to be repeated; sequence_length >= 2 S + 1")] = 5
    alphabet: Annotated[
        int,
        Field(
            ge=2,
            because="(with one symbol there is nothing to remember)",
            description="A, different symbols; a blank and a cue come on top",
        ),
    ] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        reason = f" for task 'memorization' ({self.symbols} symbols to read, a cue, {self.symbols} to repeat)"
        integer_at_least("sequence_length", self.sequence_length, least=2 * self.symbols + 1, because=reason)

    @property
    def delay(self) -> int:
        """D: steps from the last symbol read to the cue."""
        return self.sequence_length - 2 * self.symbols

    @property
    def input_size(self) -> int:
        return self.alphabet + 2

    @property
    def output_size(self) -> int:
        return self.alphabet

    @property
    def baseline_loss(self) -> float:
        return math.log(self.alphabet)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        pattern = rng.integers(0, self.alphabet, (self.symbols, batch_size))
        blank, cue = self.alphabet, self.alphabet + 1
        read = np.full((self.sequence_length, batch_size), blank)
        target = np.zeros_like(read)
        read[: self.symbols] = pattern
        read[-self.symbols - 1] = cue
        target[-self.symbols :] = pattern
        return Batch(one_hot(read, self.input_size), target, self.mask())

    def mask(self) -> Array:
        """One loss for each symbol to be repeated."""
        return (np.arange(self.sequence_length) >= self.sequence_length - self.symbols).astype(np.float64)
