"""Forward sensitivity: the dependence of the state on each parameter, against time."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import BOARD, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_VALUES = ("quantity", "parameter", "t", "median", "low", "high", "networks", "zero")
PRODUCT: dict[str, Any] = {"linestyle": ":", "linewidth": 1.1}


def plot_sensitivity(curves: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """log norm of dh_t/dparameter against t, at a few requested values, for the longest sequences of each facet.

    Lines are medians and bands quartiles over networks. Dotted: the product over as many steps. The sensitivity can
    grow where products do not, because it sums the effect of a parameter at every step (Zucchet & Orvieto 2024).

    curves: `tables.sensitivity_curves`. Raises LabError if no requested value is known.
    """
    curves = curves[curves["initializer_requested"].notna()]
    if curves.empty:
        raise LabError("no run with forward sensitivity has a value requested of its initializer")
    page = arrange(curves, _VALUES, comparison, size, **BOARD)
    curves = page.rows
    looks = _looks(curves)
    for axes, rows, _ in page.panels():
        axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
        lines.curve(axes, rows[rows["quantity"] == "product"].assign(networks=1), "t", style.NEUTRAL, **PRODUCT)
        for name, look in looks.items():
            lines.curve(axes, rows[rows["parameter"] == name], "t", **look)
        lines.set_empty_limits(axes, rows["median"])
    layout.whole_numbers(page.grid)
    label_edges(page, ["$t$ (steps)"], [r"$\log \Vert \mathrm{d}h_t/\mathrm{d}\theta\Vert$ (nat)"])
    page.add_footer(_kinds(curves, looks))
    return layout.finish(page.figure)


def _looks(curves: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour of each parameter, W first; after the last colour the first again, dashed."""
    names = sorted(curves["parameter"].dropna().unique(), key=lambda name: (not name.startswith("W"), name))
    shades, dashes = style.categories(names), style.category_dashes(names)
    return {name: {"colour": shades[name], "linestyle": dashes[name]} for name in names}


def _kinds(curves: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Artist]:
    parameters = [
        lines.line_key(name, color=look["colour"], linestyle=look["linestyle"]) for name, look in looks.items()
    ]
    there = (curves["quantity"] == "product").any()
    product = [lines.line_key(r"product of $t$ Jacobians", **PRODUCT)] if there else []
    return [*parameters, *product, *lines.band_keys(curves), *lines.zero_key(curves)]
