"""Sweeps: what is stored is not computed again, a run that fails or kills its worker takes nothing along."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from functools import partial

import pytest
from threadpoolctl import threadpool_limits

from bpttlab import resources
from bpttlab.errors import StoreError
from bpttlab.store.store import Store, load
from bpttlab.sweeps import blas_threads, fork_server, interruption, jobs, scheduler, worker_pool
from bpttlab.sweeps.jobs import Job, Queue
from bpttlab.sweeps.plan import Options, plan
from bpttlab.sweeps.progress import Progress
from bpttlab.sweeps.scheduler import Publisher, Summary, execute, sweep
from bpttlab.sweeps.worker_pool import Limits
from tests.support.sweeps import (
    counting,
    faulty,
    greedy,
    interrupting,
    one_culprit,
    parsed,
    points,
    row,
    statuses,
    threads_of_blas,
)

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


def test_every_failure_is_a_row_and_others_finish(tmp_path):
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


def test_run_beyond_a_limit_fails_by_its_name(tmp_path):
    store, limits = Store(tmp_path, "x"), Limits(seconds=0.7, memory=1.0)
    tally = execute(parsed(range(5), ["full", 2]), store, 2, False, partial(greedy, 4.0), limits)
    assert tally.statuses == {"done": 6, "failed": 4}
    runs = load("x", tmp_path).runs
    reasons = runs.dropna(subset="error").groupby("seed")["error"].unique()
    (late,), (greedier,) = reasons[1], reasons[2]
    assert list(reasons.index) == [1, 2]
    assert late == "took longer than time_limit=0.7 (seconds)"
    assert greedier.startswith("would take more than memory_limit=1 (GiB): Unable to allocate 4.00 GiB")
    planned = plan(points(range(5), ["full", 2]), Options("x", str(tmp_path), retry="failed"))
    assert sorted(run.values.seed for run in planned.to_do) == [1, 1, 2, 2]
    tally = execute(planned.to_do, store, 2, False, partial(counting, str(tmp_path)))
    assert (tally.statuses, statuses(store)) == ({"done": 4}, {"done": 10})
    assert load("x", tmp_path).runs["error"].isna().all()


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


def test_failed_runs_stay_until_they_are_retried(tmp_path):
    first = sweep(points([0, 1]), "x", tmp_path, workers=0, progress=False)
    (run_id, _) = first.plan.runs
    Store(tmp_path, "y").publish([jobs.failed_records(first.plan.runs[run_id], "power cut")])
    left = sweep(points([0, 1]), "y", tmp_path, workers=0, progress=False)
    assert (left.tally.statuses, left.failed_before, left.exit_code) == ({"done": 1}, 1, 1)
    nothing = sweep(points([0, 1]), "y", tmp_path, workers=0, progress=False)
    assert (nothing.tally.statuses, nothing.exit_code) == ({}, 1)
    assert nothing.lines()[0] == "nothing to do: 1 done, 1 failed before"
    again = sweep(points([0, 1]), "y", tmp_path, workers=0, retry="failed", progress=False)
    assert (again.tally.statuses, again.exit_code) == ({"done": 1}, 0)
    assert statuses(Store(tmp_path, "y")) == {"done": 2}


@pytest.mark.parametrize("count", [0, 1])
def test_runs_use_one_blas_thread_and_caller_keeps_its_own(tmp_path, monkeypatch, count):
    for name in blas_threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    (tmp_path / "marks").mkdir()
    with threadpool_limits(2):
        execute(parsed(range(2)), Store(tmp_path, "x"), count, False, partial(counting, str(tmp_path / "marks")))
        assert threads_of_blas() == 2
    assert set(load("x", tmp_path).provenance["blas_threads"]) == {1}
    left = {name: os.environ[name] for name in blas_threads.VARIABLES if name in os.environ}
    assert left == {"OPENBLAS_NUM_THREADS": "2"}


def test_interrupted_sweep_keeps_results_and_continues(tmp_path):
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
    with interruption.interruption() as heard:
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_the_workers_start_leaves_none_of_them(tmp_path, monkeypatch):
    start = worker_pool.Workers.start

    def interrupted(self):
        signal.raise_signal(signal.SIGINT)
        return start(self)

    monkeypatch.setattr(worker_pool.Workers, "start", interrupted)
    signals = signal.signal(signal.SIGINT, lambda *_: None)  # the second worker's, which would be abrupt
    try:
        tally = execute(parsed(range(4)), Store(tmp_path, "x"), 2, False)
    finally:
        signal.signal(signal.SIGINT, signals)
    assert (tally.interrupted, tally.statuses, multiprocessing.active_children()) == (signal.SIGINT, {}, [])


@pytest.mark.parametrize("signalled", [True, False])
def test_workers_ended_by_a_signal_are_an_interruption(tmp_path, monkeypatch, signalled):
    store, before = Store(tmp_path, "x"), worker_pool.Workers.give

    def give(self, task, seconds=None):
        if store.statuses():
            if signalled:
                signal.raise_signal(signal.SIGTERM)
            raise fork_server.StartError("no worker")
        return before(self, task, seconds)

    monkeypatch.setattr(worker_pool.Workers, "give", give)
    monkeypatch.setattr(scheduler, "PUBLISHING_SECONDS", 0.0)
    if signalled:
        tally = execute(parsed(range(9)), store, 1, False)
        assert (tally.interrupted, tally.statuses) == (signal.SIGTERM, statuses(store))
    else:
        with pytest.raises(fork_server.StartError, match="no worker"):
            execute(parsed(range(9)), store, 1, False)
    assert statuses(store)["done"] > 0


def test_ctrl_c_while_publishing_does_not_disturb_it(tmp_path, monkeypatch):
    store, put = Store(tmp_path, "x"), Store._put

    def interrupted(self, table, data):
        if not heard:
            heard.append(table)
            signal.raise_signal(signal.SIGINT)
        return put(self, table, data)

    heard = []
    monkeypatch.setattr(Store, "_put", interrupted)
    monkeypatch.setattr(scheduler, "PUBLISHING_SECONDS", 0.0)
    tally = execute(parsed(range(4)), store, 0, False)
    assert (tally.interrupted, tally.statuses) == (signal.SIGINT, {"done": 1})
    assert statuses(store) == {"done": 1}
    assert store.verify() > 1


def test_progress_counts_what_is_stored_and_nothing_else(tmp_path, monkeypatch):
    store, counted = Store(tmp_path, "x"), []
    add = Progress.add

    def compare(self, more):
        add(self, more)
        counted.append((Counter(self.statuses), statuses(store)))

    monkeypatch.setattr(Progress, "add", compare)
    monkeypatch.setattr(scheduler, "PUBLISHING_SECONDS", 0.05)
    execute(parsed(range(40)), store, 2, False)
    assert len(counted) > 1
    assert all(shown == stored for shown, stored in counted)


def test_signals_are_left_alone_outside_the_main_thread():
    heard = []
    thread = threading.Thread(target=lambda: heard.append(interruption.interruption().__enter__()))
    thread.start()
    thread.join()
    assert heard == [[]]


def test_unwritable_results_are_refused_before_computing(tmp_path):
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match="results"):
        sweep(points([0]), "x", tmp_path / "results", workers=0, progress=False)


# ------------------------------------------------------------------ jobs


def test_after_a_death_runs_are_tried_alone():
    one, other = parsed([0], ["full", 2]), parsed([1])
    job = Job((tuple(one), tuple(other)))
    assert job.smaller() == [Job((tuple(one),)), Job((tuple(other),))]
    assert Job((tuple(one),)).smaller() == [Job(((run,),)) for run in one]
    assert Job((tuple(other),)).smaller() == [Job((tuple(other),), 1)]
    assert Job((tuple(other),), 1).smaller() == []
    assert job.smaller(late=True) == job.smaller()
    assert Job((tuple(other),)).smaller(late=True) == []


def test_bundle_has_the_time_of_its_runs():
    one, other = tuple(parsed([0], ["full", 2, 3])), tuple(parsed([1]))
    assert Job((one,)).seconds(5.0) == 15.0
    assert Job((one, other)).seconds(5.0) == 15.0 + 4 * jobs.JOB_SECONDS
    assert Job((one,)).seconds(None) is None


def test_jobs_grow_with_the_speed_and_leave_work_for_everybody():
    waiting = [(run,) for run in parsed(range(40))]
    queue, taken = Queue(waiting, workers=2), []
    for seconds in (None, jobs.JOB_SECONDS / 4, 1e-9, 1e-9, 1e9):
        if seconds is not None:
            queue.learn(taken[0], seconds)
        taken.append(queue.take())
    sizes = [len(job.bundles) for job in taken]
    assert sizes == [1, 4, 7, 28 // 4, 1]  # speed unknown, a quarter, the mean with before, no more than a share, slow
    while queue:
        taken.append(queue.take())
    assert [bundle for job in taken for bundle in job.bundles] == waiting


def test_publishing_waits_a_second_and_longer_where_it_is_slow(tmp_path, monkeypatch):
    published, clock = [], [0.0]
    store = Store(tmp_path, "x")

    def publish(finished):
        published.append(finished.runs.num_rows)
        clock[0] += 2.0

    monkeypatch.setattr(store, "publish_rows", publish)
    monkeypatch.setattr(scheduler.time, "monotonic", lambda: clock[0])
    publisher = Publisher(store)
    finished = jobs.as_rows([row(parsed([0])[0])])
    for _ in range(30):
        clock[0] += 0.5
        publisher.add(finished)
    assert published == [2, 20]  # after one second; and then after 2 s / PUBLISHING_SHARE


def test_stored_runs_are_not_published_again_after_an_error(tmp_path, monkeypatch):
    published = []

    def refuse(commit, finished):
        raise StoreError(f"{commit} cannot be returned")

    store = Store(tmp_path, "x")
    monkeypatch.setattr(store, "publish_rows", lambda finished: published.append(finished) or "a lease")
    publisher = Publisher(store, refuse)
    publisher.add(jobs.as_rows([row(parsed([0])[0])]))
    with pytest.raises(StoreError, match="a lease cannot be returned"):
        publisher.publish()
    publisher.publish()
    assert len(published) == 1


SCRIPT = """
import bpttlab as lab
summary = lab.sweep(
    [{"seed": seed, "sequence_length": 6, "cell.hidden_size": 4, "engine": "numpy"} for seed in range(3)],
    "x", workers=2, progress=False,
)
print(summary.tally.statuses["done"], lab.sweep is lab.sweep)
"""


def test_script_needs_no_main_guard(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    shadow = "raise SystemExit('a file of the current folder was imported')"
    (tmp_path / "secrets.py").write_text(shadow, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(resources.PACKAGE.parent), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 True\n", "")


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
