"""The loss L_t of one step and its derivative with respect to the prediction, side by side.

L = mean over the batch of sum_t m_t L_t, divided by sum_t m_t where `reduction="mean"` (so that gradients compare
across lengths); `reduction="sum"` is the form of the notes. m_t is the task's mask: which steps count.

Index legend: T time, B sequence, O output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, DivergedError, nearest
from bpttlab.networks.activations import logistic, softplus
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class StepLoss:
    """L_t (T, B) and its derivative by y_hat (T, B, O), both functions of (y_hat, target)."""

    name: str
    per_step: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Loss:
    """A loss evaluated: its value and dL/dy_hat, shape (T, B, O), everything divided in already."""

    value: float
    gradient: Array

    def __repr__(self) -> str:
        return show_briefly(self)


def squared_error(y_hat: Array, target: Array) -> Array:
    """sum_o (y_hat_o - y_o)^2, without a factor 1/2.  (T,B,O), (T,B,O) -> (T,B)"""
    difference = y_hat - target
    return (difference * difference).sum(axis=-1)


def squared_error_slope(y_hat: Array, target: Array) -> Array:
    return 2.0 * (y_hat - target)


def softmax_cross_entropy(y_hat: Array, target: Array) -> Array:
    """-log softmax(y_hat)[target] in nats; y_hat are logits, target the class of each.  (T,B,O), (T,B) -> (T,B)"""
    shifted = y_hat - np.real(y_hat).max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, target[..., None], axis=-1)[..., 0]
    return np.log(np.exp(shifted).sum(axis=-1)) - chosen


def softmax_cross_entropy_slope(y_hat: Array, target: Array) -> Array:
    """softmax(y_hat) - one-hot target."""
    weights = np.exp(y_hat - y_hat.max(axis=-1, keepdims=True))
    slope = weights / weights.sum(axis=-1, keepdims=True)
    np.put_along_axis(slope, target[..., None], 0.0, axis=-1)
    others = slope.sum(axis=-1, keepdims=True)  # 1 - p of the right class, without the cancellation
    np.put_along_axis(slope, target[..., None], -others, axis=-1)
    return slope


def sigmoid_cross_entropy(y_hat: Array, target: Array) -> Array:
    """-sum_o [y_o log s_o + (1 - y_o) log(1 - s_o)] in nats, s = logistic(y_hat); y_hat are logits, y in [0, 1].

    (T,B,O), (T,B,O) -> (T,B). With y = 0 or 1 these are O independent questions. -log s is softplus(-y_hat) and
    -log(1 - s) is softplus(y_hat): no term is negative, so none cancels.
    """
    return (target * softplus(-y_hat) + (1.0 - target) * softplus(y_hat)).sum(axis=-1)


def sigmoid_cross_entropy_slope(y_hat: Array, target: Array) -> Array:
    """s - y, without the cancellation of a prediction that is nearly right."""
    return (1.0 - target) * logistic(y_hat) - target * logistic(-y_hat)


SQUARED_ERROR = StepLoss("squared_error", squared_error, squared_error_slope)
SOFTMAX = StepLoss("softmax_cross_entropy", softmax_cross_entropy, softmax_cross_entropy_slope)
SIGMOID = StepLoss("sigmoid_cross_entropy", sigmoid_cross_entropy, sigmoid_cross_entropy_slope)

LOSSES = {loss.name: loss for loss in (SQUARED_ERROR, SOFTMAX, SIGMOID)}
"""Those that come with bpttlab, by name."""


def find_loss(name: str) -> StepLoss:
    """The loss of that name, or a ConfigurationError that lists those there are."""
    found: StepLoss = LOSSES.get(name) or plugins.find("loss", name)
    return found


def advise_swap(*names: str) -> str:
    """The advice for arrays of which one has as many elements in its first axis as there are sequences."""
    written = " or ".join(f"{name}.swapaxes(0, 1)" for name in names)
    return f"; {' or '.join(names)} looks like (B, T, ...), and steps come before sequences: write {written}"


def refuse_no_readout(outputs: int) -> None:
    """Refuses a loss of a network without predictions."""
    if outputs == 0:
        raise ConfigurationError(
            "output_size=0: this network has no readout, and a loss needs its predictions: give output_size >= 1, "
            "or leave the loss out"
        )


def check_targets(axes: tuple[int, ...], target: Array, mask: Array | None = None) -> None:
    """Refuses a target or a mask for other steps or sequences than there are predictions.

    Args:
        axes: (T, B) of the predictions.
    """
    found, expected = np.shape(target)[:2], tuple(axes[:2])
    if found != expected:
        swapped = advise_swap("x", "target") if found == expected[::-1] else ""
        raise ConfigurationError(
            f"target: shape {np.shape(target)}; must begin with (T, B) = {expected}, the shape of predictions{swapped}"
        )
    if mask is not None and np.shape(mask) != expected[:1]:
        swapped = advise_swap("x") if np.shape(mask) == expected[1:] else ""
        raise ConfigurationError(f"mask: shape {np.shape(mask)}; must be (T,) = ({expected[0]},){swapped}")


def step_weights(mask: Array, reduction: Reduction) -> Array:
    """The weight of each step's loss in L: m_t, divided by sum_t m_t for `reduction="mean"`.  (T,) -> (T,)"""
    if reduction not in ("mean", "sum"):
        raise ConfigurationError(f"reduction={reduction!r}: must be mean or sum.{nearest(reduction, ('mean', 'sum'))}")
    weights = np.asarray(mask, dtype=float)
    if not np.logical_or.reduce(weights, axis=None):
        raise ConfigurationError("mask: no step has a loss; at least one entry must be non-zero")
    return weights / np.add.reduce(weights, axis=None) if reduction == "mean" else weights


