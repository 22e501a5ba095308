"""Several files of a user's own in one sweep: one label and one update for each file, an activation for those that
need one.

`cell.path=a,b cell.label=first,second` are two networks and not four: a label belongs to its file, and so does an
update.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.fields import Plain
from bpttlab.networks.cells import Elman
from bpttlab.networks.pretrained import FromFile, as_text, check_label
from bpttlab.networks.pytorch_weights import PATH, Weights, read_weights
from bpttlab.store.file_names import NamedFile
from bpttlab.sweeps.configuration import Configuration

LABEL, UPDATE = "cell.label", "cell.update"
OF_FILES = (LABEL, UPDATE)
"""Fields of which a line gives one value for each file."""


# ------------------------------------------------------------------ labels and updates

Told = dict[Any, dict[str, Any]]
"""Of each path, the fields of the cell that a line gives for this file."""


def take_labels(axes: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Sequence[Any]], Told]:
    """The axes of a sweep without several labels and updates, and those of each path.

    Raises:
        ConfigurationError: there is not one for each file.
    """
    left, told, paths = dict(axes), Told(), axes.get(PATH, ())
    for key in OF_FILES:
        values, kind = axes.get(key, ()), key.removeprefix("cell.")
        if len(values) < 2:
            continue
        if len(values) != len(paths):
            many = f"{len(paths)} {'file' if len(paths) == 1 else 'files'}" if paths else "no list of files"
            raise ConfigurationError(
                f"{key}={','.join(map(str, values))}: {len(values)} {kind}s, and {PATH} has {many}: give one {kind} "
                "for each file, in the same order, or one for all"
            )
        del left[key]
        for path, value in zip(reversed(paths), reversed(values), strict=True):  # a file that comes twice has its first
            told.setdefault(path, {})[kind] = value
    return left, told


def set_told(run: Plain, told: Told) -> Plain:
    """A run with the label and the update of its file."""
    path = run["cell"].get("path") if told else None
    return {**run, "cell": {**run["cell"], **told[path]}} if path in told else run


def named_files(configurations: Iterable[Configuration]) -> list[NamedFile]:
    """The names of the files of a sweep, in the order of its line; of equal files the first name.

    Raises:
        ConfigurationError: as in `join_training_runs`.
    """
    found: dict[str, NamedFile] = {}
    for of_run in ((one.own, one.task, one.initializer) for one in configurations):
        for own in of_run:
            content, path = getattr(own, "content", None), getattr(own, "path", None)
            if isinstance(content, str) and isinstance(path, str) and path and content not in found:
                told = (check_label(own.label), own.update) if isinstance(own, FromFile) else (None, None)
                shown = user_files.show_path(path).encode(errors="replace").decode()  # a name may be no Unicode
                found[content] = NamedFile(content, shown, *told)
    return join_training_runs(list(found.values()))


def join_training_runs(files: Sequence[NamedFile]) -> list[NamedFile]:
    """The files with the first one of their training run.

    Of the files of one label, the first of an update belongs to the first of every other update, and so on.

    Raises:
        ConfigurationError: a label has more files of one update than of another.
    """
    labelled: dict[str | None, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for named in files:
        if named.update is not None:
            labelled[named.label][named.update].append(named.content)
    starts: dict[str, str] = {}
    for label, updates in labelled.items():
        if len(set(map(len, updates.values()))) > 1:
            counts = ", ".join(f"{len(contents)} of {update}" for update, contents in sorted(updates.items()))
            of_label = "" if label is None else f" with the label {label}"
            raise ConfigurationError(
                f"{UPDATE}: different numbers of files{of_label}: {counts}; give each network at each update, in the "
                "same order, or labels that tell networks apart"
            )
        for contents in updates.values() if len(updates) > 1 else ():
            starts |= dict(zip(contents, updates[min(updates)], strict=True))
    return [named._replace(start=starts.get(named.content)) for named in files]


def equal_files(configurations: Iterable[Configuration]) -> list[str]:
    """A line for each file that is the same network as another one of the sweep."""
    names: dict[str, dict[str, None]] = {}
    for own in (one.own for one in configurations):
        if own is not None and own.content is not None:
            names.setdefault(own.content, {})[user_files.show_path(own.path)] = None
    groups = [list(paths) for paths in names.values() if len(paths) > 1]
    return [f"{', '.join(paths)} have the same bytes: one network, named {paths[0]}" for paths in groups]


# ------------------------------------------------------------------ activations


def settle_activations(
    configurations: Iterable[Mapping[str, Any]], ignored: dict[str, str]
) -> Iterator[Mapping[str, Any]]:
    """Configurations in which a file that has its own activations ignores cell.activation, if another file of the sweep
    needs it.

    They come one after the other up to the first that gives an activation for a file: then all files must be known.

    Args:
        ignored: receives the files that ignore it, each with what its library calls it.
    """
    one_by_one = iter(configurations)
    for one in one_by_one:
        if _file_of(one) is not None:
            yield from _settle_all([one, *one_by_one], ignored)
        else:
            yield one


def _settle_all(configurations: Sequence[Mapping[str, Any]], ignored: dict[str, str]) -> Iterator[Mapping[str, Any]]:
    kinds = {key: _content_of(key) for key in dict.fromkeys(map(_file_of, configurations)) if key is not None}
    needed = any(found is not None and found.of == Elman.name for found in kinds.values())
    for one in configurations:
        key = _file_of(one) if needed else None
        found = None if key is None else kinds[key]
        if key is not None and found is not None and found.of != Elman.name:
            ignored[user_files.show_path(user_files.make_absolute(key[0]))] = found.module
            one = {**one, "cell": {**one["cell"], "activation": None}}
        yield one


def describe_ignored(ignored: Mapping[str, str]) -> list[str]:
    """A line for the files that ignore cell.activation, if there are any (`settle_activations`)."""
    files = ", ".join(f"{path} ({module})" for path, module in ignored.items())
    own = "which has its own" if len(ignored) == 1 else "which have their own"
    return [f"cell.activation is ignored for {files}, {own}"] if ignored else []


_File = tuple[str, str | None, str | None, str | None]
"""A path, the prefixes in the file, and the direction."""


def _file_of(one: Mapping[str, Any]) -> _File | None:
    """The file of a configuration that gives an activation; None for any other."""
    cell = one.get("cell") if isinstance(one, Mapping) else None
    if not isinstance(cell, Mapping) or cell.get("name") != FromFile.name or cell.get("activation") is None:
        return None
    chosen = (cell.get("recurrent_prefix"), cell.get("readout_prefix"), cell.get("direction"))
    return str(cell.get("path")), *map(as_text, chosen)  # type: ignore[return-value]


def _content_of(key: _File) -> Weights | None:
    """What a file holds; None if it cannot be read, which is said where the run is checked."""
    try:
        return read_weights(*key)
    except LabError:
        return None
