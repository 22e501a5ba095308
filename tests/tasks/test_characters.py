"""The next character of a text: what a batch holds of it, what its content decides, and what is refused."""

import hashlib
import os
import pickle
from importlib import resources

import numpy as np
import pytest

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure_bundle, run
from bpttlab.tasks import Characters, text_files
from bpttlab.tasks.text_files import read_shipped, read_text

TEXT = "ἐν ἀρχῇ ἦν ὁ λόγος,\r\nand the word was — 文.\n" * 3


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(text=TEXT, path="own.txt"):
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


def sample(task, batch_size=5, seed=0):
    return task.sample(np.random.default_rng(seed), batch_size)


def as_text(task, symbols):
    return "".join(task.text.alphabet[symbol] for symbol in symbols)


# what a batch holds ---------------------------------------------------------------------------------------------------


def test_the_text_that_is_shipped_is_the_one_that_is_described():
    data = resources.files("bpttlab.tasks").joinpath("data", "declaration.txt").read_bytes()
    described = resources.files("bpttlab.tasks").joinpath("data", "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(data).hexdigest() in described
    assert (len(read_shipped().characters), len(read_shipped().alphabet)) == (8150, 61)
    assert "".join(read_shipped().alphabet[one] for one in read_shipped().characters) == data.decode("ascii")
    assert Characters(50).baseline_loss == pytest.approx(3.03, abs=0.005)


@pytest.mark.parametrize("text", ["ab", "abracadabra", TEXT, "\r\n\t \0z", "\U0010ffff€"])
def test_a_text_and_its_alphabet(text):
    found = read_text(written(text))
    assert found.alphabet == "".join(sorted(set(text))) and found.characters.dtype == np.uint8
    assert "".join(found.alphabet[one] for one in found.characters) == text


def test_a_byte_order_mark_is_no_character():
    assert read_text(written(b"\xef\xbb\xbfab")).alphabet == "ab"


def test_windows_are_of_the_text_and_target_is_next_character():
    task = Characters(9, written())
    batch = sample(task, 40)
    assert batch.x.shape == (9, 40, len(set(TEXT))) == (9, 40, task.input_size) and task.output_size == task.input_size
    assert (batch.x.sum(axis=-1) == 1).all() and batch.target.dtype == np.int64
    for b in range(40):
        read, requested = (as_text(task, symbols[:, b]) for symbols in (batch.x.argmax(axis=-1), batch.target))
        assert read + requested[-1] in TEXT and requested[:-1] == read[1:]


@pytest.mark.parametrize("length", [1, 4, 25])
def test_a_batch_of_all_holds_each_window_once(length):
    text = "abcdefghijklmnopqrstuvwxyz"
    task = Characters(length, written(text))
    assert task.largest_batch_size == 26 - length
    begins = sample(task, 26 - length).x[0].argmax(axis=-1)
    assert sorted(begins.tolist()) == list(range(26 - length))


@pytest.mark.parametrize("length", [1, 7, 40, len(TEXT) - 1])
def test_the_baseline_is_the_best_guess_for_all_windows(length):
    task = Characters(length, written())
    batch = sample(task, task.largest_batch_size)
    shares = np.array([np.bincount(one, minlength=task.output_size) for one in batch.target]) / task.largest_batch_size
    y_hat = np.repeat(np.log(np.maximum(shares, 1e-300))[:, None], task.largest_batch_size, axis=1)
    assert task.loss(y_hat, batch).value == pytest.approx(task.baseline_loss, rel=1e-12, abs=1e-14)


# identity -------------------------------------------------------------------------------------------------------------


def configured(path="own.txt", **task):
    task = {"name": "characters", "path": path, **task}
    return Configuration.parse({"sequence_length": 7, "task": task, "engine": "numpy"})


def test_identity_has_the_content_of_the_file_not_its_name():
    written(), written(path="elsewhere.md"), written(TEXT + "!", "other.txt")
    same, elsewhere, other = map(configured, ("own.txt", "elsewhere.md", "other.txt"))
    assert same.run_id == elsewhere.run_id != other.run_id
    assert same.task == elsewhere.task and hash(same.task) == hash(elsewhere.task)
    assert same.plain["task"] == {"name": "characters", "content": hashlib.sha256(TEXT.encode()).hexdigest()[:32]}


def test_shipped_text_under_another_name_is_the_same_run():
    data = resources.files("bpttlab.tasks").joinpath("data", "declaration.txt").read_bytes()
    assert configured(written(data)).run_id == configured(None).run_id
    assert configured(None).plain["task"]["content"] == hashlib.sha256(data).hexdigest()[:32]


def test_stored_configuration_and_a_moved_file_repeat_a_run():
    stored = configured(written()).plain
    os.rename("own.txt", "moved.txt")
    again = {**stored, "task": {**stored["task"], "path": "moved.txt"}}
    assert Configuration.parse(again).plain == stored
    with pytest.raises(
        ConfigurationError,
        match="task.content: SHA-256 mismatch: expected .*, the shipped text, which is read without task.path, has ",
    ):
        Configuration.parse(stored)
    written("else", "moved.txt")
    with pytest.raises(
        ConfigurationError, match="task.content: SHA-256 mismatch: expected .*, moved.txt has [0-9a-f]{32}$"
    ):
        Configuration.parse(again)


def test_a_run_has_its_rows():
    records = run(configured(written()))
    assert records.run["status"] == "done" and records.run["task"] == "characters"
    assert records.run["task_content"] == configured().task.content and np.isfinite(records.run["loss"])


def test_changed_file_is_read_again_or_refused():
    before = pickle.loads(pickle.dumps(configured(written())))
    written(TEXT[::-1])
    os.utime("own.txt", ns=(1, 1))
    with pytest.raises(LabError, match=r"own.txt has changed since the run was configured"):
        sample(before.task)
    assert measure_bundle([before])[0].run["status"] == "failed"
    assert configured().run_id != before.run_id


def test_a_task_finds_its_file_from_any_folder(monkeypatch):
    task = Characters(3, written())
    monkeypatch.chdir("/")
    assert sample(task).x.shape[:2] == (3, 5)
    monkeypatch.setenv("HOME", os.path.dirname(task.path))
    assert Characters(3, "~/own.txt").path == task.path


def test_a_file_is_read_once_and_cannot_be_written_to(monkeypatch):
    configured(written())
    monkeypatch.setattr(text_files, "text_of", None)
    with pytest.raises(ValueError, match="read-only"):
        configured().task.text.characters[0] = 0


# what is refused ------------------------------------------------------------------------------------------------------


def refused(message, text=None, **fields):
    if text is not None:
        written(text)
    with pytest.raises(ConfigurationError, match=message) as told:
        Characters(**{"sequence_length": 3, "path": "own.txt", **fields})
    assert "\n" not in str(told.value)


def test_files_that_are_not_there_or_no_files(monkeypatch):
    written(path="boook.txt")
    os.mkdir("folder")
    os.mkfifo("pipe")
    refused(r"task.path='book.txt': there is no such file. Did you mean 'boook.txt'\?", path="book.txt")
    refused("task.path='nowhere/book.txt': there is no such file", path="nowhere/book.txt")
    refused("task.path='folder': is not a file", path="folder")
    refused("task.path='pipe': is not a file", path="pipe")
    refused("task.path='a\\\\x00.txt': cannot be read", path="a\0.txt")
    monkeypatch.setattr(text_files, "LARGEST_TEXT", 10)
    refused(r"task.path='boook.txt': holds \d+ bytes: must be at most 10", path="boook.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("caf\xe9 au lait".encode("latin-1"), r"is not text in UTF-8: byte 3 \(from 0\) is 0xe9; iconv can convert it"),
        ("ab".encode("utf-16"), r"is not text in UTF-8: byte 0 \(from 0\) is 0xff"),
        (b"ab\xe2\x82", r"is not text in UTF-8: byte 2 \(from 0\) is 0xe2"),
        ("", "holds nothing: must have two different characters at least"),
        ("\n\n\n", r"holds only the character '\\n': must have two"),
        ("".join(map(chr, range(0x4E00, 0x4F01))), "has 257 different characters: must be at most 256, an input and"),
    ],
)
def test_texts_that_cannot_be(text, message):
    refused(f"task.path='own.txt': {message}", text)


def test_values_that_fields_cannot_have():
    refused(
        "sequence_length=8: must be at most 7, the characters of own.txt but the last", "abcdefgh", sequence_length=8
    )
    refused("sequence_length=0: must be an integer >= 1", sequence_length=0)
    refused("task.content: SHA-256 mismatch: expected 0, own.txt has ", content="0")
    with pytest.raises(
        ConfigurationError, match="batch_size=6: task 'characters' has 5 sequences, and a batch contains none"
    ):
        sample(Characters(3, "own.txt"), 6)
    assert sample(Characters(7, "own.txt"), 1).x.shape == (7, 1, 8)
    read_text(written("".join(map(chr, range(0x4E00, 0x4F00)))))  # 256 are not too many
