"""What writers left that ended before their commit: temporary files, and shards that no commit names.

Each names its writer's process (`processes`). If that has ended, as far as this machine can know, the file is litter: a
sweep deletes it when it begins. If the process may live, on another machine or in another container, a file is litter
after it has been seen unchanged for SILENCE, by this machine's monotonic clock: no clock is compared with another. A
writer that was suspended for longer looks again before and after its commit, and writes again what is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from bpttlab import processes
from bpttlab.errors import StoreError
from bpttlab.files import TEMPORARY, NotAFileError, check_is_folder, read_file
from bpttlab.processes import ENDED, LIVES
from bpttlab.store.chain import Place, read_place
from bpttlab.store.shards import MOST_FILE_BYTES, SHARD, name_file_in_errors, name_foreign_shard, read_about

SILENCE = 3600.0
"""Seconds for which a file of a process that may live must have been seen unchanged before it is deleted."""

DEEPEST_FOLDERS = 3
"""Folders below a study's, one in the other: figures/networks_path/where_… has three."""


class Litter:
    """The files of a study that nobody may need any more.

    Args:
        study: the folder of the study.
    """

    def __init__(self, study: Path) -> None:
        self.study = study
        self._seen: dict[Path, tuple[os.stat_result, float]] = {}

    def find(self) -> list[Path]:
        """Temporary files, and the shards of all tables but `runs`, whose shards are commits."""
        return [path for folder in self._folders() for path in self._candidates(folder)]

    def select(
        self, found: Iterable[Path], named: Container[str], lost: Container[tuple[str, int]], told: bool = False
    ) -> list[Path]:
        """Those that are litter.

        Args:
            found: what there is.
            named: the shards that commits name.
            lost: the places of commits that are missing: their shards tell what was in them.
            told: also those that may still be needed by a process of which nothing is known.
        """
        return [path for path in found if path.stem not in named and self._is_litter(path, lost, told)]

    def delete(self, paths: Iterable[Path]) -> list[Path]:
        """Deletes files; those that were there.

        Raises:
            StoreError: one cannot be deleted.
        """
        deleted = []
        for path in paths:
            with name_file_in_errors(path), suppress(FileNotFoundError):
                path.unlink()
                deleted.append(path)
        return deleted

    @property
    def is_due(self) -> bool:
        """Whether a file that was not litter when it was seen may be by now."""
        now = time.monotonic()
        return any(now - since > SILENCE for _, since in self._seen.values())

    def _folders(self) -> list[Path]:
        """The study's folder and all in which files of it are written; none that is a link."""
        check_is_folder(self.study)
        return [self.study, *list_folders_below(self.study, DEEPEST_FOLDERS)]

    def _candidates(self, folder: Path) -> list[Path]:
        shards = folder.parent == self.study / "store" and folder.name != "runs"
        with name_file_in_errors(folder):
            names = os.listdir(folder) if folder.is_dir() else []
        return [folder / name for name in names if TEMPORARY.fullmatch(name) or (shards and SHARD.fullmatch(name))]

    def _is_litter(self, path: Path, lost: Container[tuple[str, int]], told: bool) -> bool:
        match = TEMPORARY.fullmatch(path.name)
        place = None if match else read_place_of(path)
        if place is not None and place.key in lost:
            return False
        state = processes.find_state(match[1] if match else place.process if place else "")
        if state in (ENDED, LIVES):
            return state == ENDED
        return told or self._silence(path) > SILENCE

    def _silence(self, path: Path) -> float:
        """Seconds for which this object has seen a file unchanged."""
        try:
            seen = path.lstat()
        except OSError:
            return 0.0
        now = time.monotonic()
        before, since = self._seen.get(path, (seen, now))
        same = (before.st_ino, before.st_size, before.st_mtime_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns)
        self._seen[path] = (seen, since if same else now)
        return now - self._seen[path][1]


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder; none where there is none."""
    with name_file_in_errors(folder):
        entries = os.scandir(folder) if folder.is_dir() else ()
        return sorted(Path(one.path) for one in entries if one.is_dir(follow_symlinks=False))


def list_folders_below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders in a folder, and those in these, down to a depth."""
    for inner in list_folders(folder) if depth else ():
        yield inner
        yield from list_folders_below(inner, depth - 1)


def read_place_of(path: Path) -> Place | None:
    """The place that a shard states; None if it cannot be read."""
    with suppress(OSError, NotAFileError, StoreError), name_foreign_shard(path):
        return read_place(read_about(read_file(path, MOST_FILE_BYTES)))
    return None
