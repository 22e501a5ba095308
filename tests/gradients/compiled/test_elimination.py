"""Volumes by elimination, held against those of QR."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.gradients.compiled import elimination
from bpttlab.gradients.compiled.products import load_product

load_product(np.dtype(np.float64))


def log_volumes(Y):
    """log of the volume of the first k rows, for k = 1, 2, ...  (K,N) -> (K,)"""
    return np.cumsum(np.log(np.abs(np.diag(np.linalg.qr(Y.T)[1]))))


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 7, 8, 9, 16, 33]), st.integers(1, 33))
def test_an_elimination_keeps_every_volume(seed, size, count):
    Y = np.random.default_rng(seed).standard_normal((min(count, size), size))
    L, pivots = Y.copy(), np.empty(len(Y))
    elimination.eliminate(L, pivots)
    assert np.abs(L).max() <= 1.0
    np.testing.assert_allclose(log_volumes(L) + np.cumsum(np.log(np.abs(pivots))), log_volumes(Y), atol=1e-8)


def test_every_direction_spans_what_it_spanned():
    Y = np.random.default_rng(0).standard_normal((20, 20))
    L = Y.copy()
    elimination.eliminate(L, np.empty(20))
    for k in range(1, 20):
        assert np.linalg.matrix_rank(np.concatenate([Y[:k], L[:k]])) == k


@pytest.mark.parametrize("factors", ["given alone", "of one matrix"])
def test_steps_are_those_of_qr(factors):
    rng, N, T = np.random.default_rng(1), 12, 60
    W, slopes = rng.standard_normal((N, N)) / np.sqrt(N), rng.uniform(0.1, 1.0, (T, N))
    J = slopes[:, :, None] * W
    Q, expected = np.eye(N), np.zeros(N)
    for J_t in J:
        Q, R = np.linalg.qr(J_t @ Q)
        expected += np.log(np.abs(np.diag(R)))
    alone = factors == "given alone"
    matrices = np.ascontiguousarray(J.swapaxes(1, 2)) if alone else W.T.copy()[None]
    Y, logs = np.eye(N), np.zeros(N)
    steps, eliminations = elimination.follow_volumes(matrices, slopes[:, :0].copy() if alone else slopes, Y, logs)
    assert steps == T
    assert T / elimination.MOST_TOGETHER <= eliminations <= T
    logs += np.diff(log_volumes(Y), prepend=0.0)
    np.testing.assert_allclose(logs, expected, atol=1e-8)


@pytest.mark.parametrize("bad", [0.0, 1e-12, 1e-300, 1e300, np.inf, np.nan])
def test_it_stops_before_a_step_that_it_is_not_sure_of(bad):
    J = np.tile(0.5 * np.eye(3) + 0.1, (10, 1, 1))
    J[6] = np.diag([1.0, bad, 1.0])
    steps, _ = elimination.follow_volumes(J, np.empty((10, 0)), np.eye(3), np.zeros(3))
    assert steps <= 6
