"""What is loaded is what was published, and does not depend on the layout."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError, LabWarning, StoreError
from bpttlab.store import identity, schema, store
from bpttlab.store.store import Store, load
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure_bundle
from tests.support.examples import examples
from tests.support.stored import RUNS, contents, finished

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
        assert row["seed"] == identity.parse_canonical(run["configuration"])["seed"]
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
        f"Study 'first' in {here.path}: 3 runs (2 done, 1 failed); tables {', '.join(schema.TABLES)}"
    )
    assert (study.name, study.path) == ("first", here.path)
    assert set(schema.TABLES) <= set(dir(study))
    assert study.jacobians is study.table("jacobians")
    with pytest.raises(AttributeError, match=r"no 'jacobian'\. Did you mean 'jacobians'"):
        _ = study.jacobian
    with pytest.raises(StoreError, match=r"no table 'lagterms'.*Did you mean 'lag_terms'"):
        study.table("lagterms")


def test_a_real_run_goes_there_and_back(here):
    plain = {"engine": "numpy", "sequence_length": 6, "cell": {"name": "elman", "hidden_size": 3}, "truncation": 4}
    one, other = (Configuration.parse({**plain, "scheme": scheme}) for scheme in ("chunked", "per_loss"))
    here.publish(measure_bundle([one, other]))
    study = here.load()
    assert here.statuses() == {one.run_id: "done", other.run_id: "done"}
    assert study.tables == ("runs", "provenance", "jacobians", "lag_terms", "truncations")
    known = {column.name for column in (*schema.RUNS.columns, *schema.CONFIGURATION)}
    assert set(study.runs.columns) <= known
    there = study.provenance.drop(columns=["scheme_seconds"])  # not requested
    assert there.notna().all(axis=None) or there["git_commit"].isna().all()


# ------------------------------------------------------------------ the layout makes no difference


@pytest.mark.slow
@examples(15)
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


# ------------------------------------------------------------------ some runs, some columns


def as_filtered(frame, mask):
    return frame[mask].reset_index(drop=True)


QUESTIONS = [
    ({"seed": 3}, lambda runs: runs["seed"] == 3),
    ({"seed": [1, 4]}, lambda runs: runs["seed"].isin([1, 4])),
    ({"seed": range(2, 7, 2)}, lambda runs: runs["seed"].isin([2, 4, 6])),
    ({"seed": (2, 4)}, lambda runs: runs["seed"].between(2, 4)),
    ({"seed": (None, 2.5)}, lambda runs: runs["seed"] <= 2),
    ({"seed": np.arange(3)}, lambda runs: runs["seed"] < 3),
    ({"spectral_radius": None}, lambda runs: runs["spectral_radius"].isna()),
    ({"spectral_radius": [None, 1.1]}, lambda runs: runs["seed"] >= 0),
    ({"spectral_radius": (1, None)}, lambda runs: runs["spectral_radius"] > 1),
    ({"truncation": 5}, lambda runs: runs["truncation"] == "5"),
    ({"truncation": ["full", 5]}, lambda runs: runs["seed"] >= 0),
    ({"truncation": range(5, 6)}, lambda runs: runs["truncation"] == "5"),
    ({"task_level": True}, lambda runs: runs["task_level"] == "true"),
    (
        {"status": "done", "scheme": "windowed"},
        lambda runs: (runs["status"] == "done") & (runs["scheme"] == "windowed"),
    ),
    ({"horizon_censored": True}, lambda runs: runs["horizon_censored"].fillna(False)),
    ({"truncation": np.array(5.0)}, lambda runs: runs["truncation"] == "5"),
    ({"scheme": np.str_("windowed"), "seed": np.int64(2)}, lambda runs: runs["seed"] == 2),
    ({"horizon_censored": np.bool_(True)}, lambda runs: runs["horizon_censored"].fillna(False)),
    ({"loss": (1e300, None)}, lambda runs: runs["seed"] < 0),  # what results are is the question
    ({"seed": 1, "status": "failed"}, lambda runs: runs["seed"] < 0),
    ({}, lambda runs: runs["seed"] >= 0),
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The study of all runs in two files of each table, and what is read of it; not to be changed."""
    store = Store(tmp_path_factory.mktemp("published"), "first")
    store.publish(RUNS[:5])
    store.publish(RUNS[5:])
    return store, store.load()


