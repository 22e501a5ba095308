"""Sequences of different length where one pass cannot serve them all: each length as a batch of its own.

Index legend: T time, B sequence, N hidden state, O output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import numpy as np

from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.scaled_gradients import add_to
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled

Rest = ParamSpec("Rest")


def sum_gradients(trace: Trace, dL_dy_hat: Array, gradient: Callable[[Trace, Array], Params]) -> Params:
    """The sum of the gradients of the sequences of each length; "h_0" has a row for each.  dL_dy_hat (T,B,O)"""
    total: Params = {}
    for group in trace.groups():
        found = gradient(group.trace, group.select(dL_dy_hat))
        if "h_0" in found:
            h_0 = np.zeros_like(trace.h[0])
            h_0[group.sequences] = found["h_0"]
            found = {**found, "h_0": h_0}
        total = {name: total[name] + value for name, value in found.items()} if total else found
    return total


def sum_scaled_gradients(
    trace: Trace, dL_dy_hat: Array, gradient: Callable[[Trace, Array], dict[str, Scaled]]
) -> dict[str, Scaled]:
    """`sum_gradients` of scaled numbers, where "h_0" has an exponent for each sequence."""
    total: dict[str, Scaled] = {}
    h_0 = Scaled.zeros(trace.h[0].shape, trace.h.dtype)
    for group in trace.groups():
        found = dict(gradient(group.trace, group.select(dL_dy_hat)))
        h_0[group.sequences] = found.pop("h_0")
        add_to(total, found)
    return total | {"h_0": h_0}


def each_length(
    method: Callable[Concatenate[Trace, Loss | Array, Rest], Params],
) -> Callable[Concatenate[Trace, Loss | Array, Rest], Params]:
    """A gradient of a trace and a loss, so that sequences of different length are those of each length in turn."""

    @wraps(method)
    def of_all(trace: Trace, loss: Loss | Array, /, *rest: Rest.args, **named: Rest.kwargs) -> Params:
        if not trace.padded:
            return method(trace, loss, *rest, **named)
        return sum_gradients(trace, check_errors(trace, loss), lambda part, dL: method(part, dL, *rest, **named))

    return of_all
