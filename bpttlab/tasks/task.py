"""A task: sequences to learn from, with the loss of a network and the steps where it counts.

Index legend: T time, B sequence, I input, O output.

A new task is one file in this folder with one class; it is found by its `name`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.fields import Field, check_integer, settle_fields
from bpttlab.networks import losses
from bpttlab.networks.lengths import check_lengths
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator
from bpttlab.numerics.short_repr import show_briefly


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences side by side.

    Attributes:
        x: inputs (T, B, I), float64.
        target: (T, B, O) float64 for a squared error, the same in [0, 1] for a sigmoid cross-entropy, (T, B) classes,
            int64, for a softmax cross-entropy. Where the mask is 0 it has no meaning.
        mask: (T,) float64, the weight m_t of each step's loss: 1 where it counts, 0 where it does not; or (T, B).
        relevant_step: (B,) int64, counted from 1. If the answer depends on the input at one, two or three steps, the
            earliest of them in each sequence. None if there are no such steps, or many.
        lengths: (B,) int64, the steps of each sequence, after which nothing has a meaning; None: all have T.
    """

    x: Array
    target: Array
    mask: Array
    relevant_step: Array | None = None
    lengths: Array | None = None

    def __repr__(self) -> str:
        return show_briefly(self)

    def prefix(self, length: int) -> Batch:
        """The first steps alone; for a task that is `prefix_stable`, the batch of that length.

        If it ends before the relevant step of some sequence, the prefix has none.
        """
        steps = self.relevant_step
        within = steps is not None and bool((steps <= length).all())
        lengths = None if self.lengths is None else np.minimum(self.lengths, length)
        return Batch(self.x[:length], self.target[:length], self.mask[:length], steps if within else None, lengths)


@dataclass(frozen=True)
class Task(ABC):
    """The source of batches.

    Attributes:
        name: its name in configurations.
        loss_name: one of `losses`.
        prefix_stable: whether a batch of length T' is, to the byte, the first T' steps of the batch of length T from an
            equal generator, so that one forward pass serves both.
        largest_batch_size: the number of different sequences; None: no limit.
        solved_below: the error below which a network has learnt it: the loss of numbers, or the share of sequences with
            a wrong class or bit at a step that counts; None: nothing says so.
        white_variance: mean x^2 of a component, if inputs are Gaussian and white in time; else None.
    """

    name: ClassVar[str]
    white_variance: ClassVar[float | None] = None
    solved_below: ClassVar[float | None] = None

    sequence_length: Annotated[int, Field(ge=1, given_by="sequence_length", description="T, steps")]

    def __post_init__(self) -> None:
        settle_fields(self, "task.{}", bare=("sequence_length",))

    # in many classes the following are class attributes, equal for all objects

    @property
    @abstractmethod
    def loss_name(self) -> str: ...

    @property
    @abstractmethod
    def prefix_stable(self) -> bool: ...

    @property
    def largest_batch_size(self) -> int | None:
        return None

    @property
    @abstractmethod
    def input_size(self) -> int:
        """I."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """O, the size of the prediction that the loss needs."""

    @property
    @abstractmethod
    def baseline_loss(self) -> float:
        """The expected loss (`reduction="mean"`) of the best guess that does not use the input."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """A batch of an allowed size."""

    def sample(self, rng: Rng, batch_size: int) -> Batch:
        """A batch; equal generators, or equal seeds, give equal bytes.

        Raises:
            ConfigurationError: the batch size is not an integer >= 1, or there are not so many sequences.
        """
        self.check_batch_size(batch_size)
        size = integer_at_least("batch_size", batch_size, least=1)
        batch = self.draw(check_generator(rng), size)
        self._check_drawn(batch, size)
        return batch

    def _check_drawn(self, batch: object, size: int) -> None:
        """Refuses what is no batch of T steps: a mistake in `draw` of a user's own task."""
        draw, T = f"{type(self).__name__}.draw", self.sequence_length
        if not isinstance(batch, Batch):
            raise LabError(f"{draw} returns {type(batch).__name__}: must be a Batch(x, target, mask)")
        if batch.x.shape != (T, size, self.input_size):
            raise LabError(f"{draw}: x has shape {batch.x.shape}; must be (T, B, I) = {(T, size, self.input_size)}")
        for name in ("target", "mask"):
            if len(found := getattr(batch, name)) != T:
                raise LabError(f"{draw}: {name} has {len(found)} steps; must be T = {T}")
        if batch.lengths is not None:
            try:
                check_lengths(batch.lengths, T, size)
            except ConfigurationError as error:
                raise LabError(f"{draw}: {error}") from None

    def check_batch_size(self, batch_size: int) -> None:
        """Refuses a batch size that `sample` could not give, before anything is computed."""
        size = integer_at_least("batch_size", batch_size, least=1)
        if self.largest_batch_size is not None and size > self.largest_batch_size:
            raise ConfigurationError(
                f"batch_size={size}: task '{self.name}' has {self.largest_batch_size} sequences, "
                f"and a batch contains none twice: must be at most {self.largest_batch_size}"
            )

    def identity_fields(self) -> dict[str, Any]:
        """The fields that decide its batches beside the length: the task's part of a stored configuration and of its
        hash.

        Fields with `compare=False` are left out: of a file its content is part of the identity, and not its name.
        """
        left_out = {"sequence_length", *(one.name for one in fields(self) if not one.compare)}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def judged(self, batch: Batch) -> Array:
        """The steps whose answers say whether a network has learnt the task: those with a loss.  (T,) or (T, B)"""
        return batch.mask

    def loss(self, y_hat: Array, batch: Batch, reduction: losses.Reduction = "mean") -> losses.Loss:
        """L and dL/dy_hat (T, B, O) of predictions y_hat (T, B, O)."""
        return losses.evaluate(self.loss_name, y_hat, batch.target, batch.mask, reduction, batch.lengths)


def minimum_length(steps: int, because: str) -> Field:
    """The field `sequence_length` of a task that needs so many steps."""
    return Field(ge=steps, because=because, given_by="sequence_length", description="T, steps")


def integer_at_least(field: str, value: object, least: int, because: str = "") -> int:
    """The value as an int, or the error that names its field."""
    return check_integer(field, value, least, because=because)


def one_hot(symbols: Array, size: int) -> Array:
    """1 at the index of each symbol, 0 elsewhere, float64.  (...) -> (..., size)"""
    return np.eye(size)[symbols]


def number_at_the_end(length: int, numbers: Array) -> Array:
    """The target of one number at the last step.  (B,) -> (T, B, 1)"""
    target = np.zeros((length, len(numbers), 1))
    target[-1, :, 0] = numbers
    return target


def every_step(length: int) -> Array:
    """The mask of a loss at every step."""
    return np.ones(length)


def last_step(length: int) -> Array:
    """The mask of one loss at the end."""
    mask = np.zeros(length)
    mask[-1] = 1.0
    return mask
