"""The loss of a network on some sequences and its gradient, in one call: `forward`, `losses.evaluate` and `backward`.

Use it if you need nothing else of the trajectory. With `engine="numba"` and a squared error there is almost no Python
between the compiled parts; in a small network this would be half of the time.

Index legend: T time, B sequence, I input, O output.
"""

from __future__ import annotations

import numpy as np

from bpttlab.gradients.backward import backward, cuts_nothing
from bpttlab.gradients.engine import find_engine
from bpttlab.gradients.plan import HasPlan, Plan
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Reduction, check_targets, evaluate
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
    check_targets(np.shape(x), target, mask)
    loops = find_engine(engine)
    if loss == "squared_error" and cuts_nothing(scheme, len(x)):
        found = loops.loss_and_gradient(cell, params, x, target, mask, reduction, h_0)
        if found is not None:
            return found
    trace = loops.forward(cell, params, x, h_0)
    counted = np.ones(len(trace.x)) if mask is None else mask
    evaluated = evaluate(loss, trace.y_hat, target, counted, reduction)
    return evaluated.value, backward(trace, evaluated, scheme)
