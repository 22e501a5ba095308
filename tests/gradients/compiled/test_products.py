"""The compiled matrix products against the literal sum, around the edges of tiles."""

import os
import platform
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab import resources
from bpttlab.gradients.backward import backward
from bpttlab.gradients.compiled import arrays, dispatch, products
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.products import load_product
from bpttlab.gradients.forward import forward
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.verification.gradient_check import agreement, assert_agree
from tests.support.compiled import INTERPRETED, dtypes, needs_numba, network

pytestmark = needs_numba

modules = pytest.mark.parametrize("module", [arrays, INTERPRETED.arrays], ids=["compiled", "interpreted"])
widths = st.sampled_from([0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 47, 48, 49, 72, 79, 95, 100])
"""Of parts of a vector, of one, two, three and more, and one number more or less."""


def factors(Q, K, M, dtype="float64", seed=0, columns=False):
    """left (Q,K), its columns contiguous if wanted; right (K,M), and what the product is added to."""
    rng = np.random.default_rng(seed)
    left, right, out = (rng.standard_normal(shape).astype(dtype) for shape in ((Q, K), (K, M), (Q, M)))
    return np.asfortranarray(left) if columns else left, right, out


def assert_product(found, left, right, out):
    """As near to out + left . right as any order of the sum is: a rounding for each term, of the terms' sizes."""
    wide = [array.astype(np.longdouble) for array in (left, right, out)]
    exact, size = wide[2] + wide[0] @ wide[1], abs(wide[2]) + abs(wide[0]) @ abs(wide[1])
    assert found.shape == out.shape
    assert (np.abs(found - exact) <= (left.shape[1] + 1) * np.finfo(found.dtype).eps * size).all()


def add_rows(left, right, out):
    """out + left . right by the compiled product, from memory that begins where `out` does."""
    load_product(out.dtype)
    call_product(left, right, out)
    return out


@compiled()
def call_product(left, right, out):
    products.add_rows(left, right, out)


given_factors = st.builds(
    factors,
    Q=st.integers(0, 21),
    K=st.integers(0, 21),
    M=widths,
    dtype=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 2**16),
    columns=st.booleans(),
)


@given(given_factors)
def test_a_product_is_the_literal_one(given):
    left, right, out = given
    assert_product(add_rows(left, right, out.copy()), left, right, out)
    literal = out.copy()
    INTERPRETED.products.add_rows(left, right, literal)
    assert_product(literal, left, right, out)


@given(given_factors, st.data())
def test_rows_and_columns_have_the_same_bytes_together_and_alone(given, data):
    """So a sequence has the same states in every batch, and a weight the same gradient in every network."""
    left, right, out = given
    whole = add_rows(left, right, out.copy())
    some = data.draw(st.permutations(range(len(left))))[: data.draw(st.integers(0, len(left)))]
    assert add_rows(np.ascontiguousarray(left[some]), right, out[some]).tobytes() == whole[some].tobytes()
    first, last = sorted(data.draw(st.tuples(st.integers(0, right.shape[1]), st.integers(0, right.shape[1]))))
    part = np.ascontiguousarray(out[:, first:last])
    found = add_rows(left, np.ascontiguousarray(right[:, first:last]), part)
    assert found.tobytes() == np.ascontiguousarray(whole[:, first:last]).tobytes()


