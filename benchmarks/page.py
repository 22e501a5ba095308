"""The part of docs/performance.md between its marks, from the rows of one machine; the figures beside it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from benchmarks import figures, report
from benchmarks.peers import MODULES
from benchmarks.record import Record
from benchmarks.rows import Row
from bpttlab.files import publish

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SECTIONS = {
    "gradient": "A gradient of an Elman network",
    "gated": "A gradient of gated cells",
    "products": "Spectral norms of the products of all lags of one t",
    "chosen lags": "Chosen lags of all t",
    "truncations": "All truncations from one pass",
    "sweeps": "Sweeps, results stored, two workers",
    "startup": "Start-up",
    "memory": "Memory of one gradient",
    "limits": "What limits where",
    "choices": "What a choice costs",
    "dtype": "What float32 saves",
    "growth": "Growth",
}
SILENT = {"gradient", "gated", "growth"}
"""Their seconds are in the record and in the figures."""


def write(docs: Path, record: Record, name: str) -> list[Path]:
    """Replaces what stands between the marks, and draws the figures; the files that were written."""
    page = docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    publish(page, between(text, measured(record, name)))
    return [page, *figures.write(docs / "figures", [row for rows in record.rows.values() for row in rows])]


def between(text: str, middle: str) -> str:
    """The text with what is between the marks replaced."""
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    return re.sub(pattern, lambda _: f"{BEGIN}\n{middle}\n{END}", text, flags=re.DOTALL)


def measured(record: Record, name: str) -> str:
    """Every workload that was measured: under what circumstances, and its table."""
    judged = [row for rows in record.rows.values() for row in rows]
    parts = [describe_machine(record, name), f"**{report.tally(judged)}.**"]
    for workload, title in SECTIONS.items():
        rows = [row for row in record.rows.get(workload, []) if shown(row)]
        if rows:
            parts.append(f"### {title}\n\n{when(record.measured[workload])}\n\n{report.markdown(rows)}".rstrip())
    return "\n\n".join(parts)


def shown(row: Row) -> bool:
    """Of a gradient: ratios, and the fraction of the peak of this package's engines."""
    if row.unit == "s":
        return row.workload not in SILENT
    return row.unit != "of GEMM peak" or row.what not in MODULES


def describe_machine(record: Record, name: str) -> str:
    """The machine and its software, in lines of at most 120 characters."""
    machine = record.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    sentence = (
        f"{machine['cpu']}, {machine['processors']} processors, {machine['system']}, {machine['blas']}. {versions}. "
        f"Every row, seconds of every contender among them, is in `{name}`."
    )
    return textwrap.fill(sentence, 120, break_long_words=False, break_on_hyphens=False)


def when(circumstances: dict[str, Any]) -> str:
    return (
        f"Measured {circumstances['date']} in {circumstances['seconds']:.0f} s; the load was "
        f"{circumstances['load_before']} before it began."
    )
