"""An extended sweep copies what does not depend on the scheme from stored runs, and has the bytes of one sweep."""

import os

import numpy as np
import pyarrow as pa
import pytest

from bpttlab.measures.selection import Measures
from bpttlab.store import provenance, schema
from bpttlab.store.store import Store, load
from bpttlab.sweeps import run as run_module
from bpttlab.sweeps import stored_passes
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.identity_parts import pass_key_of
from bpttlab.sweeps.measure_presets import MEASURE_PRESETS
from bpttlab.sweeps.scheduler import sweep
from bpttlab.sweeps.stored_passes import StoredPasses, as_array, split_by_run
from tests.support import own_parts

SLOW = ("spectra", "triangle")

FIRST = (3, "full")
ADDED = (4, {"truncation": 3, "scheme": {"name": "adaptive"}})
COMMIT = {"git_commit": "0" * 40, "git_dirty": False}


def extended(truncations, seeds=(0, 1), lengths=(6, 9), **values):
    small = {"cell": {"name": "elman", "hidden_size": 4}, "batch_size": 2, "engine": "numpy"}
    each = [one if isinstance(one, dict) else {"truncation": one} for one in truncations]
    return [
        {**small, **values, **one, "seed": seed, "sequence_length": T}
        for seed in seeds
        for T in lengths
        for one in each
    ]


def compute(points, folder, **options):
    return sweep(points, "x", folder, workers=0, progress=False, **options)


def tables_of(folder):
    study = load("x", folder)
    return {name: study.arrow(name) for name in (*schema.TABLES, *study.tables) if name != "provenance"}


def check_same(folder, whole):
    one, other = tables_of(folder), tables_of(whole)
    assert one.keys() == other.keys()
    assert [name for name in one if not one[name].equals(other[name])] == []
    assert set(one["runs"]["status"].to_pylist()) == {"done"}


@pytest.fixture(autouse=True)
def clean_checkout(monkeypatch):
    """The code is that of a commit, whatever is being changed here."""
    facts = {**provenance.surroundings(), **COMMIT}
    monkeypatch.setattr(provenance, "surroundings", lambda: facts)
    return facts


@pytest.fixture
def measured(monkeypatch):
    """The runs whose passes are measured, one for each pass."""
    seen, measure_pass = [], run_module.measure_pass

    def note(configuration, context):
        seen.append(configuration)
        return measure_pass(configuration, context)

    monkeypatch.setattr(run_module, "measure_pass", note)
    return seen


# ------------------------------------------------------------------ the same bytes


def extend_and_compare(tmp_path, measured, settings):
    """Extends a sweep, which measures no pass again, and compares it with the whole sweep."""
    compute(extended(FIRST, **settings), tmp_path / "extended")
    measured.clear()
    compute(extended(ADDED, **settings), tmp_path / "extended")
    assert measured == []
    compute(extended(FIRST + ADDED, **settings), tmp_path / "whole")
    check_same(tmp_path / "extended", tmp_path / "whole")


@pytest.mark.parametrize(
    "preset", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in MEASURE_PRESETS]
)
def test_an_extended_sweep_has_the_bytes_of_one_sweep(tmp_path, measured, preset):
    settings = {"measure": MEASURE_PRESETS[preset].measures.plain, "seeds": (0,)}
    extend_and_compare(tmp_path, measured, settings)


@pytest.mark.parametrize(
    "values",
    [
        {"task": "adding", "scheme": {"name": "random"}},
        pytest.param({"dtype": "float32"}, marks=pytest.mark.slow),
        pytest.param({"cell": {"name": "lstm", "hidden_size": 4}}, marks=pytest.mark.slow),
    ],
)
def test_other_networks_and_data_have_the_bytes_of_one_sweep(tmp_path, measured, values):
    spectra = MEASURE_PRESETS["spectra"].measures.plain
    measure = {**spectra, "scheme_seconds": True, "lag_terms": "all", "truncations": "log", "log_scale": True}
    settings = {"seeds": (0,), "measure": measure, **values}
    extend_and_compare(tmp_path, measured, settings)
    assert load("x", tmp_path / "extended").provenance["scheme_seconds"].notna().all()


@pytest.mark.compiles
def test_the_compiled_engine_copies_too(tmp_path, measured):
    pytest.importorskip("numba")
    settings = {"engine": "numba", "seeds": (0,)}
    compute(extended(FIRST, **settings), tmp_path / "extended")
    assert load("x", tmp_path / "extended").provenance["numba"].notna().all()
    measured.clear()
    compute(extended(ADDED, **settings), tmp_path / "extended")
    assert measured == []
    compute(extended(FIRST + ADDED, **settings), tmp_path / "whole")
    check_same(tmp_path / "extended", tmp_path / "whole")


