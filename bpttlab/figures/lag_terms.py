"""The parts of the gradient by lag: their size, and the cumulative share of the gradient."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import COLOUR, Shape, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_VALUES = ("parameter", "lag", "quantity", "median", "low", "high", "networks", "zero")
_KINDS = {
    "log_norm_per_loss": r"$\log \Vert G_\ell \Vert$ per loss (nat)",
    "cumulative_share": "cumulative share",
}


def plot_lag_terms(
    curves: pd.DataFrame, size: Size = "page", parameter: str = "W", comparison: Comparison = AUTOMATIC
) -> Figure:
    """Log norm of the lag terms per contributing loss, and the cumulative share of the gradient, against lag.

    Lines are medians and bands quartiles over networks, for the longest sequences of each facet. If terms cancel, a
    share may be negative, and the cumulative share may exceed 1 at some lags.

    curves: `tables.lag_curves`. Raises LabError if it has no rows of `parameter`.
    """
    keys = lines.parameter_keys(parameter, curves)
    curves = curves[(curves["parameter"] == parameter) & curves["quantity"].isin(list(_KINDS))]
    if curves.empty:
        raise LabError(f"the study has no lag terms of {parameter}")
    page = arrange(curves, _VALUES, comparison, size, Shape(len(_KINDS)))
    for axes, rows, number in page.panels():
        kind = list(_KINDS)[number]
        for level in (0.0, 1.0) if kind == "cumulative_share" else ():
            axes.axhline(level, color=style.NEUTRAL, linewidth=0.5, zorder=0)
        for value, part in layout.group_by_value(rows[rows["quantity"] == kind], COLOUR):
            lines.curve(axes, part, "lag", page.shades[value], style.NEUTRAL)
    lines.limit(page.grid, page.by_kind("quantity", list(_KINDS)))
    label_edges(page, [r"lag $\ell$ (steps)"] * len(_KINDS), list(_KINDS.values()))
    page.add_key(size)
    page.add_footer([*lines.curve_keys(page.rows), *keys])
    return layout.finish(page.figure)
