"""What is counted after a kill, and which processes are looked for."""

import os
import subprocess
import sys

import numpy as np
import pytest

from faults import kills, studies
from faults.children import Ended

WHOLE = studies.Found({}, {"a": "done", "b": "done"})


def judge(ended, stored, before=0, left=False):
    found = studies.Found({}, dict.fromkeys(stored, "done"))
    return list(kills.judge(ended, left, before, found, WHOLE))


def test_the_most_runs_that_were_reported_count():
    said = f"3 of {kills.RUNS} runs, 2 runs/s\n7 of {kills.RUNS} runs, 2 runs/s\n"
    assert kills.count_reported(said) == 7
    assert kills.count_reported("8 runs computed in 1 s: 8 done") == 8
    assert kills.count_reported("") == 0


def test_a_reported_run_that_is_not_stored_is_lost():
    said = f"2 of {len(WHOLE.statuses)} runs, 2 runs/s"
    assert judge(Ended(-9, said), "ab") == []
    assert judge(Ended(-9, said), "a") == ["2 runs were reported as done, 1 were stored"]
    assert judge(Ended(-9, said), "ab", before=1) == ["2 runs were reported as done, 1 were stored"]


def test_a_sweep_that_ends_early_by_itself_is_lost():
    assert judge(Ended(0, ""), "ab") == []
    assert "exit code 0" in judge(Ended(0, ""), "a")[0]
    assert "exit code 1" in judge(Ended(1, ""), "ab")[0]


def test_workers_that_are_left_are_lost():
    assert "workers are left" in judge(Ended(-9, ""), "ab", left=True)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("code", ["input()", "while True: pass"])
def test_processes_that_wait_or_compute_on_are_left(code, monkeypatch):
    monkeypatch.setattr(kills, "MOST_SILENCE", 0.3)
    monkeypatch.setattr(kills, "MOST_PROCESSOR", 0.1)
    environment = {**os.environ, kills.MARK: "here"}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE) as process:
        while not kills.has_survivors("here"):
            pass
        assert process.wait() == -9
    assert not kills.has_survivors("here")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_processes_that_end_by_themselves_are_not_left():
    environment = {**os.environ, kills.MARK: "there"}
    with subprocess.Popen([sys.executable, "-c", "print(1)"], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"1\n"
        assert not kills.has_survivors("there")


def test_most_kills_are_while_publishing():
    random = np.random.default_rng(0)
    chosen = [kills.choose(random, True) for _ in range(100)]
    assert 60 < sum(one.call is not None for one in chosen) < 90
    assert all(kills.choose(random, False).call is None for _ in range(20))
