"""`bpttlab status`: what is stored of a study or of all studies, for people (lines) and for programs (JSON)."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpttlab.cli.arguments import RESULTS, WATCH_SECONDS, Key, add_command, key_values, say, split_plugins
from bpttlab.errors import ConfigurationError, StoreError
from bpttlab.escapes import escape_line

if TYPE_CHECKING:
    import pyarrow as pa

    from bpttlab.store.commits import Stored
    from bpttlab.store.leases import Launcher
    from bpttlab.store.store import Store
    from bpttlab.store.sweep_requests import SweepRequest

_DESCRIPTION = """\
Counts what is stored: runs done, diverged (the forward pass overflowed; this counts as a result) and failed, with
reasons; runs that any sweep of the study requested and that are missing, with the process that computes them now or
the lines to repeat; runs computed with different software versions; damaged files. Without study= it counts the runs
of every study."""

TEXT = """\
examples:

  bpttlab status                                    a line for each study
  bpttlab status study=first
  bpttlab status study=first --watch
  bpttlab status study=first --watch --json         a line of JSON whenever something has changed

The keys of the JSON are stable:

  version 2, study, path       the path is absolute
  runs, networks               how many are stored
  done, diverged, failed       how many runs of each status
  reasons                      {"failed": {reason: runs}, "diverged": {reason: runs}}
  sweeps                       [{"line", "begun", "requested", "missing", "file", "launchers"}]: every sweep that was
                               requested, in the order in which they were last begun; line null: from Python; missing:
                               its runs that are not stored, each counted for one sweep only; launchers: the processes
                               that compute it now, [{"process", "host", "since", "is_here", "renewed"}]; is_here false:
                               on another machine; renewed: when that process last said that it works
  requested, missing           how many runs they requested, and how many of these are not stored; null: not known
  missing_runs                 their ids
  mixed                        {"numpy": {version: runs}, ...}: software versions that differ between runs
  damaged, remedy              [{"file", "reason", "runs"}]: files whose contents changed or that are missing, with
                               the ids of their runs as far as known; what to do
  litter                       files that killed processes left, and that the next sweep deletes

Without study=: version, results (the folder), studies (a list of the above) and unreadable ({study: reason}).

Exit code: 0: success; 1: a stored file is damaged, or a study cannot be read; 2: the command could not finish; the
message says why.
"""

STUDY_OR_ALL = Key("study", "the name of the study (every study in the folder)")

SHOWN_REASONS = 10
FOLLOW_MONITOR = "of a monitor, follow the updates with bpttlab tables study={study} table=updates --watch"
MIXABLE = ("bpttlab", "git_commit", "git_dirty", "numpy", "scipy", "numba", "blas", "cpu")


def register(commands: Any) -> None:
    """Adds `bpttlab status`."""
    parser = add_command(
        commands,
        "status",
        command,
        (STUDY_OR_ALL, RESULTS),
        summary="show what is stored, what failed and why, what is missing",
        usage="[study=NAME] [results=FOLDER] [--watch] [--json]",
        description=_DESCRIPTION,
        text=TEXT,
    )
    parser.add_argument("--watch", action="store_true", help="refresh until the last sweep lacks nothing")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, for programs")


def command(parsed: argparse.Namespace) -> int:
    """Shows the status once, or until the last sweep lacks nothing."""
    _, words = split_plugins(parsed.words)  # of no use here, but on the line of the sweep
    chosen = key_values(words, parsed.keys, "status")
    from bpttlab.store.store import Store

    if not chosen["study"]:
        if parsed.watch:
            raise ConfigurationError("--watch follows one study: say study=NAME")
        return show_studies(chosen["results"], parsed.json)
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
    sweeps: list[dict[str, Any]]
    requested: int | None
    missing: int | None
    missing_runs: list[str]
    mixed: dict[str, dict[str, int]]
    damaged: list[dict[str, Any]]
    remedy: str | None
    litter: list[str]
    version: int = 2

    @property
    def exit_code(self) -> int:
        return int(bool(self.damaged))

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to wait for: neither the last sweep nor a running one lacks anything."""
        return not any(sweep["missing"] for sweep in (*self.sweeps[-1:], *self.running))

    @property
    def running(self) -> list[dict[str, Any]]:
        """The sweeps that are being computed."""
        return [sweep for sweep in self.sweeps if sweep["launchers"]]

    def as_json(self) -> str:
        return json.dumps({"version": self.version, **vars(self)}, allow_nan=False)

    def lines(self) -> list[str]:
        """The same in words."""
        return [escape_line(line) for line in [self.first_line(), *self.problems()]]

    def first_line(self) -> str:
        return f"{self.path}: {self.count_runs()}"

    def count_runs(self) -> str:
        """12 runs of 6 networks: 11 done, 1 failed, 4 missing."""
        from bpttlab.sweeps.progress import format_count, report

        statuses = {name: getattr(self, name) for name in ("done", "diverged", "failed")}
        counted = f"{format_count(self.runs, 'run')} of {format_count(self.networks, 'network')}: {report(statuses)}"
        computing = sum(sweep["missing"] for sweep in self.running)
        now = f" ({computing} of them being computed)" if computing else ""
        return counted + (f", {self.missing} missing{now}" if self.missing else "")

    def problems(self) -> list[str]:
        """Lines about failed, diverged, missing, mixed and damaged runs, and about files that are left over."""
        from bpttlab.store.damage import Fault

        lines = [line for status in ("failed", "diverged") for line in describe_reasons(status, self.reasons[status])]
        lines += self.describe_missing()
        for name, found in self.mixed.items():
            lines.append(f"mixed: {name} {', '.join(f'{value} ({runs} ×)' for value, runs in found.items())}")
        lines += [f"damaged: {Fault(**damaged).describe()}" for damaged in self.damaged]
        lines += [f"to mend it: {self.remedy}"] if self.remedy else []
        return lines + self.describe_litter()

    def describe_litter(self) -> list[str]:
        """How many files writers left that were killed."""
        from bpttlab.sweeps.progress import format_count

        left = f"{format_count(len(self.litter), 'file')} left by killed processes"
        return [f"{left}, not needed: the next sweep deletes them"] if self.litter else []

    def describe_missing(self) -> list[str]:
        """What computes runs now; the lines to repeat, the last one first; and how to withdraw sweeps that will not
        be repeated.
        """
        now = [describe_running(sweep) for sweep in reversed(self.running) if sweep["missing"]]
        lacking = [sweep for sweep in reversed(self.sweeps) if sweep["missing"] and not sweep["launchers"]]
        lines = now + [f"missing: {count_missing(one)}: {describe_remedy(one)}" for one in lacking]
        if len(lacking) > 1 or any(sweep["line"] is None for sweep in lacking):
            files = ", ".join(sweep["file"] for sweep in lacking)
            lines.append(f"to withdraw such a sweep, delete its file in {self.path}: {files}")
        return lines


