"""Aicher's bound and estimate of the bias, beside the bias itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.adaptive_truncation import adaptive_truncation, bound_biases, decay
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.truncation.adaptive import Adaptive
from bpttlab.truncation.segmented import PerLoss
from tests.support.examples import examples
from tests.support.networks import linear
from tests.support.networks_of_cells import CELLS, case, cases

ROUNDING = 1e-9


def literal_phi(case):
    """sum over t and b of |e_t P_{t,t-l}| for l = 0..T-1, from explicit products."""
    trace, error = case.trace, case.trace.error(case.loss.gradient)
    phi = np.zeros(trace.length)
    for t in range(1, trace.length + 1):
        for lag in range(t):
            row = np.einsum("bn,bnm->bm", error[t - 1], trace.product(t, t - lag))
            phi[lag] += np.linalg.norm(row, axis=-1).sum()
    return phi


@given(cases(CELLS["lstm"], dtypes=("float64",), tame=True))
@examples(25)
def test_phi_is_the_sum_of_the_norms(case):
    found = np.exp(decay(case.trace, case.loss).log_phi)
    np.testing.assert_allclose(found, literal_phi(case), rtol=1e-9)


@pytest.mark.parametrize("name", CELLS)
def test_the_bound_is_one(name):
    """For every cell and truncation, with room to spare in none of its parts: beside the exact bias."""
    network = case(CELLS[name], T=12, gain=0.4, seed=5)
    table, full = bound_biases(network.trace, network.loss), backward(network.trace, network.loss)
    said = 0
    for row in table.itertuples():
        kept = backward(network.trace, network.loss, PerLoss(row.truncation))[row.parameter]
        assert np.exp(row.log_norm) == pytest.approx(np.linalg.norm(kept), rel=1e-9)
        whole = full[row.parameter]
        if np.isfinite(row.log_bias_bound) and np.linalg.norm(whole) > 0:
            bias = np.linalg.norm(kept - whole) / np.linalg.norm(whole)
            assert bias <= np.exp(row.log_bias_bound) * (1 + ROUNDING) + 1e-12
            said += 1
    assert said > 0
    last = table[table["truncation"] == 12]
    assert set(last["log_bias_bound"]) == {-np.inf}


def test_the_immediate_norm_is_the_largest_singular_value():
    network = case(CELLS["elman"], T=6, B=3)
    found, trace = decay(network.trace, network.loss).log_immediate, network.trace
    size, slope = np.linalg.norm(trace.h[:-1], axis=-1), np.abs(trace.linearization).max(axis=-1)
    assert np.exp(found["W"]) == pytest.approx((size * slope).max(), rel=1e-10)  # diag(f') (x) h_{k-1}
    assert np.exp(found["b_h"]) == pytest.approx(slope.max(), rel=1e-10)


@pytest.mark.parametrize("factor", [0.3, 0.7, 0.95])
def test_of_a_geometric_decay_the_estimate_is_the_bound(factor):
    """h_t = factor Q h_{t-1} + x_t with an orthogonal Q and a loss at the end: phi_l is exactly geometric."""
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    trace = linear(factor * Q, T=900)
    trace.x[:] = np.random.default_rng(1).standard_normal(trace.x.shape)
    trace = forward(trace.cell, trace.params, trace.x)
    error = np.zeros(trace.y_hat.shape)
    error[-1] = 1.0
    table = bound_biases(trace, error, longest=150)
    table = table[(table["parameter"] == "V") & (table["truncation"] <= 140)]
    both = table.dropna()
    assert len(both) > 3
    np.testing.assert_allclose(both["log_bias_estimate"], both["log_bias_bound"], rtol=1e-6)


def test_without_decay_there_is_no_estimate():
    trace = linear(1.2 * np.eye(3), T=30)
    error = np.ones(trace.y_hat.shape)
    table = bound_biases(trace, error, longest=5)
    assert table["log_bias_estimate"].isna().all()
    assert adaptive_truncation(trace, error, 0.5, longest=5) == 6


@given(st.integers(0, 50), st.sampled_from([0.01, 0.1, 0.5]))
@examples(15)
def test_chosen_truncation_is_the_smallest_allowed(seed, delta):
    network = case(CELLS["gru"], T=10, gain=0.3, seed=seed)
    K = adaptive_truncation(network.trace, network.loss, delta)
    table = bound_biases(network.trace, network.loss)
    enough = table.assign(enough=table["log_bias_estimate"] <= np.log(delta)).groupby("truncation")["enough"].all()
    assert enough[K]
    assert not enough[enough.index < K].any()


def test_the_scheme_is_the_per_loss_truncation_that_it_chose():
    network = case(CELLS["elman"], T=20, gain=0.3, seed=1)
    found = truncation_bias(network.trace, network.loss, Adaptive(20, delta=0.2))
    (K,) = set(found["truncation"])
    same = truncation_bias(network.trace, network.loss, PerLoss(int(K)))
    columns = ["parameter", "log_norm", "cosine", "log_relative_bias"]
    assert 1 < K < 20
    assert found[columns].equals(same[columns])
    assert (found["log_relative_bias"] <= np.log(0.2)).all()


def test_what_cannot_be_asked():
    with pytest.raises(ConfigurationError, match=r"scheme\.delta=0\.0: must be a finite number > 0"):
        Adaptive(5, delta=0.0)
