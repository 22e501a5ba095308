"""The figures that come with bpttlab, in the order in which they are drawn: of which tables each is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpttlab import tables
from bpttlab.errors import LabError
from bpttlab.figures.bias_bounds import plot_bias_bounds
from bpttlab.figures.bias_variance import plot_bias_variance
from bpttlab.figures.directions import plot_directions
from bpttlab.figures.eigenvalues import plot_eigenvalues
from bpttlab.figures.error_cost import plot_error_cost
from bpttlab.figures.exponents import plot_exponents
from bpttlab.figures.figure import FigureRequest, StudyFigure
from bpttlab.figures.finite_time import plot_finite_time
from bpttlab.figures.growth import plot_growth
from bpttlab.figures.lag_profile import plot_lag_profile
from bpttlab.figures.lag_terms import plot_lag_terms
from bpttlab.figures.products import plot_products
from bpttlab.figures.sensitivity import plot_sensitivity
from bpttlab.figures.singular_values import plot_singular_values
from bpttlab.figures.spectrum import plot_spectrum
from bpttlab.figures.state_blocks import plot_paths
from bpttlab.figures.success import plot_success, plot_success_curves
from bpttlab.figures.trained_eigenvalues import plot_trained_eigenvalues
from bpttlab.figures.training import plot_training
from bpttlab.figures.triangle import plot_triangle
from bpttlab.figures.truncation import plot_truncation
from bpttlab.figures.updates import plot_paired, plot_updates

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


# ------------------------------------------------------------------ growth of products, lag terms, truncations


def _products(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.jacobians, "Jacobian products")
    return plot_products(tables.growth_curves(rows, request.study.runs), request.size, request.comparison)


def _lag_terms(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.lag_terms, "lag terms")
    return plot_lag_terms(
        tables.lag_curves(rows, request.study.runs), request.size, request.parameter, request.comparison
    )


def _growth(request: FigureRequest) -> Figure:
    growth = tables.choose_updates(tables.growth(request.study.runs))
    return plot_growth(growth, request.size, request.comparison)


def _triangle(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.jacobians, "Jacobian products")
    return plot_triangle(tables.triangle(rows, request.study.runs, request.run_id), request.size)


def _truncation(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.truncations, "truncated gradients")
    return plot_truncation(
        tables.truncation_bias(rows, request.study.runs), request.size, request.parameter, request.comparison
    )


# ------------------------------------------------------------------ what schemes cost, bounds, signs along directions


def _costs(request: FigureRequest) -> pd.DataFrame:
    """The table of what schemes cost."""
    rows, provenance = request.study.truncations, request.study.provenance
    measured = rows if tables.has_costs(rows, provenance) else rows[:0]
    return tables.costs(_refuse_empty(measured, "variance or seconds of a scheme"), request.study.runs, provenance)


def _bias_variance(request: FigureRequest) -> Figure:
    return plot_bias_variance(_costs(request), request.size, request.parameter, request.comparison)


def _error_cost(request: FigureRequest) -> Figure:
    return plot_error_cost(_costs(request), request.size, request.parameter, request.comparison)


def _bias_bounds(request: FigureRequest) -> Figure:
    bounds = _refuse_empty(request.study.bias_bounds, "bounds on the bias (scheme=adaptive)")
    frame = tables.bias_bounds(bounds, request.study.truncations, request.study.runs)
    return plot_bias_bounds(frame, request.size, request.parameter, request.comparison)


def _directions(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.truncations, "truncated gradients")
    return plot_directions(tables.along_directions(rows, request.study.runs), request.size, request.comparison)


# ------------------------------------------------------------------ spectra, eigenvalues, paths, forward sensitivity


def _exponents(request: FigureRequest) -> Figure:
    runs = request.study.runs
    _refuse_empty(runs if tables.has_exponents(runs) else runs[:0], "Lyapunov exponents")
    return plot_exponents(tables.choose_updates(tables.exponents(runs)), request.size, request.comparison)


def _spectrum(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.spectra, "Lyapunov spectra")
    return plot_spectrum(tables.spectrum_curves(rows, request.study.runs), request.size, request.comparison)


def _finite_time(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.finite_time, "finite-time exponents")
    return plot_finite_time(tables.finite_time_distribution(rows, request.study.runs), request.size, request.comparison)


def _singular_values(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.singular_values, "singular values of products")
    frame = tables.singular_value_curves(rows, request.study.runs, request.study.spectra)
    return plot_singular_values(frame, request.size, request.comparison)


def _eigenvalues(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.eigenvalues, _EIGENVALUE_ROWS)
    return plot_eigenvalues(tables.eigenvalue_points(rows, request.study.runs), request.size, request.comparison)


def _paths(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.blocks, "blocks of products (of a state that has parts)")
    curves, runs = tables.block_curves(rows, request.study.runs), request.study.runs
    done = runs.loc[runs["status"] == "done", ["run_id", "cell"]]
    left_out = sorted({*done["cell"]} - {*done.loc[done["run_id"].isin(rows["run_id"]), "cell"]})
    return plot_paths(curves, request.size, request.comparison, left_out)


def _sensitivity(request: FigureRequest) -> Figure:
    rows = _refuse_empty(request.study.sensitivity, "forward sensitivities")
    return plot_sensitivity(
        tables.sensitivity_curves(rows, request.study.runs, request.study.jacobians), request.size, request.comparison
    )


# ------------------------------------------------------------------ networks while they are trained


def _updates(request: FigureRequest) -> Figure:
    return plot_updates(tables.updates(_refuse_without_updates(request)), request.size)


def _paired(request: FigureRequest) -> Figure:
    return plot_paired(tables.training_pairs(_refuse_without_updates(request)), request.size)


def _refuse_without_updates(request: FigureRequest) -> pd.DataFrame:
    """The runs, refused where no network was measured while it was trained."""
    runs = request.study.runs
    return _refuse_empty(runs if tables.has_updates(runs) else runs[:0], "networks measured during their training")


def _training(request: FigureRequest) -> Figure:
    runs = _refuse_without_training(request)
    rows = _refuse_empty(request.study.training, "recorded updates of a training")  # type: ignore[attr-defined]
    return plot_training(tables.training_curves(rows, runs), request.size, request.comparison)


def _lag_profile(request: FigureRequest) -> Figure:
    runs, study = _refuse_without_updates(request), request.study
    if study.lag_terms.empty:
        rows = _refuse_empty(study.jacobians, "lag terms or Jacobian products")
        curves = tables.growth_curves(rows, runs)
    else:
        curves = tables.lag_curves(study.lag_terms, runs)
    return plot_lag_profile(curves, request.size, request.parameter, request.comparison)


def _trained_eigenvalues(request: FigureRequest) -> Figure:
    runs = _refuse_without_updates(request)
    rows = _refuse_empty(request.study.eigenvalues, _EIGENVALUE_ROWS)
    points = tables.eigenvalue_points(rows, runs)
    if "trained_updates" in runs:
        points["trained_updates"] = points["run_id"].map(runs.set_index("run_id")["trained_updates"])
    return plot_trained_eigenvalues(points, request.size, request.comparison)


def _success(request: FigureRequest) -> Figure:
    return plot_success(tables.success(_refuse_without_training(request)), request.size, request.comparison)


def _success_curves(request: FigureRequest) -> Figure:
    curves = tables.success_curves(_refuse_without_training(request))
    return plot_success_curves(curves, request.size, request.comparison)


def _refuse_without_training(request: FigureRequest) -> pd.DataFrame:
    """The runs, refused where no sweep trained the networks."""
    runs = request.study.runs
    return _refuse_empty(runs if tables.has_training(runs) else runs[:0], "networks that a sweep trained")


def _refuse_empty(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The table, refused where it has no rows."""
    if table.empty:
        raise LabError(f"the study has no {what}: no finished run measured them")
    return table


