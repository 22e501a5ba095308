"""The loss L_t of one step and its derivative with respect to the prediction, side by side.

L = mean over the batch of sum_t m_t L_t, divided by sum_t m_t where `reduction="mean"` (so that gradients compare
across lengths); `reduction="sum"` is the form of the notes. m_t is the task's mask: which steps count.

Where sequences have a length of their own, their padding does not count: with m_tb = m_t up to the length of sequence
b and 0 after it, "sum" is the mean over the batch of sum_t m_tb L_tb, and "mean" is sum_tb m_tb L_tb / sum_tb m_tb, the
mean over all steps that count, whichever sequence they belong to.

Index legend: T time, B sequence, O output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, DivergedError, nearest
from bpttlab.networks.activations import logistic, softplus
from bpttlab.networks.lengths import check_lengths, cut_padding, drop_equal, find_valid
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
    """A loss evaluated.

    Attributes:
        value: L.
        gradient: dL/dy_hat, (T, B, O), everything divided in already.
        lengths: (B,) integers, the steps of each sequence over which it was evaluated; None: T of each. A trace goes
            back from it only if it has the same lengths.
    """

    value: float
    gradient: Array
    lengths: Any = field(default=None, repr=False)

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
            "output_size=0: this network has no readout, and a loss needs its predictions: give output_size >= 1 "
            "(read=… to lab.from_torch or lab.from_jax), or leave the loss out"
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
    if mask is not None and np.shape(mask) not in (expected[:1], expected):
        swapped = advise_swap("x") if np.shape(mask) == expected[1:] else ""
        raise ConfigurationError(f"mask: shape {np.shape(mask)}; must be (T,) = ({expected[0]},){swapped}")


def check_classes(target: Array, outputs: int) -> None:
    """Refuses a class that no prediction is of."""
    if target.dtype.kind not in "iu":
        raise ConfigurationError(
            f"target: has the type {target.dtype}; must be integers, classes from 0 to {outputs - 1}"
        )
    outside = target[(target < 0) | (target >= outputs)]
    if len(outside):
        raise ConfigurationError(
            f"target: holds the class {outside[0]}; must be from 0 to {outputs - 1}, as predictions have O = {outputs}"
        )


def step_weights(mask: Array, reduction: Reduction) -> Array:
    """The weight of each step's loss in L: m_t, divided by sum_t m_t for `reduction="mean"`.  (T,) -> (T,)

    Of a mask (T, B), the weight of each step of each sequence beside the 1/B of the mean over the batch.
    """
    if reduction not in ("mean", "sum"):
        raise ConfigurationError(f"reduction={reduction!r}: must be mean or sum.{nearest(reduction, ('mean', 'sum'))}")
    weights = np.asarray(mask, dtype=float)
    if not np.logical_or.reduce(weights, axis=None):
        raise ConfigurationError("mask: no step has a loss; at least one entry must be non-zero")
    if reduction == "sum":
        return weights
    mean = weights / np.add.reduce(weights, axis=None)
    return mean if weights.ndim == 1 else mean * weights.shape[1]


class Counted(NamedTuple):
    """The steps with a weight and what the loss is evaluated at there; where a sequence has no weight, at zeros.

    Attributes:
        steps: an index of the steps.
        weights: (S,) or (S, B).
        y_hat, target: (S, B, ...).
    """

    steps: Any
    weights: Array
    y_hat: Array
    target: Array

    @classmethod
    def of(cls, y_hat: Array, target: Array, weights: Array) -> Counted:
        steps = steps_that_count(weights)
        weights, y_hat, target = weights[steps], y_hat[steps], target[steps]
        if weights.ndim == 1:
            return cls(steps, weights, y_hat, target)
        y_hat, target = np.array(y_hat), np.array(target)
        y_hat[weights == 0.0], target[weights == 0.0] = 0, 0
        return cls(steps, weights, y_hat, target)

    def keep(self, values: Array) -> Array:
        """Zero where a sequence has no weight.  (S,B,...)"""
        if self.weights.ndim == 1:
            return values
        return np.where(self.weights.reshape(*self.weights.shape, *[1] * (values.ndim - 2)) != 0.0, values, 0.0)


def total(
    name: str,
    y_hat: Array,
    target: Array,
    mask: Array | None = None,
    reduction: Reduction = "mean",
    lengths: Any = None,
) -> Any:
    """L alone, a scalar of the dtype of y_hat (complex for the complex step); arguments as in `evaluate`.

    Raises:
        DivergedError: L_t overflowed; the error names the first such step.
    """
    y_hat, target, mask = valid_steps(y_hat, target, mask, lengths)
    return weight_steps(name, y_hat, target, step_weights(mask, reduction))


def weight_steps(name: str, y_hat: Array, target: Array, weights: Array) -> Any:
    """`total` with the weight of every step."""
    refuse_no_readout(y_hat.shape[-1])
    counted = Counted.of(y_hat, target, weights)
    if name == SOFTMAX.name:
        check_classes(counted.target, y_hat.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        per_step = counted.keep(find_loss(name).per_step(counted.y_hat, counted.target))
    finite = np.isfinite(per_step)
    if not np.logical_and.reduce(finite, axis=None):
        steps = np.arange(len(weights))[counted.steps]
        raise DivergedError(int(steps[~finite.all(axis=1)][0]) + 1, "the loss")
    if weights.ndim == 1:
        per_sequence = counted.weights @ per_step
    else:
        per_sequence = np.add.reduce(counted.weights * per_step, axis=0)
    return np.add.reduce(per_sequence) / per_sequence.size


def steps_that_count(weights: Array) -> Any:
    """An index of the steps with a weight: a step that does not count may hold anything."""
    counted = weights != 0.0 if weights.ndim == 1 else (weights != 0.0).any(axis=1)
    return np.s_[:] if np.logical_and.reduce(counted) else np.flatnonzero(counted)


def valid_steps(y_hat: Array, target: Array, mask: Array | None, lengths: Any) -> tuple[Array, Array, Array]:
    """All three up to the end of the longest sequence, with a mask (T, B) that is zero in padding; checked.

    Where all lengths are equal the mask remains (T,), and where there are none all remain as they are. Without a mask
    every step counts as much.
    """
    mask = np.ones(len(y_hat)) if mask is None else mask
    if lengths is None:
        check_targets(y_hat.shape, target, mask)
        return y_hat, target, mask
    lengths = check_lengths(lengths, *y_hat.shape[:2])
    longest = int(lengths.max())
    y_hat, target, mask = y_hat[:longest], np.asarray(target)[:longest], np.asarray(mask, float)[:longest]
    check_targets(y_hat.shape, target, mask)
    if drop_equal(lengths) is None:
        return y_hat, target, mask
    each = mask if mask.ndim == 2 else np.broadcast_to(mask[:, None], (longest, len(lengths)))
    return cut_padding(y_hat, lengths), cut_padding(target, lengths), np.where(find_valid(lengths, longest), each, 0.0)


def evaluate(
    name: str,
    y_hat: Array,
    target: Array,
    mask: Array | None = None,
    reduction: Reduction = "mean",
    lengths: Any = None,
) -> Loss:
    """L and dL/dy_hat.

    Args:
        name: squared_error (sum over outputs of (y_hat - target)^2, without a factor 1/2), softmax_cross_entropy or
            sigmoid_cross_entropy.
        y_hat: predictions (T, B, O).
        target: (T, B, O) numbers, in [0, 1] for the sigmoid; (T, B) classes for the softmax.
        mask: (T,), the weight m_t of each step; or (T, B), of each step of each sequence. None: every step counts as
            much.
        reduction: "mean" divides by sum_t m_t, "sum" does not.
        lengths: (B,) integers, where sequences have a length of their own: no step after it counts, and what stands
            there is not read. Target and mask may then have more steps than y_hat, such as those that `forward` cuts
            off. "mean" divides by the weights of all valid steps together: it is the mean over the valid steps of the
            batch, as PyTorch's `(loss * mask).sum() / mask.sum()`.

    Returns:
        Its gradient has the shape of y_hat, and zeros in padding. It keeps the lengths.

    Raises:
        ConfigurationError: an unknown loss or reduction, a mask without a loss, lengths that cannot be, or a target or
            mask for other steps or sequences, (B, T, ...) among them.
        DivergedError: L_t overflowed; the error names the first such step.
    """
    gradient, whole = np.zeros_like(y_hat), y_hat.shape[:2]
    y_hat, target, mask = valid_steps(y_hat, target, mask, lengths)
    weights = step_weights(mask, reduction)
    value = float(weight_steps(name, y_hat, target, weights))
    counted = Counted.of(y_hat, target, weights)
    of_step = counted.weights / y_hat.shape[1]
    slope = counted.keep(find_loss(name).slope(counted.y_hat, counted.target))
    gradient[: len(y_hat)][counted.steps] = of_step.reshape(*of_step.shape, *[1] * (3 - of_step.ndim)) * slope
    return Loss(value, gradient, None if lengths is None else check_lengths(lengths, *whole))
