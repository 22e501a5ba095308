"""Panels, facets, legends and colour bars that the figures share.

A figure has a panel for each facet (task and all else that varies except the requested value and the length) and each
kind of curve. On a page facets are side by side, in a column one above the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bpttlab.figures import requested, style
from bpttlab.figures.style import Size
from bpttlab.tables.digests import PLUGIN_HASHES
from bpttlab.tables.points import LABEL, network_labels

_QUANTITIES = {
    "spectral_radius": r"spectral radius $\rho$",
    "gain": "gain $g$",
    "scale": "scale $s$",
    "measured_radius": r"measured spectral radius $\rho$",
    "radius": r"radius $\rho$, requested or measured",
    "file": "network",
}
SYMBOLS = {
    "spectral_radius": r"$\rho$",
    "gain": "$g$",
    "scale": "$s$",
    "measured_radius": r"$\rho$",
    "radius": r"$\rho$",
}
UNNAMED = ("cell", "task", "initializer", LABEL)
"""Fields whose values say what they are."""

MOST_FACETS = 12
MOST_VALUES = 3  # requested values that have panels of their own
MOST_IN_LEGEND = 8
Placement = Literal["outside upper center", "outside lower center"]
NARROW = 1.3  # inches
LINE = 24  # letters above a panel
_LETTER = 0.056  # inches, of an axis label
BESIDE_A_PANEL = 14  # and upright on its left


class Facet(NamedTuple):
    """A part of a frame with the text above its panels."""

    label: str
    rows: pd.DataFrame


def varying_columns(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Those with several values; `plugins`, a hash, only where no other of them says which files a row has."""
    varying = [name for name in columns if frame[name].nunique(dropna=False) > 1]
    others = [name for name in varying if name != PLUGIN_HASHES]
    if PLUGIN_HASHES not in varying or not others:
        return varying
    versions = frame.groupby(others, dropna=False)[PLUGIN_HASHES].nunique(dropna=False)
    return others if versions.max() <= 1 else varying


def facet_columns(frame: pd.DataFrame, values: Sequence[str]) -> list[str]:
    """The columns that make facets: all except the drawn values, the requested value and the length.

    If all networks are from files, they share a facet, with what follows from the file.
    """
    apart = {*values, requested.VALUE, "sequence_length"}
    names = [str(name) for name in frame if name not in apart]
    if not network_labels(frame):
        return names
    of_cell = [name for name in names if name == "cell" or name.startswith("cell_")]
    kinds = frame.groupby(LABEL)[of_cell].nunique(dropna=False)
    return [name for name in names if name not in kinds or (kinds[name] > 1).any()]


def find_values(summary: pd.DataFrame, values: Sequence[str] = ()) -> list[str]:
    """The columns of a summary that name no point: all from `networks` on, and those given."""
    names = [str(name) for name in summary]
    return [*values, *names[names.index("networks") :]]


def summary_facet_columns(summary: pd.DataFrame, values: Sequence[str] = ()) -> list[str]:
    """`facet_columns` of a summary, whose keys are the columns before `networks`."""
    return facet_columns(summary, find_values(summary, values))


def find_task(frame: pd.DataFrame) -> str:
    """The name of the task, if all rows have one."""
    names = list(frame["task"].unique()) if "task" in frame else []
    return _to_plain_value(names[0]) if len(names) == 1 else ""


def _shorten_digest(name: str, value: object) -> object:
    """The first digits of a file's content, as many as distinguish the files."""
    return str(value)[:8] if name.endswith("_content") else value


_GROUPS = ("task_", "cell_", "training_", "optimizer_", "penalty_", "projection_")


def name_in_words(column: str) -> str:
    """A field without its group: "hidden size"."""
    group = next((group for group in _GROUPS if column.startswith(group)), "")
    return column.removeprefix(group).replace("_", " ")


def describe_columns(named: Mapping[str, Any]) -> list[str]:
    """The values of some columns in words: the cell by its name alone, "by row", "hidden size 64"."""
    words = {name: name_in_words(name) for name in named}
    said = {name: _to_plain_value(_shorten_digest(name, value)) for name, value in named.items() if not pd.isna(value)}
    there = {name: style.escape_text(str(named[name])) if name == LABEL else text for name, text in said.items()}
    return [text if name in UNNAMED else f"{words[name]} {text}" for name, text in there.items()]


def _to_plain_value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else style.escape_text(str(value).replace("_", " "))


