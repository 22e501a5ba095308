"""Norms of Jacobian products against lag, one curve for each value requested of the initializer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.figures import layout, lines, requested, style
from bpttlab.figures.style import Size

_VALUES = ("lag", "quantity", "median", "low", "high", "networks", "zero", "asymptote", "bound", "mean_field")
_NORMS = {
    "spectral": r"$\log \Vert P \Vert_2$ (nat)",
    "frobenius": r"$\log\, \Vert P \Vert_F / \sqrt{N}$ (nat)",
}


def plot_products(curves: pd.DataFrame, size: Size = "page") -> Figure:
    """log norm of the products that end at t = T against lag, for the longest sequences of each facet.

    Lines are medians and bands quartiles over networks. Dashed: the bound lag * log(gamma sigma_max). Dotted: the
    asymptote lag * log rho of a linear network. Dash-dotted: the mean field of a wide network, where it holds. Theory
    is cut off at the range of the measured curves. If there are many values, it is drawn for the extreme ones and the
    one nearest to 1.

    curves: `tables.growth_curves`.
    """
    columns = layout.facet_columns(curves, _VALUES)
    curves = layout.longest(curves, columns)
    parts = layout.facets(curves, columns)
    norms = [norm for norm in _NORMS if norm in set(curves["quantity"])]
    shades = requested.value_colours(curves)
    figure, grid = layout.panels(len(parts), len(norms), size)
    for (row, column), axes in np.ndenumerate(grid):
        rows = parts[row].rows
        _panel(axes, rows[rows["quantity"] == norms[column]], shades)
    lines.limit(grid, [[rows[rows["quantity"] == norm] for norm in norms] for _, rows in parts])
    layout.label_edges(grid, parts, ["lag $t - k$ (steps)"] * len(norms), [_NORMS[norm] for norm in norms])
    layout.key(figure, grid, shades, curves, size)
    layout.footer(figure, _kinds(curves))
    return layout.finish(figure)


def _panel(axes: Axes, rows: pd.DataFrame, shades: dict[float, str]) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    with_theory = list(shades) if len(shades) <= layout.MOST_IN_LEGEND else layout.select_values(list(shades))
    for value, part in layout.group_by_value(rows, "initializer_requested"):
        colour = shades[value]
        if value in with_theory:
            lines.draw_theory(axes, part, "bound", colour, "--")
            lines.draw_theory(axes, part, "asymptote", colour, ":")
            lines.draw_theory(axes, part, "mean_field", colour, "-.")
        lines.curve(axes, part, "lag", colour)


def _kinds(curves: pd.DataFrame) -> list[Artist]:
    """The legend's entries for the lines that are drawn."""
    kinds = []
    if curves["bound"].notna().any():
        kinds.append(lines.line_key(r"bound $\ell\,\log(\gamma\,\sigma_{\max})$", linestyle="--", linewidth=0.7))
    if curves["asymptote"].notna().any():
        kinds.append(lines.line_key(r"linear network $\rho^{\,\ell}$", linestyle=":", linewidth=0.9))
    if curves["mean_field"].notna().any():
        kinds.append(lines.line_key("mean field", linestyle="-.", linewidth=0.9))
    return [*lines.curve_keys(curves), *kinds]
