"""Curves over networks with their bands, exact zeros and theory, and their entries in a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bpttlab.figures import style
from bpttlab.numerics.verdicts import LEAST_NETWORKS
from bpttlab.tables.points import has_files


def line_key(label: str, **look: Any) -> Line2D:
    """A legend's entry for a kind of line."""
    return Line2D([], [], **{"color": style.NEUTRAL, "label": label, **look})


def band_key(label: str) -> Patch:
    """A legend's entry for a band."""
    return Patch(color=style.NEUTRAL, alpha=0.25, linewidth=0, label=label)


def parameter_key(name: str) -> Line2D:
    """A legend's entry for the parameter whose gradient is drawn."""
    return line_key(f"gradient of {style.escape_text(name)}", linestyle="none")


def parameter_keys(name: str, rows: pd.DataFrame) -> list[Artist]:
    """`parameter_key`, and the cells of a summary that have no parameter of this name and are left out."""
    keys: list[Artist] = [parameter_key(name)]
    if "cell" in rows:
        without = sorted({*rows["cell"]} - {*rows.loc[rows["parameter"] == name, "cell"]})
        words = ", ".join(style.escape_text(cell.replace("_", " ")) for cell in without)
        keys += [line_key(f"without {style.escape_text(name)}: {words}", linestyle="none")] if without else []
    return keys


INTERVAL = "95 % interval of the median (order statistics)"
WHISKERS: dict[str, Any] = {"marker": "|", "linestyle": "none", "markersize": 7}


def interval_keys(low: pd.Series, band: bool = False) -> list[Artist]:
    """The legend's entry for the intervals of the summaries, as bars or as a band; or the reason why there are none."""
    if low.notna().any():
        return [band_key(INTERVAL) if band else line_key(INTERVAL, **WHISKERS)]
    return [line_key(f"no interval: fewer than {LEAST_NETWORKS} networks", linestyle="none")]


def curve(axes: Axes, rows: pd.DataFrame, x: str, colour: str, zero: str | None = None, **look: Any) -> None:
    """Draw `median` with its band `low`..`high` against `x`, and a mark (coloured `zero`) at the first exact zero."""
    rows = rows.sort_values(x)
    place, middle = (rows[name].to_numpy(dtype=float) for name in (x, "median"))
    finite = np.isfinite(middle)
    axes.plot(place[finite], middle[finite], color=colour, **look)
    band = rows[np.isfinite(rows["high"].astype(float)) & rows["low"].notna()]
    if (band["networks"] > 1).any():
        low, high = (band[name].to_numpy(dtype=float) for name in ("low", "high"))
        _shade_between(axes, band[x].to_numpy(dtype=float), low, high, colour)
    mark_lower_edge(axes, place[np.isneginf(middle)][:1], color=zero or colour, **ZERO_KEY)


FAR_BELOW = -1e6
"""Nats: where -inf is drawn, below the foot of every panel."""


def _shade_between(axes: Axes, place: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> None:
    """A band, continued through the lower edge of the panel if its lower end is -inf."""
    axes.fill_between(place, low, high, where=np.isfinite(low), color=colour, alpha=0.18, linewidth=0)
    if np.isneginf(low).any():
        seen = axes.dataLim.frozen()
        axes.fill_between(place, FAR_BELOW, high, where=np.isneginf(low), color=colour, alpha=0.18, linewidth=0)
        axes.dataLim.set(seen)


def whiskers(axes: Axes, place: np.ndarray, low: np.ndarray, high: np.ndarray, **look: Any) -> None:
    """An interval at each place, continued through the lower edge of the panel if its lower end is -inf."""
    there, below = np.isfinite(low) & np.isfinite(high), np.isneginf(low) & np.isfinite(high)
    axes.vlines(place[there], low[there], high[there], **look)
    if below.any():
        axes.plot(place[below], high[below], linestyle="none")  # of these the upper end alone sets the limits
        seen = axes.dataLim.frozen()
        axes.vlines(place[below], FAR_BELOW, high[below], **look)
        axes.dataLim.set(seen)


def is_doubtful(rows: pd.DataFrame) -> pd.Series:
    """Places where more than half of the networks are below resolution but the median is a number."""
    return (2 * rows["unresolved"] > rows["networks"]) & np.isfinite(rows["median"].astype(float))


def draw_doubtful(axes: Axes, rows: pd.DataFrame, x: str, colour: str) -> None:
    """The doubtful part of a curve, dotted, from the last point that is not doubtful."""
    rows = rows.sort_values(x)
    doubt = is_doubtful(rows)
    shown = rows[doubt | doubt.shift(-1, fill_value=False)]
    axes.plot(shown[x], shown["median"], color=colour, **DOTTED)


DOTTED: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0}
HOLLOW: dict[str, Any] = {"marker": "o", "markersize": 2.2, "markerfacecolor": "none", "markeredgewidth": 0.5}


