"""`bpttlab completion`: the Tab key, in bash, zsh and fish.

A shell asks as Hydra has its shells ask: `bpttlab -sc query=bash`, with the line in COMP_LINE and the cursor in
COMP_POINT. The answer is one whole word a line. Groups, values and fields of a sweep are found by Hydra's own
completion; the commands, their options and the names of studies by this module.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpttlab import resources
from bpttlab.cli import checks, results, status, sweep
from bpttlab.cli.arguments import PLUGINS, without_plugins
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.sweeps import plugin_choices

if TYPE_CHECKING:
    from bpttlab.sweeps.hydra_composition import Composer

HELP = """\
bpttlab completion bash|zsh|fish

Prints what makes the Tab key finish commands, options, names of studies, and the groups, values and fields of a sweep.

  bpttlab completion bash >> ~/.bashrc
  bpttlab completion zsh >> ~/.zshrc                                   after the line with compinit
  bpttlab completion fish > ~/.config/fish/completions/bpttlab.fish

  eval "$(bpttlab completion bash)"        for this shell only (zsh: the same; fish: bpttlab completion fish | source)

Then, for example:  bpttlab sweep study=first task=<Tab>
"""

ASKED = "-sc"
"""The first word of what a shell asks, as Hydra's shells ask it."""

# ------------------------------------------------------------------ what a shell needs

BASH = """\
# Tab completion of bpttlab in bash
_bpttlab() {
    local line=${COMP_LINE:0:COMP_POINT} program=${COMP_WORDS[0]/#\\~\\//$HOME/}
    local word=${line##*[[:space:]]} given=
    case $word in
        [\\'\\"]*) ;;  # readline leaves a word in quotes whole, and breaks any other
        *=*) [[ $COMP_WORDBREAKS == *=* ]] && given=${word%=*}= ;;
    esac
    local IFS=$'\\n' found
    COMPREPLY=()
    for found in $(COMP_LINE=$line COMP_POINT=${#line} "$program" -sc query=bash 2>/dev/null); do
        COMPREPLY+=("${found#"$given"}")
    done
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _bpttlab bpttlab
"""

ZSH = """\
# Tab completion of bpttlab in zsh
_bpttlab() {
    local line=${BUFFER[1,CURSOR]} program=${~words[1]} found
    local -a open whole
    for found in ${(f)"$(COMP_LINE=$line COMP_POINT=${#line} $program -sc query=zsh 2>/dev/null)"}; do
        if [[ $found == *[=./,] ]]; then open+=($found); else whole+=($found); fi
    done
    (( $#open )) && compadd -S '' -a open
    (( $#whole )) && compadd -a whole
    return $(( ! ($#open + $#whole) ))
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _bpttlab bpttlab
"""

FISH = """\
# Tab completion of bpttlab in fish
function __bpttlab
    set -l line (commandline -cp)
    set -l program (commandline -cpo)[1]
    set program (string replace -r '^~/' "$HOME/" -- $program)
    COMP_LINE="$line" COMP_POINT=(string length -- "$line") $program -sc query=fish 2>/dev/null
end
complete -c bpttlab -f -a '(__bpttlab)'
"""

SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def command(arguments: list[str]) -> int:
    """Prints the script for a shell."""
    if len(arguments) != 1:
        raise ConfigurationError(f"which shell? bpttlab completion {' | '.join(SHELLS)}")
    print(script(arguments[0]), end="")
    return 0


def script(shell: str) -> str:
    """What a shell has to read once."""
    if shell not in SHELLS:
        raise ConfigurationError(f"completion {shell}: there are {', '.join(SHELLS)}.{nearest(shell, SHELLS)}")
    return SHELLS[shell]


# ------------------------------------------------------------------ what a shell asks


