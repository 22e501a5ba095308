"""The effect of truncation on the gradient: relative bias and cosine against truncation length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import COLOUR, Shape, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_KINDS = {"log_relative_bias": "log relative bias (nat)", "cosine": "cosine with $g$"}
ROOMY = 1.5  # inches: room for ticks between the powers of ten
_NEGLIGIBLE = -40.0  # nats: less than rounding does to the gradient
_HOLLOW: dict[str, Any] = {"markersize": 5, "markerfacecolor": "none", "markeredgewidth": 0.9}
_APART = ("origin", "scheme", "truncation", "parameter")


def plot_truncation(
    bias: pd.DataFrame, size: Size = "page", parameter: str = "W", comparison: Comparison = AUTOMATIC
) -> Figure:
    """Log relative bias and cosine against truncation length K, for the longest sequences of each facet.

    Lines are per-loss truncation at every K, from the lag terms. Marks are the schemes that were run. Both are medians
    over networks; bands and bars are the 95 % interval of that median by order statistics. A bias below the rounding of
    a float64 is outside the panel; a bias of exactly zero is marked at the lower edge.

    bias: `tables.truncation_bias`. Raises LabError if it has no truncated gradient of `parameter`.
    """
    keys = lines.parameter_keys(parameter, bias)
    bias = bias[(bias["parameter"] == parameter) & bias["truncation"].notna() & bias["initializer_requested"].notna()]
    if bias.empty:
        raise LabError(f"the study has no truncated gradient of {parameter}")
    bias = bias.assign(named=_scheme_labels)
    values = layout.find_values(bias, [*_APART, *_scheme_fields(bias)])
    page = arrange(bias, values, comparison, size, Shape(len(_KINDS)))
    bias = page.rows
    schemes = sorted(bias.loc[bias["origin"] == "scheme", "named"].unique())
    markers = {name: style.MARKERS[place % len(style.MARKERS)] for place, name in enumerate(schemes)}
    for axes, rows, kind in page.panels():
        _panel(axes, rows, list(_KINDS)[kind], page.shades, markers)
    for axes in page.grid[:, 0]:  # when all are drawn, for they may share their axis
        axes.set_ylim(bottom=max(axes.get_ylim()[0], _NEGLIGIBLE))
    label_edges(page, ["truncation $K$ (steps)"] * len(_KINDS), list(_KINDS.values()))
    page.add_key(size)
    page.add_footer([*_kinds(bias, markers), *keys])
    return layout.finish(page.figure)


def _scheme_fields(bias: pd.DataFrame) -> list[str]:
    return [str(name) for name in bias if str(name).startswith("scheme_")]


def _scheme_labels(bias: pd.DataFrame) -> pd.Series:
    """Each row's scheme with the fields that vary among its runs of one K: "windowed, k1 5"."""
    names = bias["scheme"].astype(str).str.replace("_", "-")
    vary = bias.groupby(["scheme", "truncation"], dropna=False)[_scheme_fields(bias)].nunique()
    for field in [name for name in vary if (vary[name] > 1).any()]:
        said = bias[field].map(lambda value, field=field: "" if pd.isna(value) else f", {field[7:]} {_shorten(value)}")
        names = names + said
    return names


def _shorten(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else style.escape_text(str(value))


def _panel(axes: Axes, rows: pd.DataFrame, kind: str, shades: dict[Any, str], markers: dict[str, str]) -> None:
    for level in (0.0,) if kind == "log_relative_bias" else (0.0, 1.0):
        axes.axhline(level, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    rows = rows.assign(median=rows[kind], low=rows[f"{kind}_low"], high=rows[f"{kind}_high"])
    for value, part in layout.group_by_value(rows, COLOUR):
        colour = shades[value]
        lines.curve(axes, part[part["origin"] == "wavefront"], "truncation", colour, style.NEUTRAL)
        for name, own in layout.group_by_value(part[part["origin"] == "scheme"], "named"):
            _marks(axes, own, markers[name], colour)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if layout.panel_width(axes) > ROOMY else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _marks(axes: Axes, rows: pd.DataFrame, marker: str, colour: str) -> None:
    """One scheme that was run: a mark at each K with its interval, on the lower edge if the bias is exactly zero."""
    look: dict[str, Any] = {"marker": marker, "color": colour, "linestyle": "none", **_HOLLOW}
    place, middle = (rows[name].to_numpy(dtype=float) for name in ("truncation", "median"))
    finite = np.isfinite(middle)
    axes.plot(place[finite], middle[finite], zorder=4, **look)
    lines.whiskers(axes, place, *(rows[end].to_numpy(dtype=float) for end in ("low", "high")), color=colour)
    zero = place[np.isneginf(middle)]
    lines.mark_lower_edge(axes, zero, **look)


def _kinds(bias: pd.DataFrame, markers: dict[str, str]) -> list[Artist]:
    wavefront = bias[bias["origin"] == "wavefront"].rename(columns={"log_relative_bias": "median"})
    kinds: list[Artist] = [lines.line_key("per-loss at every $K$")] if len(wavefront) else []
    kinds += lines.interval_keys(bias["log_relative_bias_low"], band=len(wavefront) > 0)
    marks = [
        lines.line_key(f"{name}, run", marker=marker, linestyle="none", **_HOLLOW) for name, marker in markers.items()
    ]
    return [*kinds, *marks, *lines.zero_key(wavefront)]
