"""Norms of products carried in few rows: against the product itself, and against products that cannot be so carried."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import bpttlab
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.gradients.compiled import spectral_kernels
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.measures import low_rank_products
from bpttlab.networks.cells import Diagonal, Elman
from tests.support.compiled import QUICK_CELLS, needs_numba, quick_dtypes
from tests.support.examples import examples
from tests.support.networks import cases, linear
from tests.support.networks_of_cells import CELLS, VARIANTS
from tests.support.networks_of_cells import case as case_of
from tests.support.networks_of_cells import cases as cases_of
from tests.support.products import (
    TOLERANCE,
    below_the_range_for_a_while,
    beyond_the_range,
    blocks_that_cross,
    dead_relu,
    gates_that_reopen,
    literal,
    nilpotent,
    rounded,
    with_slopes,
)

fast_norms = partial(bpttlab.jacobian_products, lags="all", method="fast")

ENGINES = ["numpy", pytest.param("numba", marks=needs_numba)]
WITH_LOOPS = [pytest.param(name, "numba", marks=needs_numba) for name in QUICK_CELLS]


def assert_right(frame, trace, t=None):
    for sequence, rows in frame.groupby("sequence"):
        for column, expected in zip(
            ("log_spectral_norm", "log_frobenius_norm"), literal(trace, sequence, t), strict=True
        ):
            # where entries are denormals of the literal product, its digits are not there either
            np.testing.assert_allclose(rows[column], expected, rtol=1e-13, atol=TOLERANCE)


@pytest.mark.parametrize("engine", ENGINES)
@examples(40)
@given(st.data(), st.integers(1, 3))
def test_norms_are_those_of_the_product(engine, data, sequences):
    trace = data.draw(cases(quick_dtypes(engine))).trace.with_engine(engine)
    frame = fast_norms(trace, sequences=sequences)
    assert len(frame) == (trace.length + 1) * min(sequences, trace.h.shape[1])
    assert_right(frame, trace)


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_of_every_cell(make):
    @examples(8)
    @given(cases_of(make, longest=30))
    def check(case):
        assert_right(fast_norms(case.trace), case.trace)

    check()


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *(pytest.param(name, "numpy", marks=[pytest.mark.slow] if name in VARIANTS else []) for name in CELLS),
        *WITH_LOOPS,
    ],
)
def test_of_every_cell_over_many_lags(name, engine):
    trace = case_of(CELLS[name], T=300, N=12, B=2, gain=0.9).trace.with_engine(engine)
    frame = fast_norms(trace)
    assert_right(frame, trace)
    if name == "elman":
        assert frame["rank"].min() < 6
        assert not frame["fell_back"].any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("N", "T", "gain"), [(40, 400, 0.9), (40, 400, 1.5), (1, 50, 1.0), (2, 2000, 0.3)])
def test_few_rows_are_enough(N, T, gain, engine):
    trace = forward(*elman(N, T, gain), engine=engine)
    frame = fast_norms(trace)
    assert_right(frame, trace)
    assert not frame["fell_back"].any()
    assert frame["rank"].iloc[-1] < max(2, N // 4)


def test_any_t():
    trace = forward(*elman(6, 40, 0.9))
    assert_right(fast_norms(trace, t=23), trace, t=23)


def elman(N, T, gain, seed=0):
    rng = np.random.default_rng(seed)
    cell = Elman(2, N, 2)
    return cell, cell.init(rng, spectral_radius=gain), rng.standard_normal((T, 1, 2))


RETURNING = {
    "dead relu": dead_relu,
    "nilpotent": nilpotent,
    "gates": gates_that_reopen,
    "blocks": blocks_that_cross,
    "beyond the range": beyond_the_range,
    "below the range for a while": below_the_range_for_a_while,
    "rounded": rounded,
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", RETURNING)
def test_what_was_dropped_comes_back_and_is_seen(name, engine):
    trace = RETURNING[name]()
    slopes, trace = trace.linearization, trace.with_engine(engine)
    trace.__dict__["linearization"] = slopes
    frame = fast_norms(trace)
    assert frame["fell_back"].all()
    assert (frame["rank"] == trace.h.shape[-1]).all()
    assert_right(frame, trace)


@pytest.mark.parametrize(("name", "least"), [("gates", 0.05), ("blocks", 1.0)])
def test_without_the_combinations_the_norms_would_be_wrong(name, least, monkeypatch):
    monkeypatch.setattr(low_rank_products, "OBJECTION", 1e300)
    trace = RETURNING[name]()
    error = fast_norms(trace)["log_spectral_norm"] - literal(trace)[0]
    assert error.abs().max() > least


def test_units_that_are_off_are_no_loss():
    """Rows of exact zeros are not rows that have been lost."""
    slopes = np.ones((80, 6))
    slopes[40:, :2] = 0.0
    trace = with_slopes(np.diag([1.0, 1.0, 1.0, 0.9, 0.5, 0.1]), slopes)
    frame = fast_norms(trace)
    assert not frame["fell_back"].any()
    assert_right(frame, trace)


def test_an_isometry_keeps_all_rows():
    W = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))[0]
    frame = fast_norms(linear(W, T=200))
    assert (frame["rank"] == 20).all()
    assert not frame["fell_back"].any()
    np.testing.assert_allclose(frame["log_spectral_norm"], 0.0, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-290, 1e-200, 1e-100, 1e-30, 1e40, 1e150, 1e250])
def test_steps_of_any_size(factor):
    trace = linear(factor * np.random.default_rng(0).standard_normal((5, 5)), T=40)
    assert_right(fast_norms(trace), trace)


def test_a_diagonal_cell_with_units_beyond_the_range_of_floats():
    cell = Diagonal(2, 6, 1)
    params = cell.init(np.random.default_rng(0))
    params["nu"][:] = np.linspace(-1.0, 4.0, len(params["nu"]))
    trace = forward(cell, params, np.random.default_rng(1).standard_normal((400, 1, 2)))
    assert_right(fast_norms(trace), trace)


def test_mistakes_are_named():
    trace = linear(np.eye(2), T=5)
    with pytest.raises(ConfigurationError, match="t=6"):
        fast_norms(trace, t=6)
    broken = trace.h.copy()
    broken[3] = np.nan
    bad = Trace(Elman(2, 2, 1), trace.params, trace.x, broken, trace.y_hat)
    with pytest.raises(NonFiniteError, match="step t - lag = 3") as error:
        fast_norms(bad)
    assert error.value.step == 3  # J_4 is the derivative at h_3


def test_complex_numbers_are_refused():
    trace = linear(np.eye(2), T=5)
    trace = replace(trace, h=trace.h.astype(complex))
    for measure in (fast_norms, lambda trace: bpttlab.windowed_products(trace, [1])):
        with pytest.raises(ConfigurationError, match="complex"):
            measure(trace)


def test_it_is_reached_from_the_package():
    assert {"rank", "fell_back"} <= set(bpttlab.jacobian_products(linear(np.eye(2), T=5), method="fast"))


# ------------------------------------------------------------------------------------ the largest singular value


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**16), st.sampled_from([0.0, 1e-10, 1e-8, 1e-3, 1.0]))
@example(R=2, N=10, seed=65536, spread=1e-8)
def test_lanczos_is_the_singular_value_decomposition(R, N, seed, spread):
    """Of matrices with equal, nearly equal and very different singular values, from a vector that led another.

    The example begins near the singular vector of the smaller of two nearly equal values, where the residual is small.
    """
    rng = np.random.default_rng(seed)
    left, right = np.linalg.qr(rng.standard_normal((R, R)))[0], np.linalg.qr(rng.standard_normal((N, N)))[0]
    size = min(R, N)
    matrices = np.stack([(left[:, :size] * (1 + spread * rng.standard_normal(size))) @ right[:size] for _ in range(3)])
    u, noise, found = left[0].copy(), rng.standard_normal(R), np.empty(3)
    spectral_kernels.largest_squares(matrices, u, noise / np.linalg.norm(noise), found)
    expected = np.linalg.svd(matrices, compute_uv=False)[:, 0]
    np.testing.assert_allclose(np.sqrt(found), expected, rtol=1e-11 if spread in (0.0, 1e-3, 1.0) else 1e-9)
    assert np.linalg.norm(u) == pytest.approx(1.0, rel=1e-12)
    assert np.linalg.norm(u @ matrices[-1]) == pytest.approx(expected[-1], rel=1e-9)


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
def test_a_vector_that_has_been_overtaken_is_left(gap):
    """Two directions that never mix: the start is the singular vector of the smaller one."""
    values = np.full(30, 1e-3)
    values[0], values[1] = 1.0, 1.0 + gap
    noise, found = np.random.default_rng(0).standard_normal(30), np.empty(1)
    u = np.eye(30)[0].copy()
    spectral_kernels.largest_squares(np.diag(values)[None], u, noise / np.linalg.norm(noise), found)
    assert 0.5 * np.log(found[0]) == pytest.approx(np.log1p(gap), abs=TOLERANCE)


@pytest.mark.parametrize("rows", [1, 2, spectral_kernels.FEW_ROWS, spectral_kernels.FEW_ROWS + 1, 20])
@pytest.mark.parametrize("N", [1, 3, 4, 9])
def test_rows_go_back_as_the_cell_sends_them(rows, N):
    trace = linear(np.random.default_rng(0).standard_normal((N, N)), T=3)
    slopes = np.random.default_rng(1).standard_normal((3, N))
    found = np.empty((4, rows, N))
    found[0] = np.random.default_rng(2).standard_normal((rows, N))
    spectral_kernels.push_rows(trace.params["W"], slopes, found)
    expected = found[0]
    for slope in slopes[::-1]:
        expected = trace.cell.vjp(trace.params, slope, expected)[1]
    np.testing.assert_allclose(found[3], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 5])
def test_interpreted_it_is_the_same(rows):
    interpreted = getattr(spectral_kernels.largest_squares, "py_func", spectral_kernels.largest_squares)
    matrices = np.random.default_rng(0).standard_normal((2, rows, 7))
    u, found = np.ones(rows), np.empty(2)
    interpreted(matrices, u, np.ones(rows) / np.sqrt(rows), found)
    np.testing.assert_allclose(np.sqrt(found), np.linalg.svd(matrices, compute_uv=False)[:, 0], rtol=1e-12)
