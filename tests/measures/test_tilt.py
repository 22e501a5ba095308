"""What rounding decides is marked, and nothing else: exponents against products of Jacobians in very many digits."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpttlab.measures.lyapunov import from_trace, iterate_jacobians
from bpttlab.measures.tilt import carry_tilt, draw_rounding
from bpttlab.measures.volume_growth import accumulate
from tests.support.examples import examples
from tests.support.networks import linear
from tests.support.padded import padded
from tests.support.volumes import precise_logs

STEEP = ("slstm", "layer_norm_elman", "lstm", "slstm, exponential", "selective_diagonal", "peephole_lstm", "elman")
"""Cells whose Jacobians are singular, or nearly so where gates close."""

DIGITS = 1000
SMALL = 1e-9


def orthogonal(seed, size=3):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


START = orthogonal(0)
"""The directions that three-dimensional maps start with."""


def grow(*steps, ends=None):
    return accumulate((J[None] for J in steps), ends or [0, len(steps)], interval=1)


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, marks=[] if cell in ("slstm", "layer_norm_elman", "lstm") else pytest.mark.slow)
        for cell in STEEP
    ],
)
@examples(40)
@given(
    T=st.integers(1, 6),
    N=st.integers(1, 3),
    gain=st.sampled_from([1.0, 5.0, 15.0, 40.0]),
    seed=st.integers(0, 2**16),
    share=st.sampled_from([0.5, 1.0]),
)
@example(T=6, N=3, gain=40.0, seed=0, share=1.0)
@example(T=5, N=3, gain=1.0, seed=1, share=1.0)
@example(T=1, N=1, gain=40.0, seed=156, share=1.0)
def test_what_is_not_marked_is_right(cell, T, N, gain, seed, share):
    trace = padded(cell, (T,), seed, N, gain).alone(0)
    count = math.ceil(share * trace.h.shape[-1])
    growth = accumulate(iterate_jacobians(trace), [0, T], count)
    known = np.isfinite(growth.logs[0, 0]) & ~growth.unresolved[0]
    expected = precise_logs([J[0] for J in iterate_jacobians(trace)], DIGITS)[:count]
    np.testing.assert_allclose(growth.logs[0, 0][known], expected[known], rtol=0, atol=1e-2)


@pytest.mark.parametrize("cell", ["slstm", "layer_norm_elman", "lstm"])
@examples(12)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(0, 2**16), st.sampled_from([0.3, 1.0, 8.0]))
def test_in_a_batch_and_alone_the_known_ones_agree(cell, lengths, seed, gain):
    batch = padded(cell, (*lengths, lengths[0]), seed, N=3, gain=gain)
    for group in batch.trace.groups():
        together = accumulate(iterate_jacobians(group.trace), [0, group.trace.length])
        for place, b in enumerate(group.sequences):
            alone = accumulate(iterate_jacobians(batch.alone(b)), [0, group.trace.length])
            known = ~together.unresolved[place] & ~alone.unresolved[0]
            np.testing.assert_allclose(together.logs[0, place][known], alone.logs[0, 0][known], rtol=0, atol=1e-2)


def test_a_slstm_has_a_direction_less_for_each_unit():
    """Where the input gate is the stabiliser, (c, n, m) of a unit are two numbers and not three."""
    trace = padded("slstm", (1,), seed=4, N=4).alone(0)
    new = int((trace.linearization[0, 0, 8:12] == 0.0).sum())
    growth = accumulate(iterate_jacobians(trace), [0, 1])
    assert 0 < new < 4
    assert growth.unresolved[0].sum() == new == (growth.logs[0, 0] < -30.0).sum()


def test_two_steps_of_moderate_size_hide_each_other():
    """Rounding tilts direction 2 by 1e-7 towards direction 3, and then the first shrinks by 1e-9 and the other not."""
    turn = orthogonal(1)
    first = turn @ np.diag([1.0, SMALL, SMALL]) @ START.T
    crossed, ordered = (orthogonal(2) @ np.diag(sizes) @ turn.T for sizes in ([1.0, SMALL, 1.0], [1.0, 1.0, SMALL]))
    assert grow(first, crossed).unresolved[0].tolist() == [False, True, True]
    assert not grow(first, ordered).unresolved.any()
    assert abs(grow(first, crossed).logs[0, 0, 1] - precise_logs([first, crossed])[1]) > 0.1
    np.testing.assert_allclose(grow(first, ordered).logs[0, 0], precise_logs([first, ordered]), atol=1e-4)


def test_the_directions_align_again():
    rank_one = np.outer([1.0, 2.0, 3.0], [0.3, 0.7, 0.1])
    separated = orthogonal(1) @ np.diag([2.0, 1.0, 0.5]) @ np.linalg.inv(orthogonal(1) + 0.1)
    steps = [separated] * 5 + [rank_one] + [separated] * 80
    assert grow(*steps, ends=[0, 6]).unresolved[0].tolist() == [False, True, True]
    assert grow(*steps, ends=[0, 6, 10]).unresolved[0].tolist() == [False, True, True]
    assert not grow(*steps, ends=[46, 86]).unresolved.any()


def test_units_far_into_saturation_are_known():
    """Their rows are small, and keep their digits: a difference of e^-200 in the size of rows is no loss."""
    W = np.random.default_rng(0).standard_normal((4, 4))
    steps = [np.diag(rows) @ W for rows in np.exp([[0.0, -200.0, -1.0, -80.0]] * 5 + [[-90.0, 0, -3, -50]])]
    growth = accumulate((J[None] for J in steps), [0, 6])
    assert not growth.unresolved.any()
    np.testing.assert_allclose(growth.logs[0, 0], precise_logs(steps), rtol=1e-9)


def test_exact_zeros_beside_a_singular_map():
    W = np.outer([1.0, 2.0, 3.0, 4.0], [0.3, 0.7, 0.1, 0.2]) + np.outer([0.0, 1.0, 0.0, 2.0], [1.0, 0.0, 1.0, 0.0])
    W[2] = 0.0
    frame = from_trace(linear(W, 30), transient=0)
    assert np.isneginf(frame["low"]).tolist() == [False, False, True, True]
    assert np.isneginf(frame["lyapunov_exponent"]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("size", [1e-250, 1.0, 1e250])
def test_jacobians_of_any_size(size):
    steps = [size * turn @ np.diag([1.0, 1e-10, 1e-12]) @ START.T for turn in (orthogonal(1), orthogonal(2))]
    assert grow(*steps).unresolved[0].tolist() == grow(*(J / size for J in steps)).unresolved[0].tolist()


# ------------------------------------------------------------------ one step


def test_the_tilt_is_the_derivative_of_a_qr():
    """Of the QR of Y + e D, by differences: of log |R[i,i]|, and of the spaces that the first columns span."""
    rng = np.random.default_rng(0)
    Y, D, e = rng.standard_normal((1, 5, 3)), rng.standard_normal((1, 5, 3)), 1e-6
    (Q, R), (moved, changed) = np.linalg.qr(Y), np.linalg.qr(Y + e * D)
    tilt, changes = carry_tilt(e * D, Q, R, np.zeros((1, 3), bool))
    logs = [np.log(np.abs(np.diagonal(r, axis1=-2, axis2=-1))) for r in (R, changed)]
    np.testing.assert_allclose(np.abs(logs[1] - logs[0]), changes, rtol=1e-4, atol=1e-11)
    for k in (1, 2, 3):
        space = moved[0, :, :k] @ moved[0, :, :k].T
        tilted = np.linalg.qr(Q[0] + tilt[0])[0][:, :k]
        np.testing.assert_allclose(space, tilted @ tilted.T, atol=1e-9)


def test_rounding_is_the_same_for_every_sequence():
    rows = np.array([[1.0, 1e-8, 4.0], [1.0, 1e-8, 4.0]])
    drawn = draw_rounding(rows, 2, np.random.default_rng(0))
    assert drawn.shape == (2, 3, 2) and (drawn[0] == drawn[1]).all()
    sizes = np.abs(drawn[0]) / (3 * np.finfo(float).eps * rows[0][:, None])
    assert ((sizes >= 1.0) & (sizes <= 2.0)).all() and len(np.unique(sizes)) == 6
