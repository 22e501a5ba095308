"""What is whole is read, and what is not is named with its runs; a launch computes nothing beside damage."""

import random
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpttlab.errors import DamagedShardError, DamageWarning
from bpttlab.store import schema, shards
from bpttlab.store.shards import LARGEST_CANONICAL, name_shard
from bpttlab.store.store import Store
from tests.support.stored import MEASURES, contents, damage_by_flipping, finished, shard_files

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def damaged(here):
    """Three commits of two runs; a shard of jacobians of the first is damaged, whose runs are given."""
    runs = [finished(seed) for seed in range(6)]
    for some in (runs[:2], runs[2:4], runs[4:]):
        here.publish(some)
    commit = next(one for one in here.commits() if runs[0].run_id in one.run_ids)
    path = here.path / "store" / "jacobians" / f"{commit.shards_of('jacobians')[0]}.parquet"
    damage_by_flipping(path, random.Random(3))
    return path, {run.run_id for run in runs[:2]}


def read_quietly(store, table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        return store.load().table(table)


def test_the_rest_of_a_damaged_table_is_read_with_a_warning(here, damaged):
    path, runs = damaged
    store = Store(here.root, "first")
    with pytest.warns(DamageWarning) as told:
        rows = store.load().jacobians
    (message,) = {str(one.message) for one in told}
    assert f"store/jacobians/{path.name}" in message
    assert all(run_id in message for run_id in runs)
    assert f"bpttlab repair study=first results={here.root}" in message
    assert set(rows["run_id"]) == set(store.load().runs["run_id"]) - runs


@pytest.mark.parametrize("table", [name for name in MEASURES if name != "jacobians"])
def test_intact_tables_have_all_runs(here, damaged, table):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamageWarning)
        assert len(set(Store(here.root, "first").load().table(table)["run_id"])) == 6


def test_the_runs_of_a_damaged_commit_are_known(here):
    here.publish([finished(0), finished(1)])
    lost = {finished(0).run_id, finished(1).run_id}
    (path,) = shard_files(here, "runs")
    here.publish([finished(2)])
    damage_by_flipping(path, random.Random(0))
    with pytest.warns(DamageWarning) as told:
        study = Store(here.root, "first").load()
    assert set(study.damage.runs) == lost
    assert all(run_id in str(told[0].message) for run_id in lost)
    assert study.runs["run_id"].tolist() == [finished(2).run_id]
    assert set(study.lag_terms["run_id"]) == {finished(2).run_id}


def test_a_launch_reads_the_bytes_of_all_shards(here, damaged):
    path, _ = damaged
    store = Store(here.root, "first")
    for act in (store.statuses, store.configurations, store.sweep_up, lambda: store.refuse_collisions({})):
        with pytest.raises(DamagedShardError, match=path.name):
            act()


def test_a_sound_shard_is_read_once_by_one_store(here, monkeypatch):
    here.publish([finished(0)])
    store, read, real = Store(here.root, "first"), [], shards.read_file
    monkeypatch.setattr(shards, "read_file", lambda path, most: read.append(path) or real(path, most))
    for _ in range(3):
        store.statuses()
    assert len(read) == len(schema.TABLES)


def test_of_two_commits_of_a_run_the_whole_one_counts(here):
    for _ in range(2):
        here.publish([finished(0), finished(1)])
    for broken in here.commits():
        (name,) = broken.shards_of("jacobians")
        path = here.path / "store" / "jacobians" / f"{name}.parquet"
        path.rename(path.with_suffix(".away"))
        assert len(read_quietly(Store(here.root, "first"), "jacobians")) == 12
        path.with_suffix(".away").rename(path)


def test_a_study_with_nothing_whole_is_an_error(here):
    here.publish([finished(0)])
    damage_by_flipping(shard_files(here, "runs")[0], random.Random(0))
    with pytest.raises(DamagedShardError, match="bpttlab repair"):
        here.__class__(here.root, "first").load()


