"""The catalogue of seeded faults applies to the source as it is; running it is `make mutants`."""

import csv
import shlex
from collections import Counter

import pandas as pd
import pytest

from bpttlab import resources
from bpttlab.claims.claims import near
from mutants import claims, command, runner
from mutants.catalogue import EXPERIMENTS, CatalogueError, Mutant, choose, read_catalogue, read_subject
from mutants.runner import CRASHED, GRADIENTS, KILLED, ROOT, SURVIVED, TIMED_OUT, Detector, Outcome, Run, Workspace

OF_VERIFY, OF_EXPERIMENTS = read_catalogue(), read_catalogue(EXPERIMENTS)
CATALOGUE = OF_VERIFY + OF_EXPERIMENTS
WRITTEN = Mutant("a/b", "bpttlab/x.py", "one", "two")


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_every_mutant_applies_exactly_once(mutant):
    mutant.check(ROOT)


def test_the_mutated_source_is_still_python():
    for mutant in CATALOGUE:
        compile(mutant.applied_to((ROOT / mutant.file).read_text(encoding="utf-8")), mutant.file, "exec")


def test_there_are_enough_of_them():
    assert len(OF_VERIFY) >= 60


def test_every_experiment_has_wrong_engines_of_its_subject():
    counts = Counter(mutant.subject for mutant in OF_EXPERIMENTS)
    assert set(counts) == set(resources.analyses())
    assert min(counts.values()) >= 2


def test_the_sweeps_of_an_experiment_are_parts_of_it():
    parts = {path.stem for path in (resources.conf() / "experiment").glob("*.yaml")}
    for mutant in OF_EXPERIMENTS:
        named = [resources.experiment_in(shlex.split(sweep)) for sweep in mutant.sweeps]
        assert named and set(named) <= parts
        assert all(name.startswith(mutant.subject) for name in named)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mutants = []", "x.toml: the file has mutants; must have mutant, and may have sweeps"),
        ("[[mutant]]\nname = 'a'", "x.toml: an entry has name; must have after, before, file, name"),
    ],
)
def test_an_unknown_or_missing_key_is_refused(text, message, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=message):
        read_subject(path)


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


@pytest.mark.parametrize("detector", [GRADIENTS, runner.claims_detector(OF_EXPERIMENTS[0])], ids=["verify", "claims"])
def test_failed_checks_are_read_from_the_written_table(detector, tmp_path):
    path = tmp_path / detector.tables.replace("*", "checks")
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["what", "verdict"], ["A", "holds"], ["B", "fails"], ["C", "undecided"]])
    assert runner.failed_checks(tmp_path, detector.tables) == ("B",)
    assert runner.failed_checks(tmp_path / "elsewhere", detector.tables) == ()


@pytest.fixture
def workspace(tmp_path):
    source = tmp_path / "source"
    for name in runner.COPIED:
        (source / name).mkdir(parents=True)
    (source / "bpttlab" / "__init__.py").write_text("")
    (source / "bpttlab" / "x.py").write_text("one")
    (source / "pyproject.toml").write_text("")
    prepared = Workspace(tmp_path / "workspace", source)
    prepared.prepare()
    return prepared


def test_a_planted_mutant_is_taken_out_again(workspace):
    copy = workspace.copy / "bpttlab" / "x.py"
    with workspace.planted(WRITTEN):
        assert copy.read_text() == "two"
    assert copy.read_text() == "one"
    assert copy.stat().st_mtime == (workspace.source / "bpttlab" / "x.py").stat().st_mtime


SLEEP = Detector("sleep", ("-c", "import time; time.sleep(60)"))


def test_a_detector_runs_out_of_time(workspace):
    assert workspace.run(SLEEP, 0.2).status == TIMED_OUT
    assert not workspace.processes


def test_nothing_runs_on_after_a_stop(workspace):
    workspace.stop()
    assert workspace.run(SLEEP, 50.0).code < 0


@pytest.mark.parametrize(
    ("verdicts", "sweep_code", "code"),
    [(("holds", "undecided"), 0, 0), (("holds", "fails"), 0, 1), (("fails",), 1, 1), (("undecided",), 1, 3)],
)
def test_a_failed_claim_is_told_from_a_failed_run(verdicts, sweep_code, code, tmp_path, monkeypatch):
    rows = [near(str(number), "", 0.0, 0.0, 1.0) | {"verdict": verdict} for number, verdict in enumerate(verdicts)]
    monkeypatch.setattr(claims, "sweep", lambda *_: sweep_code)
    monkeypatch.setattr(claims.store, "load", lambda *_: None)
    monkeypatch.setattr(claims.analyses, "check_claims", lambda *_: pd.DataFrame(rows))
    assert claims.main("cliffs", ["a line"], f"results={tmp_path}") == code
    failed = tuple(f"claim: {number}" for number, verdict in enumerate(verdicts) if verdict == "fails")
    assert runner.failed_checks(tmp_path, runner.claims_detector(OF_EXPERIMENTS[0]).tables) == failed


@pytest.mark.slow
def test_a_wrong_engine_of_an_experiment_is_refuted(capsys):
    assert command.main(["--experiments", "--only", "vanishing_exploding/elman-jacobian-transposed"]) == 0
    shown = capsys.readouterr().out
    assert "no fault: nothing fails in claims of vanishing_exploding" in shown
    assert "killed    vanishing_exploding/elman-jacobian-transposed" in shown
    assert "vanishing_exploding: 1 of 1 killed (1 by claims of vanishing_exploding)" in shown


@pytest.mark.parametrize(("least", "code"), [(1, 0), (2, 1)])
def test_the_exit_code_counts_the_killed(least, code, capsys):
    survivor = Mutant("a/c", "bpttlab/x.py", "one", "two")
    outcomes = [
        Outcome(WRITTEN, KILLED, "verify gradients", ("a check",), 1.0),
        Outcome(survivor, SURVIVED, "verify --quick", (), 1.0),
    ]
    assert command.report(outcomes, least) == code
    shown = capsys.readouterr().out
    assert "1 of 2 mutants killed; at least" in shown
    assert "a: 1 of 2 killed (1 by verify gradients); not killed: c" in shown
    assert "not killed: a/c (survived)" in shown


def test_list_runs_nothing(capsys):
    assert command.main(["--list", "--only", "compiled/*"]) == 0
    assert "compiled/lstm-dc" in capsys.readouterr().out
    assert command.main(["--list", "--experiments", "--only", "cliffs/*"]) == 0
    assert "cliffs/cliff-loss-slope" in capsys.readouterr().out
    assert command.main(["--only", "nothing"]) == 2
