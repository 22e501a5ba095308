"""Commits chain: one that was deleted is told, with its runs, and nothing is told that never was."""

import itertools
import os
import pickle
import random
import warnings

import pytest

from bpttlab import processes
from bpttlab.errors import DamageWarning
from bpttlab.store import chain
from bpttlab.store.store import Store
from tests.support.stored import damage_by_flipping, finished, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")


def publish_each(here, count=4):
    """The commits of as many runs, in order: name -> run id."""
    found = {}
    for seed in range(count):
        here.publish([finished(seed)])
        (name,) = {path.stem for path in shard_files(here, "runs")} - set(found)
        found[name] = finished(seed).run_id
    return found


def delete(here, name):
    (here.path / "store" / "runs" / f"{name}.parquet").unlink()


def survey(here):
    return Store(here.root, "first").survey()[1]


@pytest.mark.parametrize(
    "deleted",
    [
        pytest.param(some, marks=[pytest.mark.slow] if n == 2 else [])
        for n in (1, 2, 3)
        for some in itertools.combinations(range(4), n)
    ],
    ids=str,
)
def test_every_deleted_commit_is_told_with_its_runs(here, deleted):
    commits = publish_each(here)
    lost = [name for place, name in enumerate(commits) if place in deleted]
    for name in lost:
        delete(here, name)
    damage = survey(here)
    assert set(damage.runs) == {commits[name] for name in lost}
    assert not damage.faults
    with pytest.warns(DamageWarning, match="missing"):
        assert len(Store(here.root, "first").load().runs) == 4 - len(lost)


def test_the_only_commit_of_a_study_is_told(here):
    (name,) = publish_each(here, 1)
    delete(here, name)
    assert list(survey(here).missing) == [f"store/runs/{name}.parquet"]


def test_a_launch_computes_the_runs_of_a_deleted_commit_again(here):
    commits = publish_each(here)
    delete(here, list(commits)[1])
    again = Store(here.root, "first")
    assert set(again.statuses()) == set(commits.values()) - {list(commits.values())[1]}
    again.publish([finished(1)])
    assert not survey(here)


def test_shards_of_a_deleted_commit_are_kept_to_tell_its_runs(here, monkeypatch):
    commits = publish_each(here)
    delete(here, list(commits)[1])
    monkeypatch.setattr(processes, "find_state", lambda name: processes.ENDED)
    assert Store(here.root, "first").sweep_up() == []
    assert survey(here).runs == (list(commits.values())[1],)


def test_writers_and_copies_have_chains_of_their_own(here):
    here.publish([finished(0)])
    other, copy = Store(here.root, "first"), pickle.loads(pickle.dumps(here))
    for seed, writer in enumerate([other, copy, here, other], 1):
        writer.publish([finished(seed)])
    assert len({commit.place.writer for commit in here.commits()}) == 3
    assert sorted(commit.place.number for commit in here.commits()) == [1, 1, 1, 2, 2]
    assert not survey(here)


def test_a_forked_process_begins_a_chain(here, monkeypatch):
    here.publish([finished(0)])
    monkeypatch.setattr(os, "getpid", lambda: 1)
    here.publish([finished(1)])
    assert [commit.place.number for commit in here.commits()] == [1, 1]


def test_a_writer_killed_before_its_record_left_no_fault(here, monkeypatch):
    here.publish([finished(0)])
    monkeypatch.setattr(chain, "write_head", lambda *_: None)
    here.publish([finished(1)])
    assert not survey(here)


def test_publishing_that_failed_leaves_no_gap(here, monkeypatch):
    here.publish([finished(0)])
    with monkeypatch.context() as patch:
        patch.setattr(here, "_make_sure", _fail)
        with pytest.raises(OSError, match="no space"):
            here.publish([finished(1)])
    here.publish([finished(1), finished(2)])
    assert not survey(here)


def _fail(shards):
    raise OSError("no space")


def test_a_damaged_record_of_a_writer_is_named(here):
    publish_each(here, 2)
    (path,) = (here.path / "commits").iterdir()
    sound = path.read_bytes()
    for seed in range(25):
        damage_by_flipping(path, random.Random(seed))
        assert list(survey(here).faults) == [f"commits/{path.name}"]
        path.write_bytes(sound)


def test_readers_beside_a_writer_miss_no_commit(here, monkeypatch):
    """Between the listing of commits and the record of the last one a writer goes on."""
    here.publish([finished(0)])
    reader, real, seeds = Store(here.root, "first"), os.listdir, iter(range(1, 50))

    def list_late(folder):
        found = real(folder)
        if str(folder).endswith(("runs", "commits")):
            here.publish([finished(next(seeds))])
        return found

    monkeypatch.setattr(os, "listdir", list_late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            reader.load()


def test_a_listing_that_leaves_one_out_misses_no_commit(here, monkeypatch):
    """A folder that is read while it is written may show a file and not an older one."""
    commits = publish_each(here)
    real, left_out = os.listdir, {f"{name}.parquet" for name in list(commits)[1:3]}

    def list_some(folder):
        found = [name for name in real(folder) if name not in left_out]
        if str(folder).endswith("runs"):
            left_out.clear()
        return found

    monkeypatch.setattr(os, "listdir", list_some)
    assert not survey(here)
