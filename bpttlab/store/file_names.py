"""The names of a user's own files of networks and data: results/<study>/file_names/<time>-<SHA-256>.json.

    {"files": [{"content": "0a1b…", "file": "lstm_100.safetensors", "label": null}, …], "sha256": "3f2a…",
     "version": 2}

A run is identified by the content of its file. Names may change without a new run, so they are kept beside the runs,
by content. A sweep over files writes one record, in the order of its line, if it says something new. Records are never
changed: two sweeps at the same time lose no name. A later record decides the names and the order of its files; a label
or an update holds until another is given. No number depends on a record, and a study without them is complete.

A file of a network in training has "update" and, with others of its training run, "start" in addition: the content of
the first file of the run. Such files are one network of the point that their label names.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from bpttlab.errors import ConfigurationError
from bpttlab.files import own_folder
from bpttlab.store.columns import FILE_NAMES, FROM, MONITOR_LABEL, MONITORED, NETWORK_CONTENT, NETWORK_NAMES, UPDATE
from bpttlab.store.damage import Damage
from bpttlab.store.monitored import labels_of, places_of
from bpttlab.store.records import list_records, read_record, read_records, to_bytes, write_record
from bpttlab.store.schema import cut_text

NAMES_FOLDER = "file_names"
_VERSION = 2
_RECORD = re.compile(r"\d{20}-[0-9a-f]{16}\.json")
_CONTENT = re.compile(r"[0-9a-f]{32,64}")
_STORED_NETWORK = re.compile(r"(?P<study>[\w.-]+):(?P<run>[0-9a-f]{32})@(?P<update>\d+)")
_LARGEST_BYTES = 1 << 24
_LONGEST = 4096
"""Characters of a file's path."""

_DIGITS = 8
"""Of the hash of a file that has no name."""

_OF_TRAINING = ("update", "start")


class NamedFile(NamedTuple):
    """What a sweep calls a file.

    Attributes:
        content: the SHA-256 of its bytes, as in the column `cell_content`.
        file: its path, from the current folder if it is below that.
        label: cell.label; None: not given.
        update: cell.update; None: not given.
        start: the content of the first file of its training run; None: not given, because no other file is of that run.
    """

    content: str
    file: str
    label: str | None = None
    update: int | None = None
    start: str | None = None


# ------------------------------------------------------------------ writing and reading


def write_names(folder: Path, files: Iterable[NamedFile]) -> None:
    """Records the files of a sweep, in the order of its line; nothing if the names are those that are known.

    Args:
        folder: the study's folder.

    Raises:
        StoreError: the record cannot be written, or a former one cannot be read.
    """
    first: dict[str, NamedFile] = {}
    for named in files:
        if _CONTENT.fullmatch(named.content):  # a class of a user's own may have another field of this name
            first.setdefault(named.content, named)
    files = [named._replace(label=cut_label(named.label)) for named in first.values()]
    before = read_names(folder)
    if not files or merge_names([before, files]) == before:
        return
    data = to_bytes({"version": _VERSION, "files": [_entry_of(named) for named in files]})
    name = f"{_time_after_all(folder):020d}-{hashlib.sha256(data).hexdigest()[:16]}.json"
    write_record(own_folder(folder, NAMES_FOLDER) / name, data)


def _entry_of(named: NamedFile) -> dict[str, Any]:
    """What a record says of a file; of its training only what there is."""
    return {name: value for name, value in named._asdict().items() if name not in _OF_TRAINING or value is not None}


def _time_after_all(folder: Path) -> int:
    """Nanoseconds since 1970, or more where a clock was set back: the record is the last one."""
    before = list_records(folder / NAMES_FOLDER, _RECORD)
    return max(time.time_ns(), int(before[-1].name[:20]) + 1 if before else 0) % 10**20


def read_names(folder: Path, damage: Damage | None = None) -> list[NamedFile]:
    """The files of all sweeps of a study, in the order given.

    Args:
        damage: notes the records that cannot be read; None: they are an error.

    Raises:
        StoreError: a record was not written by `write_names`.
    """
    paths = list_records(folder / NAMES_FOLDER, _RECORD)  # the oldest first
    return merge_names(map(_read, paths) if damage is None else read_records(paths, _read, damage))


def _read(path: Path) -> list[NamedFile]:
    return read_record(path, _VERSION, _LARGEST_BYTES, _named_files)


def merge_names(records: Iterable[Sequence[NamedFile]]) -> list[NamedFile]:
    """The names after all records, the oldest first.

    What a record does not say of a file is as before.
    """
    known: dict[str, NamedFile] = {}
    order: list[str] = []
    for record in records:
        order = merge_order(order, [named.content for named in record])
        for named in record:
            former = known.get(named.content, named)
            said = {name: value for name, value in named._asdict().items() if value is not None}
            known[named.content] = former._replace(**said)
    return [known[content] for content in order]


