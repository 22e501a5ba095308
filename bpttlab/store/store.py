"""Results on disk: durable, checked when they are read, and loaded the same from every layout.

    results/<study>/store/<table>/<SHA-256 of its bytes>.parquet

A batch of finished runs is published as one shard of each table. The shard of `runs` is written last. Its metadata
names the others: it is the commit record. Before it has its name nothing is published, and readers ignore shards that
no commit names. So there is no state in between, no lock, and nothing to repair after a crash. A shard never changes. A
run that is repeated is a new commit, and the reader chooses.

Readers give what is whole and say what is not (`damage.py`). What is damaged is set aside by a repair (`repairs.py`).

`shards.py` describes shards and how they are written, `commits.py` which runs of which commits count, `chain.py` how a
missing commit is noticed, `litter.py` what writers left that ended, and `study.py` the frames.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from bpttlab.errors import OtherVersionError, StoreError, nearest
from bpttlab.files import check_is_folder, check_is_writable, make_folder, write_atomically
from bpttlab.store import chain, schema
from bpttlab.store.column import NO_COLUMNS
from bpttlab.store.commits import (
    Commit,
    choose,
    commits_by_shard,
    leave_out_unreadable,
    read_commit,
    refuse_collision,
    tables_of,
)
from bpttlab.store.damage import Damage
from bpttlab.store.file_names import read_names
from bpttlab.store.leases import Leases
from bpttlab.store.litter import Litter, read_place_of
from bpttlab.store.own_columns import to_plain
from bpttlab.store.repairs import Repair, is_set_aside, plan_repair, read_repairs
from bpttlab.store.shards import (
    SHARD,
    Finished,
    Records,
    Stamp,
    check_is_shard,
    describe_fault,
    deserialise,
    name_file_in_errors,
    name_shard,
    nearest_existing,
    read_shard,
    serialise,
    shard_path,
    split_rows,
    stamp,
)
from bpttlab.store.study import Study
from bpttlab.store.study_names import STUDY_NAME, refuse_other_names
from bpttlab.store.sweep_requests import read_requests
from bpttlab.store.where import Where

ATTEMPTS = 3
"""How often a shard is written that is not there, or not whole, just before its commit."""


class Store:
    """The stored runs of one study.

    Args:
        root: the folder of all results; it need not exist before something is published.
        study: the study's name: letters, digits, `.`, `_` and `-`.

    Raises:
        ConfigurationError: an invalid name.
    """

    def __init__(self, root: Path | str, study: str) -> None:
        refuse_other_names(study)
        self.root = Path(root)
        self.study = study
        self.path = self.root / study
        self._read_before: dict[str, Commit] = {}
        self._sound: dict[Path, Stamp] = {}
        self._made: set[Path] = set()
        self._place = chain.begin_chain()
        self._process = os.getpid()
        self.litter = Litter(self.path)

    def __reduce__(self) -> tuple[type[Store], tuple[Path, str]]:
        return Store, (self.root, self.study)  # what one process has read is not sent to its workers

    # -------------------------------------------------------------- writing

    def check_writable(self) -> None:
        """Checks that runs can be published, before any is computed; leaves nothing behind.

        Raises:
            StoreError: the results cannot be written; with the reason.
        """
        for folder in {nearest_existing(self._folder(table)) for table in schema.TABLES}:
            with name_file_in_errors(folder):
                check_is_writable(folder)

    def publish(self, records: Sequence[Records]) -> None:
        """Stores runs. After the return they survive the death of the process and of the machine.

        Raises:
            StoreError: a column, type or value that the schema does not have, or a file that cannot be written. Then
                none of these runs is stored.
        """
        if records:
            self.publish_rows(Finished.of(records))

    def publish_rows(self, finished: Finished) -> str:
        """`publish` for runs that are rows already; the name of the commit."""
        runs, about = finished.runs_table(), self._describe_next(finished)
        shards = dict(self._serialise(finished.siblings, about))
        for path, data in shards.items():
            self._put(path, data)
        siblings = {table: [path.stem for path in shards if path.parent.name == table] for table in finished.siblings}
        previous = {} if self._place.previous is None else {"previous": self._place.previous}
        commit = serialise("runs", runs, siblings=siblings, **about, **previous)
        path = self._shard("runs", name_shard(commit))
        self._make_sure(shards)
        self._put(path, commit)
        self._make_sure(shards)  # another launcher may have taken this one for dead between the two
        self._end_commit(path.stem)
        return path.stem

    def _describe_next(self, finished: Finished) -> dict[str, Any]:
        """What all shards of the next commit say of themselves."""
        previous = self._place.previous
        if self._process != os.getpid() or (previous and is_set_aside(self.path, previous)):
            # a copy in a forked process is another writer; and what was set aside is not named, or it would be missed
            self._place, self._process = chain.begin_chain(), os.getpid()
        own = {"own": to_plain(finished.own)} if finished.own != NO_COLUMNS else {}
        return {"published": time.time_ns(), "writer": self._place.writer, "number": self._place.number, **own}

    def _serialise(self, tables: Mapping[str, pa.Table], about: Mapping[str, Any]) -> Iterator[tuple[Path, bytes]]:
        """The files of tables and their bytes."""
        for table, rows in tables.items():
            said = {name: value for name, value in about.items() if name != "own" or table not in schema.TABLES}
            for part in split_rows(rows):
                data = serialise(table, part, **said)
                yield self._shard(table, name_shard(data)), data

    def _make_sure(self, shards: Mapping[Path, bytes]) -> None:
        """Writes again what is no longer there: a writer that was suspended for long may have been taken for dead."""
        for path, data in shards.items():
            for _ in range(ATTEMPTS):
                seen = stamp(path)
                if seen is not None and seen.size == len(data):
                    break
                self._put(path, data)
            else:
                raise StoreError(f"results cannot be used: {path}: it was written {ATTEMPTS} times and is not there")

    def _end_commit(self, name: str) -> None:
        """The commit is done; its place is recorded, without which nobody would notice a later deletion."""
        place, self._place = self._place, self._place.follow(name)
        with suppress(StoreError):
            chain.write_head(self.path, place, name)
            if self.litter.is_due:
                self.sweep_up()

    def sweep_up(self) -> list[Path]:
        """Deletes what writers that have ended left: temporary files, and shards that no commit names.

        What a writer of another machine left is deleted when this object has seen it unchanged for `litter.SILENCE`.

        Returns:
            the deleted files.
        """
        Leases(self.path).remove_dead()
        found = self.litter.find()  # before the commits: what is committed in between is seen
        commits, damage = self.survey()
        damage.refuse(missing=False)
        return self.litter.delete(self.litter.select(found, self._named(commits), damage.lost))

    def find_litter(self, commits: Sequence[Commit], damage: Damage) -> list[Path]:
        """What writers left that do not live, as far as this machine knows; `commits` and `damage` are of `survey`."""
        there = self.litter.select(self.litter.find(), self._named(commits), damage.lost, told=True)
        return [*there, *Leases(self.path).list_dead()]

    def _named(self, commits: Sequence[Commit]) -> set[str]:
        """The names of all shards that commits name."""
        return {name for commit in commits for names in commit.siblings.values() for name in names}

    def _put(self, path: Path, data: bytes) -> None:
        """Publishes one shard."""
        with name_file_in_errors(path.parent):
            self._make_folders(path.parent)
            write_atomically(path, data)

    def _make_folders(self, folder: Path) -> None:
        """Makes the folders down to a table's. A folder that exists may be another writer's, with its name not yet on
        disk.
        """
        if folder not in self._made:
            if not self.root.is_dir():
                make_folder(self.root)
            for path in (self.path, folder.parent, folder):
                make_folder(path)
            self._made.add(folder)

    # -------------------------------------------------------------- reading

    def load(
        self, where: Where | None = None, columns: Sequence[str] | None = None, networks: str | None = None
    ) -> Study:
        """The study as it is stored now; the arguments are those of the function `load`.

        Raises:
            StoreError: there is none, or it is empty or of another version.
            DamagedShardError: nothing is whole. (What is damaged is left out, with a `DamageWarning`; each other table
                is checked when it is first read.)
            CollisionError: two configurations have one run id.
            ConfigurationError: `where` or `columns` names an unknown column, or `where` has an impossible value.
        """
        self.refuse_if_missing()
        commits, damage = self.survey(thorough=False)
        self._read_before.clear()  # the study has their rows
        names = read_names(self.path, damage)
        if not commits:
            damage.refuse()
            raise StoreError(f"study '{self.study}' in {self.root} has no runs yet")

        def make_study(some: Sequence[Commit]) -> Study:
            return Study(self.study, self.path, some, self.scan, where, columns, names, networks, damage)

        try:
            study = make_study(commits)
        except StoreError:
            readable = leave_out_unreadable(commits, damage)
            if len(readable) in (0, len(commits)):
                damage.refuse()
                raise
            study = make_study(readable)
        damage.warn()
        return study

    def refuse_if_missing(self) -> None:
        """Accepts a study that has a folder.

        Raises:
            StoreError: there is none; with the nearest name.
        """
        if not self._folder().exists():
            raise StoreError(_no_study(self.root, self.study))

    def statuses(self) -> dict[str, str]:
        """run_id -> done, failed or diverged, of all stored runs; empty if there is no such study."""
        return {run_id: stored.status for run_id, stored in choose(self.commits()).items()}

    def configurations(self) -> dict[str, str]:
        """run_id -> configuration (canonical JSON), of all stored runs."""
        return {run_id: stored.configuration for run_id, stored in choose(self.commits()).items()}

    def plugin_files(self) -> dict[str, set[str]]:
        """run_id -> the user's own files that it used, as they were named, of all stored runs that used some.

        Raises:
            DamagedShardError: naming all shards that are damaged or missing.
        """
        found: dict[str, set[str]] = {}
        for rows in self.rows("provenance", self.commits(), ["run_id", "plugin_files"]).values():
            for run_id, names in zip(rows["run_id"].to_pylist(), rows["plugin_files"].to_pylist(), strict=True):
                if names:
                    found.setdefault(run_id, set()).update(names.split(", "))
        return found

    def refuse_collisions(self, planned: Mapping[str, str]) -> None:
        """Refuses a planned run whose id belongs to another stored configuration.

        Args:
            planned: run_id -> configuration (canonical JSON).

        Raises:
            CollisionError: naming both configurations.
        """
        stored = choose(self.commits())
        for run_id in planned.keys() & stored.keys():
            refuse_collision(run_id, stored[run_id].configuration, planned[run_id])

    def verify(self) -> int:
        """Reads every committed shard of every table and returns the number of shards.

        Raises:
            DamagedShardError: naming all that are damaged or missing.
        """
        self.forget()
        commits, damage = self.survey()
        damage.refuse()
        return len(commits) + sum(len(commits_by_shard(table, commits)) for table in tables_of(commits))

    def forget(self) -> None:
        """Everything is read again."""
        self._read_before.clear()
        self._sound.clear()

    def survey(self, thorough: bool = True) -> tuple[list[Commit], Damage]:
        """The readable commits, and everything in the store that is not whole, as a result and not as an error.

        Args:
            thorough: reads and decodes every shard, once: a sound shard is read again only if its file has changed.
                Otherwise it only looks whether those of other tables are there.
        """
        damage = self._damage()
        heads = chain.read_heads(self.path, damage)  # before the commits, of which there may be more in a moment
        commits = self._commits(damage)
        if chain.find_missing(commits, heads):  # a commit that was made during the listing may be left out
            commits = self._commits(damage)
        for table in tables_of(commits):
            folder, there = self._folder(table), self._listing(table)
            for name, its_commits in commits_by_shard(table, commits).items():
                if thorough:
                    self._check(shard_path(folder, name), damage, its_commits)
                elif f"{name}.parquet" not in there:
                    damage.add(shard_path(folder, name), "missing", its_commits)
        settled = read_repairs(self.path, damage)
        chain.note_lost(chain.find_missing(commits, heads, settled), commits, damage, self._tell_runs)
        note_stored(commits, damage)
        return commits, damage

    def _damage(self) -> Damage:
        return Damage(self.path)

    def _check(self, path: Path, damage: Damage, commits: Sequence[Commit]) -> None:
        seen = stamp(path)
        if seen is not None and self._sound.get(path) == seen:
            return
        self._sound.pop(path, None)
        data = read_shard(path, damage, commits)
        if data is not None and self._is_shard(data, path, damage, commits) and seen is not None:
            self._sound[path] = seen

    def _is_shard(self, data: bytes, path: Path, damage: Damage, commits: Sequence[Commit]) -> bool:
        """Whether bytes with the right SHA-256 are a shard; if not, that is noted."""
        try:
            check_is_shard(data, path)
        except StoreError as error:
            damage.add(path, describe_fault(error, path), commits)
            return False
        return True

    def _tell_runs(self, commits: Sequence[Commit]) -> dict[tuple[str, int], set[str]]:
        """(writer, number) -> runs, of shards of provenance that no readable commit names."""
        named, found = self._named(commits), dict[tuple[str, int], set[str]]()
        for name in self._listing("provenance"):
            match = SHARD.fullmatch(name)
            if match and match[1] not in named:
                with suppress(StoreError, LookupError):
                    path = self._shard("provenance", match[1])
                    rows, about = deserialise(read_shard(path, self._damage()) or b"", path)
                    found.setdefault(chain.read_place(about).key, set()).update(rows["run_id"].to_pylist())
        return found

    def plan_repair(self) -> Repair:
        """What `repair` does: everything is read again.

        Raises:
            StoreError: there is no such study, it is of another version, or it cannot be read.
        """
        self.refuse_if_missing()
        self.forget()
        commits, damage = self.survey()
        leave_out_unreadable(commits, damage)
        note_damaged_records(self.path, damage)
        named = self._named(commits)
        orphans = [path for path in self.litter.find() if SHARD.fullmatch(path.name) and path.stem not in named]
        places = [(path, read_place_of(path)) for path in orphans] if damage.lost else []
        return plan_repair(self.path, commits, damage, [(path, place.key) for path, place in places if place])

    def commits(self) -> list[Commit]:
        """All commits, in order of their names. They and the shards that they name are whole: each is read, once.

        Raises:
            DamagedShardError: one is damaged, or a shard that it names is damaged or missing.
        """
        commits, damage = self.survey()
        damage.refuse(missing=False)  # the runs of a missing commit are not stored
        return commits

    def commits_since(self, known: Container[str]) -> list[Commit]:
        """The readable commits that are not known yet; a damaged one is left out here, and named by `commits`."""
        return self._commits(self._damage(), known)

    def scan(
        self, table: str, commits: Sequence[Commit], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[str, pa.Table]]:
        """The shards of a table that were published with these commits, one by one in the order of their names, and
        the rows of each. They need not all be in memory.

        Args:
            columns: the columns to read; None: all.

        Raises:
            StoreError: a file cannot be read. (What is damaged is left out, with a `DamageWarning` at the end.)
        """
        damage = self._damage()
        yield from self._scan(table, commits, columns, damage)
        if damage:
            note_stored(self._commits(self._damage()), damage)
        damage.warn()

    def _scan(
        self, table: str, commits: Sequence[Commit], columns: Sequence[str] | None, damage: Damage
    ) -> Iterator[tuple[str, pa.Table]]:
        folder = self._folder(table)
        for name, its_commits in sorted(commits_by_shard(table, commits).items()):
            rows = self._rows_of(shard_path(folder, name), damage, its_commits, columns)
            if rows is not None:
                yield name, rows

    def rows(self, table: str, commits: Sequence[Commit], columns: Sequence[str] | None = None) -> dict[str, pa.Table]:
        """`scan` as a whole: shard -> rows."""
        return dict(self.scan(table, commits, columns))

    def _rows_of(
        self, path: Path, damage: Damage, commits: Sequence[Commit] = (), columns: Sequence[str] | None = None
    ) -> pa.Table | None:
        """The rows of a shard; None if it is damaged, which is noted."""
        data = read_shard(path, damage, commits)
        try:
            return None if data is None else deserialise(data, path, columns)[0]
        except StoreError as error:
            damage.add(path, describe_fault(error, path), commits)
            return None

    def readable_rows(self, table: str, shard: str) -> pa.Table | None:
        """The rows of one shard; None if it is damaged or missing."""
        return self._rows_of(self._shard(table, shard), self._damage())

    def _commits(self, damage: Damage, known: Container[str] = ()) -> list[Commit]:
        """The readable commits.

        Raises:
            OtherVersionError: there are only those of another version of the tables.
        """
        names = sorted(match[1] for match in map(SHARD.fullmatch, self._listing("runs")) if match)
        found, others = [], []
        for name in names:
            if name not in known:
                try:
                    found += self._read_commit(name, damage)
                except OtherVersionError as error:
                    others.append(error)
                    path = self._shard("runs", name)
                    damage.add(path, describe_fault(error, path))
        if others and len(others) == len(names):
            raise others[0]
        return found

    def _read_commit(self, name: str, damage: Damage) -> list[Commit]:
        """The commit of that name; none if it is damaged, which is noted."""
        if name not in self._read_before:
            path = self._shard("runs", name)
            data = read_shard(path, damage)
            if data is None:
                return []
            try:
                self._read_before[name] = read_commit(data, path)
            except OtherVersionError:
                raise
            except StoreError as error:
                damage.add(path, describe_fault(error, path))
                return []
        return [self._read_before[name]]

    # -------------------------------------------------------------- folders

    def _folder(self, table: str | None = None) -> Path:
        """The study's folder, that of its store ("store"), or that of a table; never by way of a link."""
        parts = [] if table is None else ["store"] if table == "store" else ["store", table]
        folder = self.path
        check_is_folder(folder)
        for part in parts:
            folder = folder / part
            check_is_folder(folder)
        return folder

    def _shard(self, table: str, name: str) -> Path:
        return shard_path(self._folder(table), name)

    def _listing(self, table: str) -> set[str]:
        folder = self._folder(table)
        with name_file_in_errors(folder):
            return set(os.listdir(folder)) if folder.exists() else set()


