"""In a strange place a sweep stores everything, or says in a line what is wrong and leaves nothing."""

import sys
import tempfile
from pathlib import Path

import pytest

from faults import places, studies
from faults.children import Ended
from faults.needs import scratch_folder
from faults.places import PLACES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sweeps run in forked processes")

WITHOUT_ROOT = (
    "path with newline",
    "path with Unicode, decomposed",
    "few descriptors",
    "limit on the size of files",
    "clock that goes backwards",
)


@pytest.fixture(scope="module")
def whole():
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        studies.warm_up(Path(name))
        return studies.inspect(Path(name, "warm"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in WITHOUT_ROOT[::2] else pytest.mark.slow) for name in WITHOUT_ROOT],
)
def test_a_sweep_succeeds_or_says_what_is_wrong(whole, name, capsys):
    number = [place.name for place in PLACES].index(name)
    with capsys.disabled():  # so that it writes to the file of its messages
        assert places.attempt(whole, 0, number) == (name, [])


def judge(code, said, name="read-only disk", found=None):
    place = next(place for place in PLACES if place.name == name)
    nothing = studies.Found({}, {})
    return list(places.judge(place, Ended(code, said), found or nothing, studies.Found({}, {"a": "done"})))


def test_a_refusal_in_one_line_is_right():
    assert judge(2, "bpttlab: results cannot be used: /x: Read-only file system\n") == []


def test_silence_and_many_lines_are_losses():
    assert "with 0 lines" in judge(1, "")[0]
    assert "with 13 lines" in judge(1, "line\n" * 13)[0]


def test_success_without_runs_is_a_loss():
    losses = judge(0, "", "small disk")
    assert losses == ["exit code 0, and 0 of 1 runs are stored"]


def test_what_is_left_is_a_loss():
    assert judge(1, "full", found=studies.Found({}, {}, litter=(".x.tmp",))) == ["it leaves .x.tmp"]
