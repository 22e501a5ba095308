"""The configuration columns of `runs`, as the classes state them: `make conf` writes bpttlab/store/configuration.csv.

The store reads that file, so that results are read without any class of the engine.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from bpttlab.fields import UNSTATED, Allowed, allowed_values, field_of
from bpttlab.measures.selection import declaring_classes
from bpttlab.networks.cells import Cell, Scales
from bpttlab.networks.initializers import Initializer
from bpttlab.store.column import Column
from bpttlab.sweeps.choices import classes_of_groups
from bpttlab.sweeps.configuration import GROUPS, Values
from bpttlab.tasks import Task
from bpttlab.training.optimizers import Optimizer
from bpttlab.training.penalties.penalty import Penalty
from bpttlab.training.projections import Projection
from bpttlab.training.settings import Training
from bpttlab.truncation.scheme import Scheme

CONTRACTS = {
    "cell": Cell,
    "task": Task,
    "scheme": Scheme,
    "initializer": Initializer,
    "training": Training,
    "optimizer": Optimizer,
    "penalty": Penalty,
    "projection": Projection,
}
_DTYPES = {int: "int64", float: "float64", bool: "bool"}
_PLUGINS = Column(
    "plugins", "string", "", "SHA-256 of the user's own files that it used, 32 digits each, + between them"
)
_FROM = Column(
    "from",
    "string",
    "",
    "SHA-256 of the weights of a trained network, 32 digits; missing: they are not those of a study",
)
COLUMNS_FILE = "configuration.csv"
_OF_THE_STACK = ("hidden_size", "output_activation")
"""Fields of a layer that its stack has in its place."""


def _configuration_columns() -> list[Column]:
    """The columns of all fields that are part of a run's identity, group by group."""
    groups = [columns_of_group(group, kinds) for group, kinds in classes_of_groups().items()]
    return [
        *_columns_of(Values, ""),
        _PLUGINS,
        _FROM,
        *(column for columns in groups for column in columns),
        *_columns_of(Scales, "scales_"),
        *(column for kind in declaring_classes() for column in _columns_of(kind, "measure_")),
    ]


def _columns_of(kind: Any, prefix: str) -> Iterator[Column]:
    """A column for each field of a class."""
    for name in stored_fields(kind):
        yield column_of(prefix + name, allowed_values(kind)[name], allowed_values(kind)[name].field.description)


def columns_of_group(group: str, kinds: dict[str, Any]) -> Iterator[Column]:
    """The column of the name, and one for each field that some class of the group has."""
    yield Column(group, "string", "", f"name of the {group}")
    declared = fields_of_classes(CONTRACTS[group], kinds)
    for name, classes in declared.items():
        yield column_of(f"{group}_{name}", first(classes.values()), meaning(CONTRACTS[group], name, classes))
    if group == "cell":
        for name, classes in declared.items():
            layers = {choice: allowed for choice, allowed in classes.items() if is_layer(kinds[choice])}
            if layers and name not in _OF_THE_STACK:
                yield column_of(f"cell_of_{name}", first(layers.values()), f"stacked, noisy: cell_{name} of its cell")


def is_layer(kind: Any) -> bool:
    """Whether a cell may be the layer of a stack."""
    return issubclass(kind, Cell) and not kind.wraps


def fields_of_classes(contract: Any, kinds: dict[str, Any]) -> dict[str, dict[str, Allowed]]:
    """Of each field the classes that have it, with what they allow; first the fields that the contract states."""
    declared: dict[str, dict[str, Allowed]] = {}
    for choice, kind in kinds.items():
        for name in stored_fields(kind):
            declared.setdefault(name, {})[choice] = allowed_values(kind)[name]
    return dict(sorted(declared.items(), key=lambda item: field_of(contract, item[0]) is UNSTATED))


def stored_fields(kind: Any) -> list[str]:
    """Fields that are part of a run's identity: neither given by another group, nor where a file is."""
    elsewhere = {*(one.name for one in fields(Values)), *GROUPS}
    allowed = allowed_values(kind)
    return [one.name for one in fields(kind) if one.compare and allowed[one.name].field.given_by not in elsewhere]


def meaning(contract: Any, name: str, classes: dict[str, Allowed]) -> str:
    """The meaning that the contract states, or that of each class behind the class's name."""
    shared = field_of(contract, name)
    if shared is not UNSTATED:
        return shared.description
    by_text: dict[str, list[str]] = {}
    for choice, allowed in classes.items():
        by_text.setdefault(allowed.field.description, []).append(choice)
    return "; ".join(f"{', '.join(choices)}: {text}" for text, choices in by_text.items())


def column_of(name: str, allowed: Allowed, text: str) -> Column:
    kinds = allowed.types - {type(None)}
    dtype = _DTYPES.get(first(kinds), "string") if len(kinds) == 1 else "string"
    return Column(name, dtype, allowed.field.unit, text.replace("null:", "missing:"))


def first(values: Iterable[Any]) -> Any:
    return next(iter(values))


def columns_file() -> str:
    """bpttlab/store/configuration.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "dtype", "unit", "meaning"])
    writer.writerows([column.name, column.dtype, column.unit, column.meaning] for column in _configuration_columns())
    return text.getvalue()
