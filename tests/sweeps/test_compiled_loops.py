"""Sweeps are compiled by default: cells without loops are named once, and a Numba that does not work is one line."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest

import bpttlab as lab
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.engine import find_engine
from bpttlab.networks.cells import LSTM, Elman
from bpttlab.sweeps import compiled_loops
from bpttlab.sweeps.configuration import Configuration
from tests.support.commandline import REPOSITORY, bpttlab, run, visible

SMOOTH = {"cell.activation": "softplus", "cell.hidden_size": 4, "sequence_length": 6, "batch_size": 2}
LINE = ["sweep", "study=x", *(f"{name}={value}" for name, value in SMOOTH.items())]
SAID = "bpttlab: cell elman with activation=softplus has no compiled loops: it runs in NumPy"


def test_the_compiled_engine_is_the_default():
    assert Configuration.parse({}).values.engine == "numba"


@dataclass(frozen=True)
class Own(Elman):
    name: ClassVar[str] = "own"


def test_cells_without_loops_are_described_once():
    cells = [Elman(1, 2, 1), LSTM(1, 2, 1), Elman(1, 2, 1, "softplus"), Elman(1, 3, 1, "softplus"), Own(1, 2, 1)]
    missing = compiled_loops.find_cells_without_loops((cells, ["float64", "float32"]))
    assert missing == ("elman with activation=softplus", "own")
    said = "cells elman with activation=softplus, own have no compiled loops: they run in NumPy"
    assert compiled_loops.describe_missing(missing) == said


@pytest.mark.parametrize("words", [["workers=0"], ["workers=0", "engine=numba"], ["workers=1"]], ids=" ".join)
def test_a_sweep_says_once_that_a_cell_runs_in_numpy(folder, capsys, words):
    assert main([*LINE, "seed=0,1,2", *words]) == 0
    assert capsys.readouterr().err.count(SAID) == 1
    assert set(lab.load("x").runs["engine"]) == {"numba"}
    assert main([*LINE, "seed=0,1,2", *words]) == 0
    assert SAID not in capsys.readouterr().err  # nothing is computed


def test_silence_and_numpy_say_nothing(folder, capsys):
    assert main([*LINE, "workers=0", "engine=numpy"]) == 0
    lab.sweep([SMOOTH], study="x", workers=0, progress=False)
    assert SAID not in capsys.readouterr().err


def test_a_run_from_python_says_it_once_in_a_process(capsys):
    compiled_loops.say_missing_once.cache_clear()
    for seed in range(2):
        lab.run({**SMOOTH, "seed": seed})
    assert capsys.readouterr().err == f"{SAID}\n"


def test_a_dry_run_says_it_too(folder, capsys):
    assert main([*LINE, "workers=0", "--dry-run"]) == 0
    assert SAID.removeprefix("bpttlab: ") in capsys.readouterr().out


QUESTION = """
from bpttlab.networks.cells import Elman
from bpttlab.sweeps import compiled_loops
print(compiled_loops.ask_worker(([Elman(1, 1, 1)], ["float64"])).stored)
"""


def test_a_worker_that_finds_no_loops_leaves_nothing_behind(tmp_path):
    done = run(sys.executable, "-c", QUESTION, NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


# ------------------------------------------------------------------ a Numba that does not work

REASON = "Numba needs NumPy 9.0 or less. Got NumPy 9.1."
REFUSED = f"engine=numba: the package numba cannot be imported ({REASON}); engine=numpy needs no Numba"


@pytest.fixture
def broken(folder, monkeypatch):
    """A Numba that refuses its import, in this process and in those that it starts; an empty current folder."""
    package = folder / "packages" / "numba"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise ImportError({REASON + chr(10) + 'more'!r})\n", encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    return package.parent


def test_one_line_names_the_way_out(broken, capsys):
    assert main([*LINE, "workers=0"]) == 2
    assert capsys.readouterr().err == f"bpttlab: {REFUSED}\n"
    assert "results/x" not in visible(broken.parent)
    assert main([*LINE, "workers=0", "engine=numpy"]) == 0


def test_python_gets_the_same_line(broken):
    for use in (lambda: lab.run(SMOOTH), lambda: find_engine("numba")):
        with pytest.raises(ConfigurationError) as refused:
            use()
        assert str(refused.value) == REFUSED


def test_workers_find_it_before_anything_is_stored(broken):
    done = bpttlab(*LINE, "workers=1", PYTHONPATH=f"{broken}:{REPOSITORY}")
    assert (done.returncode, done.stderr) == (2, f"bpttlab: {REFUSED}\n")
    assert "results/x" not in visible(broken.parent)
