"""Names of a user's own networks: kept by content, in the order given, beside the runs and in no run's identity."""

import os
import time

import pyarrow as pa
import pytest

from bpttlab.errors import ConfigurationError, StoreError
from bpttlab.store.columns import NETWORK_NAMES
from bpttlab.store.file_names import (
    NAMES_FOLDER,
    NamedFile,
    distinct_labels,
    merge_names,
    pooled_labels,
    read_names,
    with_names,
    write_names,
)
from bpttlab.store.records import to_bytes

pytestmark = pytest.mark.usefixtures("quick_disk")
A, B, C, D = (letter * 32 for letter in "abcd")


def files(*named):
    """(content, file) or (content, file, label) as names."""
    return [NamedFile(*one) for one in named]


def order(*records):
    """The letters of the contents after records of these letters."""
    merged = merge_names([files(*((letter * 32, letter) for letter in record)) for record in records])
    return "".join(named.file for named in merged)


def test_names_are_read_as_they_were_written(tmp_path):
    written = files((B, "größe=1.npz", "lr=0.1"), (A, "runs/a.safetensors"))
    write_names(tmp_path, written)
    assert read_names(tmp_path) == written
    assert read_names(tmp_path / "another") == []


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (["ab", "b"], "ab"),
        (["ab", "ba"], "ba"),
        (["ac", "abc"], "abc"),
        (["ab", "cb"], "acb"),
        (["abcd", "db"], "adcb"),
        (["ab", "dc"], "abdc"),
        (["b", "ab"], "ab"),
    ],
)
def test_a_later_line_puts_its_own_files_in_its_order(records, expected):
    assert order(*records) == expected


def test_the_last_name_holds_and_a_label_until_another_is_given(tmp_path):
    write_names(tmp_path, files((A, "a.npz", "first")))
    write_names(tmp_path, files((A, "renamed.npz")))
    assert read_names(tmp_path) == files((A, "renamed.npz", "first"))
    write_names(tmp_path, files((A, "renamed.npz", "second")))
    assert read_names(tmp_path) == files((A, "renamed.npz", "second"))


def test_nothing_is_written_that_is_known(tmp_path):
    for named in ((A, "a.npz", "one"), (A, "a.npz", "one"), (A, "a.npz")):
        write_names(tmp_path, files(named))
    write_names(tmp_path, [])
    assert len(os.listdir(tmp_path / NAMES_FOLDER)) == 1


def test_what_is_no_hash_of_a_file_is_not_recorded(tmp_path):
    write_names(tmp_path, files(("chapter one", "book.txt")))
    assert read_names(tmp_path) == [] and not (tmp_path / NAMES_FOLDER).exists()


def test_of_equal_files_the_first_name_holds(tmp_path):
    write_names(tmp_path, files((A, "a.npz"), (B, "b.npz"), (A, "copy.npz")))
    assert read_names(tmp_path) == files((A, "a.npz"), (B, "b.npz"))


def test_names_that_differ_at_the_end_lose_the_suffix():
    assert distinct_labels(files((A, "runs/lstm_0.safetensors"), (B, "lstm.100.npz"))) == ["lstm_0", "lstm.100"]


def test_as_many_folders_are_shown_as_distinguish_the_files():
    paths = [(A, "x/one/best.npz"), (B, "x/two/best.npz"), (C, "last.npz"), (D, "y/two/best.npz")]
    assert distinct_labels(files(*paths)) == ["one/best", "x/two/best", "last", "y/two/best"]


def test_labels_that_are_alike_have_their_files_behind_them():
    named = files((A, "a.npz", "trained"), (B, "b.npz", "trained"), (C, "c.npz", "raw"), (D, ""))
    assert distinct_labels(named) == ["trained (a)", "trained (b)", "raw", "dddddddd"]


def test_a_file_that_was_replaced_is_told_by_its_hash():
    assert distinct_labels(files((A, "a.npz"), (B, "a.npz"))) == ["a (aaaaaaaa)", "a (bbbbbbbb)"]


def test_files_of_one_label_or_of_none_are_pooled():
    assert pooled_labels(files((A, "a", "x"), (B, "b"), (C, "c", "x"), (D, "d"))) == [
        "x",
        "all files",
        "x",
        "all files",
    ]


def runs_of(*contents):
    cells = ["elman" if content is None else "from_file" for content in contents]
    ids = [f"id{place}" for place in range(len(contents))]
    return pa.table({"run_id": ids, "network_id": ids, "cell": cells, "cell_content": pa.array(contents, pa.string())})


def test_runs_have_the_names_beside_the_content():
    named = with_names(runs_of(B, None, A, C), files((A, "a.npz"), (B, "b.npz", "bee"), (D, "d.npz")))
    assert named.column_names == [
        "run_id",
        "network_id",
        "cell",
        "cell_content",
        "network_file",
        "cell_label",
        "network_order",
    ]
    assert named["network_file"].to_pylist() == ["b.npz", None, "a.npz", None]
    assert named["cell_label"].to_pylist() == ["bee", None, "a", "cccccccc"]
    assert named["network_order"].to_pylist() == [2, None, 1, 3]


def test_an_update_and_a_start_hold_until_others_are_given(tmp_path):
    write_names(tmp_path, files((A, "a.npz", None, 0, A), (B, "b.npz", None, 400, A)))
    write_names(tmp_path, files((B, "renamed.npz", "late")))
    assert read_names(tmp_path) == files((A, "a.npz", None, 0, A), (B, "renamed.npz", "late", 400, A))
    write_names(tmp_path, files((B, "renamed.npz", None, 500)))
    assert read_names(tmp_path)[1] == NamedFile(B, "renamed.npz", "late", 500, A)


