"""Updates within a sequence for estimators that go forward: a step of the optimizer after each step of time.

The influence M_t = dh_t/dtheta is carried on while the weights change. It belongs to older weights, as in the papers
(Williams & Zipser 1989; Tallec & Ollivier 2018a; Menick et al. 2021; Murray 2019). At a learning rate of zero the
gradients of all steps add up to that of the scheme. A step of time at which no loss counts has no update.

Numbers are plain: an influence that leaves their range ends the training as diverged.

Index legend: T time, B sequence, N hidden state, P entries of a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.engine import Engine
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.rflo import check_leak
from bpttlab.gradients.forward_mode.rtrl import check_bytes, immediate_derivatives
from bpttlab.gradients.forward_mode.snap import patterns, structure
from bpttlab.gradients.forward_mode.uoro import next_factors
from bpttlab.gradients.parameter_gradients import readout_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Reduction
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import stream
from bpttlab.tasks.task import Batch, Task
from bpttlab.training.windows import Window, loss_of_window
from bpttlab.truncation.forward import RFLO, UORO, SnAp
from bpttlab.truncation.scheme import Scheme

STATE = "h"
"""The name of the state of the network among what is carried on; the others are of the influence."""


class StepGradient(NamedTuple):
    """Loss and gradient of one step of time, and what is carried on from it."""

    loss: float
    gradient: Params
    carried: Params


@dataclass(frozen=True)
class Online:
    """A network that learns at each step of time.

    Attributes:
        cell, task, loops: the network, its sequences and the engine.
        scheme: RTRL, UORO, SnAp or RFLO.
        first: the weights before training, whose zeros are the structure that SnAp keeps.
        seed: of the signs of UORO.
        reduction: of the loss.
    """

    cell: Cell
    task: Task
    loops: Engine
    scheme: Scheme
    first: Params
    seed: int
    reduction: Reduction

    @cached_property
    def kept(self) -> dict[str, Array]:
        """The entries of M that SnAp keeps.  Each (N,P), booleans"""
        assert isinstance(self.scheme, SnAp)
        return patterns(*structure(self.cell, self.first), self.cell.units, self.scheme.steps)

    def gradient(
        self, params: Params, batch: Batch, number: int, since: int, t: int, carried: Params | None, h_0: Array | None
    ) -> StepGradient:
        """The gradient of the loss at step t, with the influence as it was carried on.

        Args:
            batch: all steps of the sequences; `number` is that of the batch.
            since: the step of the last update; 0: none of this batch.
            carried: of that update; None: the sequences begin with h_0.

        Raises:
            ConfigurationError: sequences differ in length, or the influence would take too much memory.
            DivergedError: the state overflowed.
        """
        if batch.lengths is not None:
            raise ConfigurationError("training.update=step: sequences must be equally long")
        h, influence = h_0, {}
        if carried is not None:
            h, influence = carried[STATE], {name: one for name, one in carried.items() if name != STATE}
        for step in range(since + 1, t + 1):
            trace = forward(self.cell, params, np.ascontiguousarray(batch.x[step - 1 : step]), h, self.loops)
            influence = self.advance(trace, influence, number, step)
            h = trace.h[1]
        loss = loss_of_window(self.task, trace.y_hat, batch, Window(0, t - 1, t, t - 1, None), self.reduction)
        recurrent = self.contract(influence, trace.error(loss.gradient)[0])
        gradient = {name: value.reshape(params[name].shape) for name, value in recurrent.items()}
        kept = {STATE: trace.h[1].copy(), **influence}
        return StepGradient(loss.value, {**readout_gradient(trace, loss.gradient), **gradient}, kept)

    def advance(self, trace: Trace, influence: Params, number: int, step: int) -> Params:
        """The influence after one more step, of a trace of this step alone; empty: zero before it."""
        if isinstance(self.scheme, UORO):
            rng = stream("training scheme", self.seed, self.scheme.name, number, step)
            return next_factors(trace, 1, influence, rng)
        if not influence:
            check_bytes(trace, self.cell.recurrent_parameters)
        new = immediate_derivatives(trace, 1)
        if influence:
            new = {name: self.carry(trace, influence[name]) + value for name, value in new.items()}
        return {name: value * self.kept[name] for name, value in new.items()} if self.masks else new

    @property
    def masks(self) -> bool:
        return isinstance(self.scheme, SnAp)

    def carry(self, trace: Trace, M: Array) -> Array:
        """J_t M_{t-1}, or of J_t the leak alone.  (B,N,P)"""
        if isinstance(self.scheme, RFLO):
            return M * M.dtype.type(1.0 - check_leak(trace))
        return trace.jacobian(1) @ M

    def contract(self, influence: Params, error_t: Array) -> Params:
        """dL_t/dh_t M_t, summed over sequences.  (B,N) -> (P,) each"""
        if not isinstance(self.scheme, UORO):
            return {name: np.einsum("bn,bnp->p", error_t, M) for name, M in influence.items()}
        along = (error_t * influence["s"]).sum(axis=1)
        names = self.cell.recurrent_parameters
        ends = np.cumsum([self.first[name].size for name in names])[:-1]
        return dict(zip(names, np.split(along @ influence["theta"], ends), strict=True))


def find_loss_steps(mask: Array) -> list[int]:
    """The steps, counted from 1, at which a loss counts.  (T,) or (T,B)"""
    counts = np.atleast_1d(mask.reshape(len(mask), -1).any(axis=1))
    return [int(step) + 1 for step in np.flatnonzero(counts)]
