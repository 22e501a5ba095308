"""Colours and marks of schemes, the same in every figure, and panels for sweep points that have several schemes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.figures import layout, lines, requested, style
from bpttlab.figures.arrangement import Arrangement, Shape, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.layout import Facet
from bpttlab.figures.style import Size
from bpttlab.tables.digests import PLUGIN_HASHES, short_column
from bpttlab.tables.points import LABEL, has_files

SEGMENTED = ("per_loss", "windowed", "chunked", "chunked_mean", "random", "adaptive")
MARKS = dict(zip(SEGMENTED, ("o", "s", "^", "p", "D", "h"), strict=True)) | {
    "full": "|",
    "rtrl": "*",
    "uoro": "X",
    "snap": "P",
    "rflo": "<",
    "clipped": "v",
}
SHADES = dict(zip(SEGMENTED, style.CATEGORIES, strict=False)) | {
    "full": style.NEUTRAL,
    "rtrl": "#111111",
    "uoro": "#7a1f05",
    "snap": "#4d4d4d",
    "rflo": "#0072b2",
    "clipped": "#8a6d00",
}
ACROSS = {"page": 4, "column": 2}
HEIGHT = 1.45  # inches of a panel


class SchemeStyle(NamedTuple):
    """Colour and mark of a scheme."""

    colour: str
    marker: str


def looks(names: Sequence[str]) -> dict[str, SchemeStyle]:
    """The look of each scheme, in a fixed order; an unknown scheme takes an unused look."""
    order = sorted(names, key=lambda name: ([*MARKS].index(name) if name in MARKS else len(MARKS), name))
    unknown = [name for name in order if name not in MARKS]
    spare = {name: SchemeStyle(style.CATEGORIES[-1 - place % 2], "dH"[place % 2]) for place, name in enumerate(unknown)}
    return {name: spare[name] if name in spare else SchemeStyle(SHADES[name], MARKS[name]) for name in order}


def keys(shown: dict[str, SchemeStyle]) -> list[Artist]:
    """The legend's entries for schemes."""
    return [
        lines.line_key(
            name.replace("_", "-"),
            color=look.colour,
            marker=look.marker,
            linestyle="-" if name in SEGMENTED else "none",
            linewidth=0.8,
        )
        for name, look in shown.items()
    ]


# ------------------------------------------------------------------ panels


class SchemePanels(NamedTuple):
    """Panels for sweep points, (points, kinds); `page`: where a caller named their columns or rows."""

    figure: Figure
    axes: np.ndarray
    parts: list[Facet]
    page: Arrangement | None = None


def lay_out(
    table: pd.DataFrame,
    apart: Sequence[str],
    comparison: Comparison = AUTOMATIC,
    size: Size = "page",
    kinds: int = 1,
    height: float = HEIGHT,
    schemes: int = 2,
) -> SchemePanels:
    """Panels for the points with at least `schemes` schemes: in lines, or in the columns and rows that are named.

    Raises:
        ConfigurationError: a field is named for the colours, which are those of schemes.
    """
    if comparison.color:
        raise ConfigurationError(f"color={','.join(comparison.color)}: the colours of this figure are no swept field")
    if comparison == AUTOMATIC:
        parts = points(table, apart, schemes)
        return SchemePanels(*panels_of_schemes(len(parts), kinds, size, height), parts)
    names = [*layout.summary_facet_columns(table, apart), requested.VALUE, "sequence_length"]
    if schemes > 1:
        counts = table.groupby(names, dropna=False)["scheme"].transform("nunique")
        table = table[counts >= schemes].reset_index(drop=True)
    if table.empty:
        raise LabError(f"no point of the sweep has {schemes} schemes to compare")
    shape = Shape(kinds, share=False, height=lambda _: height)
    page = arrange(table, layout.find_values(table, apart), comparison, size, shape, prefer=())
    return SchemePanels(page.figure, page.grid, page.parts, page)


def points(table: pd.DataFrame, apart: Sequence[str], schemes: int = 2) -> list[Facet]:
    """A facet for each sweep point with at least `schemes` schemes: the longest sequences, and a few of many requested
    values.

    A label names the values that distinguish a point from the others, its cell first.

    apart: the columns that distinguish rows of one point.
    """
    columns = layout.summary_facet_columns(table, apart)
    table = layout.longest(table, columns)
    parts = [part for _, facet in table.groupby(columns, dropna=False) for part in _keep_few(facet)]
    if schemes > 1:
        parts = [part for part in parts if part["scheme"].nunique() >= schemes]
    if not parts:
        raise LabError(
            f"no point of the sweep has {schemes} schemes to compare" if schemes > 1 else "the sweep has no points"
        )
    if len(parts) > layout.MOST_FACETS:
        raise LabError(f"{len(parts)} points are too many for one figure (at most {layout.MOST_FACETS})")
    first = pd.DataFrame([part.iloc[0] for part in parts]).reset_index(drop=True)
    own = LABEL if has_files(table) else "initializer_requested"
    first = first[list(dict.fromkeys([*columns, own]))]
    if PLUGIN_HASHES in first:
        first = first.assign(**{PLUGIN_HASHES: short_column(first[PLUGIN_HASHES])})
    labels = [_label(first, place) for place in range(len(parts))]
    return [Facet(label, part.reset_index(drop=True)) for label, part in zip(labels, parts, strict=True)]


