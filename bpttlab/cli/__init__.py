"""The command `bpttlab`: sweep, status, tables, figures, claims, verify, completion.

Whatever a user can do wrong is one line on stderr and exit code 2. A run that fails makes a sweep's exit code 1, a
check that does not hold that of `verify`; Ctrl-C makes it 130. Everything is imported when it is needed: `--help` is
there at once, and the number of BLAS threads is set before NumPy is loaded.

Each module holds some commands, and beside each the help that teaches it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from bpttlab.cli import checks, completion, results, status, sweep
from bpttlab.cli.arguments import escaped
from bpttlab.errors import ConfigurationError, LabError, nearest
from bpttlab.sweeps import blas_threads

INTERRUPTED = 130
BROKEN_PIPE = 141
WRONG = 2

HELP = """\
bpttlab: gradients of recurrent networks, measured.

  bpttlab sweep       compute a study: every combination of the values given
  bpttlab status      what is stored of it, what failed and why, what is missing
  bpttlab tables      its summaries, printed and written as CSV, Markdown and LaTeX
  bpttlab figures     its figures, as PNG, SVG or PDF
  bpttlab claims      what the literature says of an experiment, held against a study of it
  bpttlab verify      hold this installation against everything that is known: gradients, products, spectra
  bpttlab completion  let the Tab key finish all of these, in bash, zsh or fish

A first study, from nothing to figures:

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 'seed=range(0,8)'
  bpttlab tables study=first
  bpttlab figures study=first

bpttlab COMMAND --help says more. The ready-made study: bpttlab sweep study=demo experiment=vanishing_exploding
"""

Command = Callable[[list[str]], int]

COMMANDS: dict[str, tuple[Command, str | Callable[[list[str]], str]]] = {
    "sweep": (sweep.command, sweep.help_text),
    "status": (status.command, status.HELP),
    "tables": (results.tables_command, results.TABLES_HELP),
    "figures": (results.figures_command, results.FIGURES_HELP),
    "claims": (checks.claims_command, checks.CLAIMS_HELP),
    "verify": (checks.verify_command, checks.VERIFY_HELP),
    "completion": (completion.command, completion.HELP),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code."""
    blas_threads.pin()
    say_everything()
    try:
        code = dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except LabError as error:
        return wrong(str(error))
    except KeyboardInterrupt:
        print("bpttlab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read has seen enough, as `head` has
        silence()
        return BROKEN_PIPE
    except OSError as error:  # a disk that is full, a folder that went away
        silence()
        what = f"{error.filename}: " if error.filename else ""
        return wrong(f"{what}{error.strerror or error}")


def wrong(message: str) -> int:
    """One line, whatever is in the message."""
    print(f"bpttlab: {escaped(message)}", file=sys.stderr)
    return WRONG


def say_everything() -> None:
    """A character that the terminal's encoding does not have is written as its escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence() -> None:
    """What is still to be written to stdout cannot be; the interpreter would try again, and complain, at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def dispatch(arguments: list[str]) -> int:
    """Finds the command of that name, or its help."""
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        return show_help(arguments)
    name, *rest = arguments
    if name == "--version":
        from bpttlab.store.provenance import package_version

        print(f"bpttlab {package_version()}")
        return 0
    if name == completion.ASKED:
        return completion.answer(rest)
    if {"--help", "-h"} & set(rest):
        return show_help(["help", name, *rest])
    return command_of(name)[0](rest)


def show_help(arguments: list[str]) -> int:
    """`bpttlab`, `bpttlab --help`, and `bpttlab help sweep`."""
    text = command_of(arguments[1])[1] if len(arguments) > 1 else HELP
    print(text(arguments[2:]) if callable(text) else text, end="")
    return 0 if arguments else WRONG


def command_of(name: str) -> tuple[Command, str | Callable[[list[str]], str]]:
    """A command and its help."""
    if name not in COMMANDS:
        raise ConfigurationError(f"there is no command {name!r}: {', '.join(COMMANDS)}.{nearest(name, COMMANDS)}")
    return COMMANDS[name]
