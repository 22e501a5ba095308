"""Figures of a study: frames in, `Figure` out. Figures compute nothing that is not in a table.

`draw` makes all figures that a study has tables for, in the house style. A single figure function takes a summary of
`bpttlab.tables` and the style that its caller has set. Plotting libraries are imported when a figure is drawn.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bpttlab import tables
from bpttlab.errors import LabError
from bpttlab.tables import StudyTables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bpttlab.figures.style import Size

OF_GRADIENTS = ("products", "lag_terms", "growth", "triangle", "truncation")
OF_SPECTRA = ("exponents", "spectrum", "finite_time", "singular_values", "eigenvalues", "paths", "sensitivity")
OF_COSTS = ("bias_variance", "error_cost", "bias_bounds", "directions")
NAMES = (*OF_GRADIENTS, *OF_COSTS, *OF_SPECTRA)


class Drawing(dict[str, "Figure"]):
    """The figures of a study by name; `skipped` has the reason for each figure that was not drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}


def draw(
    study: StudyTables,
    size: Size = "page",
    run_id: str | None = None,
    parameter: str | None = None,
    told: Callable[[str], object] = lambda name: None,
) -> Drawing:
    """All figures of a study, for a column (3.4 inches) or a page (7 inches) of a paper.

    Args:
        study: a loaded study.
        size: "column" or "page".
        run_id: the run whose triangle is drawn; by default the one nearest to criticality that has one.
        parameter: the parameter whose lag terms and truncated gradient are drawn; by default `tables.main_parameter`.
        told: a function that receives the name of each figure before it is drawn.

    Returns:
        Figures by name, in the order of NAMES; `skipped` has the reasons of missing ones.

    Raises:
        LabError: the study has no runs, or the size is unknown.
    """
    from bpttlab.figures import style

    if study.runs.empty:
        raise LabError("the study has no runs: there is nothing to draw")
    drawing = Drawing()
    with style.context(size):
        parameter = parameter or tables.main_parameter(study.truncations)
        recipes = _of_gradients(study, size, run_id, parameter) | _of_costs(study, size, parameter)
        for name, make in (recipes | _of_spectra(study, size)).items():
            told(name)
            try:
                drawing[name] = make()
            except LabError as reason:
                drawing.skipped[name] = str(reason)
    return drawing


Recipes: TypeAlias = dict[str, Callable[[], "Figure"]]
"""How each figure is made of the study's tables."""


def _of_gradients(study: StudyTables, size: Size, run_id: str | None, parameter: str) -> Recipes:
    """Growth of products, lag terms and truncations."""
    from bpttlab.figures.growth import plot_growth
    from bpttlab.figures.lag_terms import plot_lag_terms
    from bpttlab.figures.products import plot_products
    from bpttlab.figures.triangle import plot_triangle
    from bpttlab.figures.truncation import plot_truncation

    runs = study.runs

    def products() -> Figure:
        return plot_products(tables.growth_curves(_measured(study.jacobians, "Jacobian products"), runs), size)

    def lag_terms() -> Figure:
        return plot_lag_terms(tables.lag_curves(_measured(study.lag_terms, "lag terms"), runs), size, parameter)

    def triangle() -> Figure:
        return plot_triangle(tables.triangle(_measured(study.jacobians, "Jacobian products"), runs, run_id), size)

    def truncation() -> Figure:
        bias = tables.truncation_bias(_measured(study.truncations, "truncated gradients"), runs)
        return plot_truncation(bias, size, parameter)

    return {
        "products": products,
        "lag_terms": lag_terms,
        "growth": lambda: plot_growth(tables.growth(runs), size),
        "triangle": triangle,
        "truncation": truncation,
    }


def _of_costs(study: StudyTables, size: Size, parameter: str) -> Recipes:
    """Bias and variance of schemes, their costs, bounds on the bias, and signs along directions."""
    from bpttlab.figures.bias_bounds import plot_bias_bounds
    from bpttlab.figures.bias_variance import plot_bias_variance
    from bpttlab.figures.directions import plot_directions
    from bpttlab.figures.error_cost import plot_error_cost

    runs = study.runs

    @cache
    def costs() -> pd.DataFrame:
        there = tables.has_costs(study.truncations, study.provenance)
        measured = _measured(study.truncations if there else study.truncations[:0], "variance or seconds of a scheme")
        return tables.costs(measured, runs, study.provenance)

    def bias_bounds() -> Figure:
        bounds = _measured(study.bias_bounds, "bounds on the bias (scheme=adaptive)")
        return plot_bias_bounds(tables.bias_bounds(bounds, study.truncations, runs), size, parameter)

    def directions() -> Figure:
        rows = _measured(study.truncations, "truncated gradients")
        return plot_directions(tables.along_directions(rows, runs), size)

    return {
        "bias_variance": lambda: plot_bias_variance(costs(), size, parameter),
        "error_cost": lambda: plot_error_cost(costs(), size, parameter),
        "bias_bounds": bias_bounds,
        "directions": directions,
    }


def _of_spectra(study: StudyTables, size: Size) -> Recipes:
    """Exponents, spectra and eigenvalues, paths through the state, and forward sensitivity."""
    from bpttlab.figures.eigenvalues import plot_eigenvalues
    from bpttlab.figures.exponents import plot_exponents
    from bpttlab.figures.finite_time import plot_finite_time
    from bpttlab.figures.sensitivity import plot_sensitivity
    from bpttlab.figures.singular_values import plot_singular_values
    from bpttlab.figures.spectrum import plot_spectrum
    from bpttlab.figures.state_blocks import plot_paths

    runs = study.runs

    def exponents() -> Figure:
        _measured(runs if tables.has_exponents(runs) else runs[:0], "Lyapunov exponents")
        return plot_exponents(tables.exponents(runs), size)

    def spectrum() -> Figure:
        return plot_spectrum(tables.spectrum_curves(_measured(study.spectra, "Lyapunov spectra"), runs), size)

    def finite_time() -> Figure:
        windows = _measured(study.finite_time, "finite-time exponents")
        return plot_finite_time(tables.finite_time_distribution(windows, runs), size)

    def singular_values() -> Figure:
        values = _measured(study.singular_values, "singular values of products")
        return plot_singular_values(tables.singular_value_curves(values, runs, study.spectra), size)

    def eigenvalues() -> Figure:
        return plot_eigenvalues(tables.eigenvalue_points(_measured(study.eigenvalues, "eigenvalues"), runs), size)

    def paths() -> Figure:
        return plot_paths(
            tables.block_curves(_measured(study.blocks, "blocks of products (of a state that has parts)"), runs), size
        )

    def sensitivity() -> Figure:
        norms = _measured(study.sensitivity, "forward sensitivities")
        return plot_sensitivity(tables.sensitivity_curves(norms, runs, study.jacobians), size)

    makers = (exponents, spectrum, finite_time, singular_values, eigenvalues, paths, sensitivity)
    return {maker.__name__: maker for maker in makers}


def _measured(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The table; raises an error if it is empty."""
    if table.empty:
        raise LabError(f"the study has no {what}: none of its runs was requested to measure them, or none is done")
    return table


def save(figure: Figure, stem: str | os.PathLike[str], format: str = "png") -> Path:
    """Write the figure to `stem`.`format` (png, svg or pdf); see `style.save`."""
    from bpttlab.figures import style

    return style.save(figure, stem, format)
