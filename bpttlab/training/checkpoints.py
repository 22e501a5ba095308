"""Training that was interrupted goes on: its state as one file of plain arrays, and the same bytes in the end.

A checkpoint is a .npz archive: the numbers that are moved, the optimizer's arrays, counters and the history. Nothing in
it is a pickle. Batches and draws depend on the number of the update alone, so that they need no state. Every file is
written whole or not at all (`files`), and names what training it is of: another one is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError, LabWarning, StoreError
from bpttlab.fields import format_value
from bpttlab.files import NotAFileError, check_is_folder, make_folder, read_file, write_atomically
from bpttlab.numerics.array import Array
from bpttlab.streams import print_error
from bpttlab.training.history import HISTORY_COLUMNS, History, UpdateRow
from bpttlab.training.loop import Ongoing
from bpttlab.training.optimizers.optimizer import OptimizerState
from bpttlab.training.update import Setup, TrainingState

CHECKPOINT_SECONDS = 10.0
"""Between two checkpoints, and before the first one: a shorter run writes nothing."""

KEPT_CHECKPOINTS = 2
"""Checkpoints of a run of a sweep; if the last one is damaged, the one before it is there."""

NONE = -1
"""A counter that is missing."""

Description = Mapping[str, str]
"""What a training is, by name: two trainings are one if all of it is equal."""


# ------------------------------------------------------------------ arrays


def arrays_of(known: Ongoing, about: Description) -> dict[str, Array]:
    """A run that goes on as arrays."""
    row, solved = known.row, NONE if known.solved_at is None else known.solved_at
    rows = History([] if row is None else [row])
    return {
        "about": np.array(json.dumps(dict(about), sort_keys=True)),
        "solved_at": np.array(solved, np.int64),
        "ended": np.array(known.ended),
        **arrays_of_state("state", known.state),
        **arrays_of_state("before", known.before),
        **arrays_of_history("history", known.history),
        **arrays_of_history("row", rows),
    }


def arrays_of_state(prefix: str, state: TrainingState) -> dict[str, Array]:
    counters = np.array([state.update, state.optimizer.updates], np.int64)
    slots = {
        f"{prefix}/slot/{slot}/{name}": value
        for slot, arrays in state.optimizer.slots.items()
        for name, value in arrays.items()
    }
    carried = {f"{prefix}/carried/{name}": value for name, value in (state.carried or {}).items()}
    return {f"{prefix}/counters": counters, f"{prefix}/vector": state.vector, **carried, **slots}


def arrays_of_history(prefix: str, history: History) -> dict[str, Array]:
    parts = {"columns": history.columns(), "gradients": history.gradient_columns()}
    return {
        f"{prefix}/{part}/{name}": values.astype(str) if values.dtype == object else values
        for part, columns in parts.items()
        for name, values in columns.items()
    }


def restore_run(arrays: Mapping[str, Array]) -> Ongoing:
    """The run that `arrays_of` has described."""
    solved, rows = int(arrays["solved_at"]), restore_history("row", arrays).rows
    return Ongoing(
        restore_state("state", arrays),
        restore_state("before", arrays),
        rows[0] if rows else None,
        restore_history("history", arrays),
        None if solved == NONE else solved,
        ended=bool(arrays["ended"]),
    )


def restore_state(prefix: str, arrays: Mapping[str, Array]) -> TrainingState:
    update, updates = arrays[f"{prefix}/counters"].tolist()
    slots: dict[str, dict[str, Array]] = {}
    for name, value in arrays.items():
        if name.startswith(f"{prefix}/slot/"):
            slot, _, parameter = name.removeprefix(f"{prefix}/slot/").partition("/")
            slots.setdefault(slot, {})[parameter] = value
    begin = f"{prefix}/carried/"
    carried = {name.removeprefix(begin): value for name, value in arrays.items() if name.startswith(begin)} or None
    return TrainingState(update, arrays[f"{prefix}/vector"], OptimizerState(updates, slots), carried)


def restore_history(prefix: str, arrays: Mapping[str, Array]) -> History:
    columns = {name: arrays[f"{prefix}/columns/{name}"].tolist() for name in HISTORY_COLUMNS}
    cells = (arrays[f"{prefix}/gradients/{name}"].tolist() for name in ("update", "parameter", "log_gradient_norm"))
    norms: dict[int, dict[str, float]] = {}
    for update, parameter, norm in zip(*cells, strict=True):
        norms.setdefault(update, {})[parameter] = norm
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return History([restore_row(row, norms.get(row["update"])) for row in rows])


def restore_row(columns: Mapping[str, Any], norms: Mapping[str, float] | None) -> UpdateRow:
    """A row, in which NaN is None."""
    given: dict[str, Any] = {name: None if value != value else value for name, value in columns.items()}
    return UpdateRow(**given, by_parameter=norms)


# ------------------------------------------------------------------ files


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Arrays as a .npz archive: equal arrays have equal bytes."""
    file = io.BytesIO()
    assert not any(np.asarray(value).dtype.hasobject for value in arrays.values())  # objects would be pickled
    np.savez(file, **dict[str, Any](arrays))  # NumPy 2.1 takes allow_pickle for an array
    return file.getvalue()