def load(
    study: str,
    results: Path | str = "results",
    *,
    where: Where | None = None,
    columns: Sequence[str] | None = None,
    networks: str | None = None,
) -> Study:
    """A stored study: `load("first").runs` is the table of its runs.

        load("first", where={"task": ["noise", "adding"], "spectral_radius": (0.9, 1.1), "seed": range(8)})
        load("first", where={"status": "done"}, columns=["lag", "log_spectral_norm", "spectral_radius"]).jacobians
        load("mine", networks="path").runs

    Args:
        study: its name.
        results: the folder of all studies.
        where: column of `runs` -> the wanted runs, for all tables. A condition is a value (None for a missing one), a
            list or a range of values, or a pair in parentheses (least, most), both included, None for no limit. A value
            that no run has is an error that names the nearest stored value. Only conditions on results (a status, a
            range of losses, a truth value) may select no run. A `LabWarning` names values of a list that no run has,
            and stored values that differ from a wanted one by rounding alone. Files without wanted runs are not read.
        columns: the columns of the measures' tables, in this order and after run_id; a table leaves out the ones that
            it does not have. None: all. `runs` and `provenance` always have all their columns.
        networks: "path": the files of `cell.path` that have one label, or none, are networks of one point, so that
            summaries have intervals over them (docs/own-network.md). None: each file is a point of its own.

    Raises:
        StoreError: no such study, with the nearest name; an empty study; a study of another version of the tables.
        DamagedShardError: nothing is whole. What is damaged is left out, and a `DamageWarning` names it and its runs.
        CollisionError: two configurations have one run id.
        ConfigurationError: `where` or `columns` names an unknown column, or `where` has an impossible value, or a value
            that no run has; or `networks` is something else.
    """
    return Store(results, study).load(where, columns, networks)


