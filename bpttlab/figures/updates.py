"""Networks while they are trained: quantities against the update, and before training beside after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import label_rows
from bpttlab.figures.comparison import display_name
from bpttlab.figures.style import Size
from bpttlab.store.columns import UPDATE
from bpttlab.tables.points import LABEL, STATED

_LABELS = {
    "training_loss": "training loss",
    "loss": "loss of the probe",
    "growth_rate": "asymptotic rate\n(nat/step)",
    "lyapunov_exponent": "exponent $\\lambda_1$\n(nat/step)",
    "vanishing_horizon": "horizon (lag)",
    "rho": r"spectral radius $\rho$",
    "training_log_gradient_norm": "log gradient norm\n(nat)",
}
"""The panels, in this order, as far as a study has values."""

_HORIZON = "vanishing_horizon"
_AROUND_ZERO = ("growth_rate", "lyapunov_exponent")
_PANEL = 1.55  # inches, the height of one
_NAMED = "network in colour"
_LARGEST = 1e200  # of a loss on a logarithmic axis; what is larger, of a network that diverges, lies above the axis
_DECADE = 10.0  # a loss over more than this has a logarithmic axis


def plot_updates(updates: pd.DataFrame, size: Size = "page") -> Figure:
    """One panel for each quantity against the update: medians over networks with their interval, a colour a network.

    updates: `tables.updates`. Raises LabError if no update is done, or if there are too many networks to distinguish.
    """
    updates = _name_networks(updates, UPDATE)
    panels = _find_panels(updates, list(_LABELS))
    figure, grid = _make_grid(len(panels), size)
    shades = _choose_shades(updates)
    for axes, name in zip(grid, panels, strict=False):
        _begin_panel(axes, name)
        for place, network in enumerate(shades):
            rows = _move_apart(updates[updates[_NAMED] == network], place - (len(shades) - 1) / 2, updates)
            look = {"color": shades[network], "marker": "o", "markersize": 2.2, "linewidth": 1.0}
            lines.interval(axes, _with_ends(rows, name), UPDATE, name, **look)
            if name == _HORIZON:
                _mark_censored(axes, rows[UPDATE], rows[name], _has_lower_limit(rows), shades[network])
        if name.endswith("loss"):
            scale_loss(axes, updates[name])
        axes.set_xlabel("update")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    keys = _network_keys(shades) + lines.interval_keys(updates["growth_rate_low"])
    keys += _censored_keys(_has_lower_limit(updates))
    layout.footer(figure, keys)
    return layout.finish(figure)


def plot_paired(pairs: pd.DataFrame, size: Size = "page") -> Figure:
    """One panel for each quantity: a thin line for each network from its first measured update to its last one, and the
    median over networks, thick.

    pairs: `tables.training_pairs`. Raises LabError if no network was measured twice.
    """
    pairs = pairs[pairs["is_pair"]].reset_index(drop=True)
    if pairs.empty:
        raise LabError(
            "no network of the study was measured before and after training: a pair has one label, seed, size and T"
        )
    pairs = _name_networks(pairs, "first_update", "last_update", "quantity")
    panels = [name for name in _LABELS if name in set(pairs["quantity"])]
    figure, grid = _make_grid(len(panels), size)
    shades = _choose_shades(pairs)
    for axes, name in zip(grid, panels, strict=False):
        _begin_panel(axes, name)
        for place, network in enumerate(shades):
            rows = pairs[(pairs["quantity"] == name) & (pairs[_NAMED] == network)]
            _draw_slopes(axes, rows, place, shades[network])
        axes.set_xticks(*_name_ends(pairs, len(shades)))
        axes.set_xlim(-0.5, len(shades) - 0.5)
    keys = [*_network_keys(shades), lines.line_key("one network", linewidth=0.5, alpha=0.6)]
    keys += [lines.line_key("median over networks", linewidth=2.0)]
    layout.footer(figure, keys + _censored_keys(pairs["before_censored"] | pairs["after_censored"]))
    return layout.finish(figure)


# ------------------------------------------------------------------ parts of both


def _name_networks(rows: pd.DataFrame, *apart: str) -> pd.DataFrame:
    """The rows in the order of their networks, with the name of each: its label, and what else varies within labels.

    Networks from files have the order in which they were given, others that of their fields. So a network has one
    colour in both figures.
    """
    end = list(rows).index("networks" if "networks" in rows else "first_update")
    is_stated = bool(rows["initializer_target"].isin(STATED).all())  # else the value is measured, or a file's place
    apart = (*apart, "network_id", "initializer_target", *(() if is_stated else ("initializer_requested",)))
    point = [name for name in map(str, list(rows)[:end]) if name not in apart and rows[name].nunique(dropna=False) > 1]
    if LABEL in rows and (rows.groupby(LABEL)[point].nunique(dropna=False) <= 1).all(axis=None):
        named = rows[LABEL].map(lambda label: style.escape_text(str(label)))
    else:
        named = label_rows(rows, point) if point else pd.Series("", index=rows.index)
    order = ["initializer_requested", *point, *(name for name in (UPDATE,) if name in rows)]
    return rows.assign(**{_NAMED: named}).sort_values(order, kind="stable").reset_index(drop=True)


def _find_panels(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The quantities that have finite values."""
    found = [name for name in names if name in rows and np.isfinite(rows[name].astype(float)).any()]
    if not found:
        raise LabError("no update of the study has a measured quantity: every one failed or diverged")
    return found


