"""The words of a command line that are not a sweep's, and how things are said to a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bpttlab.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from bpttlab.store.store import Study

REQUIRED = "?"
NONE = ""
STUDY = {"study": REQUIRED, "results": "results"}


def opened(chosen: Mapping[str, str]) -> Study:
    """The study that was named."""
    from bpttlab.store import store

    return store.load(chosen["study"], Path(chosen["results"]))


def key_values(arguments: Iterable[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """key=value words as a dictionary.

    Raises:
        ConfigurationError: an unknown key, one that is given twice, or one without a value.
    """
    chosen: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in defaults:
            raise ConfigurationError(f"{argument}: there are {', '.join(defaults)}.{nearest(key, defaults)}")
        if not equals or not value:
            raise ConfigurationError(f"{argument}: must be {key}=VALUE, with no spaces around =")
        if key in chosen:
            raise ConfigurationError(f"{argument}: {key}={chosen[key]} was said before; one of them can hold")
        chosen[key] = value
    for key, value in defaults.items():
        if value == REQUIRED and key not in chosen:
            raise ConfigurationError(f"{key} is missing: say {key}=NAME")
    return {**defaults, **chosen}


def without_plugins(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of plugins=, if it is given, and the other words.

    Raises:
        ConfigurationError: it is given twice, or without a value.
    """
    given = [word for word in words if word.startswith(PLUGINS)]
    if len(given) > 1:
        raise ConfigurationError(f"plugins is given twice ({', '.join(given)}): give it once, with commas")
    if given == [PLUGINS]:
        raise ConfigurationError(f"{PLUGINS}: must be {PLUGINS}FILE.py, or files or modules with commas between")
    value = given[0].removeprefix(PLUGINS) if given else None
    return value, [word for word in words if word not in given]


PLUGINS = "plugins="


def flags_and_words(arguments: Iterable[str], flags: Iterable[str]) -> tuple[set[str], list[str]]:
    """The options among the words, and the other words."""
    known, given, words = list(flags), set(), []
    for argument in arguments:
        if not argument.startswith("-"):
            words.append(argument)
        elif argument in known:
            given.add(argument)
        else:
            raise ConfigurationError(f"there is no option {argument}: {', '.join(known)}.{nearest(argument, known)}")
    return given, words


def escaped(text: str) -> str:
    """One line of a text that may come from anywhere: what a terminal would obey or break is shown as its escape."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
