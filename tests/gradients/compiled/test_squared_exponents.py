"""Squared exponents of an Elman cell by compiled loops, against QR and explicit Jacobians."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import NonFiniteError
from bpttlab.gradients.compiled import squared_exponents
from bpttlab.gradients.compiled.products import load_product
from bpttlab.gradients.forward import forward
from bpttlab.networks.cells import GRU, Elman
from bpttlab.numerics.matrices import qr_vjp
from bpttlab.training.penalties import Flossing
from bpttlab.verification.gradient_check import agreement, assert_agree, disagreement
from tests.support.compiled import dtypes, needs_numba
from tests.support.examples import examples

load_product(np.dtype(np.float64))


def orthonormalise(Y):
    """Q, R and the condition, of rows (K,N)."""
    (K, N), Q = Y.shape, Y.copy()
    R = np.empty((K, K))
    condition = squared_exponents.orthonormalise_rows(Q, R, np.empty((N, K)), np.empty(K), np.empty(N))
    return Q, R, condition


@examples(30)
@given(seed=st.integers(0, 2**16), N=st.sampled_from([1, 3, 8, 17]), K=st.integers(1, 17), decay=st.floats(0.0, 1.5))
def test_rows_become_orthonormal_with_the_triangle_of_qr(seed, N, K, decay):
    Y = np.random.default_rng(seed).standard_normal((min(K, N), N)) * np.exp(-decay * np.arange(N))
    Q, R, condition = orthonormalise(Y)
    np.testing.assert_allclose(Q @ Q.T, np.eye(len(Y)), atol=1e-13)
    np.testing.assert_allclose(R.T @ Q, Y, atol=1e-13 * np.abs(Y).max())
    assert not np.tril(R, -1).any() and (np.diag(R) > 0).all()
    assert condition == pytest.approx(np.abs(R).max() / np.diag(R).min())


@pytest.mark.parametrize("bad", [0.0, 1e200, np.nan, np.inf])
def test_rows_that_cannot_be_orthonormalised_have_no_condition(bad):
    Y = np.eye(3)
    Y[1, 1] = bad
    assert orthonormalise(Y)[2] == np.inf


@examples(20)
@given(seed=st.integers(0, 2**16), N=st.integers(1, 9), K=st.integers(1, 9))
def test_the_way_back_through_a_qr_is_that_of_numpy(seed, N, K):
    K, rng = min(K, N), np.random.default_rng(seed)
    Q, R, _ = orthonormalise(rng.standard_normal((K, N)))
    dQ, dlogs = rng.standard_normal((K, N)), rng.standard_normal(K)
    expected = qr_vjp(Q.T, R, dQ.T, np.diag(dlogs / np.diag(R))).T
    squared_exponents.pull_back_qr(Q, R, dQ, dlogs, np.empty((K, N)), np.empty((K, K)))
    assert disagreement(dQ, expected) <= 1e-10


def network(seed=0, T=12, B=2, N=4, activation="tanh", dtype="float64", gain=1.0):
    rng = np.random.default_rng(seed)
    cell = Elman(2, N, 1, activation)
    params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in cell.parameter_shapes().items()}
    params["W"] *= gain / np.sqrt(N)
    return forward(cell, params, rng.standard_normal((T, B, 2)).astype(dtype), engine="numba")


def compute(trace, chosen):
    """By the engine of the trace alone."""
    wide, batch = trace.in_float64(), trace.x.shape[1]
    first = chosen.first_step(wide)
    return wide.engine.square_exponents(wide, chosen.first_directions(wide), first, chosen.interval, batch)


@needs_numba
@examples(30)
@given(
    seed=st.integers(0, 2**16),
    T=st.integers(1, 20),
    B=st.integers(1, 3),
    N=st.integers(1, 9),
    activation=st.sampled_from(["tanh", "logistic", "identity"]),
    exponents=st.sampled_from([1, 3, "all"]),
    interval=st.integers(1, 25),
    transient=st.sampled_from([0.0, 0.1, 0.6]),
)
def test_values_and_derivatives_are_those_of_explicit_jacobians(
    seed, T, B, N, activation, exponents, interval, transient
):
    trace = network(seed, T, B, N, activation)
    chosen = Flossing(exponents if exponents == "all" else min(exponents, N), interval, transient)
    found = compute(trace, chosen)
    if found is None:  # one step has a condition above 1e7
        return
    expected = chosen.square_exponents(trace.in_float64(), B)
    np.testing.assert_allclose(found.rates, expected.rates, rtol=1e-8, atol=1e-9)
    assert_agree(found.direct, expected.direct, 1e-7)
    assert disagreement(found.dlinearization, expected.dlinearization) <= 1e-7


@needs_numba
def test_a_few_exponents_need_nothing_else():
    assert all(compute(network(seed, T=40, N=8), Flossing(4, 20)) is not None for seed in range(10))


@needs_numba
def test_steps_between_two_qrs_become_fewer_where_they_have_to():
    trace, chosen = network(T=60, N=6, gain=0.05), Flossing("all", 60, 0.0)
    steep = compute(trace, chosen)  # the product of 60 steps has a condition far above 1e7
    expected = Flossing("all", 1, 0.0).square_exponents(trace, 2)
    np.testing.assert_allclose(steep.rates, expected.rates, rtol=1e-8)
    assert_agree(steep.direct, expected.direct, 1e-7)


@needs_numba
def test_a_singular_step_and_other_cells_are_left_to_numpy():
    trace, chosen = network(activation="relu", N=4), Flossing("all")
    assert compute(trace, chosen) is None
    with pytest.raises(NonFiniteError, match="exponent . is -inf"):
        chosen.value_and_gradient(trace, None)
    cell = GRU(2, 3, 1)
    gated = forward(cell, cell.init(0), np.ones((5, 1, 2))).with_engine("numba")
    assert compute(gated, Flossing()) is None


@needs_numba
@dtypes
def test_the_penalty_is_that_of_the_numpy_engine(dtype):
    trace = network(T=15, B=3, N=5, dtype=dtype)
    lengths = np.array([15, 6, 11])
    padded = forward(trace.cell, trace.params, trace.x, engine="numba", lengths=lengths)
    for one in (trace, padded):
        value, found = Flossing(2).value_and_gradient(one, None)
        expected, gradient = Flossing(2).value_and_gradient(one.with_engine("numpy"), None)
        tolerance = 1e-10 if dtype == "float64" else agreement(dtype)
        assert value == pytest.approx(expected, rel=tolerance)
        assert_agree(found, gradient, tolerance)


@needs_numba
def test_rounding_does_not_grow_over_hundreds_of_steps():
    trace = network(seed=3, T=400, B=1, N=6, gain=0.8)
    found, other = compute(trace, Flossing(4, 5)), compute(trace, Flossing(4, 2))
    expected = Flossing(4, 1).square_exponents(trace.in_float64(), 1)
    for one in (found, other):
        assert_agree(one.direct, expected.direct, 1e-7)
        assert disagreement(one.dlinearization, expected.dlinearization) <= 1e-7
