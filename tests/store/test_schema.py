"""The tables as data: what is written has their types, and the documentation says the same."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, StoreError
from bpttlab.networks.initializers import Initializer
from bpttlab.store import schema
from bpttlab.store.column import DTYPES
from bpttlab.store.columns import (
    CONFIGURATION,
    FILE_NAMES,
    MONITORED,
    NETWORK_NAMES,
    RUNS,
    SEQUENCE_LENGTHS,
    TABLES,
    TABLES_OF_TRAINING,
    TRAINED,
)
from bpttlab.store.measure_columns import JACOBIANS, TRUNCATIONS
from bpttlab.store.schema import flatten, frame, rows_of_run
from bpttlab.store.stored_text import limit_columns
from bpttlab.sweeps.configuration import Configuration

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"

CONFIGURED = {
    "seed": 0,
    "spectral_radius": None,
    "sequence_length": 50,
    "truncation": 20,
    "cell": {"name": "elman", "hidden_size": 32},
    "task": {"name": "noise", "input_size": 4},
    "scales": {"V": 1.0, "b": 0.0},
    "measure": {"lags": [1, 2], "deep": {"name": "x", "er": True}},
}

OPTIONAL_KEYS = {("truncations", "truncation"), ("eigenvalues", "sequence"), ("eigenvalues", "t")}


# ------------------------------------------------------------------ the data and the page


def columns_on_the_page() -> dict[str, list[tuple[str, ...]]]:
    """Section -> (name, type, unit, meaning) of each row of its table; the section of the summaries has other ones."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    sections = [section for section in sections if not section.startswith("Summaries\n")]
    rows = {}
    for section in sections:
        lines = [line for line in section.splitlines() if line.startswith("| `")]
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
        rows[section.split("\n")[0]] = [tuple(cell.strip().replace("\\|", "|") for cell in row) for row in cells]
    return {name: columns for name, columns in rows.items() if columns}


def test_the_page_documents_every_column_of_every_table():
    documented = columns_on_the_page()
    described = {name: table.columns for name, table in TABLES.items()} | {
        **{table.name: table.columns for table in (SEQUENCE_LENGTHS, *TABLES_OF_TRAINING)},
        "configuration": CONFIGURATION,
        "names of files": (*NETWORK_NAMES, *FILE_NAMES.values()),
        "networks in training": MONITORED,
        "networks trained by a sweep": TRAINED,
    }
    assert list(documented) == list(described)
    for name, columns in described.items():
        expected = [
            (f"`{column.name}`", column.dtype + ("" if column.required else "?"), column.unit, column.meaning)
            for column in columns
        ]
        assert documented[name] == expected, (
            f"docs/tables.md, {name}: print bpttlab.store.schema.markdown() to renew it"
        )


def test_the_page_names_the_version():
    assert f"(`schema_version`, now {schema.SCHEMA_VERSION})" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_are_sound(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert names[0] == "run_id"
    assert set(table.keys) <= set(names)
    for column in table.columns:
        assert column.dtype in DTYPES
        assert len(column.meaning) > 0
        assert "\n" not in column.meaning
        assert column.required or column.name not in table.keys or (table.name, column.name) in OPTIONAL_KEYS
        assert column.name.startswith("log_") <= (column.unit == "nat")


def test_logarithms_say_so():
    """Every column in nats is called log_* or is a peak, a rate or a growth of logarithms."""
    others = {column.name for table in TABLES.values() for column in table.columns if column.unit == "nat"}
    assert {name for name in others if not name.startswith("log_")} == {"transient_peak"}


def test_configuration_columns_are_no_others():
    names = [column.name for column in CONFIGURATION]
    assert len(set(names)) == len(names)
    assert not set(names) & set(RUNS.schema.names)


# ------------------------------------------------------------------ configurations


def test_flattening():
    assert flatten(CONFIGURED) == {
        "seed": 0,
        "spectral_radius": None,
        "sequence_length": 50,
        "truncation": "20",
        "cell": "elman",
        "cell_hidden_size": 32,
        "task": "noise",
        "task_input_size": 4,
        "scales_V": 1.0,
        "scales_b": 0.0,
        "measure_lags": "[1,2]",
        "measure_deep": "x",
        "measure_deep_er": True,
    }


def test_a_full_truncation_is_a_text_too():
    assert flatten({"truncation": "full"}) == {"truncation": "full"}


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"cell": {"a": 1}, "cell_a": 2}, "two values of the configuration would fill the column 'cell_a'"),
        ({"cell": {"name": "x", "a": {"b": 1}, "a_b": 2}}, "would fill the column 'cell_a_b'"),
        ({"loss": 1.0}, "cannot be called 'loss'"),
        ({"initializer": {"requested": 1.0}}, "cannot be called 'initializer_requested'"),
    ],
)
def test_two_values_never_share_a_column(configuration, message):
    with pytest.raises(ConfigurationError, match=message):
        flatten(configuration)


