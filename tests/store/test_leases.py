"""Leases: one launcher has a share, a silent one loses it, and nothing remains that a person must clean up."""

import os
import subprocess
import sys
import time

import pytest

from bpttlab.errors import StoreError
from bpttlab.processes import name_process
from bpttlab.store import leases
from bpttlab.store.leases import FOLDER, Leases
from bpttlab.store.store import Store
from tests.support.stored import RUNS

DEAD = "d" * 32


ELSEWHERE = f"{'9' * 24}-1-1"
"""A process of another machine."""


def leave_behind(study, share="abc", launcher=DEAD, age=0.0, process=ELSEWHERE):
    """The files of a launcher that is on another machine, or was killed."""
    folder = study / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"{launcher}.launcher"
    own.write_text(process)
    os.utime(own, (time.time() - age, time.time() - age))
    (folder / f"{share}.lease").write_text(launcher)
    return folder


def test_one_launcher_has_a_share_until_it_returns_it(tmp_path):
    with Leases(tmp_path) as one, Leases(tmp_path) as other:
        assert one.take("abc")
        assert one.take("abc")
        assert not other.take("abc")
        assert other.take("abd")
        assert other.list_others() == {one.launcher: {"abc"}}
        one.release(["abc"])
        assert other.take("abc")
        assert one.list_others() == {other.launcher: {"abc", "abd"}}


def test_the_end_of_the_last_launcher_leaves_no_file(tmp_path):
    with Leases(tmp_path) as one:
        with Leases(tmp_path) as other:
            assert other.take("abc")
        assert one.take("abc")
        assert one.list_others() == {}
    assert list(tmp_path.iterdir()) == []


def test_an_exception_returns_the_shares(tmp_path):
    def fail():
        with Leases(tmp_path) as one:
            assert one.take("abc")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_launcher_removes_is_made_again(tmp_path, monkeypatch):
    make, removed = leases.make_folder, []

    def make_late(folder):
        make(folder)
        if not removed:
            removed.append(folder.rmdir())

    monkeypatch.setattr(leases, "make_folder", make_late)
    with Leases(tmp_path) as one:
        assert one.take("abc")


def test_a_silent_launcher_loses_its_share_after_the_time(tmp_path):
    folder = leave_behind(tmp_path, "abc")
    leave_behind(tmp_path, "abd", launcher="e" * 32)
    with Leases(tmp_path, seconds=0.3) as one:
        assert not one.take("abc")
        assert not one.take("abd")
        time.sleep(0.4)
        os.utime(folder / f"{DEAD}.launcher")
        assert not one.take("abc")
        assert one.take("abd")
        assert one.list_others() == {DEAD: {"abc"}}


def test_a_launcher_that_touches_its_file_keeps_its_share(tmp_path):
    with Leases(tmp_path, seconds=0.4) as one, Leases(tmp_path, seconds=0.4) as other:
        assert one.take("abc")
        time.sleep(0.8)
        assert not other.take("abc")


@pytest.mark.parametrize("age", [-1e6, 0.0, 1e6])
def test_the_time_of_a_file_says_nothing_and_its_silence_does(tmp_path, age):
    leave_behind(tmp_path, "abc", age=age)
    with Leases(tmp_path, seconds=0.2) as one:
        assert not one.take("abc")
        time.sleep(0.3)
        assert one.take("abc")


def test_no_clock_is_asked_for_the_time(tmp_path, monkeypatch):
    leave_behind(tmp_path, "abc")
    monkeypatch.setattr(time, "time", lambda: pytest.fail("it was asked"))
    with Leases(tmp_path) as one:
        assert not one.take("abc")
        assert one.list_others() == {DEAD: {"abc"}}


