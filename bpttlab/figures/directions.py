"""Signs of truncated derivatives: derivatives along directions, relative to the full ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bpttlab.errors import LabError
from bpttlab.figures import lines, schemes, style
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.layout import Facet, finish, footer
from bpttlab.figures.style import Size

_APART = ("scheme", "truncation", "parameter")
_HEIGHT = 1.8  # inches of a panel
_LINEAR = 3.0
"""The vertical axis is linear up to this on both sides of zero, logarithmic beyond."""
_WRONG: dict[str, Any] = {"color": "#f3e3d8", "linewidth": 0, "zorder": 0}


def plot_directions(directions: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """The derivative along a direction relative to the full one against K, for each scheme, with 95 % of its draws.

    1 is right. Below 0, which is shaded, the sign is wrong. Schemes without a K are on the right.

    directions: `tables.along_directions`. Raises LabError if it is empty.
    """
    directions = directions[np.isfinite(directions["relative_derivative"].astype(float))]
    if directions.empty:
        raise LabError("no run has a derivative along a direction: measure.log_scale=true, or measure.signed_bias")
    panels = _lay_out(directions, comparison, size)
    parts = panels.parts
    shown = schemes.looks(sorted({name for part in parts for name in part.rows["scheme"]}))
    for own, part in zip(panels.axes[:, 0], parts, strict=True):
        _panel(own, part.rows, shown)
    schemes.dress_schemes(panels, ["$K$ (steps)"], ["derivative / full one"])
    footer(panels.figure, [*schemes.keys(shown), *_kinds(parts)])
    return finish(panels.figure)


def _lay_out(directions: pd.DataFrame, comparison: Comparison, size: Size) -> schemes.SchemePanels:
    """The panels; where fields are named, a direction is one of the fields that have a place."""
    apart = [*_APART, *schemes.fields(directions)]
    if comparison != AUTOMATIC:
        own = [name for name in apart if name != "parameter"]
        return schemes.lay_out(directions, own, comparison, size, height=_HEIGHT, schemes=1)
    parts = _parts(directions, apart)
    return schemes.SchemePanels(*schemes.panels_of_schemes(len(parts), 1, size, height=_HEIGHT), parts)


def _parts(directions: pd.DataFrame, apart: list[str]) -> list[Facet]:
    """The points of each direction, its name above the panel."""
    parts = []
    for name, rows in directions.groupby("parameter"):
        parts += [Facet(f"{part.label}\n{name}", part.rows) for part in schemes.points(rows, apart, schemes=1)]
    return parts


def _panel(axes: Axes, rows: pd.DataFrame, shown: dict[str, schemes.SchemeStyle]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=_LINEAR, linscale=2.0)
    for level in (0.0, 1.0):
        axes.axhline(level, color=style.NEUTRAL, linewidth=0.5, zorder=1)
    longest = rows["truncation"].max()
    aside = 2.0 * float(1 if pd.isna(longest) else longest)
    for name, look in shown.items():
        own = rows[rows["scheme"] == name].sort_values("truncation")
        K = own["truncation"].astype(float).fillna(aside).to_numpy()
        aside *= 1.0 if own.empty or own["truncation"].notna().any() else 1.7
        _marks(axes, own, K, look, joined=name in schemes.SEGMENTED)
    values = rows[["relative_derivative", "relative_derivative_low", "relative_derivative_high"]].to_numpy(dtype=float)
    low, high = min(np.nanmin(values), -0.5), max(np.nanmax(values), 1.5)
    axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    axes.axhspan(axes.get_ylim()[0], 0.0, **_WRONG)
    axes.set_xlim(right=max(aside, axes.get_xlim()[1]))
    axes.set_yticks([tick for tick in (-1000, -100, -10, -2, -1, 0, 1, 2, 10, 100, 1000) if low <= tick <= high])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(LogLocator(numticks=1))


def _marks(axes: Axes, rows: pd.DataFrame, K: np.ndarray, look: schemes.SchemeStyle, joined: bool) -> None:
    middle, low, high = (rows[f"relative_derivative{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
    style_of: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linewidth": 0.8}
    axes.plot(K, middle, linestyle="-" if joined else "none", zorder=4, **style_of)
    drawn = np.isfinite(low)
    axes.vlines(K[drawn], low[drawn], high[drawn], color=look.colour, linewidth=0.9, zorder=3)


def _kinds(parts: list[Facet]) -> list[Artist]:
    drawn = any(part.rows["relative_derivative_low"].notna().any() for part in parts)
    bars: list[Artist] = [lines.line_key("95 % of the mean of draws", marker="|", linestyle="none")] if drawn else []
    wrong = lines.band_key("wrong sign")
    wrong.set(color=_WRONG["color"], alpha=1.0)
    return [*bars, wrong]
