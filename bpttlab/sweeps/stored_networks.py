"""`from=study:run@update`: the weights of a network that a sweep has trained, measured in another sweep.

The cell is that of the training run. Task, length, scheme, measures and all else are those of the line. A run's
identity has the content of the weights, and neither the name of the study nor that of the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.fields import FieldDescription, Plain, format_value
from bpttlab.networks.cells import Cell, Scales
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.initializers import GaussianRadius, Initializer, NoInitializer
from bpttlab.networks.pretrained import FromFile, round_to_dtype
from bpttlab.plugin_sources import Source
from bpttlab.store.columns import FROM
from bpttlab.store.study_names import STUDY_NAME
from bpttlab.store.weights import StoredWeights, content_of, find_weights
from bpttlab.sweeps.identity_parts import PLUGINS
from bpttlab.tasks import Task

FORM = "study:run@update, for example first:0a1b2c3d@500"

RESULTS_FOLDER = "results"
"""The folder of studies, from the current folder, where none is named."""

DESCRIPTION = FieldDescription(
    FROM,
    f"{FORM}, or null",
    FORM.partition(",")[0],
    None,
    "weights of a network that a sweep has trained, with its cell; run: a run_id or network_id, or its beginning; "
    "null: the network is drawn",
)
"""The field as documentation shows it. It is no field of a class, because it is a keyword of Python."""

DEFAULT_TASK = "noise"
"""The task of a line that names none."""

_NAME = re.compile(r"(?P<study>.+):(?P<run>[0-9a-f]{1,32})(?:@(?P<update>\d{1,12}))?", re.DOTALL)


def add_results(plain: Mapping[str, Any], results: str) -> Mapping[str, Any]:
    """A configuration whose `from` names a study without a folder, with the folder of the sweep's results."""
    named = plain.get(FROM) if isinstance(plain, Mapping) else None
    if not isinstance(named, str) or results == RESULTS_FOLDER or "/" in named.rpartition(":")[0]:
        return plain
    return {**plain, FROM: f"{results.rstrip('/')}/{named}"}


def refuse_cell_fields(values: Mapping[str, Sequence[Any]]) -> None:
    """Refuses a line that gives a cell beside networks that have theirs.

    Args:
        values: of each key of the line.
    """
    networks = values.get(FROM, ())
    for key, (value, *_) in values.items():
        if networks and None not in networks and key.partition(".")[0] == "cell":
            raise ConfigurationError(f"{key}={value}: must be left out: the cell is that of {FROM}={networks[0]}")


def describe_wrong_parts(named: Any) -> str:
    """Which parts of a value of `from` are wrong, to append to a message; "" where it has not the parts."""
    study, _, network = named.rpartition(":") if isinstance(named, str) else ("", "", "")
    run, at, update = network.partition("@")
    if not study or not run:
        return ""
    wrong = []
    if not re.fullmatch("[0-9a-f]{1,32}", run):
        wrong.append(f"the run {format_value(run)} must be hexadecimal digits (0-9, a-f), 32 at most")
    if at and not re.fullmatch("[0-9]{1,12}", update):
        wrong.append(f"the update {format_value(update)} must be an integer >= 0")
    return "".join(f"; {part}" for part in wrong)


