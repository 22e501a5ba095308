"""The probe: the sequences on which every measured update of a training run is measured, and their loss.

Index legend: T time, B sequence, I input, O output.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, format_value
from bpttlab.networks import losses
from bpttlab.networks.lengths import check_lengths, cut_padding, drop_equal, find_valid
from bpttlab.networks.losses import Loss, find_loss
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task

LAST_STATE = "last_state"
"""The loss of a probe without targets: half the squared norm of the last h_T, mean over sequences."""


@dataclass(frozen=True)
class Probe(Task):
    """Fixed inputs with their targets, if there are some.

    Attributes:
        content: hash of inputs, targets and mask.
        loss: name of the loss; `last_state` without targets.
        batch: the sequences; the targets of a probe without are of no meaning.
        lengths: (B,) where sequences differ in length; None: they do not.
    """

    name: ClassVar[str] = "probe"
    prefix_stable: ClassVar[bool] = False

    content: Annotated[str, Field(description="hash of the sequences")] = ""
    loss_of_probe: Annotated[str, Field(description="the loss")] = LAST_STATE
    batch: Any = field(default=None, compare=False, repr=False)
    lengths: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Its fields are checked by `make_probe`."""

    @property
    def loss_name(self) -> str:
        return losses.SQUARED_ERROR.name if self.loss_of_probe == LAST_STATE else self.loss_of_probe

    @property
    def has_targets(self) -> bool:
        return self.loss_of_probe != LAST_STATE

    @property
    def input_size(self) -> int:
        return int(self.batch.x.shape[2])

    @property
    def output_size(self) -> int:
        return int(self.batch.target.shape[-1]) if self.batch.target.ndim == 3 else 1

    @property
    def baseline_loss(self) -> float:
        return float("nan")

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        batch: Batch = self.batch
        return batch

    def identity_fields(self) -> dict[str, Any]:
        """What a run's identity has of it."""
        return {"content": self.content, "loss": self.loss_of_probe}

    def evaluate(self, y_hat: Array) -> Loss:
        """The loss of predictions (T, B, O); of a probe without targets they are the states themselves."""
        target, mask = self.batch.target, self.batch.mask
        if self.has_targets:
            return losses.evaluate(self.loss_name, y_hat, target, mask, lengths=self.lengths)
        weights = (mask if mask.ndim == 2 else mask[:, None])[..., None] / y_hat.shape[1]
        return Loss(float((weights * y_hat**2).sum() / 2), weights * y_hat, self.lengths)


def make_probe(x: Any, targets: Any = None, loss: str | None = None, lengths: Any = None) -> Probe:
    """A probe of inputs (T, B, I).

    Args:
        targets: (T, B, O) numbers, or (T, B) classes, of every step; (B, O) or (B,) of the last step alone.
        loss: a loss of `losses`; None: the softmax cross-entropy for classes, the squared error for numbers.
        lengths: (B,) steps of each sequence; None: T of each. What stands after them is not read.

    Raises:
        ConfigurationError: naming the argument, its value and what is allowed.
    """
    x = check_shape_of_probe(copy_array("probe", x))
    T, B = x.shape[:2]
    steps = None if lengths is None else check_lengths(copy_array("lengths", lengths), T, B)
    valid = np.ones((T, B), bool) if steps is None else find_valid(steps, T)
    check_valid_steps("probe", x, valid)
    if targets is None:
        if loss is not None:
            raise ConfigurationError(f"loss={format_value(loss)}: a probe has a loss only with targets=")
        whole, mask, name = np.zeros((T, B, 1)), last_of_each(valid), LAST_STATE
    else:
        whole, mask, name = with_targets(copy_array("targets", targets), loss, valid)
    batch = cut_batch(Batch(x, whole, mask), steps)
    arrays = {"x": batch.x, "target": batch.target, "mask": batch.mask}
    padded = None if steps is None else drop_equal(steps)
    content = hash_arrays(arrays | ({} if padded is None else {"lengths": padded}))
    return Probe(len(batch.x), content, name, batch, padded)


