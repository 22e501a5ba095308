"""Log-spaced lags: both ends, distinct, as many as requested."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.numerics.log_spacing import log_spacing


@given(st.integers(0, 10**6), st.integers(3, 60))
def test_the_grid(last, count):
    grid = log_spacing(last, count)
    assert grid[0] == 0
    assert grid[-1] == last
    assert (np.diff(grid) > 0).all()
    assert len(grid) == min(count, last + 1)
