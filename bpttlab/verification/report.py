"""The results of `verify`, for readers and for programs: the terminal, CSV, Markdown and one page of HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bpttlab.claims.multiplicity import describe_family, family_of
from bpttlab.escapes import escape_markdown
from bpttlab.files import publish
from bpttlab.numerics.verdicts import HOLDS
from bpttlab.store.provenance import surroundings
from bpttlab.tables import writing
from bpttlab.verification.check import TOPICS

_COLUMNS = ("verdict", "kind", "what", "expected", "measured", "tolerance", "seconds", "source")

STYLE = """\
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% }
th, td { padding: .25em .6em; text-align: left; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr.fails { background: #fbd5d5 } tr.undecided { background: #fdf0c8 }
"""


def format_checks(frame: pd.DataFrame) -> pd.DataFrame:
    """The checks as text; a number that was estimated from draws has its interval beside it."""
    bounds = zip(frame["measured"], frame["low"], frame["high"], strict=True)
    measured = [number(value) + ("" if pd.isna(low) else f" [{low:.4g}, {high:.4g}]") for value, low, high in bounds]
    return pd.DataFrame(
        {
            "verdict": frame["verdict"],
            "kind": frame["kind"],
            "what": frame["what"],
            "expected": [number(value) for value in frame["expected"]],
            "measured": measured,
            "tolerance": [f"{value:.2g}" for value in frame["tolerance"]],
            "seconds": [f"{value:.2f}" for value in frame["seconds"]],
            "source": frame["source"],
        },
        columns=list(_COLUMNS),
    )


def number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def text(frame: pd.DataFrame) -> str:
    """A plain table, a line for each check."""
    cells = [list(_COLUMNS), *format_checks(frame).to_numpy().tolist()]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def topic_text(topic: str, frame: pd.DataFrame, verbose: bool) -> str:
    """A line for a topic, and below it a table of the checks that do not hold, or with `verbose` of all."""
    shown = frame if verbose else frame[frame["verdict"] != HOLDS]
    return f"{topic}: {summary(frame)}\n" + (f"{text(shown)}\n" if len(shown) else "")


def summary(frame: pd.DataFrame) -> str:
    """135 of 137 checks hold, 1 fails, 1 undecided."""
    counts = frame["verdict"].value_counts()
    others = "".join(f", {count} {verdict}" for verdict, count in counts.items() if verdict != HOLDS)
    return f"{counts.get(HOLDS, 0)} of {len(frame)} checks hold{others}"


def describe_chance_failures(frame: pd.DataFrame) -> str:
    """The number of claims of experiments that fail by chance, if there are claims with intervals; else empty."""
    family = family_of(frame)
    return describe_family(family) if family.claims else ""


def surroundings_line() -> str:
    """The versions and the machine of the checks."""
    found = surroundings()
    parts = [f"{name} {found[name]}" for name in ("bpttlab", "numpy", "scipy", "python", "cpu")]
    return ", ".join([*parts, f"commit {found['git_commit']}" + (" with changes" if found["git_dirty"] else "")])


def stem(topics: Sequence[str], quick: bool, whole: bool = True) -> str:
    """checks, checks-quick, checks-spectra, checks-interrupted, ...: no run replaces the files of another kind."""
    chosen = [] if set(topics) == set(TOPICS) else list(topics)
    return "-".join(["checks", *([] if whole else ["interrupted"]), *(["quick"] if quick else []), *chosen])


def write_report(
    frame: pd.DataFrame, folder: Path, topics: Sequence[str], quick: bool, whole: bool = True
) -> list[Path]:
    """The same checks as .csv (every digit), .md and .html; returns the paths.

    Args:
        whole: whether the checks were not interrupted.

    Raises StoreError naming the file that cannot be written.
    """
    title = f"bpttlab verify{' --quick' if quick else ''}{'' if whole else ', interrupted'}: {summary(frame)}"
    texts = {"csv": writing.csv(frame), "md": _markdown(frame, title), "html": page(frame, title)}
    return [publish(folder / f"{stem(topics, quick, whole)}.{ending}", body) for ending, body in texts.items()]


def by_topic(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """In the order in which they were performed."""
    return [(str(topic), part) for topic, part in frame.groupby("topic", sort=False)]


def _markdown(frame: pd.DataFrame, title: str) -> str:
    """A table for each topic."""
    parts = [
        f"## {escape_markdown(topic)}\n\n{writing.markdown(format_checks(part))}" for topic, part in by_topic(frame)
    ]
    lines = [line for line in (surroundings_line(), describe_chance_failures(frame)) if line]
    return "\n".join([f"# {escape_markdown(title)}\n", *(f"{escape_markdown(line)}\n" for line in lines), *parts])


def page(frame: pd.DataFrame, title: str) -> str:
    """One page of HTML without other files."""
    tables = "\n".join(
        f"<h2>{html.escape(topic)}</h2>\n{html_table(format_checks(part))}" for topic, part in by_topic(frame)
    )
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>\n{STYLE}</style>'
    lines = [line for line in (surroundings_line(), describe_chance_failures(frame)) if line]
    above = "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
    body = f"<h1>{html.escape(title)}</h1>\n{above}\n{tables}"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def html_table(cells: pd.DataFrame) -> str:
    """Numbers to the right; a row that does not hold in colour."""
    numbers = {"expected", "measured", "tolerance", "seconds"}
    heading = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = []
    for row in cells.to_dict("records"):
        fields = [
            f"<td{' class=number' if name in numbers else ''}>{html.escape(str(row[name]))}</td>" for name in _COLUMNS
        ]
        rows.append(f'<tr class="{row["verdict"]}">{"".join(fields)}</tr>')
    return f"<table>\n<tr>{heading}</tr>\n" + "\n".join(rows) + "\n</table>"