def count_missing(sweep: Mapping[str, Any]) -> str:
    """3 of 5 runs."""
    return f"{sweep['missing']} of {sweep['requested']} runs"


def describe_running(sweep: Mapping[str, Any]) -> str:
    """Who computes the missing runs of a sweep, and whether there is anything to do."""
    by = " and ".join(describe_launcher(launcher) for launcher in sweep["launchers"])
    is_sure = any(launcher["is_here"] for launcher in sweep["launchers"])
    to_do = "nothing needs to be done" if is_sure else f"if it has ended, {describe_remedy(sweep)}"
    return f"being computed: {count_missing(sweep)}, by {by}: {to_do}"


def describe_launcher(launcher: Mapping[str, Any]) -> str:
    """process 123 on node7 since 2026-11-30 12:00 UTC."""
    text = f"process {launcher['process'] or '?'} on {launcher['host'] or 'an unknown machine'}"
    text += f" since {format_time(launcher['since'])}" if launcher["since"] else ""
    return text if launcher["is_here"] else f"{text} (last heard of at {format_time(launcher['renewed'])})"


def format_time(text: str) -> str:
    """A time of ISO 8601 in UTC, to the minute."""
    return f"{text[:16].replace('T', ' ')} UTC"


def describe_remedy(sweep: Mapping[str, Any]) -> str:
    """How to compute the missing runs of a sweep."""
    begun = f" of {format_time(sweep['begun'])}" if sweep["begun"] else ""
    return f"repeat {sweep['line']}" if sweep["line"] is not None else f"repeat the sweep from Python{begun}"


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

    def read_status(self, with_launchers: bool = True) -> Status:
        """The state of the study at this moment; without launchers everything that is missing is to be repeated.

        Raises:
            StoreError: there is no such study, or nothing in it and nothing requested.
        """
        from bpttlab.store.commits import choose
        from bpttlab.store.file_names import read_names
        from bpttlab.store.leases import list_launchers
        from bpttlab.store.sweep_requests import read_requests

        self.store.refuse_if_missing()
        # before the commits: what ends in between has published
        launchers = list_launchers(self.store.path) if with_launchers else []
        commits, damage = self.store.survey()
        requests = read_requests(self.store.path, damage)
        read_names(self.store.path, damage)
        if not commits and not requests and not damage:
            self.store.load()  # which says that there is nothing
        chosen = choose(commits, damage.commits)
        statuses = Counter(stored.status for stored in chosen.values())
        requested = dict.fromkeys(run_id for request in requests for run_id in request.runs)
        missing = [run_id for run_id in requested if run_id not in chosen]
        return Status(
            study=self.store.study,
            path=os.path.abspath(self.store.path),
            runs=len(chosen),
            networks=len({cell(stored, "network_id") for stored in chosen.values()} - {None}),
            done=statuses["done"],
            diverged=statuses["diverged"],
            failed=statuses["failed"],
            reasons={status: reasons(chosen.values(), status) for status in ("failed", "diverged")},
            sweeps=describe_requests(requests, chosen, launchers),
            requested=len(requested) if requests else None,
            missing=len(missing) if requests else None,
            missing_runs=missing,
            mixed=self.find_mixed([stored for stored in chosen.values() if stored.commit.name not in damage.commits]),
            damaged=[{"file": fault.file, "reason": fault.reason, "runs": list(fault.runs)} for fault in damage.all],
            remedy=damage.remedy if damage else None,
            litter=sorted(str(path.relative_to(self.store.path)) for path in self.store.find_litter(commits, damage)),
        )

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


