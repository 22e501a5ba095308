"""Summaries for readers and for programs: the terminal, CSV, Markdown and LaTeX.

A CSV file has all columns by name and every digit. Print rounds to four significant digits, joins a value with its
interval and puts the unit in the header. Keys that rounding would make equal have every digit. The same frame gives the
same bytes.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.errors import StoreError
from bpttlab.tables.columns import FEW, header, header_with_interval, without_interval

_TEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # a line that begins with [ would be read as the spacing requested of the line break before it
    "]": "{]}",
}
_NUMBER = re.compile(r"(-?)(?:(\d+(?:\.\d+)?)(?:e([+-]\d+))?|inf)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
NA = "–"
ROUNDING = 1e-12  # print shows less as 0; no summary has a unit in which it could matter
MISSING = {"truncation": "full"}  # where NA has a word


def write(frame: pd.DataFrame, stem: str | os.PathLike[str]) -> list[Path]:
    """Write `stem`.csv, `stem`.md and `stem`.tex, each whole or not at all; the folder is made. Returns the paths.

    Raises StoreError naming the file that cannot be written.
    """
    forms: dict[str, Callable[[pd.DataFrame], str]] = {"csv": csv, "md": markdown, "tex": latex}
    return [publish(Path(f"{os.fspath(stem)}.{ending}"), form(frame)) for ending, form in forms.items()]


def csv(frame: pd.DataFrame) -> str:
    """Comma-separated, columns by name, floats with every digit, -inf as it is, NA empty."""
    return frame.to_csv(index=False, lineterminator="\n")


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table, numbers aligned right."""
    shown = present(frame)
    rule = ["---:" if right else ":---" for right in _numeric(frame)]
    rows = [[_escape_markdown(cell) for cell in row] for row in _rows(shown)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]]) + "\n"


def latex(frame: pd.DataFrame) -> str:
    """A LaTeX tabular with the rules of the package booktabs."""
    shown = present(frame)
    right = _numeric(frame)
    sides = "".join("r" if number else "l" for number in right)
    heading, *rows = _rows(shown)
    cells = [
        [_tex_numbers(cell) if number else _escape_tex(cell) for cell, number in zip(row, right, strict=True)]
        for row in rows
    ]
    lines = [" & ".join(row) + r" \\" for row in [[_escape_tex(cell) for cell in heading], *cells]]
    body = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join(["% \\usepackage{booktabs}", *body, r"\end{tabular}"]) + "\n"


def print_table(frame: pd.DataFrame, width: int = 100, rows: int | None = None) -> str:
    """A plain table for a terminal of `width` columns.

    Keys and counts that are the same in every row are said once above it; columns that do not fit continue in a block
    below, beside the keys (the columns before `networks`) again. With `rows`, only that many are shown and the rest
    counted.
    """
    if frame.empty:
        return "(no rows)\n"
    names, shown = _names(frame), present(frame)
    texts = dict(zip(names, map(str, shown), strict=True))
    keys = names[: names.index("networks")] if "networks" in names else names[:1]
    constant = [name for name in names if len(frame) > 1 and _same(frame, shown, texts, name, keys)]
    same = ", ".join(f"{texts[name]} {shown[texts[name]].iloc[0]}" for name in constant)
    cut, right = shown.head(len(shown) if rows is None else rows), dict(zip(names, _numeric(frame), strict=True))
    columns = {name: _padded(texts[name], cut[texts[name]], right[name]) for name in names if name not in constant}
    front = [name for name in keys if name in columns]
    blocks = _blocks([columns[name] for name in front], [columns[name] for name in columns if name not in front], width)
    notes = _wrapped(f"everywhere: {same}", width) if same else []
    left = [f"... and {len(shown) - len(cut)} more rows"] if len(cut) < len(shown) else []
    return "\n".join([*notes, "\n\n".join(blocks), *left]) + "\n"


def _same(frame: pd.DataFrame, shown: pd.DataFrame, texts: Mapping[str, str], name: str, keys: Sequence[str]) -> bool:
    """Whether a key or a count says the same in every row."""
    said_once = name in keys or pd.api.types.is_integer_dtype(frame[name])
    return said_once and shown[texts[name]].nunique() == 1


