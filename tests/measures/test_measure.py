"""The contract of a measure, the presets, and measures of a user's own."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pytest
import yaml

import bpttlab as lab
from bpttlab import plugins, resources
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.measures.jacobian_products import JacobianProducts
from bpttlab.measures.lag_terms import LagTerms
from bpttlab.measures.lyapunov_exponents import LyapunovExponents
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.measures.selection import Measures, join_results, settings, shipped_measures
from bpttlab.store.column import Column, Table
from bpttlab.store.columns import RUNS, TABLES
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.measure_presets import MEASURE_PRESETS
from bpttlab.sweeps.run import measure_bundle, run
from bpttlab.truncation.segmented import Full

SMALL = {
    "engine": "numpy",
    "cell": {"name": "lstm", "hidden_size": 3},
    "sequence_length": 9,
    "batch_size": 3,
    "truncation": 4,
}
EVERYTHING = {
    "exponents": "all",
    "windows": 2,
    "singular_lags": 3,
    "eigenvalue_steps": 2,
    "sensitivity_steps": 3,
    "scheme_seconds": True,
    "lag_terms": "all",
}
RUN_IDS = {
    "standard": "f2c99df427bda86346404c400d3dbb0e",
    "minimal": "0eeed05728aee8aded65bc6bc1a324e7",
    "spectra": "d0c480eb79d6d2c40da9d0ffec38aee0",
    "triangle": "8fd01ce53ac5539f1a3a2faef59f2b29",
    "gradient": "b533936b26dc05f9f0fb3cca0e591a8f",
}


@dataclass(frozen=True)
class HiddenMean(Measure):
    """A measure of one's own: the mean of the hidden units over time."""

    name: ClassVar[str] = "hidden_mean"
    tables = (
        Table(
            "hidden_mean",
            "run and t",
            ("t",),
            (Column("t", "int64", "step", "from 1", True), Column("mean", "float64", "", "over units and sequences")),
        ),
    )
    summary = (Column("last_mean", "float64", "", "the mean at t = T"),)

    every: Annotated[int, Field(ge=1, description="steps from one row to the next")] = 1

    def rows(self, cell, length, sampling):
        return {"hidden_mean": -(-length // self.every)}

    def __call__(self, context):
        h = context.trace.h[1 :: self.every]
        means = h.mean(axis=(1, 2))
        rows = {"t": 1 + self.every * np.arange(len(h)), "mean": means}
        return Result({"hidden_mean": rows}, {"last_mean": means[-1]})


def with_measures(configuration, *chosen):
    return replace(configuration, measure=Measures.of(*chosen))


# ------------------------------------------------------------------ presets and settings


@pytest.mark.parametrize("name", MEASURE_PRESETS)
def test_conf_has_the_fields_of_each_preset(name):
    path = Path(resources.conf(), "measure", f"{name}.yaml")
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == MEASURE_PRESETS[name].measures.plain


def test_conf_has_no_other_choice_of_measures():
    assert {path.stem for path in Path(resources.conf(), "measure").glob("*.yaml")} == set(MEASURE_PRESETS)


@pytest.mark.parametrize("name", MEASURE_PRESETS)
def test_runs_of_the_presets_keep_their_ids(name):
    assert Configuration.parse({"measure": name, "engine": "numpy"}).run_id == RUN_IDS[name]


def test_default_settings_are_those_of_standard():
    assert Configuration.parse({}).measure == Measures.of() == MEASURE_PRESETS["standard"].measures


def test_every_setting_belongs_to_one_class():
    declared = settings()
    assert sorted(declared) == sorted(Measures.of().plain)
    for kind in shipped_measures():
        assert {one.name for one in fields(kind)} == {name for name, owner in declared.items() if owner is kind}


def test_a_preset_lists_what_differs_from_the_defaults():
    spectra = MEASURE_PRESETS["spectra"].measures
    assert spectra.get(LyapunovExponents) == LyapunovExponents(exponents="all", windows=20)
    assert not spectra.get(LagTerms).active and spectra.get(JacobianProducts).active


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Sampling(lags=2), "measure.lags=2: must be an integer >= 3"),
        (lambda: LyapunovExponents(windows=3), "measure.windows=3: needs exponents"),
        (lambda: JacobianProducts(fit_from=1.0), "measure.fit_from=1.0"),
        (lambda: HiddenMean(every=0), "measure.hidden_mean.every=0: must be an integer >= 1"),
    ],
)
def test_a_setting_out_of_bounds_is_named(build, message):
    with pytest.raises(ConfigurationError, match=message):
        build()


