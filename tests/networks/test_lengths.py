"""Which steps of a padded batch are valid, what is refused, and what the mean of a loss is over."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError, DivergedError
from bpttlab.networks import losses
from bpttlab.networks.lengths import check_lengths

T, B = 6, 3


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 0, 2], r"lengths: holds 0 for sequence 1 \(from 0\); must be \(B,\) = \(3,\) integers from 1 to T = 6"),
        ([3, 2, -1], "lengths: holds -1 for sequence 2"),
        ([7, 2, 1], "lengths: holds 7 for sequence 0"),
        ([3, 2], r"lengths: shape \(2,\); must be \(B,\) = \(3,\) integers from 1 to T = 6"),
        (3, r"lengths: shape \(\)"),
        (np.ones((6, 3)), r"lengths: shape \(6, 3\); .*; of a mask of valid steps they are lab.find_lengths\(mask\)"),
        ([3.0, 2.0, 1.0], "lengths: dtype float64; must be .* integers"),
        ([True, True, True], "lengths: dtype bool"),
        (["3", "2", "1"], "lengths: dtype <U1"),
        ([[1], [1, 2], 3], "lengths: is no array"),
    ],
)
def test_lengths_that_cannot_be_are_refused(lengths, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        check_lengths(lengths, T, B)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 1], [0, 1], [1, 0]], r"mask: sequence 0 \(from 0\) has a hole before t = 3"),
        ([[1, 0], [1, 0]], r"mask: sequence 1 \(from 0\) has no valid step"),
        ([[1, 1], [0.5, 0]], r"mask: holds 0.5 at t = 2 of sequence 0 \(from 0\); must be 0 or 1"),
        ([[1, 1], [np.nan, 0]], "mask: holds nan at t = 2"),
        ([1, 1, 0], r"mask: shape \(3,\) .*; must be \(T, B\) zeros and ones"),
        ([["a", "b"]], "mask: shape .* and dtype"),
    ],
)
def test_masks_that_cannot_be_are_refused(mask, message):
    with pytest.raises(ConfigurationError, match=message):
        lab.find_lengths(np.array(mask))


def test_a_mask_of_valid_steps_says_the_lengths():
    mask = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1]])
    assert lab.find_lengths(mask).tolist() == lab.find_lengths(mask.astype(bool)).tolist() == [2, 1, 3]


def batch(loss="squared_error"):
    rng, lengths = np.random.default_rng(0), np.array([2, 6, 3])
    y_hat = rng.standard_normal((T, B, 4))
    target = rng.integers(0, 4, (T, B)) if loss == "softmax_cross_entropy" else rng.random((T, B, 4))
    return y_hat, target, lengths, np.arange(1, T + 1)[:, None] <= lengths


@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
def test_a_mean_is_one_over_all_valid_steps(loss):
    """(loss * mask).sum() / mask.sum(), as a masked mean is written in PyTorch; a sum is the mean over sequences."""
    y_hat, target, lengths, valid = batch(loss)
    each = losses.LOSSES[loss].per_step(y_hat, target)
    weight = np.array([1.0, 0.0, 2.0, 1.0, 0.5, 1.0])
    counted = weight[:, None] * valid
    mean, total = (
        losses.evaluate(loss, y_hat, target, weight, reduction, lengths).value for reduction in ("mean", "sum")
    )
    assert mean == pytest.approx((counted * each).sum() / counted.sum(), rel=1e-14)
    assert total == pytest.approx((counted * each).sum() / B, rel=1e-14)


@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_slope_is_that_of_the_value(loss, reduction):
    y_hat, target, lengths, valid = batch(loss)
    found = losses.evaluate(loss, y_hat, target, np.ones(T), reduction, lengths).gradient
    for index in [(0, 0, 1), (1, 0, 0), (2, 0, 0), (5, 1, 3), (2, 2, 2), (3, 2, 2)]:
        moved = y_hat.copy()
        moved[index] += 1e-5
        above = losses.total(loss, moved, target, np.ones(T), reduction, lengths)
        moved[index] -= 2e-5
        below = losses.total(loss, moved, target, np.ones(T), reduction, lengths)
        assert found[index] == pytest.approx((above - below) / 2e-5, rel=1e-6, abs=1e-12)
    assert not found[~valid].any()


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300, -7])
def test_a_loss_does_not_read_padding(garbage):
    y_hat, target, lengths, valid = batch()
    expected = losses.evaluate("squared_error", y_hat, target, np.ones(T), "mean", lengths)
    y_hat, target = y_hat.copy(), target.copy()
    y_hat[~valid], target[~valid] = garbage, garbage
    found = losses.evaluate("squared_error", y_hat, target, np.ones(T), "mean", lengths)
    assert found.value == expected.value
    assert found.gradient.tobytes() == expected.gradient.tobytes()


def test_classes_in_padding_may_be_any():
    y_hat, target, lengths, valid = batch("softmax_cross_entropy")
    expected = losses.evaluate("softmax_cross_entropy", y_hat, target, np.ones(T), "mean", lengths)
    target = np.where(valid, target, -100)  # as PyTorch's ignore_index
    found = losses.evaluate("softmax_cross_entropy", y_hat, target, np.ones(T), "mean", lengths)
    assert found.gradient.tobytes() == expected.gradient.tobytes()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("with_lengths", [True, False])
def test_without_a_mask_every_valid_step_counts(reduction, with_lengths):
    y_hat, target, lengths, _ = batch()
    y_hat, target = (values if with_lengths else np.nan_to_num(values) for values in (y_hat, target))
    own = lengths if with_lengths else None
    found = losses.evaluate("squared_error", y_hat, target, reduction=reduction, lengths=own)
    expected = losses.evaluate("squared_error", y_hat, target, np.ones(T), reduction, own)
    assert found.value == expected.value == losses.total("squared_error", y_hat, target, None, reduction, own)
    assert found.gradient.tobytes() == expected.gradient.tobytes()


def test_a_mask_of_each_sequence_says_the_same_as_lengths():
    y_hat, target, lengths, valid = batch()
    one = losses.evaluate("squared_error", y_hat, target, np.ones(T), "mean", lengths)
    other = losses.evaluate("squared_error", y_hat, target, valid, "mean")
    assert one.value == pytest.approx(other.value, rel=1e-15)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-15)


def test_a_loss_that_overflows_names_a_valid_step():
    y_hat, target, lengths, _ = batch()
    y_hat[2:, 0], y_hat[4, 1] = 1e200, 1e200
    with pytest.raises(DivergedError, match="the loss overflowed at step t = 5"):
        losses.evaluate("squared_error", y_hat, target, np.ones(T), "mean", lengths)


def test_a_mask_without_a_valid_step_is_refused():
    y_hat, target, _, _ = batch()
    with pytest.raises(ConfigurationError, match="mask: no step has a loss"):
        losses.evaluate("squared_error", y_hat, target, np.eye(T)[5], "mean", [1, 2, 3])
