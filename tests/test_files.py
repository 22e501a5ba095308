"""Files for people are whole and durable; text of any origin is obeyed by no output."""

import csv
import io
import os
from pathlib import Path

import pandas as pd
import pytest

from bpttlab import escapes, files, tables
from bpttlab.cli.arguments import say
from bpttlab.errors import StoreError


@pytest.fixture
def events(monkeypatch):
    """The calls of fsync and rename, in order."""
    seen, rename = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    monkeypatch.setattr(os, "replace", lambda old, new: (seen.append((str(old), str(new))), rename(old, new)))
    return seen


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, events):
    path = files.publish(tmp_path / "a" / "b" / "growth.csv", "é\n")
    assert path.read_bytes() == "é\n".encode()
    *folders, temporary, renamed, folder = events
    assert folders == [str(tmp_path), str(tmp_path / "a")]
    assert renamed == (temporary, str(path)) and Path(temporary).name.startswith(".")
    assert folder == str(path.parent)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_former_file(tmp_path, monkeypatch, call):
    path = files.publish(tmp_path / "growth.csv", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StoreError, match=r"growth\.csv: No space left on device"):
        files.publish(path, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["growth.csv"]
    assert path.read_text() == "old"


OWN = ("files.py", "leases.py")
"""Leases are no results: they end with their process."""


def test_no_other_code_of_the_package_writes_files():
    package = Path(files.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.name not in OWN}
    for path, text in sources.items():
        for call in (".write_text(", ".write_bytes(", ".to_csv(path", 'open("w'):
            assert call not in text, path


HOSTILE = ["=1+1", "+x", "-x", "@sum", "\tx", "\rx", "'quoted", "=x\x1b[31m", "\u202egnp.exe"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_csv_is_a_formula_or_an_escape_sequence(text):
    (header, (cell,)) = csv.reader(io.StringIO(tables.csv(pd.DataFrame({text: [text]}))))
    assert header == [cell]
    assert cell[0] not in "=+-@\t\r"
    assert "\x1b" not in cell and "\u202e" not in cell
    if text.isprintable():
        assert cell.removeprefix("'") == text


def test_numbers_of_csv_stay_numbers():
    frame = pd.DataFrame({"rate": [-1.5, float("-inf")], "truncation": ["-3", "+2e-5"]})
    assert tables.csv(frame) == "rate,truncation\n-1.5,-3\n-inf,+2e-5\n"


def test_the_terminal_obeys_no_text(capsys):
    say("red \x1b[31m\nnext \x9b2J\r\u202e")
    say("\x1b]0;title\x07", error=True)
    printed = capsys.readouterr()
    assert printed.out == "red \\x1b[31m\nnext \\x9b2J\\r\\u202e\n"
    assert printed.err == "\\x1b]0;title\\x07\n"


def test_each_output_has_its_escape():
    assert escapes.escape_markdown("a|b\x1b $x$ <i>") == r"a\|b\\x1b \$x\$ &lt;i&gt;"
    assert escapes.escape_latex("a_b\x1b 50% [") == r"a\_b\textbackslash{}x1b 50\% {[}"
    frame = pd.DataFrame({"name\x1b": ["$x$\x1b"], "networks": [1]})
    for text in (tables.markdown(frame), tables.latex(frame), tables.format_table(frame), tables.csv(frame)):
        assert "\x1b" not in text
