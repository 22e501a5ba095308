"""The recurrent matrix W of a run, and J at the origin: known before the forward pass, and of runs that diverge too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from bpttlab.fields import Field, settle_fields
from bpttlab.gradients.engine import find_engine
from bpttlab.gradients.forward import forward
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.store.column import Column
from bpttlab.store.measure_columns import RECURRENT_MATRIX


@dataclass(frozen=True)
class RecurrentMatrix:
    """The columns of the tables about W. They describe a network, not a run; so this is no `Measure`.

    Attributes:
        transient_lags: powers of W searched for their peak.
    """

    summary: ClassVar[tuple[Column, ...]] = RECURRENT_MATRIX.summary

    transient_lags: Annotated[
        int, Field(ge=0, unit="step", description="largest power of W that is searched for transient_peak")
    ] = 100

    def __post_init__(self) -> None:
        settle_fields(self, "measure.{}")

    def describe(self, cell: Cell, params: Params, initializer: Initializer, engine: str) -> dict[str, Any]:
        """Columns of `runs`: W as it is, and what the initializer was to make of it.

        Args:
            engine: what computes spectral norms.
        """
        W, drawn = described_matrix(cell, params), initializer.draws
        return {
            **matrices.describe_matrix(W, self.transient_lags, find_engine(engine).spectral_norms(len(W)).logs),
            "initializer_target": initializer.target if drawn else None,
            "initializer_requested": initializer.requested if drawn else None,
            "initializer_realized": initializer.measure_realized(W) if drawn else None,
            "origin_radius": matrices.spectral_radius(origin_jacobian(cell, params)),
        }


def described_matrix(cell: Cell, params: Params) -> Array:
    """The matrix that the tables describe as W: the first recurrent block.  (N, N) float64"""
    return np.asarray(next(iter(cell.recurrent_blocks(params).values()))).astype(np.float64)


def origin_jacobian(cell: Cell, params: Params) -> Array:
    """J_1 of a step from h_0 = 0 with x_1 = 0: the network before any input, with the biases that it has.  (N, N)

    float64, N of the whole state. Its eigenvalues (`matrices.eigenvalues`) place cells at a distance from the edge of
    stability; they hold for as long as the state stays near the origin, where the biases let it. In a stack the layers
    above the first stand where the h_1 of the layer below puts them: their blocks are those of their own origin only
    if that is zero.
    """
    wide = {name: np.asarray(value, np.float64) for name, value in params.items()}
    return forward(cell, wide, np.zeros((1, 1, cell.x_size))).jacobian(1)[0]
