"""`bpttlab status`: what is stored of a study, for people (lines) and for programs (JSON)."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpttlab.cli.arguments import RESULTS, STUDY, add_command, key_values, split_plugins
from bpttlab.escapes import escape_line

if TYPE_CHECKING:
    import pyarrow as pa

    from bpttlab.store.commits import Stored
    from bpttlab.store.last_sweep import LastSweep
    from bpttlab.store.store import Store

_DESCRIPTION = """\
Counts what is stored: runs done, diverged (the forward pass overflowed; this counts as a result) and failed, with
reasons; runs that the last sweep of the study requested and that are missing; runs computed with different software
versions; damaged files."""

TEXT = """\
examples:

  bpttlab status study=first
  bpttlab status study=first --watch
  bpttlab status study=first --watch --json         a line of JSON whenever something has changed

The keys of the JSON are stable:

  version 1, study, path
  runs, networks               how many are stored
  done, diverged, failed       how many runs of each status
  reasons                      {"failed": {reason: runs}, "diverged": {reason: runs}}
  line                         the last sweep, as it was typed; null: not known
  requested, missing           how many runs it requested, and how many of them are not stored; null: not known
  missing_runs                 their ids
  mixed                        {"numpy": {version: runs}, ...}: software versions that differ between runs
  damaged, remedy              [{"file": ..., "reason": ...}]: files whose contents changed; what to do

Exit code: 0: success; 1: a stored file is damaged; 2: the command could not finish; the message says why.
"""

SHOWN_REASONS = 10
WATCH_SECONDS = 1.0
MIXABLE = ("bpttlab", "git_commit", "git_dirty", "numpy", "scipy", "blas")


def register(commands: Any) -> None:
    """Adds `bpttlab status`."""
    parser = add_command(
        commands,
        "status",
        command,
        (STUDY, RESULTS),
        summary="show what is stored, what failed and why, what is missing",
        usage="study=NAME [results=FOLDER] [--watch] [--json]",
        description=_DESCRIPTION,
        text=TEXT,
    )
    parser.add_argument("--watch", action="store_true", help="refresh until nothing is missing or Ctrl-C is pressed")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, for programs")


def command(parsed: argparse.Namespace) -> int:
    """Shows the status once, or until nothing is missing."""
    _, words = split_plugins(parsed.words)  # of no use here, but on the line of the sweep
    chosen = key_values(words, parsed.keys, "status")
    from bpttlab.store.store import Store

    look = StatusReport(Store(chosen["results"], chosen["study"]))
    if parsed.watch:
        return watch(look, parsed.json)
    status = look.read_status()
    print(status.as_json() if parsed.json else "\n".join(status.lines()))
    return status.exit_code


# ------------------------------------------------------------------ what there is


@dataclass(frozen=True)
class Status:
    """The state of a stored study; the attributes are the keys of the JSON."""

    study: str
    path: str
    runs: int
    networks: int
    done: int
    diverged: int
    failed: int
    reasons: dict[str, dict[str, int]]
    line: str | None
    requested: int | None
    missing: int | None
    missing_runs: list[str]
    mixed: dict[str, dict[str, int]]
    damaged: list[dict[str, str]]
    remedy: str | None
    version: int = 1

    @property
    def exit_code(self) -> int:
        return int(bool(self.damaged))

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to wait for."""
        return not self.missing

    def as_json(self) -> str:
        return json.dumps({"version": self.version, **vars(self)}, allow_nan=False)

    def lines(self) -> list[str]:
        """The same in words."""
        return [escape_line(line) for line in [self.first_line(), *self.problems()]]

    def first_line(self) -> str:
        from bpttlab.sweeps.progress import format_count, report

        statuses = {name: getattr(self, name) for name in ("done", "diverged", "failed")}
        counted = f"{format_count(self.runs, 'run')} of {format_count(self.networks, 'network')}: {report(statuses)}"
        return f"{self.path}: {counted}" + (f", {self.missing} missing" if self.missing else "")

    def problems(self) -> list[str]:
        """Lines about failed, diverged, missing, mixed and damaged runs."""
        lines = [line for status in ("failed", "diverged") for line in describe_reasons(status, self.reasons[status])]
        if self.missing:
            again = f": repeat {self.line}" if self.line else ""
            lines.append(f"missing: {self.missing} of the {self.requested} runs that the last sweep requested{again}")
        for name, found in self.mixed.items():
            lines.append(f"mixed: {name} {', '.join(f'{value} ({runs} ×)' for value, runs in found.items())}")
        lines += [f"damaged: {damaged['file']} ({damaged['reason']})" for damaged in self.damaged]
        return lines + ([f"to mend it: {self.remedy}"] if self.remedy else [])


