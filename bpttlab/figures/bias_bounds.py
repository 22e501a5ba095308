"""The bias of per-loss truncations against K, with its bound and its estimate from the lags below K."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bpttlab.errors import LabError
from bpttlab.figures import lines, schemes, style
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.layout import finish, footer
from bpttlab.figures.style import Size

_NEGLIGIBLE = -36.0  # nats, below the rounding of the gradient
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "log_relative_bias": ("exact", {"color": "#111111", "linewidth": 1.3}),
    "log_bias_bound": ("bound", {"color": "#0072b2", "linestyle": (0, (4, 1.5))}),
    "log_bias_estimate": (
        "estimate",
        {"color": "#d55e00", "linestyle": "none", "marker": "o", "markersize": 4, "markerfacecolor": "none"},
    ),
}


def plot_bias_bounds(
    bounds: pd.DataFrame, size: Size = "page", parameter: str = "W", comparison: Comparison = AUTOMATIC
) -> Figure:
    """log relative bias of per-loss truncations against K, exact, bounded and estimated (Aicher, Foti & Fox 2019).

    Medians are over the networks that have a number: at short K the bound is infinite, and beyond the longest measured
    lag there is no estimate. A mark at the lower edge is a bias of exactly zero.

    bounds: `tables.bias_bounds`. Raises LabError if it has no rows of the parameter.
    """
    bounds = bounds[bounds["parameter"] == parameter]
    if bounds.empty:
        raise LabError(f"the study has no bounds on the bias of {parameter}")
    panels = schemes.lay_out(bounds, ["truncation", "parameter"], comparison, size, height=1.8, schemes=1)
    for own, part in zip(panels.axes[:, 0], panels.parts, strict=True):
        _panel(own, part.rows.sort_values("truncation"))
    schemes.dress_schemes(panels, ["truncation $K$ (steps)"], ["log relative bias (nat)"])
    keys = [lines.line_key(label, **look) for name, (label, look) in _KINDS.items() if bounds[name].notna().any()]
    zero = lines.zero_key(bounds.rename(columns={"log_relative_bias": "median"}))
    footer(panels.figure, [*keys, *zero])
    return finish(panels.figure)


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    axes.set_xscale("log")
    K = rows["truncation"].to_numpy(dtype=float)
    for name, (_, look) in _KINDS.items():
        values = rows[name].to_numpy(dtype=float)
        finite = np.isfinite(values)
        axes.plot(K[finite], values[finite], **look)
    lines.set_empty_limits(axes, rows["log_relative_bias"])
    axes.set_ylim(bottom=max(axes.get_ylim()[0], _NEGLIGIBLE))
    zero = K[np.isneginf(rows["log_relative_bias"].to_numpy(dtype=float))]
    lines.mark_lower_edge(axes, zero[:1], color="#111111", **lines.ZERO_KEY)
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
