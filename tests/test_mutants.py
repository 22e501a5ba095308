"""The catalogue of seeded faults applies to the source as it is; running it is `make mutants`."""

import csv

import pytest

from bpttlab import places
from mutants import command, runner
from mutants.catalogue import CatalogueError, Mutant, choose, read_catalogue
from mutants.runner import CRASHED, KILLED, ROOT, SURVIVED, TIMED_OUT, Outcome, Run

CATALOGUE = read_catalogue()
WRITTEN = Mutant("a/b", "bpttlab/x.py", "one", "two")


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_every_mutant_applies_exactly_once(mutant):
    mutant.check(ROOT)


def test_the_mutated_source_is_still_python():
    for mutant in CATALOGUE:
        compile(mutant.applied_to((ROOT / mutant.file).read_text(encoding="utf-8")), mutant.file, "exec")


def test_there_are_enough_of_them():
    assert len(CATALOGUE) >= 60


def test_experiments_named_by_mutants_exist():
    assert {name for mutant in CATALOGUE for name in mutant.experiments} <= set(places.analyses())


def test_every_experiment_has_a_mutant_of_its_subject():
    named = {name for mutant in CATALOGUE for name in mutant.experiments}
    assert set(places.analyses()) - named == set()


@pytest.mark.parametrize("source", ["", "one one", "One"])
def test_a_mutant_whose_text_moved_is_refused_by_name(source):
    with pytest.raises(CatalogueError, match="mutant a/b: its text occurs"):
        WRITTEN.applied_to(source)


def test_a_pattern_without_a_mutant_is_refused():
    assert choose([WRITTEN], ["a/*"]) == [WRITTEN]
    with pytest.raises(CatalogueError, match="--only c"):
        choose([WRITTEN], ["a/*", "c"])


@pytest.mark.parametrize(
    ("code", "failed", "status"),
    [
        (0, (), SURVIVED),
        (1, ("a check",), KILLED),
        (1, (), CRASHED),
        (2, ("a check",), CRASHED),
        (-9, (), CRASHED),
        (None, (), TIMED_OUT),
    ],
)
def test_only_a_failed_check_kills(code, failed, status):
    assert Run(code, failed, "").status == status


def test_failed_checks_are_read_from_the_written_table(tmp_path):
    (tmp_path / "verify").mkdir()
    with (tmp_path / "verify" / "checks.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["what", "verdict"], ["A", "holds"], ["B", "fails"], ["C", "undecided"]])
    assert runner.failed_checks(tmp_path) == ("B",)
    assert runner.failed_checks(tmp_path / "elsewhere") == ()


def test_a_planted_mutant_is_taken_out_again(tmp_path):
    source = tmp_path / "source"
    for name in runner.COPIED:
        (source / name).mkdir(parents=True)
    (source / "bpttlab" / "__init__.py").write_text("")
    (source / "bpttlab" / "x.py").write_text("one")
    workspace = runner.Workspace(tmp_path / "workspace", source)
    workspace.prepare()
    copy = workspace.copy / "bpttlab" / "x.py"
    with workspace.planted(WRITTEN):
        assert copy.read_text() == "two"
    assert copy.read_text() == "one"
    assert copy.stat().st_mtime == (source / "bpttlab" / "x.py").stat().st_mtime


@pytest.mark.parametrize(("least", "code"), [(1, 0), (2, 1)])
def test_the_exit_code_counts_the_killed(least, code, capsys):
    survivor = Mutant("a/c", "bpttlab/x.py", "one", "two", ("cliffs",))
    outcomes = [
        Outcome(WRITTEN, KILLED, "verify gradients", ("a check",), 1.0),
        Outcome(survivor, SURVIVED, "verify --quick", (), 1.0),
    ]
    assert command.report(outcomes, least) == code
    shown = capsys.readouterr().out
    assert "1 of 2 mutants killed (1 by verify gradients); at least" in shown
    assert "not killed: a/c (survived, subject of cliffs)" in shown


def test_list_runs_nothing(capsys):
    assert command.main(["--list", "--only", "compiled/*"]) == 0
    assert "compiled/lstm-dc" in capsys.readouterr().out
    assert command.main(["--only", "nothing"]) == 2
