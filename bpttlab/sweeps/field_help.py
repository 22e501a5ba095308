"""The fields of a run and of a choice as help shows them: the lines of the files in conf/, written from the classes.

Shipped choices are read from their files, so that no class is imported; the text of a user's own choice is made from
its class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from bpttlab import plugins, resources
from bpttlab.errors import ConfigurationError, nearest

_GROUPS = (
    "cell",
    "task",
    "scheme",
    "initializer",
    "training",
    "optimizer",
    "penalty",
    "projection",
    "measure",
)
_PLACES = ("study", "results", "plugins")
"""Keys that say where results and files are."""


def help_of_values() -> str:
    """A line for each value of a sweep and of a run that belongs to no group: name, default, meaning and bounds."""
    text = (resources.conf() / "config.yaml").read_text(encoding="utf-8")
    stated = text.split("\n# Of the sweep", 1)[1].split("\nhydra:", 1)[0].splitlines()[1:]
    return "\n".join(line.removeprefix("# Of each run.") for line in stated).strip()


def help_of_choices(words: Iterable[str]) -> str:
    """What each word KEY=VALUE sets: a choice (cell=gru), an experiment, or a value (engine=numba); "" without any.

    Words that say only where results are, such as study=first, ask for nothing.

    Raises:
        ConfigurationError: a group has no choice of that name, or there is no such key; the message gives the nearest.
    """
    named = dict(word.partition("=")[::2] for word in words if "=" in word)
    pages = {_title(key, named): None for key in named if key not in _PLACES}
    return "\n\n".join(_page(*title) for title in pages)


def _title(key: str, named: Mapping[str, str]) -> tuple[str, str]:
    """The key and the value whose page describes a key: for cell.activation those of the cell."""
    group, dot, _ = key.removeprefix("+").partition(".")
    return (group, named.get(group) or _default(group)) if dot and group in _GROUPS else (group, named.get(key, ""))


def _page(key: str, value: str) -> str:
    if key in _GROUPS:
        return "\n\n".join(help_of_choice(key, name) for name in value.split(","))
    if key == "experiment":
        return "\n\n".join(help_of_experiment(name) for name in value.split(","))
    return help_of_value(key)


def _default(group: str) -> str:
    """The choice of a group that conf/ has."""
    (line,) = re.findall(rf"^  - {group}: (\w+)", (resources.conf() / "config.yaml").read_text(encoding="utf-8"), re.M)
    return str(line)


def help_of_value(key: str) -> str:
    """The lines of `help_of_values` about one value.

    Raises:
        ConfigurationError: there is no such value.
    """
    blocks = re.split(r"\n(?=\w)", help_of_values())
    for block in blocks:
        if block.startswith(f"{key}:"):
            return block.rstrip()
    known = [*_GROUPS, "experiment", *(block.partition(":")[0] for block in blocks)]
    raise ConfigurationError(
        f"{key}: a sweep has no such value, and --help no page for it: must be one of {', '.join(known)}."
        f"{nearest(key, known)}"
    )


def help_of_experiment(name: str) -> str:
    """What an experiment is, and what it sets: its file in conf/, without its mark for Hydra; a user's own sweep."""
    own = {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == "experiment"}
    if name in own:
        from bpttlab.sweeps.plugin_choices import axis

        lines = [f"{key}: {axis(values)}" for key, values in own[name].sweep.items()]
        return "\n".join([f"experiment={name}   (your own; it sets)", "", *lines])
    lines = text_of_choice("experiment", name).splitlines()
    kept = [line for line in lines if not line.startswith("# @package")]
    return "\n".join([f"experiment={name}", "", *uncomment(kept)]).rstrip()


def help_of_choice(group: str, name: str) -> str:
    """What a choice is, and a line for each of its fields."""
    lines = ["" if line.startswith("name:") else line for line in text_of_choice(group, name).splitlines()]
    own = group == "measure" and any(one.kind == group and one.name == name for one in plugins.own_choices())
    path = f"{group}.{name}" if own else group
    return "\n".join([f"{group}={name}   (fields are set by {path}.FIELD=VALUE)", "", *uncomment(lines)]).rstrip()


def text_of_choice(group: str, name: str) -> str:
    """The file of a choice in conf/, or what it would be for a class from outside of bpttlab."""
    folder = resources.conf() / group
    if name in {path.stem for path in folder.glob("*.yaml")}:
        return (folder / f"{name}.yaml").read_text(encoding="utf-8")
    own = {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == group}
    if name not in own:
        known = sorted([*(path.stem for path in folder.glob("*.yaml")), *own])
        raise ConfigurationError(f"{group}={name!r}: must be one of {', '.join(known)}.{nearest(name, known)}")
    from bpttlab.sweeps.choices import from_class
    from bpttlab.sweeps.conf_files import choice_file

    return choice_file(from_class(group, name, own[name]))


def uncomment(lines: Iterable[str]) -> Iterator[str]:
    """Lines that are comments as a whole, without their mark."""
    return (line.removeprefix("#").removeprefix(" ") if line.startswith("#") else line for line in lines)
