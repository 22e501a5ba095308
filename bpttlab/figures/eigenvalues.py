"""Eigenvalues of the recurrent matrix, of J at the origin and of J_t in the complex plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import SQUARES, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_VALUES = ("run_id", "seed", "matrix", "sequence", "t", "index", "real", "imaginary", "origin_rate")
MATRICES: dict[str, tuple[str, dict[str, Any]]] = {
    "J": ("$J_t$", {"marker": ".", "markersize": 2.6, "color": "#56b4e9", "markeredgewidth": 0}),
    "W": ("$W$", {"marker": "o", "markersize": 3.4, "color": style.CENTRE, "markerfacecolor": "none"}),
    "J_0": ("$J$ at the origin", {"marker": "x", "markersize": 3.0, "color": "#d55e00"}),
}
THIN: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0.6}

_AT_ORIGIN: dict[str, Any] = {"color": "#d55e00", "linestyle": "--", "linewidth": 0.7, "zorder": 1}
LARGER = {"markersize": 5.0}  # in the legend


def plot_eigenvalues(points: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """Eigenvalues of one network at each of a few requested values, with the unit circle; all panels have one scale.

    W is the matrix as drawn, scaled to its requested value. J_t are those of all recorded steps and sequences. Dashed:
    the theoretical spectral radius at the origin, from W and the biases of gates, for cells that have a formula.

    points: `tables.eigenvalue_points`. Raises LabError if no requested value is known.
    """
    points = points[points["initializer_requested"].notna()]
    if points.empty:
        raise LabError("no run with eigenvalues has a value requested of its initializer")
    page = arrange(points, _VALUES, comparison, size, **SQUARES)
    points = page.rows
    for axes, rows, _ in page.panels():
        _plane(axes, rows)
    limit_planes(page.grid, points)
    label_edges(page, ["real part"], ["imaginary part"])
    circle = lines.line_key("unit circle", linewidth=0.7)
    there = set(points["matrix"])
    here = [lines.line_key(name, **THIN | look | LARGER) for key, (name, look) in MATRICES.items() if key in there]
    known = lines.has_values(points["origin_rate"])
    theory = [lines.line_key("radius at the origin, theory", **_AT_ORIGIN)] if known else []
    page.add_footer([*here, circle, *theory])
    return layout.finish(page.figure)


def _plane(axes: Axes, rows: pd.DataFrame) -> None:
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, edgecolor=style.NEUTRAL, linewidth=0.7, zorder=1))
    radius = float(np.exp(rows["origin_rate"].astype(float).iloc[0])) if len(rows) else np.nan
    if np.isfinite(radius):
        axes.add_patch(Circle((0.0, 0.0), radius, fill=False, **_AT_ORIGIN))
    smaller = float(np.clip(layout.panel_width(axes) / 1.6, 0.6, 1.0))
    for place, (matrix, (_, look)) in enumerate(MATRICES.items()):
        own, look = rows[rows["matrix"] == matrix], {**THIN, **look, "markersize": smaller * look["markersize"]}
        axes.plot(own["real"], own["imaginary"], zorder=2 + place, **look)
    axes.set_aspect("equal", adjustable="box")


def limit_planes(grid: np.ndarray, points: pd.DataFrame) -> None:
    """The same limits for all, the unit circle and every eigenvalue within them."""
    most = 1.08 * max(1.0, float(points[["real", "imaginary"]].abs().to_numpy(dtype=float).max()))
    grid[0, 0].set(xlim=(-most, most), ylim=(-most, most))
