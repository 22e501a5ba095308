"""The same table bytes, whoever computed them, in whatever order, in how many pieces, and whatever came in between."""

import contextlib
import os
import random
import signal
import subprocess
import time
from functools import partial
from itertools import pairwise

import pyarrow as pa
import pytest

from bpttlab.store import schema
from bpttlab.store.store import Store, load
from bpttlab.sweeps import stored_passes
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure_bundle
from bpttlab.sweeps.scheduler import execute, sweep
from tests.support.sweeps import command, from_the_shell

LINE = [
    "task=noise,adding",
    "seed=range(0,2)",
    "truncation=full,3",
    "sequence_length=20,41",
    "cell.hidden_size=130",  # large enough for BLAS to share a product between threads
    "batch_size=3",
    "measure.transient_lags=10",
]
POINTS = [
    {
        "task": task,
        "seed": seed,
        "truncation": K,
        "sequence_length": T,
        "cell": {"name": "elman", "hidden_size": 130},
        "batch_size": 3,
        "measure": {"transient_lags": 10},
    }
    for task in ({"name": "noise", "input_size": 4}, {"name": "adding"})
    for seed in (0, 1)
    for K in ("full", 3)
    for T in (20, 41)
]


def table_bytes(study, results):
    """Each table but `provenance`, as the bytes of an Arrow file."""
    found = load(study, results)
    return {name: frame_bytes(found.table(name)) for name in schema.TABLES if name != "provenance"}


def frame_bytes(frame):
    table, sink = pa.Table.from_pandas(frame, preserve_index=False), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return sink.getvalue().to_pybytes()


