"""What is reported done survives, what nobody names is nothing, and an obstacle is told in one line."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bpttlab.errors import ConfigurationError, DamagedShardError, StoreError
from bpttlab.store import schema
from bpttlab.store.store import Store, load, studies
from tests.support.stored import MEASURES, contents, damage_by_flipping, finished, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")


# ------------------------------------------------------------------ publishing


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


def with_tables(run, tables):
    """The run with rows in these tables of what was measured alone."""
    return replace(run, tables={name: run.tables[name] for name in tables})


@pytest.mark.parametrize("tables", [("jacobians", "truncations"), pytest.param(MEASURES, marks=pytest.mark.slow)])
def test_killed_at_any_moment_a_run_is_done_or_not_begun(tmp_path, monkeypatch, tables):
    """The process dies before each of its calls to fsync and rename in turn, and cleans up nothing."""
    calls = 0
    deadly = 0
    both = [with_tables(finished(seed), tables) for seed in (0, 1)]

    def dying(patch, real):
        def call(*arguments):
            nonlocal calls
            calls += 1
            if calls == deadly:
                patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
                raise Killed
            return real(*arguments)

        return call

    outcomes = []
    while True:
        deadly, calls, where = deadly + 1, 0, Store(tmp_path / str(deadly), "first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", dying(patch, lambda descriptor: None))
            patch.setattr(os, "replace", dying(patch, os.replace))
            try:
                where.publish(both)
            except Killed:
                outcomes.append(len(where.statuses()))
            else:
                break
        again = Store(tmp_path / str(deadly), "first")
        assert again.statuses() == {} or len(again.load().jacobians) == 12
        again.publish(both)
        assert len(again.load().jacobians) == 12
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {0, 2}
    assert len(outcomes) >= 4 * (len(tables) + 2) - 1  # and of runs and provenance


WRITER = """
import sys
sys.path[:0] = {path!r}
from tests.support.stored import *
where = Store({root!r}, "first")
for seed in range(10**6):
    where.publish([finished(seed)])
    print(identity.run_id(configured(seed)), flush=True)