def with_gradient(costs: pd.DataFrame, parameter: str) -> pd.DataFrame:
    """The rows of a parameter at the points where its gradient, and so its bias, is not zero.

    Raises LabError if there are none.
    """
    rows = costs[(costs["parameter"] == parameter) & costs["log_relative_error"].notna()].reset_index(drop=True)
    columns = layout.summary_facet_columns(rows, ["scheme", "truncation", "parameter", *fields(rows)])
    if len(rows):
        finite = rows["log_relative_bias"].astype(float).map(np.isfinite)
        groups = [rows[name] for name in [*columns, "initializer_requested"]]
        rows = rows[finite.groupby(groups, dropna=False).transform("any")].reset_index(drop=True)
    if rows.empty:
        raise LabError(f"the study has no bias and variance of the gradient of {parameter}")
    return rows


def fields(table: pd.DataFrame) -> list[str]:
    """The columns of schemes' own fields."""
    return [str(name) for name in table if str(name).startswith("scheme_") and name != "scheme_seconds"]


def _keep_few(facet: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for value in layout.select_values(requested.requested_values(facet)):
        yield facet[facet["initializer_requested"] == value]


_FIRST = ("cell", "task", "initializer")


def _label(rows: pd.DataFrame, place: int) -> str:
    """The cell, and other columns until no other point has the same values."""
    others = sorted((str(name) for name in rows if name not in _FIRST), key=PLUGIN_HASHES.__eq__)  # a hash only at last
    order = [*(name for name in _FIRST if name in rows), *others]
    left, said = rows, []
    own = {str(name): value for name, value in rows.iloc[place].items()}
    for name in order:
        missing = bool(pd.isna(own[name]))
        same: pd.Series = left[name].isna() if missing else left[name] == own[name]
        if not missing and (name == "cell" or (len(left) > 1 and not same.all())):
            said.append(_describe_value(name, own[name]))
        left = left[same]
    said = said or [_describe_value("task", own["task"])]
    line = ", ".join(said)
    return line if len(line) <= layout.LINE else ",\n".join(said)


def _describe_value(name: str, value: object) -> str:
    if name == LABEL:
        return style.escape_text(requested.shorten_label(str(value)))
    text = f"{value:g}" if isinstance(value, float) else style.escape_text(str(value).replace("_", " "))
    if name in _FIRST:
        return text
    if name == "initializer_requested":
        return rf"$\rho$ {text}"
    return f"{name.removeprefix('cell_').removeprefix('task_').replace('_', ' ')} {text}"


def panels_of_schemes(count: int, kinds: int, size: Size, height: float = HEIGHT) -> tuple[Figure, np.ndarray]:
    """A figure with a block of panels for each point, kinds one above the other, as many blocks in a line as fit.

    Returns the figure and its axes, (points, kinds); the rest of the last line is empty.
    """
    style.check_size(size)
    across = min(count, ACROSS[size])
    blocks = -(-count // across)
    titles = 0.3 * blocks
    figure = style.Page(figsize=(style.WIDTHS[size], blocks * kinds * height + titles + 0.2), layout="constrained")
    grid = figure.subplots(blocks * kinds, across, squeeze=False)
    placed = grid.reshape(blocks, kinds, across).swapaxes(1, 2).reshape(blocks * across, kinds)
    for axes in placed[count:].flat:
        axes.remove()
    return figure, placed[:count]


def dress_schemes(panels: SchemePanels, x: Sequence[str], y: Sequence[str]) -> None:
    """Titles above, y labels on the left, x labels under the last panel of each column, or of each kind."""
    if panels.page:
        label_edges(panels.page, x, y)
        return
    axes, parts = panels.axes, panels.parts
    for point, (part, own) in enumerate(zip(parts, axes, strict=True)):
        own[0].set_title(part.label, fontsize=7.5)
        for kind, one in enumerate(own):
            place = one.get_subplotspec()
            if place.is_first_col():
                one.set_ylabel(y[kind])
            across = place.get_gridspec().ncols
            below = point + across < len(parts)
            if not below or len(set(x)) > 1:
                one.set_xlabel(x[kind])
