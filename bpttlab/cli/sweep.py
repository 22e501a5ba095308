"""`bpttlab sweep`: override lines are composed to runs, which the scheduler computes and stores."""

from __future__ import annotations

import argparse
import os
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from bpttlab import plugins, resources
from bpttlab.cli.arguments import PLUGINS, without_plugins
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.sweeps import plugin_choices

HELP = """\
bpttlab sweep study=NAME [KEY=VALUE ...] [--dry-run] [--cfg job] [--config-dir FOLDER]

Measures every combination of the values given, on all processors, and stores it in results/NAME. The same line again
does only what is missing: an interrupted sweep is finished by repeating it, and one is extended by adding values.

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5
      three runs: a list with commas is swept, all else has its default

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 truncation=full,5,20 'seed=range(0,8)'
      72 runs; quote what the shell would take for its own

  bpttlab sweep study=first 'spectral_radius=range(0.1,1.0,0.1)'
      0.1, 0.2, ..., 0.9: a range excludes its end and counts in decimal; an integer may be written 1e3

  bpttlab sweep study=first task=noise,adding cell.hidden_size=64 sequence_length=200
      a group (cell, task, scheme, initializer, measure) is chosen by name, a field of it set with a dot

  bpttlab sweep study=mine cell=from_file cell.path=model.safetensors task=adding truncation=full,5,20
      a trained nn.RNN, nn.GRU or nn.LSTM of your own (docs/own-network.md)

  bpttlab sweep study=mine plugins=mine.py cell=peephole cell.hidden_size=16,32
      a cell, task, scheme or initializer of your own, in mine.py or an installed module (docs/extending.md)

  bpttlab sweep study=demo experiment=vanishing_exploding 'seed=range(0,2)'
      a ready-made sweep, with fewer networks; without study=, the study is called as the experiment

  bpttlab sweep study=first spectral_radius=0.5,1.0 --dry-run     says what would be done
  bpttlab sweep task=adding --cfg job                             prints every value of a run
  bpttlab sweep study=first ... retry=failed                      tries again what failed
  bpttlab sweep study=first ... results=/data/results workers=4   where, and with how many processes
  bpttlab sweep study=first ... --config-dir mine                 with files of your own: mine/experiment/short.yaml

Values: seed spectral_radius sequence_length truncation batch_size dtype reduction engine, and scales.V .b .U .x.
Groups:
{groups}

bpttlab status study=first tells, while it runs or afterwards, what is done, failed or missing.

Exit code: 0, or 1 if a run failed, 2 if something in the line is wrong (then nothing was computed), 130 after Ctrl-C.
"""

FLAGS = ("--dry-run", "--cfg", "--config-dir", "--package", "--resolve", "--help")


def help_text(words: Sequence[str] = ()) -> str:
    """The help, with the groups and their names: in conf/, of installed packages, and in files that words name."""
    folders = sorted(
        path for path in resources.conf().iterdir() if path.is_dir() and not path.name.startswith(("_", "."))
    )
    named, _ = without_plugins(words)
    with plugins.using(named):
        return HELP.format(groups="\n".join(in_lines(folder.name, choices(folder)) for folder in folders))


def choices(group: Path) -> list[str]:
    """The names of a group; of experiments those that are whole, for parts of them are seldom chosen."""
    own = [choice.name for choice in plugins.added() if choice.kind == group.name]
    names = sorted([*(file.stem for file in group.glob("*.yaml")), *own])
    whole = [name for name in names if name in resources.analyses()]
    return [*whole, "parts of them"] if group.name == "experiment" else names


def in_lines(group: str, names: Sequence[str]) -> str:
    """A group with its names, as wide as a terminal."""
    return textwrap.fill(", ".join(names), 118, initial_indent=f"  {group:<13}", subsequent_indent=15 * " ")


