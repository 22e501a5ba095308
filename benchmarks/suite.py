"""The command line: measure, say, and write down.

python -m benchmarks                     all of it, judged; writes the record, the page and its figures
python -m benchmarks --only gradient     one workload or more, which replaces its part of the record
python -m benchmarks --quick             small sizes, nothing judged, nothing written
python -m benchmarks --page FILE.json    the page again, from a record
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, page, record, report
from benchmarks.agreement import Disagreement
from benchmarks.engines import engines
from benchmarks.peers import missing, peers
from benchmarks.processes import CHECKOUT, Failed
from benchmarks.rows import Row, Settings
from benchmarks.workloads import WORKLOADS


def main(words: Sequence[str] | None = None) -> int:
    """0 where all contenders agree and every command works; goals that are not met are said, and are no failure."""
    requested = parser().parse_args(words)
    if requested.page:
        return rewritten(requested.page)
    announce()
    names = requested.only or list(WORKLOADS)
    try:
        return tried(names) if requested.quick else recorded(names)
    except (Disagreement, Failed) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks; see benchmarks/README.md.")
    own.add_argument("--quick", action="store_true", help="small sizes; nothing judged, nothing written")
    own.add_argument("--only", nargs="+", choices=list(WORKLOADS), help="these workloads")
    own.add_argument("--page", type=Path, metavar="FILE", help="docs/performance.md again, from a record")
    return own


def announce() -> None:
    """Who takes part, and who does not."""
    print(f"engines: {', '.join(engines())}; peers: {', '.join(peers()) or 'none'}")
    for name in missing():
        print(f"{name} is not installed: its ratios are left out (pip install -e '.[bench]')")


def tried(names: Sequence[str]) -> int:
    """Small sizes."""
    rows = [row for name in names for row in measured(name, Settings(quick=True))]
    print(report.tally(rows))
    return 0


def recorded(names: Sequence[str]) -> int:
    """Whole sizes, written down after every workload."""
    described = machine.described()
    path = CHECKOUT / record.FOLDER / f"{machine.slug(described['cpu'])}.json"
    found = record.of(described, path)
    for name in names:
        circumstances, begun = machine.circumstances(), time.perf_counter()
        rows = measured(name, Settings())
        found.replace(name, circumstances | {"seconds": round(time.perf_counter() - begun, 1)}, rows)
        found.write(path)
        print(report.tally(rows))
    return rewritten(path)


def measured(name: str, settings: Settings) -> list[Row]:
    """Every row of a workload, printed as it is found."""
    rows = []
    for row in WORKLOADS[name](settings):
        print(report.line(row), flush=True)
        rows.append(row)
    return rows


def rewritten(path: Path) -> int:
    """The page and its figures from a record."""
    for written in page.write(CHECKOUT / "docs", record.read(path), str(record.FOLDER / path.name)):
        print(f"written: {written.relative_to(CHECKOUT)}")
    return 0
