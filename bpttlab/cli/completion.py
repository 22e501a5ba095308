"""`bpttlab completion`: the Tab key, in bash, zsh and fish.

argcomplete has the scripts of the shells, takes the line apart and quotes the answers. What a word may become is found
here: commands, options and keys from the parsers; values of fields from the classes that declare them; groups and
fields of a sweep by Hydra's own completion.
argcomplete's reading of a parser does not reach that: it completes no word that follows an option which follows a word.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpttlab import plugins, resources
from bpttlab.cli.arguments import Key, Parser, add_command, split_plugins
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.store.columns import FROM
from bpttlab.sweeps import plugin_choices

if TYPE_CHECKING:
    from bpttlab.sweeps.hydra_composition import Composer

_DESCRIPTION = """\
Prints a script with which the Tab key completes commands, options, names of studies, and groups, values and fields of a
sweep."""

_TEXT = """\
examples:

  bpttlab completion bash >> ~/.bashrc
  bpttlab completion zsh >> ~/.zshrc                                   append it below the line that runs compinit
  bpttlab completion fish > ~/.config/fish/completions/bpttlab.fish

  eval "$(bpttlab completion bash)"        for this shell only (zsh: the same; fish: bpttlab completion fish | source)

Then, for example:  bpttlab sweep study=first task=<Tab>
Exit code: 0: success; 2: the command could not finish; the message says why.
"""

SHELLS = ("bash", "zsh", "fish")

ASKED = "_ARGCOMPLETE"
"""The variable with which the script of a shell asks."""


def register(commands: Any) -> None:
    """Adds `bpttlab completion`."""
    parser = add_command(
        commands,
        "completion",
        _command,
        summary="print a script for Tab completion in bash, zsh or fish",
        usage="bash|zsh|fish",
        description=_DESCRIPTION,
        text=_TEXT,
    )
    parser.set_defaults(topics=SHELLS)


def _command(parsed: argparse.Namespace) -> int:
    """Prints the script for a shell."""
    import argcomplete

    if len(parsed.words) != 1:
        raise ConfigurationError(f"which shell? bpttlab completion {' | '.join(SHELLS)}")
    (shell,) = parsed.words
    if shell not in SHELLS:
        raise ConfigurationError(f"completion {shell}: must be one of {', '.join(SHELLS)}.{nearest(shell, SHELLS)}")
    print(argcomplete.shellcode(["bpttlab"], shell=shell))
    return 0


# ------------------------------------------------------------------ a shell asks


def is_asked() -> bool:
    """Whether a shell asks for completions, in place of running a command."""
    return ASKED in os.environ


def answer(commands: Mapping[str, Parser]) -> int:
    """Writes what the last word may become to the file that the shell reads; an error is silence and exit code 1."""
    import argcomplete

    class Finder(argcomplete.CompletionFinder):
        """Takes candidates from this module in place of argcomplete's own."""

        def collect_completions(self, active_parsers: Any, parsed_args: Any, cword_prefix: str) -> list[str]:
            words = argcomplete.split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
            found = candidates(commands, words[1:], cword_prefix)
            self._display_completions = dict.fromkeys(found, "")
            return found

    codes: list[int] = []
    try:
        Finder()(Parser("bpttlab", add_help=False), exit_method=codes.append)
    except Exception:  # pressing Tab must never print a traceback into the line
        return 1
    return codes[-1]


def candidates(commands: Mapping[str, Parser], before: list[str], word: str) -> list[str]:
    """The completions of a word, sorted, after the words before it (without the program)."""
    name, *earlier = before or [""]
    if not before or name == "help":
        found = [] if earlier else [*commands, *(() if before else ("help", "--help", "--version"))]
    elif name not in commands:
        found = []
    elif name == "sweep":
        found = [*of_sweep(commands[name], earlier, word)]
    else:
        found = [*of_parser(commands[name], earlier, word)]
    return sorted({candidate for candidate in found if candidate.startswith(word)})


def of_parser(parser: Parser, before: list[str], word: str) -> Iterable[str]:
    """Words, keys and options of a command, each once; the values of a key."""
    keys: tuple[Key, ...] = parser.get_default("keys")
    name, equals, value = word.partition("=")
    if equals:
        (choices,) = [key.choices for key in keys if key.name == name] or [()]
        return [f"{name}={choice}" for choice in choices or _stored_names(name, value, before)]
    given = {earlier.partition("=")[0] for earlier in before}
    rest = [*(parser.get_default("topics") or ()), *parser.options]
    return [*(f"{key.name}=" for key in keys if key.name not in given), *(one for one in rest if one not in given)]


def _stored_names(key: str, value: str, before: Iterable[str]) -> Iterable[str]:
    """The values of a key that are names of stored or shipped things."""
    if key == "study":
        return _studies(before)
    if key == FROM:
        return _stored_networks(value, before)
    if key in ("results", "to"):
        return folders(value)
    if key == "plugins":
        return plugin_files(value)
    with plugins.use(split_plugins([*before])[0]):
        if key == "table":
            return [*plugins.available("table"), *_written_tables(before)]
        own = [choice.name for choice in plugins.own_choices() if choice.kind == key]
        if key == "figure":
            from bpttlab import figures

            return [*figures.NAMES, *own]
        return [*resources.analyses(), *own] if key == "experiment" else ()


def _written_tables(before: Iterable[str]) -> list[str]:
    """The summaries that `bpttlab tables` has written of the study that the line names: an experiment adds its own."""
    given = {"results": "results", "study": ""} | dict(word.partition("=")[::2] for word in before)
    return sorted(path.stem for path in Path(given["results"], given["study"], "tables").glob("*.csv"))


