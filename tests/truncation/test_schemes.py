"""Schemes as data: what each keeps, said by its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.gradient_check import terms_that_scheme_keeps
from tests.support.networks import case, schemes


@given(schemes(), st.integers(1, 30))
def test_segments_keep_the_terms_of_the_definition(scheme, T):
    keeps = terms_that_scheme_keeps(scheme)
    reached = {
        (t, k)
        for start, stop, loss_from in scheme.plan(T).segments
        for t in range(loss_from + 1, stop + 1)
        for k in range(start + 1, t + 1)
    }
    assert reached == {(t, k) for t in range(1, T + 1) for k in range(1, t + 1) if keeps(t, k)}


@given(schemes(), st.integers(1, 30))
def test_losses_partition_the_sequence(scheme, T):
    segments = scheme.plan(T).segments
    injected = np.concatenate([np.arange(loss_from, stop) for _, stop, loss_from in segments])
    assert sorted(injected) == list(range(T))
    assert len(set(segments[:, 1])) == len(segments)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 40))
def test_windowed_keeps_between_k2_minus_k1_plus_1_and_k2_lags(k1, extra, T):
    k2 = k1 + extra - 1
    for start, stop, loss_from in Windowed(k1, k2).plan(T).segments:
        lags = [t - start for t in range(loss_from + 1, stop + 1)]
        if start > 0:
            assert k2 - k1 + 1 == min(lags)
            assert max(lags) == k2 or (stop == T and max(lags) < k2)


@pytest.mark.parametrize(("seed", "k2", "side"), [(15, 10, -1.0), (13, 4, 1.0)])
def test_bias_of_windows_may_lie_outside_two_truncations(seed, k2, side):
    """Each loss keeps k2 - k1 + 1 to k2 lags; what the losses leave out can cancel, or add up."""
    network = case(seed=seed, T=20, B=1, N=8)

    def bias(scheme):
        found = truncation_bias(network.trace, network.loss, scheme).set_index("parameter")["log_relative_bias"]
        return found["b_h"]

    ends = bias(PerLoss(k2)), bias(PerLoss(k2 - 1))
    outside = bias(Windowed(2, k2)) - (max(ends) if side > 0 else min(ends))
    assert side * outside > 0.2


@given(st.integers(1, 40), st.integers(1, 60))
def test_chunked_keeps_the_published_lags_of_a_final_loss(K, T):
    start, stop, _ = Chunked(K).plan(T).segments[-1]
    assert stop - start == (T - 1) % K + 1


def test_the_cost_of_a_scheme():
    assert Full().plan(100).steps_computed == 100
    assert PerLoss(5).plan(100).steps_computed == 1 + 2 + 3 + 4 + 96 * 5
    assert all(PerLoss(K).plan(9).steps_computed == PerLoss(K).steps_computed(9) for K in range(1, 12))
    assert Chunked(7).plan(100).steps_computed == 100
    assert Windowed(10, 20).plan(100).steps_computed == 10 + 9 * 20


@pytest.mark.parametrize("scheme", [PerLoss, Chunked, lambda K: Windowed(1, K)])
def test_a_truncation_of_zero_is_refused(scheme):
    with pytest.raises(ConfigurationError, match="truncation=0"):
        scheme(0)


def test_a_stride_longer_than_the_window_is_refused():
    with pytest.raises(ConfigurationError, match=r"k1=6.*from 1 to k2 = truncation = 5"):
        Windowed(6, 5)
