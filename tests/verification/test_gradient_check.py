"""The checker that ships has to fail where a gradient is wrong, whatever its size."""

import numpy as np
import pytest

from bpttlab.verification import gradient_check
from bpttlab.verification.gradient_check import agreement, assert_agree, disagreement, verify_gradients


def test_every_check_holds():
    frame = verify_gradients()
    assert frame["held"].all()
    assert set(frame["oracle"]) == {"literal sum", "complex step", "central differences"}
    assert set(frame["dtype"]) == {"float64", "float32"}
    assert set(frame["activation"]) == {"tanh", "relu", "logistic", "softplus", "identity"}
    assert set(frame["loss"]) == {"squared_error", "softmax_cross_entropy", "sigmoid_cross_entropy"}


def test_a_transposed_product_is_found(monkeypatch):
    from bpttlab.networks.cells import Elman

    right = Elman.vjp

    def transposed(self, params, linearization_t, dh_t):
        return right(self, {**params, "W": params["W"].T}, linearization_t, dh_t)

    monkeypatch.setattr(Elman, "vjp", transposed)
    frame = verify_gradients()
    assert not frame.query("scheme == 'full'")["held"].any()


def test_a_small_error_in_a_vanished_gradient_is_found():
    gradient = {"W": np.full((2, 2), 1e-250)}
    with pytest.raises(AssertionError, match="W: relative disagreement"):
        assert_agree({"W": 5.0 * gradient["W"]}, gradient)


def test_disagreement_is_relative_to_the_largest_entry():
    assert disagreement(np.array([1.0, 2.0]), np.array([1.0, 2.5])) == pytest.approx(0.2)
    assert disagreement(np.zeros(2), np.zeros(2)) == 0.0
    assert disagreement(np.ones(2), np.zeros(2)) == np.inf


def test_a_nan_is_no_agreement():
    with pytest.raises(AssertionError):
        assert_agree({"W": np.array([np.nan])}, {"W": np.ones(1)})


def test_a_nan_is_the_worst_disagreement():
    right = {"V": np.ones(1), "W": np.ones(1), "b_h": np.ones(1)}
    assert np.isnan(gradient_check.worst(right | {"W": np.array([np.nan])}, right))
    assert np.isnan(gradient_check.largest([0.0, np.nan, 1.0]))
    assert gradient_check.largest([0.0, 2.0, 1.0]) == 2.0


def test_tolerance_follows_the_dtype():
    assert agreement(np.float64) == gradient_check.AGREEMENT
    assert agreement(np.float32) == pytest.approx(5.4e-4, rel=0.01)
