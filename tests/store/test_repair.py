"""A repair sets aside what is damaged and nothing else; afterwards the same runs make the study whole."""

import os
import random

import pytest

from bpttlab.errors import DamageWarning, StoreError
from bpttlab.store import repairs, store, sweep_requests
from bpttlab.store.store import Store, repair
from tests.support.stored import RUNS, contents, damage_by_flipping, finished, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def whole(here):
    """Four commits of two runs; the bytes of their tables."""
    for begin in range(0, 8, 2):
        here.publish(RUNS[begin : begin + 2])
    sweep_requests.write_request(here, "bpttlab sweep x", [run.run_id for run in RUNS])
    return contents(here)


def files(here):
    """What there is, without what a repair made."""
    folder = here.path / repairs.DAMAGED_FOLDER
    return {path for path in here.path.rglob("*") if path.is_file() and folder not in path.parents}


def flip(path):
    damage_by_flipping(path, random.Random(1))


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def swap(path):
    other = next(one for one in path.parent.iterdir() if one != path)
    path.write_bytes(other.read_bytes())


def replace_by_link(path):
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


DAMAGE = [flip, cut, swap, os.unlink, replace_by_link, replace_by_folder, replace_by_pipe]


def compute_missing(here):
    """What the same sweep line does: exactly the runs that are not stored."""
    store = Store(here.root, "first")
    missing = [run for run in RUNS if run.run_id not in store.statuses()]
    store.publish(missing)
    return {run.run_id for run in missing}


def each_damage():
    """Two kinds to the table of runs, one to another one; the others are slow tests."""
    for damage in DAMAGE:
        for table in ("runs", "jacobians", "provenance", "bias_bounds"):
            quick = damage in {"runs": (flip, os.unlink), "jacobians": (os.unlink,)}.get(table, ())
            yield pytest.param(damage, table, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("damage", "table"), list(each_damage()))
def test_after_a_repair_the_same_runs_make_the_study_whole(here, whole, damage, table):
    commit = next(one for one in here.commits() if table in one.siblings or table == "runs")
    name = commit.name if table == "runs" else commit.shards_of(table)[0]
    damage(here.path / "store" / table / f"{name}.parquet")
    done = repair("first", here.root)
    assert set(done.runs) == set(commit.run_ids)
    assert not repair("first", here.root)
    assert not Store(here.root, "first").survey()[1]
    assert compute_missing(here) == set(commit.run_ids)
    assert contents(Store(here.root, "first")) == whole
    Store(here.root, "first").verify()


def test_nothing_is_deleted_and_a_record_says_why(here, whole):
    commit = next(one for one in here.commits() if "jacobians" in one.siblings)
    flip(here.path / "store" / "jacobians" / f"{commit.shards_of('jacobians')[0]}.parquet")
    before = {path.relative_to(here.path): path.read_bytes() for path in files(here)}
    repair("first", here.root)
    folder = here.path / repairs.DAMAGED_FOLDER
    aside = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}
    left = {path.relative_to(here.path): path.read_bytes() for path in files(here)}
    assert before == aside | left
    assert len(aside) == 1 + sum(map(len, commit.siblings.values()))
    (record,) = folder.glob("*.json")
    assert "its bytes are not those that were published" in record.read_text()


def test_a_dry_run_changes_nothing(here, whole):
    flip(shard_files(here, "runs")[0])
    before = sorted(here.root.rglob("*"))
    planned = repair("first", here.root, dry_run=True)
    assert len(planned.runs) == 2
    assert sorted(here.root.rglob("*")) == before
    assert repair("first", here.root) == planned


def test_a_whole_study_is_left_alone(here, whole):
    before = sorted(here.root.rglob("*"))
    assert not repair("first", here.root)
    assert sorted(here.root.rglob("*")) == before


def test_a_repair_killed_at_any_move_is_completed_by_the_next(here, whole, monkeypatch):
    commit = next(one for one in here.commits() if "jacobians" in one.siblings)
    damaged = here.path / "store" / "jacobians" / f"{commit.shards_of('jacobians')[0]}.parquet"
    real, moves = repairs.move, []

    def die_at(number):
        def move(source, target):
            moves.append(source)
            if len(moves) > number:
                raise KeyboardInterrupt
            return real(source, target)

        return move

    for number in range(0, 20, 3):
        flip(damaged) if damaged.exists() else None
        moves.clear()
        with monkeypatch.context() as patch:
            patch.setattr(repairs, "move", die_at(number))
            try:
                repair("first", here.root)
            except KeyboardInterrupt:
                assert set(commit.run_ids) & set(Store(here.root, "first").survey()[1].runs) or number == 0
            else:
                break
        repair("first", here.root)
        assert not Store(here.root, "first").survey()[1]
        assert compute_missing(here) == set(commit.run_ids)
        assert contents(Store(here.root, "first")) == whole
        commit = next(one for one in Store(here.root, "first").commits() if set(one.run_ids) == set(commit.run_ids))
        damaged = here.path / "store" / "jacobians" / f"{commit.shards_of('jacobians')[0]}.parquet"
    assert number > 5


