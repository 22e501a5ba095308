"""Compiled loops are read from disk before workers part, and whoever reads them compiles none."""

import importlib.util
import os
import subprocess
import sys
from functools import partial

import pytest

from bpttlab import resources
from bpttlab.gradients.compiled import preload
from bpttlab.networks.cells import Elman
from bpttlab.store.store import Store
from bpttlab.sweeps import compiled_loops, scheduler
from tests.support.sweeps import counting, parsed

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba")

KINDS = [Elman(3, 4, 2), Elman(1, 1, 1, "relu")], ["float64"]

ASKED = """
from bpttlab.gradients.compiled import preload{first}
from bpttlab.networks.cells import Elman
before = preload.are_read(([Elman(3, 4, 2)], ["float64"]))
from bpttlab.gradients.compiled import passes, walks
loaded = [len(loop.signatures) for loop in (passes.pass_forward, walks.walk_back, walks.pass_wave_back)]
print(before, sum(loaded))
"""


def requested(first="", **environment):
    kept = {name: value for name, value in os.environ.items() if name == "NUMBA_CACHE_DIR"}
    surroundings = {"PYTHONPATH": str(resources.PACKAGE.parent), **kept, **environment}
    command = [sys.executable, "-c", ASKED.format(first=first)]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("first", ["", pytest.param(", passes", marks=pytest.mark.slow)])
def test_nothing_is_compiled_without_loops_on_disk(tmp_path, first):
    done = requested(first, NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.stdout, done.stderr) == ("False 0\n", "")
    assert not list(tmp_path.rglob("*.nbc"))


def test_what_is_on_disk_is_read():
    from bpttlab.gradients.compiled import compile_ahead

    compile_ahead.compile_loops(*KINDS)
    assert requested().stdout == "True 3\n"
    assert compiled_loops.ask_worker(KINDS) == compiled_loops.Loops(True)
    assert preload.preload_requested("elman float64")
    (words,) = preload.request_preload(["gru", "elman"], ["float64"]).values()
    assert words == "gru,elman float64"


@pytest.mark.parametrize("words", ["elman,perceptron float64", "elman float16"])
def test_what_there_is_not_is_somebody_elses_error(words):
    assert preload.preload_requested(words)


def test_importing_process_survives_every_request():
    done = requested(BPTTLAB_PRECOMPILED="elman,% no_dtype,")
    assert done.returncode == 0 and not done.stderr


@pytest.mark.parametrize(("there", "count", "compiled"), [(True, 2, 0), (False, 2, 1), (True, 0, 1)])
def test_this_process_compiles_only_what_no_worker_finds(monkeypatch, there, count, compiled):
    from bpttlab.gradients.compiled import compile_ahead

    seen = []
    monkeypatch.setattr(compile_ahead, "compile_loops", lambda cells, dtypes: seen.append((len(cells), dtypes)))
    monkeypatch.setattr(compiled_loops, "ask_worker", lambda kinds: compiled_loops.Loops(there))
    compiled_loops.prepare(parsed(range(3), engine="numba"), count)
    compiled_loops.prepare(parsed(range(3)), count)
    assert seen == [(1, ["float64"])] * compiled


def dying(kinds):
    os._exit(3)


def test_a_worker_that_dies_of_the_question_has_nothing(monkeypatch):
    monkeypatch.setattr(compiled_loops, "read_loops", dying)
    assert compiled_loops.ask_worker(KINDS) == compiled_loops.Loops(False)


def test_a_sweep_needs_no_compiled_loops_of_cells_that_have_none(tmp_path):
    cell = {"name": "elman", "hidden_size": 4, "activation": "softplus"}
    store, measure = Store(tmp_path / "results", "x"), partial(counting, str(tmp_path))
    tally = scheduler.execute(parsed(range(2), engine="numba", cell=cell), store, 1, False, measure)
    assert tally.statuses == {"done": 2}