def check_shape_of_probe(x: Array) -> Array:
    """The inputs in float64."""
    if x.ndim != 3 or 0 in x.shape:
        raise ConfigurationError(f"probe: shape {x.shape}; must be (T, B, I), steps first, none of them 0")
    if x.dtype.kind not in "fiub":
        raise ConfigurationError(f"probe: has the type {x.dtype}; must be real numbers")
    return x.astype(np.float64)


def check_valid_steps(name: str, values: Array, valid: Array) -> None:
    """Refuses a value of a valid step that is not finite."""
    bad = ~np.isfinite(values.reshape(*values.shape[:2], -1)).all(axis=-1) & valid
    if bad.any():
        raise ConfigurationError(
            f"{name}: not finite at step t = {int(np.argmax(bad.any(axis=1))) + 1}; must be finite"
        )


def last_of_each(valid: Array) -> Array:
    """The mask of one loss at the last step of each sequence.  (T,B) -> (T,B)"""
    return (valid & ~np.vstack([valid[1:], np.zeros_like(valid[:1])])).astype(float)


def cut_batch(batch: Batch, lengths: Array | None) -> Batch:
    """The batch up to its longest sequence, with zeros for padding; a mask (T,) where all sequences have one."""
    if lengths is None:
        lengths = np.full(batch.x.shape[1], len(batch.x))
    x, target, mask = (cut_padding(values, lengths) for values in (batch.x, batch.target, batch.mask))
    alike = (mask == mask[:, :1]).all()
    return Batch(x, target, mask[:, 0].copy() if alike else mask)


def with_targets(targets: Array, loss: str | None, valid: Array) -> tuple[Array, Array, str]:
    """The targets of every step, the mask of steps that have one, (T,B), and the name of the loss."""
    are_classes = targets.dtype.kind in "iu" if loss is None else loss == losses.SOFTMAX.name
    name = loss or (losses.SOFTMAX.name if are_classes else losses.SQUARED_ERROR.name)
    if not isinstance(name, str):
        raise ConfigurationError(f"loss={format_value(name)}: must be the name of a loss: {', '.join(losses.LOSSES)}")
    find_loss(name)
    T, B = valid.shape
    ndim = 2 if are_classes else 3
    allowed = "(T, B) classes, or (B,) of the last step" if are_classes else "(T, B, O), or (B, O) of the last step"
    axes = {ndim: (T, B), ndim - 1: (B,)}.get(targets.ndim)
    if axes is None or targets.shape[: len(axes)] != axes:
        swapped = "; steps come before sequences" if targets.shape[:2] == (B, T) else ""
        raise ConfigurationError(f"targets: shape {targets.shape}; must be {allowed}, T = {T}, B = {B}{swapped}")
    if targets.dtype.kind not in ("iu" if are_classes else "fiub"):
        kind = "integers, classes" if are_classes else "real numbers"
        raise ConfigurationError(f"targets: has the type {targets.dtype}; must be {kind}")
    targets, mask = targets.astype(np.int64 if are_classes else np.float64), valid.astype(float)
    if targets.ndim < ndim:
        mask, whole = last_of_each(valid), np.zeros((T, *targets.shape), targets.dtype)
        whole[np.nonzero(mask.T)[1], np.arange(B)] = targets
        targets = whole
    check_valid_steps("targets", targets, valid)
    return targets, mask, name


def copy_array(name: str, values: Any) -> Array:
    """An array of anything that is one: a tensor of PyTorch on any device, an array of JAX, lists of numbers."""
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu().double() if values.dtype.is_floating_point else values.detach().cpu()
        found = np.asarray(values)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ConfigurationError(
            f"{name}: cannot be read as an array ({error}); must be an array or a tensor"
        ) from None
    if found.dtype == object:
        raise ConfigurationError(f"{name}={format_value(values)}: must be an array or a tensor of numbers")
    return found


def hash_arrays(arrays: dict[str, Array]) -> str:
    """32 digits of the SHA-256 of named arrays."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape};".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:32]


def to_number(value: Any) -> float | None:
    """A loss as a number, of a tensor too; None stays None, and what is NaN is missing."""
    if value is None:
        return None
    number = float(value.detach()) if hasattr(value, "detach") else float(value)
    return None if np.isnan(number) else number
