"""Derivatives of Jacobians against differences of Jacobians that no derivative rule of the package computes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bpttlab.gradients.second_derivatives import jacobian_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.verification.cells import worst_of
from bpttlab.verification.check import Check, agree, checks
from bpttlab.verification.examples import example, kinds, variants
from bpttlab.verification.gradient_check import (
    CENTRAL_AGREEMENT,
    COMPLEX_STEP,
    central_difference,
    largest,
    worst,
)
from bpttlab.verification.path_derivatives import one_step

DIFFERENCES = "central differences of Jacobians by complex steps"


def jacobians_by_complex_step(cell: Cell, params: Params, x: Array, h_0: Array) -> Array:
    """J_1, ..., J_T along the trajectory from h_0, by `Cell.project` and `Cell.step` alone.  (T,B,N,N)"""
    (B, N), h, found = h_0.shape, h_0, []
    for x_t in x:
        rows = h[:, None] + 1j * COMPLEX_STEP * np.eye(N)
        inputs = np.broadcast_to(x_t[:, None], (B, N, x_t.shape[-1])).reshape(B * N, -1)
        columns = np.imag(one_step(cell, params, inputs, rows.reshape(B * N, N))) / COMPLEX_STEP
        found.append(columns.reshape(B, N, N).swapaxes(1, 2))
        h = one_step(cell, params, x_t, h)
    return np.stack(found)


def numerical_jacobian_gradient(trace: Trace, dJ: Array) -> Params:
    """`jacobian_gradient` without any derivative rule, for small networks in float64."""
    arrays = {name: trace.params[name] for name in trace.cell.recurrent_parameters} | {"h_0": trace.h[0]}

    def weighted_sum(changed: Params) -> float:
        params = {**trace.params, **{name: changed[name] for name in arrays if name != "h_0"}}
        return float((dJ * jacobians_by_complex_step(trace.cell, params, trace.x, changed["h_0"])).sum())

    return {name: central_difference(weighted_sum, arrays, name) for name in arrays}


def jacobian_gradient_error(cell: Cell) -> float:
    """Of a small network with every parameter in use, and of cotangents of every entry."""
    trace = example(cell, mask=np.ones(4), batch=2).trace
    dJ = np.random.default_rng(8).standard_normal((*trace.h[1:].shape, cell.state_size))
    return worst(jacobian_gradient(trace, dJ), numerical_jacobian_gradient(trace, dJ))


@checks("gradients")
def derivatives_of_jacobians(quick: bool) -> Iterator[Check]:
    """Of every cell that has them, in all its variants."""
    for name, kind in kinds().items():
        served = [cell for cell in variants(kind) if cell.has_second_derivatives]
        if served:
            error = largest(jacobian_gradient_error(cell) for cell in served)
            what = f"{name}: gradient of a sum over Jacobians{worst_of(served)}"
            yield agree(what, DIFFERENCES, error, CENTRAL_AGREEMENT)
