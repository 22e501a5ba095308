"""Lyapunov spectra against index, one curve for each value requested of the initializer."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import COLOUR, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_VALUES = ("index", "index_per_unit", "median", "low", "high", "networks", "zero", "unresolved", "mean_by_determinant")


def plot_spectrum(curves: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """Exponents against index, for the longest sequences of each facet; cells are side by side.

    Lines are medians and bands quartiles over networks, dotted where more than half of the networks are below
    resolution. An exponent of -inf is marked at the lower edge. Thin dashed: the theoretical mean of all exponents,
    from the determinant of W and the derivatives of the activation.

    curves: `tables.spectrum_curves`.
    """
    page = arrange(curves[curves["initializer_requested"].notna()], _VALUES, comparison, size)
    for axes, all_rows, _ in page.panels():
        axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
        for value, rows in layout.group_by_value(all_rows, COLOUR):
            lines.draw_level(axes, rows["mean_by_determinant"], page.shades[value])
            lines.curve(axes, rows[~lines.is_doubtful(rows)], "index", page.shades[value])
            lines.draw_doubtful(axes, rows, "index", page.shades[value])
    layout.whole_numbers(page.grid)
    lines.limit(page.grid, [[part.rows] for part in page.parts])
    label_edges(page, ["index $i$"], [r"$\lambda_i$ (nat/step)"])
    page.add_key(size)
    page.add_footer(_kinds(page.rows))
    return layout.finish(page.figure)


def _kinds(curves: pd.DataFrame) -> list[Artist]:
    dotted = lines.is_doubtful(curves).any()
    doubt: list[Artist] = [lines.line_key("below resolution", **lines.DOTTED)] if dotted else []
    known = lines.has_values(curves["mean_by_determinant"])
    mean = [lines.line_key("mean, from determinants", **lines.LEVEL)] if known else []
    return [*lines.curve_keys(curves), *mean, *doubt]
