"""What is reported done survives; what is damaged is named; what is loaded does not depend on the layout."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpttlab import identity, schema, store
from bpttlab.configuration import Configuration
from bpttlab.errors import CollisionError, ConfigurationError, DamagedShardError, LabError, StoreError
from bpttlab.experiment import measure_bundle
from bpttlab.store import Store, load, studies

MEASURES = ("jacobians", "lag_terms", "truncations")


@dataclass
class Run:
    """What a worker hands over."""

    run: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.run["run_id"]


def configured(seed: int, **changes: Any) -> dict[str, Any]:
    configuration = {
        "seed": seed,
        "spectral_radius": 1.1 if seed % 3 else None,
        "sequence_length": 9,
        "truncation": "full" if seed % 2 else 5,
        "cell": {"name": "elman", "hidden_size": 4},
        "scheme": {"name": "full"} if seed % 2 else {"name": "windowed", "k1": 2},
        "task": {"name": "made up", "level": [1, 1.5, "high", True][seed % 4]},
    }
    return configuration | changes


def finished(seed: int, status: str = "done", loss: float | None = None, error: str = "", **changes: Any) -> Run:
    """A run with a few rows in each table, or with none if it did not get there."""
    configuration, rng = configured(seed, **changes), np.random.default_rng(seed)
    row = {
        "run_id": identity.run_id(configuration),
        "network_id": f"{seed // 2:032x}",
        "status": status,
        "configuration": identity.canonical(configuration),
    }
    provenance = {"seconds": rng.random(), "started": "2024-01-01T00:00:00+00:00", "git_dirty": False}
    if status != "done":
        return Run({**row, "error": error or None, "first_bad_step": 3 if status == "diverged" else None}, provenance)
    order = rng.permutation(6)
    tables = {
        "jacobians": {
            "sequence": np.repeat([0, 1], 3)[order],
            "t": np.full(6, 9),
            "lag": np.tile([0, 1, 2], 2)[order],
            "log_spectral_norm": np.where(order % 3, rng.normal(size=6), -np.inf),
        },
        "lag_terms": {"parameter": ["W", "V"], "lag": [0, 0], "log_norm": rng.normal(size=2)},
        "truncations": {
            "scheme": ["per_loss"] * 3,
            "truncation": [None, 5, 2],
            "length": [9] * 3,
            "parameter": ["W"] * 3,
            "log_norm": np.full(3, loss or 0.0),
            "origin": ["wavefront"] * 3,
        },
    }
    return Run(
        {**row, "loss": seed / 7 if loss is None else loss, "rank": 4, "horizon_censored": True}, provenance, tables
    )


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def here(tmp_path) -> Store:
    return Store(tmp_path / "results", "first")


def shards(where: Store, table: str) -> list[Path]:
    return sorted((where.path / "store" / table).glob("[0-9a-f]*.parquet"))


def contents(where: Store) -> dict[str, bytes]:
    """Every table but provenance, as bytes: values, types, columns, order and index."""
    study = where.load()
    return {name: study.table(name).to_parquet() for name in ("runs", *MEASURES)}


# ------------------------------------------------------------------ there and back


def test_what_was_published_is_loaded(here):
    runs = [finished(seed) for seed in range(4)] + [finished(4, "failed", error="it broke"), finished(5, "diverged")]
    here.publish(runs)
    study = here.load()
    expected = {run.run_id: run.run for run in runs}
    assert study.runs["run_id"].tolist() == sorted(expected)
    for _, row in study.runs.iterrows():
        run = expected[row["run_id"]]
        for name in ("network_id", "status", "configuration"):
            assert row[name] == run[name]
        assert row["loss"] == run["loss"] if run["status"] == "done" else np.isnan(row["loss"])
        assert row["seed"] == identity.parse(run["configuration"])["seed"]
    by_status = study.runs.set_index("status")
    assert by_status.loc["failed", "error"] == "it broke"
    assert by_status.loc["diverged", "first_bad_step"] == 3
    assert len(study.provenance) == 6
    assert set(study.provenance["seconds"]) == {run.provenance["seconds"] for run in runs}


def test_measures_are_sorted_and_know_their_runs(here):
    runs = [finished(seed) for seed in range(4)]
    here.publish(runs)
    study = here.load()
    keys = study.jacobians[["run_id", "sequence", "t", "lag"]]
    assert keys.values.tolist() == sorted(keys.values.tolist())
    assert study.jacobians.index.tolist() == list(range(24))
    run = runs[2]
    own, given_ = study.jacobians[study.jacobians["run_id"] == run.run_id], run.tables["jacobians"]
    order = np.lexsort((given_["lag"], given_["sequence"]))
    assert own["log_spectral_norm"].tolist() == given_["log_spectral_norm"][order].tolist()
    assert set(own["seed"]) == {2}
    assert set(own["network_id"]) == {run.run["network_id"]}
    assert set(own["status"]) == {"done"}


def test_a_tables_own_columns_keep_their_names(here):
    here.publish([finished(2)])
    truncations = here.load().truncations
    assert truncations["scheme"].tolist() == ["per_loss"] * 3
    assert truncations["truncation"].tolist()[:2] == [2, 5]
    assert truncations["truncation"].isna().tolist() == [False, False, True]
    assert truncations["run_scheme"].tolist() == ["windowed"] * 3
    assert truncations["run_truncation"].tolist() == ["5"] * 3
    assert truncations.columns.is_unique


def test_tables_without_rows_are_empty_with_their_columns(here):
    here.publish([finished(1, "failed", error="x")])
    study = here.load()
    assert study.tables == ("runs", "provenance")
    assert len(study.jacobians) == 0
    assert {"lag", "seed", "network_id"} <= set(study.jacobians.columns)
    assert str(study.jacobians["lag"].dtype) == "int64"


def test_a_study_says_what_it_is(here):
    here.publish([finished(0), finished(1), finished(2, "failed", error="x")])
    study = load("first", here.root)
    assert repr(study) == (
        f"Study 'first' in {here.path}: 3 runs (2 done, 1 failed); "
        "tables runs, provenance, jacobians, lag_terms, truncations"
    )
    assert (study.name, study.path) == ("first", here.path)
    assert set(schema.TABLES) <= set(dir(study))
    assert study.jacobians is study.table("jacobians")
    with pytest.raises(AttributeError, match=r"no 'jacobian'\. Did you mean 'jacobians'"):
        _ = study.jacobian
    with pytest.raises(StoreError, match=r"no table 'lagterms'.*Did you mean 'lag_terms'"):
        study.table("lagterms")


def test_a_real_run_goes_there_and_back(here):
    plain = {"sequence_length": 6, "cell": {"name": "elman", "hidden_size": 3}, "truncation": 4}
    one, other = (Configuration.parse({**plain, "scheme": scheme}) for scheme in ("chunked", "per_loss"))
    here.publish(measure_bundle([one, other]))
    study = here.load()
    assert here.statuses() == {one.run_id: "done", other.run_id: "done"}
    assert study.tables == tuple(schema.TABLES)
    known = {column.name for column in (*schema.RUNS.columns, *schema.CONFIGURATION)}
    assert set(study.runs.columns) <= known
    assert study.provenance.notna().all(axis=None) or study.provenance["git_commit"].isna().all()


# ------------------------------------------------------------------ files


def test_files_have_the_documented_types_and_the_name_of_their_bytes(here):
    here.publish([finished(seed) for seed in range(4)])
    for name, table in schema.TABLES.items():
        (path,) = shards(here, name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        stored = pq.read_table(path)
        documented = {column.name: column for column in table.columns}
        if name == "runs":
            documented |= {column.name: column for column in schema.CONFIGURATION}
        for column in stored.schema:
            if column.name != "task_level":
                assert column.type == schema.ARROW[documented[column.name].dtype]
        assert set(table.schema.names) <= set(stored.column_names)
        about = identity.parse(stored.schema.metadata[b"bpttlab"].decode())
        assert (about["schema_version"], about["table"]) == (schema.SCHEMA_VERSION, name)


def test_the_commit_names_its_siblings(here):
    here.publish([finished(0)])
    (commit,) = here.commits()
    assert [path.stem for path in shards(here, "runs")] == [commit.name]
    for table in ("provenance", *MEASURES):
        assert [path.stem for path in shards(here, table)] == list(commit.named(table))


def test_nothing_else_is_left_in_the_folders(here):
    here.publish([finished(0)])
    files = {path for path in here.root.rglob("*") if not path.is_dir()}
    assert files == {path for table in schema.TABLES for path in shards(here, table)}
    assert len(files) == len(schema.TABLES)


# ------------------------------------------------------------------ the layout makes no difference


RUNS = [finished(seed) for seed in range(6)] + [finished(6, "failed", error="x"), finished(7, "diverged")]


@settings(max_examples=15)
@given(st.permutations(RUNS), st.lists(st.integers(1, 8), max_size=8))
def test_the_same_runs_load_as_the_same_bytes_in_any_layout(runs, sizes):
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Store(folder, "whole"), Store(folder, "parts")
        whole.publish(RUNS)
        for size in [*sizes, *[1] * 8]:
            parts.publish(runs[:size])
            runs = runs[size:]
        assert contents(parts) == contents(whole)


def test_types_do_not_depend_on_the_layout(here):
    """1 and 1.5 in one file and "high" in another are what all three in one file are."""
    for group in ([0, 4], [1], [2], [3]):
        here.publish([finished(seed) for seed in group])
    runs = here.load().runs.set_index("seed").sort_index()
    assert runs["task_level"].tolist() == ["1", "1.5", "high", "true", "1"]
    assert str(runs["spectral_radius"].dtype) == "float64"
    assert str(runs["scheme_k1"].dtype) == "Int64"


def test_what_is_published_again_counts_once(here):
    here.publish(RUNS)
    once = contents(here)
    here.publish(RUNS[2:5])
    here.publish([RUNS[7]])
    assert contents(here) == once
    assert len(here.load().provenance) == len(RUNS)


def test_a_result_outranks_a_failure_whichever_came_first(here, tmp_path):
    other = Store(tmp_path / "results", "other")
    failed, done = finished(0, "failed", error="x"), finished(0)
    here.publish([failed, finished(1)])
    assert here.statuses()[failed.run_id] == "failed"
    here.publish([done])
    other.publish([done])
    other.publish([finished(1), failed])
    assert here.statuses()[failed.run_id] == other.statuses()[failed.run_id] == "done"
    assert contents(here) == contents(other)
    assert len(here.load().jacobians) == 12


def test_the_last_failure_is_the_one_told(here):
    errors = ["b", "a", "c", "a2"]
    for error in errors:
        here.publish([finished(0, "failed", error=error)])
        assert here.load().runs["error"].tolist() == [error]


def test_rows_come_from_the_commit_that_was_chosen(here, tmp_path):
    """Two writers with different results for one run: the same one is taken in any order, with its own rows only."""
    other = Store(tmp_path / "results", "other")
    one, two = [finished(0, loss=1.0), finished(1, loss=3.0)], [finished(2, loss=4.0), finished(0, loss=2.0)]
    for where, order in ((here, (one, two)), (other, (two, one))):
        for runs in order:
            where.publish(runs)
    assert contents(here) == contents(other)
    study = here.load()
    assert len(study.truncations) == 9
    losses = study.runs.set_index("run_id")["loss"]
    assert study.truncations["log_norm"].tolist() == losses[study.truncations["run_id"]].tolist()
    assert losses.nunique() == 3


# ------------------------------------------------------------------ publishing


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


def test_killed_at_any_moment_a_run_is_done_or_not_begun(tmp_path, monkeypatch):
    """The process dies before each of its calls to fsync and rename in turn, and cleans up nothing."""
    calls = 0
    deadly = 0

    def dying(patch, real):
        def call(*arguments):
            nonlocal calls
            calls += 1
            if calls == deadly:
                patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
                raise Killed
            return real(*arguments)

        return call

    outcomes = []
    while True:
        deadly, calls, where = deadly + 1, 0, Store(tmp_path / str(deadly), "first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", dying(patch, lambda descriptor: None))
            patch.setattr(os, "replace", dying(patch, os.replace))
            try:
                where.publish([finished(0), finished(1)])
            except Killed:
                outcomes.append(len(where.statuses()))
            else:
                break
        again = Store(tmp_path / str(deadly), "first")
        assert again.statuses() == {} or len(again.load().jacobians) == 12
        again.publish([finished(0), finished(1)])
        assert len(again.load().jacobians) == 12
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {0, 2}
    assert len(outcomes) >= 4 * len(schema.TABLES) - 1


WRITER = """
import sys
sys.path[:0] = {path!r}
from test_store import *
where = Store({root!r}, "first")
for seed in range(10**6):
    where.publish([finished(seed)])
    print(identity.run_id(configured(seed)), flush=True)
