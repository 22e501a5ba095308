"""Measures of a run whose trace has checkpoints: its gradient, and results that follow from the gradient.

The numbers are those of a run that keeps all of its states, to the last bit.

Index legend: T time, B sequence, A pre-activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bpttlab.gradients.checkpointing import Block, CheckpointedTrace, blocks
from bpttlab.gradients.directional import Directions, with_directions
from bpttlab.gradients.inputs import errors_like
from bpttlab.gradients.scaled_gradients import add_to, scaled_parts, sum_gradient
from bpttlab.measures.gradient_bias import (
    GradientBias,
    full_columns,
    log_gradient_norm,
    log_variance_of_sequences,
)
from bpttlab.measures.measure import Result
from bpttlab.measures.relevant_gradient import median_of_one
from bpttlab.measures.selection import Measures
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Gradients, Scaled
from bpttlab.truncation.scheme import Scheme


class Found(NamedTuple):
    """One walk back.

    Attributes:
        full: the gradient.
        minibatch: log of its variance over batches, by parameter and direction (`minibatch_log_variance`).
        input_norms: (B,) log ||dL/dx_tau||; None where no step is requested.
        underflows: as of a whole `Trace`.
    """

    full: Gradients
    minibatch: dict[str, float]
    input_norms: Array | None
    underflows: int


def suffices(measures: Measures, scheme: Scheme) -> bool:
    """Whether nothing is requested that needs every state."""
    return scheme.is_full and not measures.need_states(scheme)


def measure_blocks(measures: Measures, trace: CheckpointedTrace, loss: Loss, relevant_step: Array | None) -> Result:
    """The results of the measures that need no states, in one walk back block by block."""
    directions = measures.get(GradientBias).directions(trace.cell, trace.params)
    found = walk_blocks(trace, errors_like(trace.y_hat, loss), directions, relevant_step)
    rows = full_columns(trace.length, with_directions(found.full, directions), found.minibatch)
    relevant = None if found.input_norms is None else median_of_one(found.input_norms)
    summary = {"loss": loss.value, "log_relevant_gradient": relevant, "underflows": found.underflows}
    return Result({"truncations": rows}, summary | {"log_gradient_norm": log_gradient_norm(rows, found.full)})


def walk_blocks(
    trace: CheckpointedTrace, dL_dy_hat: Array, directions: Directions, relevant_step: Array | None = None
) -> Found:
    """The full gradient of all parameters, its scatter over sequences, and what x_tau of each sequence hears of it.

    Args:
        dL_dy_hat: (T, B, O).
        directions: as in `gradient_bias.minibatch_log_variance`.
        relevant_step: (B,) tau, from 1.
    """
    batch = trace.x.shape[1]
    full: Gradients = {}
    parts: list[Gradients] = [{} for _ in range(batch)] if batch > 1 else []
    at_step: list[tuple[Array, Array, Scaled]] = []
    underflows = 0
    for block in blocks(trace, dL_dy_hat, np.ones(trace.length), scaled=True):
        _add_gradients(block, dL_dy_hat[block.steps], full, parts)
        underflows += block.trace.underflows
        h_0 = block.cotangents.dropped[0]
        if relevant_step is not None:
            at_step.append(_select_block(block, relevant_step))
    full["h_0"] = h_0.normalise()
    minibatch = log_variance_of_sequences(trace.cell.recurrent_parameters, parts, full, directions)
    return Found(full, minibatch, _input_norms(trace, at_step) if at_step else None, underflows)


def _add_gradients(block: Block, dL_dy_hat: Array, full: Gradients, parts: Sequence[Gradients]) -> None:
    """Adds the part of a block to the gradient, and to the gradient of each sequence."""
    trace, da = block.trace, block.cotangents.da
    for part in scaled_parts(trace, dL_dy_hat, da):
        add_to(full, part)
    for b, total in enumerate(parts):
        own = np.s_[:, b : b + 1]
        sum_gradient(trace.cell, trace.local.at(own), da[own], total)


def _select_block(block: Block, steps: Array) -> tuple[Array, Array, Scaled]:
    """The sequences whose step is in a block, and slopes and cotangents of a_t there."""
    inside = np.flatnonzero((steps > block.steps.start) & (steps <= block.steps.stop))
    at = steps[inside] - 1 - block.steps.start, inside
    return inside, block.trace.linearization[at], block.cotangents.da[at]


def _input_norms(trace: CheckpointedTrace, found: Sequence[tuple[Array, Array, Scaled]]) -> Array:
    """`relevant_gradient.input_norms` from what was found in each block: all sequences in one product."""
    order = np.argsort(np.concatenate([inside for inside, _, _ in found]))
    slopes = np.concatenate([slopes for _, slopes, _ in found])[order]
    da = Scaled(
        np.concatenate([da.mantissa for _, _, da in found])[order],
        np.concatenate([da.exponent for _, _, da in found])[order],
    ).normalise()
    return Scaled(trace.cell.input_vjp(trace.params, slopes, da.mantissa), da.exponent).log_norm()
