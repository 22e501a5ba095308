"""The values of a field that can be listed, as the classes declare them: for the Tab key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bpttlab import plugins
from bpttlab.fields import Allowed, allowed_values
from bpttlab.measures.selection import declaring_classes
from bpttlab.sweeps.choices import PRESETS, classes_of_groups
from bpttlab.sweeps.configuration import Configuration, Values
from bpttlab.sweeps.plan import Options


def choices_of_field(key: str, lines: Iterable[str]) -> list[str]:
    """The values to choose from, as they are written on the command line; [] where any number or string is allowed.

    Args:
        key: the field: "dtype", "cell.activation".
        lines: KEY=VALUE words of the same command, which choose the class of a group. Where none does, the
            default counts if it has the field, else all classes of the group.
    """
    group, _, name = key.rpartition(".")
    for kinds in _classes(group, lines):
        found = [allowed[name] for allowed in map(allowed_values, kinds) if name in allowed]
        if found:
            return list(dict.fromkeys(text for allowed in found for text in _texts(allowed)))
    return []


def _classes(group: str, lines: Iterable[str]) -> list[list[Any]]:
    """The classes whose fields a group may have, the likely ones first."""
    if not group:
        return [[Options, Values]]
    if group == "measure":
        return [list(declaring_classes())]
    if group.startswith("measure."):
        return [[kind for name, kind in plugins.available("measure").items() if f"measure.{name}" == group]]
    kinds = classes_of_groups().get(group, {})
    kinds |= {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == group}
    kinds |= {name: kinds[preset.name] for name, preset in PRESETS.get(group, {}).items()}
    named = {name for line in lines if line.startswith(f"{group}=") for name in line.partition("=")[2].split(",")}
    if named & set(kinds):
        return [[kind for name, kind in kinds.items() if name in named]]
    default = Configuration.DEFAULTS.get(group, {}).get("name")
    return [[kind for name, kind in kinds.items() if name == default], list(kinds.values())]


def _texts(allowed: Allowed) -> list[str]:
    """The single values that a field allows; null only beside others."""
    single = [*map(str, allowed.literals), *(allowed.field.choices() if allowed.field.choices else ())]
    single += ["true", "false"] if bool in allowed.types else []
    return [*single, "null"] if single and type(None) in allowed.types else single
