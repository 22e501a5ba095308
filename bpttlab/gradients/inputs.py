"""What a network is given, checked: parameters, inputs and errors in one dtype, of the right shapes, and finite.

Index legend: T time, B sequence, I input, N hidden state, O output. Times count from 1 as in the notes.
"""

from __future__ import annotations

import numpy as np

from bpttlab.errors import ConfigurationError, DivergedError, NonFiniteError
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params, weights_dtype
from bpttlab.networks.lengths import cut_padding, find_valid
from bpttlab.networks.losses import Loss, advise_swap, refuse_no_readout
from bpttlab.numerics.array import Array


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


def errors_like(y_hat: Array, loss: Loss | Array) -> Array:
    """dL/dy_hat in the dtype of the predictions, of their shape, and finite.  (T,B,O)"""
    refuse_no_readout(y_hat.shape[-1])
    dL_dy_hat = np.asarray(loss.gradient if isinstance(loss, Loss) else loss, y_hat.dtype)
    if dL_dy_hat.shape != y_hat.shape:
        swapped = (
            advise_swap("x", "dL_dy_hat") if dL_dy_hat.shape == (y_hat.shape[1], len(y_hat), y_hat.shape[2]) else ""
        )
        found = f"loss: dL/dy_hat has shape {dL_dy_hat.shape}"
        raise ConfigurationError(f"{found}; must be (T, B, O) = {y_hat.shape}{swapped}")
    steps = np.flatnonzero(~np.isfinite(dL_dy_hat).all(axis=(1, 2)))
    if len(steps):
        raise NonFiniteError(f"loss: dL/dy_hat is not finite at step t = {steps[0] + 1}", int(steps[0]) + 1)
    return dL_dy_hat


def check_errors(trace: Trace, loss: Loss | Array) -> Array:
    """dL/dy_hat of a loss, or of what was given as such, checked against the predictions of a trace.  (T,B,O)

    Where sequences have padding it is zero there, whatever an array holds.

    Raises:
        ConfigurationError: the loss was evaluated in padding, too.
    """
    if trace.padded:
        loss = blank_errors(trace, loss)
    return errors_like(trace.y_hat, loss)


def blank_errors(trace: Trace, loss: Loss | Array) -> Array:
    """dL/dy_hat without what stands in padding; its shape is checked later."""
    dL_dy_hat = np.asarray(loss.gradient if isinstance(loss, Loss) else loss)
    if dL_dy_hat.shape != trace.y_hat.shape:
        return dL_dy_hat
    blank = cut_padding(dL_dy_hat, trace.lengths)
    if isinstance(loss, Loss) and not np.array_equal(blank, dL_dy_hat):
        counted = (dL_dy_hat != 0).any(axis=-1) & ~find_valid(trace.lengths, trace.length)
        b = int(np.argmax(counted.any(axis=0)))
        raise ConfigurationError(
            f"loss: counts steps of sequence {b} (from 0) after its last, t = {trace.lengths[b]}; "
            "it must be evaluated with lengths=trace.lengths"
        )
    return blank
