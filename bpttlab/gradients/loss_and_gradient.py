"""The loss of a network on some sequences and its gradient, in one call: `forward`, `losses.evaluate` and `backward`.

For whoever wants nothing else of the trajectory: with `engine="numba"` and a squared error there is next to nothing
between the compiled pieces, which of a small network is half of the time.

Index legend: T time, B sequence, I input, O output.
"""

from __future__ import annotations

import math

import numpy as np

from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import check_engine, forward, ready
from bpttlab.gradients.plan import HasPlan, Plan, plan_of
from bpttlab.networks.cells import Elman
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Reduction, evaluate, step_weights
from bpttlab.numerics.array import Array


def loss_and_gradient(
    cell: Cell,
    params: Params,
    x: Array,
    target: Array,
    mask: Array | None = None,
    loss: str = "squared_error",
    reduction: Reduction = "mean",
    h_0: Array | None = None,
    scheme: HasPlan | Plan | None = None,
    engine: str = "numpy",
) -> tuple[float, Params]:
    """L and dL/dparams.

    Args:
        cell, params, x, h_0, engine: as in `forward`.
        target: what the loss holds y_hat against, as in `losses.evaluate`.
        mask: (T,), the weight of each step; every step counts as much by default.
        loss, reduction: as in `losses.evaluate`.
        scheme: how the gradient is cut, as in `backward`; full by default.

    Returns:
        L, and the gradient keyed like the parameters, with "h_0" besides.

    Raises:
        LabError: whatever `forward`, `losses.evaluate` and `backward` raise.
    """
    check_engine(engine)
    if engine == "numba" and loss == "squared_error" and (scheme is None or cuts_nothing(scheme, len(x))):
        found = in_one_piece(cell, params, x, target, mask, reduction, h_0)
        if found is not None:
            return found
    trace = forward(cell, params, x, h_0, engine)
    counted = np.ones(len(trace.x)) if mask is None else mask
    evaluated = evaluate(loss, trace.y_hat, target, counted, reduction)
    return evaluated.value, backward(trace, evaluated, scheme)


def cuts_nothing(scheme: HasPlan | Plan, length: int) -> bool:
    """Whether it is a scheme whose gradient is the full one at this length; a plan is walked as it is."""
    return not isinstance(scheme, Plan) and plan_of(scheme, length).cuts_nothing


def in_one_piece(
    cell: Cell, params: Params, x: Array, target: Array, mask: Array | None, reduction: Reduction, h_0: Array | None
) -> tuple[float, Params] | None:
    """The same by compiled code alone; None where there is no kernel, or something asks for a closer look."""
    from bpttlab.gradients.compiled import dispatch, kernels

    if ready(cell, params, x, h_0) is None or dispatch.form(cell).output < 0:
        return None
    T, B = x.shape[:2]
    if not dispatch.fit({"": target}, {"": (T, B, cell.output_size)}, x.dtype):
        return None
    weights = uniform(T, reduction) if mask is None else step_weights(mask, reduction)
    if weights.shape != (T,):
        return None
    if isinstance(cell, Elman) and dispatch.is_small(x, params["W"]):
        return dispatch.in_one_call(cell, params, x, h_0, target, weights)
    h, y_hat, slopes, fine = dispatch.forward(cell, params, x, h_0)
    dy_hat = np.empty_like(target)
    value = kernels.squared_error(y_hat, target, weights, dy_hat) if fine and y_hat is not None else math.inf
    if y_hat is None or not math.isfinite(value):
        return None
    gradients = dispatch.backward(cell, params, x, h, slopes, y_hat, dy_hat)
    return None if gradients is None else (value, gradients)


def uniform(T: int, reduction: Reduction) -> Array:
    """`step_weights` where every step counts as much."""
    return np.full(T, 1.0 / T) if reduction == "mean" else step_weights(np.ones(T), reduction)
