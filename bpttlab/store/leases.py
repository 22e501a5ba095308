"""Leases: several launchers, on one machine or on several, divide the work on one study without a server or a lock.

    results/<study>/leases/<launcher>.launcher      one file for each launcher, touched every few seconds
    results/<study>/leases/<share>.lease            one file for each share of the work that a launcher has now

A launcher takes a share by creating its file exclusively (O_EXCL, which NFS grants to one of several machines as well).
The file names the launcher. A launcher that ends deletes its files. A launcher that was killed, or whose machine died,
touches its file no more: after LEASE_SECONDS any other launcher takes over its shares. On the same machine that is at
once, because the process no longer exists. So nothing has to be cleaned up by hand.

Clocks of several machines need not agree. The age of a file is the difference of two times that the file system gave:
that of the other launcher's file, and that of this launcher's, touched a moment before. Where the clock of the file
system was set back, a file that did not change for LEASE_SECONDS of this machine's monotonic clock is out of date too.

No result depends on a lease. Where two launchers have one share after all, for example because one was suspended, both
compute it, and readers count each run once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import stat
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from bpttlab.errors import StoreError
from bpttlab.files import READING, make_folder
from bpttlab.store.shards import check_is_folder, name_file_in_errors

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

    Raises:
        StoreError: its files cannot be written.
    """

    def __init__(self, study: Path, seconds: float | None = None) -> None:
        self.folder = study / FOLDER
        self.seconds = LEASE_SECONDS if seconds is None else seconds
        self.launcher = uuid.uuid4().hex
        self.held: set[str] = set()
        self._unchanged: dict[str, tuple[float, float]] = {}
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew_until_the_end, daemon=True)

    def __enter__(self) -> Leases:
        check_is_folder(self.folder.parent)
        check_is_folder(self.folder)
        with name_file_in_errors(self.folder):
            try:
                make_folder(self.folder)
                self._write_own_file()
            except FileNotFoundError:  # another launcher ended and removed the folder between the two
                make_folder(self.folder)
                self._write_own_file()
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
            if self._create(path) or (self._take_away(path) and self._create(path)):
                self.held.add(share)
        return share in self.held

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

    # -------------------------------------------------------------- files

    def _create(self, path: Path) -> bool:
        """Creates the file of a share; False if there is one."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, self.launcher.encode())
        finally:
            os.close(descriptor)
        return True

    def _take_away(self, path: Path) -> bool:
        """Removes the file of a share whose launcher lives no more; False if it lives.

        The file is renamed before it is deleted, and of several launchers one succeeds. If it is not the file that was
        read, because another launcher was faster, it goes back.
        """
        seen = read(path)
        if seen is None:
            return True
        if self._holds(seen):
            return False
        mine = path.with_name(f".{uuid.uuid4().hex}.lease")
        try:
            path.rename(mine)
        except FileNotFoundError:
            return True
        taken = read(mine)
        if taken is not None and taken.data != seen.data and _LEASE.fullmatch(path.name):
            with suppress(OSError):
                os.link(mine, path)
        mine.unlink(missing_ok=True)
        return not path.exists()

    def _holds(self, lease: Seen) -> bool:
        """Whether the launcher that a lease names lives; a file without a name is being written, or was left so."""
        holder = lease.data.decode(errors="replace")
        if holder == self.launcher:
            return False  # of a share that this launcher has returned, or lost and got back
        return self._lives(holder) if re.fullmatch(r"[0-9a-f]{32}", holder) else self._age(lease.written) < self.seconds

    def _lives(self, launcher: str) -> bool:
        """Whether a launcher touched its file of late, and its process exists as far as this machine can know."""
        seen = read(self._file_of(launcher))
        if seen is None:
            return False
        now = time.monotonic()
        written, since = self._unchanged.get(launcher, (seen.written, now))
        self._unchanged[launcher] = (seen.written, since if written == seen.written else now)
        silent = max(self._age(seen.written), now - self._unchanged[launcher][1])
        return silent < self.seconds and not has_ended(seen.data)

    def _age(self, written: float) -> float:
        """Seconds since that time, by the clock of the file system; by this machine's while this has no file there."""
        if not self._renewal.is_alive():
            return time.time() - written
        self._touch()
        own = read(self._own_file)
        return 0.0 if own is None else own.written - written

    def _touch(self) -> None:
        """Renews all leases of this launcher, by its one file."""
        try:
            os.utime(self._own_file)
        except FileNotFoundError:  # another launcher took this one for dead
            self._write_own_file()

    def _write_own_file(self) -> None:
        self._own_file.write_text(json.dumps(describe_process()), encoding="utf-8")

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


# ------------------------------------------------------------------ processes of this machine


def describe_process() -> dict[str, Any]:
    """A process, and a hash of the machine on which its number means something."""
    return {"machine": identify_machine(), "process": os.getpid(), "begun": find_begin(os.getpid())}


def has_ended(launcher: bytes) -> bool:
    """Whether the file of a launcher names a process of this machine that no longer exists."""
    try:
        named = json.loads(launcher)
        if named["machine"] != identify_machine():
            return False
        return find_begin(int(named["process"])) != named["begun"]
    except (ValueError, LookupError, TypeError, OverflowError):
        return False


def identify_machine() -> str:
    """A hash of what tells one set of processes from another: host, boot and, in a container, its processes."""
    known = [platform.node(), _first_line("/proc/sys/kernel/random/boot_id")]
    with suppress(OSError):
        known.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:32]


def find_begin(process: int) -> str | None:
    """When a process began, as far as the system tells; None if there is no such process."""
    stated = _first_line(f"/proc/{process}/stat")
    if stated:
        state, *others = stated.rpartition(")")[2].split()
        return None if state in "ZX" else others[18]
    if sys.platform == "win32":  # where os.kill(process, 0) sends Ctrl-C
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").split("\n")[0]
    except OSError:
        return ""
