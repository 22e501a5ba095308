"""The last equation of the notes, term by term, in O(T^2): the oracle that all other gradients are tested against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array


def literal_sum(trace: Trace, loss: Loss | Array, keeps: Callable[[int, int], bool] = lambda t, k: True) -> Params:
    """The notes' last equation, term by term, O(T^2): the oracle of the tests.

        dL_t/dtheta = dL_t/dy_hat_t dy_hat_t/dh_t  sum_{k=1..t} ( prod_{i=k+1..t} dh_i/dh_{i-1} )  d+h_k/dtheta

    It shares the immediate derivatives with `backward`; the way back through time is the product of explicit Jacobians.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        keeps: whether the term of loss t and step k counts; a truncation keeps some.

    Returns:
        The recurrent parameters, V and "h_0", whose immediate derivative is that of step k = 1.
    """
    cell, error = trace.cell, trace.error(check_errors(trace, loss))
    names = [name for name in trace.params if name in cell.recurrent_parameters]
    total: Params = {"h_0": np.zeros_like(trace.h[0]), **{name: np.zeros_like(trace.params[name]) for name in names}}
    for t in range(1, trace.length + 1):  # every loss L_t
        row = error[t - 1]  # dL_t/dy_hat_t dy_hat_t/dh_t
        for k in range(t, 0, -1):  # most recent term first
            if keeps(t, k):
                da_k, _ = cell.vjp(trace.params, trace.linearization[k - 1], row)
                term = cell.parameter_vjp(trace.local.at(slice(k - 1, k)), da_k[None])
                total.update({name: total[name] + term[name] for name in names})
                if k == 1:
                    total["h_0"] = total["h_0"] + np.einsum("bn,bnm->bm", row, trace.jacobian(1))
            row = np.einsum("bn,bnm->bm", row, trace.jacobian(k))  # ... times dh_k/dh_{k-1}
    return total