"""


def test_what_was_reported_done_survives_sigkill(here):
    code = WRITER.format(path=[str(Path(__file__).parent), *sys.path], root=str(here.root))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        reported = []
        for _ in range(20):
            reported.append(writer.stdout.readline().strip())
            study = here.load()  # while the other process goes on writing
            assert set(reported) <= set(study.runs["run_id"])
            assert len(study.jacobians) == 6 * len(study.runs)
        writer.send_signal(signal.SIGKILL)
        reported += writer.stdout.read().split()
    assert len(reported) >= 20
    statuses = here.statuses()
    assert {statuses[run_id] for run_id in reported} == {"done"}
    assert len(statuses) - len(reported) in (0, 1)
    assert len(here.load().jacobians) == 6 * len(statuses)


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
    renames = [event for event in events if event[0] == "rename"]
    committed = events.index(renames[-1])
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
    with pytest.raises(StoreError, match="is there twice"):
        here.publish([finished(0), finished(0)])


def test_the_configurations_columns_may_come_along(here):
    run = finished(0)
    run.run.update(schema.flatten(configured(0)))
    here.publish([run])
    assert here.load().runs["cell_hidden_size"].tolist() == [4]


def test_a_configuration_may_be_given_as_a_mapping_or_as_any_json(here):
    one, other = finished(0), finished(1)
    stored = {run.run_id: run.run["configuration"] for run in (one, other)}
    one.run["configuration"] = configured(0)
    other.run["configuration"] = " " + other.run["configuration"].replace(",", " , ")
    here.publish([one, other])
    assert here.configurations() == stored


def test_nothing_to_publish_is_nothing(here):
    here.publish([])
    assert not here.root.exists()


def test_a_store_travels_to_workers_without_what_it_read(here):
    here.publish([finished(0)])
    here.statuses()
    sent = pickle.dumps(here)
    assert len(sent) < 300
    assert pickle.loads(sent).statuses() == here.statuses()


# ------------------------------------------------------------------ damage


def damage_by_flipping(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("table", schema.TABLES)
def test_any_flipped_bit_is_noticed_and_its_shard_named(here, table):
    here.publish([finished(seed) for seed in range(3)])
    here.publish([finished(3)])
    rng, path = random.Random(table), shards(here, table)[0]
    sound = path.read_bytes()
    for _ in range(60):
        damage_by_flipping(path, rng)
        with pytest.raises(DamagedShardError, match=f"{table}/{path.name}"):
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
    (path,) = shards(here, table)
    change(path)
    with pytest.raises(DamagedShardError, match=rf"{table}/{path.name} \({reason}"):
        here.load().table(table)


def test_a_missing_sibling_is_noticed_before_it_is_asked_for(here):
    here.publish([finished(0)])
    (path,) = shards(here, "lag_terms")
    path.unlink()
    for read in (here.load, here.statuses, here.verify, here.sweep_up):
        with pytest.raises(DamagedShardError, match=rf"lag_terms/{path.name} \(missing\)"):
            read()


def test_all_damage_is_told_at_once_with_what_to_do(here):
    for seed in range(3):
        here.publish([finished(seed)])
    commits = {commit.name: commit for commit in here.commits()}
    damaged = [shards(here, "jacobians")[0], shards(here, "lag_terms")[1], shards(here, "runs")[2]]
    for path in damaged:
        damage_by_flipping(path, random.Random(1))
    with pytest.raises(DamagedShardError) as told:
        here.verify()
    message = str(told.value)
    assert "\n" not in message
    before, after = message.split("; there, delete ")
    for path in damaged[:2]:
        (commit,) = (name for name, one in commits.items() if path.stem in one.named(path.parent.name))
        assert f"{path.parent.name}/{path.name}" in before or commit == damaged[2].stem
        assert f"runs/{commit}.parquet" in after
    assert f"runs/{damaged[2].name}" in before
    assert f"runs/{damaged[2].name}" in after
    assert "run the same sweep again" in after


def test_following_the_advice_repairs_the_study(here):
    runs = [finished(seed) for seed in range(3)]
    for run in runs:
        here.publish([run])
    whole = contents(here)
    damage_by_flipping(shards(here, "jacobians")[1], random.Random(1))
    with pytest.raises(DamagedShardError) as told:
        _ = here.load().jacobians
    for name in str(told.value).split("delete ")[1].split(" and run")[0].split(", "):
        (here.path / "store" / name).unlink()
    missing = [run for run in runs if run.run_id not in here.statuses()]
    assert len(missing) == 1
    here.publish(missing)
    assert contents(here) == whole


def test_an_unreadable_file_is_not_called_damaged(here, monkeypatch):
    """Deleting the commit would be the wrong advice."""
    here.publish([finished(0)])

    def refuse(path):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(store, "_read", refuse)
    with pytest.raises(StoreError, match="Too many open files") as told:
        Store(here.root, "first").load()
    assert not isinstance(told.value, DamagedShardError)


def test_stray_files_are_ignored(here):
    here.publish([finished(0)])
    whole = contents(here)
    for table in schema.TABLES:
        folder, (path,) = here.path / "store" / table, shards(here, table)
        (folder / f"{path.name}.tmp").write_bytes(b"half")
        (folder / f".{path.name}").write_bytes(path.read_bytes())
        (folder / f".{'0' * 32}.tmp").write_bytes(b"half")
        (folder / "notes.parquet").write_bytes(path.read_bytes())
        (folder / f"{path.stem.upper()}.parquet").write_bytes(b"x")
        (folder / "a folder").mkdir()
    (here.path / "store" / "other").mkdir()
    (here.path / "notes.txt").write_text("mine")
    assert contents(Store(here.root, "first")) == whole


def test_shards_that_no_commit_names_are_nothing(here):
    here.publish([finished(0)])
    whole = contents(here)
    other = Store(here.root, "other")
    other.publish([finished(1)])
    for table in MEASURES:
        shutil.copy(shards(other, table)[0], here.path / "store" / table)
    (here.path / "store" / "lag_terms" / f"{'0' * 64}.parquet").write_bytes(b"not even Parquet")
    assert contents(Store(here.root, "first")) == whole


# ------------------------------------------------------------------ sweeping up


def grow_old(path: Path) -> None:
    os.utime(path, (1e9, 1e9), follow_symlinks=False)


def test_what_dead_writers_left_is_swept_up(here):
    here.publish([finished(0)])
    here.publish([finished(1)])
    for path in here.root.rglob("*"):
        grow_old(path)
    whole = contents(here)
    shards(here, "runs")[0].unlink()
    kept = {name for commit in here.commits() for names in commit.siblings.values() for name in names}
    orphans = [path for path in here.root.rglob("*.parquet") if path.parent.name != "runs" and path.stem not in kept]
    temporary = here.path / "store" / "runs" / f".{'a' * 32}.tmp"
    mine = here.path / "store" / "runs" / "notes.parquet"
    for path in (temporary, mine):
        path.write_bytes(b"x")
        grow_old(path)
    assert sorted(here.sweep_up()) == sorted([*orphans, temporary])
    assert mine.exists()
    assert not temporary.exists()
    assert here.sweep_up() == []
    assert len(here.load().jacobians) == 6
    here.publish([finished(0), finished(1)])
    assert contents(here) == whole


def test_what_a_living_writer_is_about_to_commit_stays(here, monkeypatch):
    here.publish([finished(0)])
    real = Store._put

    def interrupted(self, table, data):
        if table == "runs":
            assert Store(here.root, "first").sweep_up() == []
        return real(self, table, data)

    monkeypatch.setattr(Store, "_put", interrupted)
    here.publish([finished(1)])
    assert here.verify() == 2 * len(schema.TABLES)


def test_nothing_is_swept_up_while_a_commit_is_damaged(here):
    here.publish([finished(0)])
    for path in here.root.rglob("*"):
        grow_old(path)
    damage_by_flipping(shards(here, "runs")[0], random.Random(1))
    with pytest.raises(DamagedShardError):
        Store(here.root, "first").sweep_up()
    assert len(list(here.root.rglob("*.parquet"))) == len(schema.TABLES)


# ------------------------------------------------------------------ names, folders, links


@pytest.mark.parametrize("study", ["first", "a.b-c_D9", "9", "-x", "a" * 100])
def test_study_names(tmp_path, study):
    where = Store(tmp_path, study)
    where.publish([finished(0)])
    assert studies(tmp_path) == [study]


@pytest.mark.parametrize(
    "study", ["", ".", "..", ".hidden", "a/b", "../x", "/tmp/x", "a b", "a\n", "é", "a" * 101, None, 3, "a\x00", "a*"]
)
def test_what_is_no_name_is_refused(tmp_path, study):
    with pytest.raises(ConfigurationError, match=r"^study = .*: must be a name of at most 100 letters") as told:
        Store(tmp_path, study)
    assert "\n" not in str(told.value)


def test_writable_leaves_nothing_behind(here):
    here.writable()
    assert not here.root.exists()
    here.publish([finished(0)])
    before = sorted(here.root.rglob("*"))
    here.writable()
    assert sorted(here.root.rglob("*")) == before


@pytest.mark.parametrize("part", [".", "first", "first/store", "first/store/runs", "first/store/jacobians"])
@pytest.mark.parametrize("obstacle", ["file", "dangling link"])
def test_an_obstacle_is_told_in_one_line_before_anything_runs(tmp_path, part, obstacle):
    where = Store(tmp_path / "results", "first")
    path = where.root / part
    path.parent.mkdir(parents=True, exist_ok=True)
    if obstacle == "file":
        path.write_text("in the way")
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for act in (where.writable, lambda: where.publish([finished(0)])):
        with pytest.raises(StoreError, match=r"results") as told:
            act()
        assert "\n" not in str(told.value)
        assert str(path) in str(told.value)
    if part in (".", "first", "first/store"):
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root can write to")
def test_a_folder_that_cannot_be_written_is_told_in_one_line():
    with pytest.raises(StoreError, match=r"^results cannot be used: /proc: "):
        Store("/proc", "first").writable()
    with pytest.raises(StoreError, match=r"^results cannot be used: /proc/"):
        Store("/proc", "first").publish([finished(0)])


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


@pytest.mark.parametrize("part", ["first", "first/store", "first/store/runs", "first/store/jacobians"])
def test_links_are_not_followed(here, tmp_path, part):
    here.publish([finished(0)])
    path = here.root / part
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    for act in (here.load, here.statuses, here.verify, here.writable, lambda: here.publish([finished(1)])):
        with pytest.raises(StoreError, match="is a link"):
            act()


def test_the_folder_of_results_may_be_a_link(here, tmp_path):
    here.publish([finished(0)])
    (tmp_path / "link").symlink_to(here.root)
    assert len(load("first", tmp_path / "link").runs) == 1


def test_a_missing_study_is_told_with_the_nearest_name(here):
    here.publish([finished(0)])
    with pytest.raises(StoreError, match=rf"^there is no study 'frist' in {here.root}\. Did you mean 'first'\?$"):
        load("frist", here.root)
    with pytest.raises(StoreError, match=f"^there is no folder of results {here.root}x: run a sweep first"):
        load("first", f"{here.root}x")


def test_an_empty_study_is_told(here):
    here.path.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(StoreError, match=f"^study 'first' in {here.root} holds no runs yet$"):
            load("first", here.root)
        (here.path / "store" / "runs").mkdir(parents=True, exist_ok=True)


def test_a_study_that_is_not_there_has_no_runs(here):
    assert here.statuses() == here.configurations() == {}
    assert here.sweep_up() == []
    assert here.verify() == 0
    assert studies(here.root) == []


# ------------------------------------------------------------------ versions, foreign files, collisions


def test_another_version_is_refused_by_name(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", 7)
        here.publish([finished(0)])
    with pytest.raises(
        StoreError, match=f"version 7 of the tables; this bpttlab reads version {schema.SCHEMA_VERSION}"
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
    with pytest.raises(StoreError, match=path.name) as told:
        here.load()
    assert not isinstance(told.value, DamagedShardError)
    assert len(str(told.value)) < 600


def test_a_foreign_file_that_is_not_parquet_is_refused_by_name(here):
    data = b"#!/bin/sh\n"
    path = here.path / "store" / "runs" / f"{hashlib.sha256(data).hexdigest()}.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=f"{path.name} is not a shard of bpttlab"):
        here.load()


def colliding(monkeypatch) -> tuple[Run, Run]:
    """Two runs with one id, of a hash of 8 bits."""
    monkeypatch.setattr(identity, "RUN_ID_BYTES", 1)
    seen: dict[str, int] = {}
    for seed in range(1000):
        first = seen.setdefault(identity.run_id(configured(seed)), seed)
        if first != seed:
            return finished(first), finished(seed)
    raise AssertionError("there are 256 ids only")


def test_a_collision_is_refused_with_both_configurations_named(here, monkeypatch):
    one, other = colliding(monkeypatch)
    here.publish([one])
    with pytest.raises(CollisionError) as planned:
        here.refuse_collisions({other.run_id: identity.parse(other.run["configuration"])})
    here.publish([other])
    for act in (here.load, here.statuses, here.configurations):
        with pytest.raises(CollisionError) as told:
            act()
        for message in (str(told.value), str(planned.value)):
            assert one.run_id in message
            assert one.run["configuration"] in message
            assert other.run["configuration"] in message
            assert "differ in" in message
            assert "seed" in message.split(":")[0]
            assert "\n" not in message


def test_what_is_stored_is_no_collision_with_itself(here):
    here.publish([finished(0)])
    here.refuse_collisions({finished(0).run_id: configured(0), finished(1).run_id: configured(1)})
