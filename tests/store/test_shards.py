"""What does not fit is not written, what is written is on disk, and what is damaged or foreign is named."""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpttlab.errors import DamagedShardError, DamageWarning, LabError, StoreError
from bpttlab.store import identity, records, schema, shards
from bpttlab.store.column import arrow_type
from bpttlab.store.store import Store
from bpttlab.sweeps.configuration import Configuration
from tests.support.stored import RUNS, configured, damage_by_flipping, finished, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")


# ------------------------------------------------------------------ records -> bytes


def test_files_have_documented_types_and_are_named_by_hash(here):
    here.publish([finished(seed) for seed in range(4)])
    for name, table in schema.TABLES.items():
        (path,) = shard_files(here, name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        stored = pq.read_table(path)
        documented = {column.name: column for column in table.columns}
        if name == "runs":
            documented |= {column.name: column for column in schema.CONFIGURATION}
        for column in stored.schema:
            if column.name != "task_level":
                assert column.type == arrow_type(documented[column.name].dtype)
        assert set(table.schema.names) <= set(stored.column_names)
        about = identity.parse_canonical(stored.schema.metadata[b"bpttlab"].decode())
        assert (about["schema_version"], about["table"]) == (schema.SCHEMA_VERSION, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.run.update(status="finished"), "status = 'finished': must be one of done, failed, diverged"),
        (lambda run: run.run.update(los=1.0), r"no column 'los'\. Did you mean 'loss'"),
        (lambda run: run.run.update(loss="small"), "column 'loss' must be float64"),
        (lambda run: run.run.pop("configuration"), "must be a mapping, or one as JSON"),
        (lambda run: run.run.update(configuration="[1]"), "must be a mapping, or one as JSON"),
        (lambda run: run.run.update(configuration="{"), "not valid JSON"),
        (lambda run: run.run.pop("run_id"), "run_id"),
        (lambda run: run.tables.update(jacobian={}), r"unknown table 'jacobian'\. Did you mean 'jacobians'"),
        (lambda run: run.tables.update(runs={}), "unknown table 'runs'"),
        (lambda run: run.tables["jacobians"].update(lags=[1]), r"no column 'lags'\. Did you mean 'lag'"),
        (lambda run: run.provenance.update(host="x"), "table 'provenance' .* no column 'host'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(here, change, message):
    run = finished(0)
    change(run)
    with pytest.raises(LabError, match=message) as told:
        here.publish([finished(1), run])
    assert "\n" not in str(told.value)
    assert not here.root.exists()


def test_a_run_is_there_once_in_a_batch(here):
    with pytest.raises(StoreError, match="occurs twice"):
        here.publish([finished(0), finished(0)])


def test_the_configurations_columns_may_come_along(here):
    run = finished(0)
    run.run.update(schema.flatten(configured(0)))
    here.publish([run])
    assert here.load().runs["cell_hidden_size"].tolist() == [4]


def test_configuration_may_be_a_mapping_or_any_json(here):
    one, other = finished(0), finished(1)
    stored = {run.run_id: run.run["configuration"] for run in (one, other)}
    one.run["configuration"] = configured(0)
    other.run["configuration"] = " " + other.run["configuration"].replace(",", " , ")
    here.publish([one, other])
    assert here.configurations() == stored


@pytest.mark.parametrize("sizes", [[8], [1] * 8, [3, 5], [2, 1, 4, 1]])
def test_rows_in_parts_are_stored_as_rows_at_once(here, sizes):
    """The type of `task_level` follows from all of its values: a number, a text and a truth value."""
    runs, parts = iter(RUNS), []
    for size in sizes:
        part = shards.Finished.of(list(itertools.islice(runs, size)))
        parts.append(pickle.loads(pickle.dumps(part)))  # as it comes from a worker
    together, at_once = shards.Finished.join(parts), shards.Finished.of(RUNS)
    assert together.runs_table().equals(at_once.runs_table())
    assert sorted(together.siblings) == sorted(at_once.siblings)
    for name, rows in at_once.siblings.items():
        assert together.siblings[name].sort_by("run_id").equals(rows.sort_by("run_id"))
    assert together.column("error") == [run.run.get("error") for run in RUNS]


def test_a_run_is_there_once_in_all_parts(here):
    part = shards.Finished.of([finished(0)])
    with pytest.raises(StoreError, match="occurs twice"):
        here.publish_rows(shards.Finished.join([part, shards.Finished.of([finished(1)]), part]))


@pytest.mark.parametrize(
    "fields", [{}, {"scales": {"b": -0.0}, "truncation": 3}, {"cell": {"name": "gru", "hidden_size": 3}, "seed": 2**40}]
)
def test_a_configuration_brings_the_columns_that_its_text_has(fields):
    text = Configuration.parse(fields).described
    assert type(text) is schema.Described
    as_read = schema.flatten(identity.parse_canonical(text))
    assert sorted(text.columns) == sorted(as_read)
    assert {name: repr(text.columns[name]) for name in as_read} == {name: repr(as_read[name]) for name in as_read}
    again = pickle.loads(pickle.dumps(text))
    assert (again, again.columns) == (text, text.columns)


# ------------------------------------------------------------------ bytes -> files


def test_every_byte_and_name_is_on_disk_before_it_is_relied_upon(here, monkeypatch):
    events = []

    def fsync(descriptor):
        events.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))

    real = os.replace

    def replace(source, target):
        events.append(("rename", str(source), str(target)))
        real(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    here.publish([finished(0)])
    *renames, head = [event for event in events if event[0] == "rename"]
    assert Path(head[2]).parent.name == "commits"
    committed, events = events.index(renames[-1]), events[: events.index(head) - 2]
    assert [Path(target).parent.name for _, _, target in renames[-1:]] == ["runs"]
    assert events[committed + 1 :] == [("fsync", str(here.path / "store" / "runs"))]
    for rename in renames:
        _, source, target = rename
        assert Path(source).name.startswith(".")
        assert events.index(("fsync", source)) < events.index(rename)
        synced = events.index(("fsync", str(Path(target).parent)), events.index(rename))
        assert synced < committed or rename is renames[-1]
    for folder in (here.root.parent, here.root, here.path, here.path / "store"):
        assert events.index(("fsync", str(folder))) < committed


def test_folders_that_another_writer_made_are_on_disk_too(here, monkeypatch):
    """Its crash between making them and fsync must not take this writer's runs along."""
    for table in schema.TABLES:
        (here.path / "store" / table).mkdir(parents=True)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    here.publish([finished(0)])
    assert {str(here.root), str(here.path), str(here.path / "store")} <= set(synced)


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_file(here, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    here.publish([finished(0)])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device") as told:
        here.publish([finished(1)])
    assert "\n" not in str(told.value)
    assert len(here.statuses()) == 1
    assert not list(here.root.rglob("*.tmp"))


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("table", schema.TABLES)
def test_any_flipped_bit_is_noticed_and_its_shard_named(here, table):
    here.publish([finished(seed) for seed in range(3)])
    here.publish([finished(3)])
    rng, path = random.Random(table), shard_files(here, table)[0]
    sound = path.read_bytes()
    for _ in range(2):
        damage_by_flipping(path, rng)
        with pytest.warns(DamageWarning, match=f"store/{table}/{path.name}"):
            Store(here.root, "first").load().table(table)
        with pytest.raises(DamagedShardError, match=path.stem):
            here.verify()
        path.write_bytes(sound)
    assert here.verify() == 2 * len(schema.TABLES)


def as_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def as_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("table", ["runs", "jacobians"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_bytes(b""), "its bytes are not those"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "its bytes are not those"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "its bytes are not those"),
        (as_a_link, "a link or a folder"),
        (as_a_folder, "a link or a folder"),
        (as_a_pipe, "a link or a folder"),
    ],
)
def test_what_is_no_longer_the_published_file_is_named(here, table, change, reason):
    here.publish([finished(0)])
    (path,) = shard_files(here, table)
    change(path)
    told = rf"store/{table}/{path.name} \({reason}"
    with pytest.raises(DamagedShardError, match=told) if table == "runs" else pytest.warns(DamageWarning, match=told):
        here.load().table(table)


def test_a_missing_sibling_is_noticed_before_it_is_asked_for(here):
    here.publish([finished(0)])
    (path,) = shard_files(here, "lag_terms")
    path.unlink()
    for read in (here.statuses, here.verify, here.sweep_up):
        with pytest.raises(DamagedShardError, match=rf"lag_terms/{path.name} \(missing; 1 run: "):
            read()
    with pytest.warns(DamageWarning, match=rf"lag_terms/{path.name} \(missing; 1 run: "):
        here.load()


def test_all_damage_is_told_at_once_with_its_runs_and_what_to_do(here):
    runs = [finished(seed) for seed in range(3)]
    for run in runs:
        here.publish([run])
    one, two, three = here.commits()
    named = [("jacobians", one.shards_of("jacobians")[0]), ("lag_terms", two.shards_of("lag_terms")[0])]
    damaged = [here.path / "store" / table / f"{name}.parquet" for table, name in [*named, ("runs", three.name)]]
    for path in damaged:
        damage_by_flipping(path, random.Random(1))
    with pytest.raises(DamagedShardError) as told:
        here.verify()
    message = str(told.value)
    assert "\n" not in message
    for path in damaged:
        assert f"store/{path.parent.name}/{path.name} (its bytes are not those that were published" in message
    assert all(run.run_id in message for run in runs)
    assert f"bpttlab repair study=first results={here.root} sets them aside" in message


def test_an_unreadable_file_is_not_called_damaged(here, monkeypatch):
    """Deleting the commit would be the wrong advice."""
    here.publish([finished(0)])

    def refuse(path, most):
        raise OSError(24, "Too many open files")

    for module in (shards, records):
        monkeypatch.setattr(module, "read_file", refuse)
    with pytest.raises(StoreError, match="Too many open files") as told:
        Store(here.root, "first").load()
    assert not isinstance(told.value, DamagedShardError)


# ------------------------------------------------------------------ versions and foreign files


def test_another_version_is_refused_by_name(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", 99)
        here.publish([finished(0)])
    with pytest.raises(
        StoreError, match=f"version 99 of the tables; this bpttlab reads version {schema.SCHEMA_VERSION}"
    ):
        here.load()


def put(here: Store, table: str, rows: pa.Table) -> Path:
    """A file that is what its name says, written by something else."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    data = sink.getvalue().to_pybytes()
    path = here.path / "store" / table / f"{hashlib.sha256(data).hexdigest()}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def described(rows: pa.Table, **about: Any) -> pa.Table:
    about = {"schema_version": schema.SCHEMA_VERSION, "table": "runs", "published": 1, "siblings": {}} | about
    return rows.replace_schema_metadata({b"bpttlab": identity.canonical(about)})


@pytest.mark.parametrize(
    "rows",
    [
        pa.table({"run_id": ["r"]}),
        pa.table({"run_id": ["r"]}).replace_schema_metadata({b"bpttlab": b"["}),
        pa.table({"run_id": ["r"]}).replace_schema_metadata({b"bpttlab": b"\xff"}),
        pa.table({"run_id": ["r"]}).replace_schema_metadata({b"bpttlab": b"1"}),
        pa.table({"run_id": ["r"]}).replace_schema_metadata({b"bpttlab": b"[" * 10_000}),
        described(pa.table({"run_id": ["r"]})),
        described(schema.RUNS.schema.empty_table(), table="jacobians"),
        described(schema.RUNS.schema.empty_table(), siblings={"jacobians": ["../../../secret"]}),
        described(schema.RUNS.schema.empty_table(), siblings={"../secret": ["0" * 64]}),
        described(schema.RUNS.schema.empty_table(), siblings={"runs": ["0" * 64]}),
        described(schema.RUNS.schema.empty_table(), siblings=[1]),
        described(schema.RUNS.schema.empty_table(), published="now"),
    ],
    ids=range(12),
)
def test_foreign_files_are_refused_by_name(here, rows):
    path = put(here, "runs", rows)
    with pytest.raises(DamagedShardError, match=path.name) as told:
        here.load()
    assert len(str(told.value)) < 700
    here.publish([finished(0)])
    with pytest.warns(DamageWarning, match=path.name):
        assert len(here.load().runs) == 1


def test_a_foreign_file_that_is_not_parquet_is_refused_by_name(here):
    data = b"#!/bin/sh\n"
    path = here.path / "store" / "runs" / f"{hashlib.sha256(data).hexdigest()}.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{path.name} \(not a file that bpttlab wrote"):
        here.load()
