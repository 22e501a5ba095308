"""The largest Lyapunov exponent against the requested radius or gain, cells in one panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, requested, style
from bpttlab.figures.style import Size
from bpttlab.tables.points import has_files

MOST_CELLS = len(style.CATEGORIES)


def plot_exponents(exponents: pd.DataFrame, size: Size = "page") -> Figure:
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
    columns = layout.summary_facet_columns(exponents)
    rows = layout.longest(exponents, columns)
    rows = rows.assign(cell_named=layout.descriptions(rows, [name for name in columns if _of_cell(name)]))
    looks = _looks(sorted(rows["cell_named"].unique()), joined=not has_files(rows))
    parts = layout.facets(rows, [name for name in columns if not _of_cell(name)])
    figure, grid = layout.panels(len(parts), 1, size)
    for part, axes in zip(parts, grid[:, 0], strict=True):
        _panel(axes, part.rows, looks)
    layout.label_edges(grid, parts, [layout.quantity(rows)], [r"exponent $\lambda_1$ (nat/step)"])
    layout.footer(figure, _kinds(rows, looks))
    return layout.finish(figure)


def _of_cell(column: str) -> bool:
    return column == "cell" or column.startswith("cell_")


def _looks(cells: Sequence[str], joined: bool) -> dict[str, dict[str, Any]]:
    """Colour and mark of each cell."""
    if len(cells) > MOST_CELLS:
        raise LabError(f"{len(cells)} cells are too many for one panel (at most {MOST_CELLS})")
    shades = style.categories(cells)
    marks = {name: style.MARKERS[place % len(style.MARKERS)] for place, name in enumerate(cells)}
    line = {"linewidth": 0.9, "linestyle": "-" if joined else "none"}
    return {name: {"color": shades[name], "marker": marks[name], **line} for name in cells}


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    lines.rate(axes, rows, "asymptote_rate", lines.LINEAR_NETWORK)
    lines.rate(axes, rows, "mean_field_rate", lines.MEAN_FIELD)
    for name, part in layout.group_by_value(rows, "cell_named"):
        lines.interval(axes, part, "initializer_requested", "lyapunov_exponent", **looks[name])
    if has_files(rows):
        requested.name_ticks(axes, rows, layout.panel_width(axes))
        axes.set_xlim(0.5, len(requested.requested_values(rows)) + 0.5)


def _kinds(rows: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Artist]:
    """The cells if there are several, then the meaning of lines and marks."""
    cells = [lines.line_key(name, **look) for name, look in looks.items()] if len(looks) > 1 else []
    one = [] if cells else [lines.line_key("median over networks", **next(iter(looks.values())))]
    said = lines.interval_keys(rows["lyapunov_exponent_low"])
    zero = lines.zero_key(rows.rename(columns={"lyapunov_exponent": "median"}))
    return [*cells, *one, *said, *lines.rate_keys(rows), *zero]
