"""Results on disk: durable, checked when they are read, and loaded the same from every layout.

    results/<study>/store/<table>/<SHA-256 of its bytes>.parquet

A batch of finished runs is published as one shard of each table. The shard of `runs` is written last. Its metadata
names the others: it is the commit record. Before it has its name nothing is published, and readers ignore shards that
no commit names. So there is no state in between, no lock, and nothing to repair after a crash. A shard never changes. A
run that is repeated is a new commit, and the reader chooses.

`shards.py` describes shards and how they are written, `commits.py` which runs of which commits count, and `study.py`
the frames.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import unicodedata
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from bpttlab.errors import ConfigurationError, StoreError, any_text, nearest
from bpttlab.fields import format_value
from bpttlab.files import make_folder
from bpttlab.store import schema
from bpttlab.store.column import NO_COLUMNS
from bpttlab.store.commits import Commit, choose, commits_by_shard, read_commit, refuse_collision, tables_of
from bpttlab.store.file_names import read_names
from bpttlab.store.own_columns import NAME, to_plain
from bpttlab.store.shards import (
    SHARD,
    TEMPORARY,
    Damage,
    Finished,
    Records,
    age,
    check_is_folder,
    deserialise,
    name_file_in_errors,
    nearest_existing,
    read_shard,
    serialise,
    shard_path,
    write_shard,
)
from bpttlab.store.study import Study
from bpttlab.store.where import Where

ORPHAN_AGE = 3600.0
"""Seconds after which a shard that no commit names was left behind, not about to be committed by a slow writer."""

_STUDY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_OF_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)


def is_name_for_windows(name: str) -> bool:
    """Whether Windows accepts a folder of this name: it keeps some names for devices and drops dots at the end."""
    return not name.endswith(".") and not _OF_DEVICES.fullmatch(name.partition(".")[0])


class Store:
    """The stored runs of one study.

    Args:
        root: the folder of all results; it need not exist before something is published.
        study: the study's name: letters, digits, `.`, `_` and `-`.

    Raises:
        ConfigurationError: an invalid name.
    """

    def __init__(self, root: Path | str, study: str) -> None:
        if not isinstance(study, str) or not _STUDY.fullmatch(study):
            raise ConfigurationError(
                f"study = {format_value(study)}: must be a name of at most 100 letters (a-z, A-Z), digits, '.', '_' "
                f"and '-' that does not begin with a dot, for example {plain_study_name(study)!r}"
            )
        if sys.platform == "win32" and not is_name_for_windows(study):
            raise ConfigurationError(
                f"study = {study!r}: Windows has no folder of this name (CON, NUL, COM1, …, or a dot at the end)"
            )
        self.root = Path(root)
        self.study = study
        self.path = self.root / study
        self._read_before: dict[str, Commit] = {}
        self._sound: dict[Path, tuple[int, int]] = {}
        self._made: set[Path] = set()

    def __reduce__(self) -> tuple[type[Store], tuple[Path, str]]:
        return Store, (self.root, self.study)  # what one process has read is not sent to its workers

    # -------------------------------------------------------------- writing

    def check_writable(self) -> None:
        """Checks that runs can be published, before any is computed; leaves nothing behind.

        Raises:
            StoreError: the results cannot be written; with the reason.
        """
        for folder in {nearest_existing(self._folder(table)) for table in schema.TABLES}:
            with name_file_in_errors(folder), tempfile.TemporaryFile(dir=folder):
                pass

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
        runs, now = finished.runs_table(), time.time_ns()
        own = {"own": to_plain(finished.own)} if finished.own != NO_COLUMNS else {}
        names = {
            table: [self._put(table, serialise(table, rows, published=now, **({} if table in schema.TABLES else own)))]
            for table, rows in finished.siblings.items()
        }
        return self._put("runs", serialise("runs", runs, published=now, siblings=names, **own))

    def sweep_up(self, older_than: float = ORPHAN_AGE) -> list[Path]:
        """Deletes files of dead writers: temporary files, and shards that no commit names.

        Args:
            older_than: minimum age in seconds; a living writer may still commit younger files.

        Returns:
            the deleted files.
        """
        old = [path for path in self._find_remains() if age(path) > older_than]
        commits = self.commits()  # later than the listing: what was committed in between is seen
        named = {table: commits_by_shard(table, commits) for table in {*tables_of(commits), *self._table_folders()}}
        orphans = [path for path in old if path.stem not in named[path.parent.name]]
        for path in orphans:
            with name_file_in_errors(path):
                path.unlink(missing_ok=True)
        return orphans

    def _find_remains(self) -> Iterator[Path]:
        """Temporary files and the shards of all tables except `runs`, whose shards are commits."""
        for table in self._table_folders():
            for name in self._listing(table):
                if TEMPORARY.fullmatch(name) or (SHARD.fullmatch(name) and table != "runs"):
                    yield self._folder(table) / name

    def _put(self, table: str, data: bytes) -> str:
        """Publishes one shard and returns its name."""
        folder = self._folder(table)
        with name_file_in_errors(folder):
            self._make_folders(folder)
            return write_shard(folder, data)

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
            DamagedShardError: shards of `runs` are damaged, or others are missing. (Each other table is checked when it
                is first read.)
            CollisionError: two configurations have one run id.
            ConfigurationError: `where` or `columns` names an unknown column, or `where` has an impossible value.
        """
        self.refuse_if_missing()
        commits = self.commits()
        self._read_before.clear()  # the study has their rows
        if not commits:
            raise StoreError(f"study '{self.study}' in {self.root} has no runs yet")
        return Study(self.study, self.path, commits, self.scan, where, columns, read_names(self.path), networks)

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
            DamagedShardError: naming all shards of `provenance` that are damaged or missing.
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
        self._read_before.clear()
        self._sound.clear()
        commits, damage = self.survey()
        damage.refuse()
        return len(commits) + sum(len(commits_by_shard(table, commits)) for table in tables_of(commits))

    def survey(self) -> tuple[list[Commit], Damage]:
        """The readable commits, and all damaged or missing files, as results and not as errors.

        This object reads every shard once. A sound shard is read again only if its file has changed.
        """
        damage = Damage(self._folder("store"))
        commits = self._commits(damage)
        for table in tables_of(commits):
            for name, its_commits in commits_by_shard(table, commits).items():
                self._check(self._shard(table, name), damage, its_commits)
        return commits, damage

    def _check(self, path: Path, damage: Damage, commits: Sequence[str]) -> None:
        seen = stamp(path)
        if seen is None or self._sound.get(path) != seen:
            self._sound.pop(path, None)
            if read_shard(path, damage, commits) is not None and seen is not None:
                self._sound[path] = seen

    def commits(self) -> list[Commit]:
        """All commits, checked, in order of their names.

        Raises:
            DamagedShardError: one is damaged, or names a shard that is missing.
        """
        damage = Damage(self._folder("store"))
        commits = self._commits(damage)
        for table in tables_of(commits):
            there = self._listing(table)
            for name, its_commits in commits_by_shard(table, commits).items():
                if f"{name}.parquet" not in there:
                    damage.add(self._shard(table, name), "missing", its_commits)
        damage.refuse()
        return commits

    def commits_since(self, known: Container[str]) -> list[Commit]:
        """The readable commits that are not known yet; a damaged one is left out here, and named by `commits`."""
        return self._commits(Damage(self._folder("store")), known)

    def scan(
        self, table: str, commits: Sequence[Commit], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[str, pa.Table]]:
        """The shards of a table that were published with these commits, one by one in the order of their names, and
        the rows of each. They need not all be in memory.

        Args:
            columns: the columns to read; None: all.

        Raises:
            DamagedShardError: at the end, naming all that are damaged or missing.
        """
        damage = Damage(self._folder("store"))
        for name, its_commits in sorted(commits_by_shard(table, commits).items()):
            path = self._shard(table, name)
            data = read_shard(path, damage, its_commits)
            if data is not None:
                yield name, deserialise(data, path, columns)[0]
        damage.refuse()

    def rows(self, table: str, commits: Sequence[Commit], columns: Sequence[str] | None = None) -> dict[str, pa.Table]:
        """`scan` as a whole: shard -> rows."""
        return dict(self.scan(table, commits, columns))

    def readable_rows(self, table: str, shard: str) -> pa.Table | None:
        """The rows of one shard; None if it is damaged or missing."""
        path = self._shard(table, shard)
        data = read_shard(path, Damage(self._folder("store")), ())
        return None if data is None else deserialise(data, path)[0]

    def _commits(self, damage: Damage, known: Container[str] = ()) -> list[Commit]:
        names = sorted(match[1] for match in map(SHARD.fullmatch, self._listing("runs")) if match)
        return [commit for name in names if name not in known and (commit := self._commit(name, damage))]

    def _commit(self, name: str, damage: Damage) -> Commit | None:
        if name not in self._read_before:
            path = self._shard("runs", name)
            data = read_shard(path, damage, [name])
            if data is None:
                return None
            self._read_before[name] = read_commit(data, path)
        return self._read_before[name]

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

    def _table_folders(self) -> list[str]:
        """The tables that have a folder, or could have one."""
        own = sorted(name for name in self._listing("store") if NAME.fullmatch(name) and name not in schema.TABLES)
        return [*schema.TABLES, *own]

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
        DamagedShardError: damaged or missing files; each is named, with a remedy.
        CollisionError: two configurations have one run id.
        ConfigurationError: `where` or `columns` names an unknown column, or `where` has an impossible value, or a value
            that no run has; or `networks` is something else.
    """
    return Store(results, study).load(where, columns, networks)


_ASCII = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "æ": "ae"}
)


def plain_study_name(text: object) -> str:
    """The nearest name that a study may have: größe -> groesse."""
    letters = unicodedata.normalize("NFC", any_text(text)).translate(_ASCII)
    letters = unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "_", letters).strip("._")[:100] or "first"


def stamp(path: Path) -> tuple[int, int] | None:
    """The time of writing and the size of a file; None if it does not exist."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def studies(results: Path | str = "results") -> list[str]:
    """The names of the studies in a folder of results: those with runs, and those whose first sweep has none yet."""
    root = Path(results)
    folders = {path.parent.name for part in ("store", "sweeps") for path in root.glob(f"*/{part}")}
    return sorted(name for name in folders if _STUDY.fullmatch(name))


def _no_study(root: Path, study: str) -> str:
    if not root.is_dir():
        return f"there is no folder {root} with results: run a sweep first, or say where they are with results="
    return f"there is no study '{study}' in {root}.{nearest(study, studies(root))}"
