"""Names of processes: who wrote a file, and whether that process still exists."""

import os
import subprocess
import sys

import pytest

from bpttlab import processes
from bpttlab.processes import ENDED, LIVES, UNKNOWN, Machine, find_state, name_process


def test_this_process_lives_and_one_that_ended_has_ended():
    assert find_state(name_process()) == LIVES
    code = "from bpttlab.processes import name_process; print(name_process())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert find_state(child.stdout.strip()) == ENDED


def test_a_number_that_is_used_again_is_another_process():
    before, _, begin = name_process().rpartition("-")
    assert find_state(f"{before}-{int(begin, 16) - 1:x}") == ENDED


def test_a_suspended_process_lives():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        child.send_signal(19)  # SIGSTOP
        machine = name_process().split("-")[0]
        assert find_state(f"{machine}-{child.pid:x}-{int(processes.find_begin(child.pid)):x}") == LIVES
        child.kill()


@pytest.mark.parametrize(
    ("machine", "state"),
    [
        (Machine("1" * 8, "2" * 8, "3" * 8), LIVES),
        (Machine("1" * 8, "9" * 8, "3" * 8), ENDED),  # an earlier boot of this machine
        (Machine("9" * 8, "9" * 8, "3" * 8), UNKNOWN),  # another machine
        (Machine("1" * 8, "2" * 8, "9" * 8), UNKNOWN),  # another container on it
    ],
)
def test_what_can_be_known_of_other_machines(monkeypatch, machine, state):
    monkeypatch.setattr(processes, "find_machine", lambda: Machine("1" * 8, "2" * 8, "3" * 8))
    begin = int(processes.find_begin(os.getpid()) or 0)
    assert find_state(f"{''.join(machine)}-{os.getpid():x}-{begin:x}") == state


def test_machine_without_an_id_proves_nothing_by_its_boot(monkeypatch):
    monkeypatch.setattr(processes, "find_machine", lambda: Machine(processes.NO_HOST, "2" * 8, "3" * 8))
    assert find_state(f"{processes.NO_HOST}{'9' * 8}{'3' * 8}-1-1") == UNKNOWN


@pytest.mark.parametrize("name", ["", "x", "0-1-2", f"{'0' * 24}-1", f"{'0' * 24}-{'f' * 30}-1\n"])
def test_what_is_no_name_is_unknown(name):
    assert find_state(name) == UNKNOWN


def test_huge_process_numbers_are_no_error():
    machine = name_process().split("-")[0]
    assert find_state(f"{machine}-ffffffff-1") == ENDED


def test_windows_asks_no_process_whether_it_exists(monkeypatch):
    """There os.kill(process, 0) is Ctrl-C."""
    monkeypatch.setattr(processes.sys, "platform", "win32")
    monkeypatch.setattr(processes, "_first_line", lambda path: "")
    monkeypatch.setattr(processes.os, "kill", lambda *_: pytest.fail("a signal was sent"))
    assert processes.find_begin(1) == ""
