"""Which swept fields of a summary have the colours, the columns and the rows of a figure.

A figure compares everything that was swept. Fields that are named (`color=cell columns=cell.hidden_size`) are where
they are named. Of the others, the field with the most values has the colours if the requested value does not vary, and
the fields with few values have the panels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.figures import requested, style
from bpttlab.figures.figure import Comparison
from bpttlab.store.columns import SCHEME_OF_TRAINING
from bpttlab.tables.points import LABEL, STATED, has_files, value_names_file
from bpttlab.tables.selection import find_field

ABREAST = 4
"""Panels that stand side by side on a page."""

LENGTH = "sequence_length"
_FILE = (LABEL, "cell_content")
_NAMES = {**dict.fromkeys(_FILE, "file"), "initializer_target": "quantity"}
_OF_NETWORKS = ("cell_", "task_", "initializer_", "measure_", "scheme_", "scales_")
_GROUPS = (*_OF_NETWORKS, "training_", "optimizer_", "penalty_", "projection_")


def display_name(column: str, frame: pd.DataFrame | None = None) -> str:
    """A column as a sweep's line writes it: cell.hidden_size, spectral_radius."""
    if column == requested.VALUE:
        if frame is not None and has_files(frame):
            return "file"
        targets = [] if frame is None else sorted(map(str, frame["initializer_target"].dropna().unique()))
        return targets[0] if len(targets) == 1 and targets[0] in STATED else "spectral_radius"
    if column in _NAMES:
        return _NAMES[column]
    if column in SCHEME_OF_TRAINING:  # which are no fields of the group
        return column
    group = next((group for group in _GROUPS if column.startswith(group)), "")
    return f"{group.rstrip('_')}.{column.removeprefix(group)}" if group else column


def find_columns(
    word: str, names: Iterable[str], known: Sequence[str], frame: pd.DataFrame, on_axes: Sequence[str] = ()
) -> list[str]:
    """The columns of fields that are named by a word of the line.

    Args:
        on_axes: columns that are on an axis of a panel.

    Raises:
        ConfigurationError: a name that is no swept field, or on an axis, with those that are.
    """
    return list(dict.fromkeys(_find_column(word, name, known, frame, on_axes) for name in names))


def _find_column(word: str, name: str, known: Sequence[str], frame: pd.DataFrame, on_axes: Sequence[str]) -> str:
    found = find_swept(name, [*known, *on_axes], frame)
    if found is not None and found in known:
        return found
    varying = [one for one in known if frame[one].nunique(dropna=False) > 1] or list(known)
    shown = list(dict.fromkeys(display_name(one, frame) for one in varying if one not in _NAMES or one == LABEL))
    if found:
        raise ConfigurationError(f"{word}={name}: is on an axis of this figure; must be one of {', '.join(shown)}")
    raise ConfigurationError(f"{word}={name}: must be a swept field: {', '.join(shown)}.{nearest(name, shown)}")


def find_swept(name: str, known: Sequence[str], frame: pd.DataFrame) -> str | None:
    """The column of a swept field; of a network's file the requested value, where it says which file it is."""
    found = find_field(name, [*known, *(one for one in _FILE if one in frame)])
    if found == requested.VALUE and has_files(frame) and name != requested.VALUE:
        return None  # no radius was requested
    if found in _FILE and value_names_file(frame):
        return requested.VALUE
    return found if found in known else None


# ------------------------------------------------------------------ axes: fields that vary together


def find_axes(frame: pd.DataFrame, names: Sequence[str], given: Sequence[str] = ()) -> list[list[str]]:
    """The varying columns, those that decide each other together; without those that `given` ones decide.

    A requested value that has the name of a network's file decides what follows from the file, wherever it is placed.
    """
    axes: list[list[str]] = []
    apart = _find_implied(frame, names, given)
    for name in [name for name in names if name not in apart and frame[name].nunique(dropna=False) > 1]:
        together = next((axis for axis in axes if _belong_together(frame, axis, name)), None)
        if together is None:
            axes.append([name])
        else:
            together.append(name)
    return axes


def _find_implied(frame: pd.DataFrame, names: Sequence[str], given: Sequence[str]) -> set[str]:
    """The columns that need no place: given ones, and those that these or the file of a requested value decide."""
    by_file = requested.VALUE in (*names, *given) and value_names_file(frame)
    deciding = [name for name in given if name != requested.VALUE or by_file]  # a radius explains no other field
    files = [LABEL] if by_file and LABEL not in deciding else []
    free = [name for name in names if name != requested.VALUE]
    decided = {name for name in free if deciding and _decide(frame, deciding, [name])}
    of_file = {name for name in free if files and name != LENGTH and _decide(frame, files, [name])}
    return {*given, *decided, *of_file}


