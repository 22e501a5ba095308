"""Summaries for a terminal. A constant column, a long text and a column without values are each named once.

`tabulate` lays the cells out. Cells may hold any stored text: `writing.present` replaces control characters.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd
from tabulate import tabulate

from bpttlab.tables.columns import COLUMNS, COUNT, FEW
from bpttlab.tables.digests import PLUGIN_HASHES, short_column
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.writing import NA, has_interval, is_numeric, key_names, present, shown_names, title_of

LONG = 28
"""A cell with more characters becomes a note below the table, if it is a sentence and no list of counts."""

_NARROW = 12
"""A header is broken into lines of at most the width of the cells, or of this."""

_MOST_CONSTANTS = 10
"""Columns with one value that are named above a stored table, whose rows have the whole configuration beside them."""

_NAMED_FIRST = (
    "status",
    "task",
    "cell",
    "initializer",
    "spectral_radius",
    "sequence_length",
    "scheme",
    "truncation",
)

GAP = 2
"""Spaces between two columns."""

FIELDS = "scheme fields"
"""The title of all fields of schemes together."""

TARGET, VALUE = "initializer_target", "initializer_requested"
"""What is requested of an initializer, and its value."""


@takes_frames
def format_table(
    frame: pd.DataFrame, width: int = 100, rows: int | None = None, whole: bool = True, caption: Sequence[str] = ()
) -> str:
    """A table for a terminal of `width` columns, with a caption above and notes below.

    Args:
        frame: a summary, in the columns of `tables.columns`.
        rows: the most rows that are shown; None: all. The others are counted below.
        whole: whether columns that do not fit continue in a block below, beside the keys again; else they are named.
        caption: sentences that stand above the table, below what is said of constant columns.
    """
    if frame.empty:
        return "(no rows)\n"
    sheet = Sheet.of(frame)
    caption = [
        *sheet.fold_constants(None if "networks" in frame else _MOST_CONSTANTS),
        *sheet.fold_missing_intervals(),
        *caption,
    ]
    sheet.join_scheme_fields()
    notes = sheet.fold_long_texts(rows)
    first, *others = sheet.groups(width)
    groups = [first, *(others if whole else [])]
    blocks = [sheet.lay_out(group, rows) for group in groups]
    notes = sheet.choose_notes(notes, {name for group in groups for name in group})
    left = [] if whole else [sheet.titles[name] for group in others for name in group if name not in first]
    hidden = len(frame) - min(len(frame), len(frame) if rows is None else rows)
    notes += [f"more columns: {', '.join(left)}"] if left else []
    notes += [f"... and {hidden} more {'row' if hidden == 1 else 'rows'}"] if hidden and first else []
    parts = ["\n".join(fill(caption, width)), "\n\n".join(blocks), "\n".join(fill(notes, width))]
    return "\n".join([*filter(None, parts), ""])


@takes_frames
def describe_shared(frame: pd.DataFrame, shown: pd.DataFrame) -> list[str]:
    """What all rows of a summary share of the columns that name a row and are not shown, and of the networks."""
    told = {*map(str, shown), *([TARGET] if VALUE in shown else [])}
    names = [name for name in [*key_names(frame), "networks"] if name in shown_names(frame) and name not in told]
    found = Sheet.of(frame[names]).fold_constants()[:1] if len(frame) and names else []
    if "networks" in names and frame["networks"].nunique() > 1:
        found.append(f"a row is of {frame['networks'].min()} to {frame['networks'].max()} networks")
    return found


def explain_shown(caption: Sequence[str], frame: pd.DataFrame, shown: pd.DataFrame) -> list[str]:
    """The sentences of a caption without those that begin with the title of a column that is not shown."""
    left_out = tuple(f"{shorten(str(name))}: " for name in frame if name not in shown)
    return [sentence for sentence in caption if not sentence.startswith(left_out)]


@dataclass
class Sheet:
    """The cells of a table as texts, by column, with a title for each column."""

    frame: pd.DataFrame
    cells: dict[str, list[str]]
    titles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Sheet:
        """All columns of a summary, as they are printed."""
        if PLUGIN_HASHES in frame:
            frame = frame.assign(**{PLUGIN_HASHES: short_column(frame[PLUGIN_HASHES])})
        texts, names = present(frame), shown_names(frame)
        cells = {name: texts.iloc[:, at].tolist() for at, name in enumerate(names)}
        return cls(frame, cells, {name: title_of(frame, name) for name in names})

    @property
    def keys(self) -> list[str]:
        """The columns that name the row, as far as they are not folded."""
        return [name for name in key_names(self.frame) if name in self.cells]

    def fold_constants(self, most: int | None = None) -> list[str]:
        """Removes columns with one text in all rows; the sentences that say so. What is measured remains in a lone row,
        and in rows that differ in their names alone.

        Args:
            most: the most columns that a sentence names, what was chosen first; the others are counted. None: all.
        """
        differ = [name for name, column in self.cells.items() if len(set(column)) > 1]
        keeps = len(self.frame) == 1 or (bool(differ) and set(differ) <= set(self.keys))
        same = {
            name: column[0]
            for name, column in self.cells.items()
            if name not in differ and (not keeps or self.names_or_counts(name))
        }
        for name in same:
            del self.cells[name]
        target = same.get(TARGET, NA)
        if target != NA and VALUE in self.titles:
            self.titles[VALUE] = same.pop(TARGET)
        zero = [shorten(name) for name in same if same[name] == "0" and is_count(name)]
        empty = [shorten(name) for name in same if same[name] == NA]
        rest = {name: text for name, text in same.items() if shorten(name) not in (*zero, *empty)}
        if most is not None and len(rest) > most:
            rest = {name: rest[name] for name in sorted(rest, key=lambda name: name not in _NAMED_FIRST)}
        texts = [f"{shorten(name) if is_count(name) else self.titles[name]} {text}" for name, text in rest.items()]
        lines = {"": texts, "no network counts as ": zero, "no row has a value of ": empty}
        return [f"{what}{_name_some(texts, most)}" for what, texts in lines.items() if texts]

    def names_or_counts(self, name: str) -> bool:
        """Whether a column names the row, counts networks, or has no value."""
        return name in key_names(self.frame) or is_count(name) or bool(self.frame[name].isna().all())

    def join_scheme_fields(self) -> None:
        """Puts the fields of schemes, of which each has few, into the first of their columns: "k1 2, draws 32"."""
        names = [name for name in self.keys if name.startswith("scheme_")]
        if len(names) < 2:
            return
        columns = [[(name.removeprefix("scheme_"), text) for text in self.cells[name]] for name in names]
        rows = zip(*columns, strict=True)
        joined = [", ".join(f"{name} {text}" for name, text in row if text != NA) or NA for row in rows]
        self.cells = {name: joined if name == names[0] else column for name, column in self.cells.items()
                      if name not in names[1:]}  # fmt: skip
        self.titles[names[0]] = FIELDS

    def fold_missing_intervals(self) -> list[str]:
        """What the intervals in the cells are; a column in which no cell has one is named once."""
        mark, kinds, none = f" [{FEW}]", dict[str, list[str]](), dict[str, list[str]]()
        for name in [name for name in self.cells if has_interval(self.frame, name)]:
            bare = [text.removesuffix(mark) for text in self.cells[name]]
            if any("[" in text for text in bare):
                kinds.setdefault(interval_of(name), []).append(shorten(name))
            elif bare != self.cells[name]:
                statistic = interval_of(name).split(" [")[0]
                none.setdefault(statistic, []).append(shorten(name))
                self.cells[name] = bare
        said = [f"{', '.join(columns)}: {kind}" for kind, columns in kinds.items()]
        return said + [f"{', '.join(columns)}: {what}, no interval ({FEW})" for what, columns in none.items()]

    def fold_long_texts(self, rows: int | None = None) -> list[str]:
        """Replaces long texts of the first rows by (a), (b), ...; the notes that hold them, each once."""
        marks: dict[str, str] = {}
        short = {*self.keys, *(name for name in self.cells if has_interval(self.frame, name)), "regimes_of_networks"}
        for name in [name for name in self.cells if name not in short]:
            if max(map(len, self.cells[name][:rows]), default=0) > LONG:
                self.cells[name] = self.cells[name][:rows]
                for text in filter(NA.__ne__, self.cells[name]):
                    marks.setdefault(text, f"({letters(len(marks))})")
                self.cells[name] = [marks.get(text, text) for text in self.cells[name]]
        return [f"{mark} {text}" for text, mark in marks.items()]

    def choose_notes(self, notes: Iterable[str], names: Collection[str]) -> list[str]:
        """The notes to which a cell of the named columns refers."""
        there = {text for name in names for text in self.cells[name]}
        return [note for note in notes if note.split(" ", 1)[0] in there]

    # ------------------------------------------------------------------ layout

    def groups(self, width: int) -> list[list[str]]:
        """The columns in groups that fit side by side, each with the keys first; none where only keys are left."""
        room = {name: max(map(len, [*self.title_lines(name), *self.cells[name]])) + GAP for name in self.cells}
        groups = [self.keys]
        for name in [name for name in self.cells if name not in self.keys]:
            if sum(room[one] for one in [*groups[-1], name]) - GAP > width and len(groups[-1]) > len(self.keys):
                groups.append(self.keys)
            groups[-1].append(name)
        return groups if self.cells else [[]]

    def lay_out(self, names: Sequence[str], rows: int | None = None) -> str:
        """One group of columns: titles of several lines, numbers to the right."""
        numeric = dict(zip(shown_names(self.frame), is_numeric(self.frame), strict=True))
        titles = ["\n".join(self.title_lines(name)) for name in names]
        cells = zip(*(self.cells[name][:rows] for name in names), strict=True)
        return print_grid([titles, *cells], [numeric[name] and self.titles[name] != FIELDS for name in names])

    def title_lines(self, name: str) -> list[str]:
        """A title as lines no longer than the cells, or than NARROW."""
        width = max(_NARROW, *map(len, self.cells[name]))
        return textwrap.wrap(self.titles[name], width, break_long_words=False)


def _name_some(texts: Sequence[str], most: int | None) -> str:
    """The texts with commas between; of more than so many the first ones, and how many are left out."""
    if most is None or len(texts) <= most:
        return ", ".join(texts)
    left = len(texts) - most
    return f"{', '.join(texts[:most])} and {left} more column{'s' * (left > 1)} (columns=NAME prints one)"


def print_grid(rows: Iterable[Sequence[str]], right: Sequence[bool]) -> str:
    """Rows of texts as columns side by side; `right` says which columns are aligned to the right."""
    sides = ["right" if side else "left" for side in right]
    text = tabulate(list(rows), tablefmt="plain", disable_numparse=True, colalign=sides) if sides else ""
    return "\n".join(line.rstrip() for line in text.splitlines())


def shorten(name: str) -> str:
    """The title of a column without its unit."""
    return COLUMNS[name].header if name in COLUMNS else name


def is_count(name: str) -> bool:
    """Whether a column counts networks."""
    return name in COLUMNS and COLUMNS[name].of == COUNT


def interval_of(name: str) -> str:
    """What the interval of a column is."""
    return COLUMNS[name].interval.shown if name in COLUMNS else "[low, high]"


def letters(number: int) -> str:
    """0: a, 25: z, 26: aa."""
    return (letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def fill(sentences: Iterable[str], width: int) -> list[str]:
    """Each sentence as lines of at most `width`."""
    return [line for sentence in sentences for line in textwrap.wrap(sentence, width, break_long_words=False)]
