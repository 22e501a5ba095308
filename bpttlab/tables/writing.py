"""Summaries as text: CSV and Markdown; `latex.py` writes LaTeX.

A CSV file has all columns by name and every digit. Print rounds to four significant digits, joins a value with its
interval and puts the unit in the header. Keys that rounding would make equal have every digit. The same frame gives the
same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.escapes import escape_csv, escape_line, escape_markdown
from bpttlab.tables.columns import FEW, header, header_with_interval, infinite_word, without_interval
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import network_labels

_NUMBER = re.compile(r"(-?)(?:(\d+(?:\.\d+)?)(?:e([+-]\d+))?|inf)")
_SPACES = re.compile(r"[\t\n\v\f\r]+")
NA = "–"
_ROUNDING = 1e-12  # print shows less as 0; no summary has a unit in which it could matter
REQUESTED_OF = "requested_of"
"""Key of a frame's attrs: the quantity that all rows of `initializer_requested` state, if no column says so."""

MISSING = {"truncation": "full"}  # where NA has a word


@takes_frames
def csv(frame: pd.DataFrame) -> str:
    """Comma-separated, columns by name, floats with every digit, -inf as it is, NA empty.

    A text that a spreadsheet would run as a formula has an apostrophe before it (`escapes.escape_csv`).
    """
    texts = [str(name) for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    escaped = frame.assign(**{name: frame[name].astype(object).map(_csv_cell) for name in texts})
    return escaped.rename(columns=_csv_cell).to_csv(index=False, lineterminator="\n")


def _csv_cell(value: Any) -> Any:
    return escape_csv(value) if isinstance(value, str) else value


@takes_frames
def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table, numbers aligned right."""
    shown = present(frame)
    rule = ["---:" if right else ":---" for right in is_numeric(frame)]
    rows = [[escape_markdown(cell) for cell in row] for row in _rows(shown)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]]) + "\n"


@takes_frames
def present(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as text: headers with units, values rounded, each value with its interval in one column."""
    shown = {}
    names = shown_names(frame)
    keys = key_names(frame)
    for name in names:
        if not has_interval(frame, name):
            texts = _format_distinct(frame[name]) if name in keys else [describe_value(value) for value in frame[name]]
            pairs = zip(frame[name], texts, strict=True)
            shown[title_of(frame, name)] = [
                MISSING.get(name, NA) if _is_missing(value) else text for value, text in pairs
            ]
            continue
        rows = frame[[name, f"{name}_low", f"{name}_high"]].to_dict("records")
        shown[header_with_interval(name)] = [describe_interval_of(row, name, without_interval(name)) for row in rows]
    return pd.DataFrame(shown, dtype=object)


def title_of(frame: pd.DataFrame, name: str) -> str:
    """The heading of a column; of the value requested the quantity, if the frame has no column for it."""
    requested = frame.attrs.get(REQUESTED_OF) if name == "initializer_requested" else None
    return str(requested) if requested else header(name)


def shown_names(frame: pd.DataFrame) -> list[str]:
    """The columns that are shown as such: all but the ends of intervals, and of networks from files how W is drawn."""
    undrawn = ("initializer", "initializer_target", "initializer_requested") if network_labels(frame) else ()
    return [name for name in whole_names(frame) if name not in undrawn]


def whole_names(frame: pd.DataFrame) -> list[str]:
    """The columns without the ends of intervals."""
    ends = {f"{name}_{end}" for name in frame for end in ("low", "high") if has_interval(frame, str(name))}
    return [str(name) for name in frame if name not in ends]


def key_names(frame: pd.DataFrame) -> list[str]:
    """The columns that name the row: those before `networks`."""
    names = whole_names(frame)
    return names[: names.index("networks")] if "networks" in names else []


def has_interval(frame: pd.DataFrame, name: str) -> bool:
    return f"{name}_low" in frame and f"{name}_high" in frame


def _is_missing(value: Any) -> bool:
    return bool(pd.isna(value))


def describe_value(value: Any) -> str:
    """A value in print: four significant digits, on one line."""
    if _is_missing(value):
        return NA
    if isinstance(value, float | np.floating):
        return f"{value:.4g}" if abs(float(value)) > _ROUNDING else "0"
    return escape_line(_SPACES.sub(" ", str(value)))


def _format_distinct(values: Iterable[Any]) -> list[str]:
    """Values as text; those that rounding would make alike have every digit: 0.3 and 0.30000000000000004."""
    values = list(values)
    alike = Counter(describe_value(value) for value in {value for value in values if not _is_missing(value)})
    texts = [describe_value(value) for value in values]
    return [
        repr(float(value)) if alike[text] > 1 and isinstance(value, float | np.floating) else text
        for value, text in zip(values, texts, strict=True)
    ]


def describe_interval_of(row: Mapping[Any, Any], name: str, none: str = "") -> str:
    """A value of a row of a summary with its interval: `describe_interval`, or integers: 5 [3, none]."""
    ends, word = (row[name], row[f"{name}_low"], row[f"{name}_high"]), infinite_word(name)
    if not word:
        return describe_interval(*ends, none=none)
    value, low, high = (word if not _is_missing(end) and np.isinf(end) else describe_value(end) for end in ends)
    return f"{value} {none}".rstrip() if NA in (low, high) else f"{value} [{low}, {high}]"


def describe_interval(value: Any, low: Any, high: Any, none: str = "") -> str:
    """A value and its interval to the digits that the interval's width leaves: -0.050 [-0.058, -0.042].

    none: what follows a value that has no interval.
    """
    if _is_missing(low) or _is_missing(high):
        return NA if _is_missing(value) else f"{describe_value(value)} {none}".rstrip()
    half = (high - low) / 2 if np.isfinite([low, high]).all() else np.inf
    if _is_missing(value) or not 1e-6 < half < 1e6:
        return f"{NA if _is_missing(value) else describe_value(value)} [{describe_value(low)}, {describe_value(high)}]"
    places = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{value + 0.0:.{places}f} [{low + 0.0:.{places}f}, {high + 0.0:.{places}f}]"


def is_numeric(frame: pd.DataFrame) -> list[bool]:
    """Which shown columns hold numbers."""
    columns = [frame[name] for name in shown_names(frame)]
    return [pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) for column in columns]


def _rows(shown: pd.DataFrame) -> list[list[str]]:
    return [list(shown), *shown.to_numpy().tolist()]


def format_tex_numbers(text: str) -> str:
    """A cell of numbers with each set as mathematics: -0.1 [-inf, 1e-05] with true minus signs and powers of ten."""
    shown = _NUMBER.sub(_tex_number, text).replace(NA, "--")
    return shown.replace(_NUMBER.sub(_tex_number, FEW), f"${FEW}$")


def _tex_number(match: re.Match[str]) -> str:
    sign, digits, exponent = match.groups()
    power = rf" \times 10^{{{int(exponent)}}}" if exponent else ""
    return "$" + sign + (digits or r"\infty") + power + "$"