def answer(arguments: list[str]) -> int:
    """`-sc query=SHELL` and, for those who know Hydra, `-sc install=SHELL`."""
    action, _, shell = "".join(arguments[:1]).partition("=")
    if action == "install":
        return command([shell])
    if action != "query":
        raise ConfigurationError(f"{ASKED} {' '.join(arguments)}: there are query=SHELL and install=SHELL")
    line = os.environ.get("COMP_LINE", "")
    try:
        found = candidates(line[: int(os.environ.get("COMP_POINT") or len(line))])
    except Exception as error:  # whatever is on the line: pressing Tab is never answered by a complaint
        print(f"bpttlab: {type(error).__name__}", file=sys.stderr)  # which the scripts throw away
        return 1
    print("".join(f"{word}\n" for word in found), end="")
    return 0


def candidates(line: str) -> list[str]:
    """What the last word of a line may become; sorted whole words. A line that ends in a space begins a new word."""
    words = split(line)
    if len(words) < 2:
        return []
    *before, word = words[1:]
    found = set(COMPLETERS[before[0]](before[1:], word) if before and before[0] in COMPLETERS else named(before))
    return sorted(candidate for candidate in found if candidate.startswith(word))


def split(line: str) -> list[str]:
    """The words up to the cursor, without their quotes; the last is the one to complete, and may be empty."""
    words, word, quote, inside = [], "", "", False
    for letter in line:
        if letter in "'\"" and quote in ("", letter):
            quote, inside = ("" if quote else letter), True
        elif letter.isspace() and not quote:
            words += [word] if inside else []
            word, inside = "", False
        else:
            word, inside = word + letter, True
    return [*words, word]


def named(before: list[str]) -> list[str]:
    """The commands, if no other word was first."""
    return [] if before and before != ["help"] else [*COMPLETERS, *(() if before else ("help", "--help", "--version"))]


def of_keys(keys: Iterable[str], flags: Iterable[str] = ()) -> Callable[[list[str], str], Iterable[str]]:
    """Completes key=value words, each key once, and options."""

    def complete(before: list[str], word: str) -> Iterator[str]:
        given = {earlier.partition("=")[0] for earlier in before}
        key, equals, value = word.partition("=")
        if equals:
            yield from (f"{key}={choice}" for choice in values(key, value, before))
        else:
            yield from (f"{key}=" for key in keys if key not in given)
            yield from (flag for flag in (*flags, "--help") if flag not in given)

    return complete


def of_words(choices: Iterable[str]) -> Callable[[list[str], str], Iterable[str]]:
    """Completes one of some words."""
    return lambda before, word: [*choices, "--help"]


def of_topics(before: list[str], word: str) -> Iterable[str]:
    """Completes the topics of `verify`, each once, its options and its folder."""
    keys = of_keys(checks.VERIFY, [checks.QUICK, checks.FAIL_FAST])(before, word)
    return keys if "=" in word else {*keys, *checks.TOPICS} - set(before)


CHOICES = {
    "format": ("png", "svg", "pdf"),
    "size": ("page", "column"),
    "retry": ("failed",),
    "truncation": ("full",),
    "dtype": ("float64", "float32"),
    "reduction": ("mean", "sum"),
}
"""Values that are known by heart, so that nothing has to be imported; a test compares them with their types."""


def values(key: str, value: str, before: Iterable[str]) -> Iterable[str]:
    """The values of a key that do not depend on what Hydra composes."""
    if key == "study":
        return studies(before)
    if key == "results":
        return folders(value)
    if key == "experiment":
        return resources.analyses()
    if key == "plugins":
        return plugin_files(value)
    return CHOICES.get(key, ())


def studies(before: Iterable[str]) -> list[str]:
    """The names of those that are stored, in the folder that the line names."""
    root = Path(dict(word.partition("=")[::2] for word in before).get("results") or "results")
    return sorted(path.parent.name for path in root.glob("*/store"))


def folders(beginning: str) -> list[str]:
    """The folders whose paths begin so, each with the slash after which one can go on."""
    parent, name = os.path.split(beginning)
    with os.scandir(os.path.expanduser(parent) or ".") as entries:
        shown = [
            entry.name for entry in entries if entry.is_dir() and entry.name.startswith("." if name[:1] == "." else "")
        ]
    return [f"{os.path.join(parent, entry)}/" for entry in shown if name[:1] == "." or not entry.startswith(".")]