def merge_order(before: Sequence[str], later: Sequence[str]) -> list[str]:
    """The order after a later line: its own in its order, the others in their places.

    What is new stands behind the one that it follows on the line.
    """
    there, new = set(before), set(later) - set(before)
    again = [one for one in dict.fromkeys(later) if one in there]
    first = again[0] if again else None
    leading: list[str] = []
    behind: dict[str, list[str]] = {}
    place = leading
    for one in dict.fromkeys(later):
        if one in new:
            place.append(one)
        else:
            place = behind.setdefault(one, [])
    places, order = iter(again), []
    for one in before:
        one = next(places) if one in behind else one
        order += [*(leading if one == first else []), one, *behind.get(one, [])]
    return order if again else [*order, *leading]


def cut_label(label: str | None) -> str | None:
    """A label of at most _LONGEST characters."""
    return None if label is None else cut_text(label, _LONGEST - 100)


def _named_files(content: Any) -> list[NamedFile]:
    return [_named_file(entry) for entry in content["files"]]


def _named_file(entry: Mapping[str, Any]) -> NamedFile:
    named = NamedFile(entry["content"], entry["file"], entry["label"], *map(entry.get, _OF_TRAINING))
    if not _CONTENT.fullmatch(named.content):
        raise ValueError("a content is no SHA-256")
    texts = [named.file, *([] if named.label is None else [named.label])]
    if not all(isinstance(text, str) and text.encode() and len(text) <= _LONGEST for text in texts):
        raise ValueError("a file or a label is no name")
    if named.update is not None and (type(named.update) is not int or not 0 <= named.update < 1 << 63):
        raise ValueError("an update is no number of steps")
    if named.start is not None and not _CONTENT.fullmatch(named.start):
        raise ValueError("a start is no SHA-256")
    return named


# ------------------------------------------------------------------ names -> columns of runs


def with_names(runs: pa.Table, files: Sequence[NamedFile], pool: bool = False) -> pa.Table:
    """`runs` with NETWORK_NAMES after `cell_content` and FILE_NAMES after their columns, if it has these columns.

    Args:
        pool: whether the files that have one label, or none, are networks of one point: they have one `cell_label` and
            `network_order`, `network_id` is the content of the file, and there is no column `cell_content`.
    """
    return with_network_names(with_data_names(runs, files), files, pool)


def with_data_names(runs: pa.Table, files: Sequence[NamedFile]) -> pa.Table:
    """`runs` with the name of the file of each task and initializer that has one."""
    for column, name in FILE_NAMES.items():
        if column in runs.column_names:
            contents = runs[column].to_pylist()
            named = [one._replace(label=None) for one in _files_of(contents, files)]
            labels = dict(zip([one.content for one in named], distinct_labels(named), strict=True))
            names = pa.array([labels.get(content) for content in contents], pa.string())
            runs = runs.add_column(runs.column_names.index(column) + 1, name.arrow_field, names)
    return runs


def with_network_names(runs: pa.Table, files: Sequence[NamedFile], pool: bool) -> pa.Table:
    """`runs` with the name of each network that is from a file, or that a monitor measures; see `with_names`."""
    by_content = [name for name in (NETWORK_CONTENT, FROM) if name in runs.column_names]
    monitored, from_files = labels_of(runs), bool(by_content)
    if not (from_files or any(monitored)):
        return runs
    taken = {column.name for column in NETWORK_NAMES} & set(runs.column_names)
    if taken and pool:
        raise ConfigurationError(
            f"networks=path: a cell of your own has the field {', '.join(taken)}; leave networks=path out"
        )
    if taken:
        return runs
    contents = _contents_of_networks(runs) if from_files else [None] * runs.num_rows
    found = _names_of_rows(contents, monitored, _files_of(contents, files), pool)
    at = runs.column_names.index(by_content[0] if from_files else MONITOR_LABEL) + 1
    for place, (column, values) in enumerate(zip(NETWORK_NAMES, found, strict=True), at):
        runs = runs.add_column(place, column.arrow_field, pa.array(values, column.arrow_field.type))
    if any(monitored):
        runs = runs.drop_columns([MONITOR_LABEL])
    if pool and from_files:
        runs = _with_files_as_networks(runs, contents)
    return _with_training_runs(runs, contents, _files_of(contents, files))


def _contents_of_networks(runs: pa.Table) -> list[str | None]:
    """What identifies the network of each run: the file of the user's own, or the weights of another study."""
    nothing = pa.nulls(runs.num_rows)
    columns = [runs[name] if name in runs.column_names else nothing for name in ("cell", NETWORK_CONTENT, FROM)]
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return [weights or (content if cell == "from_file" else None) for cell, content, weights in rows]


def _names_of_rows(
    contents: Sequence[str | None], monitored: Sequence[str | None], named: Sequence[NamedFile], pool: bool
) -> list[tuple[Any, ...]]:
    """The columns NETWORK_NAMES: of networks from files, and behind them in order those in training."""
    labels = pooled_labels(named) if pool else labels_of_files(named)
    places = _places(labels)
    of_file = {
        one.content: (one.file or None, label, place) for one, label, place in zip(named, labels, places, strict=True)
    }
    of_label = {label: (None, label, place) for label, place in places_of(monitored, max(places, default=0)).items()}
    nothing = (None,) * len(NETWORK_NAMES)
    rows = [
        of_file.get(content or "", of_label.get(label or "", nothing))
        for content, label in zip(contents, monitored, strict=True)
    ]
    return list(zip(*rows, strict=True))


