"""NumPy's functions give a number the same bytes wherever it lies: bundles and workers are equal because of it."""

import numpy as np
import pytest

FUNCTIONS = ("exp", "log", "log1p", "expm1", "tanh", "sin", "cos", "sqrt", "arctan", "arccos")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_strided_argument_beside_the_result_changes_no_byte(name, dtype):
    """NumPy 2.0 takes such a pair for overlapping and computes it by another function: exp, log and six more differ."""
    function, count, step = getattr(np, name), 5_000, 6
    memory = np.empty((step + 1) * count + 2, dtype)
    argument, result = memory[step - 1 : step * count : step], memory[step * count + 2 :][:count]
    argument[:] = np.random.default_rng(0).uniform(0.5, 1.0, count)
    expected = function(argument.copy())
    function(argument, out=result)
    np.testing.assert_array_equal(result, expected)