def test_a_record_without_updates_is_as_it_was(tmp_path):
    write_names(tmp_path, files((A, "a.npz")))
    (record,) = (tmp_path / NAMES_FOLDER).iterdir()
    assert b"update" not in record.read_bytes() and b"start" not in record.read_bytes()


@pytest.mark.parametrize(("name", "value"), [("update", -1), ("update", "7"), ("update", True), ("start", "x")])
def test_a_record_of_no_training_is_damaged(tmp_path, name, value):
    entry = {"content": A, "file": "a.npz", "label": None, name: value}
    (tmp_path / NAMES_FOLDER).mkdir()
    path = tmp_path / NAMES_FOLDER / f"{1:020d}-{'0' * 16}.json"
    path.write_bytes(to_bytes({"version": 2, "files": [entry]}))
    with pytest.raises(StoreError, match="an? (update|start) is no"):
        read_names(tmp_path)


def test_files_with_updates_are_networks_in_training():
    named = files((A, "a.npz", None, 0, A), (B, "b.npz", None, 400, A), (C, "c.npz"), (D, "d.npz", "adam", 7))
    runs = with_names(runs_of(B, None, A, C, D), named)
    assert runs["network_id"].to_pylist() == [A, "id1", A, "id3", D]
    assert runs["update"].to_pylist() == [400, None, 0, None, 7]
    assert runs["cell_label"].to_pylist() == ["all files", None, "all files", "c", "adam"]
    assert runs.schema.field("update").type == pa.int64()


def test_pooled_files_are_networks_beside_drawn_ones():
    named = with_names(runs_of(B, None, A), files((A, "a.npz"), (B, "b.npz")), pool=True)
    assert "cell_content" not in named.column_names
    assert named["network_id"].to_pylist() == [B, "id1", A]
    assert named["cell_label"].to_pylist() == ["all files", None, "all files"]
    assert named["network_order"].to_pylist() == [1, None, 1]


def test_a_field_of_a_cell_of_ones_own_keeps_its_column():
    runs = runs_of(A, None).append_column("cell_label", pa.array([None, "mine"], pa.string()))
    assert with_names(runs, files((A, "a.npz"))) is runs
    with pytest.raises(ConfigurationError, match="networks=path: a cell of your own has the field cell_label"):
        with_names(runs, [], pool=True)


def test_thousands_of_files_take_no_time():
    many = [NamedFile(f"{number:032x}", f"{number}.npz") for number in range(20_000)]
    assert len(merge_names([many, many[::-1], many[::2]])) == 20_000


def test_tasks_of_files_have_their_names_without_labels():
    runs = pa.table({"run_id": ["0", "1", "2"], "task_content": pa.array([A, None, B], pa.string())})
    named = with_names(runs, files((B, "b.npz", "label"), (A, "walks/a.npz")))
    assert named.column_names == ["run_id", "task_content", "data_file"]
    assert named["data_file"].to_pylist() == ["a", None, "b"]


def test_runs_without_files_have_no_names():
    runs = runs_of(None).drop_columns(["cell_content"])
    assert with_names(runs, [], pool=True) is runs
    assert not {column.name for column in NETWORK_NAMES} & set(runs.column_names)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"version": 2, "files": []}',  # without SHA-256
        to_bytes({"version": 1, "files": []}),
        to_bytes({"version": 2}),
        to_bytes({"version": 2, "files": 3}),
        to_bytes({"version": 2, "files": [3]}),
        to_bytes({"version": 2, "files": [{"content": "../x", "file": "a", "label": None}]}),
        to_bytes({"version": 2, "files": [{"content": 3, "file": "a", "label": None}]}),
        to_bytes({"version": 2, "files": [{"content": A, "file": 3, "label": None}]}),
        to_bytes({"version": 2, "files": [{"content": A, "file": "a", "label": ["x"]}]}),
        to_bytes({"version": 2, "files": [{"content": A, "file": "\ud800", "label": None}]}),
        to_bytes({"version": 2, "files": []})[:-1] + b" ",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_record_of_something_else_is_refused_in_one_line(tmp_path, data):
    (tmp_path / NAMES_FOLDER).mkdir()
    (tmp_path / NAMES_FOLDER / f"{1:020d}-{'0' * 16}.json").write_bytes(data)
    with pytest.raises(StoreError, match=r"\.json cannot be read .*bpttlab repair study=") as caught:
        read_names(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_clock_that_was_set_back_changes_no_order(tmp_path, monkeypatch):
    for label, now in (("first", 5 * 10**18), ("second", 10**18), ("third", 3)):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        write_names(tmp_path, [NamedFile(A, "a.npz", label)])
    assert [one.label for one in read_names(tmp_path)] == ["third"]


def test_a_long_label_is_cut_where_it_is_written(tmp_path):
    write_names(tmp_path, [NamedFile(A, "a.npz", "x" * 1_000_000)])
    (named,) = read_names(tmp_path)
    assert named.label.endswith("… (cut: it has 1,000,000 characters)")


def test_links_are_not_followed_and_other_files_are_ignored(tmp_path):
    (tmp_path / NAMES_FOLDER).mkdir()
    (tmp_path / NAMES_FOLDER / "notes.txt").write_text("mine")
    assert read_names(tmp_path) == []
    (tmp_path / NAMES_FOLDER / f"{1:020d}-{'0' * 16}.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="a link or a folder"):
        read_names(tmp_path)