SCHEMES = ("full", "per_loss", "windowed", "chunked")
INITIALIZERS = sorted(kind.name for kind in Initializer.__subclasses__())


@pytest.mark.parametrize("task", sorted(plugins.find_shipped("task")))
def test_every_configuration_value_is_documented_with_its_type(task, tmp_path):
    """Each scheme, and each initializer once: the fields of one choice do not depend on another."""
    pairs = list(zip(SCHEMES * len(INITIALIZERS), INITIALIZERS, strict=False))
    for (scheme, initializer), truncation in zip(pairs, ["full", 5] * len(pairs), strict=False):
        check_configuration(task, scheme, initializer, truncation, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(plugins.find_shipped("task")))
def test_so_is_every_combination_of_choices(task, tmp_path):
    for choice in product(SCHEMES, INITIALIZERS, ["full", 5]):
        check_configuration(task, *choice, tmp_path)


def check_configuration(task, scheme, initializer, truncation, folder):
    path = {}
    if task == "file":
        path = {"path": str(folder / "own.npz")}
        np.savez(path["path"], x=np.ones((8, 50, 1)), target=np.ones((8, 50, 1)))
    chosen = {"task": {"name": task, **path}, "scheme": scheme, "initializer": initializer, "truncation": truncation}
    if initializer == "none":
        chosen["cell"] = {"name": "diagonal", "hidden_size": 8}
    if initializer == "from_file":
        np.save(folder / "W.npy", np.eye(32))
        chosen["initializer"] = {"name": "from_file", "path": str(folder / "W.npy")}
    flat = flatten(Configuration.parse(chosen).plain)
    declared = {column.name: column.dtype for column in CONFIGURATION}
    types = {"int64": int, "float64": float, "string": str, "bool": bool}
    assert set(flat) <= set(declared), chosen
    for name, value in flat.items():
        assert value is None or type(value) is types[declared[name]], (name, chosen)


def dtype_and_values(*values):
    column = schema.configuration_columns([{"x": value} for value in values])["x"]
    return str(column.type), column.to_pylist()


@pytest.mark.parametrize(
    ("values", "dtype", "held"),
    [
        ((1, 2), "int64", [1, 2]),
        ((1, None), "int64", [1, None]),
        ((1, 1.5), "double", [1.0, 1.5]),
        ((1.0, float("nan")), "double", [1.0, None]),
        ((True, None), "bool", [True, None]),
        (("a", None), "string", ["a", None]),
        ((1, "a"), "string", ["1", "a"]),
        ((1, 1.5, "a"), "string", ["1", "1.5", "a"]),
        ((True, 1), "string", ["true", "1"]),
        ((2**60 + 1, 1.5), "double", [float(2**60), 1.5]),
        ((None, None), "double", [None, None]),
    ],
)
def test_configuration_columns_have_the_type_of_their_values(values, dtype, held):
    assert dtype_and_values(*values) == (dtype, held)


def test_a_field_that_a_group_lacks_is_missing():
    table = schema.configuration_columns([{"seed": 1}, {"seed": 2, "scheme_k1": 3}, {"seed": 3, "other": 1.0}])
    assert table.to_pydict() == {"seed": [1, 2, 3], "scheme_k1": [None, 3, None], "other": [None, None, 1.0]}


