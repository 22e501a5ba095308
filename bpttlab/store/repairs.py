"""Repairs of a study: what is damaged is set aside, so that the same sweep line computes its runs again.

    results/<study>/damaged/<SHA-256>.json         a record of each repair: the files, why, and the commits it settles
    results/<study>/damaged/store/runs/…           the files, in the folders that they had

Nothing is deleted. A commit of which a shard is damaged is set aside with all shards that no other commit names: its
runs are not stored then. The record is written first, and a commit is moved after its shards. So a repair that is
killed is completed by the next, and of two at the same time each moves what the other has not moved.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpttlab.files import fsync_folder, make_folder, move, own_folder
from bpttlab.store.chain import PlaceKey
from bpttlab.store.damage import Damage, Fault
from bpttlab.store.records import list_records, read_record, read_records, to_bytes, write_record
from bpttlab.store.shards import name_file_in_errors

if TYPE_CHECKING:
    from bpttlab.store.commits import Commit

DAMAGED_FOLDER = "damaged"
_VERSION = 1
_LARGEST_BYTES = 1 << 26
_RECORD = re.compile(r"[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class Repair:
    """What a repair does, or did.

    Attributes:
        study: the folder of the study.
        aside: the files to set aside, from that folder, with the reason; a commit comes after its shards.
        gone: the files that are missing, with the reason: there is nothing to set aside.
        runs: the runs that are not stored after it, as far as known.
        settled: the commits that will not be missed any more.
    """

    study: Path
    aside: tuple[Fault, ...]
    gone: tuple[Fault, ...]
    runs: tuple[str, ...]
    settled: tuple[PlaceKey, ...]

    def __bool__(self) -> bool:
        return bool(self.aside or self.settled)

    def carry_out(self) -> None:
        """Moves the files.

        Raises:
            StoreError: one cannot be moved, or the record cannot be written.
        """
        if not self:
            return
        folder = own_folder(self.study, DAMAGED_FOLDER)
        content = {
            "version": _VERSION,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "files": [fault._asdict() for fault in self.aside],
            "commits": [list(key) for key in self.settled],
        }
        name = hashlib.sha256(to_bytes(content)).hexdigest()[:32]
        write_record(folder / f"{name}.json", to_bytes(content))
        commits = [fault for fault in self.aside if fault.file.startswith("store/runs/")]
        for part in ([fault for fault in self.aside if fault not in commits], commits):
            self._move(part, folder)

    def _move(self, faults: Iterable[Fault], folder: Path) -> None:
        """Moves files; their old and new folders are on disk after the return."""
        folders: dict[Path, None] = {}
        for fault in faults:
            source, target = self.study / fault.file, folder / fault.file
            with name_file_in_errors(source):
                make_folder(target.parent)
                if move(source, find_free_name(target)):
                    folders |= {source.parent: None, target.parent: None}
        for one in folders:
            with name_file_in_errors(one):
                fsync_folder(one)


def find_free_name(path: Path) -> Path:
    """The path, or one with a number behind it, that does not exist."""
    number, free = 1, path
    while os.path.lexists(free):
        free, number = path.with_name(f"{path.name}.{number}"), number + 1
    return free


BESIDE = "not damaged; it belongs to a commit of which another file is damaged or missing"
OF_LOST = "not damaged; it belongs to a commit that is damaged or missing"


def plan_repair(
    study: Path, commits: Sequence[Commit], damage: Damage, orphans: Iterable[tuple[Path, PlaceKey]]
) -> Repair:
    """What is to be done about the damage of a study.

    Args:
        orphans: shards that no readable commit names, and the places that they state.
    """
    aside = {fault.file: fault for fault in _of_broken_commits(study, commits, damage)}
    for path, key in orphans:
        if key in damage.lost:
            file = str(path.relative_to(study))
            aside.setdefault(file, Fault(file, OF_LOST))
    there = {fault.file: os.path.lexists(study / fault.file) for fault in damage.all}
    aside |= {file: fault for file, fault in damage.faults.items() if there[file]}
    gone = [*(fault for fault in damage.all if not there[fault.file]), *damage.replaced]
    broken = [commit for commit in commits if commit.name in damage.commits]
    settled = sorted({*damage.lost, *(commit.place.key for commit in broken)})
    whole = {run_id for commit in commits if commit.name not in damage.commits for run_id in commit.run_ids}
    runs = tuple(run_id for run_id in damage.runs if run_id not in whole)
    return Repair(study, tuple(aside.values()), tuple(gone), runs, tuple(settled))


def _of_broken_commits(study: Path, commits: Sequence[Commit], damage: Damage) -> Iterator[Fault]:
    """The commits of which a shard is damaged, and their shards that no other commit names."""
    whole = {
        name for one in commits if one.name not in damage.commits for names in one.siblings.values() for name in names
    }
    for commit in commits:
        if commit.name in damage.commits:
            for table, names in commit.siblings.items():
                for name in names:
                    if name not in whole and (study / "store" / table / f"{name}.parquet").exists():
                        yield Fault(
                            f"store/{table}/{name}.parquet",
                            BESIDE,
                        )
            yield Fault(f"store/runs/{commit.name}.parquet", BESIDE)


def is_set_aside(study: Path, commit: str) -> bool:
    """Whether a repair set aside the commit of that name."""
    return os.path.lexists(study / DAMAGED_FOLDER / "store" / "runs" / f"{commit}.parquet")


# ------------------------------------------------------------------ records


def read_repairs(study: Path, damage: Damage) -> set[PlaceKey]:
    """The commits of which repairs took note; a record that cannot be read is noted as damaged."""
    found = read_records(list_records(study / DAMAGED_FOLDER, _RECORD), _read, damage)
    return {key for keys in found for key in keys}


def _read(path: Path) -> list[PlaceKey]:
    return read_record(path, _VERSION, _LARGEST_BYTES, _interpret)


def _interpret(content: Any) -> list[PlaceKey]:
    keys = [(writer, number) for writer, number in content["commits"]]
    if not all(isinstance(writer, str) and type(number) is int for writer, number in keys):
        raise ValueError("it names no commits")
    return keys
