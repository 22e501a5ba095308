"""The files of conf/ and the pages of docs/ are what the classes state; `make conf docs` renews them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import yaml

from bpttlab import resources
from bpttlab.fields import Field, defaults
from bpttlab.networks.cells import Scales
from bpttlab.store.columns import CONFIGURATION
from bpttlab.sweeps import pages
from bpttlab.sweeps.choices import PRESETS, GroupChoice, classes_of_groups, describe_choice, every_choice
from bpttlab.sweeps.conf_files import choice_file, conf_files, write_files
from bpttlab.sweeps.configuration import Values
from bpttlab.sweeps.configuration_columns import COLUMNS_FILE, columns_file
from bpttlab.sweeps.plan import Options

FILES = conf_files()
DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True)
class Example:
    """One line that says what it is.

    What follows a colon is shown:

        x = 1

    Other paragraphs are not.
    """

    name: ClassVar[str] = "example"
    rate: Annotated[float, Field(gt=0, description="rate of decay" + ", with a long description" * 5)] = 0.5
    mode: Annotated[str | None, Field(description="way; null: any")] = None


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_conf_is_current(name):
    assert (resources.conf() / name).read_text(encoding="utf-8") == FILES[name], f"conf/{name}: run `make conf`"


@pytest.mark.parametrize("name", ["configuration.md", "tables.md"])
def test_a_page_of_docs_is_current(name):
    assert (DOCS / name).read_text(encoding="utf-8") == pages.pages(DOCS)[name], f"docs/{name}: run `make docs`"


def test_the_configuration_columns_are_current():
    stored = resources.PACKAGE / "store" / COLUMNS_FILE
    assert stored.read_text(encoding="utf-8") == columns_file(), "bpttlab/store/configuration.csv: run `make conf`"


def test_a_column_has_type_unit_and_meaning_of_its_field():
    columns = {column.name: (column.dtype, column.unit, column.meaning) for column in CONFIGURATION}
    assert columns["sequence_length"] == ("int64", "step", "T, steps")
    assert columns["truncation"][:2] == ("string", "step")  # an integer or full
    assert columns["cell_hidden_size"] == ("int64", "", "N, hidden units")
    assert columns["cell_normalise"][0] == "bool"
    assert columns["cell_reset_scale"] == ("float64", "", "gru: W_r alone, times this too")
    assert columns["cell_of_reset_scale"][2] == "stacked, noisy: cell_reset_scale of its cell"
    assert columns["task_horizon"][2].startswith("lorenz: samples ahead, 0.02 time units each; mackey_glass: ")
    given = {"cell_input_size", "scheme_truncation", "task_sequence_length", "task_path", "cell_path"}
    assert not given & set(columns)


def test_every_file_of_a_group_is_written():
    for group in ("cell", "task", "scheme", "initializer", "measure"):
        there = {f"{group}/{path.name}" for path in (resources.conf() / group).glob("*.yaml")}
        assert there == {name for name in FILES if name.startswith(f"{group}/")}


def test_a_file_has_the_fields_of_its_class_in_their_order():
    for choice in every_choice():
        written = yaml.safe_load(FILES[f"{choice.group}/{choice.name}.yaml"])
        assert list(written.items()) == list(choice.values.items())
        assert list(written) == list(defaults(choice.kind))


def test_config_has_the_defaults_of_its_classes():
    config = yaml.safe_load(FILES["config.yaml"])
    values = {name: value for name, value in config.items() if name not in ("defaults", "hydra", "scales")}
    assert list(values.items()) == [*defaults(Options).items(), *defaults(Values).items(), ("from", None)]
    assert config["scales"] == defaults(Scales)


def test_a_preset_differs_from_its_class_in_fields_that_it_has():
    kinds = classes_of_groups()
    for group, presets in PRESETS.items():
        for preset in presets.values():
            assert set(preset.values) <= set(defaults(kinds[group][preset.name]))


def test_a_file_opens_with_the_docstring_and_explains_each_field():
    lines = choice_file(
        GroupChoice("cell", "example", Example, defaults(Example), describe_choice(Example))
    ).splitlines()
    opening = ["One line that says what it is.", "", "What follows a colon is shown:", "", "  x = 1"]
    assert lines[:6] == [*(f"# {line}".rstrip() for line in opening), "name: example"]
    assert lines[6].startswith(f"{'rate: 0.5':<32}# rate of decay, with a long description, with")
    assert lines[7:] == [
        f"{'':<32}# description{', with a long description' * 2} (> 0)",
        f"{'mode: null':<32}# way; null: any",
    ]
    assert max(map(len, lines)) <= 120


def test_only_files_that_are_not_current_are_written(tmp_path):
    (tmp_path / "old.yaml").write_text("a: 1\n", encoding="utf-8")
    assert write_files(tmp_path, {"old.yaml": "a: 1\n", "new.yaml": "b: 2\n"}) == ["new.yaml"]
    assert (tmp_path / "new.yaml").read_text(encoding="utf-8") == "b: 2\n"


def test_the_page_lists_every_field_as_the_command_line_takes_it():
    page = pages.configuration_page()
    for choice in every_choice():
        section = page.split(f"### {choice.group}={choice.name}\n")[1].split("\n##")[0]
        for name in list(choice.values)[1:]:
            assert f"- `{choice.group}.{name}=" in section
    assert max(map(len, page.splitlines())) <= 120
    assert "- `cell.hidden_size=32` (an integer >= 1): N, hidden units." in page


def test_the_tables_page_keeps_its_prose():
    current = (DOCS / "tables.md").read_text(encoding="utf-8")
    spoilt = current.replace("| `seed` |", "| `sead` |").replace("| `growth_rate` |", "| `groth_rate` |")
    assert spoilt != current
    assert pages.tables_page(spoilt) == pages.tables_page(current)
    assert pages.tables_page(current + "\n").startswith(current.split("\n## runs\n")[0])
