"""The distribution of the largest exponent over windows of time: histograms one above the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import COLOUR, Shape, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size
from bpttlab.tables.points import has_files

_VALUES = ("networks", "steps", "zero", "mean", "bin_low", "bin_high", "windows", "density")
RIDGE = 0.85  # of the distance between two base lines
MEAN: dict[str, Any] = {"color": style.CENTRE, "linewidth": 1.4}
UPRIGHT: dict[str, Any] = {"marker": "|", "markersize": 8, "markeredgewidth": 1.4}
_BELOW: dict[str, Any] = {"marker": "<", "linestyle": "none"}


def plot_finite_time(distribution: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """Histograms of the finite-time exponents of the largest index, one for each requested value, each with its own
    height.

    The upright marks are the exponents over all windows. Windows at -inf are marked at the left edge. For the longest
    sequences of each facet.

    distribution: `tables.finite_time_distribution`.
    """
    rows = distribution[distribution["initializer_requested"].notna()]
    page = arrange(rows, _VALUES, comparison, size, Shape(height=_height))
    rows, shades = page.rows, page.shades
    if has_files(rows):  # from top to bottom in the order given
        shades = dict(reversed(shades.items()))
    for axes, own, _ in page.panels():
        axes.axvline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
        for place, (value, colour) in enumerate(shades.items()):
            _ridge(axes, own[own[COLOUR] == value], place, colour)
        axes.set_yticks([place + RIDGE / 2 for place in range(len(shades))], [page.names[value] for value in shades])
        axes.set_ylim(-0.2, len(shades))
        axes.tick_params(axis="y", length=0)
    _same_limits(page.grid[:, 0], rows)
    unit = "\n(nat/step)" if layout.panel_width(page.grid[0, 0]) < layout.NARROW else " (nat/step)"
    label_edges(page, [f"finite-time exponent{unit}"], [page.title])
    page.add_footer(_kinds(rows))
    return layout.finish(page.figure)


def _height(ridges: int) -> float:
    """The height of a panel in inches."""
    return min(max(1.6, 0.26 * ridges + 0.5), 4.0)


def _ridge(axes: Axes, rows: pd.DataFrame, place: int, colour: str) -> None:
    """One histogram on its base line."""
    bins = rows[rows["density"].notna()].sort_values("bin_low")
    if len(bins):
        edges = np.append(bins["bin_low"].to_numpy(dtype=float), float(bins["bin_high"].iloc[-1]))
        height = RIDGE * bins["density"].to_numpy(dtype=float) / float(bins["density"].max())
        axes.stairs(place + height, edges, baseline=place, fill=True, color=colour, alpha=0.35, linewidth=0)
        axes.stairs(place + height, edges, baseline=place, color=colour, linewidth=0.9)
    mean = rows["mean"].iloc[:1].to_numpy(dtype=float)
    axes.vlines(mean[np.isfinite(mean)], place, place + RIDGE, zorder=3, **MEAN)
    if (rows["zero"] > 0).any():
        axes.plot(
            [0.0], [place + RIDGE / 2], transform=axes.get_yaxis_transform(), color=colour, clip_on=False, **_BELOW
        )


def _same_limits(column: np.ndarray, rows: pd.DataFrame) -> None:
    ends = np.array([axes.get_xlim() for axes in column])
    for axes in column:
        axes.set_xlim(ends[:, 0].min(), ends[:, 1].max())
        lines.set_empty_limits(axes, rows["bin_low"], "x")


def _kinds(rows: pd.DataFrame) -> list[Artist]:
    windows = Patch(facecolor=style.NEUTRAL, alpha=0.35, label="windows of all networks")
    mean = lines.line_key("mean over time", color=MEAN["color"], linestyle="none", **UPRIGHT)
    zero = [lines.line_key(r"some windows at $-\infty$", **_BELOW)] if (rows["zero"] > 0).any() else []
    return [windows, mean, *zero]
