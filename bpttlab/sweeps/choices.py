"""The choices of the groups of a configuration: each class with its defaults, and presets, which are set by hand."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from bpttlab import plugins
from bpttlab.fields import defaults
from bpttlab.networks.pretrained import FromFile
from bpttlab.training.settings import NoPenalty, NoProjection, NoTraining, Training


class Preset(NamedTuple):
    """A choice that is no class of its own.

    Attributes:
        name: of the class.
        values: its fields where they are not those of the class.
        description: the meaning.
    """

    name: str
    values: dict[str, Any]
    description: str


PRESETS: dict[str, dict[str, Preset]] = {
    "task": {
        "digits_pixels": Preset(
            "digits", {"by": "pixel"}, "Handwritten digits, one pixel a step, then blanks. T >= 64."
        ),
        "digits_rows": Preset(
            "digits",
            {"by": "row"},
            "Handwritten digits, one row of eight pixels a step, then blanks. T >= 8.",
        ),
        "memorization_5bit": Preset(
            "memorization", {"symbols": 5, "alphabet": 2}, "Five bits to be read, kept and repeated."
        ),
        "memorization_20bit": Preset(
            "memorization", {"symbols": 10, "alphabet": 5}, "Ten of five symbols to be read, kept and repeated."
        ),
    },
    "initializer": {
        "uniform_torch": Preset(
            "uniform",
            {"gain": 0.5773502691896258},
            "Entries from U(-b, b), b = 1/sqrt(N), gain = 1/sqrt(3): PyTorch's default. The spectral radius, near 0.6, "
            "differs from draw to draw: spectral_radius= is refused.",
        ),
        "uniform_glorot": Preset(
            "uniform",
            {"gain": 1.0},
            "Entries from U(-b, b), b = sqrt(6/(N + N)): Glorot's. The spectral radius, near 1, differs from draw to "
            "draw: spectral_radius= is refused.",
        ),
    },
}
"""Choices by group and name. A class of which there are presets is no choice itself."""


class GroupChoice(NamedTuple):
    """One choice of a group.

    Attributes:
        group: "cell", "task", "scheme", "initializer", "training", "optimizer", "penalty" or "projection".
        name: what `group=` names.
        kind: its class.
        values: the mapping that it stands for, `name` first.
        description: paragraphs of text, and blocks that are indented.
    """

    group: str
    name: str
    kind: Any
    values: dict[str, Any]
    description: list[str]


def classes_of_groups() -> dict[str, dict[str, Any]]:
    """The shipped classes of each group, by name."""
    kinds = {group: dict(plugins.find_shipped(group)) for group in ("cell", "task", "scheme", "initializer")}
    cells = {**kinds["cell"], FromFile.name: FromFile}
    return {**kinds, "cell": cells, **classes_of_training()}


def classes_of_training() -> dict[str, dict[str, Any]]:
    """The shipped classes of the groups that say how networks are trained, by name."""
    kinds = {group: dict(plugins.find_shipped(group)) for group in ("optimizer", "penalty", "projection")}
    return {
        "training": {kind.name: kind for kind in (NoTraining, Training)},
        "optimizer": kinds["optimizer"],
        "penalty": {NoPenalty.name: NoPenalty, **kinds["penalty"]},
        "projection": {NoProjection.name: NoProjection, **kinds["projection"]},
    }


def every_choice() -> Iterator[GroupChoice]:
    """Every choice, by group and name."""
    for group, kinds in classes_of_groups().items():
        presets = PRESETS.get(group, {})
        own = set(kinds) - {preset.name for preset in presets.values()}
        for name in sorted(own | set(presets)):
            yield from_preset(group, name, kinds) if name in presets else from_class(group, name, kinds[name])


def from_class(group: str, name: str, kind: Any) -> GroupChoice:
    return GroupChoice(group, name, kind, defaults(kind), describe_choice(kind))


def from_preset(group: str, name: str, kinds: dict[str, Any]) -> GroupChoice:
    preset = PRESETS[group][name]
    kind = kinds[preset.name]
    return GroupChoice(group, name, kind, defaults(kind) | preset.values, [preset.description])


def describe_choice(kind: Any) -> list[str]:
    """What the docstrings say of a class: the first paragraph, and the indented blocks with what introduces them.

    The blocks are those of the class, or else of its module: the equations of a cell, the layout of a file.
    """
    first, *others = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    module = inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "").split("\n\n")
    return [" ".join(first.split()), *(_blocks([first, *others]) or _blocks(module))]


def _blocks(paragraphs: list[str]) -> list[str]:
    """The first indented paragraph, and others that a colon introduces, with what introduces them."""
    found: list[str] = []
    for before, paragraph in pairwise(paragraphs):
        if paragraph.startswith("    ") and before.endswith(":"):
            found += [" ".join(before.split()), paragraph]
        elif paragraph.startswith("    ") and not found:
            found.append(paragraph)
    return found


def find_owners(group: str, name: str) -> list[str]:
    """The choices of a group that have a field of this name, if they are few: `cell.path` belongs to `from_file`."""
    own = {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == group}
    kinds = classes_of_groups().get(group, {}) | own
    found = [choice for choice, kind in kinds.items() if name != "name" and name in defaults(kind)]
    return found if len(found) <= 3 else []
