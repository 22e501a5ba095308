"""What a sweep asks for, what is left to do of it, and its options."""

import tracemalloc
import weakref

import numpy as np
import pytest

from bpttlab.errors import CollisionError, ConfigurationError, LabWarning
from bpttlab.store.store import Store
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.grid import combine, grid
from bpttlab.sweeps.plan import Options, bundles, plan, separate
from bpttlab.sweeps.run import run
from bpttlab.sweeps.scheduler import sweep
from bpttlab.sweeps.worker_pool import Limits
from tests.support.sweeps import parsed, points

SHORT = {"sequence_length": 4, "engine": "numpy"}


def test_a_plan_types_everything_and_counts_what_is_the_same(tmp_path):
    planned = plan([*points([0, 1], ["full", 3]), *points([0])], Options("x", str(tmp_path)))
    assert (planned.requested, len(planned.runs), len(planned.to_do)) == (5, 4, 4)
    runs, bundled = planned.lines()
    assert runs == "4 runs of 2 networks (1 more requested is the same as another)"
    assert bundled == "4 runs to do, in 2 bundles"
    assert list(tmp_path.iterdir()) == []


def test_one_wrong_value_of_many_is_refused_before_a_run(tmp_path):
    with pytest.raises(ConfigurationError, match="spectral_radius"):
        sweep([*points(range(3)), *points([3], spectral_radius=-1.0)], "x", tmp_path, workers=0)
    assert list(tmp_path.iterdir()) == []


def test_no_run_at_all_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no run at all"):
        plan([], Options("x", str(tmp_path)))


def test_truncation_as_long_as_sequence_is_noted_once(tmp_path):
    (remark,) = plan(points(range(4), ["full", 5, 6, 9]), Options("x", str(tmp_path))).remarks()
    assert "8 runs (6 of 6 steps, 9 of 6 steps)" in remark


def test_scheme_replaced_by_full_everywhere_is_noted_once(tmp_path):
    options = Options("x", str(tmp_path))
    said = "truncation=full replaces scheme=chunked,windowed; add truncation=K"
    assert said in plan(grid(scheme=["chunked", "windowed"], seed=[0, 1]), options).lines()
    both = plan(grid(scheme=["chunked", "windowed"], truncation=["full", 3]), options)
    assert both.replaced_schemes == plan(grid(scheme=["per_loss", "full"]), options).replaced_schemes == ()
    with pytest.warns(LabWarning, match="truncation=full replaces scheme=chunked"):
        sweep(scheme="chunked", **SHORT, study="x", results=tmp_path, workers=0, progress=False)


def test_values_that_differ_by_rounding_alone_are_said(tmp_path):
    runs = grid(spectral_radius=np.arange(0.1, 0.5, 0.1), initializer={"name": "sparse", "density": 0.2})
    requested = [*runs, {**runs[0], "spectral_radius": 0.3}, {**runs[0], "spectral_radius": 0.3 + 1e-9}]
    said = [f"spectral_radius: 0.3 and {0.1 + 0.2} differ by rounding alone, and are different runs"]
    assert plan(requested, Options("x", str(tmp_path))).close_values() == said
    with pytest.warns(LabWarning, match="differ by rounding alone") as told:
        sweep(grid(spectral_radius=[0.3, 0.1 + 0.2], **SHORT), "x", tmp_path, workers=0, progress=False)
    assert {warning.filename for warning in told} == {__file__}
    with pytest.raises(ConfigurationError, match="must be a list of mappings"):
        sweep({"seed": 1}, "x", tmp_path)


def test_bundles_share_a_network_and_longest_is_first():
    short, long = parsed([0, 1], ["full", 2]), parsed([2], ["full", 3], sequence_length=9)
    assert bundles([*short, *long]) == [tuple(long), tuple(short[:2]), tuple(short[2:])]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"study": None}, "study is missing"),
        ({"results": ""}, "results=''"),
        ({"workers": -1}, "workers=-1"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"workers": True}, "workers=True"),
        ({"retry": "fail"}, "Did you mean 'failed'"),
        ({"time_limit": 0}, "time_limit=0: must be a finite number > 0 or null"),
        ({"time_limit": "5 s"}, "time_limit='5 s'"),
        ({"time_limit": True}, "time_limit=True"),
        ({"time_limit": float("nan")}, "time_limit=nan"),
        ({"memory_limit": -1.0}, "memory_limit=-1.0: must be a finite number > 0 or null"),
        ({"memory_limit": float("inf")}, "memory_limit=inf"),
        ({"time_limit": 5, "workers": 0}, "time_limit=5: needs a worker process"),
        ({"memory_limit": 1.5, "workers": 0}, "memory_limit=1.5: needs a worker process"),
        ({"study": "../out"}, "study"),
        ({"study": 3.5}, "study"),
    ],
)
def test_options_are_checked(options, said):
    with pytest.raises(ConfigurationError, match=said):
        _ = Options(**{"study": "x", **options}).store