@given(given_factors, st.integers(0, 9), st.integers(0, 9))
def test_rows_may_have_any_distance_and_nothing_else_is_written(given, before, after):
    left, right, out = given
    wide = np.full((len(out), before + out.shape[1] + after), np.pi, out.dtype)
    inside = np.s_[:, before : before + out.shape[1]]
    wide[inside] = out
    rows = np.zeros((2 * len(right), right.shape[1] + 3), right.dtype)[::2, : right.shape[1]]
    rows[:] = right
    add_rows(left[:, ::-1], rows[::-1], wide[inside])
    assert_product(wide[inside], left[:, ::-1], right[::-1], out)
    wide[inside] = np.pi
    assert (wide == wide.dtype.type(np.pi)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row_and_column(bad):
    left, right, out = factors(9, 5, 27)
    left[3, 2] = bad
    found = add_rows(left, right, out.copy())
    assert not np.isfinite(found[3]).any()
    assert np.isfinite(np.delete(found, 3, axis=0)).all()
    left[3, 2], right[1, 26] = 0.0, bad
    found = add_rows(left, right, out.copy())
    assert not np.isfinite(found[:, 26]).any()
    assert np.isfinite(found[:, :26]).all()


ON_A_PROCESSOR = """
import sys
import numpy as np
from bpttlab.gradients.compiled import dispatch, tiles
rng = np.random.default_rng(0)
left, right = rng.standard_normal((3, 13, 40)), rng.standard_normal((3, 40, 101))
print(tiles.WIDTH, tiles.MOST_ROWS)
for dtype in ("float64", "float32"):
    found = dispatch.multiply(left.astype(dtype), right.astype(dtype), np.empty((3, 13, 101), dtype))
    print(found.tobytes().hex())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs the names of x86 processors")
def test_every_processor_with_fused_products_has_the_same_bytes():
    """Of tiles for AVX-512, AVX2, and those of any processor with fused multiply-adds."""
    kinds = [{}, {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}, {"NUMBA_CPU_NAME": "haswell"}]
    found = []
    for kind in kinds:
        environment = {**os.environ, "PYTHONPATH": str(resources.PACKAGE.parent), **kind}
        command = [sys.executable, "-c", ON_A_PROCESSOR]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
        found.append(done.stdout.split("\n", 1))
    assert [sizes for sizes, _ in found[1:]] == ["32 4", "16 4"]
    assert found[0][1] == found[1][1] == found[2][1]


def test_a_loop_that_comes_before_its_product_stops_the_process():
    """To compute on would be wrong without a word."""
    code = "from bpttlab.gradients.compiled import products; products._STOP()"
    environment = {**os.environ, "PYTHONPATH": str(resources.PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "before load_product" in done.stderr


@modules
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (7, 0), (2, 300)])
def test_aligned_arrays_begin_with_a_cache_line(module, dtype, shape):
    arrays = [module.allocate(*shape, np.dtype(dtype)) for _ in range(9)]
    for n, array in enumerate(arrays):
        array[:] = n
    for n, array in enumerate(arrays):
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert (array == n).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("T", "aligned"), [(dispatch.MUCH // 1000 + 1, True), (3, False)])
def test_arrays_of_large_passes_begin_a_cache_line(dtype, T, aligned):
    x, W = np.zeros((T, 10, 1), dtype), np.zeros((10, 10))
    for make in (np.empty, np.zeros):
        of_pass = dispatch.allocator(make, x, W)
        assert (of_pass is make) != aligned
        arrays = [of_pass((3, 1, 5 + n), x.dtype) for n in range(9)]
        for n, array in enumerate(arrays):
            assert array.shape == (3, 1, 5 + n)
            assert array.dtype == dtype
            assert array.flags.carray
            assert not aligned or array.ctypes.data % 64 == 0
            assert make is np.empty or not array.any()
            array[:] = n
        assert all((array == n).all() for n, array in enumerate(arrays))


@pytest.mark.parametrize(
    ("make", "gates"),
    [(Elman, 1), (LSTM, 4), (GRU, 3), pytest.param(partial(GRU, reset="before"), 2, marks=pytest.mark.slow)],
    ids=["elman", "lstm", "gru", "gru, reset before"],
)
@dtypes
@pytest.mark.parametrize("B", [1, 6])
def test_networks_with_wide_matrices_are_those_of_the_cells(make, gates, dtype, B):
    """W wider than 4 KB."""
    N = 2**12 // np.dtype(dtype).itemsize // gates + 1
    cell, params, x, h_0 = network(make, T=3, B=B, N=N, gain=0.7, dtype=dtype)
    trace, fast = (forward(cell, params, x, h_0, engine=engine) for engine in ("numpy", "numba"))
    tolerance = 10 * agreement(trace.h.dtype)
    assert_agree({"h": fast.h, "y_hat": fast.y_hat}, {"h": trace.h, "y_hat": trace.y_hat}, tolerance)
    errors = np.ones_like(trace.y_hat)
    assert fast.engine.gradient(fast, errors) is not None
    assert_agree(backward(fast, errors), backward(fast.with_engine("numpy"), errors), tolerance)
