"""The command line: measure, say, and write down.

python -m benchmarks                     all of it, judged; writes the record, the page and its figures
python -m benchmarks --only gradient     one workload or more, which replaces its part of the record
python -m benchmarks --rounds 3          fewer rounds than seven, or more
python -m benchmarks --into FOLDER       record, page and figures in that folder, and none in the checkout
python -m benchmarks --keep-environment  with OPENBLAS_CORETYPE and the like as they are set; the page says so
python -m benchmarks --quick             small sizes, nothing judged, nothing written
python -m benchmarks --page FILE.json    the page again, from a record
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import environment, kernels, machine, page, record, report
from benchmarks.agreement import Disagreement
from benchmarks.engines import engines
from benchmarks.peers import missing, peers
from benchmarks.processes import CHECKOUT, Failed
from benchmarks.rows import Row, Settings
from benchmarks.workloads import WORKLOADS
from bpttlab.errors import LabError, nearest
from bpttlab.escapes import escape_line

MOST_ROUNDS = 1000


def main(words: Sequence[str] | None = None) -> int:
    """0 where all contenders agree and every command works; goals that are not met are said, and are no failure."""
    requested = parser().parse_args(words)
    begun = time.perf_counter()
    names, settings = requested.only or list(WORKLOADS), Settings(requested.quick, requested.rounds)
    try:
        if requested.page:
            return rewritten(requested.page, requested.into)
        announce()
        code = tried(names, settings) if requested.quick else recorded(names, settings, requested.into)
        print(f"took {(time.perf_counter() - begun) / 60:.1f} min")
        return code
    except (Disagreement, Failed, LabError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Benchmarks; see benchmarks/README.md.", allow_abbrev=False
    )
    own.add_argument("--quick", action="store_true", help="small sizes; nothing judged, nothing written")
    own.add_argument("--only", nargs="+", type=workload, metavar="NAME", help=f"these: {list_workloads()}")
    own.add_argument(
        "--rounds", type=count, metavar="N", help="rounds, where there are usually seven (with --quick: 3)"
    )
    own.add_argument("--into", type=Path, metavar="FOLDER", help="write record, page and figures there")
    own.add_argument("--page", type=recorded_file, metavar="FILE", help="docs/performance.md again, from a record")
    own.add_argument(environment.KEEP, action="store_true", help="keep variables that force kernels; the page says so")
    return own


def workload(name: str) -> str:
    """A name of `WORKLOADS`."""
    if name in WORKLOADS:
        return name
    near = nearest(name, WORKLOADS).strip()
    raise argparse.ArgumentTypeError(f"{name!r}: must be one of {list_workloads()}. {near}".strip())


def list_workloads() -> str:
    return ", ".join(f"'{name}'" if " " in name else name for name in WORKLOADS)


def count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_ROUNDS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: must be an integer from 1 to {MOST_ROUNDS}")


def recorded_file(text: str) -> Path:
    """A file that `record.read` accepts."""
    try:
        record.read(Path(text))
    except record.Unusable as error:
        raise argparse.ArgumentTypeError(escape_line(str(error))) from None
    return Path(text)


def announce() -> None:
    """Who takes part, and who does not; and which kernels compute."""
    print(f"engines: {', '.join(engines())}; peers: {', '.join(peers())}")
    for name, value in environment.unset().items():
        print(f"unset, because it forces kernels: {name}={escape_line(value)}")
    for name, value in environment.forcing().items():
        print(f"kernels are forced: {name}={escape_line(value)} is kept")
    for library in kernels.loaded():
        print(kernels.describe(library))
    for name in missing():
        print(f"{name} is not installed: its ratios are left out (pip install -e '.[bench]')")


def tried(names: Sequence[str], settings: Settings) -> int:
    """Small sizes."""
    rows = [row for name in names for row in measured(name, settings)]
    print(report.tally(rows))
    return 0


def recorded(names: Sequence[str], settings: Settings, into: Path | None) -> int:
    """Whole sizes, written down after every workload."""
    described = machine.described()
    path = (into or CHECKOUT / record.FOLDER) / f"{machine.slug(described['cpu'])}.json"
    found = record.of(described, path)
    for name in names:
        circumstances, begun = machine.circumstances(), time.perf_counter()
        rows = measured(name, settings)
        found.replace(name, circumstances | {"seconds": round(time.perf_counter() - begun, 1)}, rows)
        found.write(path)
        print(report.tally(rows))
    return rewritten(path, into)


def measured(name: str, settings: Settings) -> list[Row]:
    """Every row of a workload, printed as it is found."""
    rows = []
    for row in WORKLOADS[name](settings):
        print(report.line(row), flush=True)
        rows.append(row)
    return rows


def rewritten(path: Path, into: Path | None) -> int:
    """The page and its figures from a record."""
    docs = CHECKOUT / "docs"
    found, name = record.read(path), path.name if into else str(record.FOLDER / path.name)
    for written in page.write(into or docs, found, name, docs / "performance.md"):
        print(f"written: {written.relative_to(CHECKOUT) if written.is_relative_to(CHECKOUT) else written}")
    return 0
