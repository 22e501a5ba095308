"""Norms of products carried in few rows: against the product itself, and against products that cannot be so carried."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import cases, linear
from networks_of_cells import CELLS
from networks_of_cells import case as case_of
from networks_of_cells import cases as cases_of
from test_kernels import needs_numba

import bpttlab
from bpttlab import adaptive_products, leading
from bpttlab.adaptive_products import lag_norms
from bpttlab.bptt import forward
from bpttlab.cells import LSTM, Diagonal, Elman
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.trace import Trace

ENGINES = ["numpy", pytest.param("numba", marks=needs_numba)]
TOLERANCE = 1e-10
"""Of a logarithm, absolute: relative of the norm."""


def literal(trace: Trace, sequence=0, t=None):
    """log ||P||_2 and log(||P||_F / sqrt(N)) of every lag, each row of the product with an exponent of its own."""
    t = trace.length if t is None else t
    wide = {name: value.astype(float) for name, value in trace.params.items()}
    size = trace.h.shape[-1]
    product, exponents, found = np.eye(size), np.zeros(size), []
    for lag in range(t + 1):
        if lag:
            slope = trace.slopes[t - lag, sequence].astype(float)
            product = product @ trace.cell.jacobian(wide, slope)
        largest = np.abs(product).max(axis=1)
        shift = np.frexp(largest)[1]
        product, exponents = np.ldexp(product, -shift[:, None]), np.where(largest > 0, exponents + shift, -np.inf)
        top = exponents.max()
        matrix = product * 2.0 ** np.maximum(exponents - top, -1000)[:, None] if np.isfinite(top) else product
        norms = np.linalg.norm(matrix, 2), np.linalg.norm(matrix) / np.sqrt(size)
        with np.errstate(divide="ignore"):
            found.append(np.log(norms) + (top * np.log(2.0) if np.isfinite(top) else 0.0))
    return np.array(found).T


def assert_right(frame, trace, t=None):
    for sequence, rows in frame.groupby("sequence"):
        for column, expected in zip(
            ("log_spectral_norm", "log_frobenius_norm"), literal(trace, sequence, t), strict=True
        ):
            # where entries are denormals of the literal product, its digits are not there either
            np.testing.assert_allclose(rows[column], expected, rtol=1e-13, atol=TOLERANCE)


@given(cases(), st.sampled_from(["numpy", "numba"]), st.integers(1, 3))
@needs_numba
def test_norms_are_those_of_the_product(case, engine, sequences):
    trace = replace(case.trace, engine=engine)
    frame = lag_norms(trace, sequences=sequences)
    assert len(frame) == (trace.length + 1) * min(sequences, trace.h.shape[1])
    assert_right(frame, trace)


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_of_every_cell(make):
    @settings(max_examples=20)
    @given(cases_of(make, longest=30))
    def check(case):
        assert_right(lag_norms(case.trace), case.trace)

    check()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CELLS)
def test_of_every_cell_over_many_lags(name, engine):
    trace = replace(case_of(CELLS[name], T=300, N=12, B=2, gain=0.9).trace, engine=engine)
    frame = lag_norms(trace)
    assert_right(frame, trace)
    if name == "elman":
        assert frame["rank"].min() < 6
        assert not frame["fell_back"].any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("N", "T", "gain"), [(40, 400, 0.9), (40, 400, 1.5), (1, 50, 1.0), (2, 2000, 0.3)])
def test_few_rows_are_enough(N, T, gain, engine):
    trace = forward(*elman(N, T, gain), engine=engine)
    frame = lag_norms(trace)
    assert_right(frame, trace)
    assert not frame["fell_back"].any()
    assert frame["rank"].iloc[-1] < max(2, N // 4)


def test_any_t():
    trace = forward(*elman(6, 40, 0.9))
    assert_right(lag_norms(trace, t=23), trace, t=23)


def elman(N, T, gain, seed=0):
    rng = np.random.default_rng(seed)
    cell = Elman(2, N, 2)
    return cell, cell.init(rng, spectral_radius=gain), rng.standard_normal((T, 1, 2))


# ------------------------------------------------------------------------------------ products that fall back


def units(W, on):
    """Relu units without connections, each on at some steps (T, N): an input far below zero shuts it for a step."""
    N = len(W)
    cell = Elman(N, N, 1, "relu")
    params = {"V": np.eye(N), "W": np.diag(W), "b_h": np.zeros(N), "U": np.ones((1, N)), "b_y": np.zeros(1)}
    return forward(cell, params, np.where(on, 1.0, -1e30)[:, None])


def dead_relu():
    """The unit that leads from t = T on is off at one step long before."""
    on = np.ones((120, 4), bool)
    on[60, 0] = False
    return units(np.array([1.0, 0.05, 0.04, 0.03]), on)


def nilpotent():
    """W is zero but beside its diagonal: the product keeps only what the next step annihilates."""
    steps = np.concatenate([np.full(20, 1e-3), np.full(19, 10.0)])
    return linear(np.diag(steps, 1), T=60)


def gates_that_reopen():
    """Two units of an LSTM that hear nothing but their gates: one forgets first, the other later."""
    cell = LSTM(1, 2, 1)
    params = {name: np.zeros(shape) for name, shape in cell.shapes().items()}
    params["V"][2:4, 0] = 3.0, -3.0
    params["b_h"][4:6] = 1.0
    x = np.where(np.arange(120) < 60, 1.0, -1.0)[:, None, None]
    return forward(cell, params, x)


def blocks_that_cross():
    """Two blocks of relu units: one grows while the other shrinks, and later the other way round, by 1e20."""
    rng = np.random.default_rng(0)
    rotations = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2)]
    W = np.zeros((6, 6))
    W[:3, :3], W[3:, 3:] = np.abs(rotations[0]), np.abs(rotations[1])
    cell = Elman(6, 6, 1, "tanh")
    params = {"V": np.eye(6), "W": W, "b_h": np.zeros(6), "U": np.ones((1, 6)), "b_y": np.zeros(1)}
    late = np.arange(100)[:, None] >= 50
    x = np.where(late == (np.arange(6) < 3), 1.5, 0.0)
    return forward(cell, params, x[:, None])


def with_slopes(W, slopes):
    """A trace whose Jacobians are diag(slopes[t]) W.  (N,N), (T,N)"""
    trace = linear(W, T=len(slopes))
    trace.__dict__["slopes"] = np.array(slopes)[:, None]
    return trace


def beyond_the_range():
    """A unit that lies 1e-480 below the other when rows are first dropped, and returns."""
    slopes = np.ones((60, 2))
    slopes[30:, 1], slopes[:30, 0] = 1e-60, 1e-70
    return with_slopes(np.eye(2), slopes)


def below_the_range_for_a_while():
    """A unit that falls 1e-320 below the other, and returns, before rows are first looked at."""
    slopes = np.ones((60, 2))
    slopes[56:, 1], slopes[52:56, 0] = 1e-80, 1e-80
    return with_slopes(np.eye(2), slopes)


def rounded():
    """A unit that is kept, 1e-8 below the other, in rows that a QR has mixed: it returns with 1e-8 of its digits."""
    W = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    slopes = np.ones((60, 3))
    slopes[50:, 1], slopes[:40, 0] = 0.1, 0.1
    return with_slopes(W, slopes)


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
    slopes, trace = trace.slopes, replace(trace, engine=engine)
    trace.__dict__["slopes"] = slopes
    frame = lag_norms(trace)
    assert frame["fell_back"].all()
    assert (frame["rank"] == trace.h.shape[-1]).all()
    assert_right(frame, trace)


@pytest.mark.parametrize(("name", "least"), [("gates", 0.05), ("blocks", 1.0)])
def test_without_the_combinations_the_norms_would_be_wrong(name, least, monkeypatch):
    monkeypatch.setattr(adaptive_products, "OBJECTION", 1e300)
    trace = RETURNING[name]()
    error = lag_norms(trace)["log_spectral_norm"] - literal(trace)[0]
    assert error.abs().max() > least


def test_units_that_are_off_are_no_loss():
    """Rows of exact zeros are not rows that have been lost."""
    slopes = np.ones((80, 6))
    slopes[40:, :2] = 0.0
    trace = with_slopes(np.diag([1.0, 1.0, 1.0, 0.9, 0.5, 0.1]), slopes)
    frame = lag_norms(trace)
    assert not frame["fell_back"].any()
    assert_right(frame, trace)


def test_an_isometry_keeps_all_rows():
    W = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))[0]
    frame = lag_norms(linear(W, T=200))
    assert (frame["rank"] == 20).all()
    assert not frame["fell_back"].any()
    np.testing.assert_allclose(frame["log_spectral_norm"], 0.0, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-290, 1e-200, 1e-100, 1e-30, 1e40, 1e150, 1e250])
def test_steps_of_any_size(factor):
    trace = linear(factor * np.random.default_rng(0).standard_normal((5, 5)), T=40)
    assert_right(lag_norms(trace), trace)


def test_a_diagonal_cell_with_units_beyond_the_range_of_floats():
    cell = Diagonal(2, 6, 1)
    params = cell.init(np.random.default_rng(0))
    params["nu"][:] = np.linspace(-1.0, 4.0, len(params["nu"]))
    trace = forward(cell, params, np.random.default_rng(1).standard_normal((400, 1, 2)))
    assert_right(lag_norms(trace), trace)


def test_mistakes_are_named():
    trace = linear(np.eye(2), T=5)
    with pytest.raises(ConfigurationError, match="t=6"):
        lag_norms(trace, t=6)
    broken = trace.h.copy()
    broken[3] = np.nan
    bad = Trace(Elman(2, 2, 1), trace.params, trace.x, broken, trace.y_hat)
    with pytest.raises(NonFiniteError, match="step t - lag = 3") as error:
        lag_norms(bad)
    assert error.value.step == 3  # J_4 is the derivative at h_3


def test_complex_numbers_are_refused():
    trace = linear(np.eye(2), T=5)
    trace = replace(trace, h=trace.h.astype(complex))
    for measure in (lag_norms, lambda trace: bpttlab.window_norms(trace, [1])):
        with pytest.raises(ConfigurationError, match="complex"):
            measure(trace)


def test_it_is_reached_from_the_package():
    assert bpttlab.lag_norms is lag_norms


# ------------------------------------------------------------------------------------ the largest singular value


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**16), st.sampled_from([0.0, 1e-8, 1e-3, 1.0]))
def test_lanczos_is_the_singular_value_decomposition(R, N, seed, spread):
    """Of matrices with equal, nearly equal and very different singular values, from a vector that led another."""
    rng = np.random.default_rng(seed)
    left, right = np.linalg.qr(rng.standard_normal((R, R)))[0], np.linalg.qr(rng.standard_normal((N, N)))[0]
    size = min(R, N)
    matrices = np.stack([(left[:, :size] * (1 + spread * rng.standard_normal(size))) @ right[:size] for _ in range(3)])
    u, noise, found = left[0].copy(), rng.standard_normal(R), np.empty(3)
    leading.largest_squares(matrices, u, noise / np.linalg.norm(noise), found)
    expected = np.linalg.svd(matrices, compute_uv=False)[:, 0]
    np.testing.assert_allclose(np.sqrt(found), expected, rtol=1e-11)
    assert np.linalg.norm(u) == pytest.approx(1.0, rel=1e-12)
    assert np.linalg.norm(u @ matrices[-1]) == pytest.approx(expected[-1], rel=1e-9)


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
def test_a_vector_that_has_been_overtaken_is_left(gap):
    """Two directions that never mix: the start is the singular vector of the smaller one."""
    values = np.full(30, 1e-3)
    values[0], values[1] = 1.0, 1.0 + gap
    noise, found = np.random.default_rng(0).standard_normal(30), np.empty(1)
    u = np.eye(30)[0].copy()
    leading.largest_squares(np.diag(values)[None], u, noise / np.linalg.norm(noise), found)
    assert 0.5 * np.log(found[0]) == pytest.approx(np.log1p(gap), abs=TOLERANCE)


@pytest.mark.parametrize("rows", [1, 2, leading.FEW_ROWS, leading.FEW_ROWS + 1, 20])
@pytest.mark.parametrize("N", [1, 3, 4, 9])
def test_rows_go_back_as_the_cell_sends_them(rows, N):
    trace = linear(np.random.default_rng(0).standard_normal((N, N)), T=3)
    slopes = np.random.default_rng(1).standard_normal((3, N))
    found = np.empty((4, rows, N))
    found[0] = np.random.default_rng(2).standard_normal((rows, N))
    leading.push_rows(trace.params["W"], slopes, found)
    expected = found[0]
    for slope in slopes[::-1]:
        expected = trace.cell.pull(trace.params, slope, expected)[1]
    np.testing.assert_allclose(found[3], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 5])
def test_interpreted_it_is_the_same(rows):
    interpreted = getattr(leading.largest_squares, "py_func", leading.largest_squares)
    matrices = np.random.default_rng(0).standard_normal((2, rows, 7))
    u, found = np.ones(rows), np.empty(2)
    interpreted(matrices, u, np.ones(rows) / np.sqrt(rows), found)
    np.testing.assert_allclose(np.sqrt(found), np.linalg.svd(matrices, compute_uv=False)[:, 0], rtol=1e-12)
