"""Updates within a sequence: a step of the optimizer after each window, the state carried on, the cotangent cut.

This is what frameworks call truncated back-propagation. The weights change while the sequence is read, so that the
state before a window comes from older weights: it is not the gradient of the scheme, whose weights are fixed. At a
learning rate of zero the gradients of all windows add up to it.

A window in which no loss counts has no update; the state goes through it with the weights of the next one. A window of
`windowed` begins k2 - k1 steps early, at the state that was stored there, and has the losses of its last k1 steps.

Index legend: T time, B sequence, N hidden state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.engine import Engine
from bpttlab.gradients.forward import forward
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss, Reduction
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task
from bpttlab.truncation.scheme import Segmented

UpdatePlace = TypeVar("UpdatePlace")


class Window(NamedTuple):
    """The steps of an update.

    Attributes:
        carried_from: after so many steps is the state that was carried on; 0: h_0.
        start, stop: the gradient goes back from h_stop to h_start.
        loss_from: losses after this step count.
        carry: after so many steps is the state that is carried on to the next window; None: there is none in the batch.
    """

    carried_from: int
    start: int
    stop: int
    loss_from: int
    carry: int | None


class WindowGradient(NamedTuple):
    """Loss and gradient of a window, and the state that is carried on; None at the end of a batch."""

    loss: float
    gradient: Params
    carried: Array | None


def find_windows(scheme: Segmented, mask: Array) -> list[Window]:
    """The windows of a batch that have a loss, in their order.

    Args:
        mask: (T,) or (T, B), as in `Batch`.
    """
    counts = np.atleast_1d(mask.reshape(len(mask), -1).any(axis=1))
    segments = [one for one in scheme.segments(len(mask)) if counts[one[2] : one[1]].any()]
    found, carried_from = [], 0
    for number, (start, stop, loss_from) in enumerate(segments):
        following = segments[number + 1][0] if number + 1 < len(segments) else None
        carry = None if following is None else min(following, stop)
        found.append(Window(carried_from, start, stop, loss_from, carry))
        carried_from = carry or 0
    return found


def gradient_of_window(
    cell: Cell, params: Params, task: Task, batch: Batch, window: Window, h: Array | None, reduction: Reduction,
    loops: Engine,
) -> WindowGradient:  # fmt: skip
    """The gradient of the losses of a window, back to its start.

    Args:
        batch: all steps of the sequences.
        h: (B, N) the state after `window.carried_from` steps; None: zero.

    Raises:
        ConfigurationError: sequences differ in length.
        DivergedError, GradientRangeError: as `forward` and `backward`.
    """
    if batch.lengths is not None:
        raise ConfigurationError("training.update=window: sequences must be equally long")
    if window.carried_from < window.start:
        h = forward(cell, params, batch.x[window.carried_from : window.start], h, loops).h[-1]
    trace = forward(cell, params, np.ascontiguousarray(batch.x[window.start : window.stop]), h, loops)
    loss = loss_of_window(task, trace.y_hat, batch, window, reduction)
    carried = None if window.carry is None else trace.h[window.carry - window.start].copy()
    return WindowGradient(loss.value, backward(trace, loss), carried)


def loss_of_window(task: Task, y_hat: Array, batch: Batch, window: Window, reduction: Reduction) -> Loss:
    """The part of the loss of whole sequences that the steps of a window contribute."""
    steps = slice(window.start, window.stop)
    mask = batch.mask[steps].copy()
    mask[: window.loss_from - window.start] = 0.0
    part = replace(batch, x=batch.x[steps], target=batch.target[steps], mask=mask, relevant_step=None)
    found = task.loss(y_hat, part, "sum")
    if reduction == "sum":
        return found
    factor = (batch.x.shape[1] if batch.mask.ndim == 2 else 1.0) / float(batch.mask.sum())
    return Loss(found.value * factor, found.gradient * factor)


def place_of(update: int, places: Sequence[UpdatePlace]) -> tuple[int, UpdatePlace]:
    """The number of the batch of an update, counted from 1, and its window or step."""
    batch, place = divmod(update - 1, len(places))
    return batch + 1, places[place]
