"""Sequences from a user's file.

A `.npz` archive of NumPy arrays:

    x       (sequences, steps, inputs)      numbers
    target  (sequences, steps, outputs)     numbers, for squared_error; from 0 to 1 for sigmoid_cross_entropy
            (sequences, steps)              classes 0, 1, 2, …, for softmax_cross_entropy
    mask    (steps,)                        optional: the weight of the loss at each step
    lengths (sequences,)                    optional: how many steps each sequence has; what follows them is not read

A target that is the same at all steps may have one step; classes may then leave the axis of steps out. Without
`lengths` a sequence ends before its last steps whose inputs are all NaN.

A `.csv` (with a header) or `.parquet` table, one row for each step of each sequence, in any order:

    sequence    the sequence: integers or strings
    step        integers, consecutive, from the same number on in every sequence; sequences may differ in length
    x_…         one column for each input, in the order of the columns; `x` if there is only one
    y_…         one column for each output, likewise; the target of squared_error and sigmoid_cross_entropy
    class       the target of softmax_cross_entropy
    mask        optional; at each step the same in every sequence
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from scipy.special import entr

from bpttlab import user_files
from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.networks import losses
from bpttlab.networks.lengths import find_valid
from bpttlab.numerics.array import Array
from bpttlab.tasks.sequence_files import Sequences, read_sequences
from bpttlab.tasks.task import Batch, Task, every_step, last_step

LossName = Literal["squared_error", "softmax_cross_entropy", "sigmoid_cross_entropy"]
LossAt = Literal["every", "last", "mask"]


@dataclass(frozen=True)
class File(Task):
    """Sequences of your own, the first T steps of each: task=file task.path=walks.npz (or .csv, .parquet).

    A sequence may have fewer than T steps: it ends there (`lengths` of its batch), and so does everything that is
    measured of it. T is at most the length of the longest.

    A batch is a random choice of the file's sequences, none twice. It has the first T steps of each. Faults of the file
    are refused when the task is built, before anything is computed.

    The run's identity contains the content of the file (`content`) and not its name: the same content elsewhere gives
    the same run, other content under the same name gives another run. A file that changes during a sweep is refused.

    Baseline: at every step the best common guess for all sequences of the file that have a loss there: their mean
    (squared error), the frequencies of the classes, or the mean of each output (cross-entropies). Prefix stable,
    because the choice does not depend on T, unless the loss is at the last step, which moves with T.

    Attributes:
        content: afterwards the first 32 digits of the SHA-256 of the file's bytes.
    """

    name: ClassVar[str] = "file"

    path: Annotated[
        str,
        Field(
            configured=None,
            description="required: a .npz, .csv or .parquet file, from the current folder; ~ is the home folder",
        ),
    ] = field(default="", compare=False)
    loss_name: Annotated[
        LossName,
        Field(
            description="loss of a step; softmax_cross_entropy: of classes; sigmoid_cross_entropy: of numbers in [0, 1]"
        ),
    ] = "squared_error"
    loss_at: Annotated[
        LossAt | None,
        Field(
            description="the steps that have a loss; last: the last of each sequence; null: those of the file's mask "
            "if it has one, else every step"
        ),
    ] = None
    content: user_files.Content = None

    def __post_init__(self) -> None:
        super().__post_init__()
        length = self.sequence_length
        if not self.path:
            raise ConfigurationError("task.path: must name a file of yours, for example task.path=sequences.npz")
        found = read_sequences(self.path, self.loss_name)
        user_files.refuse_other_content("task.content", self.content, self.path, found.content)
        if length > found.steps:
            raise ConfigurationError(f"sequence_length={length}: must be at most {found.steps}, as long as {self.path}")
        if self.loss_at is None:
            object.__setattr__(self, "loss_at", "every" if found.mask is None else "mask")
        if not self.mask(found).any():
            raise ConfigurationError(f"sequence_length={length}: the mask of {self.path} is 0 at all of these steps")
        object.__setattr__(self, "content", found.content)
        object.__setattr__(self, "path", user_files.make_absolute(self.path))

    @property
    def sequences(self) -> Sequences:
        """The sequences of the file.

        Raises:
            LabError: the file has changed since the task was built.
        """
        found = read_sequences(self.path, self.loss_name)
        user_files.refuse_change(self.path, self.content, found.content)
        return found

    @property
    def prefix_stable(self) -> bool:
        return self.loss_at != "last"

    @property
    def largest_batch_size(self) -> int | None:
        return len(self.sequences.x)

    @property
    def input_size(self) -> int:
        return int(self.sequences.x.shape[-1])

    @property
    def output_size(self) -> int:
        return self.sequences.output_size

    @property
    def baseline_loss(self) -> float:
        found = self.sequences
        if found.lengths is None:
            costs = self.guess(found.target[:, : self.sequence_length])
            return float(losses.step_weights(self.mask(found), "mean") @ costs)
        weights = self.weights(found).reshape(self.sequence_length, -1)
        weights = np.where(find_valid(found.lengths, self.sequence_length), weights, 0.0)
        costs = np.zeros(len(weights))
        for t, of_step in enumerate(weights):
            if of_step.any():
                costs[t] = self.guess(found.target[of_step != 0, t : t + 1])[0]
        return float(weights.sum(axis=1) @ costs / weights.sum())

    def guess(self, target: Array) -> Array:
        """The loss of the best common guess for some sequences at each step.  (sequences,steps,...) -> (steps,)"""
        if self.loss_name == "squared_error":
            costs = target.var(axis=0)
        elif self.loss_name == "sigmoid_cross_entropy":
            costs = entr(target.mean(axis=0)) + entr(1.0 - target.mean(axis=0))
        else:
            counts = [np.bincount(classes, minlength=self.output_size) for classes in target.T]
            costs = entr(np.array(counts) / len(target))
        return np.asarray(costs.sum(axis=-1))

    def weights(self, found: Sequences, chosen: Any = slice(None)) -> Array:
        """The weight of the loss at each step, of some sequences: (T,), or (T, B) where it is at the end of each."""
        if self.loss_at == "last" and found.lengths is not None:
            ends = np.minimum(found.lengths[chosen], self.sequence_length)
            return np.where(np.arange(1, self.sequence_length + 1)[:, None] == ends, 1.0, 0.0)
        return self.mask(found)

    def mask(self, found: Sequences) -> Array:
        """The steps where the loss counts in a sequence that has all of them."""
        if self.loss_at == "every":
            return every_step(self.sequence_length)
        if self.loss_at == "last":
            return last_step(self.sequence_length)
        if found.mask is None:
            raise ConfigurationError(f"task.loss_at=mask: {self.path} has no mask; must be every or last")
        return found.mask[: self.sequence_length].copy()

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        found = self.sequences
        chosen = rng.permutation(len(found.x))[:batch_size]
        x, target = (values[chosen, : self.sequence_length].swapaxes(0, 1) for values in (found.x, found.target))
        lengths = None if found.lengths is None else np.minimum(found.lengths[chosen], self.sequence_length)
        if lengths is not None and (lengths == self.sequence_length).all():
            lengths = None
        weights = self.weights(found, chosen) if lengths is not None else self.mask(found)
        return Batch(np.ascontiguousarray(x), np.ascontiguousarray(target), weights, lengths=lengths)
