"""Of the commits that tell of a run one counts, whatever order they came in."""

from __future__ import annotations

import pytest

from bpttlab.errors import CollisionError
from bpttlab.store import identity
from bpttlab.store.store import Store
from tests.support.stored import MEASURES, RUNS, Run, configured, contents, finished, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_the_commit_names_its_siblings(here):
    here.publish([finished(0)])
    (commit,) = here.commits()
    assert [path.stem for path in shard_files(here, "runs")] == [commit.name]
    for table in ("provenance", *MEASURES):
        assert [path.stem for path in shard_files(here, table)] == list(commit.shards_of(table))


# ------------------------------------------------------------------ which run counts


def test_what_is_published_again_counts_once(here):
    here.publish(RUNS)
    once = contents(here)
    here.publish(RUNS[2:5])
    here.publish([RUNS[7]])
    assert contents(here) == once
    assert len(here.load().provenance) == len(RUNS)


def test_a_result_outranks_a_failure_whichever_came_first(here, tmp_path):
    other = Store(tmp_path / "results", "other")
    failed, done = finished(0, "failed", error="x"), finished(0)
    here.publish([failed, finished(1)])
    assert here.statuses()[failed.run_id] == "failed"
    here.publish([done])
    other.publish([done])
    other.publish([finished(1), failed])
    assert here.statuses()[failed.run_id] == other.statuses()[failed.run_id] == "done"
    assert contents(here) == contents(other)
    assert len(here.load().jacobians) == 12


def test_the_last_failure_is_the_one_told(here):
    errors = ["b", "a", "c", "a2"]
    for error in errors:
        here.publish([finished(0, "failed", error=error)])
        assert here.load().runs["error"].tolist() == [error]


def test_rows_come_from_the_commit_that_was_chosen(here, tmp_path):
    """Two writers with different results for one run: the same one is taken in any order, with its own rows only."""
    other = Store(tmp_path / "results", "other")
    one, two = [finished(0, loss=1.0), finished(1, loss=3.0)], [finished(2, loss=4.0), finished(0, loss=2.0)]
    for where, order in ((here, (one, two)), (other, (two, one))):
        for runs in order:
            where.publish(runs)
    assert contents(here) == contents(other)
    study = here.load()
    assert len(study.truncations) == 9
    losses = study.runs.set_index("run_id")["loss"]
    assert study.truncations["log_norm"].tolist() == losses[study.truncations["run_id"]].tolist()
    assert losses.nunique() == 3


# ------------------------------------------------------------------ collisions


def colliding(monkeypatch) -> tuple[Run, Run]:
    """Two runs with one id, of a hash of 8 bits."""
    monkeypatch.setattr(identity, "RUN_ID_BYTES", 1)
    seen: dict[str, int] = {}
    for seed in range(1000):
        first = seen.setdefault(identity.run_id(configured(seed)), seed)
        if first != seed:
            return finished(first), finished(seed)
    raise AssertionError("there are 256 ids only")


def test_a_collision_is_refused_with_both_configurations_named(here, monkeypatch):
    one, other = colliding(monkeypatch)
    here.publish([one])
    with pytest.raises(CollisionError) as planned:
        here.refuse_collisions({other.run_id: other.run["configuration"]})
    here.publish([other])
    for act in (here.load, here.statuses, here.configurations):
        with pytest.raises(CollisionError) as told:
            act()
        for message in (str(told.value), str(planned.value)):
            assert one.run_id in message
            assert one.run["configuration"] in message
            assert other.run["configuration"] in message
            assert "differ in" in message
            assert "seed" in message.split(":")[0]
            assert "\n" not in message


def test_what_is_stored_is_no_collision_with_itself(here):
    here.publish([finished(0)])
    here.refuse_collisions({run.run_id: run.run["configuration"] for run in (finished(0), finished(1))})
