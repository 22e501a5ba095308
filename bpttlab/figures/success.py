"""Which networks learnt their task: the share against the length of the sequences, and against the update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.figures import layout, lines
from bpttlab.figures.arrangement import LENGTH_TITLE, Shape, arrange, label_edges
from bpttlab.figures.comparison import LENGTH
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size
from bpttlab.store.columns import UPDATE

_CURVE = (UPDATE, "networks", "solved_share", "at_risk", "solved", "censored")
_APART = 0.012  # of the whole axis: between marks of two colours at one length
_INTERVAL = "95 % interval of the share (Clopper-Pearson)"
_CENSORED: dict[str, Any] = {"marker": "|", "markersize": 6, "markeredgewidth": 1.0, "linestyle": "none"}
_DIVERGED = "diverged networks count as unsolved"


def plot_success(success: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """The share of networks that learnt their task against the length of the sequences, with its interval.

    success: `tables.success`.
    """
    values = [*layout.find_values(success), LENGTH]
    page = arrange(success, values, comparison, size, x=())
    lengths = sorted(float(length) for length in success[LENGTH].unique())
    span = (lengths[-1] - lengths[0]) or 1.0
    for axes, rows, _ in page.panels():
        for place, (colour, part) in enumerate(page.by_colour(rows)):
            shift = _APART * span * (place - (len(page.shades) - 1) / 2) if page.shades else 0.0
            moved = part.assign(**{LENGTH: part[LENGTH].astype(float) + shift})
            lines.interval(axes, moved, LENGTH, "success_rate", color=colour, marker="o", markersize=3)
        axes.set_ylim(-0.04, 1.04)
        _name_lengths(axes, lengths, span)
    label_edges(page, [LENGTH_TITLE], ["success rate"])
    if len(page.shades) > 1:
        page.add_key(size)
    low = success["success_rate_low"]
    keys = [lines.line_key(_INTERVAL, **lines.WHISKERS)] if low.notna().any() else lines.interval_keys(low)
    page.add_footer([*keys, *_diverged_key(success["training_diverged"])])
    return layout.finish(page.figure)


def _name_lengths(axes: Axes, lengths: list[float], span: float) -> None:
    """Ticks at the lengths that were swept, if they fit side by side."""
    axes.set_xlim(lengths[0] - 0.08 * span, lengths[-1] + 0.08 * span)
    gaps = np.diff(lengths) if len(lengths) > 1 else np.array([span])
    if gaps.min() / span * layout.panel_width(axes) > 0.25:
        axes.set_xticks(lengths, [f"{length:g}" for length in lengths])


def plot_success_curves(curves: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """The share of networks that were solved up to each update: 1 minus the Kaplan-Meier estimate, as steps. Marks are
    at the updates at which unsolved networks were seen last.

    curves: `tables.success_curves`.
    """
    page = arrange(curves, _CURVE, comparison, size, Shape(), x=())
    last = float(curves[UPDATE].max())
    for axes, rows, _ in page.panels():
        for colour, part in page.by_colour(rows):
            _draw_steps(axes, part, colour, last)
        axes.set_ylim(-0.04, 1.04)
        axes.set_xlim(-0.02 * last, 1.03 * last)
    label_edges(page, ["update"], ["share solved"])
    if len(page.shades) > 1:
        page.add_key(size)
    keys = [lines.line_key("Kaplan-Meier estimate")]
    page.add_footer([*keys, *([lines.line_key("last update of unsolved networks", **_CENSORED)] * _any(curves))])
    return layout.finish(page.figure)


def _draw_steps(axes: Axes, rows: pd.DataFrame, colour: str, last: float) -> None:
    """One sweep point; where no network was left at risk the share stays as it is."""
    rows = rows.sort_values(UPDATE)
    update, share = rows[UPDATE].to_numpy(dtype=float), rows["solved_share"].to_numpy(dtype=float)
    if not len(rows):
        return
    is_whole = rows["censored"].sum() + rows["solved"].sum() < rows["networks"].iloc[0] or share[-1] >= 1.0
    end = ([last], [share[-1]]) if is_whole else ([], [])
    axes.step(np.r_[update, end[0]], np.r_[share, end[1]], where="post", color=colour)
    left = (rows["censored"] > 0).to_numpy(dtype=bool)
    axes.plot(update[left], share[left], color=colour, **_CENSORED)


def _any(curves: pd.DataFrame) -> bool:
    return bool((curves["censored"] > 0).any())


def _diverged_key(diverged: pd.Series) -> list[Artist]:
    return [lines.line_key(_DIVERGED, linestyle="none")] if (diverged > 0).any() else []
