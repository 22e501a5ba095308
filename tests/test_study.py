"""What is loaded is what was published, and does not depend on the layout."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import RUNS, contents, finished

from bpttlab import identity, schema
from bpttlab.configuration import Configuration
from bpttlab.errors import StoreError
from bpttlab.experiment import measure_bundle
from bpttlab.store import Store, load

pytestmark = pytest.mark.usefixtures("quick_disk")


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


# ------------------------------------------------------------------ the layout makes no difference


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
