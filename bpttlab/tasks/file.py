"""Sequences from a user's file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import entr

from bpttlab import user_files
from bpttlab.errors import ConfigurationError
from bpttlab.networks import losses
from bpttlab.numerics.array import Array
from bpttlab.tasks.sequence_files import Sequences, read
from bpttlab.tasks.task import Batch, Task, every_step, last_step, whole

LossName = Literal["squared_error", "softmax_cross_entropy", "sigmoid_cross_entropy"]
LossAt = Literal["every", "last", "mask"]


@dataclass(frozen=True)
class File(Task):
    """Sequences from a `.npz`, `.csv` or `.parquet` file; `tasks/sequence_files.py` describes the layout.

    A batch is a random choice of the file's sequences, none twice. It has the first T steps of each. Faults of the file
    are refused when the task is built, before anything is computed.

    The run's identity contains the content of the file (`content`) and not its name: the same content elsewhere gives
    the same run, other content under the same name gives another run. A file that changes during a sweep is refused.

    Baseline: at every step the best common guess for all sequences of the file: their mean (squared error), the
    frequencies of the classes, or the mean of each output (cross-entropies). Prefix stable, because the choice does not
    depend on T, unless the loss is at the last step, which moves with T.

    Attributes:
        path: the file, relative to the current folder; ~ is the home folder.
        loss_name: squared_error, softmax_cross_entropy (classes) or sigmoid_cross_entropy (numbers from 0 to 1).
        loss_at: the steps with a loss: every, last, or mask (those of the file's mask); None: mask if the file has one,
            else every.
        content: the first 32 digits of the SHA-256 of the file. If it is given, in full or in part, a file with another
            SHA-256 is refused.
    """

    name: ClassVar[str] = "file"

    path: str = field(default="", compare=False)
    loss_name: LossName = "squared_error"
    loss_at: LossAt | None = None
    content: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        length = whole("sequence_length", self.sequence_length, least=1)
        if not self.path:
            raise ConfigurationError("task.path: must name a file of yours, for example task.path=sequences.npz")
        found = read(self.path, self.loss_name)
        user_files.refuse_other_content("task.content", self.content, self.path, found.content)
        if length > found.steps:
            raise ConfigurationError(f"sequence_length={length}: must be at most {found.steps}, as long as {self.path}")
        if self.loss_at is None:
            object.__setattr__(self, "loss_at", "every" if found.mask is None else "mask")
        if not self.mask(found).any():
            raise ConfigurationError(f"sequence_length={length}: the mask of {self.path} is 0 at all of these steps")
        object.__setattr__(self, "content", found.content)
        object.__setattr__(self, "path", user_files.absolute(self.path))

    @property
    def sequences(self) -> Sequences:
        """The sequences of the file.

        Raises:
            LabError: the file has changed since the task was built.
        """
        found = read(self.path, self.loss_name)
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
        target = found.target[:, : self.sequence_length]
        if self.loss_name == "squared_error":
            costs = target.var(axis=0)
        elif self.loss_name == "sigmoid_cross_entropy":
            costs = entr(target.mean(axis=0)) + entr(1.0 - target.mean(axis=0))
        else:
            counts = [np.bincount(classes, minlength=found.output_size) for classes in target.T]
            costs = entr(np.array(counts) / len(target))
        return float(losses.step_weights(self.mask(found), "mean") @ costs.sum(axis=-1))

    def identity_fields(self) -> dict[str, Any]:
        return {name: value for name, value in super().identity_fields().items() if name != "path"}

    def mask(self, found: Sequences) -> Array:
        """The steps where the loss counts."""
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
        return Batch(np.ascontiguousarray(x), np.ascontiguousarray(target), self.mask(found))
