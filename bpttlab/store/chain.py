"""The chain of commits of a writer, by which readers notice that one was deleted.

    results/<study>/commits/<writer>.json     {"last": "0a1b…", "number": 12, "sha256": …, "version": 1}

A writer is one store object of one process. It numbers its commits from 1, and each names the one before. The number
and the name of its last commit are also in a file of their own, written after the commit: so the last one is not
missed either. A writer that is killed between the two leaves a number that is one too small, which says nothing wrong.

Shards of the other tables have the writer and the number too, so that those of a commit that is missing tell its runs.
A repair that set a commit aside, or took note that it is missing, is recorded in damaged/ (`store.repair`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bpttlab import processes
from bpttlab.store.damage import Damage, Fault
from bpttlab.store.records import list_records, read_record, read_records, to_bytes, write_record

if TYPE_CHECKING:
    from bpttlab.store.commits import Commit

COMMITS_FOLDER = "commits"
_VERSION = 1
_LARGEST_BYTES = 4096
_WRITER = re.compile(rf"({processes.PATTERN})-[0-9a-f]{{16}}")
_HEAD = re.compile(rf"{processes.PATTERN}-[0-9a-f]{{16}}\.json")
_SHA = re.compile(r"[0-9a-f]{64}")
_MOST = 1 << 40


class Place(NamedTuple):
    """The place of a shard in the chain of its writer.

    Attributes:
        writer: the name of its process and 16 digits more.
        number: of the commit, from 1.
        previous: the name of the commit before; None: the first, or not a commit.
    """

    writer: str
    number: int
    previous: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.writer, self.number

    @property
    def process(self) -> str:
        """The name of the writer's process."""
        return self.writer.rpartition("-")[0]

    def follow(self, commit: str) -> Place:
        """The place after this one, which the commit of that name took."""
        return Place(self.writer, self.number + 1, commit)


def begin_chain() -> Place:
    """The first place of a new writer."""
    return Place(f"{processes.name_process()}-{uuid.uuid4().hex[:16]}", 1)


def read_place(about: Mapping[str, Any]) -> Place:
    """The place that a shard states.

    Raises:
        LookupError: it states none.
    """
    place = Place(about.get("writer", ""), about.get("number", 0), about.get("previous"))
    if not isinstance(place.writer, str) or not _WRITER.fullmatch(place.writer):
        raise LookupError("its metadata name no writer")
    if type(place.number) is not int or not 1 <= place.number < _MOST:
        raise LookupError("its metadata have no number of a commit")
    if (place.previous is None) != (place.number == 1) and "siblings" in about:
        raise LookupError("its metadata name no commit before")
    if place.previous is not None and (not isinstance(place.previous, str) or not _SHA.fullmatch(place.previous)):
        raise LookupError("its metadata name an invalid commit")
    return place


# ------------------------------------------------------------------ the last commit of each writer


class Head(NamedTuple):
    """The last commit of a writer."""

    writer: str
    number: int
    last: str


def write_head(study: Path, place: Place, commit: str) -> None:
    """Records that this commit took this place.

    Raises:
        StoreError: the file cannot be written.
    """
    content = {"version": _VERSION, "number": place.number, "last": commit}
    write_record(study / COMMITS_FOLDER / f"{place.writer}.json", to_bytes(content))


def read_heads(study: Path, damage: Damage) -> list[Head]:
    """The last commit of each writer; a file that cannot be read is noted as damaged."""
    return read_records(list_records(study / COMMITS_FOLDER, _HEAD), _read_head, damage)


def _read_head(path: Path) -> Head:
    return read_record(path, _VERSION, _LARGEST_BYTES, partial(_interpret, path.stem))


def _interpret(writer: str, content: Any) -> Head:
    number, last = content["number"], content["last"]
    if type(number) is not int or not 1 <= number < _MOST or not _SHA.fullmatch(last):
        raise ValueError("it names no commit")
    return Head(writer, number, last)


# ------------------------------------------------------------------ which are missing

PlaceKey: TypeAlias = tuple[str, int]
"""The writer and the number of a commit."""

REPLACED = "a commit that is missing, and all its runs are stored again"

_MOST_TOLD = 1 << 18
"""Commits of one writer that are looked for: three days of a commit each second."""


def find_missing(
    commits: Sequence[Commit], heads: Sequence[Head], settled: Container[PlaceKey] = ()
) -> dict[PlaceKey, str | None]:
    """The commits that there must have been and that are not among the readable ones; with their names, if others name
    them.

    Args:
        settled: those of which a repair took note.
    """
    places = [(commit.name, commit.place) for commit in commits]
    last: dict[str, int] = {}
    for writer, number in [*(place.key for _, place in places), *((head.writer, head.number) for head in heads)]:
        last[writer] = max(number, last.get(writer, 0))
    named: dict[PlaceKey, str | None] = {(head.writer, head.number): head.last for head in heads}
    named |= {(place.writer, place.number - 1): place.previous for _, place in places if place.previous}
    there = {place.key for _, place in places}
    numbers = ((writer, number) for writer, most in last.items() for number in range(1, min(most, _MOST_TOLD) + 1))
    return {key: named.get(key) for key in numbers if key not in there and key not in settled}


def note_lost(
    missing: Mapping[PlaceKey, str | None],
    commits: Sequence[Commit],
    damage: Damage,
    tell_runs: Callable[[Sequence[Commit]], Mapping[PlaceKey, set[str]]],
) -> None:
    """Notes the commits that are missing, and the runs of those that are damaged.

    A commit all of whose runs are stored again, in commits that are whole, is not missed. Its shards stay, as those of
    every commit that is missing, until a repair sets them aside: without them nobody could know its runs.

    Args:
        missing: what `find_missing` gives.
        tell_runs: the runs of commits that cannot be read.
    """
    if not missing:
        return
    whole = [commit for commit in commits if commit.name not in damage.commits]
    runs, stored = tell_runs(commits), {run_id for commit in whole for run_id in commit.run_ids}
    unnamed: dict[str, list[PlaceKey]] = {}
    for key, name in missing.items():
        its, file = tuple(sorted(runs.get(key, ()))), f"store/runs/{name}.parquet"
        damage.lost.add(key)
        if file in damage.faults:
            damage.note(damage.faults[file]._replace(runs=its))
        elif its and stored.issuperset(its):
            damage.replaced.append(Fault(file, REPLACED, its) if name else Fault(_of_writer(key[0]), REPLACED, its))
        elif name is None:
            unnamed.setdefault(key[0], []).append(key)
        else:
            damage.missing[file] = Fault(file, "a commit that is missing", its)
    for writer, keys in unnamed.items():
        file, count = _of_writer(writer), len(keys)
        lost = tuple(sorted({run_id for key in keys for run_id in runs.get(key, ())}))
        are = "commit of this writer is" if count == 1 else "commits of this writer are"
        damage.missing[file] = Fault(file, f"{count} {are} missing", lost)


def _of_writer(writer: str) -> str:
    """What stands for a commit whose name nobody knows."""
    return f"{COMMITS_FOLDER}/{writer}"
