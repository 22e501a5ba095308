"""A model beside the store: random steps of several processes and of damage; each planted fault is found."""

import os
import sys

import pytest

from bpttlab.store.damage import Damage
from bpttlab.store.store import Store
from faults import model, store_machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors have names in /proc on Linux")


def find(count, steps, seed=0):
    return list(model.find_failure(model.tried_settings(count, steps, shrink=False), seed))


def find_first(seeds=8):
    """What the first seed finds that finds something: examples differ between versions of Hypothesis."""
    return next(filter(None, (find(20, 12, seed) for seed in range(seeds))))


def test_the_store_is_what_the_model_says():
    assert find(6, 10) == []


def test_neither_names_nor_a_clock_choose_the_file_to_hurt():
    machine, published = store_machine.StoreMachine(), []
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
