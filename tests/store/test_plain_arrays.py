"""Columns that are put together without pandas, beside those of `pyarrow.array`."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from bpttlab.store.column import DTYPES, arrow_type
from bpttlab.store.plain_arrays import MOST_EXACT, to_arrow

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


def result_of(convert):
    """What it gives, or what kind of error it raises."""
    try:
        return convert()
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        return type(error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", VALUES, ids=repr)
def test_columns_are_those_of_pyarrow(values, dtype):
    expected = result_of(lambda: pa.array(values, arrow_type(dtype), from_pandas=True))
    found = result_of(lambda: to_arrow(values, dtype))
    if isinstance(expected, type):
        assert found is expected
        return
    found.validate(full=True)
    assert found.type == expected.type
    assert found.null_count == expected.null_count
    assert found.equals(expected)


def test_a_run_is_computed_and_stored_without_pandas(tmp_path):
    code = (
        "import sys, bpttlab as lab\n"
        f"lab.sweep(study='s', results={str(tmp_path)!r}, workers=0, progress=False, seed=[0], engine=['numpy'],\n"
        "    sequence_length=[8], cell=[{'name': 'elman', 'hidden_size': 3}])\n"
        "print('pandas' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
