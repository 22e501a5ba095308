"""The panels of a figure: a summary divided by its swept fields into colours, columns and rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D

from bpttlab.errors import LabError
from bpttlab.figures import layout, requested, style
from bpttlab.figures.comparison import (
    ABREAST,
    LENGTH,
    Channels,
    choose_channels,
    count_values,
    display_name,
    find_swept,
    has_order,
)
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.layout import Facet
from bpttlab.figures.style import Size
from bpttlab.store.columns import UPDATE
from bpttlab.tables.digests import PLUGIN_HASHES, short_column
from bpttlab.tables.points import LABEL, has_files, has_names_of_files, network_labels
from bpttlab.tables.updates import choose_updates

_OF_DRAWN = ("initializer", "initializer_target")
"""What networks from files lack, beside the cell of the others."""
LENGTH_TITLE = "length $T$"
_CURVES = 40
"""The most updates that have a curve each."""
_PAGE, _LEAST = 9.0, 1.2  # inches: the height of all panels, and the least of one
_LONGEST_LABEL = 2 * layout.LINE
COLOUR = "value in colour"
"""The column of an arrangement's rows with the value or the label that a colour stands for."""


@dataclass(frozen=True)
class Shape:
    """How a figure's panels are made.

    Attributes:
        kinds: the number of panels of each facet.
        share: panels of one kind have the same y axis; "row": only those of a row; "all": both axes, in squares.
        height: of a panel in inches, from the number of colours.
        most: the most facets; of a board the most lines.
        stacked: whether the kinds of a facet always stand one above the other; else side by side, if facets do not.
    """

    kinds: int = 1
    share: bool | str = True
    height: Callable[[int], float] | None = None
    most: int = layout.MOST_FACETS
    stacked: bool = False


BOARD: dict[str, Any] = {"shape": Shape(share="row"), "prefer": (), "across": (requested.VALUE,)}
"""For figures with colours of their own: a few requested values side by side, each line of panels with one y axis."""

SQUARES: dict[str, Any] = {**BOARD, "shape": Shape(share="all")}
"""The same with squares that all have the same axes."""


