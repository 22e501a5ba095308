"""Sweeps: what is stored is not computed again, a run that fails or kills its worker takes nothing along."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from bpttlab import identity, places, sweeping, threads, workers
from bpttlab.configuration import Configuration
from bpttlab.errors import CollisionError, ConfigurationError, LabError, StoreError
from bpttlab.store import Store, load
from bpttlab.sweeping import Options, Parcel, Publisher, Queue, Rows, Summary, bundles, execute, plan, separate, sweep

TINY = {"sequence_length": 6, "batch_size": 2, "cell": {"name": "elman", "hidden_size": 4}}


def points(seeds, truncations=("full",), **values):
    return [{**TINY, **values, "seed": seed, "truncation": K} for seed in seeds for K in truncations]


def parsed(*arguments, **values):
    return [Configuration.parse(point) for point in points(*arguments, **values)]


def statuses(store):
    return Counter(store.statuses().values())


# ------------------------------------------------------------------ measures that workers import by name


def counting(folder, configurations):
    """Leaves a file for each run that it measures, so that a test sees what was computed, and how often."""
    for configuration in configurations:
        attempt = len(list(Path(folder).glob(f"{configuration.run_id}.*")))
        Path(folder, f"{configuration.run_id}.{attempt}").touch()
    return [row(configuration) for configuration in configurations]


def row(configuration, **more):
    return Rows(
        {
            "run_id": configuration.run_id,
            "network_id": configuration.network_id,
            "status": "done",
            "configuration": identity.canonical(configuration.plain),
            **more,
        },
        {"blas_threads": threads_of_blas()},
        {"lag_terms": {"parameter": ["W"], "lag": [0], "log_norm": [float(configuration.values.seed)]}},
    )


def threads_of_blas():
    return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")


def faulty(folder, configurations):
    """Seeds 1 to 5 end in five ways; seed 6 kills its worker the first time only; any other is done."""
    seeds = {configuration.values.seed for configuration in configurations}
    first_time = not list(Path(folder).glob("tried*"))
    if 6 in seeds:
        Path(folder, "tried").touch()
    if 1 in seeds or (6 in seeds and first_time):
        os.kill(os.getpid(), signal.SIGKILL)
    if 2 in seeds:
        sys.exit(3)
    if 3 in seeds:
        raise ZeroDivisionError("no reason")
    if 4 in seeds:
        os._exit(7)
    if 5 in seeds:
        return []
    return counting(folder, configurations)


def one_culprit(configurations):
    """A truncation of 3 kills the worker, one of 4 raises: alone or in a bundle."""
    for configuration in configurations:
        if configuration.scheme.truncation == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if configuration.scheme.truncation == 4:
            raise LabError("four is too many")
    return [row(configuration) for configuration in configurations]


def interrupting(folder, configurations):
    """Asks this very process to stop at the third run, as Ctrl-C would."""
    if len(list(Path(folder).iterdir())) >= 2:
        signal.raise_signal(signal.SIGINT)
    return counting(folder, configurations)


# ------------------------------------------------------------------ what has to be done


def test_a_plan_types_everything_and_counts_what_is_the_same(tmp_path):
    planned = plan([*points([0, 1], ["full", 3]), *points([0])], Options("x", str(tmp_path)))
    assert (planned.asked, len(planned.runs), len(planned.to_do)) == (5, 4, 4)
    runs, bundled = planned.lines()
    assert runs == "4 runs of 2 networks (1 more asked for are the same as others)"
    assert bundled == "4 runs to do, in 2 bundles"
    assert list(tmp_path.iterdir()) == []


def test_one_wrong_value_among_many_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigurationError, match="spectral_radius"):
        sweep([*points(range(3)), *points([3], spectral_radius=-1.0)], "x", tmp_path, workers=0)
    assert list(tmp_path.iterdir()) == []


def test_no_run_at_all_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no run at all"):
        plan([], Options("x", str(tmp_path)))


def test_a_truncation_as_long_as_the_sequence_is_remarked_on_once(tmp_path):
    (remark,) = plan(points(range(4), ["full", 5, 6, 9]), Options("x", str(tmp_path))).remarks()
    assert "8 runs (6 of 6 steps, 9 of 6 steps)" in remark


def test_bundles_share_all_but_the_truncation_and_the_longest_comes_first():
    short, long = parsed([0, 1], ["full", 2]), parsed([0], ["full", 3], sequence_length=9)
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
    assert configurations == [{"seed": 0}, {"seed": 1}]
    with pytest.raises(ConfigurationError, match="study=x,y: one value"):
        separate([runs[0], {**runs[1], "study": "y"}])


def test_a_collision_of_run_ids_with_what_is_stored_is_refused(tmp_path, monkeypatch):
    sweep(points([0]), "x", tmp_path, workers=0, progress=False)
    (stored,) = Store(tmp_path, "x").statuses()
    monkeypatch.setattr(Configuration, "run_id", stored)
    with pytest.raises(CollisionError):
        plan(points([1]), Options("x", str(tmp_path)))


# ------------------------------------------------------------------ computing


def test_what_is_stored_is_not_computed_again(tmp_path):
    store, marks = Store(tmp_path, "x"), tmp_path / "marks"
    marks.mkdir()
    measure = partial(counting, str(marks))
    execute(parsed(range(3)), store, 2, False, measure)
    planned = plan(points(range(5), ["full", 2]), Options("x", str(tmp_path)))
    assert len(planned.to_do) == 7
    tally = execute(planned.to_do, store, 2, False, measure)
    assert tally.statuses == {"done": 7}
    assert statuses(store) == {"done": 10}
    assert sorted(path.suffix for path in marks.iterdir()) == [".0"] * 10


def test_every_way_to_fail_is_a_row_with_its_reason_and_all_others_finish(tmp_path):
    store, measure = Store(tmp_path, "x"), partial(faulty, str(tmp_path))
    configurations = parsed(range(12))
    tally = execute(configurations, store, 2, False, measure)
    runs = load("x", tmp_path).runs.set_index("seed").sort_index()
    assert list(runs.index[runs["status"] == "done"]) == [0, *range(6, 12)]
    errors = runs["error"].dropna().to_dict()
    assert errors == {
        1: "its process was killed by SIGKILL (out of memory?)",
        2: "it called sys.exit(3)",
        3: "ZeroDivisionError: no reason",
        4: "its process ended with exit code 7",
        5: "the measurement did not give one record for each run, in their order",
    }
    assert tally.reasons == Counter(errors.values())
    summary = Summary(plan(points(range(12)), Options("x", str(tmp_path))), tally, store.path)
    assert summary.exit_code == 1
    assert any(line.startswith("failed, 1 ×: its process was killed") for line in summary.lines())


def test_in_a_bundle_only_the_culprits_fail(tmp_path):
    store = Store(tmp_path, "x")
    execute(parsed([0, 1], ["full", 2, 3, 4, 5]), store, 2, False, one_culprit)
    runs = load("x", tmp_path).runs
    assert Counter(zip(runs["truncation"], runs["status"], strict=True)) == {
        ("full", "done"): 2,
        ("2", "done"): 2,
        ("3", "failed"): 2,
        ("4", "failed"): 2,
        ("5", "done"): 2,
    }
    assert set(runs.loc[runs["truncation"] == "4", "error"]) == {"four is too many"}


def test_failed_runs_are_left_alone_until_they_are_to_be_tried_again(tmp_path):
    first = sweep(points([0, 1]), "x", tmp_path, workers=0, progress=False)
    (run_id, _) = first.plan.runs
    Store(tmp_path, "y").publish([sweeping.failed(first.plan.runs[run_id], "power cut")])
    left = sweep(points([0, 1]), "y", tmp_path, workers=0, progress=False)
    assert (left.tally.statuses, left.failed_before, left.exit_code) == ({"done": 1}, 1, 1)
    nothing = sweep(points([0, 1]), "y", tmp_path, workers=0, progress=False)
    assert (nothing.tally.statuses, nothing.exit_code) == ({}, 1)
    assert nothing.lines()[0] == "nothing to do: 1 done, 1 failed before"
    again = sweep(points([0, 1]), "y", tmp_path, workers=0, retry="failed", progress=False)
    assert (again.tally.statuses, again.exit_code) == ({"done": 1}, 0)
    assert statuses(Store(tmp_path, "y")) == {"done": 2}


@pytest.mark.parametrize("count", [1, 2])
def test_the_tables_do_not_depend_on_who_computed_them(tmp_path, count):
    configurations = points(range(3), ["full", 3])
    sweep(configurations, "here", tmp_path, workers=0, progress=False)
    for part in (configurations[4:], configurations[::-1]):
        sweep(part, "there", tmp_path, workers=count, progress=False)
    here, there = load("here", tmp_path), load("there", tmp_path)
    assert set(here.runs["status"]) == {"done"}
    for table in ("runs", "jacobians", "lag_terms", "truncations"):
        pd.testing.assert_frame_equal(here.table(table), there.table(table), check_exact=True)


@pytest.mark.parametrize("count", [0, 1])
def test_runs_have_one_blas_thread_and_this_process_keeps_its_own(tmp_path, monkeypatch, count):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    (tmp_path / "marks").mkdir()
    with threadpool_limits(2):
        execute(parsed(range(2)), Store(tmp_path, "x"), count, False, partial(counting, str(tmp_path / "marks")))
        assert threads_of_blas() == 2
    assert set(load("x", tmp_path).provenance["blas_threads"]) == {1}
    left = {name: os.environ[name] for name in threads.VARIABLES if name in os.environ}
    assert left == {"OPENBLAS_NUM_THREADS": "2"}


def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on_where_it_was(tmp_path):
    store, marks = Store(tmp_path, "x"), tmp_path / "marks"
    marks.mkdir()
    before = signal.getsignal(signal.SIGINT)
    planned = plan(points(range(6)), Options("x", str(tmp_path)))
    tally = execute(planned.to_do, store, 0, False, partial(interrupting, str(marks)))
    assert signal.getsignal(signal.SIGINT) is before
    assert (tally.interrupted, tally.statuses) == (signal.SIGINT, {"done": 3})
    assert statuses(store) == {"done": 3}
    summary = Summary(planned, tally, store.path)
    assert summary.exit_code == 130
    assert "interrupted: 3 runs left to do; what is done is stored" in summary.lines()
    rest = plan(points(range(6)), Options("x", str(tmp_path))).to_do
    assert execute(rest, store, 0, False, partial(counting, str(marks))).statuses == {"done": 3}


def test_a_second_interruption_is_as_abrupt_as_ever():
    with sweeping.interruption() as heard:
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signals_are_left_alone_outside_the_main_thread():
    heard = []
    thread = threading.Thread(target=lambda: heard.append(sweeping.interruption().__enter__()))
    thread.start()
    thread.join()
    assert heard == [[]]


def test_unwritable_results_are_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match="results"):
        sweep(points([0]), "x", tmp_path / "results", workers=0, progress=False)


# ------------------------------------------------------------------ parcels


def test_after_a_death_bundles_and_then_runs_are_tried_alone_and_a_lone_run_twice():
    one, other = parsed([0], ["full", 2]), parsed([1])
    parcel = Parcel((tuple(one), tuple(other)))
    assert parcel.smaller() == [Parcel((tuple(one),), 1), Parcel((tuple(other),), 1)]
    assert Parcel((tuple(one),), 1).smaller() == [Parcel(((run,),), 2) for run in one]
    assert Parcel((tuple(other),)).smaller() == [Parcel((tuple(other),), 1)]
    assert Parcel((tuple(other),), 1).smaller() == []


def test_parcels_grow_with_the_speed_and_leave_work_for_everybody():
    waiting = [(run,) for run in parsed(range(40))]
    queue, taken = Queue(waiting, workers=2), []
    for seconds in (None, sweeping.PARCEL_SECONDS / 4, 1e-9, 1e-9, 1e9):
        if seconds is not None:
            queue.learn(taken[0], seconds)
        taken.append(queue.take())
    sizes = [len(parcel.bundles) for parcel in taken]
    assert sizes == [1, 4, 7, 28 // 4, 1]  # speed unknown, a quarter, the mean with before, no more than a share, slow
    while queue:
        taken.append(queue.take())
    assert [bundle for parcel in taken for bundle in parcel.bundles] == waiting


def test_publishing_waits_a_second_and_longer_where_it_is_slow(tmp_path, monkeypatch):
    published, clock = [], [0.0]
    store = Store(tmp_path, "x")

    def publish(records):
        published.append(len(records))
        clock[0] += 2.0

    monkeypatch.setattr(store, "publish", publish)
    monkeypatch.setattr(sweeping.time, "monotonic", lambda: clock[0])
    publisher = Publisher(store)
    record = row(parsed([0])[0])
    for _ in range(30):
        clock[0] += 0.5
        publisher.add([record])
    assert published == [2, 20]  # after one second; and then after 2 s / PUBLISHING_SHARE


# ------------------------------------------------------------------ worker processes


def double(task):
    return os.getpid() if task == "who" else task * 2


def test_a_worker_that_dies_idle_is_replaced_and_costs_no_task():
    with workers.Workers(1, double) as hands:
        hands.give("who")
        (answer,) = wait_for(hands)
        os.kill(answer.result, signal.SIGKILL)
        while hands.workers[0].process.pid == answer.result:
            assert hands.answers(0.1) == []
        hands.give(21)
        (answer,) = wait_for(hands)
        assert (answer.task, answer.result, answer.death) == (21, 42, None)
    assert hands.workers == []


def wait_for(hands):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answers = hands.answers(0.1)
        if answers:
            return answers
    raise AssertionError("no answer in 20 s")


def test_workers_that_cannot_start_are_one_error_not_a_storm():
    with (
        pytest.raises(LabError, match="a worker process cannot start"),
        workers.Workers(1, double, ("no_such_module",)),
    ):
        pass


SCRIPT = """
import bpttlab as lab
summary = lab.sweep(
    [{"seed": seed, "sequence_length": 6, "cell": {"name": "elman", "hidden_size": 4}} for seed in range(3)],
    "x", workers=2, progress=False,
)
print(summary.tally.statuses["done"], lab.sweep is lab.sweep)
"""


def test_a_script_needs_no_main_guard_and_a_file_of_the_folder_is_not_taken_for_a_library(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    shadow = "raise SystemExit('a file of the current folder was imported')"
    (tmp_path / "secrets.py").write_text(shadow, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(places.PACKAGE.parent), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 True\n", "")


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    line = ["task=noise,adding", "seed=range(0,20)", "truncation=full,3", "sequence_length=40", "cell.hidden_size=8"]
    command = [sys.executable, "-m", "bpttlab", "sweep", "study=x", *line]
    environment = {**os.environ, "PYTHONPATH": str(places.PACKAGE.parent)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    for number, patience in [("KILL", 2.5), ("INT", 3.5), ("KILL", 3.0), ("TERM", 3.0)]:
        number = signal.Signals[f"SIG{number}"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True, **pipes)
        time.sleep(patience)
        if process.poll() is None:
            os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, complaints = process.communicate(timeout=30)
        assert b"Traceback" not in complaints
        assert process.returncode in (0, -number, 128 + number)
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    same = {"sequence_length": 40, "cell": {"name": "elman", "hidden_size": 8}}
    tasks = [{"name": "noise", "input_size": 4}, {"name": "adding"}]
    configurations = [
        point for task in tasks for point in points(range(20), ["full", 3], batch_size=8, task=task, **same)
    ]
    sweep(configurations, "whole", tmp_path / "results", workers=2, progress=False)
    for table in ("runs", "jacobians", "lag_terms", "truncations"):
        pieces, whole = (load(study, tmp_path / "results").table(table) for study in ("x", "whole"))
        pd.testing.assert_frame_equal(pieces, whole, check_exact=True)


def unstorable(configurations):
    """The rows of seed 1 have a column that no table has."""
    return [row(one, **({"nonsense": object()} if one.values.seed == 1 else {})) for one in configurations]


def test_rows_that_cannot_be_stored_fail_alone(tmp_path):
    store = Store(tmp_path, "first")
    tally = execute(parsed(range(3)), store, workers=0, progress=False, measure=unstorable)
    assert statuses(store) == {"done": 2, "failed": 1}
    assert {status: n for status, n in tally.statuses.items() if n} == {"done": 2, "failed": 1}
    assert any("nonsense" in reason for reason in tally.reasons)
    (error,) = load("first", tmp_path).runs["error"].dropna()
    assert "its rows cannot be stored" in error