_EIGENVALUE_ROWS = "eigenvalues (measure.eigenvalue_steps=1 brings them)"

_PRODUCTS = StudyFigure("products", _products)
_LAG_TERMS = StudyFigure("lag_terms", _lag_terms)
_GROWTH = StudyFigure("growth", _growth)
_TRIANGLE = StudyFigure("triangle", _triangle)
_TRUNCATION = StudyFigure("truncation", _truncation)
_BIAS_VARIANCE = StudyFigure("bias_variance", _bias_variance)
_ERROR_COST = StudyFigure("error_cost", _error_cost)
_BIAS_BOUNDS = StudyFigure("bias_bounds", _bias_bounds)
_DIRECTIONS = StudyFigure("directions", _directions)
_EXPONENTS = StudyFigure("exponents", _exponents)
_SPECTRUM = StudyFigure("spectrum", _spectrum)
_FINITE_TIME = StudyFigure("finite_time", _finite_time)
_SINGULAR_VALUES = StudyFigure("singular_values", _singular_values)
_EIGENVALUES = StudyFigure("eigenvalues", _eigenvalues)
_PATHS = StudyFigure("paths", _paths)
_SENSITIVITY = StudyFigure("sensitivity", _sensitivity)
_UPDATES = StudyFigure("updates", _updates)
_PAIRED = StudyFigure("paired", _paired)
_TRAINING = StudyFigure("training", _training)
_LAG_PROFILE = StudyFigure("lag_profile", _lag_profile)
_TRAINED_EIGENVALUES = StudyFigure("trained_eigenvalues", _trained_eigenvalues)
_SUCCESS = StudyFigure("success", _success)
_SUCCESS_CURVES = StudyFigure("success_curves", _success_curves)