@dataclass(frozen=True)
class Arrangement:
    """The panels of a figure, one for each facet and kind, and what its colours mean.

    Attributes:
        figure: the figure.
        grid: the axes, (facets, kinds).
        parts: the facets with their rows, which have the column `COLOUR`.
        places: the row and the column of each facet.
        across: whether facets stand side by side; else kinds do.
        column_labels, row_labels: of a figure with columns and rows; empty: each panel has its own label.
        shades: a colour for each value of `COLOUR`.
        names: a text for each of them.
        title: what they are.
        note: what is left out.
    """

    figure: Figure
    grid: np.ndarray
    parts: list[Facet]
    places: list[tuple[int, int]]
    across: bool
    column_labels: list[str]
    row_labels: list[str]
    shades: dict[Any, str]
    names: dict[Any, str]
    title: str
    note: str = ""

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of all facets."""
        return pd.concat([part.rows for part in self.parts], ignore_index=True)

    def panels(self) -> Iterator[tuple[Axes, pd.DataFrame, int]]:
        """Each panel with the rows of its facet, and its kind."""
        for (facet, kind), axes in np.ndenumerate(self.grid):
            yield axes, self.parts[facet].rows, kind

    def by_colour(self, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
        """The rows of each colour; all in one colour if nothing is compared by colours."""
        if not self.shades:
            yield style.CATEGORIES[0], rows
        for value, colour in self.shades.items():
            yield colour, rows[rows[COLOUR] == value]

    def by_kind(self, column: str, kinds: Sequence[str]) -> list[list[pd.DataFrame]]:
        """The rows of each facet divided by a column that names the kind."""
        return [[rows[rows[column] == kind] for kind in kinds] for _, rows in self.parts]

    def is_lowest(self, facet: int) -> bool:
        """Whether no facet stands below this one."""
        row, column = self.places[facet]
        return not any(below > row and other == column for below, other in self.places)

    def add_key(self, size: Size) -> None:
        """The meaning of the colours, above the panels."""
        layout.key(self.figure, self.grid, self.shades, self.names, self.title, size)

    def add_footer(self, handles: Sequence[Artist]) -> None:
        """The meaning of lines and marks, below the panels, and what is left out."""
        note = [Line2D([], [], linestyle="none", label=self.note)] if self.note else []
        layout.footer(self.figure, [*handles, *note])


def arrange(
    frame: pd.DataFrame,
    values: Sequence[str],
    comparison: Comparison = AUTOMATIC,
    size: Size = "page",
    shape: Shape | None = None,
    *,
    prefer: Sequence[str] = (requested.VALUE,),
    across: Sequence[str] = (),
    x: Sequence[str] = (LENGTH,),
) -> Arrangement:
    """The panels of a summary of the longest sequences, unless the length is compared.

    Args:
        frame: a summary.
        values: its columns that do not name a point.
        prefer, across: see `choose_channels`.
        x: columns that name a point and have no place, because they are on an axis of a panel or not compared.

    Raises:
        ConfigurationError: `comparison` names what is no field of the summary.
        LabError: there are too many panels or colours.
    """
    shape = shape or Shape()
    free = [str(name) for name in frame if name not in values]
    named = {find_swept(name, free, frame) for names in comparison.named().values() for name in names}
    x = [name for name in x if name != LENGTH or LENGTH not in named]
    fields = layout.facet_columns(frame, values)
    more = [name for name in free if name in named and name not in fields]
    points = [name for name in (*fields, *more, requested.VALUE, LENGTH) if name in free and name not in x]
    points = list(dict.fromkeys(points))
    if LENGTH in x:
        frame = layout.longest(frame, fields)
    frame = _shorten_digests(frame, points)
    points = [name for name in points if name != PLUGIN_HASHES or name in layout.varying_columns(frame, points)]
    on_axes = [name for name in x if name in free and name != LENGTH]
    note, measured = "", frame
    if UPDATE in points and frame[UPDATE].nunique() > 1 and UPDATE not in named:
        prefer = (UPDATE,) if requested.VALUE in prefer else prefer
        curves = _CURVES if frame[UPDATE].notna().all() else len(style.CATEGORIES) - 1  # beside drawn networks
        frame = choose_updates(frame, curves if UPDATE in prefer and not comparison.color else layout.MOST_VALUES)
        note = _describe_left_out(frame, measured)
    if requested.VALUE not in named:
        frame = requested.forget_measured(frame) if requested.VALUE in across else requested.set_apart(frame)
    channels = choose_channels(frame, points, comparison, prefer, across, on_axes)
    if requested.VALUE in (*channels.columns, *channels.rows) and requested.VALUE not in named:
        kept = frame[requested.VALUE].isin(_select_values(frame)) | frame[requested.VALUE].isna()
        frame = frame[kept].reset_index(drop=True)
    return replace(_place(_colour(frame, channels), channels, size, shape), note=note)


def _describe_left_out(shown: pd.DataFrame, measured: pd.DataFrame) -> str:
    """How many of the measured updates have panels or curves; empty if all have."""
    few, all_of_them = (frame[UPDATE].nunique() for frame in (shown, measured))
    return f"{few} of {all_of_them} updates shown" if few < all_of_them else ""


def _select_values(frame: pd.DataFrame) -> list[float]:
    """A few of the requested values, and those of all files."""
    files = network_labels(frame) or requested.file_names(frame)
    drawn = [value for value in requested.requested_values(frame) if value not in files]
    return [*layout.select_values(drawn), *files]


def _shorten_digests(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    if PLUGIN_HASHES not in names:
        return frame
    return frame.assign(**{PLUGIN_HASHES: short_column(frame[PLUGIN_HASHES])})


# ------------------------------------------------------------------ colours


def _colour(frame: pd.DataFrame, channels: Channels) -> pd.DataFrame:
    """The frame with the column `COLOUR`."""
    axis = channels.color
    if not axis:
        return frame.assign(**{COLOUR: 0})
    return frame.assign(**{COLOUR: frame[axis[0]] if has_order(frame, axis) else label_rows(frame, axis)})


def label_rows(frame: pd.DataFrame, axis: Sequence[str]) -> pd.Series:
    """The combination of each row in words: "gru, hidden size 64"."""
    return _numbers(frame, axis).map(dict(enumerate(_labels(frame, axis))))


def _shades(frame: pd.DataFrame, axis: Sequence[str]) -> tuple[dict[Any, str], dict[Any, str], str]:
    """A colour and a text for each value of `COLOUR`, and what the values are."""
    if not axis:
        return {}, {}, ""
    if list(axis) == [requested.VALUE]:
        return requested.value_colours(frame), requested.value_names(frame), layout.quantity(frame)
    values = list(dict.fromkeys(frame[COLOUR].iloc[_numbers(frame, axis).argsort(kind="stable")].dropna()))
    title = "network" if LABEL in axis else " and ".join(words_of(name) for name in _told(frame, axis))
    if has_order(frame, axis):
        shades = dict(zip(values, style.sequence_colours(len(values)), strict=True))
        return shades, {value: f"{value:g}" for value in values}, title
    if len(values) > len(style.CATEGORIES):
        raise LabError(
            f"{len(values)} colours for {', '.join(display_name(name, frame) for name in axis)} are too many "
            f"(at most {len(style.CATEGORIES)}): name a field in color=, columns= or rows="
        )
    return style.categories(values), {value: value for value in values}, title


# ------------------------------------------------------------------ texts


def words_of(column: str) -> str:
    """The name of a field in a figure: "hidden size"."""
    if column == LENGTH:
        return LENGTH_TITLE
    return style.escape_text(display_name(column).rpartition(".")[2].replace("_", " "))


def _describe_key(frame: pd.DataFrame, axis: Sequence[str], key: Sequence[Any]) -> str:
    """The values of an axis in words: "gru, hidden size 64"; of a network from a file its name."""
    named = {name: value for name, value in zip(axis, key, strict=True) if not pd.isna(value)}
    if list(axis) == [requested.VALUE] and not named:
        return f"no {layout.describe_symbol(frame)} requested"
    if LABEL in axis and has_names_of_files(frame):
        told = [LABEL] if LABEL in named else [name for name in named if name not in _OF_DRAWN]
        named = {name: named[name] for name in told} or named
    choices = [name for name in axis if name in named or name.startswith("training_")]  # no clipping is a choice, too
    texts = [
        _describe(frame, name, named[name]) if name in named else f"{layout.name_in_words(name)} none"
        for name in choices
    ]
    return ", ".join(texts) or "none"


def _describe(frame: pd.DataFrame, name: str, value: Any) -> str:
    if name == LENGTH:
        return f"$T$ = {value}"
    if name == requested.VALUE:
        text, is_named = requested.value_names(frame)[float(value)], value in requested.file_names(frame)
        return text if is_named or has_files(frame) else f"{layout.describe_symbol(frame)} = {text}"
    return "".join(layout.describe_columns({name: value}))


# ------------------------------------------------------------------ places


def _place(frame: pd.DataFrame, channels: Channels, size: Size, shape: Shape) -> Arrangement:
    """Divides the frame into facets and makes their panels."""
    columns, rows = channels.columns, channels.rows
    is_board = isinstance(shape.share, str)
    if size == "column" and not (channels.chosen or is_board):  # one below the other
        columns, rows = [], [*columns, *rows]
    groups = _divide(frame, columns, rows)
    in_rows = bool(rows) and (channels.chosen or not _is_sparse(groups))
    crossed = bool(columns) and (in_rows or channels.chosen or (is_board and len(groups) <= ABREAST))
    if is_board and (crossed or in_rows):
        _refuse_too_many(frame, rows, len({row for row, _ in groups}), shape.most)
    else:
        _refuse_too_many(frame, [*columns, *rows], len(groups), shape.most * (ABREAST if is_board else 1))
    labels = _labels(frame, columns), _labels(frame, rows)
    crossed = crossed and (in_rows or not rows)
    places = list(groups) if crossed or in_rows else _wrap(len(groups), ABREAST if size == "page" else 2)
    if shape.share == "row" and rows and not in_rows:
        shape = replace(shape, share=False)  # a line of panels has no field in common
    alone = not (rows or columns)
    pairs = [(labels[0][column], labels[1][row]) for row, column in groups]
    pairs = pairs if in_rows or not is_board else [(row, column) for column, row in pairs]
    titles = [layout.find_task(frame) if alone else _join(*pair) for pair in pairs]
    parts = [Facet(title, part) for title, part in zip(titles, groups.values(), strict=True)]
    is_across = shape.stacked or max(column for _, column in places) > 0
    shades, names, title = _shades(frame, channels.color)
    figure, grid = _make_panels(places, is_across, size, shape, len(shades))
    edges = labels if crossed else ([], [])
    return Arrangement(figure, grid, parts, places, is_across, *edges, shades, names, title)


def _refuse_too_many(frame: pd.DataFrame, axis: Sequence[str], count: int, most: int) -> None:
    if count > most:
        fields = ", ".join(display_name(name, frame) for name in axis)
        raise LabError(
            f"{count} combinations of {fields} are too many for one figure (at most {most}): "
            "draw fewer of them with where=, or name a field in color="
        )


def _is_sparse(places: Collection[tuple[int, int]]) -> bool:
    """Whether panels at these rows and columns would leave more than half of the page empty, or lie on a diagonal."""
    down, wide = (len({place[end] for place in places}) for end in (0, 1))
    return 2 * len(places) < down * wide or len(places) == down > wide > 1


def _wrap(count: int, abreast: int) -> list[tuple[int, int]]:
    """Places in lines of equal length, of at most so many."""
    lines = -(-count // abreast)
    return [divmod(number, -(-count // lines)) for number in range(count)]


def _join(column: str, row: str) -> str:
    """A label above a panel, on several lines if it is long."""
    line = ", ".join(text for text in (column, row) if text)
    return line if len(line) <= layout.LINE else line.replace(", ", "\n")


def _keys(frame: pd.DataFrame, axis: Sequence[str]) -> list[tuple[Any, ...]]:
    """The combinations of values on an axis, in order; an empty one if there are no columns."""
    return [key for key, _ in frame.groupby(list(axis), dropna=False, sort=True)] if axis else [()]


def _labels(frame: pd.DataFrame, axis: Sequence[str]) -> list[str]:
    """The combinations in words: "gru, hidden size 64"; an empty text if there are no columns.

    If a text is longer than `_LONGEST_LABEL`, all leave out the fields that are not needed to tell them apart.
    """
    if not axis:
        return [""]
    return _describe_keys(frame, axis, _told(frame, axis))


def _describe_keys(frame: pd.DataFrame, axis: Sequence[str], told: Sequence[str]) -> list[str]:
    places = [axis.index(name) for name in told]
    return [_describe_key(frame, told, [key[place] for place in places]) for key in _keys(frame, axis)]


def _told(frame: pd.DataFrame, axis: Sequence[str]) -> list[str]:
    """The columns that labels tell: all, or those that are needed if the labels would be too long otherwise.

    An initializer that several cells share is not told beside the cell.
    """
    drawn = [name for name in axis if name in _OF_DRAWN]
    rest = [name for name in axis if name not in drawn]
    if rest and drawn and count_values(frame, rest) == count_values(frame, axis) > count_values(frame, drawn):
        axis = rest
    lengths = map(len, _describe_keys(frame, axis, axis))
    return list(axis) if max(lengths) <= _LONGEST_LABEL else _find_needed(frame, axis)


def _find_needed(frame: pd.DataFrame, axis: Sequence[str]) -> list[str]:
    """The columns that tell all combinations apart, the first ones preferred, and the cell to its initializer."""
    needed = list(axis)
    drawn = [name for name in axis if name in _OF_DRAWN]
    for name in [*reversed(drawn), *reversed([name for name in axis if name not in drawn])]:
        fewer = [other for other in needed if other != name]
        if count_values(frame, fewer) == count_values(frame, axis):
            needed = fewer
    return needed


def _divide(frame: pd.DataFrame, columns: Sequence[str], rows: Sequence[str]) -> dict[tuple[int, int], pd.DataFrame]:
    """The rows at each row and column of panels that has some."""
    groups = frame.groupby([_numbers(frame, rows), _numbers(frame, columns)], sort=True)
    places: Any = ((place, part.reset_index(drop=True)) for place, part in groups)
    return {(int(row), int(column)): part for (row, column), part in places}


def _numbers(frame: pd.DataFrame, axis: Sequence[str]) -> pd.Series:
    """The number of each row's combination of values on an axis, among `_keys`."""
    if not axis:
        return pd.Series(0, index=frame.index)
    return frame.groupby(list(axis), dropna=False, sort=True).ngroup()


