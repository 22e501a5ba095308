"""`bpttlab sweep`: override lines are composed to runs, which the scheduler computes and stores."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpttlab import plugins, resources
from bpttlab.cli.arguments import WIDTH, add_command, say, split_plugins, tell
from bpttlab.errors import ConfigurationError
from bpttlab.store.study_names import find_words
from bpttlab.sweeps import plugin_choices
from bpttlab.sweeps.field_help import help_of_choices, help_of_values
from bpttlab.user_environment import memory_bytes

if TYPE_CHECKING:
    from bpttlab.sweeps.plan import Options, SweepPlan

_DESCRIPTION = """\
Measures every combination of the values given, on all processors, and stores the runs in results/NAME. If you repeat
the line, only missing runs are computed. Add values to extend a study. The same line in several terminals, or on
several machines with one folder of results, divides the work."""

_TEXT = """\
examples:

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5
      three runs: values separated by commas are swept; every other field has its default

  bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 truncation=full,5,20 'seed=range(0,8)'
      72 runs; quote words with special shell characters, such as parentheses

  bpttlab sweep study=first 'spectral_radius=range(0.1,1.0,0.1)'
      0.1, 0.2, ..., 0.9: the end is not included; steps are exact decimals; an integer may be written 1e3

  bpttlab sweep study=first task=noise,adding cell.hidden_size=64 sequence_length=200
      a group (cell, task, scheme, initializer, measure) is chosen by name; a dot sets a field of it

  bpttlab sweep study=mine cell=from_file cell.path=model.safetensors task=adding truncation=full,5,20
      your own trained nn.RNN, nn.GRU or nn.LSTM (docs/own-network.md)

  bpttlab sweep study=mine plugins=mine.py cell=peephole cell.hidden_size=16,32
      a cell, task, scheme, measure or another part of your own, in mine.py or an installed module
      (docs/extending.md)

  bpttlab sweep study=demo experiment=vanishing_exploding 'seed=range(0,2)'
      a ready-made sweep, with fewer networks; without study= the study has the name of the experiment

  bpttlab sweep study=first spectral_radius=0.5,1.0 --dry-run     shows runs, rows, memory, time and bytes
  bpttlab sweep task=adding --cfg job                             shows every value of a run
  bpttlab sweep study=first ... retry=failed                      computes failed runs again
  bpttlab sweep study=first ... results=/data/results workers=4   sets the folder and the number of processes
  bpttlab sweep study=first ... --config-dir mine                 also finds configuration files in mine/, for example
                                                                  mine/experiment/short.yaml
  bpttlab sweep --help cell=gru                                   shows the fields of a choice, of an experiment or of
                                                                  a value (--help engine=numba)

values, with their defaults:

{values}

groups:
{groups}

