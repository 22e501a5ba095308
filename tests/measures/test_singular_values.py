"""Singular values of products against mpmath, determinants, and products whose values are known."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lyapunov import iterate_jacobians
from bpttlab.measures.singular_values import (
    measure_singular_values,
    product_singular_values,
    singular_values,
    without_zeros,
)
from tests.support.examples import examples
from tests.support.networks import case as elman_case
from tests.support.networks import linear
from tests.support.networks_of_cells import CELLS, case

TOLERANCE = 1e-4
"""What `resolved` promises, in log."""


def of(matrices):
    """The logarithms of one product and whether they are resolved."""
    log, resolved = product_singular_values([np.asarray(A, float)[None] for A in matrices])
    assert not np.isnan(log).any()
    assert (np.diff(log[0][np.isfinite(log[0])]) <= 0).all()
    return log[0], resolved[0]


def precise(matrices, digits):
    """The same from the explicit product, in so many decimal digits; -inf below what they hold."""
    with mpmath.workdps(digits):
        product = mpmath.eye(len(matrices[0]))
        for A in matrices:
            product = mpmath.matrix(np.asarray(A, float).tolist()) * product
        largest = max(abs(entry) for entry in product)
        if largest == 0:
            return np.full(len(product), -np.inf)
        values = sorted(mpmath.svd_r(product / largest, compute_uv=False), reverse=True)
        below = mpmath.mpf(10) ** (40 - digits)
        return np.array([float(mpmath.log(v * largest)) if v > below else -np.inf for v in values])


def wrong(matrices, digits=1500):
    """The largest error of those that are called resolved, and how many are."""
    log, resolved = of(matrices)
    expected = precise(matrices, digits)
    with np.errstate(invalid="ignore"):
        error = np.where(log == expected, 0.0, np.abs(log - expected))
    return error[resolved].max(initial=0.0), resolved.mean()


def steps_of(trace, sequence=0):
    return [J[sequence] for J in iterate_jacobians(trace)]


# ------------------------------------------------------------------------------------------ known values


@pytest.mark.parametrize("g", [0.7, 1.0, 1.3])
def test_a_scaled_rotation_has_one_singular_value(g):
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((7, 7)))[0]
    frame = singular_values(linear(g * rotation, 300), [0, 1, 17, 300])
    assert list(frame.columns) == ["sequence", "t", "lag", "index", "log_singular_value", "resolved"]
    np.testing.assert_allclose(frame["log_singular_value"], frame["lag"] * np.log(g), rtol=1e-12, atol=1e-12)
    assert frame["resolved"].all()


def test_permutations_are_exact():
    log, resolved = of([np.eye(5)[[2, 0, 4, 1, 3]] / 8.0] * 50)
    np.testing.assert_allclose(log, -150.0 * np.log(2.0), rtol=1e-15)
    assert resolved.all()


def test_a_hadamard_matrix():
    log, resolved = of([hadamard(8)] * 40)
    np.testing.assert_allclose(log, 40 * 0.5 * np.log(8.0), rtol=1e-14)
    assert resolved.all()


def test_diagonal_steps_far_beyond_the_range_of_floats():
    log, resolved = of([np.diag([1e-150, 1e100, 0.0, 1.0, 1e-3])] * 100)
    np.testing.assert_allclose(log[:4], 100 * np.log([1e100, 1.0, 1e-3, 1e-150]), rtol=1e-14, atol=1e-12)
    assert log[4] == -np.inf
    assert resolved.all()


def test_a_nilpotent_shift_loses_one_with_every_step():
    frame = singular_values(linear(np.eye(6, k=1), 8), range(9))
    zeros = np.isneginf(frame["log_singular_value"]).groupby(frame["lag"]).sum()
    assert zeros.tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6]
    np.testing.assert_allclose(frame["log_singular_value"].replace(-np.inf, 0.0), 0.0, atol=1e-15)
    assert frame["resolved"].all()


def test_powers_of_two_by_two_matrices_by_hand():
    """A = [[1, 1], [0, 1]]: sigma of A^l is that of [[1, l], [0, 1]], asinh(l / 2) and its negative."""
    for lag in (1, 5, 1000):
        log, resolved = of([[[1.0, 1.0], [0.0, 1.0]]] * lag)
        np.testing.assert_allclose(log, [np.arcsinh(lag / 2), -np.arcsinh(lag / 2)], rtol=1e-10)
        assert resolved.all()


def test_what_an_explicit_product_has_rounded_away():
    """An SVD of the product stops 36 below its largest; here the sum is the log-determinant."""
    trace = elman_case(seed=1, T=100, B=1, N=64, gain=0.9).trace
    log, resolved = of(steps_of(trace))
    determinant = sum(np.linalg.slogdet(J)[1] for J in steps_of(trace))
    assert log[-1] < log[0] - 230.0
    assert resolved.all()
    assert log.sum() == pytest.approx(determinant, rel=1e-12)


# ------------------------------------------------------------------------------------------ against mpmath


@pytest.mark.parametrize("length", [1, 3, 60])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_gaussian_products(size, length):
    rng = np.random.default_rng(size)
    error, resolved = wrong([rng.standard_normal((size, size)) for _ in range(length)], 300)
    assert error < 1e-9
    assert resolved == 1.0


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0, 3.0])
def test_tanh_networks(gain):
    error, resolved = wrong(steps_of(elman_case(seed=1, T=60, B=1, N=8, gain=gain).trace), 500)
    assert error < 1e-9
    assert resolved == 1.0


@pytest.mark.parametrize("sides", ["rows", "columns", "both"])
def test_slopes_of_any_size(sides):
    """diag W, W diag and diag W diag with slopes down to 1e-20 (1e-10): one step is beyond float64."""
    rng = np.random.default_rng(0)
    smallest = -10 if sides == "both" else -20
    slopes = 10.0 ** rng.uniform(smallest, 0, (2, 20, 5))
    left, right = np.where([[sides != "columns"], [sides != "rows"]], 1, 0)[..., None] * np.log(slopes)
    steps = [np.exp(a)[:, None] * rng.standard_normal((5, 5)) * np.exp(b) for a, b in zip(left, right, strict=True)]
    error, resolved = wrong(steps, 2500)
    assert error < 1e-6
    assert resolved == 1.0


@pytest.mark.parametrize("saturated", [False, True])
@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_every_cell(make, saturated):
    trace = case(make, T=20, B=1, N=2, gain=3.0 if saturated else 1.0, saturated=saturated, seed=2).trace
    error, resolved = wrong(steps_of(trace), 1500)
    assert error < TOLERANCE
    assert resolved >= (0.4 if saturated else 1.0)


@pytest.mark.slow
@examples(60)
@given(
    st.sampled_from(list(CELLS.values())),
    st.integers(0, 1000),
    st.integers(1, 60),
    st.integers(1, 4),
    st.sampled_from([0.3, 1.0, 3.0]),
    st.booleans(),
)
def test_what_is_called_resolved_is_right(make, seed, T, N, gain, saturated):
    assert (
        wrong(steps_of(case(make, seed=seed, T=T, B=1, N=N, gain=gain, saturated=saturated).trace), 3000)[0] < TOLERANCE
    )


@st.composite
def awkward_products(draw):
    """Singular, nearly singular and graded factors, and growth in one direction that is taken back in another."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    N, M = draw(st.integers(2, 4)), draw(st.integers(1, 10))
    size, coupling = 10.0 ** rng.uniform(-3, 3, N), 10.0 ** -rng.integers(1, 25)
    kind = draw(st.sampled_from(["whole", "power", "sparse", "rank one", "nearly", "crossing", "triangular"]))
    if kind == "power":
        return [rng.integers(-1, 2, (N, N))] * M
    if kind in ("crossing", "triangular"):
        mixed = [coupling * rng.standard_normal((N, N)) for _ in range(2 * M)]
        mixed = [np.triu(A, 1) if kind == "triangular" else A for A in mixed]
        return [np.diag(size if i < M else 1 / size) + A for i, A in enumerate(mixed)]
    one = {
        "whole": lambda: rng.integers(-2, 3, (N, N)),
        "sparse": lambda: rng.standard_normal((N, N)) * (rng.random((N, N)) < 0.5),
        "rank one": lambda: np.outer(rng.standard_normal(N), rng.standard_normal(N)),
        "nearly": lambda: np.outer(*rng.standard_normal((2, N))) + 1e-9 * coupling * rng.standard_normal((N, N)),
    }[kind]
    return [one() for _ in range(M)]