def describe_requests(
    requests: Sequence[SweepRequest], stored: Iterable[str], launchers: Sequence[Launcher]
) -> list[dict[str, Any]]:
    """Every sweep with the number of its runs that are neither stored nor lacking in a running or a later sweep."""
    computed_by = {one.file: [shown_keys(each) for each in launchers if each.request == one.file] for one in requests}
    seen, missing = set(stored), dict[str, int]()
    latest_first = requests[::-1]
    for request in sorted(latest_first, key=lambda one: not computed_by[one.file]):
        lacking = set(request.runs) - seen
        missing[request.file] = len(lacking)
        seen |= lacking
    return [
        {
            "line": one.line,
            "begun": one.begun,
            "requested": len(one.runs),
            "missing": missing[one.file],
            "file": one.file,
            "launchers": computed_by[one.file],
        }
        for one in requests
    ]


def shown_keys(launcher: Launcher) -> dict[str, Any]:
    """A launcher without the request, which is that of its sweep."""
    return {name: value for name, value in launcher._asdict().items() if name != "request"}


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
            said = status.as_json() if as_json else escape_line(status.first_line())
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
    if status.requested is None and not as_json:
        print(escape_line(f"no sweep requested runs of this study: {FOLLOW_MONITOR.format(study=status.study)}"))
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


# ------------------------------------------------------------------ every study


def show_studies(results: str, as_json: bool) -> int:
    """Shows a line for each study in a folder; the exit code.

    Raises:
        StoreError: there is no such folder.
    """
    found, unreadable = survey_studies(results)
    folder = os.path.abspath(results)
    if as_json:
        studies = [{"version": one.version, **vars(one)} for one in found]
        print(json.dumps({"version": 2, "results": folder, "studies": studies, "unreadable": unreadable}))
    else:
        say("\n".join(describe_studies(folder, found, unreadable)))
    return int(bool(unreadable) or any(status.exit_code for status in found))


def survey_studies(results: str) -> tuple[list[Status], dict[str, str]]:
    """The status of every study in a folder; and study -> reason of those that cannot be read."""
    from bpttlab.store.store import Store, describe_no_folder, studies

    if not os.path.isdir(results):
        raise StoreError(describe_no_folder(results))
    found, unreadable = [], {}
    for name in studies(results):
        try:
            found.append(StatusReport(Store(results, name)).read_status())
        except StoreError as error:
            unreadable[name] = str(error)
    return found, unreadable


def describe_studies(folder: str, found: Sequence[Status], unreadable: Mapping[str, str]) -> list[str]:
    """The folder, and a line for each study in it."""
    from bpttlab.sweeps.progress import format_count

    names = [*(status.study for status in found), *unreadable]
    if not names:
        return [escape_line(f"{folder}: no studies")]
    width = max(map(len, names))
    damaged = [f", {format_count(len(one.damaged), 'damaged file')}" if one.damaged else "" for one in found]
    lines = [f"{one.study:<{width}}  {one.count_runs()}{more}" for one, more in zip(found, damaged, strict=True)]
    lines += [f"{name:<{width}}  cannot be read: {why}" for name, why in unreadable.items()]
    count = f"{len(names)} {'study' if len(names) == 1 else 'studies'}"
    return [escape_line(line) for line in [f"{folder}: {count}", *(f"  {line}" for line in lines)]]
