"""Several launchers of one study: each run is computed once, whoever ends, waits or is killed."""

import threading
import time
from collections import Counter
from functools import partial

import pytest

from bpttlab.cli import main
from bpttlab.store import leases
from bpttlab.store.leases import FOLDER, Leases
from bpttlab.store.store import Store
from bpttlab.sweeps import scheduler
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.division import Division, share_name
from bpttlab.sweeps.jobs import failed_records
from bpttlab.sweeps.plan import Options, bundles, plan
from bpttlab.sweeps.scheduler import Summary, execute
from tests.support.commandline import SMALL
from tests.support.sweeps import counting, parsed, points, row, statuses


def slow(folder, configurations):
    time.sleep(0.005)
    return counting(folder, configurations)


def together(tasks):
    """The results of functions that run at the same time."""
    results = {}
    threads = [threading.Thread(target=lambda at=at, one=one: results.update({at: one()})) for at, one in tasks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def marks(tmp_path):
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def test_launchers_that_start_together_compute_every_run_once(tmp_path, marks):
    configurations, measure = parsed(range(20), ["full", 2]), partial(slow, str(marks))
    launch = partial(execute, configurations, workers=0, progress=False, measure=measure)
    tallies = together({name: partial(launch, Store(tmp_path, "x")) for name in "ab"})
    assert Counter(path.suffix for path in marks.iterdir()) == {".0": 40}
    assert statuses(Store(tmp_path, "x")) == {"done": 40}
    assert tallies["a"].statuses == tallies["b"].elsewhere
    assert tallies["b"].statuses == tallies["a"].elsewhere
    assert min(tally.statuses["done"] for tally in tallies.values()) > 0
    assert not (tmp_path / "x" / FOLDER).exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_launcher_alone_waits_for_nobody(tmp_path, marks, monkeypatch, workers):
    commits = []
    monkeypatch.setattr(scheduler.time, "sleep", lambda seconds: pytest.fail("waited"))
    monkeypatch.setattr(scheduler, "PUBLISHING_SECONDS", 1e6)
    note = Division.note_commit
    monkeypatch.setattr(Division, "note_commit", lambda *given: commits.append(note(*given)))
    execute(parsed(range(12)), Store(tmp_path, "x"), workers, False, partial(counting, str(marks)))
    assert statuses(Store(tmp_path, "x")) == {"done": 12}
    assert len(commits) == 1


def test_launchers_of_other_lines_share_what_they_have_in_common(tmp_path, marks):
    measure = partial(slow, str(marks))
    lines = {"a": parsed(range(12), ["full", 2]), "b": parsed(range(6, 18), [2, 3])}
    together({name: partial(execute, runs, Store(tmp_path, "x"), 0, False, measure) for name, runs in lines.items()})
    assert Counter(path.suffix for path in marks.iterdir()) == {".0": 42}
    assert statuses(Store(tmp_path, "x")) == {"done": 42}


def test_a_launcher_waits_for_a_share_that_another_has(tmp_path, marks):
    store, configurations = Store(tmp_path, "x"), parsed(range(3))
    with Leases(store.path) as other:
        assert other.take(share_name(configurations[0]))
        launched = threading.Thread(
            target=execute, args=(configurations, store, 0, False, partial(counting, str(marks)))
        )
        launched.start()
        time.sleep(0.6)
        assert launched.is_alive()
        assert statuses(Store(tmp_path, "x")) == {"done": 2}
        Store(tmp_path, "x").publish([row(configurations[0])])
        other.release([share_name(configurations[0])])
        launched.join(30)
    assert Counter(path.suffix for path in marks.iterdir()) == {".0": 2}


def test_the_shares_of_a_silent_launcher_are_taken_over(tmp_path, marks, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    store, configurations = Store(tmp_path, "x"), parsed(range(3))
    (store.path / FOLDER).mkdir(parents=True)
    for one in configurations[:2]:
        (store.path / FOLDER / f"{share_name(one)}.lease").write_text("d" * 32)
    (store.path / FOLDER / f"{'d' * 32}.launcher").write_text("{}")
    execute(configurations, store, 0, False, partial(counting, str(marks)))
    assert statuses(Store(tmp_path, "x")) == {"done": 3}
    assert not (store.path / FOLDER).exists()


def test_a_failure_elsewhere_is_a_failure_of_the_sweep(tmp_path):
    planned = plan(points([0, 1]), Options("x", str(tmp_path)))
    Store(tmp_path, "x").publish([row(planned.to_do[0])])
    with Leases(tmp_path / "x") as held:
        division = Division(bundles(planned.to_do), Store(tmp_path, "x"), held)
        assert (division.left, division.elsewhere) == (1, {"done": 1})
        Store(tmp_path, "x").publish([failed_records(planned.to_do[1], "power cut")])
        assert division.take(5) == []
        assert (division.left, division.elsewhere) == (0, {"done": 1, "failed": 1})
    tally = execute(planned.to_do[:1], Store(tmp_path, "x"), 0, False)
    tally.elsewhere.update(division.elsewhere)
    assert Summary(planned, tally, tmp_path).exit_code == 1


def test_earlier_failure_is_retried_on_request(tmp_path, marks):
    (one,) = parsed([0])
    Store(tmp_path, "x").publish([failed_records(one, "power cut")])
    planned = plan(points([0]), Options("x", str(tmp_path), retry="failed"))
    execute(planned.to_do, Store(tmp_path, "x"), 0, False, partial(counting, str(marks)))
    assert statuses(Store(tmp_path, "x")) == {"done": 1}


def test_share_of_a_run_depends_on_its_network_and_data():
    runs = parsed(range(2), ["full", 2, 3])
    assert len({share_name(one) for one in runs}) == 2
    assert {len(share_name(one)) for one in runs} == {3}


def test_a_sweep_says_how_much_others_have_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["sweep", "study=first", "seed=range(0,4)", *SMALL]
    assert main([*line, "--dry-run"]) == 0
    assert "launcher" not in capsys.readouterr().out
    sizes = {"sequence_length": 8, "cell": {"name": "elman", "hidden_size": 4}, "batch_size": 2}
    small = {**sizes, "seed": 3, "engine": "numpy"}
    with Leases(tmp_path / "results" / "first") as other:
        assert main([*line, "--dry-run"]) == 0
        assert "1 other launcher works on this study, and has taken 0 of these runs" in capsys.readouterr().out
        assert other.take(share_name(Configuration.parse(small)))
        assert main([*line, "--dry-run"]) == 0
        assert "1 other launcher works on this study, and has taken 1 of these runs" in capsys.readouterr().out
