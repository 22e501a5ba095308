"""Choices of a user's own: found by name everywhere, identified by their source, refused in one line."""

import json
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import figures, plugins, tables
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabWarning
from bpttlab.networks.activations import TANH, Activation
from bpttlab.networks.cells import Elman
from bpttlab.networks.initializers import Initializer
from bpttlab.sweeps import worker_pool
from bpttlab.sweeps.configuration import Configuration
from bpttlab.verification.gradient_check import assert_agree
from tests.support import own_parts
from tests.support.commandline import REPOSITORY, SMALL, complete, visible
from tests.support.own_parts import CELL, PARTS, write

SIZES = {"sequence_length": 6, "batch_size": 2, "engine": "numpy"}
OWN = {"cell": {"name": "doubled", "hidden_size": 4}, **SIZES}


@pytest.fixture
def mine(folder):
    """A folder with the file of an own cell."""
    write(folder, "mine.py", CELL)
    return folder


def error_of(capsys, *words):
    """The one line that a wrong command prints."""
    assert main(list(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


# ------------------------------------------------------------------ finding


@pytest.mark.parametrize("kind", [kind for kind in plugins.KINDS if kind != "experiment"])
def test_shipped_choices_are_found_by_name(kind):
    assert plugins.names(kind) == sorted(plugins.find_shipped(kind))
    for name, value in plugins.find_shipped(kind).items():
        assert plugins.find(kind, name) is value and value.name == name


@pytest.mark.parametrize("kind", PARTS)
def test_a_file_adds_its_choice_within_the_with_statement(folder, kind):
    write(folder, "mine.py", PARTS[kind])
    name = own_parts.NAMES[kind]
    with plugins.use("mine.py") as (choice,):
        assert (choice.kind, choice.name) == (kind, name)
        assert plugins.find(kind, name) is choice.value
        assert name in plugins.names(kind)
    with pytest.raises(ConfigurationError, match=f"{kind}='{name}': must be one of "):
        plugins.find(kind, name)


def test_files_modules_classes_and_lists_of_them(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    write(folder, "own_task.py", PARTS["task"])
    write(folder, "own_scheme.py", PARTS["scheme"])
    write(folder, "mine.py", CELL)
    import own_scheme  # type: ignore[import-not-found]  # the file written above

    with plugins.use(["mine.py,own_task", own_scheme.LastOnly]) as chosen:
        assert [choice.name for choice in chosen] == ["doubled", "echo", "last_only"]
    with plugins.use(folder / "mine.py") as chosen, plugins.use(own_scheme):
        assert plugins.find("cell", "doubled") is chosen[0].value


def test_an_activation_object_is_a_choice_of_its_own_file(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    write(folder, "own_activation.py", PARTS["activation"])
    import own_activation  # type: ignore[import-not-found]  # the file written above

    with plugins.use(own_activation.STEEP):
        assert plugins.find("activation", "steep") is own_activation.STEEP
        assert plugins.for_workers()[0].path == str(folder / "own_activation.py")


def test_what_a_file_imports_from_bpttlab_is_no_choice_of_it(folder):
    write(folder, "mine.py", "from bpttlab.networks.cells import Elman\n" + PARTS["activation"])
    with plugins.use("mine.py") as chosen:
        assert [choice.name for choice in chosen] == ["steep"]


def test_an_unchanged_file_is_executed_once(mine):
    write(mine, "mine.py", CELL + "print('executed')\n")
    with plugins.use("mine.py") as one:
        pass
    with plugins.use("mine.py") as other:
        assert other == one


def test_an_installed_package_names_its_modules(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    write(folder, "lab_echo.py", PARTS["task"])
    information = folder / "lab_echo-1.0.dist-info"
    information.mkdir()
    write(information, "METADATA", "Metadata-Version: 2.1\nName: lab-echo\nVersion: 1.0\n")
    write(information, "entry_points.txt", "[bpttlab.plugins]\necho = lab_echo\n")
    plugins.find_installed.cache_clear()
    try:
        assert plugins.find("task", "echo").__module__ == "lab_echo"
        run = Configuration.parse({"task": "echo", **SIZES})
        assert [group for group, _ in run.sources] == ["task"]
        assert main(["sweep", "study=x", "task=echo", "task.gain=1,2", *SMALL]) == 0
    finally:
        monkeypatch.undo()
        plugins.find_installed.cache_clear()


def test_the_contracts_of_all_kinds_are_those_of_the_package():
    named = {"cell": lab.Cell, "task": lab.Task, "scheme": lab.Scheme, "activation": lab.Activation}
    named |= {"loss": lab.StepLoss, "measure": lab.Measure, "table": lab.SummaryTable, "figure": lab.StudyFigure}
    named |= {"experiment": lab.Experiment, "initializer": Initializer, "optimizer": lab.Optimizer}
    named |= {"penalty": lab.Penalty, "projection": lab.Projection}
    assert {kind: one.loaded_contract for kind, one in plugins.KINDS.items()} == named


def test_importing_the_package_imports_no_plugin(folder):
    write(folder, "mine.py", "raise RuntimeError")
    code = "import bpttlab, sys; bpttlab.plugins; print([n for n in ('numpy', 'hydra', 'pandas') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------ everywhere


def test_a_run_in_python(mine):
    records = lab.run(OWN, plugins="mine.py")
    assert records.run["status"] == "done" and records.run["cell"] == "doubled"


def test_fields_of_an_own_choice_have_its_defaults(mine):
    with plugins.use("mine.py"):
        run = Configuration.parse({"cell": "doubled", **SIZES})
        assert (run.cell.hidden_size, run.cell.factor) == (32, 2.0)
        with pytest.raises(ConfigurationError, match=r"cell\.facto of 'doubled': .* Did you mean 'factor'"):
            Configuration.parse({"cell": {"name": "doubled", "facto": 1.0}})


def test_an_own_initializer_takes_the_spectral_radius(folder):
    write(folder, "mine.py", PARTS["initializer"])
    records = lab.run({"initializer": "shift", "spectral_radius": 0.5, **SIZES}, plugins="mine.py")
    assert records.run["initializer_realized"] == pytest.approx(0.5)


def test_an_own_activation_is_that_of_a_shipped_cell(folder):
    write(folder, "mine.py", PARTS["activation"])
    cell = {"name": "elman", "hidden_size": 4, "activation": "steep"}
    records = lab.run({"cell": cell, **SIZES}, plugins="mine.py")
    assert records.run["status"] == "done" and records.run["plugins"]


def test_an_own_scheme_cuts_the_gradient(folder):
    write(folder, "mine.py", PARTS["scheme"])
    records = lab.run({"scheme": "last_only", "truncation": 3, **SIZES}, plugins="mine.py")
    assert set(records.truncations["truncation"]) >= {3}


def test_an_own_measure_is_chosen_beside_the_standard_ones(folder):
    write(folder, "mine.py", PARTS["measure"])
    line = ["sweep", "study=x", "plugins=mine.py", "measure=largest", "measure.largest.factor=1,2", *SMALL]
    assert main(line) == 0
    runs = lab.load("x").runs.sort_values("measure_largest_factor")
    one, two = runs["largest_state"]
    assert two == 2 * one > 0 and runs["growth_rate"].notna().all()
    assert list(runs["plugins"].str.len()) == [32, 32]


def test_what_an_own_measure_adds_to_runs_makes_no_point(folder):
    write(folder, "mine.py", PARTS["measure"])
    line = ["sweep", "study=x", "plugins=mine.py", "measure=largest", "seed=range(0,3)", *SMALL]
    assert main(line) == 0
    runs = lab.load("x").runs
    assert runs["largest_state"].nunique() == 3
    (row,) = lab.tables.growth(runs).to_dict("records")
    assert row["networks"] == 3


def test_a_run_without_an_own_measure_keeps_its_id(folder):
    write(folder, "mine.py", PARTS["measure"])
    plain = Configuration.parse(SIZES)
    with plugins.use("mine.py"):
        assert Configuration.parse(SIZES).run_id == plain.run_id
        run = Configuration.parse({"measure": {"largest": {}}, **SIZES})
    assert [group for group, _ in run.sources] == ["measure"]
    assert run.run_id != plain.run_id and run.network_id == plain.network_id


def test_an_own_cell_is_a_layer_of_a_stack(mine):
    records = lab.run({"cell": {"name": "stacked", "hidden_size": 4, "of": "doubled"}, **SIZES}, plugins="mine.py")
    assert records.run["cell_of"] == "doubled" and records.run["plugins"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_have_an_own_cell_however_they_start(mine, monkeypatch, method):
    monkeypatch.setattr(worker_pool, "process_context", lambda preload: multiprocessing.get_context(method))
    summary = lab.sweep(study="x", plugins="mine.py", cell="doubled", seed=range(2), workers=1, **SIZES)
    assert summary.exit_code == 0, summary.lines()


def test_workers_import_a_module_from_where_it_was_found(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    write(folder / "elsewhere", "moved_cell.py", CELL)
    monkeypatch.syspath_prepend(folder / "elsewhere")
    summary = lab.sweep(study="x", plugins="moved_cell", cell="doubled", workers=1, **SIZES)
    assert summary.exit_code == 0, summary.lines()


def test_a_package_offers_the_classes_of_its_modules(folder, monkeypatch):
    package = folder / "lab_parts"
    package.mkdir()
    write(package, "__init__.py", "from lab_parts.cells import Doubled\nfrom lab_parts.tasks import Echo\n")
    write(package, "cells.py", CELL)
    write(package, "tasks.py", PARTS["task"])
    monkeypatch.syspath_prepend(folder)
    with plugins.use("lab_parts") as chosen:
        assert [(choice.name, choice.origin.module) for choice in chosen] == [
            ("doubled", "lab_parts.cells"),
            ("echo", "lab_parts.tasks"),
        ]
    summary = lab.sweep(study="x", plugins="lab_parts", cell="doubled", task="echo", workers=1, **SIZES)
    assert summary.exit_code == 0, summary.lines()


def test_a_worker_that_finds_another_version_of_a_module_says_so(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    write(folder, "versioned_cell.py", CELL)
    with plugins.use("versioned_cell"):
        (origin,) = plugins.for_workers()
    write(folder, "versioned_cell.py", CELL + "# another version\n")
    with pytest.raises(ConfigurationError, match=r"versioned_cell\.py has changed since it was imported"):
        plugins.restore([origin])


def test_workers_execute_the_bytes_that_were_read(mine):
    with plugins.use("mine.py"):
        origins = plugins.for_workers()
        run = Configuration.parse(OWN)
    write(mine, "mine.py", "raise RuntimeError")
    code = textwrap.dedent("""
        import pickle, sys
        from bpttlab import plugins
        plugins.restore(pickle.load(sys.stdin.buffer))
        print(pickle.load(sys.stdin.buffer).cell.name, *plugins.names("cell"))
    """)
    sent = pickle.dumps(origins) + pickle.dumps(run)
    environment = {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, timeout=60, env=environment)
    assert done.stdout.split()[0] == b"doubled" and b"doubled" in done.stdout.split()[1:], done.stderr


def test_a_sweep_on_the_command_line(mine, capsys):
    line = [
        "sweep",
        "study=x",
        "plugins=mine.py",
        "cell=doubled,elman",
        "cell.hidden_size=3,4",
        "engine=numpy",
        SMALL[1],
    ]
    assert main([*line, "workers=1"]) == 0
    assert "4 done" in capsys.readouterr().out
    assert set(lab.load("x").runs["cell"]) == {"doubled", "elman"}


def test_an_own_field_is_swept(mine):
    assert main(["sweep", "study=x", "plugins=mine.py", "cell=doubled", "cell.factor=1,0.5", *SMALL]) == 0
    assert sorted(lab.load("x").runs["cell_factor"]) == [0.5, 1.0]


def test_the_configuration_of_an_own_cell_is_shown(mine, capsys):
    assert main(["sweep", "plugins=mine.py", "cell=doubled", "--cfg", "job"]) == 0
    assert "  name: doubled\n  hidden_size: 32\n  factor: 2.0\n" in capsys.readouterr().out


def test_help_lists_the_names_of_a_file(mine, capsys):
    assert main(["sweep", "--help"]) == 0
    assert "doubled" not in capsys.readouterr().out
    assert main(["sweep", "--help", "plugins=mine.py"]) == 0
    assert "doubled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("bpttlab sweep plug", ["plugins="]),
        ("bpttlab sweep plugins=mi", ["plugins=mine.py"]),
        ("bpttlab sweep plugins=mine.py cell=dou", ["cell=doubled"]),
        ("bpttlab sweep plugins=mine.py cell=doubled cell.f", ["cell.factor="]),
        ("bpttlab sweep cell=dou", []),
    ],
)
def test_names_and_fields_are_completed(mine, line, found):
    assert complete(line) == found


def test_a_name_is_forgotten_after_the_command(mine, capsys):
    assert main(["sweep", "study=x", "plugins=mine.py", "cell=doubled", *SMALL, "--dry-run"]) == 0
    capsys.readouterr()
    assert "cell=doubled: must be one of" in error_of(capsys, "sweep", "study=x", "cell=doubled", *SMALL)


# ------------------------------------------------------------------ tables, figures, experiments


def test_shipped_experiments_are_the_files_of_conf():
    assert plugins.find("experiment", "cliffs").name == "cliffs.yaml"


def test_shipped_figures_and_tables_are_in_their_order():
    assert tuple(plugins.find_shipped("figure")) == figures.NAMES
    assert list(plugins.find_shipped("table"))[:3] == ["headline", "growth", "sufficient_truncation"]


def test_own_table_and_figure_are_made_with_plugins(folder, capsys):
    write(folder, "mine.py", PARTS["table"] + PARTS["figure"].replace("LOSSES =", "DRAWN ="))
    assert main(["sweep", "study=x", "spectral_radius=0.5,1.0", *SMALL]) == 0
    assert main(["tables", "study=x", "plugins=mine.py"]) == 0
    assert main(["figures", "study=x", "plugins=mine.py", "figure=growth,losses_by_radius"]) == 0
    out = capsys.readouterr().out
    assert "\nlosses\n" in out and ", losses_by_radius)" in out
    assert (folder / "results" / "x" / "tables" / "losses.csv").read_text().startswith("spectral_radius,loss\n0.5,")


def test_an_own_figure_says_why_it_is_not_drawn(folder):
    write(folder, "mine.py", PARTS["figure"])
    lab.sweep(study="x", workers=0, **SIZES)
    with plugins.use("mine.py"):
        skipped = figures.draw(lab.load("x"), names=["losses_by_radius"]).skipped
        assert skipped == {"losses_by_radius": "the study has one spectral radius"}
    with pytest.raises(ConfigurationError, match="figure=losses_by_radius: must be one of"):
        figures.draw(lab.load("x"), names=["losses_by_radius"])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ('study.runs["nothing"]', "not made: losses: mine.py line 6: KeyError: 'nothing'"),
        ("3", "not made: losses: mine.py: TypeError: summarise returns a int: must be a pandas DataFrame"),
    ],
)
def test_an_own_table_that_cannot_be_made_is_one_line(folder, capsys, made, said):
    write(folder, "mine.py", PARTS["table"].replace('study.runs.groupby("spectral_radius", as_index=False)', made))
    text = (folder / "mine.py").read_text().replace('["loss"].median()', "")
    write(folder, "mine.py", text)
    lab.sweep(study="x", workers=0, **SIZES)
    assert said in error_of(capsys, "tables", "study=x", "plugins=mine.py")
    assert (folder / "results" / "x" / "tables" / "growth.csv").is_file()  # the others are made
    assert said in error_of(capsys, "tables", "study=x", "plugins=mine.py", "table=losses")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ('request.study.runs["x"]', "not drawn: losses_by_radius: mine.py line 9: KeyError: 'x'"),
        ("1", "not drawn: losses_by_radius: mine.py: TypeError: draw returns a NoneType: must be a matplotlib Figure"),
    ],
)
def test_failing_own_figure_is_one_line_and_others_are_drawn(folder, capsys, made, said):
    head = PARTS["figure"].split("    if request")[0]
    write(folder, "mine.py", f'{head}    {made}\n\n\nLOSSES = StudyFigure("losses_by_radius", draw_losses)\n')
    lab.sweep(study="x", workers=0, **SIZES)
    assert error_of(capsys, "figures", "study=x", "plugins=mine.py", "figure=growth,losses_by_radius") == said
    assert (folder / "results" / "x" / "figures" / "growth.png").is_file()


def test_an_own_figure_that_cannot_be_saved_is_one_line(folder, capsys):
    head = PARTS["figure"].split("    if request")[0]
    made = "figure = Figure()\n    figure.suptitle('$\\\\frac$')\n    return figure"
    drawn = f'{head}    {made}\n\n\nLOSSES = StudyFigure("losses_by_radius", draw_losses)\n'
    write(folder, "mine.py", f"from matplotlib.figure import Figure\n{drawn}")
    lab.sweep(study="x", workers=0, **SIZES)
    line = error_of(capsys, "figures", "study=x", "plugins=mine.py", "figure=growth,losses_by_radius")
    assert line.startswith("not drawn: losses_by_radius: mine.py: ValueError: ")
    saved = folder / "results" / "x" / "figures"
    assert (saved / "growth.png").is_file() and not [*saved.glob("*losses*"), *saved.glob(".*")]


def test_an_own_table_is_left_out_of_a_study_without_its_rows(folder):
    write(folder, "mine.py", PARTS["table"].replace("study.runs.groupby", "study.table('nothing').groupby"))
    lab.sweep(study="x", workers=0, **SIZES)
    with plugins.use("mine.py"):
        assert "losses" not in tables.summaries(lab.load("x"))


@pytest.mark.slow
def test_study_of_an_own_file_says_the_file_is_not_read(folder, capsys):
    write(folder, "mine.py", CELL)
    assert main(["sweep", "study=x", "plugins=mine.py", "cell=doubled", *SMALL]) == 0
    assert "bpttlab tables study=x plugins=mine.py" in capsys.readouterr().out
    assert main(["tables", "study=x"]) == 0
    assert capsys.readouterr().out.endswith("tables, figures and claims of its own\n")
    assert main(["tables", "study=x", "plugins=mine.py"]) == 0
    assert "is not read" not in capsys.readouterr().out


def test_an_own_experiment_is_swept_by_its_name(folder, capsys):
    write(folder, "mine.py", PARTS["experiment"])
    assert main(["sweep", "plugins=mine.py", "experiment=short", *SMALL]) == 0
    study = lab.load("short")
    assert len(study.runs) == 4 and set(study.runs["task"]) == {"adding"}
    assert main(["tables", "study=short", "plugins=mine.py"]) == 0
    capsys.readouterr()
    expected = "bpttlab: experiment=short is not known; the study was swept with plugins=mine.py: give it here too"
    for command in ("claims", "tables", "figures"):
        assert error_of(capsys, command, "study=short", "experiment=short") == expected
    assert "experiment=short makes no claims" in error_of(capsys, "claims", "study=short", "plugins=mine.py")


# ------------------------------------------------------------------ notebooks

NOTEBOOK = """
import sys
import bpttlab as lab
{cell}
try:
    small = {{"sequence_length": 6, "engine": "numpy"}}
    summary = lab.sweep(study="x", plugins=Doubled, cell="doubled", workers={workers}, **small)
    print(summary.exit_code, list(lab.load("x").runs["plugins"].str.len()))
except lab.errors.ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(("workers", "said"), [(0, "0 [32]\n"), (1, "workers=0\n")])
def test_a_class_of_a_script_is_computed_in_its_process(folder, workers, said):
    text = (
        NOTEBOOK.format(cell=CELL, workers=workers)
        .replace("lab.errors.", "")
        .replace("import sys\n", "from bpttlab.errors import ConfigurationError\n")
    )
    write(folder, "notebook.py", text)
    environment = {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "notebook.py"], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.stdout.endswith(said), done
    assert ("results" in visible(folder)) is (workers == 0)


# ------------------------------------------------------------------ identity


def test_a_run_that_uses_no_own_choice_keeps_its_id(mine):
    before = Configuration.parse(SIZES)
    with plugins.use("mine.py"):
        after = Configuration.parse(SIZES)
    assert (before.run_id, before.network_id) == (after.run_id, after.network_id) and before.sources == after.sources


def test_the_bytes_of_a_file_are_part_of_the_ids_of_its_runs(mine):
    def ids(text, name="mine.py", **values):
        with plugins.use(write(mine, name, text)):
            run = Configuration.parse({**OWN, **values})
        return run.run_id, run.network_id, run.bundle_key

    one, other = ids(CELL), ids(CELL + "# another version\n")
    assert ids(CELL, "renamed.py") == one
    assert not set(one) & set(other)


def test_only_the_files_that_a_run_uses_identify_it(mine):
    write(mine, "task.py", PARTS["task"])
    with plugins.use("mine.py"):
        alone = Configuration.parse(OWN)
    with plugins.use("mine.py,task.py"):
        assert Configuration.parse(OWN).run_id == alone.run_id
        both = Configuration.parse({**OWN, "task": "echo"})
    assert [group for group, _ in both.sources] == ["cell", "task"]
    assert both.network_id != alone.network_id  # other sizes
    assert len(both.plain["plugins"].split("+")) == 2


def test_a_task_of_ones_own_makes_no_other_network(folder):
    def network(version):
        with plugins.use(write(folder, "mine.py", PARTS["task"] + f"# version {version}")):
            return Configuration.parse({"task": "echo", **SIZES}).network_id

    assert network(1) == network(2)


def test_stored_configuration_needs_the_same_file(mine):
    with plugins.use("mine.py"):
        run = Configuration.parse(OWN)
        assert Configuration.parse(json.loads(run.canonical)).run_id == run.run_id
    write(mine, "mine.py", CELL + "# another version\n")
    with plugins.use("mine.py"), pytest.raises(ConfigurationError, match="SHA-256 mismatch: expected "):
        Configuration.parse(json.loads(run.canonical))


def test_runs_of_another_version_are_said_and_kept_apart(mine, capsys):
    line = ["sweep", "study=x", "plugins=mine.py", "cell=doubled", "seed=0,1", *SMALL]
    assert main(line) == 0
    assert "another version" not in capsys.readouterr().out
    write(mine, "mine.py", CELL.replace("factor: float = 2.0", "factor: float = 2.5"))
    assert main(line) == 0
    assert "2 stored runs of cell=doubled used another version of mine.py (" in capsys.readouterr().out
    assert lab.load("x").runs["plugins"].nunique() == 2
    assert len(lab.tables.summaries(lab.load("x"))["growth"]) == 2
    with pytest.warns(LabWarning, match="another version of mine.py"):
        lab.sweep(study="x", plugins="mine.py", cell=OWN["cell"], workers=0, **SIZES)


def test_only_choices_of_a_changed_file_have_versions(mine):
    def sweep(files, **more):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lab.sweep(study="x", plugins=files, cell=OWN["cell"], workers=0, **SIZES, **more)
        return [str(one.message) for one in caught if "another version" in str(one.message)]

    write(mine, "echo.py", PARTS["task"])
    assert sweep("mine.py") == []
    assert sweep("mine.py,echo.py", task="echo") == []  # another set of files, each in one version
    write(mine, "echo.py", PARTS["task"] + "# another version\n")
    (said,) = sweep("mine.py,echo.py", task="echo")
    assert said.startswith("1 stored run of task=echo used another version of echo.py (")
    assert sweep("mine.py") == []


def test_provenance_names_the_files(mine):
    lab.sweep(study="x", plugins="mine.py", cell=["doubled", "elman"], workers=0, **SIZES)
    study = lab.load("x")
    files = study.provenance.merge(study.runs[["run_id", "plugins"]], on="run_id")
    assert dict(zip(files["plugin_files"].fillna("none"), files["plugins"].isna(), strict=True)) == {
        "mine.py": False,
        "none": True,
    }


@pytest.mark.slow
def test_results_are_read_with_the_file_gone(mine, capsys):
    assert main(["sweep", "study=x", "plugins=mine.py", "cell=doubled", *SMALL]) == 0
    (mine / "mine.py").unlink()
    for line in (["status", "study=x"], ["tables", "study=x"], ["figures", "study=x", "figure=products"]):
        assert main(line) == 0, capsys.readouterr().err


# ------------------------------------------------------------------ what an own class returns

ROWS = '''
from dataclasses import dataclass
from typing import ClassVar

from bpttlab.measures.measure import Measure, Result
from bpttlab.store.column import Column, Table

STEPS = Table("steps", "run and t", ("t",), (Column("t", "int64", "step", "from 1", required=True),))


@dataclass(frozen=True)
class Steps(Measure):
    """The steps."""

    name: ClassVar[str] = "steps"
    tables: ClassVar[tuple[Table, ...]] = (STEPS,)
    every: int = 1

    def rows(self, cell, length, sampling):
        return {"steps": 3}

    def __call__(self, context):
        return Result({"steps": {"t": [1, 2, 3]}})
'''


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ('Result({"steps": {"t": [1, 2, 2]}})', "Steps: table 'steps' has two rows with t=2; the key must be unique"),
        ('Result({"steps": {"t": [1, 2, 3, 4]}})', "Steps: table 'steps' has 4 rows; its method rows allows 3"),
        ("None", "Steps returns None: must be a Result"),
        ('{"t": [1]}', "Steps returns a dict: must be a Result"),
        ('Result({"steps": {"t": [1, 2, 3]}})', None),
    ],
)
def test_rows_that_an_own_measure_cannot_have_are_a_failed_run(folder, returned, said):
    write(folder, "mine.py", ROWS.replace('Result({"steps": {"t": [1, 2, 3]}})', returned))
    run = sweep_one(measure="steps")
    assert run["status"] == ("failed" if said else "done")
    assert said is None or said in run["error"]


def sweep_one(**chosen):
    """The row of runs of a sweep of one run with the file mine.py."""
    lab.sweep(study="x", plugins="mine.py", workers=0, **{**SIZES, **chosen})
    (row,) = lab.load("x").runs.to_dict("records")
    return row


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("(x, x)", "Echo.draw returns tuple: must be a Batch(x, target, mask)"),
        ("Batch(x[1:], x[1:], every_step(5))", "Echo.draw: x has shape (5, 2, 1); must be (T, B, I) = (6, 2, 1)"),
        ("Batch(x, x, every_step(5))", "Echo.draw: mask has 5 steps; must be T = 6"),
    ],
)
def test_what_an_own_task_cannot_return_is_a_failed_run(folder, returned, said):
    write(
        folder, "mine.py", PARTS["task"].replace("Batch(x, self.gain * x, every_step(self.sequence_length))", returned)
    )
    run = sweep_one(task="echo")
    assert run["status"] == "failed" and said in run["error"]


def test_an_own_scheme_that_returns_nothing_is_a_failed_run(folder):
    text = PARTS["scheme"]
    write(folder, "mine.py", text[: text.index("        return [(max")] + "        return None\n")
    run = sweep_one(scheme="last_only", truncation=3)
    assert run["status"] == "failed"
    assert "LastOnly.segments returns None: must be a list of (start, stop, loss_from)" in run["error"]


def test_fields_of_an_own_measure_are_named(folder, capsys):
    write(folder, "mine.py", ROWS)
    line = ("sweep", "study=x", "plugins=mine.py", *SMALL)
    assert main([*line, "--help", "measure=steps"]) == 0
    assert "fields are set by measure.steps.FIELD=VALUE" in capsys.readouterr().out
    assert "measure 'steps' has only every." in error_of(capsys, *line, "measure=steps", "measure.steps.evry=0")
    said = error_of(capsys, *line, "measure.steps.every=2,3")
    assert said.endswith("measure.steps.every: add measure=steps, or write +measure.steps.every=2,3")


def test_claims_and_tables_name_the_files_that_they_need(folder, capsys):
    write(folder, "mine.py", PARTS["experiment"] + PARTS["table"])
    assert main(["sweep", "study=x", "plugins=mine.py", "experiment=short", *SMALL]) == 0
    assert "give plugins=mine.py" in error_of(capsys, "claims", "study=x")
    assert "For tables of your own give plugins=mine.py." in error_of(capsys, "tables", "study=x", "table=losses")
    write(folder, "cell.py", CELL)
    lab.sweep(study="y", plugins="cell.py", workers=0, **OWN)
    assert "give plugins=cell.py" in error_of(capsys, "claims", "study=y")


# ------------------------------------------------------------------ mistakes


def test_a_file_that_is_named_twice_is_read_once(mine):
    for several in ("mine.py,mine.py", ["mine.py", "./mine.py"]):
        with plugins.use(several) as chosen:
            assert [choice.name for choice in chosen] == ["doubled"]
            with plugins.use("./mine.py"):
                assert len(plugins.choices_in_use()) == 1


def test_a_field_without_default_must_be_given(mine, capsys):
    write(mine, "mine.py", CELL.replace("factor: float = 2.0", "factor: float"))
    line = ("sweep", "study=x", "plugins=mine.py", "cell=doubled", *SMALL)
    assert "cell.factor has no default: give cell.factor=VALUE" in error_of(capsys, *line)
    assert main([*line, "cell.factor=2", "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (["damped.py"], ""),
        (["mine.py", "damped.py"], " Did you mean 'mine.py'?"),
    ],
)
def test_the_ending_of_a_file_does_not_make_it_near(folder, capsys, files, hint):
    for name in files:
        write(folder, name, CELL)
    said = error_of(capsys, "sweep", "study=x", "plugins=mien.py", *SMALL)
    assert said.endswith(f"plugins=mien.py: there is no such file.{hint}")


NO_METHOD = CELL.replace("    def vjp(", "    def no_vjp(")
SHADOW = CELL.replace('name: ClassVar[str] = "doubled"', 'name: ClassVar[str] = "gru"')
TWICE = CELL + CELL[CELL.index("@dataclass") :].replace("class Doubled", "class Other")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = = 1\n", "plugins=mine.py: line 1: cannot be parsed: invalid syntax"),
        ("\n\n1 / 0\n", "plugins=mine.py: line 3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "plugins=mine.py: line 2: SystemExit: 3"),
        ("import nowhere\n", "plugins=mine.py: line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ("\0", "plugins=mine.py: cannot be parsed: source code string cannot contain null bytes"),
        ("x = 1\n", "plugins=mine.py: defines no cell, task, "),
        (NO_METHOD, "plugins=mine.py: Doubled lacks vjp of the contract Cell"),
        (SHADOW, "plugins=mine.py: Doubled: the cell 'gru' comes with bpttlab; give it another name"),
        (TWICE, "plugins=mine.py: the cell 'doubled' is defined twice: Doubled (mine.py) and Other (mine.py)"),
        (CELL + CELL, "plugins=mine.py: line 56: the class Doubled is defined in line 11, too; rename one"),
        (CELL.replace("(frozen=True)", ""), "plugins=mine.py: Doubled must be a frozen dataclass: @dataclass(frozen="),
        (CELL.replace("@dataclass(frozen=True)", ""), "plugins=mine.py: Doubled must be a frozen dataclass"),
        (CELL.replace("factor: float", "factor: complex"), "Doubled.factor has the type complex: must be int, float, "),
        (CELL.replace("factor: float", "factor: 'floot'"), "Doubled: cannot read its annotations: NameError"),
        (CELL.replace('"doubled"', '"two words"'), "Doubled.name='two words': must be letters, digits and _"),
        (
            "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom bpttlab.networks.cells import LSTM\n"
            "@dataclass(frozen=True)\nclass Mine(LSTM):\n    name: ClassVar[str] = 'mine'\n",
            "Mine subclasses LSTM, which is final: subclass Cell",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(folder, capsys, text, said):
    write(folder, "mine.py", text)
    assert said in error_of(capsys, "sweep", "study=x", "plugins=mine.py", "cell=doubled", *SMALL)
    assert visible(folder) == ["mine.py"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("plugins=mien.py", "plugins=mien.py: there is no such file. Did you mean 'mine.py'?"),
        ("plugins=mine", "plugins=mine: there is no such file and no such module. Did you mean 'mine.py'?"),
        ("plugins=no.where", "plugins=no.where: there is no such file and no such module."),
        ("plugins=there", "plugins=there: is a folder: must be a .py file, or the name of a module"),
        ("plugins=mine.txt", "plugins=mine.txt: must be a file that ends in .py, or the name of a module"),
        ("plugins=", "plugins=: must be plugins=FILE.py"),
        ("plugins=mine.py,", "plugins=mine.py,: a name is missing"),
        (
            "plugins=mine.py,copy.py",
            "plugins: the cell 'doubled' is defined twice: Doubled (mine.py) and ",
        ),
        ("plugins=json", "plugins=json: defines no cell"),
        ("cell=duobled", "cell=duobled: must be one of "),
    ],
)
def test_what_is_wrong_in_the_line_is_one_line(mine, capsys, word, said):
    write(mine, "mine.txt", CELL)
    write(mine, "copy.py", CELL)
    (mine / "there").mkdir()
    before = visible(mine)
    assert said in error_of(capsys, "sweep", "study=x", word, *SMALL)
    assert visible(mine) == before


def test_plugins_given_twice_are_refused(mine, capsys):
    assert "plugins is given twice (mine.py, mine.py): give it once" in error_of(
        capsys, "sweep", "study=x", "plugins=mine.py", "plugins=mine.py"
    )


def test_the_nearest_name_may_be_an_own_one(mine, capsys):
    line = error_of(capsys, "sweep", "study=x", "plugins=mine.py", "cell=duobled", *SMALL)
    assert line.endswith("Did you mean 'doubled'?")


@pytest.mark.parametrize(("own", "said"), [(3, "=3: is a int"), (Elman, "comes with bpttlab"), (TANH, "no func")])
def test_what_is_no_choice_is_refused_in_python(own, said):
    with pytest.raises(ConfigurationError, match=said), plugins.use(own):
        pass


def test_a_module_that_changed_after_its_import_is_refused(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    write(folder, "changing.py", PARTS["task"])
    with plugins.use("changing"):
        pass
    write(folder, "changing.py", PARTS["task"] + "# another version\n")
    with pytest.raises(ConfigurationError, match="has changed since it was imported"), plugins.use("changing"):
        pass


def test_a_module_that_raises_is_said_with_its_line(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    write(folder, "raising.py", "\nraise KeyError('x')\n")
    with pytest.raises(ConfigurationError, match="plugins=raising: raising.py, line 2: KeyError: 'x'"):
        plugins.load_plugins("raising")


def test_an_installed_package_that_is_broken_is_named(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    information = folder / "lab_gone-1.0.dist-info"
    information.mkdir()
    write(information, "METADATA", "Metadata-Version: 2.1\nName: lab-gone\nVersion: 1.0\n")
    write(information, "entry_points.txt", "[bpttlab.plugins]\ngone = lab_gone\n")
    plugins.find_installed.cache_clear()
    try:
        with pytest.raises(ConfigurationError, match="installed plugin gone: there is no such file and no such module"):
            plugins.find("cell", "nothing")
    finally:
        monkeypatch.undo()
        plugins.find_installed.cache_clear()


def test_an_own_activation_has_the_derivative_that_it_states(folder):
    write(folder, "mine.py", PARTS["activation"])
    with plugins.use("mine.py"):
        steep: Activation = plugins.find("activation", "steep")
    a = np.linspace(-2.0, 2.0, 9)
    assert_agree({"slope": steep.slope(a)}, {"slope": steep.function(a + 1e-30j).imag / 1e-30})
