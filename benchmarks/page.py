"""The part of docs/performance.md between its marks, from the rows of one machine; the figures beside it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, kernels, report
from benchmarks.environment import KEEP
from benchmarks.peak import STEADY
from benchmarks.peers import MODULES
from benchmarks.record import Record
from benchmarks.rows import Row
from bpttlab.escapes import escape_line
from bpttlab.files import publish

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SECTIONS = {
    "gradient": "A gradient of an Elman network",
    "gated": "A gradient of gated cells",
    "other cells": "A gradient of two Elman layers, and of a cell with a kernel of its own",
    "products": "Spectral norms of the products of all lags of one t",
    "chosen lags": "Chosen lags of all t",
    "exponents": "All Lyapunov exponents by QR",
    "truncations": "All truncations from one pass",
    "one run": "One run in a process that is warm",
    "sweeps": "Sweeps, results stored, two workers",
    "startup": "Start-up",
    "memory": "Memory of one gradient",
    "limits": "What limits where",
    "choices": "What a choice costs",
    "dtype": "What float32 saves",
    "growth": "Growth",
    "training": "An update of a network that is trained",
}
PEAK_UNIT = "GFLOP/s"
SILENT = {"gradient", "gated", "growth"}
"""Their seconds are in the record and in the figures."""


def write(docs: Path, record: Record, name: str, template: Path | None = None) -> list[Path]:
    """Replaces what stands between the marks of a template, and draws the figures; the files that were written.

    The template is the page itself, as a rule.
    """
    page = docs / "performance.md"
    text = (template or page).read_text(encoding="utf-8")
    publish(page, between(text, measured(record, name)))
    return [page, *figures.write(docs / "figures", [row for rows in record.rows.values() for row in rows])]


def between(text: str, middle: str) -> str:
    """The text with what is between the marks replaced."""
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    return re.sub(pattern, lambda _: f"{BEGIN}\n{middle}\n{END}", text, flags=re.DOTALL)


def measured(record: Record, name: str) -> str:
    """Every workload that was measured: under what circumstances, and its table."""
    judged = [row for rows in record.rows.values() for row in rows]
    parts = [*warn_of_forced(record), describe_machine(record, name), describe_environment(record)]
    parts += [describe_libraries(record), f"**{report.tally(judged)}.**"]
    for workload, title in SECTIONS.items():
        rows = [row for row in record.rows.get(workload, []) if shown(row)]
        if rows:
            said = fill(" ".join([when(record.measured[workload]), *warn_of_disturbance(rows)]))
            parts.append(f"### {title}\n\n{said}\n\n{report.markdown(rows)}".rstrip())
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
        f"{machine['cpu']}, {machine['processors']} processors, {machine['system']}. {versions}. "
        f"Every row, seconds of every contender among them, is in `{name}`."
    )
    return fill(sentence)


def fill(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def warn_of_forced(record: Record) -> list[str]:
    """The first line of a record whose user kept variables that force kernels."""
    kept = record.machine["environment"]["kept"]
    if not kept:
        return []
    variables = list_variables(kept)
    return [
        fill(
            f"**Kernels were forced.** The environment had {variables}, and it was kept (`{KEEP}`). The libraries "
            f"did not choose their kernels for this processor, so these times say nothing about it."
        )
    ]


def warn_of_disturbance(rows: Sequence[Row]) -> list[str]:
    """A sentence for each dtype whose peak was not the same for all shapes: the processor had other work meanwhile."""
    found = []
    for dtype in ("float64", "float32"):
        peaks = [row.spread.most for row in rows if row.unit == PEAK_UNIT and f" {dtype} " in row.case]
        if peaks and min(peaks) < STEADY * max(peaks):
            found.append(
                f"**Disturbed:** the peak of {dtype} was {report.number(min(peaks))} to {report.number(max(peaks))} "
                f"{PEAK_UNIT}, so fractions of it are not reliable."
            )
    return found


def describe_environment(record: Record) -> str:
    """Which variables were unset and which were set."""
    environment = record.machine["environment"]
    unset = {name: value for one in record.measured.values() for name, value in one.get("unset", {}).items()}
    sentences = [f"Unset for the measurement, because they force kernels: {list_variables(unset)}."] if unset else []
    if not unset and not environment["kept"]:
        sentences.append("No variable of the environment forced kernels.")
    if environment["set"]:
        sentences.append(f"Set: {list_variables(environment['set'])}.")
    return fill(" ".join(sentences))


def list_variables(variables: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}={escape_line(value)[:100].replace('`', '?')}`" for name, value in variables.items())


def describe_libraries(record: Record) -> str:
    """A list of every BLAS that was loaded."""
    return "\n".join(
        ["Libraries for linear algebra, with the kernel that each used:", ""]
        + [f"- {kernels.describe(one)}" for one in record.machine["blas"]]
    )


def when(circumstances: dict[str, Any]) -> str:
    return (
        f"Measured {circumstances['date']} in {circumstances['seconds']:.0f} s; the load was "
        f"{circumstances['load_before']} before it began."
    )