def test_options_hold_for_a_whole_sweep():
    runs = [{"study": "x", "results": "r", "workers": None, "retry": None, "seed": seed} for seed in (0, 1)]
    options, configurations = separate(runs)
    assert options == Options("x", "r")
    assert separate([{**runs[0], "time_limit": 9, "memory_limit": 2.5}])[0].limits == Limits(9, 2.5)
    assert list(configurations) == [{"seed": 0}, {"seed": 1}]
    _, several = separate([*runs, {**runs[1], "study": "y"}, {**runs[0], "study": "z"}])
    with pytest.raises(ConfigurationError, match="study=x,y,z: one value"):
        list(several)


def test_a_plan_keeps_no_configuration_that_it_took(tmp_path):
    taken, alive = [], []

    def requested():
        for seed in range(20):
            one = Requested(seed=seed, sequence_length=5)
            taken.append(weakref.ref(one))
            alive.append(sum(before() is not None for before in taken))
            yield one
            del one

    assert len(plan(requested(), Options("x", str(tmp_path))).runs) == 20
    assert max(alive) <= 3


class Requested(dict):
    """A mapping to which there can be a weak reference."""


@pytest.mark.parametrize("requested", [list, iter])
def test_too_many_runs_are_counted_and_refused(tmp_path, requested):
    with pytest.raises(ConfigurationError, match="asks for 9 runs, more than max_runs=4: give max_runs=9"):
        plan(requested(points(range(9))), Options("x", str(tmp_path), max_runs=4))
    assert plan(requested(points(range(4))), Options("x", str(tmp_path), max_runs=4)).requested == 4


@pytest.mark.slow
def test_a_run_of_a_plan_takes_about_a_kilobyte(tmp_path):
    options = Options("x", str(tmp_path))
    plan(combine({"seed": range(10)}), options)  # which fills what is remembered
    tracemalloc.start()
    try:
        planned = plan(combine({"seed": range(1000), "spectral_radius": [0.5, 1.0]}), options)
        planned.lines()
        assert tracemalloc.get_traced_memory()[1] < 1800 * len(planned.runs)
    finally:
        tracemalloc.stop()


def test_long_planning_says_how_many_runs_it_has(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bpttlab.sweeps.progress.SILENT_SECONDS", 0.0)
    monkeypatch.setattr("bpttlab.sweeps.progress.SECONDS_BETWEEN_LINES", 0.0)
    plan(points(range(3)), Options("x", str(tmp_path)), 3)
    said = [f"planning: {count} of 3 runs" for count in (2, 3)]  # the first waits for imports
    assert capsys.readouterr().err.splitlines() == said
    plan(points(range(3)), Options("x", str(tmp_path)), progress=False)
    assert capsys.readouterr().err == ""


def test_a_collision_of_run_ids_with_what_is_stored_is_refused(tmp_path, monkeypatch):
    sweep(points([0]), "x", tmp_path, workers=0, progress=False)
    (stored,) = Store(tmp_path, "x").statuses()
    monkeypatch.setattr(Configuration, "run_id", stored)
    with pytest.raises(CollisionError):
        plan(points([1]), Options("x", str(tmp_path)))


def test_options_are_checked_before_what_is_swept(tmp_path):
    with pytest.raises(ConfigurationError, match="workers='two': must be an integer"):
        sweep(study="x", results=tmp_path, workers="two")


def test_a_summary_and_the_records_of_a_run_are_one_short_line(tmp_path):
    summary = sweep(**SHORT, seed=range(2), study="x", results=tmp_path, workers=0, progress=False)
    assert repr(summary) == f"Summary(2 runs, computed: 2 done, in {tmp_path / 'x'})"
    again = sweep(**SHORT, seed=range(2), study="x", results=tmp_path, workers=0, progress=False)
    assert "computed: none, stored before: 2 done" in repr(again)
    records = run({**SHORT, "cell.hidden_size": 3})
    rows = len(records.jacobians)
    assert f"(done, run_id {records.run['run_id']}, rows: " in repr(records) and f"jacobians {rows}" in repr(records)
    assert len(repr(records)) < 200
