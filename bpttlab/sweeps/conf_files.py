"""The YAML files of `conf/` that the classes state: `python -m bpttlab.sweeps.conf_files` writes them (`make conf`).

Written are conf/config.yaml and every file of the groups cell, task, scheme, initializer, training,
optimizer, penalty, projection and measure. The files of the group experiment are chosen by hand.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpttlab import resources
from bpttlab.fields import FieldDescription, defaults, describe_fields
from bpttlab.files import publish
from bpttlab.measures.selection import declaring_classes
from bpttlab.networks.cells import Scales
from bpttlab.sweeps.choices import GroupChoice, every_choice
from bpttlab.sweeps.configuration import Configuration, Values
from bpttlab.sweeps.configuration_columns import COLUMNS_FILE, columns_file
from bpttlab.sweeps.measure_presets import MEASURE_PRESETS as MEASURES
from bpttlab.sweeps.measure_presets import MeasurePreset
from bpttlab.sweeps.plan import Options
from bpttlab.sweeps.stored_networks import DESCRIPTION

YAML_WIDTH = 120
COMMENT = 32
"""The column in which comments begin."""

UNBROKEN = "\u00a0"
"""A space at which no line ends, while lines are made."""

CONFIG = """\
# What one run of a sweep is made of. Every value here can be set, or swept, on the command line:
#
#   bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 task=noise,adding cell.hidden_size=64 'seed=range(0,8)'
#
# A value swept is a list with commas, or range(first, end, step), without the end: range(0.1,0.4,0.1) is 0.1,0.2,0.3.
# A group (cell, task, scheme, initializer, training, optimizer, penalty, projection, measure, experiment) is chosen by
# the name of a file in the folder of its name.

defaults:
  - _self_
{choices}
  - measure: standard
  - experiment: null            # a ready-made sweep: experiment=vanishing_exploding
  - override hydra/sweeper: bpttlab
  - override hydra/launcher: bpttlab
  - override hydra/hydra_logging: none
  - override hydra/job_logging: none

# Of the sweep, never of a run: none of these changes a number.
{options}

# Of each run.
{values}

scales:
{scales}

hydra:
  mode: MULTIRUN                # sweeps without -m
  output_subdir: null           # Hydra writes nothing: what a study leaves behind is in results/<study>
  run:
    dir: .
  sweep:
    dir: .
    subdir: .
"""


def conf_files() -> dict[str, str]:
    """The text of each file, by its path in conf/."""
    measures = {f"measure/{name}.yaml": measure_file(preset) for name, preset in MEASURES.items()}
    return {
        "config.yaml": config(),
        **{f"{one.group}/{one.name}.yaml": choice_file(one) for one in every_choice()},
        **measures,
    }


def config() -> str:
    """conf/config.yaml."""
    parts = {
        "choices": [f"  - {group}: {fields['name']}" for group, fields in Configuration.DEFAULTS.items() if fields],
        "options": field_lines(Options, defaults(Options)),
        "values": [*field_lines(Values, defaults(Values)), *described_line(DESCRIPTION, DESCRIPTION.default)],
        "scales": field_lines(Scales, defaults(Scales), indent="  "),
    }
    return CONFIG.format(**{name: "\n".join(lines) for name, lines in parts.items()})


def choice_file(choice: GroupChoice) -> str:
    """The file of a choice: what it is, its name, its fields."""
    values = {name: value for name, value in choice.values.items() if name != "name"}
    lines = [*comment(choice.description), f"name: {choice.values['name']}", *field_lines(choice.kind, values)]
    return "\n".join(lines) + "\n"


def measure_file(preset: MeasurePreset) -> str:
    """The file of a choice of the group measure: what it is for, and the settings of all measures."""
    values = preset.measures.plain
    lines = [line for kind in declaring_classes() for line in field_lines(kind, values)]
    return "\n".join([*comment([preset.purpose]), *lines]) + "\n"


def comment(paragraphs: list[str]) -> Iterator[str]:
    """Paragraphs as comment lines; blocks stand as they are."""
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield "#"
        is_block = paragraph.startswith("    ")
        for line in paragraph.splitlines() if is_block else textwrap.wrap(paragraph, YAML_WIDTH - 2):
            yield f"# {line[2:] if is_block else line}".rstrip()


def field_lines(kind: Any, values: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A line for each field: its name, its value, and as a comment its meaning with the bounds or choices."""
    for field in describe_fields(kind):
        yield from described_line(field, values[field.name], indent)


def described_line(field: FieldDescription, value: Any, indent: str = "") -> Iterator[str]:
    """The lines of one field."""
    limits = f" ({field.limits})".replace(" ", UNBROKEN) if field.limits else ""
    meaning = field.description + limits.replace(UNBROKEN, " ", 1)
    stated = f"{indent}{field.name}: {scalar(value)}"
    first, *others = textwrap.wrap(meaning, YAML_WIDTH - COMMENT - 2) or [""]
    yield f"{stated:<{COMMENT - 1}} # {first}".replace(UNBROKEN, " ") if first else stated
    yield from (f"{'':<{COMMENT}}# {other}".replace(UNBROKEN, " ") for other in others)


def scalar(value: Any) -> str:
    """A value as YAML writes it, in one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def write_files(folder: Path, files: dict[str, str]) -> list[str]:
    """Writes the files that are not current, and returns their names."""
    changed = [name for name, text in files.items() if _read(folder / name) != text]
    for name in changed:
        publish(folder / name, files[name])
    return changed


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _main() -> None:
    """Writes the files that are not current, and prints their names."""
    for name in write_files(resources.conf(), conf_files()):
        print(name)
    for name in write_files(resources.PACKAGE / "store", {COLUMNS_FILE: columns_file()}):
        print(name)


if __name__ == "__main__":
    _main()