def _studies(before: Iterable[str]) -> list[str]:
    """The names of those that are stored, in the folder that the line names."""
    root = Path(dict(word.partition("=")[::2] for word in before).get("results") or "results")
    return sorted(path.parent.name for path in root.glob("*/store"))


def _stored_networks(value: str, before: Iterable[str]) -> list[str]:
    """The studies, and the trained networks of one: a list with commas is completed at its end."""
    start, comma, last = value.rpartition(",")
    study, colon, _ = last.partition(":")
    if not colon:
        return [f"{start}{comma}{name}:" for name in _studies(before)]
    from bpttlab.store.weights import list_weights

    root = Path(dict(word.partition("=")[::2] for word in before).get("results") or "results")
    return [f"{start}{comma}{study}:{name}" for name in list_weights(root / study)]


def folders(beginning: str) -> list[str]:
    """The folders whose paths begin so, each with a slash at its end; hidden ones after a dot."""
    parent, name = os.path.split(beginning)
    with os.scandir(os.path.expanduser(parent) or ".") as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return [f"{os.path.join(parent, one)}/" for one in names if one.startswith(".") == name.startswith(".")]


def plugin_files(value: str) -> list[str]:
    """The completions of a list of files with commas."""
    *earlier, last = value.rpartition(",")
    return [f"{''.join(earlier)}{file}" for file in python_files(last)]


def python_files(beginning: str) -> list[str]:
    """The .py files, and the folders, whose paths begin so."""
    parent = os.path.dirname(beginning)
    files = sorted(Path(os.path.expanduser(parent) or ".").glob("*.py"))
    return [*(os.path.join(parent, file.name) for file in files), *folders(beginning)]


# ------------------------------------------------------------------ a sweep


def of_sweep(parser: Parser, before: list[str], word: str) -> Iterable[str]:
    """Options, and what Hydra composes."""
    if before and before[-1] in ("--config-dir", "-cd"):
        return folders(word)
    if before and before[-1] in ("--cfg", "-c"):
        return ("job", "hydra", "all")
    if word.startswith("-"):
        return parser.options
    key, equals, value = word.partition("=")
    if equals and key in ("study", "results", "plugins", FROM):
        return [f"{key}={choice}" for choice in _stored_names(key, value, before)]
    if equals and (found := values_of_field(before, key, value)):
        return found
    found = [match for match in by_hydra(before, word) if match.startswith(word)]
    if len(found) == 1 and found[0].endswith("."):
        return by_hydra(before, found[0])
    return found if equals or any(one.startswith("plugins=") for one in before) else ["plugins=", *found]


def values_of_field(before: list[str], key: str, value: str) -> list[str]:
    """The completions of a field whose values can be listed; of a list with commas, those of its last element."""
    from bpttlab.sweeps import field_choices

    start, comma, _ = value.rpartition(",")
    named, lines = split_plugins([word for word in before if "=" in word and not word.startswith("-")])
    with plugins.use(named):
        choices = field_choices.choices_of_field(key, lines)
    return [f"{key}={start}{comma}{choice}" for choice in choices if choice not in start.split(",")]


def by_hydra(before: list[str], word: str) -> list[str]:
    """Groups, values and fields; of a list with commas, its last element."""
    from bpttlab.sweeps import hydra_composition

    folder, lines = config_dir(before), [word for word in before if "=" in word and not word.startswith("-")]
    named, lines = split_plugins(lines)
    with plugin_choices.register_choices(named):
        composer = hydra_composition.composer(folder if folder and os.path.isdir(folder) else None)
        return complete_line(composer, lines, word)


def complete_line(composer: Composer, lines: list[str], word: str) -> list[str]:
    """`by_hydra`, with the composer of a line."""
    key, _, value = word.partition("=")
    start, comma, _ = value.rpartition(",")
    if comma and composer.is_group(key):
        given = {f"{key}={element}" for element in start.split(",")}
        found = [match for match in query_hydra(composer, lines, f"{key}=") if match not in given]
        return [f"{key}={start},{match.removeprefix(f'{key}=')}" for match in found]
    found = query_hydra(composer, lines, word)
    return [match for match in found if "hydra/" in word or not match.lstrip("+~").startswith("hydra")]


def config_dir(words: list[str]) -> str | None:
    """The folder that the line names."""
    for option, folder in itertools.pairwise([*words, ""]):
        if option in ("--config-dir", "-cd"):
            return folder
        if option.startswith("--config-dir="):
            return option.partition("=")[2]
    return None


def query_hydra(composer: Composer, lines: Iterable[str], word: str) -> list[str]:
    """The matches of Hydra's own completion, by its internal methods: the public ones split words at spaces.

    A sweep is composed with the first value of each list, for Hydra's completion finds nothing after a list.
    """
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin as Completion

    from bpttlab.sweeps.hydra_composition import CONFIG_NAME

    beginning, file = Completion._get_filename(word)
    if file is not None:
        return [f"{beginning}{name}" for name in Completion.complete_files(file)]
    chosen = first_values(composer, lines)
    plugin: Any = Completion(composer.loader)
    groups, has_value = plugin._query_config_groups(word, CONFIG_NAME, [*composer.hydra_lines, *chosen])
    return groups + ([] if has_value else plugin._get_matches(composer.compose(tuple(chosen)).config, word))


def first_values(composer: Composer, lines: Iterable[str]) -> list[str]:
    """The lines with one value each; one that cannot be read is left out."""
    chosen = []
    for line in lines:
        with suppress(ConfigurationError):
            chosen.append(composer.axis(line).lines[0])
    return chosen
