"""A line of any characters is read, or refused by a LabError of one line, in less than two seconds."""

import os
import pickle
import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra._internal.callbacks import Callbacks

from bpttlab.cli import main
from bpttlab.errors import LONGEST_MESSAGE, LabError
from bpttlab.sweeps import hydra_composition
from faults import override_lines
from tests.support.commandline import run
from tests.support.composition import fresh_composer


@pytest.fixture(scope="module")
def composer():
    return fresh_composer()


def assert_nothing_lost(outcome):
    assert not outcome.losses, str(outcome)


def test_drawn_lines_are_read_or_refused():
    assert_nothing_lost(override_lines.run(800, whole=0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_drawn_lines_and_whole_commands(seed):
    assert_nothing_lost(override_lines.run(10_000, seed=seed + 1, whole=20))


def test_the_canary_notices_what_input_must_not_cause(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(override_lines.Bomb()))
    for act in (
        lambda: os.system("true"),
        lambda: pd.read_pickle("bomb.pkl"),
        lambda: eval("1 + 1"),
        lambda: Path("elsewhere").touch(),
        lambda: Path("folder").mkdir(),
    ):
        with override_lines.CANARY.watch(tmp_path / "results") as seen:
            act()
        assert seen
    (tmp_path / "results").mkdir()
    with override_lines.CANARY.watch(tmp_path / "results") as seen:
        (tmp_path / "results" / "table.csv").write_text("1", encoding="utf-8")
        load_nothing()
    assert seen == []


def load_nothing():
    return Path("bomb.pkl").read_bytes()


def test_objects_that_hydra_would_make_are_noticed(monkeypatch):
    words = ["sweep", "study=fuzz", "experiment=drawn", "--config-dir", "conf", "--dry-run"]
    text = "# @package _global_\nhydra: {callbacks: {x: {_target_: pathlib.Path.touch, _args_: [executed]}}}\n"
    with override_lines.sandbox() as folder:
        (folder / "conf" / "experiment" / "drawn.yaml").write_text(text, encoding="utf-8")
        assert override_lines.try_command(words, folder) == ""
        monkeypatch.setattr(hydra_composition, "refuse_settings", Callbacks)
        assert "executed" in override_lines.try_command(words, folder)


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (0, "a\x1b[31mb\n", ["prints ['\\x1b']"]),
        (1, "Traceback (most recent call last):\n", ["a traceback"]),
        (2, "bpttlab: one\nbpttlab: two\n", ["2 refusals"]),
        (3, "", ["exit code 3"]),
        (2, "bpttlab: one\n", []),
    ],
)
def test_what_a_command_may_not_print_is_noticed(code, text, told):
    assert override_lines.faults_of_output(code, text) == told


@pytest.mark.parametrize(
    "line",
    [
        "hydra.~mod%e=RU]N",
        "hydra/launcher=[",
        "seed=" + "[" * 900,
        "seed=" + "range(" * 200,
        "seed=" + "${a:" * 300,
        "seed=" + "0," * 8000 + "0",
        "x" * 100_000 + "=1",
        "seed=" + "9" * 5000,
        "seed=1e999",
        "seed=range(0," + "9" * 400 + ")",
        "spectral_radius=" + "0." + "1" * 5000,
    ],
    ids=lambda line: line[:20],
)
def test_lines_that_are_long_or_deep(composer, line):
    assert override_lines.try_line(composer, line) == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("seed=" + "0," * 2001, "commas: 2001, and at most 2000 are allowed"),
        ("cell.path=" + "x" * 20_000, "characters: 20010, and at most 20000"),
        ("seed=" + "[" * 21, "brackets within brackets: 21, and at most 20"),
        ("seed=" + "9" * 5000, "a number may have at most 400 digits"),
        ("study=${now:%Y}", "has another interpolation than ${KEY}, ${oc.env:NAME}"),
        ("study=${${seed}:x}", "has another interpolation"),
        ("study=${oc.decode:'$'}", "has another interpolation"),
        ("seed=99999999999999999999", "must be an integer >= 0, of 64 bits"),
        ("cell=stacked cell.layers=100000000", "cell.layers=100000000: must be an integer >= 1 and <= 1000"),
        ("hydra.x=[", "a bracket is not closed"),
        ("hydra.launcher._target_=os.system", "hydra.launcher._target_=os.system: cannot be set"),
        ("hydra.job.env_copy=[NO_SUCH]", "cannot be set: of Hydra's own settings a line may give hydra.searchpath"),
        ("seed=range(0,3000000)", "asks for 3000000 runs; a sweep may have at most 1000000\n"),
        ("spectral_radius=range(0,1,1e-7)", "asks for 10000000 runs; a sweep may have at most 1000000\n"),
        ("seed=range(0,100000) spectral_radius=range(0,1,1e-5)", "asks for 10000000000 runs"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_beyond_a_limit_is_refused_by_name(folder, capsys, line, told):
    assert main(["sweep", "study=x", *line.split(), "--dry-run"]) == 2
    assert told in capsys.readouterr().err


def test_lines_are_limited_together(composer):
    for lines, told in (
        ([f"a{n}=1" for n in range(501)], "override lines: 501, and at most 500"),
        ([f"a{n}={'x' * 15_000}" for n in range(3)], "characters: 45009, and at most 40000"),
        ([f"a{n}=${{seed}}" for n in range(13)], "interpolations ${...}: 13, and at most 12"),
    ):
        with pytest.raises(LabError) as caught:
            composer.axes(lines)
        assert told in str(caught.value)


@pytest.mark.slow
def test_functions_under_python_without_assertions_are_refused(folder):
    done = run(sys.executable, "-O", "-m", "bpttlab", "sweep", "study=x", "seed=range(0,3)", "--dry-run", cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "seed=range(0,3): range() and other functions cannot be read by python -O" in done.stderr


def test_a_long_message_is_cut(folder, capsys):
    assert main(["sweep", "study=x", f"seed={'x' * 5000}/"]) == 2
    assert len(capsys.readouterr().err) < LONGEST_MESSAGE + 20
