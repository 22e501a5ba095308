"""Forward sensitivity: how much a small change of a parameter moves the state, log ||dh_t/dtheta||.

It can explode where Jacobian products do not: a network at the edge of stability remembers the change of every step
(the curse of memory, Zucchet & Orvieto 2024). With h_t = lambda h_{t-1} + white noise, E h^2 = 1 / (1 - lambda^2) and
E (dh/dlambda)^2 = (1 + lambda^2) / (1 - lambda^2)^3.

Two ways to the same numbers: forwards, where all t are passed by, and from each t backwards, N rows of the identity at
once. The cheaper one is taken.

Index legend: T time, S chosen t, B sequence, N hidden state, A pre-activations, P entries of a parameter, R rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field, check_integer
from bpttlab.gradients.forward_mode.rtrl import influence
from bpttlab.gradients.propagation import propagate
from bpttlab.gradients.scaled_gradients import recurrent_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lengths import of_each_length
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.networks.cells import Cell
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.log_spacing import log_spacing
from bpttlab.numerics.scaled import Scaled
from bpttlab.store.measure_columns import STATE_SENSITIVITY

if TYPE_CHECKING:
    import pandas as pd

SENSITIVITY_BYTES = 2**27
"""Cotangents that a walk back may hold at once; more rows go in several walks."""

CALL = 10**6
"""Multiplications in the time that one step forwards, or the gradient of one row, takes beside its own: 0.2 ms."""


@of_each_length
def forward_sensitivity(trace: Trace, steps: int = 24, sequences: int = 2) -> pd.DataFrame:
    """log ||dh_t/dtheta||_F of the whole state, a row per sequence, t and recurrent parameter.

    Cost: T N^2 P multiplications a sequence forwards, as `influence`, or sum t N (N A + P) over the chosen t backwards,
    which is less for a few dozen units and more. Backwards holds `SENSITIVITY_BYTES`, or T A numbers; forwards as
    `influence`.

    Args:
        trace: a forward pass.
        steps: how many t from 1 to T, spaced evenly in their logarithm; all T where there are no more.
        sequences: at most so many of the batch, from the first.

    Returns:
        Columns sequence, t, parameter, log_norm: the natural logarithm, -inf is exactly zero.

    Raises:
        ConfigurationError: steps < 2 or sequences < 1; or so many steps of so large a network that `influence`, though
            cheaper, would take too much memory.
    """
    return as_frame(measure_sensitivity(trace, steps, sequences))


def measure_sensitivity(trace: Trace, steps: int = 24, sequences: int = 2) -> dict[str, Array]:
    """`forward_sensitivity` as columns."""
    steps = check_integer("steps", steps, 2)
    trace = trace.head(check_integer("sequences", sequences, 1))
    return sensitivity_at(trace, log_spacing(trace.length, steps + 1)[1:])


def sensitivity_at(trace: Trace, chosen: Array) -> dict[str, Array]:
    """The columns at some t."""
    measure = norms_backward if backward_is_cheaper(trace, chosen) else norms_forward
    norms, names = measure(trace, chosen), trace.cell.recurrent_parameters
    B, S = trace.h.shape[1], len(chosen)
    return {
        "sequence": np.repeat(np.arange(B), S * len(names)),
        "t": np.tile(np.repeat(chosen, len(names)), B),
        "parameter": np.tile(np.array(names, np.str_), B * S),
        "log_norm": np.array([norms[name] for name in names]).reshape(-1, S, B).transpose(2, 1, 0).ravel(),
    }


def backward_is_cheaper(trace: Trace, chosen: Array) -> bool:
    """By the multiplications that each of the two ways needs, and what weighs as much beside them."""
    B, N, A = trace.h.shape[1], trace.cell.state_size, trace.cell.preactivation_size
    P = sum(trace.params[name].size for name in trace.cell.recurrent_parameters)
    backward = int(chosen.sum()) * B * N * (N * A + P) + len(chosen) * B * N * CALL
    return backward < trace.length * (B * N * N * P + CALL)


def norms_forward(trace: Trace, chosen: Array) -> dict[str, Array]:
    """log ||M_t||_F by the recursion, at the chosen t.  Each (S,B)"""
    wanted, rows = set(chosen.tolist()), []
    for t, M in influence(trace):
        if t in wanted:
            rows.append({name: matrix.log_norm(axes=2) for name, matrix in M.items()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def norms_backward(trace: Trace, chosen: Array) -> dict[str, Array]:
    """The same from every chosen t backwards, all rows of M_t side by side.  Each (S,B)"""
    found = [{name: root_sum(logs) for name, logs in row_norms(trace, int(t)).items()} for t in chosen]
    return {name: np.stack([one[name] for one in found]) for name in trace.cell.recurrent_parameters}


def root_sum(log_norms: Array) -> Array:
    """log of the Euclidean norm over the first axis.  (N,B) -> (B,)"""
    return 0.5 * np.logaddexp.reduce(2.0 * log_norms, axis=0)


def row_norms(trace: Trace, t: int) -> dict[str, Array]:
    """log |dh_t[n]/dtheta| of every number of the state.  Each (N,B)"""
    _, B, N = trace.h.shape
    names = trace.cell.recurrent_parameters
    logs = {name: np.full((N, B), -np.inf) for name in names}
    together = max(1, SENSITIVITY_BYTES // (t * B * (trace.cell.preactivation_size + 1) * 8))
    for first in range(0, N, together):
        rows = range(first, min(first + together, N))
        da = cotangents(trace, t, rows)
        for n, b in np.ndindex(len(rows), B):
            gradient = recurrent_gradient(trace.cell, trace.local.at((slice(t), b)), da[:, n, b])
            for name in names:
                logs[name][rows[n], b] = gradient[name].log_norm(gradient[name].mantissa.ndim)
    return logs


def cotangents(trace: Trace, t: int, rows: Iterable[int]) -> Scaled:
    """dh_t[n]/da_k of the rows n, k = 1..t.  (t,R,B,A)"""
    _, B, N = trace.h.shape
    unit = np.eye(N, dtype=trace.h.dtype)[list(rows)]
    R = len(unit)
    start = Scaled.of(np.broadcast_to(unit[:, None, None], (R, 1, B, N)))
    da = Scaled.zeros((t, R, B, trace.cell.preactivation_size), trace.h.dtype)
    for lag in propagate(trace, np.array([t]), start):
        if lag.da is not None:
            da[t - lag.lag - 1] = lag.da[:, 0]
    return da


# ------------------------------------------------------------------------------------------ the measure


@dataclass(frozen=True)
class Sensitivity(Measure):
    """How much a small change of each parameter moves the state."""

    name: ClassVar[str] = "sensitivity"
    ends_with_sequences: ClassVar[bool] = True
    tables = STATE_SENSITIVITY.tables
    row_settings: ClassVar = {"sensitivity": ("measure.sensitivity_steps", "measure.sequences")}

    sensitivity_steps: Annotated[
        int,
        Field(
            ge=0,
            description="steps t at which the norm of dh_t/dparameter is recorded, which costs N forward passes or "
            "more; 0: none",
        ),
    ] = 0

    @property
    def active(self) -> bool:
        return self.sensitivity_steps > 0

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        steps = min(self.sensitivity_steps, length)
        return {"sensitivity": len(cell.recurrent_parameters) * steps * sampling.sequences}

    def __call__(self, context: Context) -> Result:
        steps = check_integer("steps", self.sensitivity_steps, 2)
        chosen = np.array(context.space_steps(steps + 1)[1:])
        columns = sensitivity_at(context.trace.head(context.sampling.sequences), chosen)
        return Result({"sensitivity": columns})
