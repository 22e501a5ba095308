"""The fields of a run and of a choice as help shows them: the lines of the files in conf/, written from the classes.

Shipped choices are read from their files, so that no class is imported; the text of a user's own choice is made from
its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpttlab import plugins, resources
from bpttlab.errors import ConfigurationError, nearest

_GROUPS = ("cell", "task", "scheme", "initializer", "measure")


def help_of_values() -> str:
    """A line for each value of a sweep and of a run that belongs to no group: name, default, meaning and bounds."""
    text = (resources.conf() / "config.yaml").read_text(encoding="utf-8")
    stated = text.split("\n# Of the sweep", 1)[1].split("\nhydra:", 1)[0].splitlines()[1:]
    return "\n".join(line.removeprefix("# Of each run.") for line in stated).strip()


def help_of_choices(words: Iterable[str]) -> str:
    """The fields of each choice that words name, such as cell=gru; "" where no word names one.

    Raises:
        ConfigurationError: a group has no choice of that name; the message gives the nearest one.
    """
    named = [word.partition("=")[::2] for word in words]
    parts = [help_of_choice(group, name) for group, name in named if group in _GROUPS]
    parts += [help_of_experiment(name) for group, name in named if group == "experiment" and _is_shipped(name)]
    return "\n\n".join(parts)


def _is_shipped(name: str) -> bool:
    """Whether an experiment is none of the user's own, whose description is in their file."""
    own = [choice.name for choice in plugins.own_choices() if choice.kind == "experiment"]
    return name not in own


def help_of_experiment(name: str) -> str:
    """What a shipped experiment is, and what it sets: its file in conf/, without its mark for Hydra."""
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
