"""A model beside the store: random steps of several processes and of damage; each planted fault is found."""

import os
import sys
from dataclasses import replace

import pytest

from bpttlab.store.damage import Damage
from bpttlab.store.store import Store
from bpttlab.sweeps import scheduler
from bpttlab.training import checkpoints
from faults import model
from faults.store_machine import StoreMachine
from faults.training_machine import TrainingMachine
from faults.trainings import NOT_STOPPED, SEEDS, Stop, list_checkpoints

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors have names in /proc on Linux")


def find(count, steps, seed=0, machine=StoreMachine):
    return list(model.find_failure(model.tried_settings(count, steps, shrink=False), seed, steps=machine))


def find_first(seeds=8):
    """What the first seed finds that finds something: examples differ between versions of Hypothesis."""
    return next(filter(None, (find(20, 12, seed) for seed in range(seeds))))


def test_the_store_is_what_the_model_says():
    assert find(6, 10) == []


def test_neither_names_nor_a_clock_choose_the_file_to_hurt():
    machine, published = StoreMachine(), []
    for seed in range(6):
        machine.publish(0, [seed], "done")
        published += [path for path in machine.commits[-1].files if path.parent.name == "runs"]
    for path in published:
        os.utime(path, ns=(0, 0))
    assert [path for path in machine.list_files() if path.parent.name == "runs"] == published
    machine.teardown()


@pytest.mark.slow
def test_damage_that_nobody_is_told_of_is_found(monkeypatch):
    monkeypatch.setattr(Damage, "warn", lambda self: None)
    (found,) = find_first()
    assert "nothing is said" in found or "has the rows" in found or "must be" in found
    assert "state.publish" in found
    assert "reproduce_failure" in found


def test_a_commit_before_its_shards_is_found(monkeypatch):
    put, waiting = Store._put, {}

    def put_late(self, path, data):
        if path.parent.name != "runs":
            waiting.setdefault(self.root, []).append((path, data))
            return
        put(self, path, data)
        for late in waiting.pop(self.root, []):
            put(self, *late)

    monkeypatch.setattr(Store, "_put", put_late)
    monkeypatch.setattr(Store, "_make_sure", lambda self, shards: None)
    assert find_first()


# ------------------------------------------------------------------ trainings


def test_trainings_are_what_the_model_says():
    assert find(3, 8, machine=TrainingMachine) == []


@pytest.fixture
def machine():
    made = TrainingMachine()
    yield made
    made.teardown()


def test_a_training_that_is_killed_goes_on(machine):
    machine.train(SEEDS[0], Stop("kill", 3))
    assert list_checkpoints(machine.root, SEEDS[0])
    machine.train_while_another_takes_over(SEEDS[0], 90, NOT_STOPPED)
    assert list_checkpoints(machine.root) == []


def test_a_training_that_begins_again_is_found(machine, monkeypatch):
    machine.train(SEEDS[0], Stop("interrupt", 3))
    monkeypatch.setattr(checkpoints.CheckpointFolder, "find", lambda self, wanted: None)
    with pytest.raises(AssertionError, match="goes on after update 0, and not after 3"):
        machine.train(SEEDS[0], NOT_STOPPED)


def test_a_training_that_loses_its_optimizer_is_found(machine, monkeypatch):
    restore = checkpoints.restore_state

    def forget(prefix, arrays):
        state = restore(prefix, arrays)
        return replace(state, optimizer=replace(state.optimizer, updates=0))

    machine.train(SEEDS[0], Stop("kill", 3))
    monkeypatch.setattr(checkpoints, "restore_state", forget)
    with pytest.raises(AssertionError, match="is not whole"):
        machine.train(SEEDS[0], NOT_STOPPED)
    machine.teardown = lambda: None


def test_checkpoints_that_are_left_are_found(machine, monkeypatch):
    monkeypatch.setattr(scheduler, "remove_old_checkpoints", lambda runs, store: None)
    with pytest.raises(AssertionError, match="checkpoints are left"):
        machine.train(SEEDS[0], NOT_STOPPED)


def test_a_failure_that_comes_and_goes_is_told_whole():
    inner = AssertionError("run 3 must be there")
    inner.add_note("state.publish(...)")
    told = list(model.describe_error(ExceptionGroup("inconsistent", [ExceptionGroup("once", [inner])])))
    assert told[0].startswith("ExceptionGroup: inconsistent")
    assert told[-2:] == ["AssertionError: run 3 must be there", "state.publish(...)"]
