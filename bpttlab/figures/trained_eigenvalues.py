"""Eigenvalues of the recurrent matrix before and after training in the complex plane."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import SQUARES, arrange, label_edges
from bpttlab.figures.eigenvalues import LARGER, THIN, limit_planes
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size
from bpttlab.store.columns import UPDATE

_TRAINED = "trained_updates"
_POINT = ("run_id", "seed", "matrix", "sequence", "t", "index", "real", "imaginary", "origin_rate")
_VALUES = (*_POINT, UPDATE, _TRAINED, "end")
_ENDS: dict[str, dict[str, Any]] = {
    "before": {"marker": "o", "markersize": 3.4, "color": style.NEUTRAL, "markerfacecolor": "none"},
    "after": {"marker": "o", "markersize": 2.8, "color": "#d55e00"},
}


def plot_trained_eigenvalues(points: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """Eigenvalues of W of one network of each sweep point at its first and at its last measured update, with the unit
    circle; all panels have one scale.

    points: `tables.eigenvalue_points`; a column `trained_updates` says how many updates a network had, if its training
    ended before it was measured. Raises LabError if W of no network was measured at two updates.
    """
    points = points[(points["matrix"] == "W") & points[UPDATE].notna()].reset_index(drop=True)
    by = [name for name in map(str, points) if name not in {*_VALUES, "spectral_radius"}] or ["matrix"]
    updates = points.groupby(by, dropna=False)[UPDATE]
    first, last = updates.transform("min"), updates.transform("max")
    ends = pd.Series("between", index=points.index).mask(points[UPDATE] == first, "before")
    points = points.assign(end=ends.mask(points[UPDATE] == last, "after"))[first < last]
    points = points[points["end"] != "between"].reset_index(drop=True)
    if points.empty:
        raise LabError("no network has eigenvalues of W at two updates: measure.eigenvalue_steps=1 records them")
    page = arrange(points, _VALUES, comparison, size, **SQUARES, x=())
    for axes, rows, _ in page.panels():
        axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, edgecolor=style.NEUTRAL, linewidth=0.7, zorder=1))
        for place, (end, look) in enumerate(_ENDS.items()):
            own = rows[rows["end"] == end]
            axes.plot(own["real"], own["imaginary"], zorder=2 + place, **THIN | look)
        axes.set_aspect("equal", adjustable="box")
    limit_planes(page.grid, points)
    label_edges(page, ["real part"], ["imaginary part"])
    here = [lines.line_key(f"$W$ {_describe(points, end)}", **THIN | look | LARGER) for end, look in _ENDS.items()]
    page.add_footer([*here, lines.line_key("unit circle", linewidth=0.7), *_seed_key(points)])
    return layout.finish(page.figure)


def _describe(points: pd.DataFrame, end: str) -> str:
    """The end of the training, with the updates that the networks had: "after training (updates 80 to 160)"."""
    rows = points[points["end"] == end]
    had = rows[UPDATE].astype(float)
    if _TRAINED in rows:
        had = had.clip(upper=rows[_TRAINED].astype("Float64").astype(float).fillna(had))
    least, most = had.min(), had.max()
    return f"{end} training ({f'update {least:g}' if least == most else f'updates {least:g} to {most:g}'})"


def _seed_key(points: pd.DataFrame) -> list[Artist]:
    """The legend's entry for the seed of the networks that are drawn, if they have one."""
    seeds = sorted(points["seed"].dropna().unique())
    if not seeds:
        return []
    text = f"network of seed {seeds[0]}" if len(seeds) == 1 else f"networks of seeds {seeds[0]} to {seeds[-1]}"
    return [lines.line_key(text, linestyle="none")]
