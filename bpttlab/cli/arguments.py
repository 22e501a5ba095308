"""The common part of all commands: the parser, their key=value words, and text for a terminal."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, StoreError, nearest
from bpttlab.escapes import escape_lines
from bpttlab.streams import Lenient, print_error, silence

if TYPE_CHECKING:
    from bpttlab.store.store import Study

WIDTH = 118
"""Characters of a line of help."""

WATCH_SECONDS = 1.0
"""Between two looks of `--watch`."""


class Key(NamedTuple):
    """A word KEY=VALUE of a command.

    Attributes:
        name: the key.
        meaning: one line of help.
        default: the value where the word is missing; None: it must be given.
        choices: the values there are, where they are few; they complete.
        value: what stands for the value in help, where there are no choices.
    """

    name: str
    meaning: str
    default: str | None = ""
    choices: tuple[str, ...] = ()
    value: str = "NAME"

    @property
    def shape(self) -> str:
        """How the word is written: format=png|svg|pdf."""
        return f"{self.name}={'|'.join(self.choices) or self.value}"


STUDY = Key("study", "the name of the study (required)", None)
RESULTS = Key("results", "the folder of all studies (results)", "results", value="FOLDER")
EXPERIMENT = Key("experiment", "the experiment whose analysis is used (the one that the study was swept with)")

NETWORKS_KEY = Key(
    "networks",
    "path: files of your own (cell=from_file) are networks of one point (docs/own-network.md)",
    "",
    ("path",),
)
PLUGINS_KEY = Key("plugins", "your own files or modules, with commas between (docs/extending.md)", value="FILE.py")


class Parser(argparse.ArgumentParser):
    """The parser of the command, or of one of its subcommands.

    An error is a `ConfigurationError`: one line, with the nearest name of an unknown option. The text below the options
    may be a function of the other words on the line.
    """

    def __init__(self, prog: str, *, text: str | Callable[[Sequence[str]], str] = "", **options: Any) -> None:
        super().__init__(prog, allow_abbrev=False, **options)
        self.formatter_class = formatter
        self.text = text
        self.summary = ""
        self.fields: Callable[[], Iterable[str]] = tuple
        self.words: Sequence[str] = ()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """argparse's own message has other words than those of all other values."""
        if action.choices is not None and action.option_strings and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            option = action.option_strings[0]
            raise ConfigurationError(f"{option}={value}: must be one of {', '.join(choices)}.{nearest(value, choices)}")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} ({self.prog} --help)")

    def format_help(self) -> str:
        self.epilog = self.text(self.words) if callable(self.text) else self.text
        return super().format_help()

    def print_help(self, file: Any = None) -> None:
        """Writes the help. argparse's own method hides that a disk is full."""
        (file or sys.stdout).write(self.format_help())

    @property
    def options(self) -> list[str]:
        """The options there are, short forms left out."""
        return [option for action in self._actions for option in action.option_strings if option.startswith("--")]


def formatter(prog: str) -> argparse.HelpFormatter:
    """Leaves texts as they are written."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=WIDTH)


Run = Callable[[argparse.Namespace], int]


def add_command(
    commands: Any,
    name: str,
    run: Run,
    keys: Sequence[Key] = (),
    *,
    summary: str,
    usage: str,
    description: str,
    text: str | Callable[[Sequence[str]], str],
) -> Parser:
    """Adds a subcommand; its words are collected in `words`, and `run` receives the parsed arguments.

    Args:
        commands: what `add_subparsers` returned.
        summary: the line of `bpttlab --help`.
        usage: the command line after the command's name.
        description, text: what its own help says above and below the options.
    """

    def below(words: Sequence[str]) -> str:
        shown = text(words) if callable(text) else text
        lines = [f"  {key.shape:<26}  {key.meaning}\n" for key in keys]
        return ("words:\n" + "".join(lines) + "\n" if lines else "") + shown

    parser: Parser = commands.add_parser(
        name, prog=f"bpttlab {name}", usage=f"bpttlab {name} {usage}", description=description, text=below
    )
    parser.summary = summary
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.set_defaults(run=run, parser=parser, keys=tuple(keys))
    return parser


def parse_line(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed arguments; words may stand before, between and after options.

    Raises:
        ConfigurationError: an unknown option, or one without its value.
    """
    parsed, rest = parser.parse_known_args(arguments)
    for word in rest:
        if word.startswith("-"):
            raise ConfigurationError(describe_unknown_option(word, arguments, parsed))
    parsed.words += rest
    return parsed


