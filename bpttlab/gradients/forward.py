"""The forward pass: inputs and weights -> `Trace`.

Index legend: T time, B sequence, I input, N hidden state, O output. Times count from 1 as in the notes; `h` has T+1
states with `h[0]` the initial one, arrays with T entries hold step t at index t-1.
"""

from __future__ import annotations

import numpy as np

from bpttlab.errors import ConfigurationError, DivergedError, NonFiniteError, nearest
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array

ENGINES = ("numpy", "numba")


def forward(cell: Cell, params: Params, x: Array, h_0: Array | None = None, engine: str = "numpy") -> Trace:
    """Run the network over x.

    Args:
        cell: the recurrence.
        params: its weights, named as in the notes.
        x: (T, B, I) inputs, T >= 1.
        h_0: (B, N) initial state, zero by default.
        engine: "numpy", or "numba" for compiled loops over t (`kernels`), which differ in the last bits. The trace
            keeps it, and what goes back through the trace follows it.

    Raises:
        ConfigurationError: a parameter or an input is missing or has another shape than the cell's, or there is no such
            engine.
        NonFiniteError: an input or a weight is NaN or infinite; the error names the first such step.
        DivergedError: the state overflowed; the error names the first such step.
    """
    check_engine(engine)
    found = compiled_forward(cell, params, x, h_0) if engine == "numba" else None
    return stepwise_forward(cell, params, x, h_0, engine) if found is None else found


def stepwise_forward(cell: Cell, params: Params, x: Array, h_0: Array | None, engine: str) -> Trace:
    """`forward` by the cell's own methods."""
    x, h_0 = check_inputs(cell, params, x, h_0)
    with np.errstate(over="ignore", invalid="ignore"):
        z, h = cell.project(params, x), np.empty((len(x) + 1, *h_0.shape), x.dtype)
        h[0] = h_0
        recur(cell, params, z, h)
        y_hat = cell.read(params, h[1:])
    check_finite(h[1:], "the hidden state")
    check_finite(y_hat, "the prediction")
    return Trace(cell, params, x, h, y_hat, engine)


def recur(cell: Cell, params: Params, z: Array, h: Array) -> None:
    """The recursion: h[1:] from h[0] and the projections."""
    for t in range(1, len(h)):
        h[t] = cell.step(params, z[t - 1], h[t - 1])


def compiled_forward(cell: Cell, params: Params, x: Array, h_0: Array | None) -> Trace | None:
    """The same in one piece, without Python between; None for a cell or a dtype that has no kernel.

    What is given is looked at twice only where it has to be converted, or something is wrong with it.
    """
    from bpttlab.gradients.compiled import dispatch

    given = ready(cell, params, x, h_0)
    if given is None:
        x, h_0 = check_inputs(cell, params, x, h_0)
        if not dispatch.has_kernel(cell, x.dtype):
            return None
        given = {name: dispatch.solid(value.astype(x.dtype, copy=False)) for name, value in params.items()}
        x, h_0 = dispatch.solid(x), dispatch.solid(h_0)
    h, y_hat, slopes, fine = dispatch.forward(cell, given, x, h_0)
    if not fine:
        check_inputs(cell, params, x, h_0)
        check_finite(h[1:], "the hidden state")
    if y_hat is None:
        with np.errstate(over="ignore", invalid="ignore"):
            y_hat = cell.read(params, h[1:])
    if not fine or dispatch.form(cell).output < 0:
        check_finite(y_hat, "the prediction")
    trace = Trace(cell, params, x, h, y_hat, "numba")
    return trace.with_linearization(slopes)


def ready(cell: Cell, params: Params, x: Array, h_0: Array | None) -> Params | None:
    """The parameters, where they, x and h_0 are such that compiled code can have them as they are."""
    from bpttlab.gradients.compiled import dispatch

    if (
        type(x) is not np.ndarray
        or not dispatch.has_kernel(cell, x.dtype)
        or not dispatch.fit(params, cell.parameter_shapes(), x.dtype)
    ):
        return None
    if x.ndim != 3 or len(x) < 1 or x.shape[2] != cell.input_size or not x.flags.carray:
        return None
    if h_0 is not None and not dispatch.fit({"h_0": h_0}, {"h_0": (x.shape[1], cell.state_size)}, x.dtype):
        return None
    return params


def check_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise ConfigurationError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}.{nearest(engine, ENGINES)}")
    if engine == "numba":
        from bpttlab.gradients.compiled import kernels

        kernels.check_installed()


def check_inputs(cell: Cell, params: Params, x: Array, h_0: Array | None) -> tuple[Array, Array]:
    """x and h_0 in the dtype of the weights, or an error that says which array is not as the cell needs it."""
    check_params(cell, params)
    complex_ones = [array for array in (x, h_0) if array is not None and np.iscomplexobj(array)]
    dtype = np.result_type(*params.values(), *complex_ones)  # real data follow the weights, float32 ones too
    x = np.asarray(x, dtype)
    if x.ndim != 3 or len(x) < 1 or x.shape[2] != cell.input_size:
        raise ConfigurationError(
            f"x: shape {x.shape}; must be (T, B, I) with T >= 1 and I = input_size = {cell.input_size}"
        )
    h_0 = np.zeros((x.shape[1], cell.state_size), dtype) if h_0 is None else np.asarray(h_0, dtype)
    if h_0.shape != (x.shape[1], cell.state_size):
        raise ConfigurationError(f"h_0: shape {h_0.shape}; must be (B, N) = {(x.shape[1], cell.state_size)}")
    steps = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
    if len(steps):
        raise NonFiniteError(f"x: not finite at step t = {steps[0] + 1}", int(steps[0]) + 1)
    if not np.isfinite(h_0).all():
        raise NonFiniteError("h_0: not finite", 0)
    return x, h_0


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
