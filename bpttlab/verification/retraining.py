"""Trainings of a study, done again from their configuration: the weights, and the first updates by definition.

`retrain` trains with the engine as the sweep did, for the weights at an update. `first_updates` uses no derivative and
no optimizer of the engine: gradients are central differences of the forward pass, written with `project`, `step` and
`read` of the cell, and the optimizer is a few lines. So a claim that compares them with those of
the engine fails if a gradient, the clipping or the optimizer is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.numerics.array import Array
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.trained_runs import setup_of
from bpttlab.tasks import Batch
from bpttlab.training.clipping import PYTORCH_EPS
from bpttlab.training.loop import Ongoing
from bpttlab.training.optimizers import SGD, Adam, Optimizer
from bpttlab.training.train import Trained, run_updates
from bpttlab.training.update import Setup
from bpttlab.verification.recomputation import EPSILON


class FirstUpdate(NamedTuple):
    """What a row of the table `training` has."""

    update: int
    loss: float
    log_gradient_norm: float


def parse(configuration: str) -> Configuration:
    """The configuration of a run, as `runs` has it (JSON)."""
    return Configuration.parse(json.loads(configuration))


def retrain(configuration: str) -> Trained:
    """The network of a trained run at the update of the run, with the same bytes as in the sweep."""
    run = parse(configuration)
    setup, state = setup_of(run)
    return run_updates(setup, Ongoing(state, state), progress=False, until=run.measured_update)


def first_updates(configuration: str, count: int) -> list[FirstUpdate]:
    """The first updates of a training by sequence, with SGD without momentum or Adam, and clipping by norm alone."""
    setup, state = setup_of(parse(configuration))
    vector, move, found = state.vector.astype(np.float64), plain_optimizer(setup.optimizer), []
    for update in range(1, count + 1):
        batch = setup.batch(update)

        def loss(at: Array, batch: Batch = batch) -> float:
            return plain_loss(setup, at, batch)

        gradient = central_differences(loss, vector)
        norm = float(np.linalg.norm(gradient))
        found.append(FirstUpdate(update, loss(vector), float(np.log(norm))))
        bound = setup.settings.clip_norm
        clipped = gradient if bound is None else gradient * min(1.0, bound / (norm + PYTORCH_EPS))
        vector = vector - setup.learning_rate * move(clipped)
    return found


def engine_updates(configuration: str, count: int) -> list[FirstUpdate]:
    """The first updates as the engine makes them."""
    setup, state = setup_of(parse(configuration))
    found = []
    for _ in range(count):
        state, row = setup.step(state)
        found.append(FirstUpdate(row.update, row.loss, row.log_gradient_norm))
    return found


def plain_loss(setup: Setup, vector: Array, batch: Batch) -> float:
    """The loss of a batch, step by step."""
    cell, params = setup.cell, setup.layout.params(vector)
    h = np.zeros((batch.x.shape[1], cell.state_size))
    states = [h := cell.step(params, z_t, h) for z_t in cell.project(params, batch.x)]
    return float(setup.task.loss(cell.read(params, np.array(states)), batch, setup.reduction).value)


def central_differences(loss: Callable[[Array], float], vector: Array) -> Array:
    """The gradient of a function of a vector."""
    steps = EPSILON * np.eye(len(vector))
    return np.array([loss(vector + step) - loss(vector - step) for step in steps]) / (2.0 * EPSILON)


def plain_optimizer(optimizer: Optimizer) -> Callable[[Array], Array]:
    """(gradient) -> the step at a learning rate of 1, of one update after the other."""
    if isinstance(optimizer, SGD) and not optimizer.momentum and not optimizer.weight_decay:
        return lambda gradient: gradient
    if type(optimizer) is Adam and not optimizer.weight_decay and not optimizer.amsgrad:
        return PlainAdam(optimizer)
    raise ConfigurationError(f"optimizer={optimizer.name}: first_updates has sgd without momentum, and adam")


class PlainAdam:
    """Kingma & Ba 2015, algorithm 1."""

    def __init__(self, adam: Adam) -> None:
        self.adam, self.t, self.m, self.v = adam, 0, np.zeros(()), np.zeros(())

    def __call__(self, gradient: Array) -> Array:
        b_1, b_2, self.t = self.adam.beta_1, self.adam.beta_2, self.t + 1
        self.m = b_1 * self.m + (1.0 - b_1) * gradient
        self.v = b_2 * self.v + (1.0 - b_2) * gradient**2
        return np.asarray((self.m / (1.0 - b_1**self.t)) / (np.sqrt(self.v / (1.0 - b_2**self.t)) + self.adam.eps))
