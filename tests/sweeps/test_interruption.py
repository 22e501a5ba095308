"""A signal that ends a sweep early keeps its usual effect on the program, after what is done is stored."""

import signal

import pytest

import bpttlab as lab
from bpttlab.cli import main
from bpttlab.sweeps import scheduler


@pytest.fixture
def interrupted_by(monkeypatch):
    """A sweep that is ended by a signal at once."""

    def choose(number):
        monkeypatch.setattr(scheduler, "execute", lambda *_, **__: scheduler.Tally(interrupted=number))

    return choose


def test_ctrl_c_ends_a_program_of_several_sweeps(folder, interrupted_by, capsys):
    interrupted_by(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        lab.sweep(study="x", seed=[1], workers=0)
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
    lab.sweep(study="x", seed=[1], workers=0)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize(("number", "effect"), [(signal.SIGINT, []), (signal.SIGTERM, [signal.SIGTERM])])
def test_the_command_ends_by_the_signal_that_it_got(folder, interrupted_by, heard, capsys, number, effect):
    interrupted_by(number)
    assert main(["sweep", "study=x", "workers=0"]) == 128 + number
    assert heard == effect
    assert "go on with: bpttlab sweep study=x" in capsys.readouterr().out
