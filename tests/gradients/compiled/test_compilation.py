"""Machine code has a place wherever it can have one, and its compilation is announced by cell and dtype, once."""

import errno
import importlib.util

import pytest

from bpttlab.errors import LabError
from bpttlab.gradients.compiled import compilation, compile_ahead, preload
from bpttlab.sweeps import compiled_loops, cost_estimate
from tests.support.sweeps import parsed

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba")


@pytest.fixture
def places(monkeypatch, tmp_path):
    """Numba finds a place for machine code at the first, second, … time or not; a folder is left to fall back to."""
    from numba import config

    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(compilation, "private_folder", lambda name: tmp_path / name)

    def choose(*found):
        answers = iter(found)
        monkeypatch.setattr(compilation, "has_place", lambda: next(answers))
        return compilation.find_cache.__wrapped__(), config.CACHE_DIR

    return choose


def test_the_usual_place_needs_no_remark(places):
    cache, folder = places(True)
    assert (cache.kept, cache.remark, folder) == (True, "", "")


def test_an_unwritable_place_is_replaced_and_named(places, tmp_path):
    cache, folder = places(False, True)
    assert cache.kept
    assert folder == str(tmp_path / "numba")
    assert folder in cache.remark
    assert "NUMBA_CACHE_DIR" in cache.remark


def test_without_any_place_every_process_compiles(places, monkeypatch):
    assert not places(False, False)[0].kept
    monkeypatch.setattr(compilation, "private_folder", lambda name: None)
    cache, _ = places(False)
    assert not cache.kept
    assert "they cannot be kept" in cache.remark


class Loop:
    """What Numba says of a loop that it compiles."""

    def __init__(self, module="bpttlab.gradients.compiled.passes"):
        self.py_func = lambda: None
        self.py_func.__module__ = module


@pytest.fixture
def announcer(monkeypatch):
    """One that has said nothing yet."""
    fresh = compilation.Announcer()
    monkeypatch.setattr(compilation, "ANNOUNCER", fresh)
    monkeypatch.setattr(compilation, "find_cache", lambda: compilation.Cache(True, "they are kept in X"))
    return fresh


def test_a_kind_is_announced_once_with_its_place_and_seconds(announcer, capsys):
    with compilation.announce("elman in float64", 2) as announcement:
        for name in ("forward pass", "truncated gradients"):
            announcement.step(name)
            announcer.begin(Loop(), [])
            announcer.begin(Loop(), [])
    with compilation.announce("gru in float64", 1) as announcement:
        announcer.begin(Loop(), [])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "bpttlab: compiling the loops of elman in float64, once on this machine; they are kept in X"
    assert lines[1] == "bpttlab: compiled the loops of elman in float64 in 0 s"
    assert lines[2] == "bpttlab: compiling the loops of gru in float64, once on this machine"
    assert len(lines) == 4


def test_what_cannot_be_kept_is_not_said_to_be_compiled_once(announcer, monkeypatch, capsys):
    monkeypatch.setattr(compilation, "find_cache", lambda: compilation.Cache(False, "they cannot be kept"))
    with compilation.announce("elman in float64", 1):
        announcer.begin(Loop(), [])
    said = capsys.readouterr().err.splitlines()[0]
    assert said == "bpttlab: compiling the loops of elman in float64; they cannot be kept"


def test_what_is_read_from_disk_says_nothing(announcer, capsys):
    with compilation.announce("elman in float64", 1) as announcement:
        announcement.step("forward pass")
    announcer.begin(Loop("somebody.else"), [])
    assert capsys.readouterr().err == ""


def test_loops_that_a_program_calls_are_announced_by_dtype(announcer, capsys):
    class Floats:
        dtype = "float32"

    for _ in range(3):
        announcer.begin(Loop(), [object(), Floats()])
    assert capsys.readouterr().err.count("compiling loops for float32, once on this machine") == 1


def test_a_full_disk_is_one_error(announcer):
    with (
        pytest.raises(LabError, match=r"loops of elman in float64 cannot be kept: /x: No space left; NUMBA_CACHE_DIR"),
        compilation.announce("elman in float64", 1),
    ):
        raise OSError(errno.ENOSPC, "No space left", "/x")


# ------------------------------------------------------------------ loops that no disk keeps


@pytest.fixture
def compiled(monkeypatch):
    """The kinds that are compiled; no loop can be kept, and none is there."""
    kinds = []
    monkeypatch.setattr(
        compile_ahead, "compile_loops", lambda cells, dtypes, processes=None: kinds.append((len(cells), list(dtypes)))
    )
    monkeypatch.setattr(compilation, "find_cache", lambda: compilation.Cache(False, "nowhere"))
    monkeypatch.setattr(preload, "are_read", lambda kinds: False)
    monkeypatch.setattr(compiled_loops, "ask_worker", lambda kinds: compiled_loops.Loops(False))
    return kinds


def test_workers_inherit_what_the_fork_server_compiles(compiled):
    assert preload.preload_requested("elman,gru float64")
    assert compiled == [(2, ["float64"])]


@pytest.mark.parametrize(("workers", "expected"), [(0, [(1, ["float64"])]), (2, [])])
def test_this_process_compiles_only_for_itself(compiled, workers, expected):
    compiled_loops.prepare(parsed(range(2), engine="numba"), workers)
    assert compiled == expected


# ------------------------------------------------------------------ the estimate of a dry run


@pytest.fixture
def measured(monkeypatch):
    """The engines of the bundles whose time is measured."""
    engines = []

    def seconds_of(divided, processes):
        engines.append({one.values.engine for bundle in divided for one in bundle})
        return 1.0

    monkeypatch.setattr(cost_estimate, "seconds_of", seconds_of)
    return engines


@pytest.mark.parametrize(("on_disk", "engine", "remarks"), [(True, "numba", 0), (False, "numpy", 1)])
def test_a_dry_run_measures_compiled_loops_that_are_there(monkeypatch, measured, on_disk, engine, remarks):
    monkeypatch.setattr(preload, "are_read", lambda kinds: on_disk)
    bundles = [tuple(parsed(range(2), engine="numba")), tuple(parsed(range(2)))]
    seconds, said = cost_estimate.seconds_without_compiling(bundles, 1)
    assert measured == [{engine, "numpy"}]
    assert (seconds, len(said)) == (1.0, remarks)


def test_a_loop_that_is_missing_all_the_same_is_not_compiled(monkeypatch, measured):
    plain = cost_estimate.seconds_of

    def seconds_of(divided, processes):
        plain(divided, processes)
        if "numba" in measured[-1]:
            raise preload.NotOnDisk
        return 1.0

    monkeypatch.setattr(cost_estimate, "seconds_of", seconds_of)
    monkeypatch.setattr(preload, "are_read", lambda kinds: True)
    _, said = cost_estimate.seconds_without_compiling([tuple(parsed(range(2), engine="numba"))], 1)
    assert measured == [{"numba"}, {"numpy"}]
    assert "not compiled yet" in said[0]