def command(arguments: list[str]) -> int:
    """Composes the runs of a line and computes them."""
    flags = parsed(arguments)
    if flags.cfg:
        with plugin_choices.using(flags.plugins):
            return show_configuration(flags)
    with beginning_workers(flags), plugin_choices.using(flags.plugins):
        from bpttlab.sweeps import hydra_composition

        runs = hydra_composition.expand(flags.overrides, flags.config_dir)
        return run(runs, flags.dry_run, line_of(arguments))


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaints are like all others."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (bpttlab sweep --help)")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options, and the other words as `overrides`."""
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
    check_config_dir(flags.config_dir)
    flags.plugins, flags.overrides = without_plugins(flags.overrides)
    check_words(flags.overrides)
    flags.overrides += study_of_experiment(flags.overrides)
    return flags


def study_of_experiment(words: Sequence[str]) -> list[str]:
    """The study is called as the one experiment that is swept, where it is not named."""
    experiment = resources.experiment_in(words)
    named = any(word.startswith("study=") for word in words)
    return [] if named or experiment is None else [f"study={experiment}"]


def check_config_dir(folder: str | None) -> None:
    """What Hydra would tell in many lines, or not at all."""
    if folder is None:
        return
    if not os.path.isdir(folder):
        raise ConfigurationError(f"--config-dir {folder}: there is no such folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigurationError(f"--config-dir {folder}: the folder cannot be read")


def check_words(words: Iterable[str]) -> None:
    """What a shell makes of forgotten quotes, and a study that is named twice."""
    studies = []
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise ConfigurationError(
                f"{word!r} is not KEY=VALUE: a value has no spaces around = or in its list (spectral_radius=0.5,1.0), "
                "or the whole word is in quotes"
            )
        if word.startswith("study="):
            studies.append(word)
    if len(set(studies)) > 1:
        raise ConfigurationError(f"{' '.join(studies)}: one of them can hold")


def show_configuration(flags: argparse.Namespace) -> int:
    """Prints the configuration of one run, or the part of it that `--package` names, as YAML.

    Of what is swept it has the first value.
    """
    from bpttlab.sweeps import hydra_composition

    composer = hydra_composition.composer(flags.config_dir, flags.overrides)
    axes = composer.axes(line for line in flags.overrides if not hydra_composition.is_of_hydra(line))
    swept = [axis.parsed.input_line for axis in axes if axis.is_swept]
    if swept:
        print(f"# swept, shown with the first value: {' '.join(map(str, swept))}")
    lines = [axis.lines[0] for axis in axes]
    try:
        text = composer.as_yaml(lines, flags.cfg, flags.package, flags.resolve)
    except ConfigurationError:
        composer.expand(lines)  # names an unknown field, and the nearest one
        raise
    print(text, end="")
    return 0


def line_of(arguments: Iterable[str]) -> str:
    """The command as a person would type it again."""
    return shlex.join(["bpttlab", "sweep", *arguments])


def run(runs: Sequence[Mapping[str, Any]], dry_run: bool, line: str) -> int:
    """Plans, computes and tells; the exit code."""
    from bpttlab.sweeps.plan import plan, separate
    from bpttlab.sweeps.scheduler import carry_out

    options, configurations = separate(runs)
    planned = plan(configurations, options)
    if planned.to_do and not dry_run:
        options.store.writable()
    print(f"study {options.study}:", "\n  ".join(planned.lines()), flush=True)
    if dry_run:
        from bpttlab.sweeps import cost_estimate

        print("".join(f"  {estimate}\n" for estimate in cost_estimate.lines(planned, options)), end="")
        return 0
    summary = carry_out(planned, options, line=line)
    print("\n".join(summary.lines()))
    where = [f"study={options.study}", *([f"results={options.results}"] if options.results != "results" else [])]
    where += [word for word in shlex.split(line) if word.startswith(PLUGINS)]
    if summary.tally.interrupted is not None:
        print(f"go on with: {line}")
    else:
        makes_claims = resources.experiment_in(shlex.split(line)) in resources.analyses()
        names = ("tables", "figures", *(["claims"] if makes_claims else []))
        commands = [shlex.join(["bpttlab", command, *where]) for command in names]
        print("next:", "\n      ".join(commands))
    return summary.exit_code


def beginning_workers(flags: argparse.Namespace) -> AbstractContextManager[None]:
    """Workers import what they need, as far as the line says it, while this process finds out what there is to do."""
    from bpttlab.gradients.compiled import preload
    from bpttlab.sweeps import worker_pool

    words = flags.overrides
    if flags.dry_run or "workers=0" in words:
        return nullcontext()
    loops = preload.asking(said(words, "cell", "elman"), said(words, "dtype", "float64"))
    return worker_pool.beginning(worker_pool.preload_of(said(words, "engine", "numpy")), loops)


def said(words: Iterable[str], key: str, default: str) -> list[str]:
    """The values that a line gives a key; no more than a guess, for files may give it others."""
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), default).split(",")