def _make_panels(
    places: Sequence[tuple[int, int]], across: bool, size: Size, shape: Shape, colours: int
) -> tuple[Figure, np.ndarray]:
    """The axes of all facets and kinds."""
    style.check_size(size)
    down, wide = (max(place[end] for place in places) + 1 for end in (0, 1))
    rows, columns = (shape.kinds * down, wide) if across else (down, shape.kinds)
    width = style.WIDTHS[size]
    height = shape.height(colours) if shape.height else _height(width, rows, columns, across, shape)
    around = 0.5 if isinstance(shape.share, str) else 0.2
    figure = style.Page(figsize=(width, rows * height + around), layout="constrained")
    spec = GridSpec(rows, columns, figure=figure)
    grid = np.empty((len(places), shape.kinds), dtype=object)
    for kind in range(shape.kinds):
        for number, (row, column) in enumerate(places):
            at = spec[kind * down + row, column] if across else spec[row, kind]
            grid[number, kind] = figure.add_subplot(at, **_shared(grid[:number, kind], places, number, shape))
    if shape.share:
        _hide_inner_labels(grid, places, across, both=shape.share == "all")
    return figure, grid


def _height(width: float, rows: int, columns: int, across: bool, shape: Shape) -> float:
    """The height of a panel in inches."""
    wide = (width - 0.6) / columns
    if shape.share == "all":
        return min(wide, 2.6)
    if shape.share == "row":
        return min(max(0.75 * wide, 1.3), 2.2, max(_PAGE / rows, _LEAST))
    return min(max(0.72 * width / columns, 1.35 if across else 1.55), 2.6, max(_PAGE / rows, _LEAST))


