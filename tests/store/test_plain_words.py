"""Damage is told in plain words: what is wrong with the file, which runs it has (or none), and what to type."""

import hashlib
import io
import itertools
import json
import random
import re
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpttlab import processes
from bpttlab.errors import LEFT_OUT, LONGEST_MESSAGE, DamageWarning, LabError
from bpttlab.store.damage import Damage, Fault
from bpttlab.store.identity import id_of
from bpttlab.store.shards import METADATA
from bpttlab.store.store import Store, repair
from tests.support.stored import RUNS, damage_by_flipping, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")

ERRORS_OF_PYTHON = re.compile(r"\b\w*(Error|Exception)\b")


@pytest.fixture
def stored(here):
    """Two commits of two runs."""
    here.publish(RUNS[:2])
    here.publish(RUNS[2:4])
    return here


def survey(here):
    return Store(here.root, "first").survey()[1]


# ------------------------------------------------------------------ a commit that was deleted


def compute_again(here):
    store = Store(here.root, "first")
    store.sweep_up()
    store.publish([run for run in RUNS[:4] if run.run_id not in store.statuses()])


STEPS = {"sweep": compute_again, "repair": lambda here: repair("first", here.root), "status": survey}
ORDERS = [order for n in (2, 3) for order in itertools.product(STEPS, repeat=n) if {"sweep", "repair"} <= set(order)]
WAYS = list(zip(ORDERS[::2], itertools.cycle(["shards", "shards", "nothing"]), strict=False))


@pytest.mark.parametrize(
    ("order", "kept"),
    [pytest.param(*way, marks=[] if place < 3 else pytest.mark.slow) for place, way in enumerate(WAYS)],
)
def test_in_any_order_a_deleted_commit_is_settled(stored, monkeypatch, order, kept):
    monkeypatch.setattr(processes, "find_state", lambda name: processes.ENDED)  # what nobody needs is litter at once
    lost = stored.commits()[0]
    (stored.path / "store" / "runs" / f"{lost.name}.parquet").unlink()
    if kept == "nothing":
        (stored.path / "store" / "provenance" / f"{lost.shards_of('provenance')[0]}.parquet").unlink()
    for step in order:
        STEPS[step](stored)
    compute_again(stored)
    assert not survey(stored)
    assert not repair("first", stored.root)
    assert set(Store(stored.root, "first").statuses()) == {run.run_id for run in RUNS[:4]}


def test_nobody_misses_a_commit_after_its_runs_are_stored_again(stored, monkeypatch):
    monkeypatch.setattr(processes, "find_state", lambda name: processes.ENDED)
    shard_files(stored, "runs")[0].unlink()
    for _ in range(3):
        compute_again(stored)
        assert not survey(stored)
    done = repair("first", stored.root)
    assert [fault.reason for fault in done.gone] == ["a commit that is missing, and all its runs are stored again"]
    assert not done.runs and not survey(stored) and not repair("first", stored.root)


@pytest.mark.parametrize("table", ["runs", "jacobians"])
def test_a_repair_names_what_is_missing_beside_what_it_moves(stored, table):
    path = shard_files(stored, table)[0]
    path.unlink()
    done = repair("first", stored.root)
    assert [fault.file for fault in done.gone] == [f"store/{table}/{path.name}"]
    assert len(done.gone[0].runs) == 2
    assert all(fault.reason.startswith("not damaged; it belongs to a commit") for fault in done.aside)


# ------------------------------------------------------------------ records and foreign files

RECORDS = {
    "no JSON": "{",
    "another form than": "[]",
    "it has no version": "{}",
    "no text in UTF-8": b"\xff",
    "it has version 99": '{"version": 99}',
}


@pytest.mark.parametrize("said", RECORDS)
def test_a_damaged_record_is_told_without_errors_of_python(stored, said):
    (path,) = (stored.path / "commits").iterdir()
    text = RECORDS[said]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    damage = survey(stored)
    message = damage.describe()
    assert said in message and "no run depends on it" in message and not ERRORS_OF_PYTHON.search(message)
    assert damage.remedy.endswith("sets it aside; no run is missing")


def as_parquet(rows, about=None):
    sink = io.BytesIO()
    metadata = None if about is None else {METADATA: json.dumps(about)}
    pq.write_table(rows.replace_schema_metadata(metadata), sink)
    return sink.getvalue()


