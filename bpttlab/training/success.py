"""Whether a network has learnt its task: its loss and its wrong answers on sequences that it was not trained on.

A task says when it counts as solved (`Task.solved_below`): numbers by their mean squared error, classes and bits by the
share of sequences with at least one wrong answer among the steps that count.

Index legend: T time, B sequence, O output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bpttlab.gradients.engine import Engine
from bpttlab.gradients.forward import forward
from bpttlab.gradients.loss_and_gradient import Data
from bpttlab.networks import losses
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.lengths import find_valid
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task
from bpttlab.training.data import select_sequences

NUMBERS_AT_ONCE = 2**22
"""State numbers of a forward pass of some of the sequences: few enough to stay in the cache of a processor."""


class Evaluation(NamedTuple):
    """A network on some sequences.

    Attributes:
        loss: the mean, whatever the reduction of the training.
        accuracy: share of right answers at the steps that are judged (`Task.judged`); None: the loss is one of numbers.
        sequence_error: share of sequences with a wrong answer; None likewise.
    """

    loss: float
    accuracy: float | None
    sequence_error: float | None

    @property
    def error(self) -> float:
        """What is compared with `solved_below`."""
        return self.loss if self.sequence_error is None else self.sequence_error


class Answers(NamedTuple):
    """How many answers and sequences are wrong, of how many."""

    wrong: int
    answers: int
    wrong_sequences: int
    sequences: int


def evaluate_network(
    cell: Cell, params: Params, task: Task, batch: Batch, engine: Engine, h_0: Array | None = None
) -> Evaluation:
    """Loss and wrong answers of a network, some sequences at a time.

    Raises:
        DivergedError: the state overflowed.
    """
    losses_of_parts: list[tuple[float, float]] = []
    counts: list[Answers] = []
    for chosen in divide_batch(batch, cell.state_size):
        part = select_sequences(batch, chosen)
        start = None if h_0 is None else h_0[chosen]
        y_hat = forward(cell, params, part.x, start, engine, lengths=part.lengths).y_hat
        part = part.prefix(len(y_hat))
        weight = Data(part.x, part.target, part.mask, None, part.lengths).weigh("mean")
        losses_of_parts.append((task.loss(y_hat, part, "mean").value, weight))
        found = count_wrong(task.loss_name, y_hat, replace(part, mask=task.judged(part)))
        counts += [] if found is None else [found]
    whole = sum(weight for _, weight in losses_of_parts)
    loss = sum(value * (weight / whole) for value, weight in losses_of_parts)
    if not counts:
        return Evaluation(float(loss), None, None)
    total = Answers(*(sum(numbers) for numbers in zip(*counts, strict=True)))
    accuracy = 1.0 - total.wrong / total.answers if total.answers else math.nan
    return Evaluation(float(loss), accuracy, total.wrong_sequences / total.sequences)


def divide_batch(batch: Batch, state_size: int) -> Iterator[Array]:
    """The numbers of the sequences, as many at a time as NUMBERS_AT_ONCE allows."""
    T, B = batch.x.shape[:2]
    together = max(1, NUMBERS_AT_ONCE // (T * state_size))
    for start in range(0, B, together):
        yield np.arange(start, min(start + together, B))


def count_wrong(loss_name: str, y_hat: Array, batch: Batch) -> Answers | None:
    """The wrong answers among the steps that count; None where answers are numbers."""
    if loss_name == losses.SOFTMAX.name:
        wrong = y_hat.argmax(axis=-1) != batch.target
    elif loss_name == losses.SIGMOID.name:
        wrong = ((y_hat > 0) != (batch.target > 0.5)).any(axis=-1)
    else:
        return None
    mask = batch.mask if batch.mask.ndim == 2 else batch.mask[:, None]
    counted = np.broadcast_to(mask > 0, wrong.shape)
    if batch.lengths is not None:
        counted = counted & find_valid(batch.lengths, len(wrong))
    wrong = wrong & counted
    return Answers(int(wrong.sum()), int(counted.sum()), int(wrong.any(axis=0).sum()), wrong.shape[1])
