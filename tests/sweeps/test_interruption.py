"""A signal that ends a sweep early keeps its usual effect on the program, after what is done is stored."""

import os
import signal
import subprocess
import sys
import time

import pytest

import bpttlab as lab
from bpttlab.cli import main
from bpttlab.store.store import Store
from bpttlab.sweeps import interruption, scheduler
from tests.support.sweeps import command, statuses


@pytest.fixture
def interrupted_by(monkeypatch):
    """A sweep that is ended by a signal at once."""

    def choose(number):
        monkeypatch.setattr(scheduler, "execute", lambda *_, **__: scheduler.Tally(interrupted=number))

    return choose


def test_ctrl_c_ends_a_program_of_several_sweeps(folder, interrupted_by, capsys):
    interrupted_by(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        lab.sweep(study="x", seed=[1], engine="numpy", workers=0)
    assert "interrupted: 1 run left to do; what is done is stored" in capsys.readouterr().err


@pytest.fixture
def heard(monkeypatch):
    """The signals SIGTERM that reach this program."""
    numbers = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def test_sigterm_reaches_the_program_after_the_sweep(folder, interrupted_by, heard):
    interrupted_by(signal.SIGTERM)
    lab.sweep(study="x", seed=[1], engine="numpy", workers=0)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize(("number", "effect"), [(signal.SIGINT, []), (signal.SIGTERM, [signal.SIGTERM])])
def test_the_command_ends_by_the_signal_that_it_got(folder, interrupted_by, heard, capsys, number, effect):
    interrupted_by(number)
    assert main(["sweep", "study=x", "engine=numpy", "workers=0"]) == 128 + number
    assert heard == effect
    assert "go on with: bpttlab sweep study=x" in capsys.readouterr().out


needs_hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signal")


@needs_hangup
@pytest.mark.parametrize(("action", "heard"), [(signal.SIG_DFL, [signal.SIGHUP]), (signal.SIG_IGN, [])])
def test_a_terminal_that_is_closed_ends_a_sweep_without_nohup(action, heard):
    before = signal.signal(signal.SIGHUP, action)
    try:
        with interruption.interruption() as found:
            signal.raise_signal(signal.SIGHUP)
        assert (found, signal.getsignal(signal.SIGHUP)) == (heard, action)
    finally:
        signal.signal(signal.SIGHUP, before)


HEEDS = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
"""Runs a command with SIGHUP as it is at a terminal, also where these tests are started by nohup."""


@needs_hangup
def test_a_hangup_of_the_whole_group_keeps_what_is_done(tmp_path):
    words, environment = command("study=x", "sequence_length=30", "engine=numpy", "seed=range(0,2000)", "workers=1")
    sweeping = subprocess.Popen(
        [sys.executable, "-c", HEEDS, *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    store, deadline = Store(tmp_path / "results", "x"), time.monotonic() + 60
    while not statuses(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(sweeping.pid, signal.SIGHUP)
    assert (sweeping.wait(20), b"Traceback" in sweeping.communicate()[1]) == (-signal.SIGHUP, False)
    assert set(statuses(store)) == {"done"}
