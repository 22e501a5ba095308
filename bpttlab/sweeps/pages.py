"""The pages of `docs/` that the code states: `python -m bpttlab.sweeps.pages` writes them (`make docs`).

docs/configuration.md is written as a whole; of docs/tables.md the tables of columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from bpttlab import resources
from bpttlab.errors import LabError
from bpttlab.fields import FieldDescription, describe_fields
from bpttlab.measures.selection import Measures, declaring_classes
from bpttlab.networks.cells import Scales
from bpttlab.store import schema
from bpttlab.sweeps.choices import GroupChoice, every_choice
from bpttlab.sweeps.conf_files import YAML_WIDTH, scalar, write_files
from bpttlab.sweeps.configuration import Values
from bpttlab.sweeps.measure_presets import MEASURE_PRESETS
from bpttlab.sweeps.plan import Options
from bpttlab.sweeps.stored_networks import DESCRIPTION
from bpttlab.tables import documented

_CONFIGURATION = """\
# Configuration

Every value of a run and of a sweep, with its default, what it may be and its meaning. Each can be set on the command
line, `bpttlab sweep study=first cell=gru cell.hidden_size=16,32`, and in Python,
`lab.sweep(lab.grid({{"cell.hidden_size": [16, 32]}}, cell="gru"), study="first")`.

This page is written from the classes by `make docs`, as the files of `conf/` are by `make conf`. An integer may be
written as a float that is one: `sequence_length=1e3`. `null` is Python's `None`.

## A run

{values}

## A sweep

None of these changes a number.

{options}

## scales

How large everything but W is.

{scales}
"""


OF_MEASURES = """\
What is measured of a run. Each setting belongs to one measure, a class in `bpttlab/measures/`. A choice is a list of
measures with their settings. A measure of your own is an entry under its name: `measure.NAME.SETTING=2`.
"""


def configuration_page() -> str:
    """docs/configuration.md."""
    parts = {
        "values": _entries([*describe_fields(Values), DESCRIPTION]),
        "options": _entries(describe_fields(Options)),
        "scales": _entries(describe_fields(Scales), "scales."),
    }
    opening = _CONFIGURATION.format(**{name: "\n".join(lines) for name, lines in parts.items()})
    groups = (
        group_section(group, of_group) for group, of_group in groupby(every_choice(), lambda choice: choice.group)
    )
    return "\n".join([opening, *groups, measure_section()])


def measure_section() -> str:
    """The section of the group measure: all settings, then what each choice sets."""
    listed = [line for kind in declaring_classes() for line in _entries(describe_fields(kind), "measure.")]
    parts = [
        "## measure",
        textwrap.fill(OF_MEASURES, YAML_WIDTH),
        "\n".join(listed),
        *map(preset_section, MEASURE_PRESETS),
    ]
    return "\n\n".join(parts) + "\n"


def preset_section(name: str) -> str:
    """A choice of the group measure: what it is for, and the settings that differ from those above."""
    plain, standard = MEASURE_PRESETS[name].measures.plain, Measures.of().plain
    changed = [f"`measure.{field}={scalar(value)}`" for field, value in plain.items() if value != standard[field]]
    purpose = paragraph(MEASURE_PRESETS[name].purpose)
    own = textwrap.fill(f"Sets {', '.join(changed)}.", YAML_WIDTH, break_on_hyphens=False)
    return "\n\n".join([f"### measure={name}", purpose, *([own] if changed else [])])


def group_section(group: str, of_group: Iterable[GroupChoice]) -> str:
    """The section of a group: its choices, one after another."""
    return "\n".join([f"## {group}\n", *map(choice_section, of_group)])


def choice_section(choice: GroupChoice) -> str:
    """A choice: what it is, and its fields."""
    fields = [field._replace(default=choice.values[field.name]) for field in describe_fields(choice.kind)]
    parts = [f"### {choice.group}={choice.name}", *map(paragraph, choice.description)]
    listed = "\n".join(_entries(fields, f"{choice.group}."))
    return "\n\n".join([*parts, listed] if listed else parts) + "\n"


def paragraph(text: str) -> str:
    return text if text.startswith("    ") else textwrap.fill(text.replace("*", r"\*"), YAML_WIDTH)


def _entries(fields: Iterable[FieldDescription], prefix: str = "") -> Iterator[str]:
    """A list entry for each field: as it is written on the command line, what it may be, and its meaning."""
    for field in fields:
        stated = f"- `{prefix}{field.name}={scalar(field.default)}` ({field.allowed}): {field.description}."
        yield textwrap.fill(stated.replace("*", r"\*"), YAML_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def tables_page(current: str) -> str:
    """docs/tables.md, with the columns that the code states in place of those that it has."""
    opening, rest = current.split("\n## runs\n", 1)
    _, summaries = rest.split("\n## Summaries\n", 1)
    prose, _ = summaries.split("\n### Every summary\n", 1)
    return f"{opening}\n{schema.columns_markdown()}\n## Summaries\n{prose}\n{documented.summaries_markdown()}"


def pages(folder: Path) -> dict[str, str]:
    """The text of each page, by its name in docs/."""
    tables = (folder / "tables.md").read_text(encoding="utf-8")
    return {"configuration.md": configuration_page(), "tables.md": tables_page(tables)}


def docs() -> Path:
    """The folder of the pages, which an installed package does not have."""
    folder = resources.PACKAGE.parent / "docs"
    if not folder.is_dir():
        raise LabError(f"{folder}: there is no such folder; the pages are written in a checkout")
    return folder


def _main() -> None:
    """Writes the pages that are not current, and prints their names."""
    for name in write_files(docs(), pages(docs())):
        print(name)


if __name__ == "__main__":
    _main()