def _shared(before: np.ndarray, places: Sequence[tuple[int, int]], number: int, shape: Shape) -> dict[str, Axes]:
    """The axes that a panel shares with an earlier one."""
    row = places[number][0]
    alike = [axes for axes, place in zip(before, places, strict=False) if shape.share != "row" or place[0] == row]
    if not shape.share or not alike:
        return {}
    return {"sharey": alike[0], **({"sharex": alike[0]} if shape.share == "all" else {})}


def _hide_inner_labels(grid: np.ndarray, places: Sequence[tuple[int, int]], across: bool, both: bool) -> None:
    """Leaves the numbers of shared axes at the edges alone."""
    for (number, _), axes in np.ndenumerate(grid):
        row, column = places[number]
        if across and any(other == row and left < column for other, left in places):
            axes.tick_params(axis="y", labelleft=False)
        if both and any(below > row and other == column for below, other in places):
            axes.tick_params(axis="x", labelbottom=False)


# ------------------------------------------------------------------ labels at the edges


def label_edges(page: Arrangement, x: Sequence[str], y: Sequence[str]) -> None:
    """Labels at the edges: facets above and on the left, kinds in the labels of their axes.

    Args:
        x, y: labels of each kind's axes; neighbours along a row share one y label if their kind is the same.
    """
    for (number, kind), axes in np.ndenumerate(page.grid):
        row, column = page.places[number]
        is_last_kind = not page.across or kind == page.grid.shape[1] - 1
        if page.is_lowest(number) and (is_last_kind or x[kind] != x[-1]):
            axes.set_xlabel(layout.break_label(x[kind], layout.panel_width(axes)))
        is_first = not any(other == row and left < column for other, left in page.places)
        if is_first or not page.across:
            axes.set_ylabel(f"{_row_label(page, row)}{layout.break_label(y[kind], layout.panel_height(axes))}")
        if page.column_labels:
            if row == min(one for one, other in page.places if other == column) and kind == 0:
                axes.set_title(page.column_labels[column])
        elif kind == 0 or page.across:
            axes.set_title(page.parts[number].label, loc="center" if page.across else "left")


def _row_label(page: Arrangement, row: int) -> str:
    if not page.row_labels or not page.row_labels[row]:
        return ""
    label = page.row_labels[row]
    return f"{label if len(label) <= layout.BESIDE_A_PANEL else label.replace(', ', f',{chr(10)}')}\n"