@examples(80)
@given(awkward_products())
def test_awkward_products_are_right_or_marked(matrices):
    assert wrong(matrices, 700)[0] < TOLERANCE


@pytest.mark.slow
@examples(2000)
@given(awkward_products())
def test_many_awkward_products_are_right_or_marked(matrices):
    assert wrong(matrices, 700)[0] < TOLERANCE


@pytest.mark.parametrize("seed", range(8))
def test_two_sweeps_that_agree_on_a_wrong_value_are_not_believed(seed):
    """Couplings of 1e-20 and 1e-22 lose digits in rounding, alike in both sweeps, and then grow until they count."""
    rng = np.random.default_rng(seed)
    length, coupling = (10, 1e-20) if seed % 2 else (12, 1e-22)
    there, back = np.diag([300.0, 0.01]), np.diag([1 / 300.0, 100.0])
    steps = [A + coupling * rng.standard_normal((2, 2)) for A in [there] * length + [back] * length]
    log, resolved = of(steps)
    assert precise(steps, 300)[0] > 40.0
    assert not resolved.any()
    log, resolved = of([np.diag(np.diagonal(A)) for A in steps])
    np.testing.assert_allclose(log, 0.0, atol=1e-12)
    assert resolved.all()


def test_a_product_of_nothing_but_zeros():
    """No factor is zero, but rounding leaves nothing of the product."""
    A = [[[-2, -1], [-1, 1]], [[0, -1], [0, 2]], [[-1, 0], [-2, -2]], [[2, 0], [2, 1]], [[0, -2], [-2, -2]]]
    steps = [*A, [[2, 0], [-1, 0]]]
    assert not np.linalg.multi_dot([np.array(step, float) for step in reversed(steps)]).any()
    log, _ = of(steps)
    assert (log < -30.0).all()