def test_killed_local_process_loses_its_share_at_once(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    machine, _, begun = name_process().split("-")
    leave_behind(tmp_path, process=f"{machine}-{ended.pid:x}-{begun}")
    with Leases(tmp_path) as one:
        assert one.take("abc")
    assert list(tmp_path.iterdir()) == []


def test_a_process_number_that_is_used_again_is_another_process(tmp_path):
    leave_behind(tmp_path, process=f"{name_process().rpartition('-')[0]}-1")
    with Leases(tmp_path) as one:
        assert one.take("abc")


def test_a_lease_without_its_launcher_is_free(tmp_path):
    (leave_behind(tmp_path) / f"{DEAD}.launcher").unlink()
    with Leases(tmp_path) as one:
        assert one.take("abc")


def test_a_lease_without_a_name_is_being_written(tmp_path):
    (leave_behind(tmp_path) / "abc.lease").write_text("")
    with Leases(tmp_path, seconds=0.2) as one:
        assert not one.take("abc")
        time.sleep(0.3)
        assert one.take("abc")


def test_without_other_launchers_a_lease_without_a_name_is_free(tmp_path):
    folder = leave_behind(tmp_path)
    (folder / "abc.lease").write_text("")
    (folder / f"{DEAD}.launcher").unlink()
    with Leases(tmp_path) as one:
        assert one.take("abc")


def test_who_was_suspended_does_not_return_what_others_took(tmp_path):
    with Leases(tmp_path) as one, Leases(tmp_path) as other:
        assert one.take("abc")
        (tmp_path / FOLDER / f"{one.launcher}.launcher").unlink()
        assert other.take("abc")
        one.release(["abc"])
        assert not one.take("abc")
        one._touch()
        assert other.list_others() == {one.launcher: set()}


def test_of_two_who_take_over_the_faster_one_has_the_share(tmp_path, monkeypatch):
    (leave_behind(tmp_path) / f"{DEAD}.launcher").unlink()
    folder = tmp_path / FOLDER
    with Leases(tmp_path) as one, Leases(tmp_path) as other:
        monkeypatch.setattr(other, "_holds", lambda share, seen: not one.take("abc"))
        assert not other.take("abc")
        assert (folder / "abc.lease").read_text() == one.launcher
    assert list(tmp_path.iterdir()) == []


def test_a_launcher_that_was_taken_for_dead_goes_on(tmp_path, monkeypatch):
    with Leases(tmp_path) as suspended:
        with monkeypatch.context() as patch:
            patch.setattr(Leases, "_lives", lambda self, launcher: False)
            with Leases(tmp_path) as other:
                assert other.take("abc")
        assert not (tmp_path / FOLDER).exists()
        assert suspended.take("abc")
        assert Leases(tmp_path).list_others() == {suspended.launcher: {"abc"}}
    assert not (tmp_path / FOLDER).exists()


def test_what_others_wrote_there_is_no_error(tmp_path):
    folder = leave_behind(tmp_path, process="[1, 2\x00")
    (folder / "abe.lease").mkdir()
    (folder / "notes.txt").write_text("mine")
    with Leases(tmp_path) as one:
        assert not one.take("abc")
        assert not one.take("abe")
    assert (folder / "notes.txt").exists()


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"), Leases(tmp_path):
        pass


def test_a_study_with_leases_reads_like_any_other(here, quick_disk):
    here.publish(RUNS)
    with Leases(here.path) as one:
        assert one.take("abc")
        assert len(Store(here.root, here.study).load().runs) == len(RUNS)
        assert here.sweep_up() == []


def test_launchers_are_listed_with_what_they_say_of_themselves(tmp_path):
    leave_behind(tmp_path)
    with Leases(tmp_path, request="sweeps/x.json"):
        here, elsewhere = leases.list_launchers(tmp_path)
    assert (here.request, here.process, here.is_here) == ("sweeps/x.json", os.getpid(), True)
    assert here.host and here.since[:2] == "20" and here.renewed[:2] == "20"
    assert (elsewhere.request, elsewhere.process, elsewhere.is_here) == ("", 0, False)
    assert [one.process for one in leases.list_launchers(tmp_path)] == [0]
