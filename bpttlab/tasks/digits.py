"""Handwritten digits read as sequences, pixel by pixel or row by row; the class is the target at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, ClassVar, Literal

import numpy as np

from bpttlab.fields import Field
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task, integer_at_least, last_step

CLASSES = 10
WHITEST = 16
"""Pixels are integers from 0 (paper) to 16 (full ink)."""


@cache
def images_and_labels() -> tuple[Array, Array]:
    """All 1797 digits: images (1797, 8, 8), uint8 from 0 to 16, and labels (1797,), int64; read-only.

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (`data/README.md`).
    """
    packed = resources.files("bpttlab.tasks").joinpath("data", "digits.npz")
    with packed.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"].astype(np.int64)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


@dataclass(frozen=True)
class Digits(Task):
    """8x8 images with values in [0, 1], read from the top left: x_t is a pixel (64 steps, I = 1) or a row (8, I = 8).

    Longer sequences end in blanks (zeros), so that the network must remember the image; shorter sequences are refused.
    A batch contains no image twice. Loss: softmax cross-entropy over the ten classes at the last step only. Baseline:
    equal probability for every class costs ln 10. Not prefix stable: the loss moves with T.
    """

    name: ClassVar[str] = "digits"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    prefix_stable: ClassVar[bool] = False
    largest_batch_size: ClassVar[int | None] = 1797
    solved_below: ClassVar[float | None] = 0.05

    by: Annotated[
        Literal["pixel", "row"],
        Field(description="what one step reads: a pixel (64 steps) or a row of 8 pixels (8 steps)"),
    ] = "row"

    def __post_init__(self) -> None:
        super().__post_init__()
        reason = f" for task 'digits' by {self.by} (one step for each {self.by} of an 8x8 image)"
        integer_at_least("sequence_length", self.sequence_length, least=self.image_steps, because=reason)

    @property
    def image_steps(self) -> int:
        """The number of steps of one image."""
        return 64 if self.by == "pixel" else 8

    @property
    def input_size(self) -> int:
        return 64 // self.image_steps

    @property
    def output_size(self) -> int:
        return CLASSES

    @property
    def baseline_loss(self) -> float:
        return math.log(CLASSES)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        images, labels = images_and_labels()
        chosen = rng.permutation(len(images))[:batch_size]
        x = np.zeros((self.sequence_length, batch_size, self.input_size))
        steps = images[chosen].reshape(batch_size, self.image_steps, self.input_size)
        x[: self.image_steps] = steps.transpose(1, 0, 2) / WHITEST
        target = np.tile(labels[chosen], (self.sequence_length, 1))
        return Batch(x, target, last_step(self.sequence_length))
