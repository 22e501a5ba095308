"""What a network is given, checked: parameters, inputs and errors in one dtype, of the right shapes, and finite.

Index legend: T time, B sequence, I input, N hidden state, O output. Times count from 1 as in the notes.
"""

from __future__ import annotations

import numpy as np

from bpttlab.errors import ConfigurationError, DivergedError, NonFiniteError
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params, weights_dtype
from bpttlab.networks.lengths import check_lengths, cut_padding
from bpttlab.networks.losses import Loss, advise_swap, refuse_no_readout
from bpttlab.numerics.array import Array, detach


def check_inputs(cell: Cell, params: Params, x: Array, h_0: Array | None) -> tuple[Array, Array]:
    """x and h_0 in the dtype of the weights, or an error that says which array is not as the cell needs it."""
    check_params(cell, params)
    complex_ones = [array for array in (x, h_0) if array is not None and np.iscomplexobj(array)]
    dtype = weights_dtype(params, *complex_ones)  # real data follow the weights, float32 ones too
    x = np.asarray(x, dtype)
    if x.ndim != 3 or len(x) < 1 or x.shape[2] != cell.x_size:
        raise ConfigurationError(f"x: shape {x.shape}; must be (T, B, I) with T >= 1 and {describe_width(cell)}")
    h_0 = np.zeros((x.shape[1], cell.state_size), dtype) if h_0 is None else np.asarray(h_0, dtype)
    if h_0.shape != (x.shape[1], cell.state_size):
        swapped = advise_swap("x") if h_0.shape == (len(x), cell.state_size) else ""
        raise ConfigurationError(f"h_0: shape {h_0.shape}; must be (B, N) = {(x.shape[1], cell.state_size)}{swapped}")
    steps = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
    if len(steps):
        raise NonFiniteError(f"x: not finite at step t = {steps[0] + 1}", int(steps[0]) + 1)
    if not np.isfinite(h_0).all():
        raise NonFiniteError("h_0: not finite", 0)
    return x, h_0


def describe_width(cell: Cell) -> str:
    """How many numbers x has of a step."""
    if cell.x_size == cell.input_size:
        return f"I = input_size = {cell.input_size}"
    beside = f"{cell.input_size} inputs and {cell.x_size - cell.input_size} draws"
    return f"I = {cell.x_size}, {beside}: give cell.extend_inputs(x, rng)"


def check_params(cell: Cell, params: Params) -> None:
    shapes = cell.parameter_shapes()
    if set(params) != set(shapes):
        raise ConfigurationError(f"params: has {', '.join(sorted(params))}; must have {', '.join(sorted(shapes))}")
    for name, shape in shapes.items():
        if params[name].shape != shape:
            raise ConfigurationError(f"params[{name!r}]: shape {params[name].shape}; must be {shape}")
        if not np.isfinite(params[name]).all():
            raise NonFiniteError(f"params[{name!r}]: not finite")


def check_finite(values: Array, what: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # then each of them is; a sum that overflows proves nothing
            return
    steps = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if len(steps):
        raise DivergedError(int(steps[0]) + 1, what)


def errors_like(y_hat: Array, loss: Loss | Array, lengths: Array | None = None) -> Array:
    """dL/dy_hat in the dtype of the predictions, of their shape, finite, and zero in padding.  (T,B,O)

    Args:
        lengths: (B,), the steps of each sequence; None: T of each.
    """
    refuse_no_readout(y_hat.shape[-1])
    lengths = np.full(y_hat.shape[1], len(y_hat)) if lengths is None else lengths
    dL_dy_hat = read_errors(y_hat, loss)
    if isinstance(loss, Loss):
        check_lengths_of_loss(loss, lengths, len(y_hat))
    dL_dy_hat = np.asarray(cut_padding(dL_dy_hat, lengths), y_hat.dtype)
    steps = np.flatnonzero(~np.isfinite(dL_dy_hat).all(axis=(1, 2)))
    if len(steps):
        raise NonFiniteError(f"loss: dL/dy_hat is not finite at step t = {steps[0] + 1}", int(steps[0]) + 1)
    return dL_dy_hat


def read_errors(y_hat: Array, loss: Loss | Array) -> Array:
    """dL/dy_hat of a loss, or what was given as such, of the shape of the predictions."""
    allowed = f"(T, B, O) = {y_hat.shape}"
    try:
        found = np.asarray(loss.gradient if isinstance(loss, Loss) else detach(loss))
    except ValueError:  # lists of lists that are no array
        found = np.asarray(None)
    if found.ndim == 0 or found.dtype.kind not in "biufc":
        shown = f"={loss!r}" if loss is None or np.isscalar(loss) else f": is a {type(loss).__name__}"
        raise ConfigurationError(f"loss{shown}; must be a Loss, as of losses.evaluate, or an array dL/dy_hat {allowed}")
    if found.shape != y_hat.shape:
        swapped = advise_swap("x", "dL_dy_hat") if found.shape == (y_hat.shape[1], len(y_hat), y_hat.shape[2]) else ""
        raise ConfigurationError(f"loss: dL/dy_hat has shape {found.shape}; must be {allowed}{swapped}")
    return found


def check_lengths_of_loss(loss: Loss, lengths: Array, T: int) -> None:
    """Refuses a loss that was evaluated over other steps of a sequence than there are.

    What it is in padding does not tell: a loss may be zero there, and its mean be one over too many steps.
    """
    own = np.full(len(lengths), T) if loss.lengths is None else check_lengths(loss.lengths, T, len(lengths))
    other = np.flatnonzero(own != lengths)
    if len(other):
        b = other[0]
        raise ConfigurationError(
            f"loss: is over {own[b]} steps of sequence {b} (from 0), and the trace has {lengths[b]}; "
            "lab.forward and losses.evaluate must have the same lengths"
        )


def check_errors(trace: Trace, loss: Loss | Array) -> Array:
    """dL/dy_hat of a loss, or of what was given as such, checked against the predictions of a trace.  (T,B,O)

    Where sequences have padding it is zero there, whatever an array holds.

    Raises:
        ConfigurationError: the loss was evaluated with other lengths than those of the trace.
    """
    return errors_like(trace.y_hat, loss, trace.lengths)