def _files_of(contents: Iterable[str | None], files: Sequence[NamedFile]) -> list[NamedFile]:
    """The files with these contents in the order given, then those without a name."""
    known = {named.content: named for named in files}
    there = {content for content in contents if content is not None}
    order = [*(content for content in known if content in there), *sorted(there - set(known))]
    return [known.get(content, NamedFile(content, "")) for content in order]


def _places(labels: Sequence[str]) -> list[int]:
    """The place of each label, from 1; equal labels share one."""
    first = {label: place for place, label in enumerate(dict.fromkeys(labels), 1)}
    return [first[label] for label in labels]


def _with_files_as_networks(runs: pa.Table, contents: Sequence[str | None]) -> pa.Table:
    """`runs` in which a file is a network, whatever a seed draws beside it."""
    at = runs.column_names.index("network_id")
    ids = [content or drawn for content, drawn in zip(contents, runs["network_id"].to_pylist(), strict=True)]
    by_content = [name for name in (NETWORK_CONTENT, FROM) if name in runs.column_names]
    return runs.set_column(at, runs.schema.field(at), pa.array(ids, pa.string())).drop_columns(by_content)


def _with_training_runs(runs: pa.Table, contents: Sequence[str | None], files: Sequence[NamedFile]) -> pa.Table:
    """`runs` in which the files of a training run are one network, with their `update`."""
    trained = {named.content: named for named in files if named.update is not None}
    if not trained:
        return runs
    found = [trained.get(content or "") for content in contents]
    drawn = runs["network_id"].to_pylist()
    ids = [named.start or named.content if named else other for named, other in zip(found, drawn, strict=True)]
    runs = _set_column(runs, runs.schema.field("network_id"), ids, 0)
    measured = runs[UPDATE].to_pylist() if UPDATE in runs.column_names else [None] * runs.num_rows
    updates = [named.update if named else other for named, other in zip(found, measured, strict=True)]
    column = next(column for column in MONITORED if column.name == UPDATE)
    return _set_column(runs, column.arrow_field, updates, runs.column_names.index(NETWORK_NAMES[-1].name) + 1)


def _set_column(runs: pa.Table, field: pa.Field, values: Sequence[Any], place: int) -> pa.Table:
    """`runs` with the column in its place, or in this one if it is new."""
    column = pa.array(values, field.type)
    known = field.name in runs.column_names
    return (
        runs.set_column(runs.column_names.index(field.name), field, column)
        if known
        else runs.add_column(place, field, column)
    )


POOLED = "all files"
"""The name of a point of which files without a label are the networks."""


def pooled_labels(files: Sequence[NamedFile]) -> list[str]:
    """The labels of points: those that were given; files without one are together."""
    return [POOLED if named.label is None else named.label for named in files]


def labels_of_files(files: Sequence[NamedFile]) -> list[str]:
    """Those of points where a file has an update, and otherwise one that no other has."""
    alone = [named for named in files if named.update is None]
    distinct = dict(zip([named.content for named in alone], distinct_labels(alone), strict=True))
    return [distinct.get(named.content, POOLED if named.label is None else named.label) for named in files]


def distinct_labels(files: Sequence[NamedFile]) -> list[str]:
    """A name for each file that no other has: its label, else the end of its path without the suffix.

    As many folders stand before a file's name as distinguish it. Files with one label have their names behind it.
    """
    stems = _distinct_stems([named.file for named in files])
    given = Counter(named.label for named in files)
    labels = [_label(named, stem, given[named.label]) for named, stem in zip(files, stems, strict=True)]
    twice = Counter(labels)
    return [
        label if twice[label] == 1 else f"{label} ({named.content[:_DIGITS]})"
        for label, named in zip(labels, files, strict=True)
    ]


def _label(named: NamedFile, stem: str, alike: int) -> str:
    stem = stem or named.content[:_DIGITS]
    if named.label is None:
        return stem
    return named.label if alike == 1 else f"{named.label} ({stem})"


def _distinct_stems(paths: Sequence[str]) -> list[str]:
    """Each path without its suffix, from the last folder on that distinguishes it: "lstm_0", "a/best", "b/best".

    The network of a study has its study, the first digits of its run and its update: "first:0a1b2c3d@500".
    """
    parts = [_parts_of(path) for path in paths]
    found = ["/".join(part[-1:]) for part in parts]
    for depth in range(2, max(map(len, parts), default=1) + 1):
        twice = Counter(found)
        found = [text if twice[text] == 1 else "/".join(part[-depth:]) for text, part in zip(found, parts, strict=True)]
    return found


def _parts_of(path: str) -> tuple[str, ...]:
    if stored := _STORED_NETWORK.fullmatch(path):
        return (f"{stored['study']}:{stored['run'][:_DIGITS]}@{stored['update']}",)
    return Path(path).with_suffix("").parts if path else ()
