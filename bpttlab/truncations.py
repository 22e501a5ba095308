"""What one truncation scheme does to the gradient: its size, its direction, and what it left out.

Works for every scheme that is a plan of segments and carries: the cotangents that the plan did not carry on are
injected as errors of a full walk, which gives the part of the gradient that was cut off, exactly and without a
difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bpttlab.bptt import Array, Trace, backward_scaled, checked_errors, recurrent_gradient, walk
from bpttlab.lags import Gradients, columns, cosine, log_relative, norm, truncation_extras
from bpttlab.losses import Loss
from bpttlab.scaled import Scaled
from bpttlab.truncation import Plan, Scheme, full_plan


def truncation_bias(trace: Trace, loss: Loss | Array, scheme: Scheme) -> pd.DataFrame:
    """Norm, cosine and relative bias of the gradient under a scheme, a row per recurrent parameter.

    Returns:
        Columns truncation (missing: full), parameter, log_norm, cosine, steps_computed, scheme, length,
        log_relative_bias, variance (missing: the scheme draws nothing), origin.
        Natural logarithms; -inf is exactly zero; NaN where a quotient is not defined.
    """
    frame = pd.DataFrame(measure_truncation(trace, loss, scheme))
    return frame.assign(truncation=frame["truncation"].astype("Int64"))


def measure_truncation(
    trace: Trace, loss: Loss | Array, scheme: Scheme, full: Gradients | None = None
) -> dict[str, Array]:
    """`truncation_bias` as columns; `full` is the full gradient, if it is known already."""
    full = full or backward_scaled(trace, loss)
    error = trace.scaled_error(checked_errors(trace, loss))
    plan = scheme.plan(trace.length)
    kept, tail = kept_and_tail(trace, error, plan)
    rows: list[dict[str, Any]] = []
    for name in trace.cell.recurrent_parameters:
        bias = log_relative(norm(tail[name]), norm(full[name])) if name in tail else -np.inf
        rows.append(
            {
                "truncation": scheme.truncation,
                "parameter": name,
                "log_norm": norm(kept[name]),
                "cosine": cosine(kept[name], full[name]),
                "steps_computed": plan.steps_computed,
                **truncation_extras(scheme.name, trace.length, bias, "scheme"),
            }
        )
    return columns(rows, sort=("parameter",))


def kept_and_tail(trace: Trace, error: Scaled, plan: Plan) -> tuple[Gradients, Gradients]:
    """The gradient of a plan, and what it lacks of the full one (empty where nothing was cut)."""
    kept = walk(trace, error, plan)
    dropped = kept.dropped[1:].normalised()
    gradient = recurrent_gradient(trace.cell, trace.local, kept.da)
    if not dropped.mantissa.any():
        return gradient, {}
    tail = walk(trace, dropped, full_plan(trace.length))
    return gradient, recurrent_gradient(trace.cell, trace.local, tail.da)