def describe_unknown_option(word: str, arguments: Sequence[str], parsed: argparse.Namespace) -> str:
    """The message for an option that a command does not have: the options, or the word without dashes."""
    option, equals, value = word.partition("=")
    following = list(arguments)[list(arguments).index(word) + 1 :][:1]
    values = [value] if equals else [next_word for next_word in following if "=" not in next_word]
    name, known = option.lstrip("-").replace("-", "_"), parsed.parser.options
    hint = nearest(option, known)
    keys = {key.name for key in parsed.keys} | set(parsed.parser.fields())
    if name in keys or (values and not hint and "." in name):
        line = shlex.quote(f"{name}={''.join(values) or 'VALUE'}")
        return f"there is no option {word}: a value has no dashes before its name; write {line}"
    return f"there is no option {word}: {', '.join(known)}.{hint}"


def key_values(words: Iterable[str], keys: Iterable[Key], command: str) -> dict[str, str]:
    """key=value words of a command as a dictionary.

    Raises:
        ConfigurationError: an unknown key, one given twice, without a value, or with one that is no choice; or a
            missing one.
    """
    known, words = {key.name: key for key in keys}, list(words)
    chosen: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals and name not in known and "study" in known and not any(one.startswith("study=") for one in words):
            raise ConfigurationError(f"{word}: a study is named by study={word}")
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ConfigurationError(f"{word}: {command} has no word {name!r}; {has}.{nearest(name, known)}")
        if not equals or not value:
            raise ConfigurationError(f"{word}: must be {known[name].shape}, with no spaces around =")
        if name in chosen:
            raise ConfigurationError(f"{name} is given twice ({chosen[name]}, {value}): give it once")
        choices = known[name].choices
        if choices and value not in choices:
            raise ConfigurationError(f"{word}: must be {' or '.join(choices)}.{nearest(value, choices)}")
        chosen[name] = value
    for key in known.values():
        if key.default is None and key.name not in chosen:
            raise ConfigurationError(f"{key.name} is missing: say {key.shape}")
    return {**{key.name: key.default or "" for key in known.values()}, **chosen}


def split_names(words: Iterable[str], keys: Iterable[Key]) -> tuple[list[str], list[str]]:
    """The words that are names (`products` in `figures study=first products`), and the others."""
    known, several = {key.name for key in keys}, list(words)
    names = [word for word in several if "=" not in word and word not in known]
    return names, [word for word in several if word not in names]


def refuse_bare_study(names: Sequence[str], words: Sequence[str], kind: str) -> None:
    """Refuses names without a study: `tables first` is meant to be `tables study=first`.

    Args:
        kind: what a name without `=` is, table or figure.
    """
    if not names or any(word.partition("=")[0] == "study" for word in words):
        return
    from bpttlab.store.columns import TABLES

    named = [name for name in names if name not in (*plugins.find_shipped(kind), *TABLES)]
    raise ConfigurationError(f"study is missing: say study={named[0] if named else 'NAME'}")


def split_list(value: str) -> list[str]:
    """The elements of a value with commas between them."""
    return [element.strip() for element in value.split(",") if element.strip()]


def asks_for_studies(words: Sequence[str]) -> bool:
    """Whether a line has `study=` without a name, which lists the studies."""
    return "study=" in words


def list_studies(words: Sequence[str]) -> int:
    """Prints the names of the stored studies; the exit code.

    Raises:
        StoreError: there are none.
    """
    root = Path(dict(word.partition("=")[::2] for word in words).get("results") or "results")
    names = sorted(path.parent.name for path in root.glob("*/store"))
    if not names:
        raise StoreError(f"there is no study in {root}: run a sweep first")
    say("\n".join(names))
    return 0


def split_plugins(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of plugins=, if it is given, and the other words.

    Raises:
        ConfigurationError: it is given twice, or without a value.
    """
    own = [word for word in words if word.startswith("plugins=")]
    value = key_values(own, [PLUGINS_KEY], "the line")["plugins"]
    return value or None, [word for word in words if word not in own]


def load_study(chosen: dict[str, str]) -> Study:
    """The study that the words name."""
    from bpttlab.store import store

    return store.load(chosen["study"], Path(chosen["results"]), networks=chosen.get("networks") or None)


def say(text: str, end: str = "\n", error: bool = False, flush: bool = False) -> None:
    """Prints text of any origin: what a terminal would obey is shown as an escape. All commands print with it."""
    print(escape_lines(text), end=end, file=Lenient(sys.stderr) if error else sys.stdout, flush=flush or error)


def tell(text: str) -> None:
    """Prints text that nothing depends on: if it cannot be written, the command continues and says so once."""
    try:
        say(text, flush=True)
    except OSError as refusal:
        silence(sys.stdout)
        if not isinstance(refusal, BrokenPipeError):  # a reader that has seen enough, as `head` has
            reason = refusal.strerror or refusal
            print_error(f"bpttlab: stdout cannot be written ({reason}); the command continues without it")