def test_columns_are_made_of_rows_that_come_one_by_one():
    rows = [{"seed": 1, "b": "x"}, {"b": "y", "a": True}, {}, {"seed": 4, "a": None}]
    table = schema.configuration_columns(iter(rows))
    expected = {"seed": [1, None, None, 4], "a": [None, True, None, None], "b": ["x", "y", None, None]}
    assert table.to_pydict() == expected and table.column_names == list(expected)


def test_very_many_columns_are_counted_and_refused():
    rows = [{f"field_{place}_{run}": 1 for place in range(400)} for run in range(4)]
    assert list(limit_columns(rows[:2])) == rows[:2]
    with pytest.raises(StoreError, match="have 1600 different fields: must be at most 1000"):
        list(limit_columns(rows))


def test_known_columns_keep_their_type_without_values():
    table = schema.configuration_columns([{"spectral_radius": None, "scheme_k1": None, "task_by": None}])
    assert [str(column.type) for column in table.schema] == ["double", "string", "int64"]


@given(st.dictionaries(st.sampled_from(["seed", "task", "b", "a", "engine"]), st.none() | st.integers(0, 3)))
def test_known_columns_come_first_and_the_others_by_name(row):
    names = schema.configuration_columns([row]).column_names
    assert names == [name for name in ("seed", "engine", "task", "a", "b") if name in row]


# ------------------------------------------------------------------ typed rows


def products(**changes):
    columns = {"sequence": [0, 0], "t": [5, 5], "lag": [0, 1], "log_spectral_norm": [0.0, -np.inf]}
    return columns | changes


def test_rows_have_exactly_the_types_of_their_table():
    rows = rows_of_run(JACOBIANS, "r", products(alignment=np.array([np.nan, 1], dtype=np.float32)))
    assert rows.schema.equals(JACOBIANS.schema)
    assert rows["run_id"].to_pylist() == ["r", "r"]
    assert rows["log_spectral_norm"].to_pylist() == [0.0, -np.inf]
    assert rows["alignment"].to_pylist() == [None, 1.0]
    assert rows["log_bound"].null_count == 2


@pytest.mark.parametrize(
    "truncation",
    [
        [None, 5],
        np.array([np.nan, 5.0]),
        pd.array([None, 5], dtype="Int64"),
        pd.Series([pd.NA, 5], dtype="Int64"),
        np.array([None, 5], dtype=object),
    ],
    ids=lambda values: type(values).__name__,
)
def test_missing_integers_may_be_told_in_any_way(truncation):
    columns = {"scheme": np.array(["full", "per_loss"]), "truncation": truncation, "length": np.array([9, 9])}
    columns |= {"parameter": ["W", "W"], "log_norm": np.zeros(2), "origin": ["scheme", "scheme"]}
    rows = rows_of_run(TRUNCATIONS, "r", columns)
    assert rows["truncation"].to_pylist() == [None, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"log_spectral": [1.0, 1.0]},
            r"table 'jacobians' of run r has no column 'log_spectral'\. Did you mean 'log_spect",
        ),
        ({"lag": [0, None]}, "column 'lag' has 1 missing"),
        ({"t": np.array([1.0, np.nan])}, "column 't' has 1 missing"),
        ({"lag": [0, 0.5]}, "column 'lag' must be int64"),
        ({"lag": ["0", "1"]}, "column 'lag' must be int64"),
        ({"lag": [0, 2**63]}, "column 'lag' must be int64"),
        ({"alignment": ["x", "y"]}, "column 'alignment' must be float64"),
        ({"alignment": [1.0]}, "unequal length"),
        ({"alignment": 1.0}, "column 'alignment' must be a list or 1-D array"),
        ({"alignment": "ab"}, "column 'alignment' must be a list or 1-D array"),
        ({"alignment": np.zeros((2, 2))}, "column 'alignment' must be a list or 1-D array"),
        ({"alignment": [object(), object()]}, "column 'alignment' must be float64"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, message):
    with pytest.raises(StoreError, match=message) as told:
        rows_of_run(JACOBIANS, "r", products(**changes))
    assert "\n" not in str(told.value)


def test_a_required_column_cannot_be_left_out():
    columns = products()
    del columns["sequence"]
    with pytest.raises(StoreError, match="column 'sequence' has 2 missing"):
        rows_of_run(JACOBIANS, "r", columns)


