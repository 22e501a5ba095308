"""Penalties on cotangents that change their norm from one step to the one before.

With the state of the paper, the pre-activation a_k, and delta_k = dL/da_k:

    Omega = sum_k (|delta_{k+1} W diag(f'(a_k))| / |delta_{k+1}| - 1)^2          k = 1, ..., T - 1

Only the immediate derivative by W is taken: delta and a are constants. So no second derivative is needed, and the
gradients of V and b_h are zero. Steps with delta_{k+1} = 0 are left out, also steps that nothing of the loss reaches
and padding. Norms are those of scaled numbers: they may be of any size. Where the numerator is zero (all units of relu
are off), the term is 1 and its gradient counts as zero.

Index legend: T time, B sequence, N hidden unit, n of a cotangent, m of what is sent back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells import Elman
from bpttlab.networks.cells.cell import Cell, Params, rows
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled
from bpttlab.training.penalties.penalty import Penalty, complete_gradient


class NormRatios(NamedTuple):
    """How the norms of cotangents change over one step, in float64.

    Attributes:
        ratio: (S, B), |sent back| / |cotangent|; 0 where the cotangent is zero.
        left: (S, B, N), what the rows of W are multiplied by: a cotangent of norm 1, times the slopes before W.
        right: (S, B, N), the derivative of the ratio by left W: what is sent back, with norm 1, times the slopes after
            W.
        log_size: (S, B), log |cotangent|; -inf is exactly zero.
    """

    ratio: Array
    left: Array
    right: Array
    log_size: Array

    def gradient(self, slopes: Array) -> Array:
        """dP/dW from dP/dratio.  (S,B) -> (N,N)"""
        return rows(self.left * slopes[..., None]).T @ rows(self.right)


def measure_ratios(cotangents: Scaled, before: Array | float, W: Array, after: Array | float) -> NormRatios:
    """Of ((cotangent * before) W) * after.  (S,B,N) or scalars"""
    size = cotangents.log_norm()
    alive = np.isfinite(size)
    left = rows_of_norm_one(cotangents.normalise().mantissa.astype(np.float64)) * before
    back = Scaled.of((rows(left) @ W).reshape(left.shape) * after)
    ratio = np.where(alive, np.exp(back.log_norm()), 0.0)
    return NormRatios(ratio, left, rows_of_norm_one(back.mantissa) * after, size)


def rows_of_norm_one(mantissa: Array) -> Array:
    """Rows of norm 1, of rows that are normalised; zeros stay zeros."""
    norms = np.sqrt((mantissa * mantissa).sum(axis=-1, keepdims=True))
    return mantissa / np.where(norms > 0.0, norms, 1.0)


def loss_cotangents(trace: Trace, loss: Loss | Array) -> tuple[Scaled, Scaled]:
    """dL/da_t of every step, and what each step's own loss sends to h_t.  (T,B,N) each"""
    error = trace.scaled_error(check_errors(trace, loss))
    return trace.walk(error, full_plan(trace.length)).da, error


def state_cotangents(da: Scaled, error: Scaled, W: Array) -> Scaled:
    """dL/dh_t = what the step's own loss sends, and W^T dL/da_{t+1}.  (T,B,N)"""
    dh = Scaled(error.mantissa.astype(np.float64), error.exponent)
    dh[:-1] = dh[:-1] + Scaled(da[1:].mantissa.astype(np.float64) @ W, da[1:].exponent)
    return dh


class NormPreservation(Penalty):
    """What both penalties have in common."""

    needs_loss: ClassVar[bool] = True

    def check(self, cell: Cell) -> None:
        if not isinstance(cell, Elman):
            raise ConfigurationError(f"penalty={self.name}: does not serve cell={cell.name}; served is elman")


@dataclass(frozen=True)
class Omega(NormPreservation):
    """The vanishing-gradient regularizer Omega, summed over steps and averaged over sequences.

    Source: Pascanu, Mikolov & Bengio 2013, eq. 9 and 10.
    """

    name: ClassVar[str] = "omega"

    def value_and_gradient(self, trace: Trace, loss: Loss | Array | None) -> tuple[float, Params]:
        self.check(trace.cell)
        loss = self.require_loss(loss)
        da, _ = loss_cotangents(trace, loss)
        W, slopes = trace.params["W"].astype(np.float64), trace.linearization[:-1].astype(np.float64)
        found = measure_ratios(da[1:], 1.0, W, slopes)
        excess = np.where(np.isfinite(found.log_size), found.ratio - 1.0, 0.0)
        batch = len(trace.lengths)
        dW = found.gradient(2.0 * excess / batch)
        return float((excess * excess).sum() / batch), complete_gradient(trace, {"W": dW})


@dataclass(frozen=True)
class OmegaOfTheCode(NormPreservation):
    """Omega as the authors' public code computes it, which is another penalty than that of their paper.

    The norms are squared, the cotangents are those of h_t and not of a_t, the mean is over all steps and sequences that
    count, and steps count where |dL/dh_t|^2 is at least `bound`:

        mean over t, b of (|dh_t diag(f'(a_t)) W|^2 / |dh_t|^2 - 1)^2          t = 1, ..., T

    Source: the code that the authors of Pascanu, Mikolov & Bengio 2013 published with it (trainingRNNs).
    """

    name: ClassVar[str] = "omega_squared"

    bound: Annotated[
        float, Field(ge=0, description="steps count where the squared norm of dL/dh_t is at least this")
    ] = 1e-20

    def value_and_gradient(self, trace: Trace, loss: Loss | Array | None) -> tuple[float, Params]:
        self.check(trace.cell)
        loss = self.require_loss(loss)
        W, slopes = trace.params["W"].astype(np.float64), trace.linearization.astype(np.float64)
        dh = state_cotangents(*loss_cotangents(trace, loss), W)
        found = measure_ratios(dh, slopes, W, 1.0)
        with np.errstate(divide="ignore"):
            counts = np.isfinite(found.log_size) & (2.0 * found.log_size >= np.log(self.bound))
        number = max(int(counts.sum()), 1)
        excess = np.where(counts, found.ratio**2 - 1.0, 0.0)
        dW = found.gradient(4.0 * excess * found.ratio / number)
        return float((excess * excess).sum() / number), complete_gradient(trace, {"W": dW})
