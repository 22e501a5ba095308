"""The parts of the gradient by lag: their size, and the cumulative share of the gradient."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, requested, style
from bpttlab.figures.style import Size

_VALUES = ("parameter", "lag", "quantity", "median", "low", "high", "networks", "zero")
_KINDS = {
    "log_norm_per_loss": r"$\log \Vert G_\ell \Vert$ per loss (nat)",
    "cumulative_share": "cumulative share",
}


def plot_lag_terms(curves: pd.DataFrame, size: Size = "page", parameter: str = "W") -> Figure:
    """Log norm of the lag terms per contributing loss, and the cumulative share of the gradient, against lag.

    Lines are medians and bands quartiles over networks, for the longest sequences of each facet. If terms cancel, a
    share may be negative, and the cumulative share may exceed 1 at some lags.

    curves: `tables.lag_curves`. Raises LabError if it has no rows of `parameter`.
    """
    curves = curves[(curves["parameter"] == parameter) & curves["quantity"].isin(list(_KINDS))]
    if curves.empty:
        raise LabError(f"the study has no lag terms of {parameter}")
    columns = layout.facet_columns(curves, _VALUES)
    curves = layout.longest(curves, columns)
    parts = layout.facets(curves, columns)
    shades = requested.value_colours(curves)
    figure, grid = layout.panels(len(parts), len(_KINDS), size)
    for (row, column), axes in np.ndenumerate(grid):
        rows, kind = parts[row].rows, list(_KINDS)[column]
        for level in (0.0, 1.0) if kind == "cumulative_share" else ():
            axes.axhline(level, color=style.NEUTRAL, linewidth=0.5, zorder=0)
        for value, part in layout.group_by_value(rows[rows["quantity"] == kind], "initializer_requested"):
            lines.curve(axes, part, "lag", shades[value], style.NEUTRAL)
    lines.limit(grid, [[rows[rows["quantity"] == kind] for kind in _KINDS] for _, rows in parts])
    layout.label_edges(grid, parts, [r"lag $\ell$ (steps)"] * len(_KINDS), list(_KINDS.values()))
    layout.key(figure, grid, shades, curves, size)
    layout.footer(figure, lines.curve_keys(curves))
    return layout.finish(figure)