def test_rank_that_rounding_hides_is_marked():
    rng = np.random.default_rng(1)
    log, resolved = of([rng.standard_normal((6, 3)) @ rng.standard_normal((3, 6)) for _ in range(10)])
    assert resolved.tolist() == [True] * 3 + [False] * 3
    assert (log[3:] < log[2] - 300.0).all()


def test_units_of_relu_that_are_off():
    trace = elman_case(seed=2, T=30, B=1, N=8, gain=1.5, activation="relu").trace
    log, resolved = of(steps_of(trace))
    alive = int((trace.linearization[:, 0] > 0).sum(axis=-1).min())
    assert 0 < alive < 8
    assert np.isneginf(log[alive:]).all()
    assert resolved[alive:].all()
    assert wrong(steps_of(trace), 400) == (pytest.approx(0.0, abs=1e-9), 1.0)


# ------------------------------------------------------------------------------------------ along a trajectory


@examples(25)
@given(
    st.sampled_from(list(CELLS.values())),
    st.integers(0, 1000),
    st.integers(1, 6),
    st.sampled_from(["float32", "float64"]),
)
def test_the_table_is_the_explicit_products(make, seed, T, dtype):
    trace = case(make, seed=seed, T=T, B=3, N=3, dtype=dtype).trace
    t = T - seed % 2 if T > 1 else T
    frame = singular_values(trace, range(t + 1), t=t)
    assert len(frame) == 2 * (t + 1) * trace.h.shape[-1]
    steps = list(iterate_jacobians(trace))
    for (sequence, lag), rows in frame.groupby(["sequence", "lag"]):
        product = np.eye(trace.h.shape[-1])
        for J in steps[t - lag : t]:
            product = J[sequence] @ product
        expected = np.linalg.svd(product, compute_uv=False)
        assert rows["index"].tolist() == list(range(1, len(expected) + 1))
        assert (rows["t"] == t).all()
        values = np.exp(rows["log_singular_value"].to_numpy())
        np.testing.assert_allclose(values, expected, rtol=1e-8, atol=1e-13 * expected[0])


def test_lag_zero_is_the_identity():
    measured = measure_singular_values(case(CELLS["lstm"], T=3).trace, [0], 1)
    assert not measured["log_singular_value"].any()
    assert measured["resolved"].all()


def test_no_lags_are_no_rows():
    assert len(singular_values(case(CELLS["gru"]).trace, [])) == 0


@pytest.mark.parametrize("lags", [[7], [-1], [1.5], [True]])
def test_a_lag_outside_the_trajectory_is_refused(lags):
    with pytest.raises(ConfigurationError, match="lag="):
        singular_values(case(CELLS["gru"], T=6).trace, lags)


def test_steps_and_shapes_are_checked():
    trace = case(CELLS["gru"], T=6).trace
    with pytest.raises(ConfigurationError, match="t=0"):
        singular_values(trace, [0], t=0)
    for factors in ([], [np.ones((2, 2))], [np.ones((1, 2, 3))], [np.ones((1, 2, 2)), np.ones((1, 3, 3))]):
        with pytest.raises(ConfigurationError, match="factors: "):
            product_singular_values(factors)
    broken = trace.h.copy()
    broken[4] = np.nan
    with pytest.raises(NonFiniteError, match="step t = 5"):
        singular_values(Trace(trace.cell, trace.params, trace.x, broken, trace.y_hat), [5])


# ------------------------------------------------------------------------------------------ parts of it


def test_zeros_are_taken_out_from_both_ends():
    A, B = np.diag([1.0, 1.0, 0.0]), np.array([[0.0, 1.0, 5.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    cores = without_zeros([A, B])
    assert [core.shape for core in cores] == [(1, 1), (2, 1)]
    np.testing.assert_array_equal(cores[1] @ cores[0], [[1.0], [2.0]])
