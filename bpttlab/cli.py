"""The command `bpttlab`: sweep, status, tables, figures, claims, verify.

Whatever a user can do wrong is one line on stderr and exit code 2. A run that fails makes a sweep's exit code 1, a
check that does not hold that of `verify`; Ctrl-C makes it 130. Everything is imported when it is needed: `--help` is
there at once, and the number of BLAS threads is set before NumPy is loaded.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bpttlab import places, threads
from bpttlab.errors import ConfigurationError, LabError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from bpttlab.store import Study

INTERRUPTED = 130
BROKEN_PIPE = 141
WRONG = 2

HELP = """\
bpttlab: gradients of recurrent networks, measured.

  bpttlab sweep     compute a study: every combination of the values given
  bpttlab status    what is stored of it
  bpttlab tables    its summaries, printed and written as CSV, Markdown and LaTeX
  bpttlab figures   its figures, as PNG, SVG or PDF
  bpttlab claims    what the literature says of an experiment, held against a study of it
  bpttlab verify    check this installation's gradients against slower ways to them

A first study, from nothing to figures:

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 'seed=range(0,8)'
  bpttlab tables study=first
  bpttlab figures study=first

bpttlab COMMAND --help says more. The ready-made study: bpttlab sweep study=demo experiment=vanishing_exploding
"""

SWEEP_HELP = """\
bpttlab sweep study=NAME [KEY=VALUE ...] [--dry-run] [--cfg job] [--config-dir FOLDER]

Measures every combination of the values given, on all processors, and stores it in results/NAME. The same line again
does only what is missing: an interrupted sweep is finished by repeating it, and one is extended by adding values.

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5
      three runs: a list with commas is swept, all else has its default

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 truncation=full,5,20 'seed=range(0,8)'
      72 runs; quote what the shell would take for its own

  bpttlab sweep study=first task=noise,adding cell.hidden_size=64 sequence_length=200
      a group (cell, task, scheme, initializer, measure) is chosen by name, a field of it set with a dot

  bpttlab sweep study=demo experiment=vanishing_exploding 'seed=range(0,2)'
      a ready-made sweep, with fewer networks

  bpttlab sweep study=first spectral_radius=0.5,1.0 --dry-run     says what would be done
  bpttlab sweep task=adding --cfg job                             prints every value of a run
  bpttlab sweep study=first ... retry=failed                      tries again what failed
  bpttlab sweep study=first ... results=/data/results workers=4   where, and with how many processes

Values: seed spectral_radius sequence_length truncation batch_size dtype reduction engine, and scales.V .b .U .x.
Groups: cell (elman)  task (noise, adding, digits_rows, digits_pixels)  scheme (per_loss, windowed, chunked, full)
        initializer (gaussian_radius, gaussian, orthogonal, identity)  measure (standard, minimal, triangle)

Exit code: 0, or 1 if a run failed, 2 if something in the line is wrong (then nothing was computed), 130 after Ctrl-C.
"""

TABLES_HELP = """\
bpttlab tables study=NAME [results=FOLDER]

Summarises a study over its networks: growth rates and regimes, horizons, the critical spectral radius, what truncation
costs. Prints the summaries and writes them to results/NAME/tables as .csv (every digit), .md and .tex.

  bpttlab tables study=first
  bpttlab tables study=first results=/data/results
"""

FIGURES_HELP = """\
bpttlab figures study=NAME [format=png|svg|pdf] [size=page|column] [results=FOLDER]

Draws a study from its stored tables into results/NAME/figures. Drawing again gives the same bytes.

  bpttlab figures study=first
  bpttlab figures study=first format=pdf size=column      for one column of a paper
"""

CLAIMS_HELP = """\
bpttlab claims study=NAME [experiment=NAME] [results=FOLDER]

Holds a study against what the literature says of its experiment, claim by claim. Exit code 1 if one does not hold.

  bpttlab sweep study=demo experiment=vanishing_exploding
  bpttlab claims study=demo experiment=vanishing_exploding
"""

STATUS_HELP = """\
bpttlab status study=NAME [results=FOLDER]

Counts what is stored: runs done, diverged (the forward pass overflowed: a result), and failed, with reasons.

  bpttlab status study=first
"""

VERIFY_HELP = """\
bpttlab verify [gradients]