@pytest.mark.parametrize(("where", "meaning"), QUESTIONS, ids=[str(where) for where, _ in QUESTIONS])
def test_some_runs_are_those_rows_of_all_tables(published, where, meaning):
    store, whole = published
    some = load("first", store.root, where=where)
    mask = meaning(whole.runs).astype(bool)
    kept = set(whole.runs.loc[mask, "run_id"])
    assert some.runs.equals(as_filtered(whole.runs, mask))
    for name in schema.TABLES:
        assert some.table(name).equals(as_filtered(whole.table(name), whole.table(name)["run_id"].isin(kept))), name
        assert list(some.table(name).dtypes) == list(whole.table(name).dtypes)
    assert set(some.tables) <= set(whole.tables)


def test_files_without_a_run_that_is_wanted_are_not_read(here, monkeypatch):
    for seed in range(4):
        here.publish([finished(seed)])
    fresh, read = Store(here.root, "first"), []
    study = fresh.load(where={"seed": 2})
    real = store.read_shard
    monkeypatch.setattr(store, "read_shard", lambda path, *rest: read.append(path) or real(path, *rest))
    assert set(study.jacobians["seed"]) == {2}
    assert len(read) == 1


def test_some_columns_in_the_order_they_are_asked_for(here):
    here.publish(RUNS)
    whole, some = (
        here.load(),
        load("first", here.root, columns=["seed", "log_spectral_norm", "lag", "run_scheme", "seed"]),
    )
    expected = ["run_id", "seed", "log_spectral_norm", "lag"]
    assert some.jacobians.equals(whole.jacobians[expected])
    assert some.lag_terms.equals(whole.lag_terms[["run_id", "seed", "lag"]])
    assert some.truncations.equals(whole.truncations[["run_id", "seed", "run_scheme"]])
    assert some.runs.equals(whole.runs)
    assert some.provenance.equals(whole.provenance)
    assert load("first", here.root, columns=[]).jacobians.columns.tolist() == ["run_id"]


def test_some_columns_of_some_runs(here):
    here.publish(RUNS)
    some = load("first", here.root, where={"seed": (0, 1)}, columns=["scheme", "truncation", "network_id"]).truncations
    assert some.columns.tolist() == ["run_id", "scheme", "truncation", "network_id"]
    assert len(some) == 6


