"""Training in the benchmarks: the same batches, weights and optimizer for everything that trains.

Index legend: U update, T time, B sequence, I input, O output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from benchmarks.problems import INPUTS, Array, Problem, Shape, drawn
from bpttlab.tasks import Noise
from bpttlab.tasks.task import Batch, Task
from bpttlab.training import Adam, Training, make_setup
from bpttlab.training.data import TrainingData
from bpttlab.training.update import Setup, TrainingState
from bpttlab.truncation.segmented import Full

UPDATES = 20
LEARNING_RATE = 1e-3


class Lesson(NamedTuple):
    """What is learnt: a network and a batch for each of UPDATES updates of Adam.

    Attributes:
        problem: the network; its own data are not used.
        x: (U, T, B, I)
        target: (U, T, B, O)
    """

    problem: Problem
    x: Array
    target: Array


def draw_lesson(kind: str, shape: Shape) -> Lesson:
    """The same in every call; the target is the input of the step before, which can be learnt."""
    problem = drawn(kind, shape)
    x = np.random.default_rng(1).standard_normal((UPDATES, shape.T, shape.B, INPUTS))
    return Lesson(problem, x, np.roll(x, 1, axis=1))


@dataclass(frozen=True)
class RecordedBatches(TrainingData):
    """Batches that are there already, one for each update, again and again."""

    task: Task
    batches: tuple[Batch, ...]

    def batch(self, update: int) -> Batch:
        return self.batches[(update - 1) % len(self.batches)]

    def validation(self) -> Batch:
        return self.batches[0]


def make_lesson_setup(lesson: Lesson, engine: str) -> tuple[Setup, TrainingState]:
    """This package's training of a lesson, with all that it records by default."""
    problem = lesson.problem
    task = Noise(sequence_length=problem.shape.T, input_size=INPUTS, output_size=INPUTS)
    settings = Training(updates=UPDATES + 1, learning_rate=LEARNING_RATE)
    setup, state = make_setup(
        problem.cell, problem.params, task, settings, Adam(), Full(), 0, problem.shape.B, "mean", engine
    )
    mask = np.ones(problem.shape.T)
    batches = tuple(Batch(x, target, mask) for x, target in zip(lesson.x, lesson.target, strict=True))
    return replace(setup, data=RecordedBatches(task, batches)), state


def train_lesson(setup: Setup, state: TrainingState) -> dict[str, Array]:
    """The losses of all updates."""
    losses = []
    for _ in range(UPDATES):
        state, row = setup.step(state)
        losses.append(row.loss)
    return {"losses": np.array(losses)}
