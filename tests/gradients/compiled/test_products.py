"""The compiled matrix products against the literal sum, around the edges of tiles, panels and blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpttlab.gradients.backward import backward
from bpttlab.gradients.compiled import dispatch, kernels
from bpttlab.gradients.forward import forward
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.verification.gradient_check import agreement, assert_agree
from tests.support.compiled import INTERPRETED, dtypes, needs_numba, network

pytestmark = needs_numba

modules = pytest.mark.parametrize("module", [kernels, INTERPRETED], ids=["compiled", "interpreted"])
widths = st.sampled_from([1, 2, 7, 8, 9, 33, 511, 512, 513, 520, 1023, 1025, 1100])


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


products = st.builds(
    factors,
    Q=st.integers(1, 10),
    K=st.integers(0, 21),
    M=st.integers(1, 20),
    dtype=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 2**16),
    columns=st.booleans(),
)


@modules
@given(products, st.integers(1, 24))
def test_a_product_in_panels_is_the_literal_one(module, given_factors, rows):
    left, right, out = given_factors
    found, whole = out.copy(), out.copy()
    module.add_panels(left, right, found, rows)
    assert_product(found, left, right, out)
    module.add_rows(left, right, whole)
    assert_product(whole, left, right, out)


@given(products, st.integers(1, 24), st.data())
def test_sum_has_one_order_for_all_panels_and_rows(given_factors, rows, data):
    left, right, out = given_factors
    whole, panels = out.copy(), out.copy()
    kernels.add_rows(left, right, whole)
    kernels.add_panels(left, right, panels, rows)
    assert panels.tobytes() == whole.tobytes()
    some = data.draw(st.permutations(range(len(left))))[: data.draw(st.integers(1, len(left)))]
    of_some = out[some]
    kernels.add_rows(np.ascontiguousarray(left[some]), right, of_some)
    assert of_some.tobytes() == whole[some].tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("more", [-1, 0, 1, 5, 129])
def test_products_around_the_edge_of_a_panel(dtype, more):
    """As `add_rows` chooses it: 512 KB."""
    M = 512
    rows = 2**19 // (M * np.dtype(dtype).itemsize)
    left, right, out = factors(6, rows + more, M, dtype)
    found, panels = out.copy(), out.copy()
    kernels.add_rows(left, right, found)
    kernels.add_panels(left, right, panels, len(right))
    assert_product(found, left, right, out)
    assert panels.tobytes() == found.tobytes()


@modules
@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 9), widths, st.sampled_from(["float64", "float32"]))
def test_a_product_in_blocks_is_the_literal_one(module, Q, K, M, dtype):
    left, right, out = factors(Q, K, M, dtype)
    blocks = module._divide_into_blocks(right)
    P, _, C = blocks.shape
    assert np.concatenate(blocks, axis=1)[:, :M].tobytes() == right.tobytes()
    assert not np.concatenate(blocks, axis=1)[:, M:].any()
    assert (P == 1) == (M * right.itemsize <= 2**12)
    assert P == 1 or C * right.itemsize <= 2**11
    assert P == 1 or C * right.itemsize % 64 == 0
    found, whole = out.copy(), out.copy()
    module.add_blocks(left, blocks, found, np.full((Q, C), np.nan, dtype))
    assert_product(found, left, right, out)
    module.add_rows(left, right, whole)
    assert found.tobytes() == whole.tobytes()


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
    [(Elman, 1), (LSTM, 4), (GRU, 3), (lambda *sizes: GRU(*sizes, reset="before"), 2)],
    ids=["elman", "lstm", "gru", "gru, reset before"],
)
@dtypes
@pytest.mark.parametrize("B", [1, 6])
def test_networks_of_several_blocks_are_those_of_the_cells(make, gates, dtype, B):
    """The smallest ones whose W is in more than one block: wider than 4 KB."""
    N = 2**12 // np.dtype(dtype).itemsize // gates + 1
    cell, params, x, h_0 = network(make, T=3, B=B, N=N, gain=0.7, dtype=dtype)
    trace, fast = (forward(cell, params, x, h_0, engine=engine) for engine in ("numpy", "numba"))
    tolerance = 10 * agreement(trace.h.dtype)
    assert_agree({"h": fast.h, "y_hat": fast.y_hat}, {"h": trace.h, "y_hat": trace.y_hat}, tolerance)
    errors = np.ones_like(trace.y_hat)
    assert fast.engine.gradient(fast, errors) is not None
    assert_agree(backward(fast, errors), backward(fast.with_engine("numpy"), errors), tolerance)
