"""Panels, facets, legends and colour bars that the figures share.

A figure has a panel for each facet (task and all else that varies except the requested value and the length) and each
kind of curve. On a page facets are side by side, in a column one above the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

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

from bpttlab.errors import LabError
from bpttlab.figures import requested, style
from bpttlab.figures.style import Size
from bpttlab.tables.digests import PLUGIN_HASHES, short_column, short_digests
from bpttlab.tables.points import LABEL, has_files, network_labels

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
MOST_FACETS = 12
MOST_VALUES = 3  # requested values that have panels of their own
MOST_IN_LEGEND = 8
Placement = Literal["outside upper center", "outside lower center"]
NARROW = 1.3  # inches
LINE = 24  # letters above a panel
BESIDE_A_PANEL = 14  # and upright on its left
_BESIDE = 4  # facets that stand side by side on a page


class Facet(NamedTuple):
    """A part of a frame with the text above its panels."""

    label: str
    rows: pd.DataFrame


def facets(frame: pd.DataFrame, columns: Sequence[str]) -> list[Facet]:
    """The parts of a frame, one per distinct combination of `columns`; the label of a part names the varying values.

    Raises LabError for more parts than a figure can show.
    """
    varying = varying_columns(frame, columns)
    digests = short_digests(frame[PLUGIN_HASHES]) if PLUGIN_HASHES in varying else {}
    groups = frame.groupby(list(columns), dropna=False, sort=True)
    if groups.ngroups > MOST_FACETS:
        names = ", ".join(varying)
        raise LabError(f"{groups.ngroups} combinations of {names} are too many for one figure (at most {MOST_FACETS})")
    keys = [[digests.get(value, value) for value in key] for key, _ in groups]
    parts = [rows.reset_index(drop=True) for _, rows in groups]
    return [Facet(_label(columns, varying, key), rows) for key, rows in zip(keys, parts, strict=True)]


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
    kinds = frame.groupby(LABEL)[[name for name in names if name.startswith("cell_")]].nunique(dropna=False)
    return [name for name in names if name not in kinds or (kinds[name] > 1).any()]


def summary_facet_columns(summary: pd.DataFrame, values: Sequence[str] = ()) -> list[str]:
    """The same for a summary, whose keys are the columns before `networks`."""
    keys = [str(name) for name in summary]
    return facet_columns(summary[keys[: keys.index("networks")]], values)


def _label(columns: Sequence[str], varying: Sequence[str], key: Sequence[Any]) -> str:
    """The task and what varies beside it: "digits, by row", one below the other where that is long."""
    named = dict(zip(columns, key, strict=True))
    said = _describe_columns({name: named[name] for name in varying if name not in {"task", "initializer_target"}})
    parts = [_to_plain_value(named["task"]), *said] if "task" in named else said
    line = ", ".join(parts)
    return line if len(line) <= LINE else "\n".join(parts)


def _shorten_digest(name: str, value: object) -> object:
    """The first digits of a file's content, as many as distinguish the files."""
    return str(value)[:8] if name.endswith("_content") else value


def _describe_columns(named: Mapping[str, Any]) -> list[str]:
    """The values of some columns in words: the cell by its name alone, "by row", "hidden size 64"."""
    words = {name: name.removeprefix("task_").removeprefix("cell_").replace("_", " ") for name in named}
    said = {name: _to_plain_value(_shorten_digest(name, value)) for name, value in named.items() if not pd.isna(value)}
    there = {name: requested.figure_text(str(named[name])) if name == LABEL else text for name, text in said.items()}
    return [text if name in ("cell", LABEL) else f"{words[name]} {text}" for name, text in there.items()]


