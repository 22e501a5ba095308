"""Predict the next character of a text: the shipped text or a user's file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from scipy.special import entr

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.fields import Field
from bpttlab.tasks.task import Batch, Task, every_step, one_hot
from bpttlab.tasks.text_files import Text, read_text


@dataclass(frozen=True)
class Characters(Task):
    """x_t is a character, one-hot, and the target the one after it: windows of a text. Of your own: task.path=book.txt

    The alphabet is the set of different characters of the text by code point, at most 256 (`tasks/text_files.py`).
    Windows begin anywhere in the text. A batch contains no window twice, but windows may overlap. Faults of a file are
    refused when the task is built, before anything is computed.

    The run's identity contains the content of the file (`content`) and not its name: the same content elsewhere gives
    the same run, other content under the same name gives another run. A file that changes during a sweep is refused.

    Loss: softmax cross-entropy at every step. Baseline: guessing by the frequencies of characters at each step of all
    windows, nearly the entropy of one character of the text (3.03 nats in the shipped text, of 61 different
    characters). Not prefix stable: the possible places of windows depend on T. No relevant step.

    Source: Elman 1990, Finding Structure in Time, section 4 (letters); with windows at random places as in Karpathy,
    Johnson & Fei-Fei 2015.

    Attributes:
        content: afterwards the first 32 digits of the SHA-256 of the file's bytes.
    """

    name: ClassVar[str] = "characters"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    prefix_stable: ClassVar[bool] = False

    path: Annotated[
        str,
        Field(
            configured=None,
            description="file in UTF-8, from the current folder; ~ is the home folder; null: the Declaration of "
            "Independence (Thomas Jefferson and others, 1776), 8150 characters",
        ),
    ] = field(default="", compare=False)
    content: user_files.Content = None

    def __post_init__(self) -> None:
        super().__post_init__()
        length = self.sequence_length
        found = read_text(self.path)
        what = self.path or "the shipped text, which is read without task.path,"
        user_files.refuse_other_content("task.content", self.content, what, found.content)
        if length >= len(found.characters):
            most = f"must be at most {len(found.characters) - 1}, the characters of {self.what} but the last"
            raise ConfigurationError(f"sequence_length={length}: {most}")
        object.__setattr__(self, "content", found.content)
        object.__setattr__(self, "path", self.path and user_files.make_absolute(self.path))

    @property
    def what(self) -> str:
        return self.path or "the shipped text"

    @property
    def text(self) -> Text:
        """The text of the file.

        Raises:
            LabError: the file has changed since the task was built.
        """
        found = read_text(self.path)
        if found.content != self.content:
            raise LabError(f"{self.path} has changed since the run was configured: start the sweep again")
        return found

    @property
    def windows(self) -> int:
        """The number of places where a window may begin."""
        return len(self.text.characters) - self.sequence_length

    @property
    def largest_batch_size(self) -> int | None:
        return self.windows

    @property
    def input_size(self) -> int:
        return len(self.text.alphabet)

    @property
    def output_size(self) -> int:
        return len(self.text.alphabet)

    @property
    def baseline_loss(self) -> float:
        text, length, windows = self.text.characters, self.sequence_length, self.windows
        counts = np.bincount(text[1 : windows + 1], minlength=self.output_size)  # of the targets at step 1
        cost = entr(counts / windows).sum()
        for t in range(1, length):
            counts[text[t]] -= 1
            counts[text[t + windows]] += 1
            cost += entr(counts / windows).sum()
        return float(cost / length)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        found = self.text
        begin = rng.choice(self.windows, batch_size, replace=False)
        window = found.characters[begin + np.arange(self.sequence_length + 1)[:, None]].astype(np.int64)
        return Batch(one_hot(window[:-1], len(found.alphabet)), window[1:].copy(), every_step(self.sequence_length))
