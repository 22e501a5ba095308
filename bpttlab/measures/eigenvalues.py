"""Eigenvalues of the recurrent matrix, of J at the origin, and of J_t at some steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.measures.measure import Columns, Context, Measure, Result, Sampling, zero_parameters
from bpttlab.measures.recurrent_matrix import origin_jacobian
from bpttlab.measures.volume_growth import equal_windows
from bpttlab.networks.cells import Cell
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import concatenate
from bpttlab.store.measure_columns import JACOBIAN_EIGENVALUES


@dataclass(frozen=True)
class Eigenvalues(Measure):
    """All eigenvalues of W, of J at the origin, and of J_t at steps evenly apart, the last among them."""

    name: ClassVar[str] = "eigenvalues"
    ends_with_sequences: ClassVar[bool] = True
    tables = JACOBIAN_EIGENVALUES.tables
    summary = JACOBIAN_EIGENVALUES.summary
    row_settings: ClassVar = {"eigenvalues": ("measure.eigenvalue_steps", "measure.sequences")}

    eigenvalue_steps: Annotated[
        int,
        Field(
            ge=0,
            description="steps t at which the eigenvalues of J_t are recorded, beside those of W and of J at the "
            "origin; 0: none",
        ),
    ] = 0

    @property
    def active(self) -> bool:
        return self.eigenvalue_steps > 0

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        """The eigenvalues of J_t of every sequence; those of J at the origin and of W once."""
        if not self.active:
            return {"eigenvalues": 0}
        of_steps = cell.state_size * min(self.eigenvalue_steps, length) * sampling.sequences
        described = len(next(iter(cell.recurrent_blocks(zero_parameters(cell)).values())))
        return {"eigenvalues": of_steps + cell.state_size + described}

    def __call__(self, context: Context) -> Result:
        trace = context.trace
        W = next(iter(trace.cell.recurrent_blocks(trace.params).values()))
        parts = [eigenvalue_rows("W", W), eigenvalue_rows("J_0", origin_jacobian(trace.cell, trace.params))]
        radii, head = [], trace.head(context.sampling.sequences)
        for t in equal_windows(0, trace.length, self.eigenvalue_steps)[1:]:
            for sequence, J in enumerate(head.jacobian(int(t))):
                parts.append(eigenvalue_rows("J", J, sequence, int(t)))
                radii.append(np.hypot(parts[-1]["real"], parts[-1]["imaginary"]).max())
        return Result({"eigenvalues": concatenate(parts)}, {"jacobian_radius": float(np.median(radii))})


def eigenvalue_rows(matrix: str, values: Array, sequence: int | None = None, t: int | None = None) -> Columns:
    """Eigenvalues of one matrix as rows; of W and of J at the origin no sequence and no step."""
    found = matrices.eigenvalues(values)
    size = len(found)
    return {
        "matrix": np.full(size, matrix, dtype=object),
        "sequence": np.full(size, sequence, dtype=object),
        "t": np.full(size, t, dtype=object),
        "index": np.arange(1, size + 1),
        "real": found.real,
        "imaginary": found.imag,
    }
