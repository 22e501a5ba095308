"""Messages that cannot be written cost no results."""

import io
import os
import subprocess
import sys

import pytest

import bpttlab as lab
from bpttlab import streams
from bpttlab.cli import main
from bpttlab.store.store import Store
from tests.support.commandline import REPOSITORY, SMALL
from tests.support.sweeps import points, statuses

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full device")
FULL, ENDED = "a full disk", "a reader that has ended"


class Refusing(io.StringIO):
    """A stream that cannot be written."""

    def write(self, text=""):
        raise ValueError("I/O operation on closed file")

    flush = write


@pytest.fixture
def refuse():
    """Opens streams of the system that refuse text."""
    opened = []

    def choose(kind):
        reading, writing = os.pipe()
        os.close(reading)
        opened.append(open("/dev/full" if kind == FULL else writing, "w", encoding="utf-8"))  # noqa: SIM115
        return opened[-1]

    yield choose
    for stream in opened:
        streams.silence(stream)
        stream.close()


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("make", [Refusing, closed, lambda: None], ids=["refusing", "closed", "none"])
def test_a_lenient_stream_never_fails(make):
    stream = streams.Lenient(make())
    print("text", file=stream, flush=True)
    assert not stream.isatty()


@pytest.mark.parametrize("make", [closed, lambda: None], ids=["closed", "none"])
def test_python_sweeps_without_stderr(tmp_path, monkeypatch, make):
    monkeypatch.setattr(sys, "stderr", make())
    assert lab.sweep(points([0, 1]), "x", tmp_path, workers=0).exit_code == 0


@needs_full
@pytest.mark.parametrize("kind", [FULL, ENDED])
def test_after_a_refusal_a_stream_is_discarded(refuse, kind):
    with refuse(kind) as file:
        print("text", file=streams.Lenient(file), flush=True)
        print("text", file=file, flush=True)


@needs_full
@pytest.mark.parametrize("kind", [FULL, ENDED])
@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=" and ".join)
def test_a_sweep_computes_whatever_becomes_of_its_messages(folder, monkeypatch, refuse, names, kind):
    for name in names:
        monkeypatch.setattr(sys, name, refuse(kind))
    assert main(["sweep", "study=x", "seed=0,1", *SMALL]) == 0
    assert statuses(Store("results", "x")) == {"done": 2}


@needs_full
@pytest.mark.parametrize(("kind", "said"), [(FULL, 1), (ENDED, 0)])
def test_a_full_disk_is_said_and_an_end_of_reading_is_not(folder, monkeypatch, refuse, capsys, kind, said):
    monkeypatch.setattr(sys, "stdout", refuse(kind))
    assert main(["sweep", "study=x", *SMALL]) == 0
    assert capsys.readouterr().err.count("stdout cannot be written (No space left on device)") == said


@needs_full
@pytest.mark.parametrize("line", [["status"], ["sweep", "study=x", "--dry-run", *SMALL], ["--help"]], ids=" ".join)
def test_the_loss_of_a_requested_text_is_an_error(studied, monkeypatch, refuse, capsys, line):
    monkeypatch.chdir(studied)
    monkeypatch.setattr(sys, "stdout", refuse(FULL))
    assert main(line) == 2
    assert capsys.readouterr().err == "bpttlab: No space left on device\n"


@needs_full
def test_an_error_that_cannot_be_said_keeps_its_exit_code(folder, monkeypatch, refuse):
    monkeypatch.setattr(sys, "stderr", refuse(FULL))
    assert main(["sweep", "study=x", "sed=1"]) == 2


CLOSED = """
import os
for number in range(3):
    os.close(number)
from bpttlab.streams import open_closed
open_closed()
with open("file", "w") as file:
    os.write(1, b"text"), os.write(2, b"text")
    raise SystemExit(file.fileno())
"""


@pytest.mark.skipif(os.name != "posix", reason="streams of a shell")
def test_no_file_has_the_number_of_a_closed_stream(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", CLOSED], cwd=tmp_path, env=environment, timeout=60, check=False)
    assert done.returncode > 2
    assert (tmp_path / "file").read_text(encoding="utf-8") == ""
