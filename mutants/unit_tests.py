"""Runs unit tests in a copy of the project until one fails, and writes which.

    python -P mutants/unit_tests.py PATH [PATH ...] results=FOLDER

Writes FOLDER/tests/failed.csv with the columns `what` (the name of the test) and `verdict`. The exit code is that of
pytest: 0 if all pass, 1 if one fails. The runner starts it in a copy of the project; it imports nothing of `mutants`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest


class Failures:
    """The names of the tests that failed, setups included."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.names.append(report.nodeid)


def main(paths: list[str], results: str) -> int:
    failures = Failures()
    code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--no-header", *paths], plugins=[failures])
    write(failures.names, Path(results.removeprefix("results=")) / "tests" / "failed.csv")
    return int(code)


def write(names: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["what", "verdict"])
        rows.writerows([name, "fails"] for name in names)


if __name__ == "__main__":
    *chosen, folder = sys.argv[1:]
    sys.exit(main(chosen, folder))
