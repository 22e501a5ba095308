"""The command `bpttlab`: sweep, status, repair, tables, figures, export, claims, verify, completion.

A user's mistake, a damaged file or a full disk is one line on stderr and exit code 2. A failed run makes the exit code
of a sweep 1, a check that fails that of `verify` and `claims`, a damaged file that of every command that reads the
rest of the study; Ctrl-C makes it 130.
Modules are imported when they are needed: `--help` is shown at once, and the number of BLAS threads is set before NumPy
is loaded.

One parser holds all commands; each module adds one.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bpttlab.cli import claims, completion, export, figures, repair, status, sweep, tables, verify
from bpttlab.cli.arguments import Parser, parse_line
from bpttlab.errors import ConfigurationError, DamageWarning, LabError, cut_message, nearest
from bpttlab.escapes import escape_line
from bpttlab.streams import Lenient, open_closed, print_error, silence
from bpttlab.sweeps import blas_threads
from bpttlab.user_environment import choose_file_backend

INTERRUPTED = 130
BROKEN_PIPE = 141
WRONG = 2

TEXT = """\
commands:

{commands}

A first study, from nothing to figures:

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 'seed=range(0,8)'
  bpttlab tables study=first
  bpttlab figures study=first

A ready-made study:

  bpttlab sweep study=demo experiment=vanishing_exploding

bpttlab COMMAND --help shows examples of each command.
Exit code: 0: success; 1: a run failed, a check does not hold or a stored file is damaged; 2: the
command could not finish; the message says why; 130: Ctrl-C.
"""


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        "bpttlab",
        usage="bpttlab COMMAND [KEY=VALUE ...] [OPTIONS]",
        description="bpttlab measures the gradients of recurrent networks.",
    )
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", help=argparse.SUPPRESS, required=True, parser_class=Parser)
    for module in (sweep, status, repair, tables, figures, export, claims, verify, completion):
        module.register(commands)
    lines = [f"  bpttlab {name:<12} {added.summary}" for name, added in commands.choices.items()]
    parser.text = TEXT.format(commands="\n".join(lines))
    return parser


def commands_of(parser: Parser) -> dict[str, Parser]:
    """The parsers of the commands by name."""
    (found,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


class ShowVersion(argparse.Action):
    """Prints the version, which takes an import that no other option needs."""

    def __call__(self, *_: object) -> None:
        from bpttlab.store.provenance import package_version

        print(f"bpttlab {package_version()}")
        raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code."""
    blas_threads.pin()
    choose_file_backend()
    open_closed()
    escape_unprintable()
    parser = build_parser()
    if completion.is_asked():
        return completion.answer(commands_of(parser))
    try:
        with tell_damage() as told:
            code = run_command(parser, list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code or int(bool(told))
    except LabError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        print_error("bpttlab: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        silence(sys.stdout)
        return BROKEN_PIPE
    except (ImportError, MemoryError) as error:
        return fail_for_library(error)
    except RuntimeError as error:
        if "new thread" not in str(error):
            raise
        return fail("a thread cannot be started: a limit on processes or memory (ulimit -u, ulimit -v) is reached")
    except OSError as error:  # a full disk, a folder that no longer exists
        silence(sys.stdout)
        file = f"{error.filename}: " if error.filename else ""
        return fail(f"{file}{error.strerror or error}")
    finally:
        Lenient(sys.stderr).flush()


@contextmanager
def tell_damage() -> Iterator[list[str]]:
    """Says in one line each what of a study is damaged and left out; the lines."""
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", DamageWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, DamageWarning):
                others(message, category, *where, **more)
            elif str(message) not in told:
                told.append(str(message))
                print_message(str(message))

        warnings.showwarning = show
        yield told


def run_command(parser: Parser, arguments: list[str]) -> int:
    """Runs the command of that name, or shows help."""
    if not arguments:
        parser.print_help()
        return WRONG
    name, *rest = arguments
    if name == "help":  # `bpttlab help sweep` is `bpttlab sweep --help`
        return run_command(parser, [*rest, "--help"])
    if name in commands_of(parser):
        commands_of(parser)[name].words = rest  # of which help takes plugins=
    is_option = name.startswith("-")
    known = ["-h", *parser.options] if is_option else list(commands_of(parser))
    if name not in known:
        what = "option" if is_option else "command"
        raise ConfigurationError(f"there is no {what} {name!r}: {', '.join(known)}.{nearest(name, known)}")
    try:
        parsed = parse_line(parser, arguments)
    except SystemExit:  # after --help and --version
        return 0
    return parsed.run(parsed)


def fail(message: str) -> int:
    """Prints the message as one line; the exit code."""
    print_message(message)
    return WRONG


def print_message(message: str) -> None:
    """Prints one line on stderr."""
    print_error(f"bpttlab: {escape_line(str(cut_message(message)))}")


def fail_for_library(error: ImportError | MemoryError) -> int:
    """Says which library cannot be loaded, or that memory is short; the exit code. Raises a fault of this package."""
    if isinstance(error, ImportError) and (error.name or "").startswith("bpttlab"):
        raise error
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return fail(f"a library cannot be loaded, or memory is too little (ulimit -v?): {reason}")


def escape_unprintable() -> None:
    """A character that the terminal's encoding does not have is written as its escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