@pytest.mark.parametrize(
    ("where", "columns", "said"),
    [
        ({"sed": 1}, None, r"where: runs have no column 'sed'\. Did you mean 'seed'\?"),
        ({"cell.hidden_size": 1}, None, r"no column 'cell.hidden_size'\. Did you mean 'cell_hidden_size'\?"),
        ({"lag": 1}, None, "runs have no column 'lag'"),
        ({"seed": "1"}, None, "where: seed='1': must be a number, None, or a list of these"),
        ({"seed": [True]}, None, "where: seed=True: must be a number"),
        ({"seed": {"least": 1}}, None, "seed="),
        ({"seed": (1, 2, 3)}, None, r"seed=\(1, 2, 3\): must be a pair \(least, most\)"),
        ({"scheme": ("a", "b")}, None, r"must be a pair \(least, most\) for a column of numbers"),
        ({"horizon_censored": 1}, None, "must be true or false"),
        ({"seed": 99}, None, r"where: seed=99: no run has this; the nearest stored: 7$"),
        ({"seed": [98, 99]}, None, r"where: seed=\[98, 99\]: no run has this; the nearest stored: 7$"),
        ({"seed": (2.2, 2.8)}, None, r"where: seed=\(2.2, 2.8\): no run has this; the nearest stored: 2, 3$"),
        ({"seed": range(50, 10**12)}, None, r"no run has this; the nearest stored: 7$"),
        ({"truncation": 7}, None, r"where: truncation=7: no run has this; the nearest stored: 5$"),
        ({"truncation": "ful"}, None, r"stored: 5, full. Did you mean 'full'\?"),
        ({"scheme": "windowd"}, None, r"where: scheme='windowd': no run has this; .* Did you mean 'windowed'\?"),
        ({"status": ["done", "faild"]}, None, r"stored: done, failed, diverged. Did you mean 'failed'\?"),
        ({"loss": 0.123}, None, "where: loss=0.123: no run has this; the nearest stored: "),
        ({"seed": 2, "truncation": "full"}, None, "no run fulfils all of seed=2, truncation='full', although some run"),
        (None, ["log_spectral_nrm"], r"columns: .*'log_spectral_nrm'\. Did you mean 'log_spectral_norm'\?"),
        (None, ["rho"], r"'rho' \(a column of runs, which has all of its columns\)"),
        (None, "lag", "columns='lag': must be a list of names"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(here, where, columns, said):
    here.publish(RUNS)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load("first", here.root, where=where, columns=columns)
    assert "\n" not in str(caught.value)


def test_nothing_stored_is_evaluated_or_matched_as_a_pattern(here):
    here.publish(RUNS)
    for text in ("seed == 1", "__import__('os')", ".*", "full|5"):
        with pytest.raises(ConfigurationError, match="no run has this"):
            load("first", here.root, where={"truncation": text})


def test_a_close_value_and_a_missing_one_of_a_list_are_said(here):
    radii = [0.1, 0.1 + 0.2, 0.3, 0.7]
    here.publish([finished(seed, spectral_radius=radius) for seed, radius in enumerate(radii)])
    with pytest.warns(LabWarning, match=r"spectral_radius=0.3 leaves out runs at 0.30000000000000004; \[0.3, ") as told:
        assert load("first", here.root, where={"spectral_radius": 0.3}).runs["spectral_radius"].tolist() == [0.3]
    assert told[0].filename == __file__
    with pytest.warns(LabWarning, match=r"=0.3 leaves out runs at 0.30000000000000004"):
        assert len(load("first", here.root, where={"spectral_radius": (0.2, 0.3)}).runs) == 1
    with pytest.warns(LabWarning, match=r"no run has 0.5; the nearest stored: 0.30000000000000004, 0.7"):
        assert len(load("first", here.root, where={"spectral_radius": [0.1, 0.5]}).runs) == 1
    assert len(load("first", here.root, where={"spectral_radius": radii[1:3]}).runs) == 2


def test_a_study_of_some_runs_can_be_summarised(studied):
    from bpttlab import tables

    study = load("first", studied / "results", where={"spectral_radius": 0.5})
    assert set(tables.summaries(study)["growth"]["initializer_requested"]) == {0.5}


def test_study_for_summaries_has_few_columns_of_runs(here):
    here.publish([finished(seed) for seed in range(4)])
    whole, narrow = here.load(), here.load().for_summaries(["seed"])
    own = schema.TABLES["jacobians"].names
    assert list(narrow.jacobians) == [*own, "seed"]
    assert whole.jacobians[[*own, "seed"]].equals(narrow.jacobians)
    assert whole.runs.equals(narrow.runs)
    assert whole.provenance.equals(narrow.provenance)


def of_truncations(seed, truncations):
    """Runs of one network that differ in the truncation alone."""
    scheme = {"name": "windowed", "k1": 2}
    return [finished(seed, truncation=str(length), scheme=scheme) for length in truncations]


def test_repeated_rows_are_read_once(here):
    runs = [*of_truncations(0, range(1, 11)), *of_truncations(1, range(1, 11))]
    here.publish(runs[::2])
    here.publish(runs[1::2])
    whole, narrow = here.load(), here.load().for_summaries()
    for network in (runs[:10], runs[10:]):
        first, *others = sorted(run.run_id for run in network)
        counts = narrow.jacobians["run_id"].value_counts()
        assert [counts[run_id] for run_id in others] == [1] * 9
        kept = narrow.jacobians[narrow.jacobians["run_id"] == first]
        assert kept["lag"].tolist() == whole.jacobians[whole.jacobians["run_id"] == first]["lag"].tolist()
    assert len(narrow.jacobians) == 2 * (6 + 9)
    own = whole.truncations["origin"] == "scheme"
    assert (narrow.truncations["origin"] == "scheme").sum() == own.sum()


def test_a_run_that_is_drawn_alone_keeps_its_rows(here):
    runs = of_truncations(0, range(1, 4))
    here.publish(runs)
    for run in runs:
        narrow = here.load().for_summaries(whole=[run.run_id])
        assert (narrow.jacobians["run_id"] == run.run_id).sum() == 6
        chosen = here.load().for_summaries(run_ids=[run.run_id])
        assert chosen.jacobians["run_id"].tolist() == [run.run_id] * 6
        assert chosen.runs["run_id"].tolist() == [run.run_id]


def test_runs_of_other_settings_repeat_nothing(here):
    here.publish([finished(0, truncation="3", measure={"lags": lags}) for lags in (8, 24)])
    assert len(here.load().for_summaries().jacobians) == 2 * 6


def test_pooled_files_have_summaries_of_their_own(here):
    here.publish([finished(0)])
    assert here.load().folder_of("tables") == here.path / "tables"
    assert here.load(networks="path").folder_of("tables") == here.path / "tables" / "networks_path"
    assert here.load(networks="path").for_summaries().folder_of("figures") == here.path / "figures" / "networks_path"