"""


def test_what_was_reported_done_survives_sigkill(here):
    code = WRITER.format(path=[str(Path(__file__).parent), *sys.path], root=str(here.root))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        reported = []
        for _ in range(8):
            reported.append(writer.stdout.readline().strip())
            study = here.load()  # while the other process goes on writing
            assert set(reported) <= set(study.runs["run_id"])
            assert len(study.jacobians) == 6 * len(study.runs)
        writer.send_signal(signal.SIGKILL)
        reported += writer.stdout.read().split()
    assert len(reported) >= 8
    statuses = here.statuses()
    assert {statuses[run_id] for run_id in reported} == {"done"}
    assert len(statuses) - len(reported) in (0, 1)
    assert len(here.load().jacobians) == 6 * len(statuses)


def test_nothing_else_is_left_in_the_folders(here):
    here.publish([finished(0)])
    files = {path for path in here.root.rglob("*") if not path.is_dir()}
    shards = {path for table in schema.TABLES for path in shard_files(here, table)}
    assert files == {*shards, *(here.path / "commits").iterdir()}
    assert len(files) == len(schema.TABLES) + 1


def test_nothing_to_publish_is_nothing(here):
    here.publish([])
    assert not here.root.exists()


def test_a_store_travels_to_workers_without_what_it_read(here):
    here.publish([finished(0)])
    here.statuses()
    sent = pickle.dumps(here)
    assert len(sent) < 300
    assert pickle.loads(sent).statuses() == here.statuses()


# ------------------------------------------------------------------ what is not ours, and what nobody names


def test_stray_files_are_ignored(here):
    here.publish([finished(0)])
    whole = contents(here)
    for table in schema.TABLES:
        folder, (path,) = here.path / "store" / table, shard_files(here, table)
        (folder / f"{path.name}.tmp").write_bytes(b"half")
        (folder / f".{path.name}").write_bytes(path.read_bytes())
        (folder / f".{'0' * 32}.tmp").write_bytes(b"half")
        (folder / "notes.parquet").write_bytes(path.read_bytes())
        (folder / f"{path.stem.upper()}.parquet").write_bytes(b"x")
        (folder / "a folder").mkdir()
    (here.path / "store" / "other").mkdir()
    (here.path / "notes.txt").write_text("mine")
    assert contents(Store(here.root, "first")) == whole


def test_shards_that_no_commit_names_are_nothing(here):
    here.publish([finished(0)])
    whole = contents(here)
    other = Store(here.root, "other")
    other.publish([finished(1)])
    for table in MEASURES:
        shutil.copy(shard_files(other, table)[0], here.path / "store" / table)
    (here.path / "store" / "lag_terms" / f"{'0' * 64}.parquet").write_bytes(b"not even Parquet")
    assert contents(Store(here.root, "first")) == whole


def test_what_a_living_writer_is_about_to_commit_stays(here, monkeypatch):
    here.publish([finished(0)])
    real, swept = os.replace, []

    def interrupted(source, target):
        if Path(target).parent.name == "runs":
            swept.append(Store(here.root, "first").sweep_up())
        real(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    here.publish([finished(1)])
    assert swept == [[]]
    assert here.verify() == 2 * len(schema.TABLES)


def test_nothing_is_swept_up_while_a_commit_is_damaged(here):
    here.publish([finished(0)])
    damage_by_flipping(shard_files(here, "runs")[0], random.Random(1))
    with pytest.raises(DamagedShardError):
        Store(here.root, "first").sweep_up()
    assert len(list(here.root.rglob("*.parquet"))) == len(schema.TABLES)


# ------------------------------------------------------------------ names, folders, links


@pytest.mark.parametrize("study", ["first", "a.b-c_D9", "9", "-x", "a" * 100])
def test_study_names(tmp_path, study):
    where = Store(tmp_path, study)
    where.publish([finished(0)])
    assert studies(tmp_path) == [study]


@pytest.mark.parametrize(
    "study", ["", ".", "..", ".hidden", "a/b", "../x", "/tmp/x", "a b", "a\n", "é", "a" * 101, None, 3, "a\x00", "a*"]
)
def test_what_is_no_name_is_refused(tmp_path, study):
    with pytest.raises(ConfigurationError, match=r"^study = .*: must be a name of at most 100 letters") as told:
        Store(tmp_path, study)
    assert "\n" not in str(told.value)


def test_writable_leaves_nothing_behind(here):
    here.check_writable()
    assert not here.root.exists()
    here.publish([finished(0)])
    before = sorted(here.root.rglob("*"))
    here.check_writable()
    assert sorted(here.root.rglob("*")) == before


@pytest.mark.parametrize("part", [".", "first", "first/store", "first/store/runs", "first/store/jacobians"])
@pytest.mark.parametrize("obstacle", ["file", "dangling link"])
def test_an_obstacle_is_told_in_one_line_before_anything_runs(tmp_path, part, obstacle):
    where = Store(tmp_path / "results", "first")
    path = where.root / part
    path.parent.mkdir(parents=True, exist_ok=True)
    if obstacle == "file":
        path.write_text("in the way")
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for act in (where.check_writable, lambda: where.publish([finished(0)])):
        with pytest.raises(StoreError, match=r"results") as told:
            act()
        assert "\n" not in str(told.value)
        assert str(path) in str(told.value)
    if part in (".", "first", "first/store"):
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root can write to")
def test_a_folder_that_cannot_be_written_is_told_in_one_line():
    with pytest.raises(StoreError, match=r"^results cannot be used: /proc: "):
        Store("/proc", "first").check_writable()
    with pytest.raises(StoreError, match=r"^results cannot be used: /proc/"):
        Store("/proc", "first").publish([finished(0)])


@pytest.mark.parametrize("part", ["first", "first/store", "first/store/runs", "first/store/jacobians"])
def test_links_are_not_followed(here, tmp_path, part):
    here.publish([finished(0)])
    path = here.root / part
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    for act in (here.load, here.statuses, here.verify, here.check_writable, lambda: here.publish([finished(1)])):
        with pytest.raises(StoreError, match="is a link"):
            act()


def test_the_folder_of_results_may_be_a_link(here, tmp_path):
    here.publish([finished(0)])
    (tmp_path / "link").symlink_to(here.root)
    assert len(load("first", tmp_path / "link").runs) == 1


# ------------------------------------------------------------------ nothing there


def test_a_missing_study_is_told_with_the_nearest_name(here):
    here.publish([finished(0)])
    with pytest.raises(StoreError, match=rf"^there is no study 'frist' in {here.root}\. Did you mean 'first'\?$"):
        load("frist", here.root)
    with pytest.raises(StoreError, match=f"^nothing is stored yet: there is no folder {here.root}x;"):
        load("first", f"{here.root}x")


def test_an_empty_study_is_told(here):
    here.path.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(StoreError, match=f"^study 'first' in {here.root} has no runs yet$"):
            load("first", here.root)
        (here.path / "store" / "runs").mkdir(parents=True, exist_ok=True)


def test_a_study_that_is_not_there_has_no_runs(here):
    assert here.statuses() == here.configurations() == {}
    assert here.sweep_up() == []
    assert here.verify() == 0
    assert studies(here.root) == []