def present(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as text: headers with units, values rounded, each value with its interval in one column."""
    shown = {}
    names = _names(frame)
    keys = names[: names.index("networks")] if "networks" in names else []
    for name in names:
        if not _has_interval(frame, name):
            texts = _told_apart(frame[name]) if name in keys else [_shown(value) for value in frame[name]]
            pairs = zip(frame[name], texts, strict=True)
            shown[header(name)] = [MISSING.get(name, NA) if _missing(value) else text for value, text in pairs]
            continue
        bounds = zip(frame[name], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        shown[header_with_interval(name)] = [_with_interval(*values, without_interval(name)) for values in bounds]
    return pd.DataFrame(shown, dtype=object)


def _names(frame: pd.DataFrame) -> list[str]:
    """The columns that are shown as such: all but the ends of intervals."""
    ends = {f"{name}_{end}" for name in frame for end in ("low", "high") if _has_interval(frame, str(name))}
    return [str(name) for name in frame if name not in ends]


def _has_interval(frame: pd.DataFrame, name: str) -> bool:
    return f"{name}_low" in frame and f"{name}_high" in frame


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _shown(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.4g}" if abs(float(value)) > ROUNDING else "0"
    return _CONTROL.sub(" ", str(value))


def _told_apart(values: Iterable[Any]) -> list[str]:
    """Values as text; those that rounding would make alike have every digit: 0.3 and 0.30000000000000004."""
    values = list(values)
    alike = Counter(_shown(value) for value in {value for value in values if not _missing(value)})
    texts = [_shown(value) for value in values]
    return [
        repr(float(value)) if alike[text] > 1 and isinstance(value, float | np.floating) else text
        for value, text in zip(values, texts, strict=True)
    ]


def _with_interval(value: Any, low: Any, high: Any, none: str = "") -> str:
    """A value and its interval to the digits that the interval's width leaves: -0.050 [-0.058, -0.042].

    none: what follows a value that has no interval.
    """
    if _missing(low) or _missing(high):
        return NA if _missing(value) else f"{_shown(value)} {none}".rstrip()
    half = (high - low) / 2 if np.isfinite([low, high]).all() else np.inf
    if _missing(value) or not 1e-6 < half < 1e6:
        return f"{NA if _missing(value) else _shown(value)} [{_shown(low)}, {_shown(high)}]"
    places = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{value + 0.0:.{places}f} [{low + 0.0:.{places}f}, {high + 0.0:.{places}f}]"


def _numeric(frame: pd.DataFrame) -> list[bool]:
    """Which shown columns hold numbers."""
    columns = [frame[name] for name in _names(frame)]
    return [pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) for column in columns]


def _rows(shown: pd.DataFrame) -> list[list[str]]:
    return [list(shown), *shown.to_numpy().tolist()]


HEADING = 4  # lines at most


def _padded(name: str, cells: pd.Series, right: bool) -> list[str]:
    """A column as lines of one width, its heading broken into short lines at its foot."""
    heading = textwrap.wrap(name.replace(" %", "\0%"), max(12, max(map(len, cells))), break_long_words=False)
    heading = [line.replace("\0", " ") for line in heading]
    heading = [*[""] * (HEADING - len(heading)), *heading[: HEADING - 1], " ".join(heading[HEADING - 1 :])][-HEADING:]
    width = max(len(text) for text in [*heading, *cells])
    return [text.rjust(width) if right else text.ljust(width) for text in [*heading, *cells]]


def _blocks(front: Sequence[list[str]], columns: Sequence[list[str]], width: int) -> list[str]:
    """Columns side by side as far as they fit, the front ones at the head of every block."""
    taken = sum(len(column[0]) + 2 for column in front)
    blocks, used = [[*front]], taken
    for column in columns:
        if used + len(column[0]) > width and len(blocks[-1]) > len(front):
            blocks.append([*front])
            used = taken
        blocks[-1].append(column)
        used += len(column[0]) + 2
    return [_side_by_side(block) for block in blocks]


def _side_by_side(block: Sequence[list[str]]) -> str:
    lines = ["  ".join(cells).rstrip() for cells in zip(*block, strict=True)]
    return "\n".join([line for line in lines[:HEADING] if line] + lines[HEADING:])


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for part in text.split(", "):
        together = f"{lines[-1]}, {part}" if lines[-1] else part
        lines = [*lines[:-1], together] if len(together) < width else [*lines[:-1], f"{lines[-1]},", part]
    return lines


def _escape_markdown(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text)


def _escape_tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text).replace(NA, "--")


def _tex_numbers(text: str) -> str:
    """A cell of numbers with each set as mathematics: -0.1 [-inf, 1e-05] with true minus signs and powers of ten."""
    shown = _NUMBER.sub(_tex_number, text).replace(NA, "--")
    return shown.replace(_NUMBER.sub(_tex_number, FEW), f"${FEW}$")


def _tex_number(match: re.Match[str]) -> str:
    sign, digits, exponent = match.groups()
    power = rf" \times 10^{{{int(exponent)}}}" if exponent else ""
    return "$" + sign + (digits or r"\infty") + power + "$"


def publish(path: Path, text: str) -> Path:
    """Write the whole file under a hidden name, then give it its own; the folder is made.

    Raises StoreError naming the file that cannot be written.
    """
    hidden = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_text(text, encoding="utf-8", newline="\n")
        hidden.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    return path
