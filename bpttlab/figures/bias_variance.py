"""The plane of bias and variance, with a path for each scheme as its K grows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from bpttlab.figures import lines, schemes, style
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.layout import Facet, finish, footer
from bpttlab.figures.style import Size

LEAST = -16.0
"""Nats: a bias below this stands on the left edge, as one that is exactly zero does."""
APART = ("scheme", "truncation", "parameter")
NUMBERED = "per_loss"  # whose first and last mark have their K beside them
FAR = 2.0  # nats: room for two numbers
LANES = 0.1  # of the height of the panel's upper part, for each scheme without variance
MINIBATCH: dict[str, Any] = {"linestyle": (0, (4, 1.5)), "linewidth": 0.9}
SIZES = (2.6, 1.5)  # points of a mark: of the cheapest gradient, and more for each power of ten


def plot_bias_variance(
    costs: pd.DataFrame, size: Size = "page", parameter: str = "W", comparison: Comparison = AUTOMATIC
) -> Figure:
    """log relative bias against log relative standard deviation of one gradient, with a path for each scheme as K
    grows.

    A larger mark means more steps. The two numbers are the first and the last K of a path. Schemes of one plan have no
    variance; they are drawn in lanes below the panel. A hollow mark is a bias within twice the noise of its draws. On
    the left edge are biases that are zero or below the axis. Dashed: the scatter of the full gradient from batch to
    batch.

    costs: `tables.costs`. Raises LabError if no point has two schemes.
    """
    costs = schemes.with_gradient(costs, parameter)
    panels = schemes.lay_out(costs, [*APART, *schemes.fields(costs)], comparison, size, height=1.9)
    parts = panels.parts
    shown = schemes.looks(sorted({name for part in parts for name in part.rows["scheme"]}))
    left = _find_left_end(parts)
    for own, part in zip(panels.axes[:, 0], parts, strict=True):
        _panel(own, part.rows, shown, left)
    schemes.dress_schemes(panels, ["log relative bias (nat)"], ["log relative s.d. (nat)"])
    footer(panels.figure, [*schemes.keys(shown), *_kinds(parts)])
    return finish(panels.figure)


def _find_left_end(parts: list[Facet]) -> float:
    """The left end of the axis: smaller biases are drawn on the edge."""
    bias = pd.concat([part.rows["log_relative_bias"] for part in parts]).to_numpy(dtype=float)
    bias = bias[np.isfinite(bias) & (bias > LEAST)]
    return float(bias.min()) - 1.0 if bias.size else LEAST


def _panel(axes: Axes, rows: pd.DataFrame, shown: dict[str, schemes.SchemeStyle], left: float) -> None:
    deviation = 0.5 * rows["log_variance"].astype(float)
    rows = rows.assign(deviation=deviation, x=rows["log_relative_bias"].astype(float).clip(lower=left))
    scatter = 0.5 * rows["log_minibatch_variance"].astype(float).median()
    heights = [*deviation[np.isfinite(deviation)], *([scatter] if np.isfinite(scatter) else [])] or [0.0]
    low, high = min(heights), max(heights)
    span = max(high - low, 1.0)
    lanes = [name for name in shown if _in_lane(rows[rows["scheme"] == name])]
    floor = low - 0.08 * span
    for name, look in shown.items():
        own = rows[rows["scheme"] == name]
        y = own["deviation"]
        if name in lanes:
            y = pd.Series(floor - (lanes.index(name) + 1.3) * LANES * span, index=own.index)
        _path(axes, own.assign(y=y), look, name)
    if np.isfinite(scatter):
        axes.axhline(scatter, color=style.NEUTRAL, zorder=1, **MINIBATCH)
    _limits(axes, left, floor, floor - (len(lanes) + 0.9) * LANES * span if lanes else floor, high + 0.08 * span)


def _in_lane(rows: pd.DataFrame) -> bool:
    """Whether a scheme has no variance to show."""
    return len(rows) > 0 and not np.isfinite(rows["deviation"]).any()


def _limits(axes: Axes, left: float, floor: float, bottom: float, top: float) -> None:
    axes.set_ylim(bottom, top)
    axes.set_xlim(left - 0.15, max(axes.get_xlim()[1], 0.2))
    axes.axvline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    if bottom < floor:
        axes.axhspan(bottom, floor, color="#f0f0ee", zorder=0, linewidth=0)
    room = max(1, round(4.0 * (top - floor) / (top - bottom)))
    ticks = [tick for tick in MaxNLocator(room).tick_values(floor, top) if floor <= tick <= top]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _path(axes: Axes, rows: pd.DataFrame, look: schemes.SchemeStyle, name: str) -> None:
    """The marks of one scheme, joined as K grows; a mark with deviation zero is drawn on the lower edge."""
    rows = rows.sort_values(["truncation", *schemes.fields(rows)])
    rows = rows[np.isfinite(rows["y"])]
    if name in schemes.SEGMENTED:
        axes.plot(rows["x"], rows["y"], color=look.colour, linewidth=0.8, zorder=2)
    if name == NUMBERED:
        _numbers(axes, rows)
    marks = zip(*(rows[column] for column in ("x", "y", "steps_computed")), _is_within_noise(rows), strict=True)
    for x, y, steps, empty in marks:
        edge: dict[str, Any] = {"markerfacecolor": "white" if empty else look.colour, "markeredgewidth": 0.7}
        axes.plot(x, y, marker=look.marker, color=look.colour, markersize=_size(steps), zorder=4, clip_on=False, **edge)


def _numbers(axes: Axes, rows: pd.DataFrame) -> None:
    """The first and the last K of a path, or the last where it is short."""
    ends = rows.iloc[[0, -1]] if len(rows) > 1 and rows["x"].max() - rows["x"].min() > FAR else rows.iloc[-1:]
    for K, x, y in zip(ends["truncation"], ends["x"], ends["y"], strict=True):
        axes.annotate(f"{K}", (x, y), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=7)


def _is_within_noise(rows: pd.DataFrame) -> pd.Series:
    return rows["log_relative_bias"].astype(float) < rows["log_bias_noise"].astype(float) + np.log(2.0)


def _size(steps: float) -> float:
    return SIZES[0] + SIZES[1] * max(0.0, float(np.log10(max(steps, 1.0))) - 2.0)


def _kinds(parts: list[Facet]) -> list[Artist]:
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    sizes: list[Artist] = [
        lines.line_key(
            f"{steps:,} steps", marker="o", linestyle="none", markersize=_size(steps), markerfacecolor="none"
        )
        for steps in (100, 10_000)
    ]
    hollow = [lines.line_key("bias within noise", marker="o", linestyle="none", markerfacecolor="white")]
    scatter = [lines.line_key("batch to batch", **MINIBATCH)]
    lane = [lines.band_key("one plan: no variance")]
    return [
        *(hollow if _is_within_noise(rows).any() else []),
        *(scatter if rows["log_minibatch_variance"].notna().any() else []),
        *(lane if rows["log_variance"].isna().any() else []),
        *sizes,
    ]
