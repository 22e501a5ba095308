"""How far back the gradient reaches while networks learn: its terms by lag against the update, as a heat map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines
from bpttlab.figures.arrangement import Shape, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size
from bpttlab.store.columns import UPDATE

_THEORY = ("asymptote", "bound", "mean_field")
_VALUES = ("parameter", "lag", "quantity", "median", "low", "high", "networks", "zero", UPDATE, *_THEORY)
_RANGE = 36.0  # nats below the largest, 16 digits: what is smaller has the lowest colour
_MAP, _ZERO = "viridis", "black"
_TICK = 0.26  # inches that a tick's label takes
_TITLES = {
    "log_norm_per_loss": r"$\log \Vert G_\ell \Vert$ per loss (nat)",
    "spectral": r"$\log \Vert P \Vert_2$ (nat)",
}


def plot_lag_profile(
    curves: pd.DataFrame, size: Size = "page", parameter: str = "W", comparison: Comparison = AUTOMATIC
) -> Figure:
    """A map of lag over update for each sweep point; colours are medians over networks of the log norm of the lag terms
    per loss, or without lag terms of the Jacobian products. What is exactly zero is black. Columns are the updates that
    were measured, and rows the lags, each as wide as the others.

    curves: `tables.lag_curves` or `tables.growth_curves`. Raises LabError if one update was measured, or no lag terms
    of `parameter`.
    """
    quantity = next(name for name in _TITLES if name in set(curves["quantity"]))
    curves = curves[(curves["quantity"] == quantity) & curves[UPDATE].notna()]
    keys = []
    if "parameter" in curves:
        keys = lines.parameter_keys(parameter, curves)
        curves = curves[curves["parameter"] == parameter]
    if curves.empty or curves[UPDATE].nunique() < 2:
        raise LabError(f"no lag terms of {parameter} were measured at several updates")
    norm = _find_norm(curves["median"].astype(float))
    page = arrange(curves, _VALUES, comparison, size, Shape(share=False), prefer=(), x=())
    for axes, rows, _ in page.panels():
        _draw_map(axes, rows, norm)
    label_edges(page, ["update"], [r"lag $\ell$ (steps)"])
    lowest = float(curves["median"].astype(float).replace(-np.inf, np.nan).min())
    bar = page.figure.colorbar(
        ScalarMappable(norm, _MAP), ax=list(page.grid.flat), label=_TITLES[quantity], aspect=30, pad=0.02,
        extend="min" if lowest < (norm.vmin or 0.0) else "neither",
    )  # fmt: skip
    bar.minorticks_off()
    zero = np.isneginf(curves["median"].astype(float)).any()
    page.add_footer([*keys, *([lines.line_key(r"exactly zero ($-\infty$)", **_ZERO_KEY)] if zero else [])])
    return layout.finish(page.figure)


_ZERO_KEY: dict[str, Any] = {"color": _ZERO, "marker": "s", "linestyle": "none"}


def _find_norm(values: pd.Series) -> Normalize:
    finite = values[np.isfinite(values)]
    most = float(finite.max()) if len(finite) else 0.0
    least = max(float(finite.min()), most - _RANGE) if len(finite) else -1.0
    return Normalize(least if least < most else most - 1.0, most)


def _draw_map(axes: Axes, rows: pd.DataFrame, norm: Normalize) -> None:
    """One sweep point."""
    table = rows.pivot_table(index="lag", columns=UPDATE, values="median", sort=True).astype(float)
    values = table.to_numpy()
    edges = np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) - 0.5
    mesh: dict[str, Any] = {"rasterized": True, "linewidth": 0}
    axes.pcolormesh(*edges, np.ma.masked_array(values, ~np.isfinite(values)), norm=norm, cmap=_MAP, **mesh)
    zero = np.ma.masked_array(np.ones_like(values), ~np.isneginf(values))
    axes.pcolormesh(*edges, zero, cmap="gray_r", vmin=0, vmax=1, **mesh)
    for axis, names, room in (
        (axes.xaxis, table.columns, layout.panel_width(axes)),
        (axes.yaxis, table.index, layout.panel_height(axes)),
    ):
        places = _choose_ticks(len(names), room)
        axis.set_ticks(places, labels=[f"{names[place]:g}" for place in places])


def _choose_ticks(count: int, inches: float) -> list[int]:
    """Places of as many names as fit, evenly apart, both ends among them."""
    fit = min(count, max(2, int(inches / _TICK)))
    return sorted({int(place) for place in np.linspace(0, count - 1, fit).round()})