# ------------------------------------------------------------------ what measures return


def test_measures_fill_what_they_declare():
    configuration = Configuration.parse(SMALL | {"measure": EVERYTHING, "task": "adding"})
    measures, record = configuration.measure, run(configuration)
    declared = {table.name for measure in measures.shipped for table in measure.tables}
    assert set(record.tables) == declared - {"bias_bounds"}  # those are of the scheme adaptive
    for measure in measures.shipped:
        for column in measure.summary:
            if column.name not in ("kaplan_yorke_dimension", "entropy_bound", "mean_exponent"):  # of other networks
                assert column.name in record.run, (measure.name, column.name)


def test_every_table_and_summary_column_is_a_measures():
    kinds = shipped_measures()
    assert {table.name for kind in kinds for table in kind.tables} == set(TABLES) - {"runs", "provenance"}
    filled = [column for kind in kinds for column in kind.summary]
    assert set(filled) <= set(RUNS.columns) and len(filled) == len(set(filled))


def test_what_measures_share_is_computed_once(monkeypatch):
    from bpttlab.measures import measure as contract

    calls = []
    compute = contract.scaled_gradients
    monkeypatch.setattr(contract, "scaled_gradients", lambda *given: calls.append(1) or compute(*given))
    records = measure_bundle([Configuration.parse({**SMALL, "truncation": K}) for K in (2, 4, "full")])
    assert [record.run["status"] for record in records] == ["done"] * 3
    assert len(calls) == 1


def test_rows_of_one_table_by_two_measures_stand_in_order():
    first, second = ({"t": np.array([1, 2])}, {"t": np.array([3])})
    joined = join_results([Result({"x": first}, {"a": 1}), Result({"x": second}, {"b": 2}, {"c": 3.0})])
    assert joined.tables["x"]["t"].tolist() == [1, 2, 3]
    assert (dict(joined.summary), dict(joined.provenance)) == ({"a": 1, "b": 2}, {"c": 3.0})


def test_states_are_needed_unless_only_gradients_are_requested():
    assert not MEASURE_PRESETS["gradient"].measures.need_states(Full())
    assert MEASURE_PRESETS["minimal"].measures.need_states(Full())
    assert Measures.of(*gradient_only(), HiddenMean()).need_states(Full())


def gradient_only():
    measures = MEASURE_PRESETS["gradient"].measures
    return measures.sampling, measures.matrix, *measures.shipped


# ------------------------------------------------------------------ a measure of one's own


def test_an_own_measure_adds_an_entry_to_the_group():
    measures = Measures.of(HiddenMean(every=2))
    assert measures.plain == Measures.of().plain | {"hidden_mean": {"every": 2}}
    configuration = with_measures(Configuration.parse(SMALL), HiddenMean(every=2))
    assert configuration.run_id != Configuration.parse(SMALL).run_id
    assert configuration.described.columns["measure_hidden_mean_every"] == 2


def test_an_own_measure_fills_its_table_and_its_column():
    record = run(with_measures(Configuration.parse(SMALL), HiddenMean(every=4)))
    assert record.tables["hidden_mean"]["t"].tolist() == [1, 5, 9]
    assert record.run["last_mean"] == record.tables["hidden_mean"]["mean"][-1]
    assert record.own.tables == HiddenMean.tables and record.own.summary == HiddenMean.summary


def test_an_own_measure_changes_nothing_else():
    plain = run(Configuration.parse(SMALL))
    record = run(with_measures(Configuration.parse(SMALL), HiddenMean()))
    for table, columns in plain.tables.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(record.tables[table][name], values)


def test_rows_of_an_own_measure_count_towards_the_budget():
    measures = Measures.of(Sampling(row_budget=5), LagTerms(lag_terms="none", truncations="none"),
                           JacobianProducts(jacobians="none"), HiddenMean())  # fmt: skip
    cell = Configuration.parse(SMALL).cell
    measures.check(cell, 5)
    with pytest.raises(ConfigurationError, match=r"6 rows of 'hidden_mean'; .* less in measure.hidden_mean.every"):
        measures.check(cell, 6)


