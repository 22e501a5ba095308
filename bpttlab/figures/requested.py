"""Requested values in figures: their colours and their names. Networks from files have their names, in the order given.

A requested value is a spectral radius, a gain or a scale. Where all networks are from files, it is the place of the
file in the order given (`tables.points.network_labels`), which is shown by the file's name and never joined by a line.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bpttlab.figures import style
from bpttlab.tables.points import LABEL, MEASURED_RADIUS, has_files, network_labels, value_names_file

VALUE = "initializer_requested"
UNREQUESTED = "unrequested"
"""The target of networks that are set apart."""

LONGEST = 28
"""Characters of a name in a figure."""

_TICK = 0.065
"""Inches of a letter of a tick's label."""


def requested_values(frame: pd.DataFrame) -> list[float]:
    """The values requested of the initializer, ascending."""
    return sorted(float(value) for value in frame[VALUE].dropna().unique())


def set_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with drawn networks of which nothing was requested at one place, called none, behind all that were.

    Their measured radii are left as they are where no other network is drawn.
    """
    apart = _has_measured_radius(frame)
    values = requested_values(frame[~apart])
    if not apart.any() or not values:
        return frame
    step = (values[-1] - values[0]) / max(1, len(values) - 1) or 1.0
    target = frame["initializer_target"].mask(apart, UNREQUESTED)
    return frame.assign(**{VALUE: frame[VALUE].mask(apart, values[-1] + step), "initializer_target": target})


def is_apart(frame: pd.DataFrame) -> pd.Series:
    """The rows that `set_apart` has set apart."""
    return frame["initializer_target"].eq(UNREQUESTED).fillna(False).astype(bool)


def _has_measured_radius(frame: pd.DataFrame) -> pd.Series:
    is_measured = frame["initializer_target"].eq(MEASURED_RADIUS).fillna(False).astype(bool)
    return is_measured & frame[LABEL].isna() if LABEL in frame else is_measured


def forget_measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without the measured radii of drawn networks for which nothing was requested.

    Each cell without W has a radius of its own, by which no other network can be compared.
    """
    return frame.assign(**{VALUE: frame[VALUE].mask(_has_measured_radius(frame))})


def value_colours(frame: pd.DataFrame) -> dict[float, str]:
    """A colour for each requested value: about 1 as its centre, or for files as a few kinds or a long sequence."""
    shown = requested_values(frame)
    if not network_labels(frame):
        apart = dict.fromkeys(requested_values(frame[is_apart(frame)]), style.NEUTRAL)
        return style.colours([value for value in shown if value not in apart]) | apart
    many = len(shown) > len(style.CATEGORIES)
    return dict(zip(shown, style.sequence_colours(len(shown)) if many else style.CATEGORIES, strict=False))


def value_names(frame: pd.DataFrame) -> dict[float, str]:
    """A text for each requested value: a number, the name of a file, or "late (0.95)" for a file beside drawn ones."""
    labels = network_labels(frame)
    if labels:
        return _shorten_labels(labels)
    texts = {value: f"{value:g}" for value in requested_values(frame)}
    texts |= dict.fromkeys(requested_values(frame[is_apart(frame)]), "none")
    return texts | {value: f"{name} ({texts[value]})" for value, name in file_names(frame).items()}


def file_names(frame: pd.DataFrame) -> dict[float, str]:
    """The names of networks from files by their measured radius, where drawn networks stand beside them."""
    if has_files(frame) or not value_names_file(frame):
        return {}
    named = frame[[VALUE, LABEL]].dropna().drop_duplicates()
    return _shorten_labels({float(value): str(label) for value, label in named.itertuples(index=False)})


def _shorten_labels(labels: dict[float, str]) -> dict[float, str]:
    short = {value: shorten_label(label) for value, label in labels.items()}
    alike = Counter(short.values())
    chosen = {value: text if alike[text] == 1 else labels[value] for value, text in short.items()}
    return {value: style.escape_text(label) for value, label in chosen.items()}


def shorten_label(label: str) -> str:
    """Both ends of a long name."""
    half = LONGEST // 2
    return label if len(label) <= LONGEST else f"{label[: half - 1]}…{label[-half:]}"


def name_place_apart(axes: Axes, rows: pd.DataFrame) -> None:
    """The word none at the place of networks that are set apart, and numbers at those of the others."""
    apart = is_apart(rows)
    if apart.any():
        drawn = requested_values(rows[~apart])
        numbers = [float(tick) for tick in axes.get_xticks() if drawn[0] <= tick <= drawn[-1]]
        axes.set_xticks([*numbers, *requested_values(rows[apart])], [*(f"{number:g}" for number in numbers), "none"])
        axes.minorticks_off()


def name_ticks(axes: Axes, frame: pd.DataFrame, width: float, shift: float = 0.0) -> None:
    """Names at the ticks of an axis of files; slanted where they do not fit side by side.

    Args:
        width: of the panel in inches.
        shift: from the value to its place on the axis.
    """
    labels = value_names(frame)
    fits = max(map(len, labels.values())) * _TICK < width / len(labels)
    look: dict[str, Any] = {} if fits else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks([place + shift for place in labels], list(labels.values()), **look)
    axes.minorticks_off()
