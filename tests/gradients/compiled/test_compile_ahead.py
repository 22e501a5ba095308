"""Loops are compiled before they are needed, by several processes, and whatever another one does not manage, here."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.gradients.compiled import compilation, compile_ahead, preload
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import run
from tests.support.compiled import needs_numba

pytestmark = needs_numba

DOUBLE = np.dtype("float64")
CELL = Elman(3, 4, 2)


@given(st.dictionaries(st.text("abc", max_size=3), st.floats(0.1, 10), min_size=1), st.integers(1, 5))
def test_every_loop_is_in_one_part_and_parts_are_about_equal(seconds, processes):
    parts = compile_ahead.divide(processes, seconds)
    assert len(parts) == processes
    assert sorted(name for part in parts for name in part) == sorted(seconds)
    long = [sum(seconds[name] for name in part) for part in parts]
    assert max(long) <= min(long) + max(seconds.values()) + 1e-9
    assert all(part == [name for name in seconds if name in part] for part in parts)


def test_one_of_two_processes_compiles_the_matrix_products():
    """The other begins with what needs none, and reads them from disk afterwards."""
    for size, first in ((32, "leading singular vectors"), (64, "norms")):
        (own, other) = compile_ahead.divide(2, compile_ahead.choose_loops([Elman(1, size, 1)]))
        assert own[0] == "matrix products"
        assert other[0] == first
        assert compile_ahead.LOOPS[first][1] > compile_ahead.LOOPS["matrix products"][1]


def test_cells_of_several_sizes_need_both_kinds_of_norms():
    small, large = Elman(1, 32, 1), Elman(1, 64, 1)
    assert set(compile_ahead.LOOPS) - set(compile_ahead.choose_loops([small])) == {"norms"}
    assert set(compile_ahead.LOOPS) - set(compile_ahead.choose_loops([large])) == {"leading singular vectors"}
    assert set(compile_ahead.LOOPS) == set(compile_ahead.choose_loops([small, large]))
    assert set(compile_ahead.LOOPS) == set(compile_ahead.choose_loops([LSTM(1, 32, 1)]))  # of 32 units, states of 64


@pytest.mark.slow
def test_norms_need_no_matrix_products():
    code = (
        "import numpy as np\n"
        "from bpttlab.gradients.compiled import compile_ahead, products\n"
        "from bpttlab.networks.cells import Elman\n"
        "names = ['norms', 'leading singular vectors']\n"
        "compile_ahead.call_loops(Elman(1, 1, 1), np.dtype('float64'), names, lambda name: None)\n"
        "print(len(products._LOADED))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "0"


@pytest.mark.parametrize("truncation", [3, "full"])
@pytest.mark.parametrize("measure", ["standard", "minimal", "triangle", "gradient"])
def test_a_run_calls_no_loop_that_was_not_compiled_ahead(measure, truncation):
    cell, given = {"name": "elman", "hidden_size": 4}, {"engine": "numba", "measure": measure, "truncation": truncation}
    compile_ahead.compile_loops([CELL], ["float64"])
    with preload.no_compilation():
        done = run(Configuration.parse({"cell": cell, "sequence_length": 12, **given}))
    assert done.run["status"] == "done"


@pytest.mark.parametrize(("there", "kept", "expected"), [(True, True, 1), (False, True, 3), (False, False, 1)])
def test_several_processes_compile_only_what_can_be_kept(monkeypatch, there, kept, expected):
    monkeypatch.setattr(preload, "are_read", lambda kinds: there)
    monkeypatch.setattr(compilation, "find_cache", lambda: compilation.Cache(kept))
    monkeypatch.setattr(compile_ahead, "processors", lambda: 3)
    assert compile_ahead.count_processes(CELL, DOUBLE) == expected


def test_kinds_and_not_cells_are_compiled(monkeypatch):
    """The reset gate before and after the product are two kinds; two activations are one."""
    begun = []
    monkeypatch.setattr(compile_ahead, "call_loops", lambda cell, dtype, names, begin: begun.append((cell, dtype)))
    cells = [CELL, Elman(1, 2, 3, "relu"), GRU(1, 1, 1), GRU(1, 1, 1, reset="before"), LSTM(1, 1, 1)]
    compile_ahead.compile_loops(cells, ["float64", "float32"], processes=1)
    assert len(set(begun)) == 8


def refuse(*arguments, **settings):
    raise BlockingIOError(11, "Resource temporarily unavailable")


@pytest.mark.parametrize("broken", ["", "package", "interpreter", "processes"])
def test_this_process_compiles_what_others_do_not_manage(monkeypatch, broken):
    if broken == "package":
        monkeypatch.setattr(compile_ahead, "find_same_package", dict)
    if broken == "interpreter":
        monkeypatch.setattr(sys, "executable", None)
    if broken == "processes":
        monkeypatch.setattr(subprocess, "Popen", refuse)
    names = []
    plain = compile_ahead.call_loops

    def counted(cell, dtype, some, begin):
        some = list(some)
        names.extend(some)
        plain(cell, dtype, some, begin)

    monkeypatch.setattr(compile_ahead, "call_loops", counted)
    compile_ahead.compile_loops([CELL], ["float64"], processes=2)
    assert sorted(names) == sorted(compile_ahead.choose_loops([CELL]))


def test_an_interruption_leaves_no_process(monkeypatch):
    started = []
    plain = subprocess.Popen

    class Recorded(plain):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            started.append(self)

    def interrupt():
        with compile_ahead.compile_elsewhere(CELL, DOUBLE, [["norms"], []]):
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_a_process_ends_with_its_parent():
    """Its pipe ends, and it does not wait for what it compiles."""
    request = json.dumps(["elman", compile_ahead.smallest_fields(CELL), "float64", list(compile_ahead.LOOPS)])
    code = "from bpttlab.gradients.compiled import compile_ahead\n"
    code += "compile_ahead.call_loops = lambda *arguments: compile_ahead.threading.Event().wait()\n"
    command = [sys.executable, "-c", code + "compile_ahead.answer_request()", request]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=compile_ahead.find_same_package())
    time.sleep(0.1)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(60) == 1