def total(name: str, y_hat: Array, target: Array, mask: Array, reduction: Reduction = "mean") -> Any:
    """L alone, a scalar of the dtype of y_hat (complex for the complex step).

    Raises:
        DivergedError: L_t overflowed; the error names the first such step.
    """
    return weight_steps(name, y_hat, target, step_weights(mask, reduction))


def weight_steps(name: str, y_hat: Array, target: Array, weights: Array) -> Any:
    """`total` with the weight of every step."""
    refuse_no_readout(y_hat.shape[-1])
    counted = steps_that_count(weights)
    with np.errstate(over="ignore", invalid="ignore"):
        per_step = find_loss(name).per_step(y_hat[counted], target[counted])
    finite = np.isfinite(per_step)
    if not np.logical_and.reduce(finite, axis=None):
        steps = np.arange(len(weights))[counted]
        raise DivergedError(int(steps[~finite.all(axis=1)][0]) + 1, "the loss")
    per_sequence = weights[counted] @ per_step
    return np.add.reduce(per_sequence) / per_sequence.size


def steps_that_count(weights: Array) -> Any:
    """An index of the steps with a weight: a step that does not count may hold anything."""
    counted = weights != 0.0
    return np.s_[:] if np.logical_and.reduce(counted) else np.flatnonzero(counted)


def evaluate(name: str, y_hat: Array, target: Array, mask: Array, reduction: Reduction = "mean") -> Loss:
    """L and dL/dy_hat.

    Args:
        name: squared_error, softmax_cross_entropy or sigmoid_cross_entropy.
        y_hat: predictions (T, B, O).
        target: (T, B, O) numbers, in [0, 1] for the sigmoid; (T, B) classes for the softmax.
        mask: (T,), the weight m_t of each step.
        reduction: "mean" divides by sum_t m_t, "sum" does not.

    Raises:
        ConfigurationError: an unknown loss or reduction, a mask without a loss, or a target or mask for other steps
            or sequences, (B, T, ...) among them.
        DivergedError: L_t overflowed; the error names the first such step.
    """
    check_targets(y_hat.shape, target, mask)
    weights = step_weights(mask, reduction)
    value = float(weight_steps(name, y_hat, target, weights))
    counted, of_step = steps_that_count(weights), weights / y_hat.shape[1]
    gradient = np.zeros_like(y_hat)
    slope = find_loss(name).slope(y_hat[counted], target[counted])
    gradient[counted] = of_step[counted, None, None] * slope
    return Loss(value, gradient)