def test_a_record_of_names_that_is_damaged_stops_nothing(here):
    here.publish([finished(0)])
    (here.path / "file_names").mkdir()
    (here.path / "file_names" / f"{'0' * 20}-{'a' * 16}.json").write_text("{}")
    with pytest.warns(DamageWarning, match="file_names/0"):
        assert len(here.load().runs) == 1


# ------------------------------------------------------------------ foreign files, and limits


def put(here, table, rows):
    """A file with the right name whose content this package would not write; a commit names it where it may."""
    data = as_bytes(rows)
    path = here.path / "store" / table / f"{name_shard(data)}.parquet"
    path.write_bytes(data)
    return path


def as_bytes(rows):
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def many_rows():
    return pa.table({"run_id": pa.nulls(shards.MOST_CELLS + 1, pa.int64())})


def test_a_small_file_of_many_rows_is_not_decoded(here):
    data, before = as_bytes(many_rows()), pa.total_allocated_bytes()
    assert len(data) < 100_000
    with pytest.raises(LookupError, match="it has 33554433 rows of 1 columns"):
        shards.check_footer(data)
    assert pa.total_allocated_bytes() - before < 10_000_000


TEXTS = {"many": ["r" * 400_000] * 700, "one": ["r" * (LARGEST_CANONICAL + 1)]}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_string_that_is_stored_once_is_no_gigabyte(kind):
    rows = pa.table({"label": pa.array(TEXTS[kind]).dictionary_encode()})
    with pytest.raises(LookupError, match=r"it has .* bytes"):
        shards.decode_strings(rows)


def test_foreign_files_stop_neither_status_nor_reading(here):
    here.publish([finished(0)])
    foreign = [put(here, "runs", pa.table({"run_id": ["r"]})), put(here, "runs", many_rows())]
    commits, damage = Store(here.root, "first").survey()
    assert set(damage.faults) == {f"store/runs/{path.name}" for path in foreign}
    assert len(commits) == 1


def test_another_version_among_ours_is_named(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", 99)
        Store(here.root, "first").publish([finished(0)])
    here.publish([finished(1)])
    with pytest.warns(DamageWarning, match="was written with version 99"):
        assert len(Store(here.root, "first").load().runs) == 1


@pytest.mark.parametrize("limit", ["MOST_CELLS", "MOST_TEXT_BYTES"])
def test_rows_above_the_limits_are_several_shards(here, monkeypatch, limit):
    whole = Store(here.root, "whole")
    runs = [finished(seed) for seed in range(30)]
    whole.publish(runs)
    monkeypatch.setattr(shards, limit, {"MOST_CELLS": 700, "MOST_TEXT_BYTES": 5000}[limit])
    here.publish(runs)
    assert len(shard_files(here, "jacobians")) > 1
    monkeypatch.undo()
    assert contents(here) == contents(whole)
    assert here.verify() > whole.verify()


# ------------------------------------------------------------------ long texts


@pytest.mark.parametrize("length", [schema.LONGEST_TEXT, schema.LONGEST_TEXT + 1, 3_000_000])
def test_a_long_reason_is_cut_and_says_so(here, length):
    for _ in range(2):
        here.publish([finished(0, "failed", error="é" * length)])
    (error,) = Store(here.root, "first").load().runs["error"]
    if length <= schema.LONGEST_TEXT:
        assert error == "é" * length
    else:
        assert error.endswith(f"… (cut: it has {length:,} characters)") and len(error) < schema.LONGEST_TEXT + 100


def test_texts_of_measures_and_provenance_are_cut(here):
    run = finished(0)
    run.provenance["plugin_files"] = "p" * 2_000_000
    run.tables["blocks"]["block"] = ["b" * 2_000_000] * 6
    here.publish([run])
    study = here.load()
    assert study.provenance["plugin_files"][0].endswith("characters)")
    assert study.blocks["block"].str.len().max() < schema.LONGEST_TEXT + 100


def test_a_large_configuration_may_be_stored_twice(here):
    """Which of two equal runs counts is decided by their contents, of any length."""
    for _ in range(2):
        here.publish([finished(0, notes='"' * 400_000)])
    assert len(here.load().runs) == 1
