"""Quantities of a stored run, computed again by definition: central differences of the forward pass, multiplied out.

It uses no derivative of the engine, neither `linearize`, `vjp` and `jacobian` nor the walks back. So a claim that
compares a stored number with one of these fails if the engine is wrong. It needs `project`, `step` and `read` of the
cell, the loss as a number, and the weights and data of the run, which follow from its configuration. It is slow, and
made for a few small runs.

    J_t[:, m] = (step(h_{t-1} + eps e_m) - step(h_{t-1} - eps e_m)) / (2 eps)

Index legend: T time, B sequence, I input, N state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from bpttlab.networks.cells import Cell
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network, run_network
from bpttlab.tasks import Batch

EPSILON = 1e-5
"""Of central differences: their error is about eps^2, and as much from rounding."""


class Pass(NamedTuple):
    """A forward pass, computed step by step.

    Attributes:
        cell, params: the network.
        x, h: inputs (T, B, I) and states (T+1, B, N).
        batch: the data.
        loss: (predictions (T, 1, O), batch of one sequence) -> its loss.
    """

    cell: Cell
    params: Params
    x: Array
    h: Array
    batch: Batch
    loss: Callable[[Array, Batch], float]


def replay(configuration: str | Mapping[str, Any]) -> Pass:
    """The forward pass of a run, from its configuration as `runs` has it (JSON)."""
    read = json.loads(configuration) if isinstance(configuration, str) else configuration
    parsed = Configuration.parse(read)
    cell, params = build_network(parsed)
    trace, batch = run_network(parsed)
    z, states = cell.project(params, trace.x), [trace.h[0]]
    for z_t in z:
        states.append(cell.step(params, z_t, states[-1]))

    def loss(y_hat: Array, one: Batch) -> float:
        return float(parsed.task.loss(y_hat, one, parsed.values.reduction).value)

    return Pass(cell, params, trace.x, np.array(states), batch, loss)


# ---------------------------------------------------------------------------------------------------- one step


def _jvp(found: Pass, t: int, v: Array) -> Array:
    """J_t v of every sequence, t from 1.  (B, N) -> (B, N)"""
    z_t = found.cell.project(found.params, found.x[t - 1 : t])[0]
    ends = (found.cell.step(found.params, z_t, found.h[t - 1] + sign * EPSILON * v) for sign in (1.0, -1.0))
    return np.subtract(*ends) / (2.0 * EPSILON)


def jacobian(found: Pass, t: int, sequence: int) -> Array:
    """J_t of one sequence, t from 1.  -> (N, N)"""
    z_t = found.cell.project(found.params, found.x[t - 1 : t, sequence : sequence + 1])[0]
    h, steps = found.h[t - 1, sequence], EPSILON * np.eye(found.h.shape[-1])
    wide = np.repeat(z_t, 2 * len(steps), axis=0)
    up, down = np.split(found.cell.step(found.params, wide, np.concatenate([h + steps, h - steps])), 2)
    return (up - down).T / (2.0 * EPSILON)


def _input_jacobian(found: Pass, t: int, sequence: int) -> Array:
    """dh_t/dx_t of one sequence.  -> (N, I)"""
    x, steps = found.x[t - 1, sequence], EPSILON * np.eye(found.x.shape[-1])
    z = found.cell.project(found.params, np.concatenate([x + steps, x - steps])[None])[0]
    h_prev = np.repeat(found.h[t - 1, sequence][None], len(z), axis=0)
    up, down = np.split(found.cell.step(found.params, z, h_prev), 2)
    return (up - down).T / (2.0 * EPSILON)


# ---------------------------------------------------------------------------------------------------- many steps


def products(found: Pass, sequence: int = 0) -> Iterator[tuple[float, Array]]:
    """P = J_T ... J_{T-l+1} for l = 0, 1, ..., T, each as (log s, P / s): no product overflows."""
    P, log_size = np.eye(found.h.shape[-1]), 0.0
    yield log_size, P
    for t in range(len(found.x), 0, -1):
        P = P @ jacobian(found, t, sequence)
        size = float(np.abs(P).max())
        P, log_size = P / size, log_size + float(np.log(size))
        yield log_size, P


def recompute_log_norms(found: Pass, sequence: int = 0) -> Array:
    """(log ||P||_2, log(||P||_F / sqrt N)) of lags 0 to T.  -> (T+1, 2)"""
    half = 0.5 * np.log(found.h.shape[-1])
    return np.array(
        [
            (log_size + np.log(np.linalg.norm(P, 2)), log_size + np.log(np.linalg.norm(P)) - half)
            for log_size, P in products(found, sequence)
        ]
    )


def growth_along(found: Pass, v: Array, transient: int) -> Array:
    """Mean growth a step of ||J_t ... J_1 v|| after the transient.  (N,) -> (B,)"""
    carried, grown = np.tile(v, (found.h.shape[1], 1)), np.zeros(found.h.shape[1])
    for t in range(1, len(found.x) + 1):
        carried = _jvp(found, t, carried)
        size = np.linalg.norm(carried, axis=-1)
        carried = carried / size[:, None]
        grown += np.log(size) if t > transient else 0.0
    return grown / (len(found.x) - transient)


def log_input_gradient(found: Pass, step: int, sequence: int) -> float:
    """log ||dL/dx_step|| of one sequence, L the loss of that sequence alone; step from 1."""
    back = np.zeros(found.h.shape[-1])
    for t in range(len(found.x), step, -1):
        back = (back + state_error(found, t, sequence)) @ jacobian(found, t, sequence)
    back = back + state_error(found, step, sequence)
    return float(np.log(np.linalg.norm(back @ _input_jacobian(found, step, sequence))))


def state_error(found: Pass, t: int, sequence: int) -> Array:
    """dL/dh_t of one sequence by way of its prediction at t alone.  -> (N,)"""
    if found.batch.mask[t - 1] == 0:
        return np.zeros(found.h.shape[-1])
    one = slice(sequence, sequence + 1)
    alone = Batch(found.batch.x[:, one], found.batch.target[:, one], found.batch.mask)
    y_hat = found.cell.read(found.params, found.h[1:, one])
    error = np.zeros(found.h.shape[-1])
    for m, step in enumerate(EPSILON * np.eye(len(error))):
        ends = []
        for moved in (found.h[t, one] + step, found.h[t, one] - step):
            changed = y_hat.copy()
            changed[t - 1] = found.cell.read(found.params, moved)
            ends.append(found.loss(changed, alone))
        error[m] = (ends[0] - ends[1]) / (2.0 * EPSILON)
    return error
