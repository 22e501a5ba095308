"""The headline of a study: do products of Jacobians vanish or explode, how fast, and after how many steps?

One row per sweep point of the longest sequence: the asymptotic rate with its interval, the regime, and the horizon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bpttlab.store.columns import UPDATE
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.printing import VALUE as RADIUS
from bpttlab.tables.printing import Sheet, fill, format_table, print_grid
from bpttlab.tables.regimes import (
    DIVERGED,
    FAILED,
    NO_INTERVAL,
    OF_NETWORK,
    describe_regimes,
    describe_shortage,
    describe_thresholds,
)
from bpttlab.tables.updates import choose_updates
from bpttlab.tables.writing import NA, describe_interval, describe_value, key_names

LINES = 10
"""The most points that have a line each; more are shown one line per radius, side by side."""

_BESIDE = 4
"""The most points side by side."""

LEGENDS = {
    "words": "cells: asymptotic rate (nat/step) [95 %], regime, horizon (lag)",
    "marks": "cells: asymptotic rate (nat/step) [95 %], regime, horizon (lag)",
    "bare": "cells: asymptotic rate (nat/step), regime, horizon (lag); intervals: table=growth",
}
"""What a cell holds; the first style that fits the terminal is taken. With marks a regime is its first letter."""

_WORD = re.compile(r"\b(vanishing|exploding|critical|undecided|mixed|diverged|failed)\b")


@takes_frames
def headline(growth: pd.DataFrame) -> pd.DataFrame:
    """The rows of the longest sequence, with the columns of the question.

    `horizon` is `growing_horizon` where products grow over the sequence, else `vanishing_horizon`; NA where it is not
    within the sequence.

    Args:
        growth: the summary `tables.growth`.
    """
    longest = growth[growth["sequence_length"] == growth["sequence_length"].max()].reset_index(drop=True)
    longest = choose_updates(longest)
    vanishing = longest["vanishing_horizon"].mask(longest["vanishing_horizon"] >= longest["sequence_length"])
    horizon = longest["growing_horizon"].where(longest["log_growth"] > 0, vanishing)
    names = [*key_names(growth), "networks", "growth_rate", "growth_rate_low", "growth_rate_high"]
    found = longest[[*names, "regime"]].assign(horizon=pd.to_numeric(horizon).astype("Float64"))
    found = found.assign(regimes_of_networks=longest["regimes_of_networks"])
    number = growth[UPDATE].nunique() if UPDATE in growth else 0
    found.attrs = {**growth.attrs, LENGTHS: growth["sequence_length"].nunique(), UPDATES: number}
    return found


LENGTHS = "sequence_lengths"
"""Key of the headline's attrs: the number of sequence lengths that growth has."""

UPDATES = "updates"
"""Key of its attrs: the number of updates that growth has."""


def describe_length(table: pd.DataFrame) -> list[str]:
    """That the headline is about one of several lengths, and some of the updates."""
    number, updates = table.attrs.get(LENGTHS, 1), table.attrs.get(UPDATES, 0)
    longest = f"T = {table['sequence_length'].max()} only, the longest of {number} lengths (all of them: table=growth)"
    shown = table[UPDATE].nunique() if UPDATE in table else 0
    some = f"{shown} of {updates} updates (all of them: table=updates; before and after: table=paired)"
    return [*([longest] if number > 1 else []), *([some] if shown < updates else [])]


def describe_headline(table: pd.DataFrame) -> list[str]:
    """The caption of the summary."""
    return [*describe_length(table), *describe_regimes(table)]


@takes_frames
def format_headline(table: pd.DataFrame, width: int = 100) -> str:
    """The headline for a terminal of `width` columns."""
    beside = [name for name in key_names(table) if table[name].nunique(dropna=False) > 1 and name != RADIUS]
    points = table[beside].drop_duplicates() if beside else table.iloc[:0]
    fits = 0 < len(points) <= _BESIDE and not table.duplicated([RADIUS, *beside]).any()
    if len(table) <= LINES or not fits:
        return format_table(table, width, rows=2 * LINES, whole=False, caption=describe_headline(table))
    caption = [*describe_length(table), *describe_shortage(table), *describe_thresholds(table)]
    if table["regime"].eq(NO_INTERVAL).any():
        caption = [*caption, f"without an interval: the regime of every network, or mixed; {OF_NETWORK}"]
    if table["regime"].isin([DIVERGED, FAILED]).any():
        caption = [*caption, "diverged, failed: so did every network"]
    return _format_by_radius(table, beside, width, caption)


def _format_by_radius(table: pd.DataFrame, beside: list[str], width: int, said: Sequence[str]) -> str:
    """One line per radius, with as much in a cell as there is room for."""
    sheet = Sheet.of(table)
    radii, points = sheet.cells[RADIUS], list(zip(*(sheet.cells[name] for name in beside), strict=True))
    caption = sheet.fold_constants()
    texts = {
        style: pivot(
            sheet.titles[RADIUS], radii, points, [describe_cell(row, style) for row in table.to_dict("records")]
        )
        for style in LEGENDS
    }
    fitting = [style for style in LEGENDS if max(map(len, texts[style].splitlines())) <= width]
    style = [*fitting, "bare"][0]
    if style == "marks":
        said = [_WORD.sub(lambda word: f"{word[0][0]}({word[0][1:]})", sentence) for sentence in said]
    first = "; ".join([*caption, LEGENDS[style]])
    opening = [first] if len(first) <= width else [*caption, LEGENDS[style]]
    return "\n".join([*fill([*opening, *said], width), texts[style], ""])


def pivot(title: str, radii: Sequence[str], points: Sequence[tuple[str, ...]], texts: Sequence[str]) -> str:
    """Texts with a row for each radius and a column for each point."""
    cells = dict(zip(zip(radii, points, strict=True), texts, strict=True))
    columns = list(dict.fromkeys(points))
    rows = [[radius, *(cells.get((radius, point), NA) for point in columns)] for radius in dict.fromkeys(radii)]
    return print_grid([[title, *map(" ".join, columns)], *rows], [True, *[False] * len(columns)])


def describe_cell(row: Mapping[Any, Any], style: str) -> str:
    """What is known of one point: -0.693 [-0.702, -0.684] vanishing 2."""
    interval = describe_interval(row["growth_rate"], row["growth_rate_low"], row["growth_rate_high"])
    rate = describe_value(row["growth_rate"]) if style == "bare" else interval
    return f"{rate} {_describe_regime(row, style)} {describe_value(row['horizon'])}"


def _describe_regime(row: Mapping[Any, Any], style: str) -> str:
    """The regime of a point; without an interval over networks that of every network, or "mixed" where they differ."""
    word = str(row["regime"])
    if word == NO_INTERVAL:
        _, *names = str(row["regimes_of_networks"]).split(" ", 1)
        word = "mixed" if "," in names[0] else names[0]
    return word[0] if style == "marks" else word
