"""Columns that are put together without pandas, beside those of `pyarrow.array`."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from bpttlab.store.column import DTYPES, arrow_type
from bpttlab.store.plain_arrays import MANY, MOST_EXACT, of_plain, to_arrow

NAN = float("nan")
VALUES = [
    [],
    [None, None],
    [1.5, None, NAN, -0.0, np.inf],
    [1, 2.5, None],
    [np.float64(1.0), np.float32(2.0), np.int64(3)],
    [MOST_EXACT, -MOST_EXACT],
    [MOST_EXACT + 2],
    [2**63 - 1, -(2**63), None],
    [2**63],
    [True, None, False],
    [np.True_, False],
    [True, 1],
    ["a", None, "", "λ₁ – é"],
    ["a", NAN],
    ["\ud800"],
    [1, "a"],
    [b"a"],
    ("a", "b"),
    np.array([1.5, NAN]),
    np.array([1.5, NAN], np.float32),
    np.arange(12.0)[::3],
    np.arange(12.0).reshape(3, 4),
    np.arange(5),
    np.arange(5, dtype=np.uint8),
    np.array([2**63], np.uint64),
    np.array([1.0, 2.0]),
    np.arange(5, dtype=np.int64)[::-2],
    np.arange(11) % 3 == 0,
    np.array(["ab", "c"]),
    np.array([None, "c"], object),
    np.array([None, 3], object),
    np.array([], float),
    np.ma.masked_array([1.0, 2.0], [True, False]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", VALUES, ids=repr)
def test_columns_are_those_of_pyarrow(values, dtype):
    found = of_plain(values, dtype)
    if found is None:
        return  # pyarrow decides
    expected = pa.array(values, arrow_type(dtype), from_pandas=True)
    found.validate(full=True)
    assert found.type == expected.type
    assert found.null_count == expected.null_count
    assert found.equals(expected)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.5, None], "float64"),
        (np.array([1.5, NAN], np.float32), "float64"),
        ([1, None, np.int64(2)], "int64"),
        (np.array([None, 3], object), "int64"),
        (np.arange(3), "int64"),
        ([True, None], "bool"),
        (["a", None, "é"], "string"),
        (np.array(["ab", "c"]), "string"),
    ],
    ids=repr,
)
def test_what_measures_give_is_plain(values, dtype):
    assert of_plain(values, dtype) is not None


@pytest.mark.parametrize("values", [[1.5], [None] * MANY, ["a"] * (MANY + 1), ("a",)])
def test_the_faster_of_two_ways_gives_the_same(values, monkeypatch):
    dtype = "string" if "a" in values else "float64"
    expected = pa.array(values, arrow_type(dtype), from_pandas=True)
    assert to_arrow(values, dtype).equals(expected)
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    assert to_arrow(values, dtype).equals(expected)


def test_a_run_is_computed_and_stored_without_pandas(tmp_path):
    code = (
        "import sys, bpttlab as lab\n"
        f"lab.sweep(study='s', results={str(tmp_path)!r}, workers=0, progress=False, seed=[0], engine=['numpy'],\n"
        "    sequence_length=[8], cell=[{'name': 'elman', 'hidden_size': 3}])\n"
        "print('pandas' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
