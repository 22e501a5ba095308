"""Tables and columns of a user's own measures: stored with their description, read where nothing else is known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import DamageWarning, SchemaError, StoreError
from bpttlab.store.column import Column, MeasureColumns, Table
from bpttlab.store.own_columns import check_declared, from_plain, to_plain, unite
from bpttlab.store.store import Store
from tests.support.stored import Run, finished

COUNT = Column("count", "int64", "", "values in the bin", True)
MIDDLE = Column("middle", "float64", "nat", "the middle of the bin", True)
HISTOGRAM = Table("histogram", "run and bin", ("middle",), (MIDDLE, COUNT))
SPREAD = Column("spread", "float64", "nat", "largest minus smallest")
DECLARED = MeasureColumns((HISTOGRAM,), (SPREAD,))


def measured(seed: int, own: MeasureColumns = DECLARED, **columns: object) -> Run:
    run = finished(seed)
    run.own = own
    run.run["spread"] = float(seed)
    run.tables["histogram"] = {"middle": np.array([2.0, 1.0]), "count": np.array([seed, 5]), **columns}
    return run


def test_own_rows_come_back_sorted_beside_the_configuration(tmp_path):
    store = Store(tmp_path, "own")
    store.publish([measured(1), measured(2)])
    study = store.load()
    frame = study.histogram
    assert frame["middle"].tolist() == [1.0, 2.0] * 2 and str(frame["count"].dtype) == "int64"
    assert {"run_id", "network_id", "status", "seed", "cell"} <= set(frame) and "spread" not in frame
    assert study.runs.set_index("seed")["spread"].to_dict() == {1: 1.0, 2: 2.0}
    assert study.tables[-1] == "histogram" and "histogram" in dir(study)


def test_runs_are_selected_by_an_own_column(tmp_path):
    store = Store(tmp_path, "own")
    store.publish([measured(1), measured(2), finished(3)])
    assert set(store.load(where={"spread": (1.5, None)}).runs["seed"]) == {2}
    assert store.load(where={"spread": (7, 8)}).runs.empty
    assert set(store.load(where={"spread": None}).runs["seed"]) == {3}
    with pytest.raises(lab.errors.ConfigurationError, match="no run has this"):
        store.load(where={"spread": 7})


def test_runs_without_the_measure_have_missing_values(tmp_path):
    store = Store(tmp_path, "own")
    store.publish([finished(3)])
    store.publish([measured(1), finished(4)])
    runs = store.load().runs.set_index("seed")
    assert runs["spread"].notna().to_dict() == {1: True, 3: False, 4: False}
    assert set(store.load().table("histogram")["seed"]) == {1}


def test_a_study_without_own_measures_has_the_bytes_it_had(tmp_path):
    for name in ("one", "two"):
        Store(tmp_path, name).publish([finished(1)])
    assert b'"own"' not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))


def test_own_tables_are_read_with_no_engine(tmp_path):
    Store(tmp_path, "own").publish([measured(1)])
    blocked = ["networks", "tasks", "truncation", "gradients", "measures", "sweeps", "claims", "verification"]
    code = "import sys\n" + "".join(f"sys.modules['bpttlab.{name}'] = None\n" for name in blocked)
    code += f"import bpttlab; study = bpttlab.load('own', {str(tmp_path)!r})\n"
    code += "print(study.histogram['count'].tolist(), study.runs['spread'].tolist())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[5, 1] [1.0]"


def test_the_columns_that_are_asked_for_are_read(tmp_path):
    store = Store(tmp_path, "own")
    store.publish([measured(1)])
    assert list(store.load(columns=["count", "seed"]).histogram) == ["run_id", "count", "seed"]
    with pytest.raises(lab.errors.ConfigurationError, match="Did you mean 'count'"):
        store.load(columns=["coumt"])
    with pytest.raises(lab.errors.ConfigurationError, match="a column of runs"):
        store.load(columns=["spread"])


def test_measure_with_a_new_column_reads_older_rows(tmp_path):
    store, more = Store(tmp_path, "own"), Column("weight", "float64", "", "of the bin", True)
    store.publish([measured(1)])
    wider = MeasureColumns((Table("histogram", "run and bin", ("middle",), (MIDDLE, COUNT, more)),), (SPREAD,))
    store.publish([measured(2, wider, weight=np.array([0.5, 0.25]))])
    frame = store.load().histogram.set_index("seed")
    assert frame.loc[2, "weight"].tolist() == [0.25, 0.5] and frame.loc[1, "weight"].isna().all()


def test_a_column_whose_type_changed_is_named(tmp_path):
    store = Store(tmp_path, "own")
    store.publish([measured(1)])
    as_text = Table("histogram", "run and bin", ("middle",), (MIDDLE, Column("count", "string", "", "in words")))
    store.publish([measured(2, MeasureColumns((as_text,), (SPREAD,)), count=["five", "two"])])
    with pytest.raises(SchemaError, match="column 'count' of table 'histogram' was declared as int64 and string"):
        store.load()


def test_integers_and_floats_of_one_column_are_floats():
    count = Column("count", "float64", "", "")
    floats = MeasureColumns((Table("histogram", "run and bin", ("middle",), (MIDDLE, count)),))
    (table,) = unite([DECLARED, floats]).tables
    assert table.columns[-1].dtype == "float64" and not table.columns[-1].required
    assert unite([floats, DECLARED]) == unite([DECLARED, floats])


def test_a_damaged_own_shard_is_named_and_orphans_are_swept_up(tmp_path):
    store = Store(tmp_path, "own")
    store.publish([measured(1)])
    (shard,) = (tmp_path / "own" / "store" / "histogram").glob("*.parquet")
    assert store.verify() == len(list(tmp_path.rglob("*.parquet")))
    orphan = shard.with_name("0" * 64 + ".parquet")
    orphan.write_bytes(b"left behind")
    assert store.find_litter(*store.survey()) == [orphan]
    shard.write_bytes(b"other bytes")
    with pytest.warns(DamageWarning, match="histogram/"):
        Store(tmp_path, "own").load().table("histogram")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (MeasureColumns((Table("jacobians", "", (), (COUNT,)),)), "bpttlab has one of that name"),
        (MeasureColumns((Table("../runs", "", (), (COUNT,)),)), "must be at most 64 of a-z"),
        (MeasureColumns((Table("x", "", ("bin",), (COUNT,)),)), "is sorted by 'bin'; must be one of run_id, count"),
        (MeasureColumns((Table("x", "", (), (COUNT, COUNT)),)), "has two columns 'count'"),
        (MeasureColumns((Table("x", "", (), (Column("y", "complex", "", ""),)),)), "dtype 'complex'; must be one of"),
        (MeasureColumns((), (Column("loss", "float64", "", ""),)), "bpttlab has one of that name"),
    ],
)
def test_a_declaration_that_cannot_be_stored_is_refused(declared, message):
    with pytest.raises(SchemaError, match=message):
        check_declared("mine", declared)


def test_a_declaration_is_the_same_after_a_file():
    assert from_plain(to_plain(DECLARED)) == DECLARED


def test_rows_that_were_not_declared_are_refused(tmp_path):
    run = measured(1, MeasureColumns())
    del run.run["spread"]
    with pytest.raises(StoreError, match="unknown table 'histogram'"):
        Store(tmp_path, "own").publish([run])