def test_two_repairs_at_once_move_each_file_once(here, whole, monkeypatch):
    flip(shard_files(here, "jacobians")[0])
    flip(shard_files(here, "runs")[2])
    real, planned = repairs.move, Store(here.root, "first").plan_repair()

    def move(source, target):
        monkeypatch.setattr(repairs, "move", real)
        repair("first", here.root)
        return real(source, target)

    monkeypatch.setattr(repairs, "move", move)
    planned.carry_out()
    assert not Store(here.root, "first").survey()[1]
    assert len(list((here.path / repairs.DAMAGED_FOLDER).rglob("*.parquet*"))) == len(planned.aside)


def test_a_writer_goes_on_beside_a_repair(here, whole):
    writer = Store(here.root, "first")
    writer.publish([finished(20)])
    commit = next(one for one in here.commits() if RUNS[0].run_id in one.run_ids)
    flip(here.path / "store" / "jacobians" / f"{commit.shards_of('jacobians')[0]}.parquet")
    repair("first", here.root)
    writer.publish([finished(21)])
    assert not Store(here.root, "first").survey()[1]
    compute_missing(here)
    assert {finished(20).run_id, finished(21).run_id} < set(Store(here.root, "first").statuses())
    assert contents(Store(here.root, "first")).keys() == whole.keys()


def test_deleted_commits_are_not_missed_after_a_repair(here, whole):
    paths = shard_files(here, "runs")
    for path in paths[:3]:
        path.unlink()
    done = repair("first", here.root)
    assert len(done.runs) == 6
    assert not Store(here.root, "first").survey()[1]
    assert len(compute_missing(here)) == 6
    assert contents(Store(here.root, "first")) == whole


def test_one_repair_settles_what_only_a_damaged_commit_stores(here, whole):
    first = next(one for one in here.commits() if one.place.number == 1)
    here.publish(RUNS[:2])
    again = next(one for one in here.commits() if one.place.number == 5)
    (here.path / "store" / "runs" / f"{first.name}.parquet").unlink()
    flip(here.path / "store" / "jacobians" / f"{again.shards_of('jacobians')[0]}.parquet")
    repair("first", here.root)
    assert not Store(here.root, "first").survey()[1]
    assert compute_missing(here) == set(first.run_ids)


def test_a_writer_does_not_name_what_a_repair_set_aside(here, whole):
    for one in here.commits():  # nothing states their places any more
        flip(here.path / "store" / "runs" / f"{one.name}.parquet")
    for path in (here.path / "commits").iterdir():
        flip(path)
    repair("first", here.root)
    here.publish(RUNS[:1])
    assert not Store(here.root, "first").survey()[1]
    assert [one.place.number for one in Store(here.root, "first").commits()] == [1]
    compute_missing(here)
    assert contents(Store(here.root, "first")) == whole


def test_records_are_set_aside_too(here, whole):
    for folder in ("sweeps", "commits"):
        (path,) = (here.path / folder).iterdir()
        flip(path)
    done = repair("first", here.root)
    assert sorted(fault.file.split("/")[0] for fault in done.aside) == ["commits", "sweeps"]
    assert done.runs == ()
    assert contents(Store(here.root, "first")) == whole


def test_a_damaged_record_of_a_repair_is_set_aside(here, whole):
    shard_files(here, "runs")[0].unlink()
    repair("first", here.root)
    (path,) = (here.path / repairs.DAMAGED_FOLDER).glob("*.json")
    flip(path)
    assert repair("first", here.root)
    assert not repair("first", here.root)


def test_a_shard_that_cannot_be_decoded_is_set_aside(here, monkeypatch):
    """Its SHA-256 is right: somebody else wrote it so."""
    real = store.serialise

    def write_nonsense(table, rows, **about):
        data = bytearray(real(table, rows, **about))
        if table == "jacobians":
            data[4:200] = bytes(196)
        return bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(store, "serialise", write_nonsense)
        here.publish(RUNS[:2])
    here.publish(RUNS[2:])
    with pytest.warns(DamageWarning, match="not a file that bpttlab wrote: its Parquet cannot be decoded"):
        assert len(Store(here.root, "first").load().jacobians) == 24
    _, damage = Store(here.root, "first").survey()
    assert set(damage.runs) == {run.run_id for run in RUNS[:2]}
    assert "cannot be decoded" in damage.describe()
    assert set(repair("first", here.root).runs) == {run.run_id for run in RUNS[:2]}
    assert compute_missing(here) == {run.run_id for run in RUNS[:2]}
    assert len(Store(here.root, "first").load().jacobians) == 36


def test_a_linked_folder_is_refused(here, whole, tmp_path):
    flip(shard_files(here, "runs")[0])
    (tmp_path / "elsewhere").mkdir()
    (here.path / repairs.DAMAGED_FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        repair("first", here.root)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_study_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreError, match="nothing is stored yet: there is no folder"):
        repair("first", tmp_path / "nothing")


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_together_is_repaired(here, whole, seed):
    rng = random.Random(seed)
    paths = sorted(files(here))
    for path in rng.sample(paths, 12):
        rng.choice(DAMAGE)(path)
    repair("first", here.root)
    repair("first", here.root)
    assert not Store(here.root, "first").survey()[1]
    compute_missing(here)
    assert contents(Store(here.root, "first")) == whole