Compares this installation's gradients, for every activation, loss, scheme and dtype, with the literal double sum, the
complex step and central differences. Exit code 1 if one does not agree.

  bpttlab verify gradients
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code."""
    threads.pin()
    try:
        code = dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except LabError as error:
        print(f"bpttlab: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("bpttlab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def dispatch(arguments: list[str]) -> int:
    """Finds the command of that name, or its help."""
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0 if arguments else WRONG
    name, *rest = arguments
    if name == "--version":
        from bpttlab.provenance import package_version

        print(f"bpttlab {package_version()}")
        return 0
    if name not in COMMANDS:
        raise ConfigurationError(f"there is no command {name!r}: {', '.join(COMMANDS)}.{nearest(name, COMMANDS)}")
    command, help_text = COMMANDS[name]
    if {"--help", "-h"} & set(rest):
        print(help_text, end="")
        return 0
    return command(rest)


# ------------------------------------------------------------------ sweep


def sweep_command(arguments: list[str]) -> int:
    """Hands the override lines to Hydra, whose sweeper and launcher (`hydra_plugins`) hand back plain dictionaries."""
    from bpttlab import overrides

    flags = sweep_flags(arguments)
    if flags.cfg:
        return show_configuration(flags)
    codes: list[int] = []  # hydra.main returns nothing and knows one exit code: the sweep's own is left here

    def measure(runs: Sequence[Mapping[str, Any]]) -> None:
        codes.append(run_sweep(runs, flags.dry_run, line_of(arguments)))

    overrides.through_hydra(["--multirun", *hydra_flags(flags)], flags.overrides, measure, flags.config_dir)
    return codes[0]


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaints are like all others."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (bpttlab sweep --help)")


def sweep_flags(arguments: list[str]) -> argparse.Namespace:
    """What is not an override."""
    parser = OneLineParser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--multirun", "-m", action="store_true")  # always so; accepted from those who know Hydra
    flags, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        raise ConfigurationError(f"there is no option {unknown[0]}: {', '.join(known)}.{nearest(unknown[0], known)}")
    if flags.config_dir is not None and not os.path.isdir(flags.config_dir):
        raise ConfigurationError(f"--config-dir {flags.config_dir}: there is no such folder")
    return flags


def hydra_flags(flags: argparse.Namespace) -> list[str]:
    """The options that Hydra knows, as it wants them."""
    chosen = {"--cfg": flags.cfg, "--package": flags.package, "--config-dir": flags.config_dir}
    pairs = [[option, value] for option, value in chosen.items() if value is not None]
    return [word for pair in pairs for word in pair] + ["--resolve"] * flags.resolve


def show_configuration(flags: argparse.Namespace) -> int:
    """The configuration of one run; of what is swept, with the first value."""
    from bpttlab import overrides

    composer = overrides.composer(flags.config_dir, flags.overrides)
    axes = composer.axes(line for line in flags.overrides if not overrides.is_of_hydra(line))
    swept = [axis.parsed.input_line for axis in axes if axis.is_swept]
    if swept:
        print(f"# swept, shown with the first value: {' '.join(map(str, swept))}")
    own = [line for line in flags.overrides if overrides.is_of_hydra(line)]
    lines = own + [axis.lines[0] for axis in axes]
    overrides.through_hydra(hydra_flags(flags), lines, lambda runs: None, flags.config_dir)
    return 0


def line_of(arguments: Iterable[str]) -> str:
    """The command as a person would type it again."""
    return shlex.join(["bpttlab", "sweep", *arguments])


def run_sweep(runs: Sequence[Mapping[str, Any]], dry_run: bool, line: str) -> int:
    """Plans, computes and tells; the exit code."""
    from bpttlab.sweeping import Summary, execute, plan, separate

    options, configurations = separate(runs)
    planned = plan(configurations, options)
    if planned.to_do and not dry_run:
        options.store.writable()
    print(f"study {options.study}:", "\n  ".join(planned.lines()), flush=True)
    if dry_run:
        return 0
    tally = execute(planned.to_do, options.store, options.processes)
    summary = Summary(planned, tally, options.store.path)
    print("\n".join(summary.lines()))
    where = [f"study={options.study}", *([f"results={options.results}"] if options.results != "results" else [])]
    if tally.interrupted is not None:
        print(f"go on with: {line}")
    else:
        commands = [shlex.join(["bpttlab", command, *where]) for command in ("tables", "figures")]
        print("next:", "\n      ".join(commands))
    return summary.exit_code


# ------------------------------------------------------------------ tables, figures, status


def tables_command(arguments: list[str]) -> int:
    from bpttlab import tables

    study = opened(key_values(arguments, STUDY))
    width = shutil.get_terminal_size((120, 24)).columns
    for name, frame in tables.summaries(study).items():
        written = tables.write(frame, study.path / "tables" / name)
        endings = ",".join(path.suffix.removeprefix(".") for path in written)
        shown = tables.most_asked(name, frame)
        rest = "" if len(shown) == len(frame) else f": {len(shown)} of {len(frame)} rows, all of them in the files"
        print(f"{name.replace('_', ' ')}  ({study.path / 'tables' / name}.{{{endings}}}){rest}\n")
        print(tables.printed(shown, width=width, rows=SHOWN_ROWS))
    return 0


def figures_command(arguments: list[str]) -> int:
    from bpttlab import figures
    from bpttlab.figures import style

    chosen = key_values(arguments, {**STUDY, "format": "png", "size": "page"})
    style.check_size(chosen["size"])
    study = opened(chosen)
    drawing = figures.draw(study, chosen["size"])  # type: ignore[arg-type]  # checked in the line above
    for name, figure in drawing.items():
        print(figures.save(figure, study.path / "figures" / name, chosen["format"]))
    for name, why in drawing.skipped.items():
        print(f"not drawn: {name}: {why}")
    return 0


def status_command(arguments: list[str]) -> int:
    from bpttlab.sweeping import count, told

    study = opened(key_values(arguments, STUDY))
    runs = study.runs
    networks = count(runs["network_id"].nunique(), "network")
    print(f"{study.path}: {count(len(runs), 'run')} of {networks}: {told(Counter(runs['status']))}")
    for status in ("failed", "diverged"):
        reasons = runs.loc[runs["status"] == status, "error"].fillna("no reason is stored").value_counts()
        for why, n in reasons.head(SHOWN_REASONS).items():
            print(f"{status}, {n} ×: {why}")
        if len(reasons) > SHOWN_REASONS:
            print(f"{status}: {count(len(reasons) - SHOWN_REASONS, 'other reason')} (column `error` of the table runs)")
    for line in mixtures(study.provenance):
        print(line)
    return 0


def mixtures(provenance: pd.DataFrame) -> list[str]:
    """What was not the same for all runs and can change the last bits of a number."""
    lines = []
    for column in ("bpttlab", "git_commit", "numpy", "scipy", "blas"):
        found = sorted(provenance[column].dropna().unique())
        if len(found) > 1:
            lines.append(f"mixed: {column} {', '.join(found)}")
    return lines


SHOWN_ROWS = 60
SHOWN_REASONS = 10
REQUIRED = "?"
NONE = ""
STUDY = {"study": REQUIRED, "results": "results"}


def opened(chosen: Mapping[str, str]) -> Study:
    from bpttlab import store

    return store.load(chosen["study"], Path(chosen["results"]))


def key_values(arguments: Iterable[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """key=value words as a dictionary; an unknown key, a missing value or a missing study is one line."""
    chosen = dict(defaults)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in defaults:
            raise ConfigurationError(f"{argument}: there are {', '.join(defaults)}.{nearest(key, defaults)}")
        if not equals or not value:
            raise ConfigurationError(f"{argument}: must be {key}=VALUE")
        chosen[key] = value
    for key, value in chosen.items():
        if value == REQUIRED:
            raise ConfigurationError(f"{key} is missing: say {key}=NAME")
    return chosen


# ------------------------------------------------------------------ claims, verify


def claims_command(arguments: list[str]) -> int:
    """Calls `claims` of the experiment's analysis.py, which comes with the package: nothing of the results is run."""
    import runpy

    chosen = key_values(arguments, {**STUDY, "experiment": NONE})
    path = analysis_of(chosen["experiment"])
    study = opened(chosen)
    try:
        claims = runpy.run_path(str(path))["claims"](study)
    except (LookupError, ValueError, TypeError) as error:  # tables without the rows that a claim is about
        raise LabError(
            f"{study.path} cannot be held against the claims of {path.parent.name}: was it swept with "
            f"experiment={path.parent.name}? ({type(error).__name__}: {error})"
        ) from error
    for row in claims.to_dict("records"):
        held = "holds " if row["held"] else "FAILS "
        print(f"{held} {row['claim']}: {row['measured']:.4g}, expected {row['expected']} ({row['source']})")
    print(f"\n{claims['held'].sum()} of {len(claims)} claims of {path.parent.name} hold in {study.path}")
    return int(not claims["held"].all())