def describe_reasons(status: str, reasons: Mapping[str, int]) -> list[str]:
    """Why runs failed or diverged, the most frequent reasons first."""
    from bpttlab.sweeps.progress import format_count

    lines = [f"{status}, {runs} ×: {why}" for why, runs in list(reasons.items())[:SHOWN_REASONS]]
    others = len(reasons) - SHOWN_REASONS
    if others > 0:
        lines.append(f"{status}: {format_count(others, 'other reason')} (column `error` of the table runs)")
    return lines


class StatusReport:
    """Looks at one study, now and again; what has not changed is not read again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.surroundings: dict[str, dict[str, pa.Table]] = {}

    def read_status(self) -> Status:
        """The state of the study at this moment.

        Raises:
            StoreError: there is no such study, or nothing in it and nothing requested.
        """
        from bpttlab.store.commits import choose

        self.store.refuse_if_missing()
        commits, damage = self.store.survey()
        requested, unreadable = self.read_requested()
        if not commits and requested is None and not damage.shards:
            self.store.load()  # which says that there is nothing
        chosen = choose(commits)
        statuses = Counter(stored.status for stored in chosen.values())
        missing = None if requested is None else [run_id for run_id in requested.runs if run_id not in chosen]
        damaged = [{"file": file, "reason": reason} for file, reason in damage.shards.items()] + unreadable
        return Status(
            study=self.store.study,
            path=str(self.store.path),
            runs=len(chosen),
            networks=len({cell(stored, "network_id") for stored in chosen.values()} - {None}),
            done=statuses["done"],
            diverged=statuses["diverged"],
            failed=statuses["failed"],
            reasons={status: reasons(chosen.values(), status) for status in ("failed", "diverged")},
            line=None if requested is None else requested.line,
            requested=None if requested is None else len(requested.runs),
            missing=None if missing is None else len(missing),
            missing_runs=missing or [],
            mixed=self.find_mixed([stored for stored in chosen.values() if stored.commit.name not in damage.commits]),
            damaged=damaged,
            remedy=damage.remedy if damage.shards else None,
        )

    def read_requested(self) -> tuple[LastSweep | None, list[dict[str, str]]]:
        """The runs that the last sweep requested; a file that cannot be read is damage like any other."""
        from bpttlab.errors import StoreError
        from bpttlab.store import last_sweep

        try:
            return last_sweep.read_last_sweep(self.store), []
        except StoreError as error:
            return None, [{"file": last_sweep.FILE, "reason": str(error)}]

    def find_mixed(self, sound: Sequence[Stored]) -> dict[str, dict[str, int]]:
        """Versions and settings that differ between runs and can change the last digits of a number."""
        commits = {stored.commit.name: stored.commit for stored in sound}
        for name, commit in commits.items():
            if name not in self.surroundings:
                self.surroundings[name] = self.store.rows("provenance", [commit], ["run_id", *MIXABLE])
        wanted = {(stored.commit.name, stored.run_id) for stored in sound}
        rows = [
            row
            for name in commits
            for shard in self.surroundings[name].values()
            for row in shard.to_pylist()
            if (name, row["run_id"]) in wanted
        ]
        found = {column: Counter(str(row[column]) for row in rows if row[column] is not None) for column in MIXABLE}
        return {column: dict(sorted(values.items())) for column, values in found.items() if len(values) > 1}


def cell(stored: Stored, column: str) -> Any:
    """One value of a run's row."""
    return stored.commit.rows[column][stored.row].as_py()


def reasons(runs: Iterable[Stored], status: str) -> dict[str, int]:
    """Why runs ended with a status, the most frequent reasons first."""
    found = Counter(cell(stored, "error") or "no reason is stored" for stored in runs if stored.status == status)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


# ------------------------------------------------------------------ again and again


def watch(look: StatusReport, as_json: bool) -> int:
    """In place on a terminal, as lines of their own elsewhere; a line that says nothing new is not said."""
    in_place = sys.stdout.isatty() and not as_json
    shown = ""
    try:
        while True:
            status = look.read_status()
            said = status.as_json() if as_json else status.first_line()
            if in_place:
                shown = redraw(status.lines(), shown)
            elif said != shown:
                print(said, flush=True)
                shown = said
            if status.is_whole:
                break
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return 0
    if not in_place and not as_json:
        print("\n".join(status.lines()[1:]), end="\n" if status.problems() else "")
    return status.exit_code


def redraw(lines: Sequence[str], shown: str) -> str:
    """Puts lines where others were, each cut to the terminal's width; what is shown now."""
    width = max(shutil.get_terminal_size().columns - 1, 20)
    text = "".join(f"{line[:width]}\n" for line in lines)
    up = f"\x1b[{shown.count(chr(10))}F\x1b[J" if shown else ""
    sys.stdout.write(up + text)
    sys.stdout.flush()
    return text
