"""Figures of a study: frames in, `Figure` out; they compute nothing that is not in a table.

`draw` makes all that a study has the tables for, in the house style. A single figure takes a summary of
`bpttlab.tables` and whatever style its caller has set. Plotting libraries are imported when a figure is drawn.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bpttlab import tables
from bpttlab.errors import LabError
from bpttlab.tables import StudyTables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bpttlab.figures.style import Size

NAMES = ("products", "lag_terms", "growth", "triangle", "truncation")


class Drawing(dict[str, "Figure"]):
    """The figures of a study by name, and in `skipped` the reason for each that was not drawn."""

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
        told: called with the name of each figure before it is drawn.

    Returns:
        Figures by name, in the order of NAMES; `skipped` says why one is missing.

    Raises:
        LabError: the study has no runs, or the size is not known.
    """
    from bpttlab.figures import style

    if study.runs.empty:
        raise LabError("the study has no runs: there is nothing to draw")
    drawing = Drawing()
    with style.context(size):
        for name, make in _recipes(study, size, run_id, parameter or tables.main_parameter(study.truncations)).items():
            told(name)
            try:
                drawing[name] = make()
            except LabError as reason:
                drawing.skipped[name] = str(reason)
    return drawing


def _recipes(study: StudyTables, size: Size, run_id: str | None, parameter: str) -> dict[str, Callable[[], Figure]]:
    """How each figure is made of the study's tables."""
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


def _measured(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The table, refused where it is empty."""
    if table.empty:
        raise LabError(f"the study has no {what}: none of its runs was asked to measure them, or none is done")
    return table


def save(figure: Figure, stem: str | os.PathLike[str], format: str = "png") -> Path:
    """Write the figure to `stem`.`format` (png, svg or pdf); see `style.save`."""
    from bpttlab.figures import style

    return style.save(figure, stem, format)
