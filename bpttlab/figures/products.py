"""Norms of Jacobian products against lag, one curve for each value requested of the initializer."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import COLOUR, Shape, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_VALUES = ("lag", "quantity", "median", "low", "high", "networks", "zero", "asymptote", "bound", "mean_field")
_NORMS = {
    "spectral": r"$\log \Vert P \Vert_2$ (nat)",
    "frobenius": r"$\log\, \Vert P \Vert_F / \sqrt{N}$ (nat)",
}


def plot_products(curves: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """log norm of the products that end at t = T against lag, for the longest sequences of each facet.

    Lines are medians and bands quartiles over networks. Dashed: the bound lag * log(gamma sigma_max). Dotted: the
    asymptote lag * log rho of a linear network. Dash-dotted: the mean field of a wide network, where it holds. Theory
    is cut off at the range of the measured curves. If there are many values, it is drawn for the extreme ones and the
    one nearest to 1.

    curves: `tables.growth_curves`.
    """
    norms = [norm for norm in _NORMS if norm in set(curves["quantity"])]
    page = arrange(curves, _VALUES, comparison, size, Shape(len(norms)))
    for axes, rows, kind in page.panels():
        _panel(axes, rows[rows["quantity"] == norms[kind]], page.shades)
    lines.limit(page.grid, page.by_kind("quantity", norms))
    label_edges(page, ["lag $t - k$ (steps)"] * len(norms), [_NORMS[norm] for norm in norms])
    page.add_key(size)
    page.add_footer(_kinds(page.rows))
    return layout.finish(page.figure)


def _panel(axes: Axes, rows: pd.DataFrame, shades: dict[Any, str]) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    with_theory = list(shades) if len(shades) <= layout.MOST_IN_LEGEND else layout.select_values(list(shades))
    for value, part in layout.group_by_value(rows, COLOUR):
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
