"""The batches of a training run: drawn anew for each update, or epochs over a finite set with held-out parts.

A batch depends on the seed and the number of the update alone: a run that goes on later draws what an uninterrupted one
draws, and two runs that differ in scheme or remedy see the same sequences.

Index legend: T time, B sequence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import check_integer, real_number
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import stream
from bpttlab.tasks.task import Batch, Task

STREAM = "training data"
HELD_OUT = "held-out data"


class TrainingData(ABC):
    """Where batches come from."""

    task: Task

    @abstractmethod
    def batch(self, update: int) -> Batch:
        """The batch of an update, counted from 1."""

    @abstractmethod
    def validation(self) -> Batch:
        """Sequences on which progress is checked; the same at every call."""

    def test(self) -> Batch | None:
        """Sequences that nothing depends on before training has ended; None: all that are fresh are."""
        return None


@dataclass(frozen=True)
class FreshBatches(TrainingData):
    """A new batch of the task for each update.

    Attributes:
        seed, batch_size: of the batches.
        checked: how many sequences the validation has, at most those that the task has.
    """

    task: Task
    seed: int
    batch_size: int
    checked: int = 1000

    def __post_init__(self) -> None:
        self.task.check_batch_size(self.batch_size)

    def batch(self, update: int) -> Batch:
        return self.task.sample(stream(STREAM, self.seed, self.task.name, update), self.batch_size)

    def validation(self) -> Batch:
        most = self.task.largest_batch_size
        count = self.checked if most is None else min(self.checked, most)
        return self.task.sample(stream(HELD_OUT, self.seed, self.task.name), count)


class Split(NamedTuple):
    """The numbers of the sequences of each part."""

    training: Array
    validation: Array
    test: Array


@dataclass(frozen=True)
class EpochBatches(TrainingData):
    """Every sequence of a finite set once an epoch, in an order that is drawn for each epoch.

    The set and its parts depend on the task alone: all networks have the same test sequences. The last batch of an
    epoch has what is left.

    Attributes:
        sequences: of the whole set; None: all that the task has.
        validation_share, test_share: of the set.
    """

    task: Task
    seed: int
    batch_size: int
    sequences: int | None = None
    validation_share: float = 0.1
    test_share: float = 0.1

    def __post_init__(self) -> None:
        if self.sequences is None and self.task.largest_batch_size is None:
            raise ConfigurationError(
                f"training.sequences: must be given for data=epochs of task '{self.task.name}', which draws any number"
            )
        shares = [
            real_number(f"training.{name}", share, "a number >= 0 and < 1", lambda value: 0 <= value < 1)
            for name, share in (("validation", self.validation_share), ("test", self.test_share))
        ]
        sizes = [round(share * self.size) for share in shares]
        left = self.size - sum(sizes)
        if left < max(1, self.batch_size):
            raise ConfigurationError(
                f"batch_size={self.batch_size}: must be at most {max(0, left)}, the training sequences of {self.size} "
                "(training.sequences, less the shares of validation and test)"
            )
        if sizes[0] < 1:
            raise ConfigurationError(f"training.validation={shares[0]}: leaves no sequence of {self.size} to check")

    @cached_property
    def size(self) -> int:
        """How many sequences the set has."""
        most = self.task.largest_batch_size
        return check_integer("training.sequences", most if self.sequences is None else self.sequences, 1, most)

    @cached_property
    def whole(self) -> Batch:
        """The set as one batch."""
        return self.task.sample(stream("training set", self.task.name), self.size)

    @cached_property
    def split(self) -> Split:
        order = stream("training split", self.task.name).permutation(self.size)
        held_out, tested = round(self.validation_share * self.size), round(self.test_share * self.size)
        return Split(order[held_out + tested :], order[:held_out], order[held_out : held_out + tested])

    @property
    def updates_of_an_epoch(self) -> int:
        return -(-len(self.split.training) // self.batch_size)

    def batch(self, update: int) -> Batch:
        epoch, place = divmod(update - 1, self.updates_of_an_epoch)
        start = place * self.batch_size
        return select_sequences(self.whole, self.order_of(epoch)[start : start + self.batch_size])

    def order_of(self, epoch: int) -> Array:
        """The training sequences in the order of an epoch, counted from 0."""
        if epoch not in self._orders:
            self._orders.clear()
            drawn = stream(STREAM, self.seed, self.task.name, "epoch", epoch).permutation(self.split.training)
            self._orders[epoch] = drawn
        return self._orders[epoch]

    @cached_property
    def _orders(self) -> dict[int, Array]:
        """The order of the last epoch that was asked for."""
        return {}

    def validation(self) -> Batch:
        return select_sequences(self.whole, self.split.validation)

    def test(self) -> Batch | None:
        return select_sequences(self.whole, self.split.test) if len(self.split.test) else None


def select_sequences(batch: Batch, chosen: Array) -> Batch:
    """Some sequences of a batch, in this order.  (B,) integers"""
    mask = batch.mask if batch.mask.ndim == 1 else batch.mask[:, chosen]
    relevant = None if batch.relevant_step is None else batch.relevant_step[chosen]
    lengths = None if batch.lengths is None else batch.lengths[chosen]
    x, target = np.ascontiguousarray(batch.x[:, chosen]), np.ascontiguousarray(batch.target[:, chosen])
    return Batch(x, target, mask, relevant, lengths)
