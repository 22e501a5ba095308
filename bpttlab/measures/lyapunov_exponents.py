"""The measure of Lyapunov exponents: over all of the time and over windows of it (`lyapunov`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lyapunov import (
    entropy_bound,
    finite_time_columns,
    kaplan_yorke_dimension,
    measure_growth,
    spectrum_columns,
)
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.measures.volume_growth import SpectrumGrowth, equal_windows
from bpttlab.networks.cells import Cell, Elman
from bpttlab.numerics.scaled import median_log
from bpttlab.store.measure_columns import LYAPUNOV_EXPONENTS
from bpttlab.theory import tanh_log_determinant


@dataclass(frozen=True)
class LyapunovExponents(Measure):
    """Lyapunov exponents by QR, their convergence intervals, and what they amount to."""

    name: ClassVar[str] = "lyapunov_exponents"
    ends_with_sequences: ClassVar[bool] = True
    together: ClassVar = (("mean_exponent", "determinant_rate"),)
    tables = LYAPUNOV_EXPONENTS.tables
    summary = LYAPUNOV_EXPONENTS.summary
    row_settings: ClassVar = {
        "spectra": ("measure.exponents", "measure.sequences"),
        "finite_time": ("measure.windows", "measure.exponents", "measure.sequences"),
    }

    exponents: Annotated[
        int | Literal["all", "none"], Field(ge=1, description="how many Lyapunov exponents, from the largest")
    ] = "none"
    transient: Annotated[
        float,
        Field(ge=0, lt=1, description="fraction of T after which exponents are averaged; before it directions align"),
    ] = 0.1
    windows: Annotated[int, Field(ge=0, description="windows of time that have exponents of their own; 0: none")] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.windows and self.exponents == "none":
            raise ConfigurationError(f"measure.windows={self.windows}: needs exponents, and measure.exponents is none")

    @property
    def active(self) -> bool:
        return self.exponents != "none"

    def count(self, size: int) -> int:
        """How many exponents are requested of a state of this size."""
        return {"none": 0, "all": size}[self.exponents] if isinstance(self.exponents, str) else self.exponents

    def check(self, cell: Cell, length: int) -> None:
        if self.count(cell.state_size) > cell.state_size:
            raise ConfigurationError(
                f"measure.exponents={self.exponents}: must be at most {cell.state_size}, the size of the state, or all"
            )

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        """A row for each sequence and exponent, and for each window of time."""
        spectra = self.count(cell.state_size) * sampling.sequences
        return {"spectra": spectra, "finite_time": spectra * min(self.windows, length)}

    def __call__(self, context: Context) -> Result:
        trace = context.trace
        transient = int(self.transient * trace.length)
        windows = (self.windows,) if self.windows else ()
        ends = equal_windows(transient, trace.length, *windows)
        count = None if self.exponents == "all" else self.count(trace.cell.state_size)
        growth = measure_growth(trace.head(context.sampling.sequences), ends, None, count)
        columns = spectrum_columns(growth)
        tables = {"spectra": {name: columns[name] for name in columns if name not in ("steps", "interval")}}
        tables |= {"finite_time": finite_time_columns(growth)} if self.windows else {}
        return Result(tables, self.summarize(growth, trace, context.sampling.sequences, transient))

    def summarize(self, growth: SpectrumGrowth, trace: Trace, sequences: int, transient: int) -> dict[str, Any]:
        """Columns of `runs`."""
        whole = self.exponents == "all"
        summary = summarize_spectrum(growth, not trace.x.any(), whole)
        if isinstance(trace.cell, Elman) and trace.cell.activation == "tanh" and whole:
            summary |= mean_exponent(growth, trace.head(sequences), transient)
        return summary


def mean_exponent(growth: SpectrumGrowth, trace: Trace, transient: int) -> dict[str, Any]:
    """The mean of all exponents and sequences, and what log |det J_t| says that it is, along the same steps."""
    W, h_prev = trace.params["W"].astype(np.float64), trace.h[transient:-1].astype(np.float64)
    a = trace.cell.project(trace.params, trace.x)[transient:] + h_prev @ W.T
    return {
        "mean_exponent": float(growth.exponents.mean()),
        "determinant_rate": tanh_log_determinant(float(np.linalg.slogdet(W)[1]), a),
    }


def summarize_spectrum(growth: SpectrumGrowth, autonomous: bool, whole: bool) -> dict[str, Any]:
    """Medians over the sequences."""
    largest = float(median_log(growth.exponents.max(axis=-1)))
    summary = {
        "lyapunov_exponent": largest,
        "trajectory_radius": float(np.exp(largest)),
        "autonomous": autonomous,
    }
    if autonomous and whole:
        for name, of in (("kaplan_yorke_dimension", kaplan_yorke_dimension), ("entropy_bound", entropy_bound)):
            summary[name] = float(np.median([of(exponents) for exponents in growth.exponents]))
    return summary
