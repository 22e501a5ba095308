"""Networks while a sweep trains them: loss, gradient, largest exponent and horizon against the update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import Arrangement, Shape, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size
from bpttlab.figures.updates import scale_loss
from bpttlab.store.columns import UPDATE
from bpttlab.tables.training_curves import is_logarithmic

_VALUES = ("quantity", UPDATE, "network_id", "median", "low", "high", "networks", "zero", "status")
_LABELS = {
    "loss": "loss",
    "log_gradient_norm": r"$\log \Vert g \Vert$ (nat)",
    "lyapunov_exponent": "exponent $\\lambda_1$\n(nat/step)",
    "vanishing_horizon": "horizon (lag)",
}
"""The panels from above, as far as a study has values."""
_MEASURED = ("lyapunov_exponent", "vanishing_horizon")
_APART: dict[str, Any] = {"marker": "s", "markersize": 4.0, "linestyle": "none", "zorder": 5}
_HEIGHT = 1.2  # inches
_THIN: dict[str, Any] = {"linewidth": 0.4, "alpha": 0.45, "zorder": 1}
_ABOVE = {"loss": 100.0, "log_gradient_norm": 5.0}
"""How far a panel reaches above the values of networks that did not diverge: times as much, and nats."""
_ENDS: dict[str, dict[str, Any]] = {
    "solved": {"marker": "o", "markersize": 2.4, "linestyle": "none", "zorder": 4},
    "diverged": {"marker": "x", "markersize": 3.5, "linestyle": "none", "zorder": 4},
}


def plot_training(curves: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """One panel for each quantity, one above the other, with one axis of updates: thin lines are networks, thick ones
    medians over them, bands their quartiles. Marks are at the updates at which a network was solved or diverged; of
    one that diverged beyond the values of the others the mark is on the upper edge.

    curves: `tables.training_curves`. Raises LabError if no update was recorded.
    """
    if curves.empty:
        raise LabError("no update of a training was recorded: no run of the last update is done")
    kinds = [name for name in _LABELS if name in set(curves["quantity"])]
    shape = Shape(len(kinds), height=lambda colours: _HEIGHT, stacked=True)
    page = arrange(curves, _VALUES, comparison, size, shape, x=(UPDATE,))
    limits = [_find_limit(curves[curves["quantity"] == name], name) for name in kinds]
    for axes, rows, kind in page.panels():
        _draw_panel(axes, rows[rows["quantity"] == kinds[kind]], page, limits[kind])
    _scale_axes(page, curves, kinds, limits)
    label_edges(page, ["update"] * len(kinds), [_LABELS[name] for name in kinds])
    if all(row == 0 for row, _ in page.places):
        for axes in page.grid[:, 1:].flat:
            axes.set_title("")
    if len(page.shades) > 1:
        page.add_key(size)
    page.add_footer(_footer(curves))
    return layout.finish(page.figure)


def _find_limit(rows: pd.DataFrame, name: str) -> float:
    """Where a panel ends above, if a network that diverges leaves the values of the others far below; else inf.

    rows: those of one quantity. If all networks diverged, their first values are those of the others.
    """
    networks = rows[rows["network_id"].notna()]
    is_diverged = networks["network_id"].isin(networks.loc[networks["status"] == "diverged", "network_id"])
    if name not in _ABOVE or not is_diverged.any():
        return np.inf
    is_first = networks[UPDATE] == networks.groupby("network_id")[UPDATE].transform("min")
    others = _finite(networks.loc[is_first if is_diverged.all() else ~is_diverged, "median"]).dropna()
    if others.empty:
        return np.inf
    limit = float(others.max()) + _ABOVE[name] * (float(others.max()) if name == "loss" else 1.0)
    return limit if _finite(networks["median"]).max() > limit > others.min() else np.inf


def _draw_panel(axes: Axes, rows: pd.DataFrame, page: Arrangement, limit: float) -> None:
    if "lyapunov_exponent" in set(rows["quantity"]):
        axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    for colour, part in page.by_colour(rows):
        of_one = part["network_id"].notna()
        for _, network in part[of_one].groupby("network_id"):
            axes.plot(network[UPDATE], _finite(network["median"]), color=colour, **_THIN)
        for status, look in _ENDS.items():
            ends = part[of_one & (part["status"] == status)]
            inside = np.isfinite(ends["median"]) & (ends["median"] <= limit)
            axes.plot(ends.loc[inside, UPDATE], ends.loc[inside, "median"], color=colour, **look)
            lines.mark_edge(axes, ends.loc[~inside, UPDATE].to_numpy(dtype=float), 1.0, color=colour, **look)
        _draw_median(axes, part[~of_one], colour)


def _draw_median(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """A curve with its band; of what was measured at two updates only marks with whiskers, as nothing is between."""
    if not _is_apart(rows):
        lines.curve(axes, rows, UPDATE, colour, zorder=3)
        return
    place, middle, low, high = (rows[name].to_numpy(dtype=float) for name in (UPDATE, "median", "low", "high"))
    axes.plot(place, middle, color=colour, **_APART)
    lines.whiskers(axes, place, low, high, color=colour, linewidth=1.6, zorder=3)


def _is_apart(medians: pd.DataFrame) -> bool:
    """Whether a quantity was measured at so few updates that a curve through them would say nothing."""
    return bool(medians["quantity"].isin(_MEASURED).any()) and medians[UPDATE].nunique() <= 2


def _finite(values: pd.Series) -> pd.Series:
    return values.astype(float).replace([np.inf, -np.inf], np.nan)


def _scale_axes(page: Arrangement, curves: pd.DataFrame, kinds: list[str], limits: list[float]) -> None:
    """One axis of updates in all panels; a loss over more than a decade has a logarithmic axis."""
    most, is_log = float(curves[UPDATE].max()), _has_log_axis(curves)
    for (_, kind), axes in np.ndenumerate(page.grid):
        if is_log:
            axes.set_xscale("symlog", linthresh=1.0, linscale=0.4)
            axes.set_xticks([0.0, *(10.0**power for power in range(int(np.log10(most)) + 1))])
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(-0.02 * most if not is_log else -0.1, 1.1 * most if is_log else 1.02 * most)
        values = _finite(curves.loc[curves["quantity"] == kinds[kind], "median"]).clip(upper=limits[kind])
        if np.isfinite(limits[kind]):
            least = float(values.min())
            below = least / 2.0 if kinds[kind] == "loss" and least > 0 else least - 0.05 * (limits[kind] - least)
            axes.set_ylim(below, limits[kind])  # before the axis is logarithmic, as Matplotlib's margins overflow
        if kinds[kind] == "loss":
            scale_loss(axes, values)
        if kind < len(kinds) - 1:
            axes.tick_params(axis="x", labelbottom=False)


def _has_log_axis(curves: pd.DataFrame) -> bool:
    """Whether updates were measured mostly at the beginning."""
    measured = curves.loc[curves["quantity"].isin(_MEASURED), UPDATE]
    return is_logarithmic(measured) if len(measured) else False


def _footer(curves: pd.DataFrame) -> list[Artist]:
    """The legend's entries for what is drawn."""
    there = set(curves["status"].dropna())
    ends = [lines.line_key(status, **look) for status, look in _ENDS.items() if status in there]
    one = [lines.line_key("one network", linewidth=0.5, alpha=0.6)]
    medians = curves[curves["network_id"].isna() & curves["quantity"].isin(_MEASURED)]
    ends += [lines.line_key("median and quartiles at a measured update", **_APART)] * _is_apart(medians)
    median = "median of networks that have not diverged" if "diverged" in there else "median over networks"
    return [lines.line_key(median), *lines.band_keys(curves), *one, *ends]
