"""The effect of one truncation scheme on the gradient: its size, its direction, its bias, and the noise of its draws.

A scheme estimates its own bias (`Scheme.estimate`). Here it is compared with the full gradient, and with the scatter of
the full gradient over batches of as many sequences.

Index legend: T time, B sequence, N hidden state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from bpttlab.errors import LabError
from bpttlab.fields import Field
from bpttlab.gradients.directional import (
    LOG_SCALE,
    SIGNED_BIAS,
    Directions,
    log_scale,
    signed_bias,
    with_directions,
)
from bpttlab.gradients.estimators import GradientEstimate, log_scatter
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.plan import check_scheme, full_plan
from bpttlab.gradients.scaled_gradients import scaled_gradients, sum_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.measures.measure import Columns, Context, Measure, Result, Sampling, zero_parameters
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame, gather_columns
from bpttlab.numerics.random_streams import Rng, check_generator
from bpttlab.numerics.scaled import Gradients, Scaled, cosine, log_relative, norm
from bpttlab.store.measure_columns import GRADIENT_BIAS
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Full

if TYPE_CHECKING:
    import pandas as pd


def truncation_bias(
    trace: Trace,
    loss: Loss | Array,
    scheme: Scheme,
    rng: Rng | None = None,
    directions: Directions | None = None,
) -> pd.DataFrame:
    """Norm, cosine, relative bias and variance of the gradient under a scheme, a row per recurrent parameter.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        scheme: how the gradient is cut.
        rng: where random cuts come from, a generator or a seed; needed by schemes that draw.
        directions: name -> dp/dtheta by parameter; each is one more row (`directions`), whose cosine is 1 or -1.

    Returns:
        Columns scheme, truncation (missing: full), length, parameter, origin, log_norm and cosine of the gradient (of
        several plans: of their mean), log_relative_bias, log_variance (over plans: log of the trace of the covariance /
        |g|^2; missing: there is one plan), log_minibatch_variance (the same over batches of as many sequences; missing:
        one sequence), draws (missing: nothing is drawn), steps_computed (of one plan or draw, and of the
        choice of K where the scheme makes one).
        Natural logarithms; -inf is exactly zero; NaN where a quotient is not defined.

    Raises:
        ConfigurationError: it is no scheme, or one that draws without `rng`.
    """
    check_scheme(scheme)
    generator = None if rng is None else check_generator(rng)
    frame = as_frame(measure_truncation(trace, loss, scheme, rng=generator, directions=directions))
    return frame.astype({"truncation": "Int64", "draws": "Int64"})


def measure_truncation(
    trace: Trace,
    loss: Loss | Array,
    scheme: Scheme,
    full: Gradients | None = None,
    minibatch: dict[str, float] | None = None,
    rng: np.random.Generator | None = None,
    directions: Directions | None = None,
) -> dict[str, Array]:
    """`truncation_bias` as columns; `full` is the full gradient and `minibatch` its variance, if they are known."""
    dL_dy_hat = check_errors(trace, loss)
    error = trace.scaled_error(dL_dy_hat)
    if full is None or minibatch is None:
        walked = trace.walk(error, full_plan(trace.length))
        full = full or scaled_gradients(trace, dL_dy_hat, walked)
        minibatch = minibatch or minibatch_log_variance(trace, walked.da, full, directions)
    full = with_directions(full, directions or {})
    estimate = scheme.estimate(trace, loss, error, full, rng)
    if not isinstance(estimate, GradientEstimate):
        raise LabError(
            f"{type(scheme).__name__}.estimate returns {type(estimate).__name__}: must be a GradientEstimate"
        )
    found = estimate.add_directions(directions or {})
    return estimate_columns(found, scheme, trace.length, full, minibatch)


def full_columns(length: int, full: Gradients, minibatch: dict[str, float]) -> dict[str, Array]:
    """The rows of the full gradient itself, which lacks nothing; `minibatch` has a number for each parameter."""
    found = GradientEstimate.from_one_gradient({name: full[name] for name in minibatch}, {}, length, None)
    return estimate_columns(found, Full(), length, full, minibatch)


def estimate_columns(
    found: GradientEstimate, scheme: Scheme, length: int, full: Gradients, minibatch: dict[str, float]
) -> dict[str, Array]:
    rows = [
        {
            "scheme": scheme.name,
            "truncation": found.truncation,
            "length": length,
            "parameter": name,
            "origin": "scheme",
            **compare_with_full(found, name, full[name]),
            "log_minibatch_variance": variance,
        }
        for name, variance in minibatch.items()
    ]
    return gather_columns(rows, sort=("parameter",))


def compare_with_full(found: GradientEstimate, name: str, full: Scaled) -> dict[str, Any]:
    """The numbers of an estimate for one parameter, beside the full gradient of it."""
    log_full = norm(full)
    bias = log_relative(norm(found.tail[name]), log_full) if name in found.tail else -np.inf
    return {
        "log_norm": norm(found.mean[name]),
        "cosine": cosine(found.mean[name], full),
        "log_relative_bias": bias,
        "log_variance": log_relative(found.log_scatter(name), 2 * log_full),
        "draws": found.draws,
        "steps_computed": found.steps_computed,
    }


def minibatch_log_variance(
    trace: Trace, da: Scaled, full: Gradients, directions: Directions | None = None
) -> dict[str, float]:
    """log(trace of the covariance of the full gradient over batches of B sequences / |g|^2), from the B at hand.

    B / (B - 1) times the scatter of what each sequence adds to the gradient; missing (NaN) for B = 1.

    Args:
        da: (T, B, A) that the full walk has left.
        full: the gradient made of them.
    """
    alone = [(slice(None), slice(b, b + 1)) for b in range(da.shape[1])] if da.shape[1] > 1 else []
    parts = [sum_gradient(trace.cell, trace.local.at(sequence), da[sequence]) for sequence in alone]
    return log_variance_of_sequences(trace.cell.recurrent_parameters, parts, full, directions)


def log_variance_of_sequences(
    parameters: Sequence[str], parts: Sequence[Gradients], full: Gradients, directions: Directions | None = None
) -> dict[str, float]:
    """`minibatch_log_variance` from what each sequence adds to the gradient; missing (NaN) where there are no two."""
    directions, batch = directions or {}, len(parts)
    names = (*parameters, *directions)
    if batch < 2:
        return dict.fromkeys(names, np.nan)
    parts, full = [with_directions(part, directions) for part in parts], with_directions(full, directions)
    found = {}
    for name in names:
        mean = Scaled.whole(full[name].mantissa / batch, full[name].exponent.item())
        scatter = log_scatter([part[name] for part in parts], mean, np.ones(batch), batch / (batch - 1))
        found[name] = log_relative(scatter, 2 * norm(full[name]))
    return found


# ------------------------------------------------------------------------------------------ the measure


@dataclass(frozen=True)
class GradientBias(Measure):
    """The gradient of the run's own scheme beside the full one."""

    name: ClassVar[str] = "gradient_bias"
    tables = GRADIENT_BIAS.tables
    summary = GRADIENT_BIAS.summary
    depends_on_scheme: ClassVar[bool] = True
    origins: ClassVar = {"truncations": "scheme"}
    needs_states: ClassVar[bool] = False  # of the full gradient: `checkpointed`

    log_scale: Annotated[
        bool,
        Field(description="whether the gradient along the scale of W, dL/dlog rho, is recorded, too"),
    ] = False
    signed_bias: Annotated[
        int,
        Field(
            ge=0,
            description="units that a shared bias is added to, which is subtracted from the others: the gradient along "
            "it is recorded, too; 0: not",
        ),
    ] = 0

    def directions(self, cell: Cell, params: Params) -> Directions:
        """The directions that are requested, in the parameters of a cell.

        Raises:
            ConfigurationError: the cell does not have one of them.
        """
        found = {LOG_SCALE: log_scale(cell, params)} if self.log_scale else {}
        return found | ({SIGNED_BIAS: signed_bias(cell, self.signed_bias)} if self.signed_bias else {})

    def check(self, cell: Cell, length: int) -> None:
        if self.log_scale or self.signed_bias:
            self.directions(cell, zero_parameters(cell))

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        """A row for every recurrent parameter and direction."""
        return {"truncations": len(cell.recurrent_parameters) + self.log_scale + (self.signed_bias > 0)}

    def __call__(self, context: Context) -> Result:
        trace, full = context.trace, context.gradient
        directions = self.directions(trace.cell, trace.params)
        minibatch = context.once(
            (self, "minibatch"), lambda: minibatch_log_variance(trace, context.cotangents.da, full, directions)
        )
        rng = None if context.stream is None else context.stream()
        columns = measure_truncation(trace, context.loss, context.scheme, full, minibatch, rng, directions)
        return Result({"truncations": columns}, {"log_gradient_norm": log_gradient_norm(columns, full)})


def log_gradient_norm(rows: Columns, full: Gradients) -> float:
    """Of all parameters together: the recurrent ones as the scheme has them, and those of the readout, which have no
    path through time."""
    recurrent = [size for size, name in zip(rows["log_norm"], rows["parameter"], strict=True) if name in full]
    of_readout = [norm(full[name]) for name in full if name not in {"h_0", *rows["parameter"]}]
    log_norms = np.array([*recurrent, *of_readout])
    return 0.5 * float(np.logaddexp.reduce(2.0 * log_norms))
