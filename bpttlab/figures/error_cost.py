"""The error of gradients against their cost, in steps and in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bpttlab.figures import schemes, style
from bpttlab.figures.bias_variance import APART, LEAST
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.layout import finish, footer
from bpttlab.figures.lines import line_key, mark_lower_edge
from bpttlab.figures.style import Size
from bpttlab.tables.costs import log_error

AVERAGED: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 1.0}
BUDGETS = 200  # points of such a line, evenly in the logarithm of the cost
_KINDS = {"steps_computed": "steps", "scheme_seconds": "seconds"}


def plot_error_cost(
    costs: pd.DataFrame, size: Size = "page", parameter: str = "W", comparison: Comparison = AUTOMATIC
) -> Figure:
    """log of sqrt(bias^2 + variance), relative to |g|, against steps computed and against seconds of one gradient.

    There is a path for each scheme as K grows. Marks at the lower edge are errors of zero or below the axis. Dotted:
    for a scheme that draws, the mean of as many draws, or offsets, as the cost pays for, at the best K.

    costs: `tables.costs`. Raises LabError if no point has two schemes.
    """
    costs = schemes.with_gradient(costs, parameter)
    kinds = [name for name in _KINDS if costs[name].notna().any()]
    panels = schemes.lay_out(costs, [*APART, *schemes.fields(costs)], comparison, size, len(kinds))
    parts = panels.parts
    shown = schemes.looks(sorted({name for part in parts for name in part.rows["scheme"]}))
    for own, part in zip(panels.axes, parts, strict=True):
        for one, kind in zip(own, kinds, strict=True):
            _panel(one, part.rows, kind, shown)
    label = "log relative error (nat)" if len(kinds) == 1 or size == "page" else "log error (nat)"
    schemes.dress_schemes(panels, [_KINDS[kind] for kind in kinds], [label] * len(kinds))
    below = any((part.rows["log_relative_error"] < LEAST).any() for part in parts)
    at_the_foot = [line_key("mark at the foot: smaller, or zero", linestyle="none")] if below else []
    drawn = any(part.rows["log_variance"].notna().any() for part in parts)
    mean_of_draws = [line_key("mean of draws or offsets", **AVERAGED)] if drawn else []
    footer(panels.figure, [*schemes.keys(shown), *mean_of_draws, *at_the_foot])
    return finish(panels.figure)


def _panel(axes: Axes, rows: pd.DataFrame, kind: str, shown: dict[str, schemes.SchemeStyle]) -> None:
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
        mark_lower_edge(axes, spent[~there], color=look.colour, marker=look.marker)
        _draw_averaged(axes, own[own["log_variance"].notna()], kind, rows[kind].astype(float).max(), look.colour)
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _draw_averaged(axes: Axes, rows: pd.DataFrame, kind: str, most: float, colour: str) -> None:
    """A line along the smallest error of a mean of draws at each cost, up to that of the dearest gradient."""
    if rows.empty:
        return
    spent = rows[kind].to_numpy(dtype=float)[:, None]
    budgets = np.geomspace(spent.min(), most, BUDGETS)
    averaged = np.floor(budgets * (1.0 + 1e-9) / spent)
    names = ("log_relative_bias", "log_variance", "draws", "reach")
    bias, variance, draws, reach = (rows[name].to_numpy(dtype=float, na_value=np.nan)[:, None] for name in names)
    errors = log_error(bias, variance, draws, reach, np.maximum(averaged, 1.0))
    least = np.where(averaged > 0, errors, np.inf).min(axis=0)
    axes.plot(budgets, least, color=colour, zorder=1, **AVERAGED)