def analysis_of(experiment: str) -> Path:
    """The analysis of an experiment; where there is but one experiment, it need not be named."""
    known = {path.parent.name: path for path in sorted(places.experiments().glob("*/analysis.py"))}
    if experiment == NONE and len(known) == 1:
        return next(iter(known.values()))
    if experiment not in known:
        missing = "experiment is missing" if experiment == NONE else f"experiment={experiment}"
        raise ConfigurationError(f"{missing}: must be one of {', '.join(known)}.{nearest(experiment, known)}")
    return known[experiment]


def verify_command(arguments: list[str]) -> int:
    for topic in arguments:
        if topic not in TOPICS:
            raise ConfigurationError(f"verify {topic}: there is only {', '.join(TOPICS)}.{nearest(topic, TOPICS)}")
    codes = [TOPICS[topic]() for topic in dict.fromkeys(arguments or TOPICS)]
    return max(codes)


def verify_gradients() -> int:
    from bpttlab import checking

    checks = checking.verify_gradients()
    summary = checks.groupby(["activation", "oracle", "dtype"], sort=False).agg(
        checks=("held", "size"), held=("held", "sum"), worst=("error", "max"), allowed=("tolerance", "max")
    )
    print(summary.reset_index().to_string(index=False, float_format="{:.1e}".format))
    wrong = checks[~checks["held"]]
    if len(wrong):
        print(f"\ndo not hold:\n{wrong.to_string(index=False)}")
    print(f"\n{len(checks) - len(wrong)} of {len(checks)} checks of the gradient hold")
    return int(len(wrong) > 0)


TOPICS: dict[str, Callable[[], int]] = {"gradients": verify_gradients}

COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "sweep": (sweep_command, SWEEP_HELP),
    "status": (status_command, STATUS_HELP),
    "tables": (tables_command, TABLES_HELP),
    "figures": (figures_command, FIGURES_HELP),
    "claims": (claims_command, CLAIMS_HELP),
    "verify": (verify_command, VERIFY_HELP),
}