@dataclass(frozen=True)
class AnotherMean(HiddenMean):
    name: ClassVar[str] = "another_mean"


def test_two_own_measures_may_not_fill_one_table():
    with pytest.raises(ConfigurationError, match="measure.another_mean and measure.hidden_mean: both fill the table"):
        Measures.of(HiddenMean(), AnotherMean())


def test_a_measure_is_called_with_a_trace_alone():
    import bpttlab as lab

    cell = lab.Elman(2, 4, 1)
    params = cell.init(np.random.default_rng(0), lab.GaussianRadius(0.9))
    trace = lab.forward(cell, params, np.random.default_rng(1).standard_normal((7, 2, 2)))
    found = LagTerms(lag_terms="all")(Context(trace, np.ones_like(trace.y_hat)))
    assert set(found.tables) == {"lag_terms", "truncations"}
    assert sorted(set(found.tables["lag_terms"]["lag"])) == list(range(7))


# ------------------------------------------------------------------ found by name


MINE = """
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bpttlab.fields import Field
from bpttlab.measures.measure import Measure, Result
from bpttlab.store.column import Column, Table

T, SIZE = Column("t", "int64", "step", "from 1", True), Column("size", "float64", "", "largest |h|")
TABLE = Table("widest", "run and t", ("t",), (T, SIZE))


@dataclass(frozen=True)
class Widest(Measure):
    name = "widest"
    tables = (TABLE,)
    every: Annotated[int, Field(ge=1, description="steps between rows")] = 2

    def rows(self, cell, length, sampling):
        return {"widest": -(-length // self.every)}

    def __call__(self, context):
        h = context.trace.h[1 :: self.every]
        return Result({"widest": {"t": 1 + self.every * np.arange(len(h)), "size": np.abs(h).max(axis=(1, 2))}})
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


def test_a_measure_of_a_file_is_a_choice_beside_standard(mine):
    with plugins.use(mine):
        alone = Configuration.parse(SMALL | {"measure": "widest"})
        added = Configuration.parse(
            SMALL | {"measure": {**MEASURE_PRESETS["standard"].measures.plain, "widest": {"every": 2}}}
        )
        assert alone.run_id == added.run_id and alone.plain["measure"]["widest"] == {"every": 2}
        assert "plugins" in alone.plain and "plugins" not in Configuration.parse(SMALL).plain
        assert run(alone).tables["widest"]["t"].tolist() == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"wides": {}}, r"measure.wides: there is no such field; .* Did you mean 'widest'\?"),
        ({"lag_term": "all"}, "Did you mean 'lag_terms'"),
        ({"widest": {"ever": 1}}, r"measure.widest.ever: there is no such field; there are every"),
        ({"widest": {"every": 0}}, "measure.widest.every=0: must be an integer >= 1"),
        ({"jacobian_products": {"lags": 3}}, "measure.jacobian_products: there is no such field"),
    ],
)
def test_a_wrong_entry_of_the_group_is_named(mine, group, message):
    with plugins.use(mine), pytest.raises(ConfigurationError, match=message):
        Configuration.parse({"measure": group})


@pytest.mark.slow
def test_a_measure_of_a_file_is_swept_from_the_command_line(mine, tmp_path, capsys):
    lines = ["study=x", f"results={tmp_path}", "workers=0", "task=noise,adding", "sequence_length=10",
             "cell.hidden_size=4", "engine=numpy", f"plugins={mine}"]  # fmt: skip
    assert main(["sweep", *lines, "measure=widest", "measure.widest.every=1,5"]) == 0
    assert main(["sweep", *lines, "measure=minimal", "+measure.widest.every=3"]) == 0
    study = lab.load("x", tmp_path)
    counts = study.widest.groupby(["measure_lags", "measure_widest_every"])["t"].count()
    assert counts.to_dict() == {(8, 3): 8, (24, 1): 20, (24, 5): 4}
    assert set(study.runs["status"]) == {"done"}
    assert main(["sweep", *lines, "measure=widst"]) == 2
    assert "widest" in capsys.readouterr().err
