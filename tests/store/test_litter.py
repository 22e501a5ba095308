"""Only what nobody may need any more is deleted: no clock decides, and a writer that wakes up misses nothing."""

import os
import subprocess
import sys
import time
import uuid

import pytest

from bpttlab import processes
from bpttlab.errors import StoreError
from bpttlab.processes import name_process
from bpttlab.store import chain, litter
from bpttlab.store.store import Store
from tests.support.stored import contents, finished, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")

HERE = name_process()
MACHINE = HERE.split("-")[0]
ENDED = f"{MACHINE}-{os.getpid():x}-1"
"""A process of this machine that had the same number."""
ELSEWHERE = f"{'9' * 24}-1-1"


class Killed(BaseException):
    """The process is gone."""


def leave_uncommitted(store, monkeypatch, process):
    """The shards of a writer that ended before its commit, and a temporary file."""
    monkeypatch.setattr(store, "_place", chain.Place(f"{process}-{'0' * 16}", 1))
    with monkeypatch.context() as patch:
        patch.setattr(store, "_make_sure", kill)
        with pytest.raises(Killed):
            store.publish([finished(9)])
    temporary = store.path / "store" / "runs" / f".{process}-{uuid.uuid4().hex}.tmp"
    (store.path / "store" / "runs").mkdir(exist_ok=True)
    temporary.write_bytes(b"half")
    return [*sorted((store.path / "store").glob("*/*.parquet")), temporary]


def kill(shards):
    raise Killed


def test_what_a_process_left_that_ended_is_deleted_at_once(here, monkeypatch):
    left = leave_uncommitted(here, monkeypatch, ENDED)
    other = Store(here.root, "first")
    other.publish([finished(0)])
    whole = contents(other)
    assert set(other.find_litter(*other.survey())) == set(left)
    assert set(other.sweep_up()) == set(left)
    assert other.sweep_up() == []
    assert contents(Store(here.root, "first")) == whole


@pytest.mark.parametrize("process", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
@pytest.mark.parametrize("age", [0.0, 1e7, -1e7])
def test_what_a_process_may_need_stays_however_old_it_looks(here, monkeypatch, process, age):
    left = leave_uncommitted(here, monkeypatch, process)
    for path in left:
        os.utime(path, (time.time() - age, time.time() - age))
    assert Store(here.root, "first").sweep_up() == []
    assert all(path.exists() for path in left)


def test_silence_is_counted_by_a_clock_of_this_machine(here, monkeypatch):
    left = leave_uncommitted(here, monkeypatch, ELSEWHERE)
    store = Store(here.root, "first")
    assert store.sweep_up() == []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + litter.SILENCE / 2)
    os.utime(left[0])
    assert (store.sweep_up(), store.litter.is_due) == ([], False)
    monkeypatch.setattr(time, "monotonic", lambda: now + litter.SILENCE + 1)
    assert store.litter.is_due
    assert set(store.sweep_up()) == set(left[1:])


def test_a_long_sweep_deletes_what_was_silent_while_it_ran(here, monkeypatch):
    left = leave_uncommitted(here, monkeypatch, ELSEWHERE)
    store = Store(here.root, "first")
    store.sweep_up()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + litter.SILENCE + 1)
    store.publish([finished(0)])
    assert not any(path.exists() for path in left)


def test_temporary_files_of_every_folder_are_found(here):
    here.publish([finished(0)])
    left = []
    deepest = "figures/networks_path/where_seed_0_0a1b2c3d"
    for folder in (here.path, *(here.path / name for name in ("tables", "sweeps", "store/jacobians", deepest))):
        folder.mkdir(parents=True, exist_ok=True)
        left.append(folder / f".{ENDED}-{uuid.uuid4().hex}.tmp")
        left[-1].write_bytes(b"half")
        (folder / f".{HERE}-{uuid.uuid4().hex}.tmp").write_bytes(b"being written")
        (folder / ".notes.tmp").write_bytes(b"mine")
    assert set(here.sweep_up()) == set(left)


def test_no_link_is_followed_when_litter_is_deleted(here, tmp_path):
    here.publish([finished(0)])
    (tmp_path / "elsewhere").mkdir()
    victim = tmp_path / "elsewhere" / f".{ENDED}-{uuid.uuid4().hex}.tmp"
    victim.write_bytes(b"mine")
    (here.path / "tables").symlink_to(tmp_path / "elsewhere")
    assert here.sweep_up() == []
    assert victim.exists()


def sweep_away(here, commits):
    """What a launcher does that takes every writer for dead, and knows these commits."""
    other = Store(here.root, "first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "find_state", lambda name: processes.ENDED)
        return other.litter.delete(other.litter.select(other.litter.find(), other._named(commits), ()))


@pytest.mark.parametrize("last", ["bias_bounds", "runs"], ids=["before the commit", "after it"])
def test_a_suspended_writer_writes_again_what_was_swept_up(here, monkeypatch, last):
    """It sleeps after it has written its last shard, or its commit, which the other launcher has not seen yet."""
    here.publish([finished(0)])
    commits, real, deleted = here.commits(), here._put, []

    def put_and_sleep(path, data):
        real(path, data)
        if path.parent.name == last and not deleted:
            deleted.extend(sweep_away(here, commits))

    monkeypatch.setattr(here, "_put", put_and_sleep)
    here.publish([finished(1)])
    assert deleted
    assert len(Store(here.root, "first").load().jacobians) == 12
    assert Store(here.root, "first").verify()


def test_a_shard_that_is_always_gone_is_an_error(here, monkeypatch):
    real = here._put
    monkeypatch.setattr(here, "_put", lambda path, data: (real(path, data), path.unlink()))
    with pytest.raises(StoreError, match="was written 3 times and is not there"):
        here.publish([finished(0)])
    assert shard_files(here, "runs") == []


LAUNCHER = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from bpttlab.store.leases import Leases
with Leases(Path({study!r})) as leases:
    leases.take("abc")
    os._exit(1)
"""


def test_the_leases_of_a_killed_launcher_are_litter(here):
    here.publish([finished(0)])
    code = LAUNCHER.format(path=sys.path, study=str(here.path))
    subprocess.run([sys.executable, "-c", code], check=False)
    store = Store(here.root, "first")
    assert [path.suffix for path in store.find_litter(*store.survey())] == [".launcher"]
    store.sweep_up()
    assert store.find_litter(*store.survey()) == []
    assert list((here.path / "leases").iterdir()) == []
