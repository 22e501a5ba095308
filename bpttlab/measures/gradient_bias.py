"""The effect of one truncation scheme on the gradient: its size, its direction, its bias, and the noise of its draws.

A scheme estimates its own bias (`Scheme.estimate`). Here it is compared with the full gradient, and with the scatter of
the full gradient over batches of as many sequences.

Index legend: T time, B sequence, N hidden state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

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
from bpttlab.numerics.scaled import Gradients, Scaled, cosine_of, log_relative, make_whole, norm, norm_of_whole
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


class Reference(NamedTuple):
    """The full gradient of one parameter: what that of a scheme is compared with.

    Attributes:
        mantissa: of the gradient, its largest entry in [1/2, 1).
        log_norm: natural logarithm of its norm.
        log_minibatch_variance: as in `truncation_bias`.
    """

    mantissa: Array
    log_norm: float
    log_minibatch_variance: float


References = dict[str, Reference]
"""By parameter."""


def make_references(full: Gradients, minibatch: dict[str, float]) -> References:
    """`minibatch` has a number for each parameter that is recorded."""
    whole = {name: make_whole(full[name]) for name in minibatch}
    return {name: Reference(one.mantissa, norm_of_whole(one), minibatch[name]) for name, one in whole.items()}


def measure_truncation(
    trace: Trace,
    loss: Loss | Array,
    scheme: Scheme,
    rng: np.random.Generator | None = None,
    directions: Directions | None = None,
) -> dict[str, Array]:
    """`truncation_bias` as columns."""
    dL_dy_hat, directions = check_errors(trace, loss), directions or {}
    error = trace.scaled_error(dL_dy_hat)
    walked = trace.walk(error, full_plan(trace.length))
    gradient = scaled_gradients(trace, dL_dy_hat, walked)
    full, minibatch = (
        with_directions(gradient, directions),
        minibatch_log_variance(trace, walked.da, gradient, directions),
    )
    references = make_references(full, minibatch)
    found = estimate_gradient(trace, loss, scheme, error, full, rng, directions)
    return estimate_columns(found, scheme, trace.length, references)


def estimate_gradient(
    trace: Trace,
    loss: Loss | Array,
    scheme: Scheme,
    error: Scaled,
    full: Gradients,
    rng: np.random.Generator | None,
    directions: Directions,
) -> GradientEstimate:
    """The estimate of a scheme, checked, with the derivatives along directions."""
    estimate = scheme.estimate(trace, loss, error, full, rng)
    if not isinstance(estimate, GradientEstimate):
        raise LabError(
            f"{type(scheme).__name__}.estimate returns {type(estimate).__name__}: must be a GradientEstimate"
        )
    return estimate.add_directions(directions) if directions else estimate


def full_columns(length: int, full: Gradients, minibatch: dict[str, float]) -> dict[str, Array]:
    """The rows of the full gradient itself, which lacks nothing; `minibatch` has a number for each parameter."""
    found = GradientEstimate.from_one_gradient({name: full[name] for name in minibatch}, {}, length, None)
    return estimate_columns(found, Full(), length, make_references(full, minibatch))


def estimate_columns(found: GradientEstimate, scheme: Scheme, length: int, references: References) -> dict[str, Array]:
    rows = [
        {
            "scheme": scheme.name,
            "truncation": found.truncation,
            "length": length,
            "parameter": name,
            "origin": "scheme",
            **compare_with_full(found, name, full),
            "log_minibatch_variance": full.log_minibatch_variance,
        }
        for name, full in references.items()
    ]
    return gather_columns(rows, sort=("parameter",))


def compare_with_full(found: GradientEstimate, name: str, full: Reference) -> dict[str, Any]:
    """The numbers of an estimate for one parameter, beside the full gradient of it."""
    log_full, mean = full.log_norm, make_whole(found.mean[name])
    bias = log_relative(norm(found.tail[name]), log_full) if name in found.tail else -np.inf
    return {
        "log_norm": norm_of_whole(mean),
        "cosine": cosine_of(mean.mantissa, full.mantissa),
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
        trace, directions = context.trace, self.directions(context.trace.cell, context.trace.params)
        full, references, of_readout = context.once((self, "full"), lambda: self.compare_to(context, directions))
        rng = None if context.stream is None else context.stream()
        found = estimate_gradient(trace, context.loss, context.scheme, context.state_errors, full, rng, directions)
        columns = estimate_columns(found, context.scheme, trace.length, references)
        return Result({"truncations": columns}, {"log_gradient_norm": add_log_norms(columns, directions, of_readout)})

    def compare_to(self, context: Context, directions: Directions) -> tuple[Gradients, References, list[float]]:
        """Of one pass: the full gradient, what schemes are compared with, and log norms of the readout's gradients."""
        gradient = context.gradient
        minibatch = minibatch_log_variance(context.trace, context.cotangents.da, gradient, directions)
        full = with_directions(gradient, directions)
        return full, make_references(full, minibatch), readout_log_norms(gradient, minibatch)


def log_gradient_norm(rows: Columns, full: Gradients) -> float:
    """Of all parameters together: the recurrent ones as the scheme has them, and those of the readout, which have no
    path through time."""
    directions = {*rows["parameter"]} - {*full}
    return add_log_norms(rows, directions, readout_log_norms(full, rows["parameter"]))


def readout_log_norms(full: Gradients, recurrent: Iterable[str]) -> list[float]:
    """Of the gradients that no scheme changes."""
    without = {"h_0", *recurrent}
    return [norm(full[name]) for name in full if name not in without]


def add_log_norms(rows: Columns, directions: Collection[str], of_readout: list[float]) -> float:
    """`log_gradient_norm` where the part of the readout is known; directions are no parameters."""
    recurrent = [size for size, name in zip(rows["log_norm"], rows["parameter"], strict=True) if name not in directions]
    return 0.5 * float(np.logaddexp.reduce(2.0 * np.array([*recurrent, *of_readout])))
