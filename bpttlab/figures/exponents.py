"""The largest Lyapunov exponent against the requested radius or gain, cells in one panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, requested, style
from bpttlab.figures.arrangement import COLOUR, arrange, label_edges
from bpttlab.figures.comparison import LENGTH
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size
from bpttlab.tables.points import has_files


def plot_exponents(exponents: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """lambda_1, the median over networks with its interval, for the longest sequences of each facet.

    Each cell (with its varying fields) has a colour and a mark; cells share a panel. The dotted line is log rho, the
    exponent of a linear network; it has no meaning for a cell with gates and is drawn only for others. The dash-dotted
    line is the mean field of wide networks, where it holds.

    exponents: `tables.exponents`. Raises LabError if no requested value has an exponent, or if there are too many cells
    to distinguish.
    """
    exponents = exponents[exponents["initializer_requested"].notna() & exponents["lyapunov_exponent"].notna()]
    if exponents.empty:
        raise LabError("no run of the study has a Lyapunov exponent")
    cells = [str(name) for name in exponents if _of_cell(str(name))] or [LENGTH]
    x = (requested.VALUE, LENGTH)
    page = arrange(exponents, layout.find_values(exponents), comparison, size, prefer=cells, x=x)
    looks = _looks(page.shades, joined=not has_files(page.rows))
    for axes, rows, _ in page.panels():
        _panel(axes, rows, looks)
        requested.name_place_apart(axes, page.rows)
    label_edges(page, [layout.quantity(page.rows)], [r"exponent $\lambda_1$ (nat/step)"])
    page.add_footer(_kinds(page.rows, looks, page.names))
    return layout.finish(page.figure)


def _of_cell(column: str) -> bool:
    return column == "cell" or column.startswith("cell_")


def _looks(shades: Mapping[Any, str], joined: bool) -> dict[Any, dict[str, Any]]:
    """Colour and mark of each cell, or of another field in its place."""
    marks = {name: style.MARKERS[place % len(style.MARKERS)] for place, name in enumerate(shades)}
    line = {"linewidth": 0.9, "linestyle": "-" if joined else "none"}
    return {name: {"color": colour, "marker": marks[name], **line} for name, colour in shades.items()}


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[Any, dict[str, Any]]) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    drawn = rows[~requested.is_apart(rows)]
    lines.rate(axes, drawn, "asymptote_rate", lines.LINEAR_NETWORK)
    lines.rate(axes, drawn, "mean_field_rate", lines.MEAN_FIELD)
    for name, part in layout.group_by_value(rows, COLOUR):
        lines.interval(axes, part, "initializer_requested", "lyapunov_exponent", **looks[name])
    if has_files(rows):
        requested.name_ticks(axes, rows, layout.panel_width(axes))
        axes.set_xlim(0.5, len(requested.requested_values(rows)) + 0.5)


def _kinds(rows: pd.DataFrame, looks: dict[Any, dict[str, Any]], names: Mapping[Any, str]) -> list[Artist]:
    """The cells if there are several, then the meaning of lines and marks."""
    cells = [lines.line_key(names[name], **look) for name, look in looks.items()] if len(looks) > 1 else []
    one = [] if cells else [lines.line_key("median over networks", **next(iter(looks.values())))]
    said = lines.interval_keys(rows["lyapunov_exponent_low"])
    zero = lines.zero_key(rows.rename(columns={"lyapunov_exponent": "median"}))
    return [*cells, *one, *said, *lines.rate_keys(rows), *zero]