FOREIGN = {
    "its Parquet cannot be decoded": b"hello",
    "it does not say that bpttlab wrote it": as_parquet(pa.table({"a": [1]})),
    "no schema_version": as_parquet(pa.table({"a": [1]}), {}),
}


@pytest.mark.parametrize("said", FOREIGN)
def test_a_foreign_commit_is_told_without_errors_of_python(stored, said):
    name = hashlib.sha256(FOREIGN[said]).hexdigest()
    (stored.path / "store" / "runs" / f"{name}.parquet").write_bytes(FOREIGN[said])
    damage = survey(stored)
    assert f"{name}.parquet (not a file that bpttlab wrote: " in damage.describe()
    assert said in damage.describe() and "its runs are not known" in damage.describe()
    assert not ERRORS_OF_PYTHON.search(damage.describe())
    assert damage.remedy.endswith("then bpttlab status names the sweep lines that lack runs, if any")
    assert repair("first", stored.root).runs == () and not survey(stored)


def test_runs_that_another_commit_has_are_not_to_be_computed(stored):
    stored.publish(RUNS[:2])
    again = next(one for one in stored.commits() if one.place.number == 3)
    damage_by_flipping(
        stored.path / "store" / "jacobians" / f"{again.shards_of('jacobians')[0]}.parquet", random.Random(1)
    )
    assert survey(stored).remedy.endswith("no run is missing")


# ------------------------------------------------------------------ what is inside a commit


def replace_commit(here, change):
    """A commit of the same place whose rows were changed, under its own SHA-256."""
    path = shard_files(here, "runs")[0]
    file = pq.ParquetFile(path)
    sink = io.BytesIO()
    pq.write_table(change(file.read()).replace_schema_metadata(file.schema_arrow.metadata), sink, compression="NONE")
    data = sink.getvalue().replace(b"\x00not text", b"\xffnot text")
    path.unlink()
    path.with_name(f"{hashlib.sha256(data).hexdigest()}.parquet").write_bytes(data)
    (head,) = (here.path / "commits").iterdir()
    head.unlink()


def with_first(column, value):
    def change(rows):
        values = [value, *rows[column].to_pylist()[1:]]
        return rows.set_column(
            rows.column_names.index(column), rows.schema.field(column), pa.array(values, pa.string())
        )

    return change


UNREADABLE = '{"seed":0}'
CHANGES = {
    "configuration": with_first("configuration", UNREADABLE),
    "with its id": lambda rows: with_first("run_id", id_of(UNREADABLE))(with_first("configuration", UNREADABLE)(rows)),
    "error": with_first("error", "\x00not text"),
    "status": with_first("status", "\x00not text"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_rest_is_read_beside_a_commit_that_cannot_be(stored, what):
    replace_commit(stored, CHANGES[what])
    store = Store(stored.root, "first")
    with pytest.warns(DamageWarning) as told:
        assert len(store.load().runs) == 2
    message = str(told[0].message)
    assert "store/runs/" in message and not ERRORS_OF_PYTHON.search(message)
    assert ("cannot be read: it has no" in message) == (what in ("configuration", "with its id"))
    repair("first", stored.root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Store(stored.root, "first").load().runs) == 2


# ------------------------------------------------------------------ long messages


def test_a_long_message_says_that_a_part_is_left_out():
    text = str(LabError("seed" + "x" * 10_000 + "end"))
    assert text.startswith("seedx") and text.endswith("xend")
    assert LONGEST_MESSAGE - 20 < len(text) <= LONGEST_MESSAGE
    (count,) = re.findall(r"\((.*) characters are left out here\)", text)
    assert len(text) - len(LEFT_OUT.format(0)) - len(count) + 1 + int(count.replace(",", "")) == 10_007


def test_the_line_to_type_stands_behind_any_number_of_files(tmp_path):
    damage = Damage(tmp_path / "my results" / "first")
    for number in range(100):
        damage.note(Fault(f"store/jacobians/{number:064x}.parquet", "missing", tuple(f"{n:032x}" for n in range(9))))
    assert len(damage.describe()) < LONGEST_MESSAGE
    assert (
        f"to mend it: bpttlab repair study=first 'results={tmp_path}/my results' sets them aside" in damage.describe()
    )
    assert "and 90 more (bpttlab status names all)" in damage.describe()
