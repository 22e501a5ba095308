"""Leases: several launchers, on one machine or on several, divide the work on one study without a server or a lock.

    results/<study>/leases/<launcher>.launcher      one file for each launcher, touched every few seconds
    results/<study>/leases/<share>.lease            one file for each share of the work that a launcher has now

A launcher takes a share by creating its file exclusively (O_EXCL, which NFS grants to one of several machines as well).
The file names the launcher. The launcher's own file names its process and, for people, the request that it carries
out. A launcher that ends deletes its files. A launcher that was killed, or whose machine died,
touches its file no more: a launcher that has seen it unchanged for LEASE_SECONDS takes over its shares. On the same
machine that is at once, because the process no longer exists. So nothing has to be cleaned up by hand.

No clock is compared with another: a launcher counts, by its own monotonic clock, how long it has seen a file unchanged.
So machines may have different times, and the time of a file system may be set forwards or back.

No result depends on a lease. Where two launchers have one share after all, for example because one was suspended, both
compute it, and readers count each run once.
"""

from __future__ import annotations

import json
import os
import platform
import re
import stat
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from bpttlab.errors import StoreError
from bpttlab.files import READING, check_is_folder, create_exclusively, link, make_folder, move, write_atomically
from bpttlab.processes import ENDED, LIVES, find_state, name_process
from bpttlab.store.shards import name_file_in_errors

FOLDER = "leases"
LEASE_SECONDS = 30.0
"""How long a launcher may be silent."""

RENEWALS = 6
"""How often a launcher touches its file in that time."""

_LAUNCHER = re.compile(r"([0-9a-f]{32})\.launcher")
_LEASE = re.compile(r"[0-9a-f]{1,64}\.lease")
_TAKEN_OVER = re.compile(r"\.[0-9a-f]{32}\.lease")
_LARGEST_BYTES = 4096


class Seen(NamedTuple):
    """A file as it was read: its first bytes, and its time of writing on the clock of the file system."""

    data: bytes
    written: float