@dataclass(frozen=True)
class StoredNetwork:
    """A trained network of a study.

    Attributes:
        name: what the line calls it.
        content: of its weights.
        path: what tables call it: the study, the training run and the update.
        stored: where the weights are.
        cell_group: the fields of its cell.
    """

    takes_initializer: ClassVar[bool] = False
    has_readout: ClassVar[bool] = True

    name: str = field(compare=False)
    content: str
    path: str = field(compare=False)
    stored: StoredWeights = field(compare=False, repr=False)

    @classmethod
    def find(cls, named: Any) -> StoredNetwork:
        """The network that `from` names.

        Raises:
            ConfigurationError: it is no such name, or there is no such network; with what there is.
        """
        found = _NAME.fullmatch(named) if isinstance(named, str) else None
        if found is None:
            raise ConfigurationError(f"{FROM}={format_value(named)}: must be {FORM}{describe_wrong_parts(named)}")
        folder = Path(found["study"]).expanduser()
        folder = folder if len(folder.parts) > 1 else Path(RESULTS_FOLDER, folder)
        try:
            if not STUDY_NAME.fullmatch(folder.name):
                raise ConfigurationError(f"{folder.name!r} is no name of a study")
            update = None if found["update"] is None else int(found["update"])
            stored = find_weights(folder.absolute(), found["run"], update)
        except LabError as error:
            raise ConfigurationError(f"{FROM}={format_value(named)}: {error}") from None
        return cls(str(named), stored.content, f"{folder.name}:{stored.network_id}@{stored.update}", stored)

    @property
    def cell_group(self) -> Plain:
        """The fields of the cell."""
        group: Plain = self.stored.configuration["cell"]
        return group

    def refuse(self, field: str, reason: str) -> None:
        raise ConfigurationError(f"{field}: {reason} {FROM}={self.name}")

    # ------------------------------------------------------------------ what the rest of a configuration may say

    def choose_cell(self, group: Mapping[str, Any], default: Mapping[str, Any]) -> Plain:
        """The fields of the cell; refuses those of another one, and a cell whose file is not known here."""
        own = self.cell_group
        if own.get("name") == FromFile.name:
            raise ConfigurationError(
                f"{FROM}={self.name}: its cell was that of a file (cell=from_file), which is not stored; train it with "
                "lab.train and keep it with lab.training.save_weights"
            )
        if group not in ({}, default) and dict(group) != own:
            fields = ", ".join(f"{name}={value}" for name, value in group.items() if own.get(name) != value)
            self.refuse(f"cell ({fields})", f"must be left out: '{own.get('name')}' is the cell of")
        return own

    def check(self, cell: Cell, task: Task, scales: Scales, readout: str, dtype: str) -> None:
        """Refuses what does not go with the weights."""
        self.check_cell(cell, task)
        self.check_scales(scales)
        self.check_readout(readout)
        self.check_dtype(dtype)

    def check_cell(self, cell: Cell, task: Task) -> None:
        """Refuses a task of other sizes."""
        shapes = cell.parameter_shapes()
        needed = {name: int(np.prod(shape, dtype=int)) for name, shape in shapes.items()}
        if needed == dict(self.stored.sizes):
            return
        trained, is_default = self.stored.configuration.get("task", {}).get("name"), task.name == DEFAULT_TASK
        name = next(name for name in (*needed, *self.stored.sizes) if needed.get(name) != self.stored.sizes.get(name))
        advice = (
            f"add task={trained}" if is_default and trained != DEFAULT_TASK else "must be of the sizes of that task"
        )
        raise ConfigurationError(
            f"task={task.name}{' (the default)' if is_default else ''}: has {task.input_size} inputs and "
            f"{task.output_size} outputs, for which {name} has {needed.get(name, 0)} entries and not "
            f"{self.stored.sizes.get(name, 0)}; {FROM}={self.name} was trained on task={trained}: {advice}"
        )

    def check_scales(self, scales: Scales) -> None:
        """Refuses scales of weights that are stored."""
        for name in ("V", "b", "U"):
            if getattr(scales, name) != getattr(Scales(), name):
                self.refuse(f"scales.{name}={getattr(scales, name)}", "would have no effect; must be left out with")

    def check_readout(self, readout: str) -> None:
        if readout != "drawn":
            self.refuse(f"readout={readout}", "the readout is stored; must be left out with")

    def check_initializer(self, initializer: Initializer) -> None:
        """Refuses everything but the default, which stands for nothing having been requested."""
        if initializer not in (GaussianRadius(), NoInitializer()):
            stated = f"initializer '{initializer.name}' with {initializer.target}={initializer.requested}"
            self.refuse(stated, "must be left out: W is stored with")

    def check_dtype(self, dtype: str) -> None:
        """Refuses a dtype in which a weight would be infinite."""
        for name, values in self.stored.read().items():
            if not np.isfinite(round_to_dtype(values, dtype)).all():
                self.refuse(f"dtype={dtype}", f"must be float64: {name} has too large entries in")

    def check_sources(self, sources: tuple[tuple[str, Source], ...]) -> None:
        """Refuses another version of the file that has the cell."""
        trained = str(self.stored.configuration.get(PLUGINS, "")).split("+")
        for group, source in sources:
            if group == "cell" and source.digest not in trained:
                self.refuse(f"plugins ({source.label})", "must be the file that the cell was trained with:")

    # ------------------------------------------------------------------ the weights

    def network_weights(
        self, cell: Cell, rng: np.random.Generator, scales: Scales | None = None, dtype: str = "float64"
    ) -> Params:
        """The stored weights in that dtype.

        Raises:
            LabError: they are not what they were when the run was configured.
        """
        arrays = self.stored.read()
        if content_of(arrays) != self.content:
            raise LabError(f"{FROM}={self.name}: the weights have changed since the run was configured")
        shapes = cell.parameter_shapes()
        return {name: round_to_dtype(arrays[name].reshape(shape), dtype) for name, shape in shapes.items()}
