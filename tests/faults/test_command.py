"""`python -m faults` tries the faults of its catalogue and says what is lost, and what cannot be tried."""

import re
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from faults import catalogue, command
from faults.catalogue import FAULTS, Fault
from faults.needs import NotTriedError
from faults.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def outcomes(monkeypatch):
    """What the faults of the catalogue give, instead of trying them; a text: why they are not tried."""
    given = {}

    def inject(self, count, seed, progress):
        progress(count, count, 0)
        if isinstance(given[self.module], str):
            raise NotTriedError(given[self.module])
        return Outcome(Counter({"x": count}), given[self.module], f"python -m faults {self.module} --seed {seed}")

    monkeypatch.setattr(Fault, "inject", inject)
    given.update({fault.module: [] for fault in FAULTS})
    return given


def test_nothing_lost_is_exit_code_0(outcomes, capsys):
    assert command.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("nothing lost") == len(FAULTS)
    assert f"kills: x {next(fault.quick for fault in FAULTS if fault.module == 'kills')}" in shown


def test_a_loss_is_exit_code_1_and_says_how_to_repeat_it(outcomes, capsys):
    outcomes["kills"] = ["run 3 is lost"]
    assert command.main(["kills", "--seed", "4"]) == 1
    shown = capsys.readouterr().out
    assert "LOST" in shown
    assert "lost: run 3 is lost" in shown
    assert "again: python -m faults kills --seed 4" in shown


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--all-needed"], 3)])
def test_what_cannot_be_tried_is_said(outcomes, capsys, words, code):
    outcomes["kills"] = "there is no strace"
    assert command.main(["kills", "workers", *words]) == code
    assert re.search(r"not tried: there\s+is no strace|not tried: there is no", capsys.readouterr().out)


def test_a_name_that_does_not_exist_is_refused(capsys):
    assert command.main(["kill"]) == 2
    assert "must be one of system_calls, kills" in capsys.readouterr().err


def test_list_tries_nothing(capsys):
    assert command.main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(fault.module in shown and str(fault.whole) in shown for fault in FAULTS)


def test_ctrl_c_is_exit_code_130(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Fault, "inject", interrupt)
    assert command.main(["kills"]) == 130


def test_a_signal_that_python_ignored_ends_it_a_moment_later(monkeypatch, capsys):
    def inject(self, count, seed, progress):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        progress(1, count, 0)

    monkeypatch.setattr(Fault, "inject", inject)
    before = signal.getsignal(signal.SIGTERM)
    assert command.main(["kills"]) == 130
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_a_signal_breaks_is_no_error_of_its_own(monkeypatch, capsys):
    def inject(self, count, seed, progress):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("a pool is broken")

    monkeypatch.setattr(Fault, "inject", inject)
    assert command.main(["kills"]) == 130


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.module)
def test_each_fault_is_a_module_that_can_be_run(fault):
    module = pytest.importorskip(f"faults.{fault.module}")
    assert list(catalogue.inspect.signature(module.run).parameters)[:2] == ["count", "seed"]
    assert module.__doc__
    assert fault.whole > fault.quick > 0


def test_every_fault_is_on_the_pages():
    for page in ("faults/README.md",):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [fault.module for fault in FAULTS if f"`{fault.module}`" not in text] == []