def plugin_files(value: str) -> list[str]:
    """What a list of files with commas may become."""
    *earlier, last = value.rpartition(",")
    return [f"{''.join(earlier)}{file}" for file in python_files(last)]


def python_files(beginning: str) -> list[str]:
    """The .py files, and the folders, whose paths begin so."""
    parent = os.path.dirname(beginning)
    files = sorted(Path(os.path.expanduser(parent) or ".").glob("*.py"))
    return [*(os.path.join(parent, file.name) for file in files), *folders(beginning)]


# ------------------------------------------------------------------ a sweep


def of_sweep(before: list[str], word: str) -> Iterable[str]:
    """Completes what Hydra composes."""
    if before and before[-1] in ("--config-dir", "-cd"):
        return folders(word)
    if before and before[-1] in ("--cfg", "-c"):
        return ("job", "hydra", "all")
    if word.startswith("-"):
        return sweep.FLAGS
    key, equals, value = word.partition("=")
    if equals and key == "plugins":
        return [f"plugins={choice}" for choice in plugin_files(value)]
    if equals and (key in CHOICES or key in ("study", "results")):
        *earlier, _ = value.rpartition(",") if key in CHOICES else ("", "", "")
        return [f"{key}={''.join(earlier)}{choice}" for choice in values(key, value, before)]
    own = [] if equals or any(given.startswith(PLUGINS) for given in before) else [PLUGINS]
    return [*own, *by_hydra(before, word)]


def by_hydra(before: list[str], word: str) -> list[str]:
    """Groups, values and fields; of a list with commas, its last element."""
    from bpttlab.sweeps import hydra_composition

    folder, lines = config_dir(before), [word for word in before if "=" in word and not word.startswith("-")]
    named, lines = without_plugins(lines)
    with plugin_choices.using(named):
        return composed(hydra_composition.composer(folder if folder and os.path.isdir(folder) else None), lines, word)


def composed(composer: Composer, lines: list[str], word: str) -> list[str]:
    """`by_hydra`, with the composer of a line."""
    key, _, value = word.partition("=")
    start, comma, _ = value.rpartition(",")
    if comma and composer.is_group(key):
        given = {f"{key}={element}" for element in start.split(",")}
        found = [match for match in complete_by_hydra(composer, lines, f"{key}=") if match not in given]
        return [f"{key}={start},{match.removeprefix(f'{key}=')}" for match in found]
    found = complete_by_hydra(composer, lines, word)
    return [match for match in found if "hydra/" in word or not match.lstrip("+~").startswith("hydra")]


def config_dir(words: list[str]) -> str | None:
    """The folder that the line names."""
    for option, folder in itertools.pairwise([*words, ""]):
        if option in ("--config-dir", "-cd"):
            return folder
        if option.startswith("--config-dir="):
            return option.partition("=")[2]
    return None


def complete_by_hydra(composer: Composer, lines: Iterable[str], word: str) -> list[str]:
    """What Hydra's own completion finds; its other methods are those of its shells, and take words apart at spaces.

    A sweep is composed with the first value of each list, for Hydra's completion falls silent at a list.
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
    """The lines with one value each; one that cannot be read has no say in what may follow it."""
    chosen = []
    for line in lines:
        with suppress(ConfigurationError):
            chosen.append(composer.axis(line).lines[0])
    return chosen


COMPLETERS: dict[str, Callable[[list[str], str], Iterable[str]]] = {
    "sweep": of_sweep,
    "status": of_keys(status.STUDY, status.FLAGS),
    "tables": of_keys(results.TABLES),
    "figures": of_keys(results.FIGURES),
    "claims": of_keys(checks.CLAIMS),
    "verify": of_topics,
    "completion": of_words(SHELLS),
}