def longest(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of the longest sequences of each facet."""
    most = frame.groupby(list(columns), dropna=False)["sequence_length"].transform("max")
    return frame[frame["sequence_length"] == most].reset_index(drop=True)


def group_by_value(rows: pd.DataFrame, column: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The values of a column, ascending, each with its rows."""
    yield from rows.groupby(column)


def quantity(frame: pd.DataFrame) -> str:
    """The quantity of the requested values in words: spectral radius, gain or scale (or several of them)."""
    known = frame.loc[~requested.is_apart(frame), "initializer_target"]
    targets = sorted(str(target) for target in known.dropna().unique())
    if {"measured_radius", "spectral_radius"} <= {*targets}:
        targets = ["radius", *(target for target in targets if not target.endswith("_radius"))]
    return " or ".join(_QUANTITIES.get(target, target.replace("_", " ")) for target in targets) or "requested value"


def select_values(values: Sequence[float]) -> list[float]:
    """Values with panels of their own: all of a few; of many the two ends and the one nearest to 1 or to the middle."""
    values = sorted(values)
    if len(values) <= MOST_VALUES:
        return values
    between = values[1:-1]
    nearest = min(between, key=lambda value: abs(value - 1))
    inside = values[0] < 1 < values[-1]
    return [values[0], nearest if inside else between[len(between) // 2], values[-1]]


def describe_symbol(rows: pd.DataFrame) -> str:
    """The symbol of the requested values."""
    there = rows[rows[requested.VALUE].notna()] if requested.VALUE in rows else rows
    targets = sorted(str(target) for target in there["initializer_target"].dropna().unique())
    return " or ".join(dict.fromkeys(SYMBOLS.get(target, "requested") for target in targets)) or "requested"


def panel_width(axes: Axes) -> float:
    """About how wide a panel is between its axis labels, in inches."""
    figure, place = axes.figure, axes.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    return float(figure.get_figure(root=True).get_size_inches()[0]) / columns - 0.55


def panel_height(axes: Axes) -> float:
    """About how high a panel is between its title and the labels below it, in inches."""
    figure, place = axes.figure, axes.get_subplotspec()
    rows = place.get_gridspec().nrows if place else 1
    return float(figure.get_figure(root=True).get_size_inches()[1]) / rows - 0.45


def break_label(label: str, inches: float) -> str:
    """An axis label on two lines if one is too long for its panel: broken at its comma or before its unit."""
    letters = len(re.sub(r"\$[^$]*\$", "xx", label))
    if _LETTER * letters <= inches or "\n" in label:
        return label
    return re.sub(r", | (?=\()", lambda found: f"{found.group().rstrip()}\n", label, count=1)


def whole_numbers(grid: np.ndarray) -> None:
    """Ticks of x axes at integers only: indices, lags and steps."""
    for axes in grid.flat:
        most = 6 if panel_width(axes) > NARROW else 3
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most, min_n_ticks=1))


def symmetric_ticks(bar: Colorbar, most: float) -> None:
    """Ticks at 0 and at the powers of ten on either side, for a scale that is logarithmic beyond 1."""
    decades = [10.0**power for power in range(int(np.log10(most)) + 1)]
    ticks = [*(-tick for tick in reversed(decades)), 0.0, *decades]
    bar.set_ticks(ticks, labels=[f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    bar.minorticks_off()


def finish(figure: Figure) -> Figure:
    """Fixes the layout, so that a figure saved in several formats is the same in each.

    It runs twice: the first pass decides the number of ticks, the second makes room for their labels. Panels of a fixed
    shape need a third: the second leaves room for titles as if they had the shape of the first. A figure without an
    engine has its layout already.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        for _ in range(3 if any(axes.get_aspect() != "auto" for axes in figure.axes) else 2):
            engine.execute(figure)
        figure.set_layout_engine("none")
    return figure


# ------------------------------------------------------------------ keys to colours and lines


def key(
    figure: Figure, grid: np.ndarray, shades: Mapping[Any, str], names: Mapping[Any, str], title: str, size: Size
) -> None:
    """The meaning of the colours, above the panels: a legend for a few values, a colour bar for many."""
    if len(shades) > MOST_IN_LEGEND:
        _bar(figure, grid, shades, names, title, size)
        return
    handles = [Line2D([], [], color=colour, linewidth=2, label=names[value]) for value, colour in shades.items()]
    _legend(figure, handles, "outside upper center", title)


def footer(figure: Figure, handles: Sequence[Artist]) -> None:
    """The meaning of lines and marks, below the panels."""
    if handles:
        _legend(figure, handles, "outside lower center")


def _legend(figure: Figure, handles: Sequence[Artist], where: Placement, title: str = "") -> None:
    """A legend outside the panels in as few lines as its width allows; the figure grows by its height."""
    width = figure.get_size_inches()[0]
    for rows in range(1, len(handles) + 1):
        columns = -(-len(handles) // rows)
        legend = figure.legend(handles=list(handles), title=title or None, loc=where, ncols=columns, **SPACING)
        extent = legend.get_window_extent()
        if extent.width <= figure.dpi * width or columns == 1:
            add_height(figure, extent.height / figure.dpi)
            return
        legend.remove()


def add_height(figure: Figure, inches: float) -> None:
    """Makes room above or below the panels for a legend, without making the panels smaller."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + inches)


SPACING: dict[str, Any] = {"handlelength": 1.8, "columnspacing": 1.4, "handletextpad": 0.5}


def _bar(
    figure: Figure,
    grid: np.ndarray,
    shades: Mapping[float, str],
    names: Mapping[float, str],
    title: str,
    size: Size,
) -> None:
    """An ordinal colour bar: one step a value, as many of them named as are legible."""
    values = list(shades)
    edges = np.arange(len(values) + 1) - 0.5
    mappable = ScalarMappable(BoundaryNorm(edges, len(values)), ListedColormap(list(shades.values())))
    where: Literal["right", "top"] = "right" if size == "page" else "top"
    add_height(figure, 0.4 if where == "top" else 0.0)
    bar = figure.colorbar(mappable, ax=list(grid.flat), location=where, aspect=35, pad=0.02, label=title)
    step = -(-len(values) // 9)
    centre = next((place for place, value in enumerate(values) if value == 1), 0)
    named = [place for place in range(len(values)) if (place - centre) % step == 0]
    bar.set_ticks(named, labels=[names[values[place]] for place in named])
    bar.minorticks_off()
