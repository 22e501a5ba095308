"""What a configuration asks to have measured of a trace: rows of tables, and columns of `runs`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bpttlab.gradients.trace import Trace
from bpttlab.measures.jacobian_products import measure_products, median_log, origin_jacobian, product_summary
from bpttlab.measures.lag_terms import measure_lags
from bpttlab.measures.lyapunov import (
    Growth,
    entropy_bound,
    equal_windows,
    finite_time_columns,
    kaplan_yorke_dimension,
    measure_growth,
    spectrum_columns,
)
from bpttlab.measures.sensitivity import measure_sensitivity
from bpttlab.measures.settings import Measure
from bpttlab.measures.singular_values import measure_singular_values
from bpttlab.networks.cells import Elman
from bpttlab.networks.losses import Loss
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import concatenate
from bpttlab.numerics.log_spacing import log_spacing
from bpttlab.numerics.scaled import Gradients
from bpttlab.theory import tanh_log_determinant

Columns = dict[str, Array]


class Measured(NamedTuple):
    """What runs share that differ in the truncation only.

    Attributes:
        summary: columns of `runs`.
        tables: rows of the other tables; only those that were requested.
        truncations: rows of `truncations` that were read off the lag terms.
    """

    summary: dict[str, Any]
    tables: dict[str, Columns]
    truncations: Columns


def measure_trace(wanted: Measure, trace: Trace, loss: Loss, full: Gradients) -> Measured:
    """All that is requested; `full` is the gradient without truncation."""
    summary, tables = products(wanted, trace, loss)
    for measure in (spectrum, eigenvalues):
        more_summary, more_tables = measure(wanted, trace)
        summary, tables = summary | more_summary, tables | more_tables
    if wanted.singular_lags:
        lags = log_spacing(trace.length, wanted.singular_lags)
        tables["singular_values"] = measure_singular_values(trace, lags, wanted.sequences)
    if wanted.sensitivity_steps:
        tables["sensitivity"] = measure_sensitivity(trace, wanted.sensitivity_steps, wanted.sequences)
    if wanted.lag_terms == "none":
        return Measured(summary, tables, {})
    lags_measured = measure_lags(trace, loss, wanted.lag_terms, wanted.lags, wanted.max_lag, full)
    truncations = lags_measured.truncations if wanted.truncations == "log" else {}
    return Measured(summary, tables | {"lag_terms": lags_measured.lag_terms}, truncations)


def products(wanted: Measure, trace: Trace, loss: Loss) -> tuple[dict[str, Any], dict[str, Columns]]:
    """Norms of Jacobian products, of their blocks, and what they amount to."""
    if wanted.jacobians == "none":
        return {}, {}
    norms = measure_products(trace, loss, wanted.jacobians, wanted.sequences, wanted.lags, wanted.bound_lags)
    tables = {"jacobians": norms.columns} | ({"blocks": norms.blocks} if norms.blocks else {})
    return product_summary(norms, wanted.fit_from), tables


# ------------------------------------------------------------------------------------------ exponents


def spectrum(wanted: Measure, trace: Trace) -> tuple[dict[str, Any], dict[str, Columns]]:
    """Lyapunov exponents, over all of the time and over windows of it."""
    if wanted.exponents == "none":
        return {}, {}
    transient = int(wanted.transient * trace.length)
    windows = (wanted.windows,) if wanted.windows else ()
    ends = equal_windows(transient, trace.length, *windows)
    count = None if wanted.exponents == "all" else wanted.exponents
    growth = measure_growth(trace.head(wanted.sequences), ends, None, count)
    spectra = {name: column for name, column in spectrum_columns(growth).items() if name not in ("steps", "interval")}
    tables = {"spectra": spectra} | ({"finite_time": finite_time_columns(growth)} if wanted.windows else {})
    summary = spectrum_summary(growth, not trace.x.any(), wanted.exponents == "all")
    if isinstance(trace.cell, Elman) and trace.cell.activation == "tanh" and wanted.exponents == "all":
        summary |= mean_exponent(growth, trace.head(wanted.sequences), transient)
    return summary, tables


def mean_exponent(growth: Growth, trace: Trace, transient: int) -> dict[str, Any]:
    """The mean of all exponents and sequences, and what log |det J_t| says that it is, along the same steps."""
    W, h_prev = trace.params["W"].astype(np.float64), trace.h[transient:-1].astype(np.float64)
    a = trace.cell.project(trace.params, trace.x)[transient:] + h_prev @ W.T
    return {
        "mean_exponent": float(growth.exponents.mean()),
        "determinant_rate": tanh_log_determinant(float(np.linalg.slogdet(W)[1]), a),
    }


def spectrum_summary(growth: Growth, autonomous: bool, whole: bool) -> dict[str, Any]:
    """Columns of `runs`: medians over the sequences."""
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


# ------------------------------------------------------------------------------------------ eigenvalues


def eigenvalues(wanted: Measure, trace: Trace) -> tuple[dict[str, Any], dict[str, Columns]]:
    """Of the recurrent matrix, of J at the origin, and of J_t at steps evenly apart, the last among them."""
    if not wanted.eigenvalue_steps:
        return {}, {}
    W = next(iter(trace.cell.recurrent_blocks(trace.params).values()))
    parts = [eigenvalue_rows("W", W), eigenvalue_rows("J_0", origin_jacobian(trace.cell, trace.params))]
    radii, head = [], trace.head(wanted.sequences)
    for t in equal_windows(0, trace.length, wanted.eigenvalue_steps)[1:]:
        for sequence, J in enumerate(head.jacobian(int(t))):
            parts.append(eigenvalue_rows("J", J, sequence, int(t)))
            radii.append(np.hypot(parts[-1]["real"], parts[-1]["imaginary"]).max())
    return {"jacobian_radius": float(np.median(radii))}, {"eigenvalues": concatenate(parts)}


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