bpttlab status study=first shows, during a sweep or after it, which runs are done, failed or missing.
Exit code: 0: success; 1: a run failed; 2: the command could not finish; the message says why; 130: Ctrl-C.
"""


def register(commands: Any) -> None:
    """Adds `bpttlab sweep`."""
    parser = add_command(
        commands,
        "sweep",
        _command,
        summary="compute a study: every combination of the values given",
        usage="[study=NAME] [KEY=VALUE ...] [plugins=FILE.py] [--dry-run] [--cfg job] [--config-dir FOLDER]",
        description=_DESCRIPTION,
        text=help_text,
    )
    parser.fields = field_names
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and the time and memory it takes"
    )
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"), help="show the configuration; compute nothing")
    parser.add_argument("--package", "-p", metavar="KEY", help="with --cfg: show only this part")
    parser.add_argument("--resolve", action="store_true", help="with --cfg: replace interpolations by their values")
    parser.add_argument("--config-dir", "-cd", metavar="FOLDER", help="a folder with your own configuration files")
    parser.add_argument("--multirun", "-m", action="store_true", help="always on; accepted for users of Hydra")


def field_names() -> list[str]:
    """The keys of a line that belong to no group, and the groups."""
    from bpttlab.store.columns import FROM
    from bpttlab.sweeps.configuration import GROUPS, Values
    from bpttlab.sweeps.identity_parts import fields_of
    from bpttlab.sweeps.plan import OPTIONS

    return [*fields_of(Values), FROM, *GROUPS, *OPTIONS, "experiment", "plugins"]


def help_text(words: Sequence[str] = ()) -> str:
    """The examples, values and groups; where words set something, as cell=gru does, what they set.

    The names of a group are those in conf/, of installed packages, and in files that words name.
    """
    folders = sorted(
        path for path in resources.conf().iterdir() if path.is_dir() and not path.name.startswith(("_", "."))
    )
    named, others = split_plugins(words)
    with plugins.use(named):
        groups = "\n".join(_fill(folder.name, _choices(folder)) for folder in folders)
        return help_of_choices(others) or _TEXT.format(groups=groups, values=help_of_values())


def _choices(group: Path) -> list[str]:
    """The names of a group; of experiments those with an analysis, for their parts are seldom chosen."""
    own = [choice.name for choice in plugins.own_choices() if choice.kind == group.name]
    names = sorted([*(file.stem for file in group.glob("*.yaml")), *own])
    whole = [name for name in names if name in resources.analyses()]
    return [*whole, "and their parts, for example edge_of_chaos_rest"] if group.name == "experiment" else names


def _fill(group: str, names: Sequence[str]) -> str:
    """A group with its names, as wide as help is."""
    return textwrap.fill(", ".join(names), WIDTH, initial_indent=f"  {group:<13}", subsequent_indent=15 * " ")


def _command(parsed: argparse.Namespace) -> int:
    """Composes the runs of a line and computes them."""
    check_config_dir(parsed.config_dir)
    named, words = split_plugins(parsed.words)
    words = override_lines(words)
    if parsed.cfg:
        with plugin_choices.register_choices(named):
            return show_configuration(words, parsed)
    with start_workers(words, parsed.dry_run), plugin_choices.register_choices(named):
        from bpttlab.sweeps import hydra_composition
        from bpttlab.sweeps.file_values import name_files
        from bpttlab.sweeps.line_advice import advice_for

        with advice_for(words):
            counts: list[int] = []
            composer = hydra_composition.composer(parsed.config_dir, words)
            with name_files(composer.file_values, words):
                runs = composer.compose_line(words, counts.append)
                return _run(runs, counts[0], parsed.dry_run, _line_of(parsed))


def override_lines(words: Sequence[str]) -> list[str]:
    """The words, checked, and the name of the study where only an experiment names it."""
    check_words(words)
    return [*words, *study_of_experiment(words)]


def study_of_experiment(words: Sequence[str]) -> list[str]:
    """A study without a name has that of the one experiment that is swept."""
    experiment = resources.experiment_in(words)
    named = any(word.startswith("study=") for word in words)
    return [] if named or experiment is None else [f"study={experiment}"]


def check_config_dir(folder: str | None) -> None:
    """Refuses in one line what Hydra would refuse in many, or ignore."""
    if folder is None:
        return
    if not os.path.isdir(folder):
        raise ConfigurationError(f"--config-dir {folder}: there is no such folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigurationError(f"--config-dir {folder}: the folder cannot be read")


def check_words(words: Iterable[str]) -> None:
    """Refuses what a shell makes of forgotten quotes."""
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise ConfigurationError(
                f"{word!r} is not KEY=VALUE: a value has no spaces around = or in its list (spectral_radius=0.5,1.0), "
                f"or the whole word is in quotes{suggest_equals(word)}"
            )


def suggest_equals(word: str) -> str:
    """What to write for a word with another sign in place of =."""
    key, sign, value = re.match(r"([\w.]*)([:＝→]?)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"; write {shlex.quote(f'{key}={value}')}" if key and sign and value else ""


def show_configuration(words: Sequence[str], parsed: argparse.Namespace) -> int:
    """Prints the configuration of one run, or the part of it that `--package` names, as YAML.

    A swept field has its first value.
    """
    from bpttlab.sweeps import hydra_composition, hydra_settings

    composer = hydra_composition.composer(parsed.config_dir, words)
    axes = composer.axes(line for line in words if not hydra_settings.is_of_hydra(line))
    swept = [axis.parsed.input_line for axis in axes if axis.is_swept]
    if swept:
        print(f"# swept, shown with the first value: {' '.join(map(str, swept))}")
    lines = [axis.lines[0] for axis in axes]
    try:
        text = composer.as_yaml(lines, parsed.cfg, parsed.package, parsed.resolve)
    except ConfigurationError:
        composer.expand(lines)  # names an unknown field, and the nearest one
        raise
    print(text, end="")
    return 0


def _line_of(parsed: argparse.Namespace) -> str:
    """The command as a person would type it again."""
    options = ["--config-dir", parsed.config_dir] if parsed.config_dir is not None else []
    return shlex.join(["bpttlab", "sweep", *parsed.words, *options])


def _run(runs: Iterable[Mapping[str, Any]], count: int, dry_run: bool, line: str) -> int:
    """Plans, computes and reports; the exit code."""
    from bpttlab.sweeps.division import describe_others
    from bpttlab.sweeps.plan import plan, separate
    from bpttlab.sweeps.scheduler import carry_out

    options, configurations = separate(runs)
    planned = plan(configurations, options, count)
    if planned.to_do and not dry_run:
        options.store.check_writable()
    others = describe_others(planned.to_do, options.store.path)
    heading = f"study {options.study}: " + "\n  ".join([*planned.lines(), *others])
    if dry_run:
        say(heading, flush=True)
        return forecast(planned, options)
    tell(heading)
    summary = carry_out(planned, options, line=line)
    tell("\n".join(summary.lines()))
    if summary.tally.interrupted is not None:
        tell(f"go on with: {line}")
        end_by_signal(summary.tally.interrupted)
    else:
        tell("next: " + "\n      ".join(next_commands(options.study, options.results, line)))
    return summary.exit_code


def end_by_signal(number: int) -> None:
    """A signal other than Ctrl-C has its usual effect, now that what is done is stored."""
    if number != signal.SIGINT:
        signal.raise_signal(number)


def forecast(planned: SweepPlan, options: Options) -> int:
    """Prints the rows, the time, the bytes and the memory that a sweep would take."""
    from bpttlab.sweeps import cost_estimate, memory_estimate

    available = memory_bytes()
    memory_estimate.refuse_too_large(planned, options, available)
    memory = memory_estimate.describe_memory(planned, options, available)
    for estimate in [*memory, *cost_estimate.lines(planned, options)]:
        say(f"  {estimate}")
    return 0


def next_commands(study: str, results: str, line: str) -> list[str]:
    """The commands to run next on a study that this line has computed."""
    where = find_words(study, results)
    where += [word for word in shlex.split(line) if word.startswith("plugins=")]
    has_claims = resources.experiment_in(shlex.split(line)) in resources.analyses()
    names = ("tables", "figures", *(["claims"] if has_claims else []))
    return [shlex.join(["bpttlab", name, *where]) for name in names]


def start_workers(words: Sequence[str], dry_run: bool) -> AbstractContextManager[None]:
    """Lets workers import what the line will need, while this process finds out what there is to do."""
    from bpttlab.gradients.compiled import preload
    from bpttlab.sweeps import fork_server

    if dry_run or "workers=0" in words:
        return nullcontext()
    loops = preload.request_preload(_values_of(words, "cell", "elman"), _values_of(words, "dtype", "float64"))
    return fork_server.preload_or_stop(fork_server.preload_of(_values_of(words, "engine", "numba")), loops)


def _values_of(words: Iterable[str], key: str, default: str) -> list[str]:
    """The values that a line gives a key. A guess: files may give others."""
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), default).split(",")