class Leases:
    """The leases of one launcher on shares of one study, for use in a `with` statement, whose end returns them.

    Args:
        study: the folder of the study; it need not exist.
        seconds: how long a launcher may be silent before others take over its shares.
        request: the file of the request that the launcher carries out, from the study's folder, for `list_launchers`.

    Raises:
        StoreError: its files cannot be written.
    """

    def __init__(self, study: Path, seconds: float | None = None, request: str = "") -> None:
        self.folder = study / FOLDER
        self.seconds = LEASE_SECONDS if seconds is None else seconds
        self.launcher = uuid.uuid4().hex
        self.about = describe_process(request)
        self.held: set[str] = set()
        self._unchanged: dict[str, tuple[Seen, float]] = {}
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew_until_the_end, daemon=True)

    def __enter__(self) -> Leases:
        check_is_folder(self.folder.parent)
        check_is_folder(self.folder)
        with name_file_in_errors(self.folder):
            try:
                self._begin()
            except FileNotFoundError:  # another launcher ended and removed the folder in between
                self._begin()
        self._renewal.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError, StoreError):
            self.release(list(self.held))
            self.remove_dead()
        self._ended.set()
        self._renewal.join()
        with suppress(OSError):
            self._own_file.unlink(missing_ok=True)
            self.folder.rmdir()

    # -------------------------------------------------------------- shares

    def take(self, share: str) -> bool:
        """Takes a share that no living launcher has; whether this launcher has it now.

        Raises:
            StoreError: its file cannot be written.
        """
        if share in self.held:
            return True
        path = self._lease(share)
        with name_file_in_errors(path):
            try:
                taken = self._create_or_take_over(path)
            except FileNotFoundError:  # another launcher took this one for dead, ended, and removed the folder
                self._begin()
                taken = self._create_or_take_over(path)
        if taken:
            self.held.add(share)
        return taken

    def release(self, shares: Iterable[str]) -> None:
        """Returns shares; one that another launcher has taken over remains with it."""
        for share in shares:
            self.held.discard(share)
            path = self._lease(share)
            with name_file_in_errors(path):
                seen = read(path)
                if seen is not None and seen.data == self.launcher.encode():
                    path.unlink(missing_ok=True)

    def list_others(self) -> dict[str, set[str]]:
        """Other living launchers, and the shares that each has."""
        found = {name: set[str]() for name in self._launchers() if name != self.launcher and self._lives(name)}
        for path in self._files(_LEASE):
            seen = read(path)
            holder = "" if seen is None else seen.data.decode(errors="replace")
            found.get(holder, set()).add(path.stem)
        return found

    def remove_dead(self) -> None:
        """Deletes the files of launchers that live no more."""
        dead = [name for name in self._launchers() if name != self.launcher and not self._lives(name)]
        for path in [*self._files(_LEASE), *self._files(_TAKEN_OVER)]:
            self._take_away(path)
        for name in dead:
            self._file_of(name).unlink(missing_ok=True)

    def list_dead(self) -> list[Path]:
        """The files of launchers whose processes have ended."""
        files = [self._file_of(name) for name in self._launchers()]
        return [path for path in files if (seen := read(path)) is not None and has_ended(seen.data)]

    # -------------------------------------------------------------- files

    def _begin(self) -> None:
        """Makes the folder and this launcher's own file."""
        make_folder(self.folder)
        self._write_own_file()

    def _create_or_take_over(self, path: Path) -> bool:
        """Creates the file of a share, also in place of that of a launcher that lives no more; False if one lives."""
        return self._create(path) or (self._take_away(path) and self._create(path))

    def _create(self, path: Path) -> bool:
        """Creates the file of a share; False if there is one."""
        return create_exclusively(path, self.launcher.encode())

    def _take_away(self, path: Path) -> bool:
        """Removes the file of a share whose launcher lives no more; False if it lives.

        The file is renamed before it is deleted, and of several launchers one succeeds. If it is not the file that was
        read, because another launcher was faster, it goes back.
        """
        seen = read(path)
        if seen is None:
            return True
        if self._holds(path.name, seen):
            return False
        mine = path.with_name(f".{uuid.uuid4().hex}.lease")
        if not move(path, mine):
            return True
        taken = read(mine)
        if taken is not None and taken.data != seen.data and _LEASE.fullmatch(path.name):
            with suppress(OSError):
                link(mine, path)
        mine.unlink(missing_ok=True)
        return not path.exists()

    def _holds(self, share: str, lease: Seen) -> bool:
        """Whether the launcher that a lease names lives; a file without a name is being written, or was left so
        by a power failure."""
        holder = lease.data.decode(errors="replace")
        if holder == self.launcher:
            return False  # of a share that this launcher has returned, or lost and got back
        if re.fullmatch(r"[0-9a-f]{32}", holder):
            return self._lives(holder)
        return self._silence(share, lease) < self.seconds and self._has_company()

    def _has_company(self) -> bool:
        """Whether another launcher lives: the file of a launcher exists before it takes a share."""
        return any(name != self.launcher and self._lives(name) for name in self._launchers())

    def _lives(self, launcher: str) -> bool:
        """Whether a launcher touches its file, and its process exists as far as this machine can know."""
        seen = read(self._file_of(launcher))
        return seen is not None and not has_ended(seen.data) and self._silence(launcher, seen) < self.seconds

    def _silence(self, name: str, seen: Seen) -> float:
        """Seconds for which this launcher has seen a file unchanged."""
        now = time.monotonic()
        before, since = self._unchanged.get(name, (seen, now))
        self._unchanged[name] = (seen, since if before == seen else now)
        return now - self._unchanged[name][1]

    def _touch(self) -> None:
        """Renews all leases of this launcher, by its one file."""
        try:
            os.utime(self._own_file)
        except FileNotFoundError:  # another launcher took this one for dead
            self._write_own_file()

    def _write_own_file(self) -> None:
        """Writes it whole: after a power failure nobody would know whose an empty file was."""
        write_atomically(self._own_file, f"{name_process()}\n{json.dumps(self.about)}".encode())

    def _renew_until_the_end(self) -> None:
        while not self._ended.wait(self.seconds / RENEWALS):
            with suppress(OSError):  # a full disk, or a file server that does not answer, passes
                self._touch()

    def _launchers(self) -> list[str]:
        return [path.stem for path in self._files(_LAUNCHER)]

    def _files(self, name: re.Pattern[str]) -> list[Path]:
        """The files with such names."""
        try:
            return [self.folder / one for one in os.listdir(self.folder) if name.fullmatch(one)]
        except FileNotFoundError:
            return []

    @property
    def _own_file(self) -> Path:
        return self._file_of(self.launcher)

    def _file_of(self, launcher: str) -> Path:
        return self.folder / f"{launcher}.launcher"

    def _lease(self, share: str) -> Path:
        return self.folder / f"{share}.lease"


