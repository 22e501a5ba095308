"""Exports: every run once, every column, files that other programs read, and the SQL that the documentation shows."""

import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabError, StoreError
from bpttlab.store import schema
from bpttlab.store.export import export
from bpttlab.store.shards import Finished, name_shard, serialise
from tests.support.commandline import complete
from tests.support.stored import RUNS, finished

pytestmark = pytest.mark.usefixtures("quick_disk")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"


@pytest.fixture
def twice(here):
    """A study of which half is stored twice, with rows of a writer that died before its commit."""
    here.publish(RUNS[:5])
    here.publish(RUNS[2:])
    here.publish([finished(6)])  # which had failed before
    lost = Finished.of([finished(8)])
    data = serialise("lag_terms", lost.siblings["lag_terms"], **here._describe_next(lost))
    here._put(here._shard("lag_terms", name_shard(data)), data)
    return here


def test_parquet_has_every_run_once_and_the_columns_of_load(twice):
    study = twice.load()
    paths = export(study)
    assert [path.relative_to(twice.path).as_posix() for path in paths] == [
        f"export/{table}.parquet" for table in study.tables
    ]
    for table in study.tables:
        rows = pq.read_table(twice.path / "export" / f"{table}.parquet")
        pd.testing.assert_frame_equal(schema.frame(study.arrow(table).cast(rows.schema)), study.table(table))
        assert rows.column_names == list(study.table(table))
        assert len(rows) == len(study.table(table))
    assert pq.read_table(paths[0])["run_id"].to_pylist() == sorted({run.run_id for run in RUNS})


def test_csv_has_the_same_values_and_no_formula(here):
    formula = finished(6, "failed", error="=1+1")
    here.publish([*RUNS[:6], formula])
    runs, _ = export(here.load(), "csv", tables=["runs", "jacobians"])
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    frame = pyarrow.csv.read_csv(runs, convert_options=options).to_pandas()
    assert list(frame["error"].dropna()) == ["'=1+1"]
    assert list(frame["loss"].dropna()) == list(here.load().runs["loss"].dropna())


def test_chosen_tables_and_another_folder(twice, tmp_path):
    paths = export(twice.load(), "parquet", tmp_path / "new" / "folder", ["runs", "runs"])
    assert paths == [tmp_path / "new" / "folder" / "runs.parquet"]
    assert export(twice.load(), "parquet", tmp_path / "new" / "folder", ["runs"]) == paths


def test_mistakes_are_named(twice, monkeypatch):
    study = twice.load()
    with pytest.raises(ConfigurationError, match=r"format=parket: must be one of parquet, csv, duckdb.*parquet"):
        export(study, "parket")
    with pytest.raises(StoreError, match=r"there is no table 'run'.*runs"):
        export(study, tables=["run"])
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(LabError, match=r"format=duckdb needs the package duckdb: pip install 'bpttlab\[duckdb\]'"):
        export(study, "duckdb")
    assert not (twice.path / "export").exists()


def test_a_duckdb_file_has_all_tables(twice):
    duckdb = pytest.importorskip("duckdb")
    study = twice.load()
    (path,) = export(study, "duckdb")
    assert path == twice.path / "export" / "first.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        for table in study.tables:
            assert connection.sql(f'SELECT count(*) FROM "{table}"').fetchall() == [(len(study.table(table)),)]


def test_the_sql_of_the_documentation_counts_once(twice):
    duckdb = pytest.importorskip("duckdb")
    study, (sql,) = twice.load(), re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with duckdb.connect() as connection:
        connection.sql(sql.replace("results/first", twice.path.as_posix()))
        connection.sql(sql.split("\n\n")[1].replace("jacobians", "lag_terms").replace("results/first", str(twice.path)))
        runs = connection.sql("SELECT run_id, status FROM runs ORDER BY run_id").fetchall()
        counts = [connection.sql(f"SELECT count(*) FROM {table}").fetchall() for table in ("jacobians", "lag_terms")]
    assert runs == list(study.runs[["run_id", "status"]].itertuples(index=False, name=None))
    assert counts == [[(len(study.jacobians),)], [(len(study.lag_terms),)]]


def test_the_command_writes_files_and_names_them(twice, capsys, monkeypatch):
    monkeypatch.chdir(twice.root.parent)
    assert main(["export", "study=first", "table=runs,lag_terms", "format=csv", "to=here"]) == 0
    assert capsys.readouterr().out.splitlines() == ["here/runs.csv", "here/lag_terms.csv"]
    assert main(["export", "study=first", "format=cvs"]) == 2
    assert "format=cvs: must be parquet or csv or duckdb." in capsys.readouterr().err
    assert main(["export", "study=frist"]) == 2
    assert "there is no study 'frist' in results. Did you mean 'first'?" in capsys.readouterr().err
    assert complete("bpttlab export study=first format=") == ["format=csv", "format=duckdb", "format=parquet"]
    assert complete("bpttlab export study=first t") == ["table=", "to="]