def _make_grid(panels: int, size: Size) -> tuple[Figure, list[Axes]]:
    """As many panels in rows of three, in a column of two."""
    style.check_size(size)
    wide = min(panels, 3 if size == "page" else 2)
    down = -(-panels // wide)
    width = style.WIDTHS[size] * (1.0 if wide > 1 or size == "column" else 0.5)
    figure = style.Page(figsize=(width, down * _PANEL + 0.2), layout="constrained")
    grid = figure.subplots(down, wide, squeeze=False)
    for axes in grid.flat[panels:]:
        axes.remove()
    return figure, list(grid.flat[:panels])


def _choose_shades(rows: pd.DataFrame) -> dict[str, str]:
    names = list(dict.fromkeys(rows[_NAMED]))
    if len(names) > len(style.CATEGORIES):
        raise LabError(
            f"{len(names)} networks are too many colours for one figure (at most {len(style.CATEGORIES)}): "
            f"draw fewer of them with where={display_name(LABEL)}=NAME"
        )
    return style.categories(names)


def _network_keys(shades: dict[str, str]) -> list[Artist]:
    """The names of the networks, if there are several."""
    if len(shades) < 2:
        return []
    return [lines.line_key(name, color=colour, linewidth=2.0) for name, colour in shades.items()]


def _begin_panel(axes: Axes, name: str) -> None:
    axes.set_ylabel(_LABELS[name])
    if name in _AROUND_ZERO:
        axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)


def _with_ends(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows with an interval of this quantity, missing where the table has none."""
    ends = {f"{name}_{end}": rows.get(f"{name}_{end}", np.nan) for end in ("low", "high")}
    return rows.assign(**ends, **{UPDATE: rows[UPDATE].astype(float)})


def _move_apart(rows: pd.DataFrame, places: float, updates: pd.DataFrame) -> pd.DataFrame:
    """The rows beside their update, so that the intervals of several networks do not cover each other."""
    span = float(updates[UPDATE].max() - updates[UPDATE].min())
    return rows.assign(**{UPDATE: rows[UPDATE].astype(float) + _SHIFT * span * places})


_SHIFT = 0.006  # of the whole axis


def scale_loss(axes: Axes, values: pd.Series) -> None:
    """A logarithmic axis for a loss that falls by orders of magnitude."""
    positive = values.astype(float)[values.notna()]
    if (positive > 0).all() and positive.max() > _DECADE * positive.min():
        least, most = positive.min(), positive.max()
        if least < 1.0 / _LARGEST or most > _LARGEST:  # Matplotlib's margins and ticks would leave the floats
            axes.set_ylim(max(least / _DECADE, 1.0 / _LARGEST), min(most, _LARGEST / _DECADE) * _DECADE)
        axes.set_yscale("log")


def _draw_slopes(axes: Axes, rows: pd.DataFrame, place: int, colour: str) -> None:
    """The networks of one name, from left to right of their place."""
    x = [place - _REACH, place + _REACH]
    values = rows[["before", "after"]].astype(float).replace([np.inf, -np.inf], np.nan).dropna()
    for before, after in values.to_numpy():
        axes.plot(x, [before, after], color=colour, linewidth=0.5, alpha=0.6)
    if len(values):
        middle: dict[str, Any] = {"color": colour, "linewidth": 2.0, "marker": "o"}
        axes.plot(x, values.median().to_numpy(), **middle)
    for side, end in zip(x, ("before", "after"), strict=True):
        _mark_censored(axes, pd.Series(side, rows.index), rows[end], rows[f"{end}_censored"], colour)


_REACH = 0.22


def _has_lower_limit(rows: pd.DataFrame) -> pd.Series:
    """Whether the median horizon of a point ended only because the sequence did."""
    return (rows["vanishing_censored"] > 0) & (2 * rows["vanishing_censored"] >= rows["networks"])


def _mark_censored(axes: Axes, place: pd.Series, values: pd.Series, censored: pd.Series, colour: str) -> None:
    """Open marks where a horizon is a lower limit."""
    chosen = censored.astype(bool) & values.notna()
    if chosen.any():
        axes.plot(place[chosen].astype(float), values[chosen].astype(float), color=colour, **_OPEN)


def _censored_keys(censored: pd.Series) -> list[Artist]:
    return [lines.line_key("horizon of T or more", **_OPEN)] if censored.any() else []


_OPEN: dict[str, Any] = {
    "marker": "o",
    "markersize": 3.5,
    "markerfacecolor": "white",
    "markeredgewidth": 0.8,
    "linestyle": "none",
    "zorder": 5,
}


def _name_ends(pairs: pd.DataFrame, places: int) -> tuple[list[float], list[str]]:
    """The ticks before and after of every place: the updates if they are the same for all networks."""
    texts = []
    for name, word in (("first_update", "before"), ("last_update", "after")):
        found = pairs[name].unique()
        texts.append(f"update\n{found[0]}" if len(found) == 1 and places <= _MOST_NAMED else word)
    if places > _MOST_NAMED:
        return [], []
    return [place + side for place in range(places) for side in (-_REACH, _REACH)], texts * places


_MOST_NAMED = 3