def descriptions(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """A text for each row that names the varying values: "gru, hidden size 64"; empty if nothing varies."""
    varying = varying_columns(frame, columns)
    if PLUGIN_HASHES in varying:
        frame = frame.assign(**{PLUGIN_HASHES: short_column(frame[PLUGIN_HASHES])})
    rows = zip(*(frame[name] for name in varying), strict=True) if varying else [()] * len(frame)
    said = [", ".join(_describe_columns(dict(zip(varying, row, strict=True)))) for row in rows]
    return pd.Series(said, index=frame.index, dtype=object)


def _to_plain_value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ").replace("$", r"\$")


def longest(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of the longest sequences of each facet."""
    most = frame.groupby(list(columns), dropna=False)["sequence_length"].transform("max")
    return frame[frame["sequence_length"] == most].reset_index(drop=True)


def group_by_value(rows: pd.DataFrame, column: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The values of a column, ascending, each with its rows."""
    yield from rows.groupby(column)


def quantity(frame: pd.DataFrame) -> str:
    """The quantity of the requested values in words: spectral radius, gain or scale (or several of them)."""
    targets = sorted(str(target) for target in frame["initializer_target"].dropna().unique())
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


def select_rows(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, list[float]]:
    """The longest sequences of each facet at the few requested values that are shown; and those values."""
    frame = longest(frame[frame["initializer_requested"].notna()], columns)
    values = select_values(requested.requested_values(frame))
    return frame[frame["initializer_requested"].isin(values)].reset_index(drop=True), values


def board(parts: Sequence[Facet], values: Sequence[float], size: Size, square: bool = False) -> Board:
    """A figure with a panel for each facet (one above the other) and requested value (side by side).

    `square`: panels are squares with the same limits; otherwise they share the y axis along a row.
    """
    style.check_size(size)
    width = style.WIDTHS[size]
    wide = (width - 0.6) / len(values)
    height = min(wide, 2.6) if square else min(max(0.75 * wide, 1.3), 2.2)
    figure = style.Page(figsize=(width, len(parts) * height + 0.5), layout="constrained")
    shared: Literal["all", "row"] = "all" if square else "row"
    grid = figure.subplots(len(parts), len(values), squeeze=False, sharex=shared, sharey=shared)
    return figure, grid


Board: TypeAlias = tuple[Figure, np.ndarray]
"""A figure and its axes, (facets, requested values)."""


def panels_with_rows(
    grid: np.ndarray, parts: Sequence[Facet], values: Sequence[float]
) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Each panel with its rows."""
    for (row, column), axes in np.ndenumerate(grid):
        rows = parts[row].rows
        yield axes, rows[rows["initializer_requested"] == values[column]]


def dress_board(grid: np.ndarray, parts: Sequence[Facet], values: Sequence[float], x: str, y: str) -> None:
    """Labels at the edges: requested values above, facets on the left."""
    symbol = " or ".join(sorted({_symbol(part.rows) for part in parts}))
    rows = pd.concat([part.rows for part in parts])
    names = requested.value_names(rows)
    for axes, value in zip(grid[0], values, strict=True):
        axes.set_title(names[value] if has_files(rows) else f"{symbol} = {names[value]}")
    for axes, part in zip(grid[:, 0], parts, strict=True):
        label = part.label if len(part.label) <= BESIDE_A_PANEL else part.label.replace(", ", ",\n")
        axes.set_ylabel(f"{label}\n{y}")
    for axes in grid[-1]:
        axes.set_xlabel(x)


def _symbol(rows: pd.DataFrame) -> str:
    targets = sorted(str(target) for target in rows["initializer_target"].dropna().unique())
    return " or ".join(SYMBOLS.get(target, "requested") for target in targets) or "requested"


def panels(
    count: int, kinds: int, size: Size, share: bool = True, height: float | None = None
) -> tuple[Figure, np.ndarray]:
    """A figure with a panel for each facet and kind: the figure and its axes, (facets, kinds).

    `share`: panels of one kind have the same y axis. `height`: the height of a panel in inches, if it is fixed.
    """
    style.check_size(size)
    across = size == "page" and (kinds == 1 or count > 1) and count <= _BESIDE
    rows, columns = (kinds, count) if across else (count, kinds)
    width = style.WIDTHS[size]
    height = height or min(max(0.72 * width / columns, 1.35 if across else 1.55), 2.6)
    figure = style.Page(figsize=(width, rows * height + 0.2), layout="constrained")
    shared: Literal["row", "col"] = "row" if across else "col"
    grid = figure.subplots(rows, columns, squeeze=False, sharey=shared if share else False)
    return figure, grid.T if across else grid


def label_edges(grid: np.ndarray, parts: Sequence[Facet], x: Sequence[str], y: Sequence[str]) -> None:
    """Labels at the edges: facets in titles, kinds in the labels of their axes.

    Args:
        grid: axes, (facets, kinds).
        x, y: labels of each kind's axes; neighbours along a row share one y label if their kind is the same.
    """
    for (row, column), axes in np.ndenumerate(grid):
        place = axes.get_subplotspec()
        across = is_across(grid)
        if place.is_last_row() or x[column] != x[-1]:
            axes.set_xlabel(x[column])
        if place.is_first_col() or not across:
            axes.set_ylabel(y[column])
        if column == 0:
            axes.set_title(parts[row].label, loc="left" if not across else "center")


def panel_width(axes: Axes) -> float:
    """About how wide a panel is between its axis labels, in inches."""
    figure, place = axes.figure, axes.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    return float(figure.get_figure(root=True).get_size_inches()[0]) / columns - 0.55


def whole_numbers(grid: np.ndarray) -> None:
    """Ticks of x axes at integers only: indices, lags and steps."""
    for axes in grid.flat:
        most = 6 if panel_width(axes) > NARROW else 3
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most, min_n_ticks=1))


def is_across(grid: np.ndarray) -> bool:
    """Whether the facets of a grid (facets, kinds) stand side by side."""
    return len(grid) > 1 and bool(grid[1, 0].get_subplotspec().colspan.start > 0)


def symmetric_ticks(bar: Colorbar, most: float) -> None:
    """Ticks at 0 and at the powers of ten on either side, for a scale that is logarithmic beyond 1."""
    decades = [10.0**power for power in range(int(np.log10(most)) + 1)]
    ticks = [*(-tick for tick in reversed(decades)), 0.0, *decades]
    bar.set_ticks(ticks, labels=[f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    bar.minorticks_off()


def finish(figure: Figure) -> Figure:
    """Fixes the layout, so that a figure saved in several formats is the same in each.

    It runs twice: the first pass decides the number of ticks, the second makes room for their labels.
    """
    figure.draw_without_rendering()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


# ------------------------------------------------------------------ keys to colours and lines


def key(figure: Figure, grid: np.ndarray, shades: Mapping[float, str], frame: pd.DataFrame, size: Size) -> None:
    """The meaning of the colours, above the panels: a legend for a few requested values, a colour bar for many."""
    names, title = requested.value_names(frame), quantity(frame)
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
