"""Results as text: lines while it runs, Markdown tables for the page."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.protocol import Spread
from benchmarks.rows import Row

WORDS = {None: "", True: "met", False: "not met"}


def line(row: Row) -> str:
    """One line of the printed table."""
    goal = f"goal {sign(row)} {number(row.goal)}: {WORDS[row.met]}" if row.goal is not None else ""
    error = "" if row.error is None else f"error {row.error:.0e}"
    parts = f"{row.workload:12} {row.case[:64]:64} {row.what[:34]:34} {spread(row.spread):>24} {row.unit:15}"
    return f"{parts} {error:12} {goal}".rstrip()


def sign(row: Row) -> str:
    return "≥" if row.more else "≤"


def spread(of: Spread) -> str:
    """Median and, where there was more than one round, the range."""
    if of.rounds == 1:
        return number(of.median)
    return f"{number(of.median)} ({number(of.least)}–{number(of.most)})"


def number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")


def markdown(rows: Sequence[Row]) -> str:
    """All rows with a unit of their own: goal and measured side by side."""
    head = "| what | measured | goal | | rounds | error |\n|---|---|---|---|---|---|\n"
    return head + "".join(map(markdown_line, rows))


def markdown_line(row: Row) -> str:
    goal = "" if row.goal is None else f"{sign(row)} {number(row.goal)}"
    error = "" if row.error is None else f"{row.error:.0e}"
    measured = f"{spread(row.spread)} {row.unit}"
    return f"| {row.case}: {row.what} | {measured} | {goal} | {WORDS[row.met]} | {row.spread.rounds} | {error} |\n"


def tally(rows: Sequence[Row]) -> str:
    """How many goals are met."""
    judged = [row.met for row in rows if row.met is not None]
    return f"{sum(judged)} of {len(judged)} goals are met" if judged else "nothing was judged"