def unpack_run(data: bytes) -> tuple[dict[str, str], Ongoing] | None:
    """What training a checkpoint is of, and its run; None where it is no checkpoint, or damaged.

    Members are not compressed: a small file cannot need much memory.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                return None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        return dict(json.loads(str(found["about"]))), restore_run(found)
    except Exception:  # zipfile, zlib and NumPy have errors of many classes for bytes that are not theirs
        return None


def read_checkpoint(path: Path, about: Description) -> Ongoing | None:
    """The run in a file; None where there is no file.

    Raises:
        ConfigurationError: it is no checkpoint, or one of another training; the message names the first difference.
    """
    if not path.exists():
        return None
    try:
        found = unpack_run(read_file(path))
    except NotAFileError:
        raise ConfigurationError(f"checkpoint={format_value(str(path))}: must be a file") from None
    except OSError as error:
        raise ConfigurationError(f"checkpoint={format_value(str(path))}: cannot be read ({error.strerror})") from None
    if found is None:
        raise ConfigurationError(f"checkpoint={format_value(str(path))}: is no checkpoint, or is damaged")
    stored, known = found
    for name in dict.fromkeys([*about, *stored]):
        if stored.get(name) != about.get(name):
            raise ConfigurationError(
                f"checkpoint={format_value(str(path))}: is of another training: its {name} is {stored.get(name)}, "
                f"and here it is {about.get(name)}"
            )
    return known


def describe_setup(setup: Setup, first: TrainingState) -> dict[str, str]:
    """All that decides the numbers of a training."""
    settings = {f"setting {name}": repr(value) for name, value in asdict(setup.settings).items()}
    parts = ("cell", "task", "optimizer", "scheme", "seed", "reduction", "loops", "dtype", "penalty", "projection")
    weights = hashlib.sha256(np.ascontiguousarray(first.vector).tobytes())
    for name, value in sorted(setup.layout.kept.items()):
        weights.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return {
        **{name: repr(getattr(setup, name)) for name in parts},
        "batch_size": repr(getattr(setup.data, "batch_size", None)),
        "scales of input and state": repr((setup.input_scale, setup.state_scale)),
        "trained parameters": ", ".join(setup.layout.shapes),
        "weights before training": weights.hexdigest()[:32],
        **settings,
    }


@dataclass
class CheckpointFile:
    """One file that is written again and again.

    Attributes:
        path: of the file.
        about: what training it is of.
        saved: when it was written last, in seconds of this process.
    """

    path: Path
    about: Description
    saved: float = field(default_factory=time.monotonic)

    def begin(self, known: Ongoing) -> None:
        """Writes the file before the first update: a place that cannot be written is refused before the work.

        Raises:
            ConfigurationError: the name does not end with .npz, there is no such folder, or it cannot be written.
        """
        field = f"checkpoint={format_value(str(self.path))}"
        if self.path.suffix != ".npz":
            raise ConfigurationError(f"{field}: must be the name of a .npz file")
        if not self.path.parent.is_dir():
            raise ConfigurationError(f"{field}: there is no folder {str(self.path.parent)!r}; make it first")
        try:
            self.save(known)
        except OSError as error:
            raise ConfigurationError(f"{field}: cannot be written ({error.strerror or error})") from None

    def save_if_due(self, known: Ongoing) -> None:
        if time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.save_or_warn(known)

    def save_or_warn(self, known: Ongoing) -> None:
        """A disk that is full does not end a training: the file is the last one that could be written."""
        try:
            self.save(known)
        except OSError as error:
            self.saved = time.monotonic()
            text = f"checkpoint={format_value(str(self.path))}: could not be written ({error.strerror or error})"
            warnings.warn(f"{text}; it is that of an earlier update", LabWarning, stacklevel=2)

    def save(self, known: Ongoing) -> None:
        write_atomically(self.path, pack_arrays(arrays_of(known, self.about)))
        self.saved = time.monotonic()


@dataclass
class CheckpointFolder:
    """Checkpoints of a training of a sweep, and its states at measured updates, which are measured again.

        results/<study>/checkpoints/<network_id>/checkpoint-<update>-<16 digits of SHA-256>.npz
                                                 measured-<update>-<16 digits of SHA-256>.npz

    A file whose bytes are not those of its name is left out.

    Attributes:
        folder: of this training.
        about: what training it is.
        waiting: states at measured updates that are not written yet.
        saved: when a checkpoint was written last, in seconds of this process.
        whole: the checkpoints that are of this training, the last one last. Damaged ones, and those of other versions
            of the programs, do not count as two that are kept.
        told: whether it was said that a checkpoint could not be written.
    """

    folder: Path
    about: Description
    waiting: list[Ongoing] = field(default_factory=list)
    saved: float = field(default_factory=time.monotonic)
    whole: list[Path] = field(default_factory=list)
    told: bool = False

    def keep(self, known: Ongoing) -> None:
        """Remembers the state at a measured update, for the next checkpoint."""
        self.waiting.append(Ongoing(known.state, known.before, known.row, solved_at=known.solved_at))

    def save_if_due(self, known: Ongoing) -> None:
        """Writes a checkpoint if the last one is old enough."""
        if time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.save_or_say(known)

    def save_or_say(self, known: Ongoing) -> None:
        """A disk that is full does not end a training: an interrupted one goes on from an earlier checkpoint."""
        try:
            self.save(known)
        except (OSError, StoreError) as error:
            reason = getattr(error, "strerror", None) or error
            text = f"a checkpoint of a training could not be written ({reason}): {self.folder}"
            if not self.told:
                print_error(f"bpttlab: {text}; after an interruption it goes on from an earlier update")
            self.told = True
        self.saved = time.monotonic()

    def save(self, known: Ongoing) -> None:
        """Writes a checkpoint, and deletes those before the last two.

        Raises:
            OSError: it cannot be written.
            StoreError: a link or a file stands in the place of a folder.
        """
        for folder in (self.folder.parent, self.folder):
            check_is_folder(folder)
        make_folder(self.folder)
        while self.waiting:
            self._write("measured", self.waiting[0])
            del self.waiting[0]
        path = self._write("checkpoint", known)
        self.whole = [*(one for one in self.whole if one != path), path]
        while len(self.whole) > KEPT_CHECKPOINTS:
            self.whole.pop(0).unlink(missing_ok=True)

    def _write(self, kind: str, known: Ongoing) -> Path:
        data = pack_arrays(arrays_of(known, self.about))
        digest = hashlib.sha256(data).hexdigest()[:16]
        path = self.folder / f"{kind}-{known.state.update:012d}-{digest}.npz"
        write_atomically(path, data)
        return path

    def list_files(self, kind: str) -> list[Path]:
        """The files of a kind, in the order of updates."""
        name = re.compile(rf"{kind}-\d{{12}}-[0-9a-f]{{16}}\.npz")
        there = list_folder(self.folder) if is_folder(self.folder.parent) else []
        return sorted(path for path in there if name.fullmatch(path.name))

    def read(self, path: Path) -> Ongoing | None:
        """The run in a file; None where it is damaged, of another training or no file."""
        with suppress(OSError, NotAFileError):
            data = read_file(path)
            if hashlib.sha256(data).hexdigest()[:16] == path.stem[-16:]:
                stored, known = unpack_run(data) or ({}, None)
                return known if stored == dict(self.about) else None
        return None

    def find(self, wanted: set[int]) -> tuple[Ongoing, list[Ongoing]] | None:
        """The last checkpoint, and the states at all wanted updates up to it; None where something is missing."""
        read = [known for path in self.list_files("measured") if (known := self.read(path)) is not None]
        measured = {known.state.update: known for known in read}
        checkpoints = [
            (path, known) for path in self.list_files("checkpoint") if (known := self.read(path)) is not None
        ]
        self.whole = [path for path, _ in checkpoints]
        for _, known in reversed(checkpoints):
            needed = {update for update in wanted if update <= known.state.update}
            if needed <= measured.keys():
                return known, [measured[update] for update in sorted(needed)]
        return None

    def remove(self) -> None:
        """Deletes everything of this training; what cannot be deleted, and files of others, stay."""
        for path in [*self.list_files("checkpoint"), *self.list_files("measured")]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            with suppress(OSError):  # it has other files, or is gone
                folder.rmdir()


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, and not a link to one."""
    return path.is_dir() and not path.is_symlink()


def list_folder(folder: Path) -> list[Path]:
    """What a folder has; nothing where there is none, or a link to one."""
    with suppress(OSError):
        return list(folder.iterdir()) if is_folder(folder) else []
    return []
