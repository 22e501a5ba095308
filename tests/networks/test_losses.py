"""Losses and activations: values by hand, slopes by the complex step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError, DivergedError
from bpttlab.networks import losses
from bpttlab.networks.activations import ACTIVATIONS, find_activation
from bpttlab.verification.gradient_check import random_target


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"relu"}))
@given(a=st.floats(-3, 3))
def test_a_slope_is_the_derivative(name, a):
    activation = find_activation(name)
    a = np.array([a])
    derivative = activation.function(a + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(activation.slope(a), derivative, rtol=1e-12)


def test_relu_and_its_slope():
    a = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(find_activation("relu").function(a), [0.0, 0.0, 2.0])
    np.testing.assert_array_equal(find_activation("relu").slope(a), [0.0, 0.0, 1.0])


def test_logistic_does_not_overflow_and_keeps_small_values():
    h = find_activation("logistic").function(np.array([-800.0, -50.0, 800.0]))
    np.testing.assert_allclose(h, [0.0, np.exp(-50.0), 1.0], rtol=1e-14)


def test_softplus_does_not_overflow_and_keeps_small_values():
    a = np.array([-700.0, -50.0, 0.0, 50.0, 1e308])
    h = find_activation("softplus").function(a)
    np.testing.assert_allclose(h, [np.exp(-700.0), np.exp(-50.0), np.log(2.0), 50.0, 1e308], rtol=1e-14)
    np.testing.assert_allclose(
        find_activation("softplus").slope(a)[:3], [np.exp(-700.0), np.exp(-50.0), 0.5], rtol=1e-14
    )
    assert find_activation("softplus").slope(a)[-1] == find_activation("softplus").lipschitz


@pytest.mark.parametrize("a", [-40.0, -20.0, 20.0, 40.0])
def test_complex_step_of_softplus_is_exact(a):
    h = find_activation("softplus").function(np.array([a + 1e-30j]))
    np.testing.assert_allclose(h.real, np.logaddexp(0.0, a), rtol=1e-14)
    np.testing.assert_allclose(h.imag / 1e-30, find_activation("logistic").function(np.array([a])), rtol=1e-14)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_keep_float32(name):
    a = np.ones(3, np.float32)
    assert find_activation(name).function(a).dtype == np.float32
    assert find_activation(name).slope(a).dtype == np.float32


def test_losses_by_hand():
    y_hat = np.array([[[1.0, 3.0]], [[0.0, np.log(3.0)]]])
    np.testing.assert_allclose(losses.squared_error(y_hat, np.zeros((2, 1, 2)))[0], [10.0])
    np.testing.assert_allclose(losses.softmax_cross_entropy(y_hat, np.array([[0], [1]]))[1], [np.log(4.0 / 3.0)])


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradient_of_a_loss_is_its_derivative(name, reduction):
    rng = np.random.default_rng(0)
    y_hat = rng.standard_normal((4, 3, 2))
    target = random_target(rng, name, (4, 3, 2))
    mask = np.array([0.0, 1.0, 0.5, 1.0])
    gradient = losses.evaluate(name, y_hat, target, mask, reduction).gradient
    for index in np.ndindex(y_hat.shape):
        moved = y_hat.astype(complex)
        moved[index] += 1e-30j
        expected = losses.total(name, moved, target, mask, reduction).imag / 1e-30
        assert gradient[index] == pytest.approx(expected, rel=1e-13, abs=1e-17)


def test_the_sigmoid_is_the_softmax_of_two_classes():
    rng = np.random.default_rng(0)
    y_hat, classes = rng.standard_normal((4, 3, 1)), rng.integers(0, 2, (4, 3))
    logits = np.concatenate([np.zeros_like(y_hat), y_hat], axis=-1)
    one, mask = losses.evaluate("sigmoid_cross_entropy", y_hat, classes[..., None], np.ones(4)), np.ones(4)
    two = losses.evaluate("softmax_cross_entropy", logits, classes, mask)
    assert one.value == pytest.approx(two.value, rel=1e-14)
    np.testing.assert_allclose(one.gradient[..., 0], two.gradient[..., 1], rtol=1e-13)


def test_the_sigmoid_cross_entropy_by_hand():
    y_hat = np.log([[[3.0, 3.0, 1.0]]])  # probabilities 3/4, 3/4, 1/2
    value = losses.sigmoid_cross_entropy(y_hat, np.array([[[1.0, 0.0, 0.3]]]))
    np.testing.assert_allclose(value, [[np.log(4 / 3) + np.log(4) + np.log(2)]], rtol=1e-15)
    slope = losses.sigmoid_cross_entropy_slope(y_hat, np.array([[[1.0, 0.0, 0.3]]]))
    np.testing.assert_allclose(slope, [[[-0.25, 0.75, 0.2]]], rtol=1e-14)


def test_certain_and_right_sigmoid_has_a_small_positive_loss():
    y_hat, target = np.array([[[50.0, -50.0]]]), np.array([[[1.0, 0.0]]])
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(y_hat, target), [[2 * np.exp(-50.0)]], rtol=1e-14)
    slope = losses.sigmoid_cross_entropy_slope(y_hat, target)
    np.testing.assert_allclose(slope, [[[-np.exp(-50.0), np.exp(-50.0)]]], rtol=1e-14)


def test_a_certain_and_wrong_sigmoid_does_not_overflow():
    wrong = losses.evaluate("sigmoid_cross_entropy", np.array([[[1e5, -1e5]]]), np.array([[[0.0, 1.0]]]), np.ones(1))
    assert wrong.value == 2e5
    np.testing.assert_array_equal(wrong.gradient, [[[1.0, -1.0]]])


def test_mean_and_sum_differ_by_the_weight_of_the_mask():
    y_hat, target, mask = np.ones((5, 2, 1)), np.zeros((5, 2, 1)), np.array([1.0, 0, 0, 0.5, 1.0])
    mean, total = (losses.evaluate("squared_error", y_hat, target, mask, reduction) for reduction in ("mean", "sum"))
    assert mean.value == pytest.approx(1.0)
    assert total.value == pytest.approx(2.5)
    np.testing.assert_allclose(total.gradient, 2.5 * mean.gradient)


def test_steps_that_do_not_count_may_hold_anything():
    y_hat, target = np.ones((2, 1, 1)), np.zeros((2, 1, 1))
    target[0] = np.nan
    loss = losses.evaluate("squared_error", y_hat, target, np.array([0.0, 1.0]))
    assert loss.value == 1.0
    assert loss.gradient[0, 0, 0] == 0.0


def test_large_logits_do_not_overflow():
    logits = np.array([[[1e4, -1e4]]])
    assert losses.evaluate("softmax_cross_entropy", logits, np.array([[1]]), np.ones(1)).value == pytest.approx(2e4)
    y_hat = np.array([1.0, 1e200, 1.0])[:, None, None]
    with pytest.raises(DivergedError, match="the loss overflowed at step t = 2"):
        losses.evaluate("squared_error", y_hat, np.zeros((3, 1, 1)), np.ones(3))


def test_bad_names_are_told():
    with pytest.raises(ConfigurationError, match="Did you mean 'tanh'"):
        find_activation("tan")
    with pytest.raises(ConfigurationError, match="softmax_cross_entropy, squared_error"):
        losses.find_loss("mse")
    with pytest.raises(ConfigurationError, match="reduction='avg'"):
        losses.step_weights(np.ones(3), "avg")
    with pytest.raises(ConfigurationError, match="mask"):
        losses.step_weights(np.zeros(3), "mean")
