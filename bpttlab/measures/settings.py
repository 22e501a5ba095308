"""What is to be measured of a run, in which detail, and how many rows that gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import settle_fields
from bpttlab.gradients.directional import LOG_SCALE, SIGNED_BIAS, Directions, log_scale, signed_bias
from bpttlab.networks.cells import Cell
from bpttlab.networks.cells.cell import Params


@dataclass(frozen=True)
class Measure:
    """What is measured of a run, and in which detail. Part of the run's identity.

    Attributes:
        jacobians: norms of products for some ("log") or "all" lags of t = T, for the whole "triangle", or "none".
        sequences: how many sequences of the batch have their products, spectra and sensitivity measured.
        lags: how many lags "log" has.
        bound_lags: longest lag of the product bound.
        exponents: how many Lyapunov exponents by QR, a number, "all" or "none".
        transient: the part of T after which they are averaged.
        windows: stretches of time with exponents of their own; 0: none.
        singular_lags: lags of t = T with all singular values.
        eigenvalue_steps: steps t with the eigenvalues of J_t, beside those of W and of J at the origin; 0: none.
        sensitivity_steps: steps t with the norm of dh_t/dparameter.
        lag_terms: "log", "all" or "none".
        max_lag: longest lag of the lag terms; None: all T.
        truncations: "log" reads every truncation at the reported lags off the lag terms; "none" only the run's own.
        log_scale: whether truncations are measured along the scale of W, too.
        signed_bias: along the bias that is added to so many units and subtracted from the others; 0: not.
        scheme_seconds: whether the scheme's gradient is computed once more for its time.
        transient_lags: powers of W searched for their peak.
        fit_from: the growth rate is fitted over lags [fit_from T, T].
        row_budget: rows that one run may have in one table.
    """

    jacobians: Literal["log", "all", "triangle", "none"] = "log"
    sequences: int = 2
    lags: int = 24
    bound_lags: int = 100
    exponents: int | Literal["all", "none"] = "none"
    transient: float = 0.1
    windows: int = 0
    singular_lags: int = 0
    eigenvalue_steps: int = 0
    sensitivity_steps: int = 0
    lag_terms: Literal["log", "all", "none"] = "log"
    max_lag: int | None = None
    truncations: Literal["log", "none"] = "log"
    log_scale: bool = False
    signed_bias: int = 0
    scheme_seconds: bool = False
    transient_lags: int = 100
    fit_from: float = 0.2
    row_budget: int = 100_000

    LEAST: ClassVar[dict[str, int]] = {
        "sequences": 1,
        "lags": 3,
        "bound_lags": 0,
        "windows": 0,
        "singular_lags": 0,
        "eigenvalue_steps": 0,
        "sensitivity_steps": 0,
        "signed_bias": 0,
        "transient_lags": 0,
        "row_budget": 1,
    }

    def __post_init__(self) -> None:
        settle_fields(self, "measure.{}")
        for name, least in self.LEAST.items():
            if getattr(self, name) < least:
                raise ConfigurationError(f"measure.{name}={getattr(self, name)}: must be an integer >= {least}")
        if isinstance(self.exponents, int) and self.exponents < 1:
            raise ConfigurationError(f"measure.exponents={self.exponents}: must be an integer >= 1, all or none")
        if self.windows and self.exponents == "none":
            raise ConfigurationError(f"measure.windows={self.windows}: needs exponents, and measure.exponents is none")
        if self.max_lag is not None and self.max_lag < 0:
            raise ConfigurationError(f"measure.max_lag={self.max_lag}: must be an integer >= 0, or null for all lags")
        for name in ("fit_from", "transient"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigurationError(f"measure.{name}={getattr(self, name)}: must be a number from 0 to below 1")

    def exponents_of(self, size: int) -> int:
        """How many exponents are requested of a state of this size."""
        return {"none": 0, "all": size}[self.exponents] if isinstance(self.exponents, str) else self.exponents

    def directions(self, cell: Cell, params: Params) -> Directions:
        """The directions requested, in the parameters of a cell."""
        found = {LOG_SCALE: log_scale(cell, params)} if self.log_scale else {}
        return found | ({SIGNED_BIAS: signed_bias(cell, self.signed_bias)} if self.signed_bias else {})

    def rows(self, length: int, cell: Cell) -> dict[str, int]:
        """Rows of each table that one run of this length has at most."""
        parameters, size, parts = len(cell.recurrent_parameters), cell.state_size, len(cell.parts)
        products = {
            "log": min(self.lags, length + 1),
            "all": length + 1,
            "triangle": length * (length + 3) // 2,
            "none": 0,
        }
        last = length if self.max_lag is None else min(length, self.max_lag + 1)
        terms = {"log": min(self.lags, last), "all": last, "none": 0}[self.lag_terms]
        block_lags = min(products[self.jacobians], length + 1) if parts > 1 else 0
        of_a_sequence = {
            "jacobians": products[self.jacobians],
            "blocks": block_lags * parts**2,
            "spectra": self.exponents_of(size),
            "finite_time": self.exponents_of(size) * min(self.windows, length),
            "singular_values": size * min(self.singular_lags, length + 1),
            "eigenvalues": size * min(self.eigenvalue_steps, length),
            "sensitivity": parameters * min(self.sensitivity_steps, length),
        }
        rows = {table: number * self.sequences for table, number in of_a_sequence.items()}
        if self.eigenvalue_steps:
            rows["eigenvalues"] += size + described_size(cell)  # J at the origin, W
        return rows | {"lag_terms": parameters * terms}


def described_size(cell: Cell) -> int:
    """Rows of the matrix that the tables describe as W."""
    return len(next(iter(cell.recurrent_blocks(zeros(cell)).values())))


def zeros(cell: Cell) -> Params:
    """Parameters of the right shapes, for what asks for no more."""
    return {name: np.zeros(shape) for name, shape in cell.shapes().items()}


DECIDES_ROWS = {
    "jacobians": ("measure.jacobians=log", "measure.sequences"),
    "blocks": ("measure.jacobians=log", "measure.sequences"),
    "spectra": ("measure.exponents", "measure.sequences"),
    "finite_time": ("measure.windows", "measure.exponents", "measure.sequences"),
    "singular_values": ("measure.singular_lags", "measure.sequences"),
    "eigenvalues": ("measure.eigenvalue_steps", "measure.sequences"),
    "sensitivity": ("measure.sensitivity_steps", "measure.sequences"),
    "lag_terms": ("measure.lag_terms=log", "measure.max_lag"),
}
"""What to change where a run would have too many rows of a table."""


def check_measure(measure: Measure, cell: Cell, length: int) -> None:
    """Refuses what cannot be measured of this cell, or would have too many rows in a run of this length."""
    check_row_budget(measure.rows(length, cell), measure, length)
    check_exponents(measure, cell)
    if measure.log_scale or measure.signed_bias:
        measure.directions(cell, zeros(cell))  # which refuses those that the cell does not have


def check_exponents(measure: Measure, cell: Cell) -> None:
    if measure.exponents_of(cell.state_size) > cell.state_size:
        raise ConfigurationError(
            f"measure.exponents={measure.exponents}: must be at most {cell.state_size}, the size of the state, or all"
        )


def check_row_budget(budgeted: Mapping[str, int], measure: Measure, length: int) -> None:
    run = f"a run of sequence_length={length}"
    for table, rows in budgeted.items():
        if rows > measure.row_budget:
            raise ConfigurationError(
                f"measure.row_budget={measure.row_budget}: {run} would have {rows} rows of "
                f"'{table}'; ask for fewer of {', '.join(DECIDES_ROWS[table])}, or raise the budget"
            )
