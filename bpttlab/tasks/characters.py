"""Predict the next character of a text, a person's own or the one that is shipped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy.special import entr

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.tasks.task import Batch, Task, every_step, one_hot, whole
from bpttlab.tasks.text_files import Text, read


@dataclass(frozen=True)
class Characters(Task):
    """x_t is a character, one-hot, and the target the one after it: windows of T + 1 characters of a text.

    The alphabet is that of the text: its different characters by code point, 256 at most (`tasks/texts.py`). Windows
    begin anywhere in the text; a batch holds none twice, though they may overlap. What is wrong with a file is refused
    when the task is built, before anything is computed.

    The run's identity holds the content of the file (`content`), not its name: the same bytes elsewhere are the same
    run, other bytes under the same name are another. A file that changes while a sweep is going on is refused.

    Loss: softmax cross-entropy at every step. Baseline: guessing by the frequencies that characters have at each step
    of all windows, nearly the entropy of one character of the text (3.03 nats in the one that is shipped, of 61
    different characters). Not prefix stable: where windows may begin depends on T. No relevant step.

    Source: Elman 1990, Finding Structure in Time, section 4 (letters); with windows at random places as in Karpathy,
    Johnson & Fei-Fei 2015.

    Attributes:
        path: of the file, from the current folder; ~ is the home folder; empty: the shipped text.
        content: the first 32 digits of the SHA-256 of the file's bytes; if it is given, in full or so far, a file with
            other bytes is refused.
    """

    name: ClassVar[str] = "characters"
    loss_name: ClassVar[str] = "softmax_cross_entropy"
    prefix_stable: ClassVar[bool] = False

    path: str = field(default="", compare=False)
    content: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        length = whole("sequence_length", self.sequence_length, least=1)
        found = read(self.path)
        what = self.path or "the shipped text, which is read without task.path,"
        user_files.refuse_other_content("task.content", self.content, what, found.content)
        if length >= len(found.characters):
            most = f"must be at most {len(found.characters) - 1}, the characters of {self.what} but the last"
            raise ConfigurationError(f"sequence_length={length}: {most}")
        object.__setattr__(self, "content", found.content)
        object.__setattr__(self, "path", self.path and user_files.absolute(self.path))

    @property
    def what(self) -> str:
        return self.path or "the shipped text"

    @property
    def text(self) -> Text:
        """What the file holds.

        Raises:
            LabError: it is not what it was when the task was built.
        """
        found = read(self.path)
        if found.content != self.content:
            raise LabError(f"{self.path} has changed since the run was configured: start the sweep again")
        return found

    @property
    def windows(self) -> int:
        """How many places there are where one may begin."""
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

    def identity_fields(self) -> dict[str, Any]:
        return {name: value for name, value in super().identity_fields().items() if name != "path"}

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        found = self.text
        begin = rng.choice(self.windows, batch_size, replace=False)
        window = found.characters[begin + np.arange(self.sequence_length + 1)[:, None]].astype(np.int64)
        return Batch(one_hot(window[:-1], len(found.alphabet)), window[1:].copy(), every_step(self.sequence_length))