def interval(axes: Axes, rows: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    """Marks joined by a line, each with its interval; on the lower edge if the value is exactly zero."""
    rows = rows.sort_values(x)
    place, middle = (rows[name].to_numpy(dtype=float) for name in (x, y))
    finite = np.isfinite(middle)
    axes.plot(place[finite], middle[finite], **look)
    low, high = (rows[f"{y}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    whiskers(axes, place, low, high, color=look["color"], linewidth=0.9)
    mark_lower_edge(axes, place[np.isneginf(middle)], color=look["color"], **ZERO_KEY)


def mark_lower_edge(axes: Axes, place: np.ndarray, **look: Any) -> None:
    """Marks at the lower edge of the panel: exact zeros, whose logarithm is on no axis."""
    mark_edge(axes, place, 0.0, **look)


def mark_edge(axes: Axes, place: np.ndarray, edge: float, **look: Any) -> None:
    """Marks at the lower edge (0) or at the upper edge (1) of the panel, of values that lie beyond it."""
    look = {"clip_on": False, "linestyle": "none", "zorder": 5, **look}
    if len(place):  # an empty line that is not clipped has no extent, and no layout survives that
        axes.plot(place, np.full(len(place), edge), transform=axes.get_xaxis_transform(), **look)


ZERO_KEY = {"marker": "v", "linestyle": "none"}


def zero_key(curves: pd.DataFrame) -> list[Artist]:
    """The legend's entry for exact zeros, if a median is one."""
    return [line_key(r"exactly zero ($-\infty$)", **ZERO_KEY)] if np.isneginf(curves["median"]).any() else []


def curve_keys(curves: pd.DataFrame) -> list[Artist]:
    """The legend's entries for curves, as far as they are drawn."""
    return [line_key("median over networks"), *band_keys(curves), *zero_key(curves)]


def band_keys(curves: pd.DataFrame) -> list[Artist]:
    """The legend's entry for the bands of curves, if there are some."""
    return [band_key("quartiles of networks")] if (curves["networks"] > 1).any() else []


def set_empty_limits(axes: Axes, values: pd.Series, axis: str = "y") -> None:
    """Limits for a panel without finite values: below zero."""
    if not np.isfinite(values.astype(float)).any():
        axes.set(**{f"{axis}lim": (-1.0, 0.06)})


def draw_theory(axes: Axes, rows: pd.DataFrame, name: str, colour: str, linestyle: str) -> None:
    """A thin line of theory, where the table has it."""
    rows = rows[np.isfinite(rows[name].astype(float))].sort_values("lag")
    axes.plot(rows["lag"], rows[name], color=colour, linestyle=linestyle, linewidth=0.8, alpha=0.8, zorder=1)


LEVEL: dict[str, Any] = {"linestyle": "--", "linewidth": 0.7}


def draw_level(axes: Axes, values: pd.Series, colour: str) -> None:
    """A thin line across the panel at a theoretical level, if it is the same in all rows."""
    if has_values(values):
        axes.axhline(float(values.dropna().iloc[0]), color=colour, alpha=0.8, zorder=1, **LEVEL)


def has_values(values: pd.Series) -> bool:
    """Whether the theory gives a value."""
    return bool(np.isfinite(values.astype(float)).any())


LINEAR_NETWORK: dict[str, Any] = {"linestyle": ":", "linewidth": 0.9}
MEAN_FIELD: dict[str, Any] = {"linestyle": "-.", "linewidth": 0.9}
_RATES: dict[str, tuple[str, dict[str, Any]]] = {
    "asymptote_rate": (r"linear network $\log \rho$", LINEAR_NETWORK),
    "mean_field_rate": ("mean field", MEAN_FIELD),
}
"""Rates of theory against the requested value: what they are called, and how they are drawn."""


def rate(axes: Axes, rows: pd.DataFrame, name: str, look: dict[str, Any]) -> None:
    """A thin line of theory over the requested values, where the table has it."""
    there = rows[np.isfinite(rows[name].astype(float))].drop_duplicates("initializer_requested")
    there = there.sort_values("initializer_requested")
    axes.plot(there["initializer_requested"], there[name], color=style.NEUTRAL, zorder=1, **{**look, **_apart(rows)})


def _apart(rows: pd.DataFrame) -> dict[str, Any]:
    """Networks from files have no line between them."""
    return {"marker": "_", "markersize": 9, "linestyle": "none"} if has_files(rows) else {}


def rate_keys(rows: pd.DataFrame) -> list[Artist]:
    """The legend's entries for rates of theory that are drawn: lines need two requested values or more."""
    there = {name: rows[np.isfinite(rows[name].astype(float))] for name in _RATES}
    least = 0 if has_files(rows) else 1
    drawn = [name for name, part in there.items() if part["initializer_requested"].nunique() > least]
    return [line_key(_RATES[name][0], **{**_RATES[name][1], **_apart(rows)}) for name in drawn]


def limit(grid: np.ndarray, rows: Sequence[Sequence[pd.DataFrame]]) -> None:
    """Measured values set the limits of the y axes of each kind (a column of `grid`); theory may leave the panel."""
    for kind in range(grid.shape[1]):
        values = np.concatenate([part[kind][["median", "low", "high"]].to_numpy(dtype=float).ravel() for part in rows])
        values = values[np.isfinite(values)]
        low, high = (values.min(), values.max()) if values.size else (-1.0, 0.0)
        margin = 0.06 * (high - low) or 0.5
        for axes in grid[:, kind]:
            axes.set_ylim(low - margin, high + margin)
