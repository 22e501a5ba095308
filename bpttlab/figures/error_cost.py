"""The error of one gradient against what it costs, in steps and in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bpttlab.figures import schemes, style
from bpttlab.figures.bias_variance import APART, LEAST
from bpttlab.figures.layout import finish, footer
from bpttlab.figures.lines import at_foot, line_key
from bpttlab.figures.style import Size

KINDS = {"steps_computed": "steps", "scheme_seconds": "seconds"}


def plot_error_cost(costs: pd.DataFrame, size: Size = "page", parameter: str = "W") -> Figure:
    """log of sqrt(bias^2 + variance), relative to |g|, against steps computed and against seconds of one gradient.

    A path for each scheme as K grows; marks at the foot are errors of zero, or below what the axis shows.

    costs: `tables.costs`. Raises LabError where no point has two schemes.
    """
    costs = schemes.with_gradient(costs, parameter)
    kinds = [name for name in KINDS if costs[name].notna().any()]
    parts = schemes.points(costs, [*APART, *schemes.fields(costs)])
    shown = schemes.looks(sorted({name for part in parts for name in part.rows["scheme"]}))
    figure, axes = schemes.panels(len(parts), len(kinds), size)
    for own, part in zip(axes, parts, strict=True):
        for one, kind in zip(own, kinds, strict=True):
            _panel(one, part.rows, kind, shown)
    label = "log relative error (nat)" if len(kinds) == 1 or size == "page" else "log error (nat)"
    schemes.dress(axes, parts, [KINDS[kind] for kind in kinds], [label] * len(kinds))
    below = any((part.rows["log_relative_error"] < LEAST).any() for part in parts)
    at_the_foot = [line_key("mark at the foot: smaller, or zero", linestyle="none")] if below else []
    footer(figure, [*schemes.keys(shown), *at_the_foot])
    return finish(figure)


def _panel(axes: Axes, rows: pd.DataFrame, kind: str, shown: dict[str, schemes.Look]) -> None:
    axes.set_xscale("log")
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    rows = rows[rows[kind].astype(float) > 0].sort_values([kind])
    inside = rows["log_relative_error"].astype(float)
    inside = inside[np.isfinite(inside) & (inside > LEAST)]
    low, high = (inside.min(), inside.max()) if len(inside) else (-1.0, 0.0)
    margin = 0.08 * max(high - low, 1.0)
    axes.set_ylim(low - margin, high + margin)
    for name, look in shown.items():
        own = rows[rows["scheme"] == name].sort_values("truncation")
        error, spent = own["log_relative_error"].to_numpy(dtype=float), own[kind].to_numpy(dtype=float)
        there = error > LEAST
        line: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linewidth": 0.8}
        axes.plot(spent[there], error[there], linestyle="-" if name in schemes.SEGMENTED else "none", **line)
        at_foot(axes, spent[~there], color=look.colour, marker=look.marker)
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(4))
