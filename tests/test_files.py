"""Files for people are whole and durable; text of any origin is obeyed by no output."""

import ast
import csv
import io
import os
from pathlib import Path

import pandas as pd
import pytest

from bpttlab import escapes, files, processes, tables
from bpttlab.cli.arguments import say
from bpttlab.errors import StoreError
from bpttlab.store.store import Store
from tests.support.stored import finished


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


PACKAGE = Path(files.__file__).parent
WRITES = {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "mkdir", "makedirs", "mkfifo", "truncate"}
MOVES = {"rename", "replace", "renames", "link", "symlink"}
"""Of the module os: a string and a frame have methods of these names too."""
ALLOWED = {
    ("files.py", "write_atomically"),
    ("files.py", "create_exclusively"),
    ("files.py", "move"),
    ("files.py", "link"),
    ("files.py", "make_folder"),
    ("user_environment.py", "private_folder"),
    ("streams.py", "silence"),  # /dev/null
    ("streams.py", "open_closed"),  # /dev/null
    ("training/checkpoints.py", "pack_arrays"),  # into memory; the bytes are written by files.py
}


def writing_calls(path):
    """(function, call) of everything in a file that could write a file, as far as its text shows."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and may_write(call):
                    yield function.name, ast.unparse(call)


def may_write(call):
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    texts = [ast.unparse(one) for one in [*call.args, *(keyword.value for keyword in call.keywords)]]
    if name == "open" and owner == "os":
        return any(flag in text for text in texts for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    if name == "open":
        return any(isinstance(one, ast.Constant) and is_mode(one.value) for one in call.args)
    if name in MOVES:
        return owner == "os"
    if name in {"save", "savez", "dump", "copy", "move", "copyfile"}:
        return owner in {"np", "numpy", "shutil", "pickle", "json", "torch"}
    return name in WRITES


def is_mode(value):
    return isinstance(value, str) and len(value) <= 3 and bool(set(value) & set("wax+"))


def test_no_other_code_of_the_package_writes_files():
    found = {
        (str(path.relative_to(PACKAGE)), function): call
        for path in PACKAGE.rglob("*.py")
        for function, call in writing_calls(path)
    }
    assert {place: call for place, call in found.items() if place not in ALLOWED} == {}


# ------------------------------------------------------------------ links, pipes, lies


def test_a_link_or_a_pipe_in_the_place_of_a_file_is_replaced(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "link.csv").symlink_to(victim)
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("link.csv", "pipe.csv"):
        assert files.publish(tmp_path / name, "new").read_text() == "new"
        assert not (tmp_path / name).is_symlink()
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["tables", "figures", "verify", "export"])
@pytest.mark.parametrize("obstacle", ["link", "dangling link", "file", "pipe"])
def test_the_folder_of_a_kind_of_files_is_no_link(tmp_path, name, obstacle):
    path = tmp_path / name
    if "link" in obstacle:
        path.symlink_to(tmp_path if obstacle == "link" else tmp_path / "nowhere")
    elif obstacle == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("x")
    with pytest.raises(StoreError, match=f"{name} is a (link|file)"):
        files.own_folder(tmp_path, name)


def lie_about_writing(monkeypatch):
    """What is written is reported as written, and half of it is not."""
    real = os.fsync

    def lose_half(descriptor):
        real(descriptor)
        if os.fstat(descriptor).st_size > 1:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)

    monkeypatch.setattr(os, "fsync", lose_half)


def lie_about_renaming(monkeypatch):
    monkeypatch.setattr(os, "replace", lambda old, new: None)


@pytest.mark.parametrize("lie", [lie_about_writing, lie_about_renaming])
def test_a_system_that_lies_does_not_give_a_file_its_name(tmp_path, monkeypatch, lie):
    path = files.publish(tmp_path / "growth.csv", "old")
    with monkeypatch.context() as patch:
        lie(patch)
        with pytest.raises(StoreError, match=r"growth\.csv: (the bytes that were written|it was reported as renamed)"):
            files.publish(path, "something new")
    assert [one.name for one in tmp_path.iterdir()] == ["growth.csv"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("lie", [lie_about_writing, lie_about_renaming])
def test_a_store_on_a_system_that_lies_stores_nothing(here, monkeypatch, lie):
    with monkeypatch.context() as patch:
        lie(patch)
        with pytest.raises(StoreError, match="results cannot be used"):
            here.publish([finished(0)])
    assert Store(here.root, "first").statuses() == {}
    here.publish([finished(0)])
    assert Store(here.root, "first").verify()


def test_temporary_files_name_their_process(tmp_path):
    match = files.TEMPORARY.fullmatch(files.name_temporary(tmp_path).name)
    assert processes.find_state(match[1]) == processes.LIVES


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