def test_a_measured_nan_is_refused_where_every_row_has_a_norm():
    columns = {"parameter": ["W"], "lag": [0], "log_norm": [np.nan]}
    with pytest.raises(StoreError, match="column 'log_norm' has 1 missing"):
        rows_of_run(TABLES["lag_terms"], "r", columns)


def test_no_rows_are_rows_too():
    assert rows_of_run(JACOBIANS, "r", {}).schema.equals(JACOBIANS.schema)


def told(values):
    """A list of integers, missing ones among them, as something that a measure may leave."""
    forms = {
        "list": lambda: list(values),
        "object": lambda: np.array(values, dtype=object),
        "float": lambda: np.array([np.nan if value is None else value for value in values], dtype=float),
        "pandas": lambda: pd.array(values, dtype="Int64"),
        **({} if None in values else {"int": lambda: np.array(values, dtype=np.int64)}),
    }
    return st.sampled_from(list(forms.values())).map(lambda make: make())


@st.composite
def columns_of_a_run(draw):
    rows = draw(st.integers(0, 3))
    whole = st.lists(st.none() | st.integers(0, 9), min_size=rows, max_size=rows).flatmap(told)
    columns = {
        "scheme": draw(st.sampled_from([list, np.array]))(draw(st.sampled_from([["full"], ["per_loss"]])) * rows),
        "truncation": draw(whole),
        "length": np.full(rows, 9),
        "parameter": np.array([draw(st.sampled_from(["W", "b_h"])) for _ in range(rows)], dtype=str),
        "log_norm": np.array(draw(st.lists(st.floats(-9, 9), min_size=rows, max_size=rows)), dtype=float),
        "origin": ["scheme"] * rows,
    }
    left_out = draw(st.sampled_from([None, "truncation"]))
    return {name: values for name, values in columns.items() if name != left_out}


@given(st.lists(columns_of_a_run(), min_size=1, max_size=5))
def test_rows_of_many_runs_are_those_of_each(many):
    runs = [(f"run {number}", columns) for number, columns in enumerate(many)]
    together = schema.rows_of_runs(TRUNCATIONS, runs)
    assert together.schema.equals(TRUNCATIONS.schema)
    for run_id, columns in runs:
        own = together.filter(pc.equal(together["run_id"], run_id))
        assert own.to_pylist() == rows_of_run(TRUNCATIONS, run_id, columns).to_pylist()


@pytest.mark.parametrize(
    "changes", [{"log_spectral": [1.0, 1.0]}, {"lag": [0, 0.5]}, {"t": 5}, {"alignment": [1.0]}, {"lag": [0, None]}]
)
def test_of_many_runs_the_one_at_fault_is_named(changes):
    with pytest.raises(StoreError) as alone:
        rows_of_run(JACOBIANS, "second", products(**changes))
    with pytest.raises(StoreError, match="of run second") as among:
        schema.rows_of_runs(JACOBIANS, [("first", products()), ("second", products(**changes)), ("third", products())])
    assert str(among.value) == str(alone.value)


# ------------------------------------------------------------------ frames


def test_frames_have_the_types_that_the_page_promises():
    table = pa.table(
        {
            "text": pa.array(["a", None]),
            "whole": pa.array([1, None]),
            "number": pa.array([-np.inf, None]),
            "truth": pa.array([True, None]),
        }
    ).append_column(pa.field("key", pa.int64(), nullable=False), pa.array([1, 2]))
    data = frame(table)
    assert [str(dtype) for dtype in data.dtypes] == ["str", "Int64", "float64", "boolean", "int64"]
    assert data.isna().sum().tolist() == [1, 1, 1, 1, 0]
    assert data["number"][0] == -np.inf
    assert data["whole"][1] is pd.NA
    assert np.isnan(data["text"][1])


def test_missing_keys_come_last_and_equal_keys_as_they_came():
    table = pa.table({"key": [2, None, 1, 2], "name": ["b", "a", "a", "B"], "row": [0, 1, 2, 3]})
    assert table.take(schema.sort_indices(table, ["key"]))["row"].to_pylist() == [2, 0, 3, 1]
    assert table.take(schema.sort_indices(table, ["key", "name"]))["row"].to_pylist() == [2, 3, 0, 1]
