"""The influence of every parameter on the state, carried forwards: real-time recurrent learning.

    M_t = dh_t/dtheta = J_t M_{t-1} + d+h_t/dtheta          M_0 = 0          dL/dtheta = sum_t dL_t/dh_t M_t

Williams & Zipser 1989, in the notes' words: every bracket of the gradient through time is the one before it, times one
more Jacobian, plus one more immediate derivative. Each row of M_t, a number of the state and all entries of one
parameter, has an exponent of its own, so that nothing over- or underflows however long the sequence is.

Index legend: T time, B sequence, N hidden state, A pre-activations, P entries of a parameter, R rows; `...` any leading
axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError, GradientRangeError, nearest
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.parameter_gradients import readout_gradient
from bpttlab.gradients.scaled_gradients import add_to
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import ZERO_EXPONENT, Scaled, power_of_two

_LARGEST_BYTES = 2**31
"""Limit of the memory for the influence matrices of all sequences and the working copies of one step."""

WORKING_COPIES = 7
"""Arrays of the size of M_t that a step holds at once, the old M_{t-1} among them; as it was measured."""


class Influence(NamedTuple):
    """M_t = dh_t/dtheta of every parameter.

    Attributes:
        t: 1..T.
        matrices: by parameter (B, N, P), the entries of the parameter in their order in memory, each row scaled;
            `value()` gives plain numbers.
    """

    t: int
    matrices: dict[str, Scaled]


def influence(trace: Trace, parameters: Iterable[str] | None = None) -> Iterator[Influence]:
    """M_1, M_2, ..., M_T.

    Cost: N^2 P multiplications a step and sequence, N P numbers held (times `WORKING_COPIES`). With P about N^2, as in
    a dense network, that is N^4 and N^3.

    Args:
        trace: a forward pass.
        parameters: some of the cell's `recurrent_parameters`; all by default.

    Raises:
        ConfigurationError: there is no such parameter, or the matrices would take more than `_LARGEST_BYTES`.
    """
    names = _check_names(trace.cell, parameters)
    check_bytes(trace, names)
    return recursion(trace, names)


def recursion(trace: Trace, names: tuple[str, ...]) -> Iterator[Influence]:
    _, B, N = trace.h.shape
    M = {name: Scaled.zeros((B, N, trace.params[name].size), trace.h.dtype) for name in names}
    for t in range(1, trace.length + 1):
        J, immediate = trace.jacobian(t), immediate_derivatives(trace, t)
        M = {name: (times(J, M[name]) + Scaled.of(immediate[name])).normalise() for name in names}
        yield Influence(t, M)


def immediate_derivatives(trace: Trace, t: int, rows: Array | None = None) -> Params:
    """d+h_t/dtheta, h_{t-1} held constant: rows pulled back to a_t, by default those of the identity.

    (R,N) -> each (B,R,P)
    """
    _, B, N = trace.h.shape
    rows = np.eye(N, dtype=trace.h.dtype) if rows is None else rows
    R = len(rows)
    da, _ = trace.cell.vjp(trace.params, trace.linearization[t - 1], np.broadcast_to(rows[:, None], (R, B, N)))
    immediate = trace.cell.immediate(trace.local.at(t - 1), da)
    return {name: values.reshape(R, B, -1).swapaxes(0, 1) for name, values in immediate.items()}


def rtrl(trace: Trace, loss: Loss | Array) -> Params:
    """The gradient by real-time recurrent learning (Williams & Zipser 1989): exact, that of `backward`.

    Cost: as `influence`, N^2 P multiplications a step and sequence.

    Args:
        trace: a forward pass.
        loss: as in `backward`.

    Returns:
        Keyed like the parameters. Those of the readout have no path through time and are those of `backward`, here
        and in every other method of this package; there is no "h_0".

    Raises:
        ConfigurationError: the influence matrices would take more than `_LARGEST_BYTES`.
        GradientRangeError: the gradient is too large for a float.
    """
    dL_dy_hat = check_errors(trace, loss)
    error = trace.scaled_error(dL_dy_hat)
    total: dict[str, Scaled] = {}
    for t, M in influence(trace):
        if t == 1 or error.mantissa[t - 1].any():
            add_to(total, {name: _contract(error[t - 1], M[name]) for name in M})
    return with_readout(trace, dL_dy_hat, {name: summed.value() for name, summed in total.items()})


def _contract(error_t: Scaled, M_t: Scaled) -> Scaled:
    """dL_t/dh_t M_t, summed over sequences.  (B,N), (B,N,P) -> (1,P)"""
    mantissa, exponent = np.frexp(error_t.mantissa)
    weights = Scaled(mantissa.reshape(1, -1), (exponent + error_t.exponent).reshape(1, -1))
    return weight_influence(weights, Scaled(M_t.mantissa.reshape(-1, M_t.shape[-1]), M_t.exponent.reshape(-1, 1)))


# ---------------------------------------------------------------------------------------------------- scaled rows


def times(matrix: Array, rows: Scaled) -> Scaled:
    """matrix . rows, each row of the product with an exponent of its own.  (...,R,N), (...,N,P) -> (...,R,P)"""
    return weight_influence(Scaled(*np.frexp(matrix)), rows)


def weight_influence(weights: Scaled, rows: Scaled) -> Scaled:
    """The same with an exponent for every weight: (...,R,N), (...,N,P) -> (...,R,P).

    What a row contributes is lost only where it is beyond the digits of the largest contribution.
    """
    exponent = weights.exponent + rows.live_exponent.swapaxes(-1, -2)
    exponent = np.where(weights.mantissa != 0.0, exponent, ZERO_EXPONENT)
    largest = exponent.max(axis=-1, keepdims=True)
    factors = weights.mantissa * power_of_two(exponent - largest, rows.mantissa.dtype)
    return Scaled(factors @ rows.mantissa, largest).normalise()


# ---------------------------------------------------------------------------------------------------- in and out


def _check_names(cell: Cell, parameters: Iterable[str] | None) -> tuple[str, ...]:
    known = cell.recurrent_parameters
    names = known if parameters is None else tuple(parameters)
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"parameters: {name!r} has no influence through time; must be among {', '.join(known)}."
                f"{nearest(name, known)}"
            )
    return names


def check_bytes(trace: Trace, names: Iterable[str], entries: int | None = None) -> None:
    """Refuses what needs more than `_LARGEST_BYTES`; `entries` of M_t are kept, by default all."""
    _, B, N = trace.h.shape
    P = sum(trace.params[name].size for name in names)
    needed = WORKING_COPIES * (B * N * P if entries is None else entries) * trace.h.dtype.itemsize
    if needed > _LARGEST_BYTES:
        raise ConfigurationError(
            f"influence of {P} parameters on {N} numbers of state in {B} sequences: needs {needed / 2**30:.1f} GiB; "
            f"must be at most {_LARGEST_BYTES / 2**30:g} GiB; take fewer sequences (trace.head), fewer parameters or a "
            "smaller network"
        )


def with_readout(trace: Trace, dL_dy_hat: Array, recurrent: Params) -> Params:
    """Gradients in the shapes of their parameters, and those of the readout beside them.

    Raises:
        GradientRangeError: one of them is not finite.
    """
    gradients = {name: value.reshape(trace.params[name].shape) for name, value in recurrent.items()}
    gradients |= readout_gradient(trace, dL_dy_hat)
    if not all(np.isfinite(gradient).all() for gradient in gradients.values()):
        raise GradientRangeError(f"the gradient is beyond the range of {trace.h.dtype}")
    return gradients
