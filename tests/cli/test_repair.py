"""`bpttlab repair`: what a person types after damage, and what they read."""

import json
import random

import pytest

from bpttlab.cli import main
from bpttlab.store.store import Store, load
from tests.support.stored import damage_by_flipping, shard_files

LINE = "sweep study=first seed=range(0,4) workers=0 engine=numpy sequence_length=8 cell.hidden_size=4 batch_size=2"


def run(capsys, line):
    code = main(line.split())
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def swept(folder, quick_disk, capsys):
    """Four runs in two commits, swept by LINE."""
    assert run(capsys, LINE.replace("(0,4)", "(0,2)"))[0] == 0
    assert run(capsys, LINE)[0] == 0
    return Store("results", "first")


@pytest.mark.parametrize("table", ["jacobians", pytest.param("runs", marks=pytest.mark.slow)])
def test_damage_is_told_set_aside_and_computed_again(swept, capsys, table):
    whole = load("first").jacobians
    damage_by_flipping(shard_files(swept, table)[0], random.Random(0))
    code, _, said = run(capsys, LINE)
    assert code == 2
    assert "bpttlab repair study=first sets it aside" in said and said.count("\n") == 1
    code, out, said = run(capsys, "tables study=first table=jacobians")
    assert (code, said.count("\n")) == (1, 1)
    assert f"left out: damaged in results/first: store/{table}/" in said
    code, out, _ = run(capsys, "repair study=first")
    assert code == 0
    assert "not stored now: 2 runs" in out
    assert "missing: 2 of " in out and "repeat bpttlab sweep study=first" in out
    assert "2 runs computed" in run(capsys, LINE)[1]
    assert run(capsys, "status study=first")[0] == 0
    assert load("first").jacobians.equals(whole)


def test_a_dry_run_says_what_would_be_done(swept, capsys):
    shard_files(swept, "jacobians")[0].unlink()
    code, out, _ = run(capsys, "repair study=first --dry-run")
    assert (code, "would be set aside" in out, "not stored then: 2 runs" in out) == (0, True, True)
    assert not (swept.path / "damaged").exists()


def test_nothing_is_done_without_damage(swept, capsys):
    assert run(capsys, "repair study=first")[:2] == (0, "results/first: nothing is damaged\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("repair", "study is missing: say study=NAME"),
        ("repair study=frist", "Did you mean 'first'?"),
        ("repair study=first table=runs", "repair has no word 'table'"),
        ("repair study=first --dry", "there is no option --dry: --help, --dry-run. Did you mean '--dry-run'?"),
        ("repiar study=first", "Did you mean 'repair'?"),
    ],
)
def test_mistakes_are_one_line(swept, capsys, line, message):
    code, _, said = run(capsys, line)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said


def test_status_in_json_has_the_runs_of_damage(swept, capsys):
    damage_by_flipping(shard_files(swept, "lag_terms")[0], random.Random(0))
    code, out, _ = run(capsys, "status study=first --json")
    (damaged,) = json.loads(out)["damaged"]
    assert (code, len(damaged["runs"])) == (1, 2)


@pytest.mark.parametrize("name", ["tables", "figures", "verify"])
def test_nothing_is_written_through_a_link(swept, capsys, tmp_path, name):
    (tmp_path / "victim").mkdir()
    parent = swept.path.parent if name == "verify" else swept.path
    (parent / name).symlink_to(tmp_path / "victim")
    line = {"verify": "verify theory --quick", "figures": "figures study=first growth"}.get(name, "tables study=first")
    code, _, said = run(capsys, line)
    assert (code, said.count("\n")) == (2, 1)
    assert f"{name} is a link" in said
    assert list((tmp_path / "victim").iterdir()) == []