def test_measures_of_a_user_are_copied_unless_they_depend(tmp_path, measured):
    dependent = own_parts.MEASURE.replace("factor: float", "depends_on_scheme = True\n    factor: float").replace(
        "context.trace.outputs).max())", "context.scheme.truncation or 0))"
    )
    dependent = dependent.replace('"largest"', '"reach"').replace("largest_state", "reach").replace("Largest", "Reach")
    files = [tmp_path / own_parts.write(tmp_path, "one.py", own_parts.MEASURE)]
    files += [tmp_path / own_parts.write(tmp_path, "two.py", dependent)]
    settings = {"seeds": (0,), "measure": {"largest": {}, "reach": {}}}
    compute(extended((3,), **settings), tmp_path / "extended", plugins=files)
    measured.clear()
    compute(extended((4, "full"), **settings), tmp_path / "extended", plugins=files)
    assert measured == []
    compute(extended((3, 4, "full"), **settings), tmp_path / "whole", plugins=files)
    check_same(tmp_path / "extended", tmp_path / "whole")
    assert set(load("x", tmp_path / "extended").runs["reach"]) == {0.0, 3.0, 4.0}


def test_rows_that_are_not_kept_are_read_again(tmp_path, monkeypatch):
    for seed in (0, 1):
        compute(extended(FIRST, seeds=(seed,)), tmp_path / "extended")
    monkeypatch.setattr(stored_passes, "MOST_BYTES", 0)
    compute(extended(ADDED), tmp_path / "extended")
    compute(extended(FIRST + ADDED), tmp_path / "whole")
    check_same(tmp_path / "extended", tmp_path / "whole")


# ------------------------------------------------------------------ what is computed nevertheless


@pytest.mark.parametrize(
    "changed", [{"seed": 1}, {"sequence_length": 15}, {"measure": {"lags": 9}}, {"dtype": "float32"}]
)
def test_another_pass_is_measured(tmp_path, measured, changed):
    (point,) = extended((3,), (0,), (14,))
    compute([point], tmp_path)
    compute([{**point, **changed, "truncation": 4}], tmp_path)
    assert len(measured) == 2


@pytest.mark.parametrize(
    "fact", [{"numpy": "1.0"}, {"bpttlab": "0.1"}, {"cpu": "other"}, {"git_commit": "1" * 40}, {"git_dirty": True}]
)
def test_runs_of_other_programs_are_not_copied(tmp_path, measured, clean_checkout, fact):
    compute(extended((3,), (0,), (14,)), tmp_path)
    clean_checkout.update(fact)
    compute(extended((4,), (0,), (14,)), tmp_path)
    assert len(measured) == 2


def test_code_that_has_no_version_copies_nothing(clean_checkout):
    clean_checkout.update(git_commit=None, git_dirty=None, bpttlab="0.1")
    assert provenance.deciding_facts("numpy") is not None
    clean_checkout.update(bpttlab=provenance.NOT_INSTALLED)
    assert provenance.deciding_facts("numpy") is None


def flip(shard):
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [flip, os.unlink])
@pytest.mark.parametrize("table", ["lag_terms", "truncations", "jacobians", "provenance"])
def test_where_rows_are_damaged_nothing_is_known(tmp_path, table, damage):
    compute(extended((3,), (0,), (14,)), tmp_path)
    wanted = [Configuration.parse(point) for point in extended((4,), (0,), (14,))]
    assert StoredPasses(Store(tmp_path, "x"), wanted).of([wanted]).keys() == {wanted[0].pass_key}
    (shard,) = (tmp_path / "x" / "store" / table).iterdir()
    damage(shard)
    assert StoredPasses(Store(tmp_path, "x"), wanted).of([wanted]) == {}


def test_runs_without_results_are_not_copied(tmp_path):
    diverging = {"cell": {"name": "elman", "hidden_size": 4, "activation": "identity"}, "spectral_radius": 50.0}
    points = extended((3, 4), (0,), (400,), **diverging)
    compute(points[:1], tmp_path)
    assert StoredPasses(Store(tmp_path, "x"), [Configuration.parse(points[1])]).donors == {}
    compute(points[1:], tmp_path)
    assert set(load("x", tmp_path).runs["status"]) == {"diverged"}


# ------------------------------------------------------------------ parts


def test_the_key_of_a_pass_is_that_of_a_stored_text():
    runs = [Configuration.parse(point) for point in extended((*FIRST, *ADDED), task="adding", spectral_radius=1.1)]
    assert [pass_key_of(one.canonical) for one in runs] == [one.pass_key for one in runs]
    assert len({one.pass_key for one in runs}) == 4  # of two seeds and two lengths


def test_measures_that_share_a_table_tell_their_rows_apart():
    measures = Measures.of()
    assert measures.tables_of_pass["truncations"] == "wavefront"
    assert "bias_bounds" not in measures.tables_of_pass
    assert measures.columns_of_scheme == {"log_gradient_norm"}


def test_rows_are_split_by_run_in_their_order():
    rows = pa.table({"run_id": ["b", "a", "b", "c"], "value": [1, 2, 3, 4]})
    found = {run_id: part["value"].to_pylist() for run_id, part in split_by_run(rows, ["c", "b", "d"])}
    assert found == {"b": [1, 3], "c": [4]}


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.5, None, -np.inf, -0.0], "float64"),
        ([2**60 + 1, None], "int64"),
        ([1, 2], "int64"),
        ([True, None], "bool"),
        (["a", None, "", "a"], "string"),
        ([None, None], "string"),
    ],
)
def test_columns_come_back_as_they_were_stored(values, dtype):
    stored = schema.to_typed(values, dtype, "x")
    assert schema.to_typed(as_array(pa.chunked_array([stored])), dtype, "x").equals(stored)
