"""Summaries as LaTeX for a column of a paper (3.4 inches): what all rows share is said once, and no hash is printed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from bpttlab.escapes import escape_latex, escape_line
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.printing import FIELDS, Sheet
from bpttlab.tables.writing import NA, format_tex_numbers, is_numeric, key_names, shown_names

_WIDTH = 56
"""Characters that fit a column in footnotesize."""

_HASH = re.compile(r"[0-9a-f]{32,}(\+[0-9a-f]{32,})*")
_DIGITS = 8  # of a hash that alone distinguishes rows


@takes_frames
def latex(frame: pd.DataFrame) -> str:
    """LaTeX tabulars with the rules of the package booktabs, in footnotesize, one below the other if they are wide.

    Columns that are the same in all rows are named in comments above, for the caption. Columns of hashes are left out,
    or short where nothing else distinguishes two rows.
    """
    sheet = Sheet.of(leave_out_hashes(frame))
    shared = [*sheet.fold_constants(), *sheet.fold_missing_intervals()] if len(frame) else []
    sheet.join_scheme_fields()
    notes = sheet.fold_long_texts() if len(frame) else []
    groups = sheet.groups(_WIDTH) if sheet.cells else []
    tabulars = [_write_tabular(sheet, group) for group in groups if group]
    below = [f"% {escape_line(note)}" for note in notes]
    above = ["% \\usepackage{booktabs}", *(f"% {escape_line(sentence)}" for sentence in shared)]
    body = "\n\n\\medskip\n".join(tabulars)
    return "\n".join([*above, "{\\footnotesize\\setlength{\\tabcolsep}{3pt}", body, "}", *below]) + "\n"


def leave_out_hashes(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without its columns of hashes; one without which two rows have the same names has its first digits."""
    for name in [name for name in map(str, frame) if _is_hash(frame[name])]:
        keys = [key for key in key_names(frame) if key != name]
        is_needed = name in key_names(frame) and bool(frame.duplicated(keys).any() if keys else len(frame) > 1)
        short = frame[name].astype(object).str[:_DIGITS]
        frame = frame.assign(**{name: short}) if is_needed else frame.drop(columns=name)
    return frame


@takes_frames
def put_hashes_last(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its columns of hashes behind all others: a stored table as people read it."""
    hashes = [name for name in map(str, frame) if _is_hash(frame[name])]
    return frame[[*(name for name in map(str, frame) if name not in hashes), *hashes]]


def _is_hash(column: pd.Series) -> bool:
    values = column.dropna()
    return len(values) > 0 and all(isinstance(value, str) and _HASH.fullmatch(value) for value in values)


def _write_tabular(sheet: Sheet, names: Sequence[str]) -> str:
    """One group of columns, numbers to the right."""
    of_numbers = dict(zip(shown_names(sheet.frame), is_numeric(sheet.frame), strict=True))
    right = {name: of_numbers[name] and sheet.titles[name] != FIELDS for name in names}
    heading = " & ".join(_write_title(sheet.title_lines(name), right[name]) for name in names)
    cells = zip(*(sheet.cells[name] for name in names), strict=True)
    rows = [" & ".join(_write_cell(text, right[name]) for name, text in zip(names, row, strict=True)) for row in cells]
    sides = "".join("r" if right[name] else "l" for name in names)
    lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", heading + r" \\", r"\midrule"]
    return "\n".join([*lines, *(row + r" \\" for row in rows), r"\bottomrule", r"\end{tabular}"])


def _write_title(lines: Sequence[str], right: bool) -> str:
    """A title on as many lines as the terminal has."""
    escaped = [escape_latex(line) for line in lines]
    joined = r" \\ ".join(escaped)
    return joined if len(escaped) == 1 else rf"\shortstack[{'r' if right else 'l'}]{{{joined}}}"


def _write_cell(text: str, is_number: bool) -> str:
    return "--" if text == NA else format_tex_numbers(text) if is_number else escape_latex(text)