def repair(study: str, results: Path | str = "results", *, dry_run: bool = False) -> Repair:
    """Sets aside what is damaged in a study, so that the same sweep computes its runs again: `bpttlab repair`.

    The files are moved to results/<study>/damaged/, and nothing is deleted. Without damage nothing happens. It may be
    repeated, killed, and run beside a sweep.

    Args:
        study: its name.
        results: the folder of all studies.
        dry_run: only says what would be done.

    Returns:
        the files with their faults, and the runs that are not stored after it.

    Raises:
        StoreError: there is no such study, or a file cannot be moved.
    """
    planned = Store(results, study).plan_repair()
    if not dry_run:
        planned.carry_out()
    return planned


def note_stored(commits: Sequence[Commit], damage: Damage) -> None:
    """Notes the runs that whole commits have, if anything is damaged: they are not to be computed again."""
    if damage:
        damage.stored = {run_id for one in commits if one.name not in damage.commits for run_id in one.run_ids}


def note_damaged_records(study: Path, damage: Damage) -> None:
    """Notes the records beside the runs that cannot be read."""
    read_names(study, damage)
    read_requests(study, damage)


def studies(results: Path | str = "results") -> list[str]:
    """The names of the studies in a folder of results: those with runs, and those whose first sweep has none yet."""
    root = Path(results)
    with name_file_in_errors(root):
        folders = {path.parent.name for part in ("store", "sweeps") for path in root.glob(f"*/{part}")}
    return sorted(name for name in folders if STUDY_NAME.fullmatch(name))


def describe_no_folder(root: Path | str) -> str:
    """The message for a folder of results that does not exist; a sweep makes it when it has planned its runs."""
    return (
        f"nothing is stored yet: there is no folder {root}; run a sweep first (it makes the folder when it begins to "
        "compute), or say where results are with results="
    )


def _no_study(root: Path, study: str) -> str:
    if not root.is_dir():
        return describe_no_folder(root)
    return f"there is no study '{study}' in {root}.{nearest(study, studies(root))}"