def differing(one, other):
    """The tables that differ; the bytes themselves would fill the screen."""
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tables of an uninterrupted sweep in this process, by the engine that a sweep has by default."""
    folder = tmp_path_factory.mktemp("whole")
    summary = sweep(POINTS, "x", folder, workers=0, progress=False)
    assert summary.tally.statuses == {"done": len(POINTS)}
    assert set(load("x", folder).runs["engine"]) == {"numba"}
    return table_bytes("x", folder)


@pytest.mark.compiles
def test_every_table_of_the_reference_has_rows(whole):
    assert set(whole) >= {"runs", "jacobians", "lag_terms", "truncations"}
    assert min(len(whole[name]) for name in ("runs", "jacobians", "lag_terms", "truncations")) > 10_000


@pytest.mark.compiles
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_shuffled_and_by_any_number_of_workers(tmp_path, whole, workers):
    sweep(random.Random(workers).sample(POINTS, len(POINTS)), "x", tmp_path, workers=workers, progress=False)
    assert differing(table_bytes("x", tmp_path), whole) == []


@pytest.fixture
def nothing_copied(monkeypatch):
    """Each run is computed, though others of its forward pass are stored."""
    monkeypatch.setattr(stored_passes, "deciding_facts", lambda engine: None)


@pytest.mark.compiles
def test_each_run_alone(tmp_path, whole, nothing_copied):
    for point in POINTS[::-1]:
        sweep([point], "x", tmp_path, workers=0, progress=False)
    assert differing(table_bytes("x", tmp_path), whole) == []


@pytest.mark.slow
@pytest.mark.compiles
@pytest.mark.parametrize(
    "requested",
    [
        {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "2"},
        pytest.param({"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2"}, marks=pytest.mark.slow),
    ],
)
def test_shell_ignores_thread_settings_of_the_environment(tmp_path, whole, requested):
    done = from_the_shell(tmp_path, "study=x", *LINE, **requested)
    assert done.returncode == 0, done.stderr
    assert differing(table_bytes("x", tmp_path / "results"), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "cells"),
    [
        ("numpy", {"elman": 130}),
        *(pytest.param("numba", {name: 9}, marks=pytest.mark.slow) for name in ("lstm", "gru")),
    ],
    ids=["numpy", "numba", "numba, another"],
)
def test_other_loops_keep_the_same_promises(tmp_path, nothing_copied, engine, cells):
    """In one piece, shuffled among workers, and each run alone."""
    points = [
        point | {"engine": engine, "cell": {"name": name, "hidden_size": size}}
        for point in POINTS
        if point["seed"] == 0
        for name, size in cells.items()
    ]
    sweep(points, "whole", tmp_path, workers=0, progress=False)
    sweep(random.Random(0).sample(points, len(points)), "shuffled", tmp_path, workers=2, progress=False)
    for point in points[::-1]:
        sweep([point], "alone", tmp_path, workers=0, progress=False)
    tables = table_bytes("whole", tmp_path)
    assert len(load("whole", tmp_path).runs.query("status == 'done'")) == len(points)
    assert differing(table_bytes("shuffled", tmp_path), tables) == []
    assert differing(table_bytes("alone", tmp_path), tables) == []


def stopping(bundles, configurations):
    """Measures, and asks this very process to stop when so many bundles are done."""
    bundles.append(len(configurations))
    if len(bundles) == 2:
        signal.raise_signal(signal.SIGINT)
    return measure_bundle(configurations)


@pytest.mark.compiles
def test_interrupted_and_continued(tmp_path, whole):
    configurations, rounds = parsed_points(), 0
    store = Store(tmp_path, "x")
    while left := [one for one in configurations if one.run_id not in store.statuses()]:
        execute(left, store, 0, False, partial(stopping, []))
        rounds += 1
    assert rounds > 1
    assert differing(table_bytes("x", tmp_path), whole) == []


def parsed_points():
    return [Configuration.parse(point) for point in POINTS]


# ------------------------------------------------------------------ killed again and again


LONG = [
    "task=noise,adding",
    "seed=range(0,90)",
    "truncation=full,3",
    "sequence_length=60",
    "cell.hidden_size=24",
    "measure.transient_lags=20",
    "engine=numpy",  # slow enough to be killed ten times
]


def files(folder, *tables):
    """The shards and temporary files of some tables."""
    found = set()
    for table in tables:
        with contextlib.suppress(FileNotFoundError):
            found |= {f"{table}/{name}" for name in os.listdir(folder / table)}
    return found


def wait_until(condition, process, seconds=60.0):
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline and not condition():
        time.sleep(0.0005)  # publishing takes some milliseconds


def moment(phase, rng, process, store):
    """Waits for a moment of a phase: while it starts, computes, or is half way through publishing."""
    siblings = [table for table in schema.TABLES if table != "runs"]
    if phase == "start":
        time.sleep(rng.uniform(0.3, 2.5))
    elif phase == "computing":
        before = files(store, "runs")
        wait_until(lambda: files(store, "runs") - before, process)
        time.sleep(rng.uniform(0.0, 1.0))
    else:
        before = files(store, *siblings)
        wait_until(lambda: files(store, *siblings) - before, process)
        time.sleep(rng.choice([0.0, 0.001, 0.003]))


@pytest.mark.slow
def test_sweep_killed_at_ten_moments_ends_with_same_bytes(tmp_path):
    rng, results, half_published = random.Random(2024), tmp_path / "results", 0
    words, environment = command("study=x", *LONG)
    store, done, ended = results / "x" / "store", [0], []
    phases = ["start", "computing", "publishing", "publishing", "start", "computing", "publishing", "start"]
    signals = ["KILL", "KILL", "KILL", "TERM", "INT", "INT", "INT", "TERM", "KILL", "TERM"]
    phases += ["computing", "publishing", *["publishing"] * 8]  # the last ones: on a busy machine a moment is missed
    for number_of_kill, (phase, name) in enumerate(zip(phases, [*signals, *["KILL"] * 8], strict=True)):
        if number_of_kill >= len(signals) and half_published:
            break
        number = signal.Signals[f"SIG{name}"]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(words, cwd=tmp_path, env=environment, start_new_session=True, **pipes)
        moment(phase, rng, process, store)
        if process.poll() is None:
            os.killpg(process.pid, number)
        _, complaints = process.communicate(timeout=60)
        assert b"Traceback" not in complaints, complaints.decode()
        assert process.returncode in (0, -number, 128 + number)
        ended.append(process.returncode)
        done.append(len(Store(results, "x").statuses()))
        named = {
            f"{table}/{one}.parquet"
            for c in Store(results, "x").commits()
            for table in c.siblings
            for one in c.shards_of(table)
        }
        half_published += bool(files(store, *(table for table in schema.TABLES if table != "runs")) - named)
    assert 0 not in ended, "it was done before it could be killed"
    assert half_published, "none was killed half way through publishing"
    assert all(before <= after for before, after in pairwise(done)), "what was done is no longer"
    last = from_the_shell(tmp_path, "study=x", *LONG)
    assert last.returncode == 0, last.stderr
    assert from_the_shell(tmp_path, "study=whole", *LONG).returncode == 0
    assert set(load("x", results).runs["status"]) == {"done"}
    assert differing(table_bytes("x", results), table_bytes("whole", results)) == []
