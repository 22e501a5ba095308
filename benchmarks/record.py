"""What was measured on one machine, in one file: the rows of each workload, when, and under what load.

    results/reference/benchmarks/<CPU model>.json

A workload that is measured again replaces its own rows, so that a run that is interrupted keeps what it has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from bpttlab.files import publish

FOLDER = Path("results", "reference", "benchmarks")


@dataclass
class Record:
    """The file's content.

    Attributes:
        machine: what `machine.described` says.
        measured: workload -> date, load before it began, seconds.
        rows: workload -> what it found.
    """

    machine: dict[str, Any]
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def replace(self, workload: str, circumstances: dict[str, Any], rows: Sequence[Row]) -> None:
        self.measured[workload] = circumstances
        self.rows[workload] = list(rows)

    def write(self, path: Path) -> None:
        rows = [row.plain() for found in self.rows.values() for row in found]
        plain = {"machine": self.machine, "measured": self.measured, "rows": rows}
        publish(path, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")


class Unusable(ValueError):
    """A file is no record, or one from before the environment was recorded."""


def read(path: Path) -> Record:
    """Raises: Unusable."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        found = Record(plain["machine"], plain["measured"])
        for row in map(Row.read, plain["rows"]):
            found.rows.setdefault(row.workload, []).append(row)
    except OSError as error:
        raise Unusable(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unusable(f"{path}: is no record of benchmarks") from None
    if "environment" not in found.machine:
        raise Unusable(f"{path}: does not say which variables forced kernels; measure again (make bench)")
    return found


def of(machine: dict[str, Any], path: Path) -> Record:
    """The record of this machine: what it holds already, if it was made with the same versions and kernels."""
    with suppress(Unusable):
        found = read(path)
        if found.machine == machine:
            return found
    return Record(machine)