def read(path: Path) -> Seen | None:
    """A small file; None if there is none. It is opened, because NFS shows the newest state of opened files only."""
    try:
        descriptor = os.open(path, READING)
    except OSError:
        return None
    try:
        about = os.fstat(descriptor)
        data = os.read(descriptor, _LARGEST_BYTES) if stat.S_ISREG(about.st_mode) else b""
        return Seen(data, about.st_mtime)
    finally:
        os.close(descriptor)


def has_ended(launcher: bytes) -> bool:
    """Whether the file of a launcher names a process of this machine that no longer exists."""
    return state_of(launcher) == ENDED


def state_of(launcher: bytes) -> str:
    """What is known of the process that the file of a launcher names."""
    return find_state(launcher.decode(errors="replace").partition("\n")[0])


# ------------------------------------------------------------------ for people


class Launcher(NamedTuple):
    """A launcher that works on a study, as far as is known.

    Attributes:
        request: the file of the request that it carries out; empty: not known.
        process: its number; 0: not known.
        host: the name of its machine.
        since: when it began, ISO 8601, UTC.
        is_here: whether its process was found on this machine; elsewhere it may have ended.
        renewed: when it last touched its file, ISO 8601, UTC, on the clock of the file system.
    """

    request: str
    process: int
    host: str
    since: str
    is_here: bool
    renewed: str


def describe_process(request: str) -> dict[str, Any]:
    """What a launcher says of itself."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    return {"request": request, "process": os.getpid(), "host": platform.node()[:200], "since": began}


def list_launchers(study: Path) -> list[Launcher]:
    """The launchers of a study that are not known to have ended, those of this machine first."""
    known = Leases(study)
    seen = (read(known._file_of(name)) for name in known._launchers())
    found = [interpret_file(one) for one in seen if one is not None and not has_ended(one.data)]
    return sorted(found, key=lambda one: (not one.is_here, one.since, one.process))


def interpret_file(seen: Seen) -> Launcher:
    """The file of a launcher; what it does not say, or not well, is not known."""
    told: Any = None
    with suppress(ValueError, RecursionError):
        told = json.loads(seen.data.decode(errors="replace").partition("\n")[2])
    about = told if isinstance(told, dict) else {}
    texts = {name: value for name, value in about.items() if isinstance(value, str)}
    process = about.get("process")
    return Launcher(
        request=texts.get("request", ""),
        process=process if isinstance(process, int) and 0 < process < 2**32 else 0,
        host=texts.get("host", ""),
        since=texts.get("since", ""),
        is_here=state_of(seen.data) == LIVES,
        renewed=datetime.fromtimestamp(min(max(seen.written, 0.0), 2.0**35), UTC).isoformat(timespec="seconds"),
    )