def _belong_together(frame: pd.DataFrame, axis: Sequence[str], name: str) -> bool:
    if requested.VALUE in (name, *axis) or LENGTH in (name, *axis):
        return False
    return _decide(frame, axis, [name]) or _decide(frame, [name], axis)


def _decide(frame: pd.DataFrame, by: Sequence[str], others: Sequence[str]) -> bool:
    """Whether the values of some columns follow from those of others."""
    return count_values(frame, [*by, *others]) == count_values(frame, by)


def count_values(frame: pd.DataFrame, names: Sequence[str]) -> int:
    """The number of combinations of some columns; 1 of none."""
    return int(frame.groupby(list(names), dropna=False).ngroups) if names else 1


def has_order(frame: pd.DataFrame, axis: Sequence[str]) -> bool:
    """Whether an axis is one field of numbers."""
    column = frame[axis[0]]
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return len(axis) == 1 and is_number and bool(column.notna().all())


# ------------------------------------------------------------------ colours, columns and rows


@dataclass(frozen=True)
class Channels:
    """The columns of a frame that have the colours, columns and rows; `chosen`: a caller chose the panels."""

    color: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    chosen: bool = False


def choose_channels(
    frame: pd.DataFrame,
    names: Sequence[str],
    comparison: Comparison,
    prefer: Sequence[str] = (requested.VALUE,),
    across: Sequence[str] = (),
    on_axes: Sequence[str] = (),
) -> Channels:
    """Places all varying columns.

    Args:
        names: the columns that may be placed.
        prefer: those that have the colours where no field is named; empty: the figure has colours of its own.
        across: those that have the columns where no field is named.
        on_axes: those that are on an axis of a panel.

    Raises:
        ConfigurationError: a named field is none of `names`, or has the colours of a figure that has its own.
    """
    given = {word: find_columns(word, named, names, frame, on_axes) for word, named in comparison.named().items()}
    color = given["color"]
    if color and not prefer:
        raise ConfigurationError(f"color={','.join(comparison.color)}: the colours of this figure are no swept field")
    placed = [*color, *given["columns"], *given["rows"]]
    if prefer and not color:
        color = _choose_color(frame, find_axes(frame, names, placed), prefer)
        placed += color
    axes = find_axes(frame, names, placed)
    columns, rows = given["columns"], given["rows"]
    chosen = bool(columns or rows)
    preferred = [axis for axis in axes if set(axis) & set(across)]
    if not columns:
        columns = _choose_columns(frame, axes, preferred, alone=not (rows or across))
    left = [axis for axis in axes if not set(axis) & set(columns)]
    return Channels(color, columns, [*rows, *(name for axis in left for name in axis)], chosen)


def _choose_color(frame: pd.DataFrame, axes: list[list[str]], prefer: Sequence[str]) -> list[str]:
    """The preferred columns that vary, otherwise the axis with the most values that colours can distinguish."""
    varying = [name for axis in axes for name in axis if name in prefer]
    if varying:
        return varying
    fit = [axis for axis in axes if can_colour(frame, axis)]
    return max(fit, key=lambda axis: count_values(frame, axis)) if fit else [prefer[0]]


def can_colour(frame: pd.DataFrame, axis: Sequence[str]) -> bool:
    """Whether there are colours for all values of an axis."""
    return has_order(frame, axis) or count_values(frame, axis) <= len(style.CATEGORIES)


def _choose_columns(frame: pd.DataFrame, axes: list[list[str]], preferred: list[list[str]], alone: bool) -> list[str]:
    """Of several axes the one with the most values that stand side by side."""
    if preferred:
        return preferred[0]
    fit = [axis for axis in axes if count_values(frame, axis) <= ABREAST]
    if not axes or (len(axes) > 1 and not fit) or (not alone and not fit):
        return []
    return max(fit or axes, key=lambda axis: count_values(frame, axis))


def refuse_unknown(frame: pd.DataFrame, names: Sequence[str], comparison: Comparison) -> None:
    """Raises ConfigurationError for a name that is no swept field of a study, and for one in two places."""
    seen: dict[str, str] = {}
    for word, named in comparison.named().items():
        for column in find_columns(word, named, names, frame):
            if column in seen:
                shown = display_name(column, frame)
                raise ConfigurationError(f"{word}={shown}: {seen[column]}= has it, too; name it once")
            seen[column] = word
