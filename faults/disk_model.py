"""What a disk may hold after a power failure, of a file system that promises no more than POSIX.

The bytes of a file are on disk after an fsync of the file. A name is on disk after an fsync of its folder; before that,
each change of names may be there or not, whatever happened to earlier ones. A rename is there whole or not at all.
Bytes that are not on disk yet are all there, absent, cut off in the middle, or zeros.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np

from faults import recording
from faults.recording import Operation

Image: TypeAlias = dict[str, bytes | None]
"""Path -> bytes of a file; None: a folder."""

Entry: TypeAlias = tuple[int, str]
"""The number of a folder, and a name in it."""

Change: TypeAlias = dict[Entry, int | None]
"""What names mean after an operation; None: they are gone."""

ROOT = 0
WHOLE, ABSENT, TORN, ZEROS = range(4)
"""What became of the bytes of a file that are not on disk."""


class Disk:
    """A disk, and the operations of which nobody has asked that they be on it.

    Attributes:
        names: what programs see.
        kept: the names that are on disk.
        pending: changes of names that may not be on disk.
        bytes: of each file, as programs see it.
        safe: of each file, as it is on disk.
    """

    def __init__(self) -> None:
        self.names: Change = {}
        self.kept: Change = {}
        self.pending: list[Change] = []
        self.folders: set[int] = {ROOT}
        self.bytes: dict[int, bytes] = {}
        self.safe: dict[int, bytes] = {}

    def find(self, path: PurePosixPath | str) -> int | None:
        """The number of the file or folder that a path leads to."""
        number: int | None = ROOT
        for part in PurePosixPath(path).parts:
            number = None if number is None else self.names.get((number, part))
        return number

    def entry(self, path: str) -> Entry:
        """The place of a name."""
        folder = self.find(PurePosixPath(path).parent)
        if folder is None:
            raise LookupError(f"there is no folder for {path}")
        return folder, PurePosixPath(path).name

    # -------------------------------------------------------------- operations

    def carry_out(self, one: Operation) -> None:
        """Changes what programs see; an fsync changes what is on disk."""
        if one.kind == recording.WRITE:
            number = self.find(one.path)
            if number is not None:  # else a file without a name
                self.bytes[number] += one.data
        elif one.kind == recording.FSYNC:
            self._keep(self.find(one.path))
        elif one.kind != recording.DONE and not (one.kind == recording.CREATE and self.find(one.path) is not None):
            change = self._change(one)
            self.names |= change
            self.pending.append(change)

    def _change(self, one: Operation) -> Change:
        place, number = self.entry(one.path), self.find(one.path)
        if one.kind == recording.REMOVE:
            return {place: None}
        if one.kind == recording.RENAME:
            return {place: None, self.entry(one.target): number}
        if one.kind == recording.LINK:
            return {self.entry(one.target): number}
        new = len(self.folders) + len(self.bytes)
        if one.kind == recording.MKDIR:
            self.folders.add(new)
        else:
            self.bytes[new], self.safe[new] = b"", b""
        return {place: new}

    def _keep(self, number: int | None) -> None:
        """An fsync of a file or folder."""
        if number in self.bytes:
            self.safe[number] = self.bytes[number]
        for change in self.pending:
            done = {entry: target for entry, target in change.items() if entry[0] == number}
            if done:
                self.kept |= change  # of a rename between folders both names: it is one change
                change.clear()
        self.pending = [change for change in self.pending if change]

    # -------------------------------------------------------------- what may be there

    @property
    def unsafe(self) -> list[int]:
        """The files with bytes that may not be on disk."""
        return [number for number, data in self.bytes.items() if data != self.safe[number]]

    def images(self, most: int, random: np.random.Generator) -> Iterator[Image]:
        """What may be on disk now: all that may, or so many at random if there are more, none and all among them."""
        sizes = [2] * len(self.pending) + [4] * len(self.unsafe)
        if np.prod(sizes, dtype=float) <= most:
            chosen: Iterable[Sequence[int]] = itertools.product(*map(range, sizes))
        else:
            some = ([int(random.integers(size)) for size in sizes] for _ in range(most - 2))
            chosen = [[0] * len(sizes), [size - 1 for size in sizes], *some]
        for one in chosen:
            yield self.image(one[: len(self.pending)], one[len(self.pending) :])

    def image(self, changed: Sequence[int], written: Sequence[int]) -> Image:
        """What is on disk.

        Args:
            changed: of each pending change, whether it is there.
            written: of each file with bytes that are not safe, what became of them.
        """
        names = dict(self.kept)
        for change, is_there in zip(self.pending, changed, strict=True):
            names |= change if is_there else {}
        data = dict(self.safe)
        for number, fate in zip(self.unsafe, written, strict=True):
            data[number] = lose(self.safe[number], self.bytes[number], fate)
        return dict(self._walk(ROOT, "", names, data))

    def _walk(
        self, folder: int, path: str, names: Change, data: Mapping[int, bytes]
    ) -> Iterator[tuple[str, bytes | None]]:
        for (parent, name), number in names.items():
            if parent == folder and number is not None:
                yield f"{path}{name}", data.get(number)
                if number in self.folders:
                    yield from self._walk(number, f"{path}{name}/", names, data)


def lose(safe: bytes, written: bytes, fate: int) -> bytes:
    """The bytes of a file of which the last ones may not be on disk."""
    rest = written[len(safe) :]
    return safe + {WHOLE: rest, ABSENT: b"", TORN: rest[: len(rest) // 2], ZEROS: bytes(len(rest))}[fate]


def write(image: Image, folder: Path) -> None:
    """Makes the files and folders of an image."""
    for path, data in sorted(image.items()):
        if data is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).write_bytes(data)
