"""Clipping of a gradient before an update, over the whole range of floats."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.training.clipping import clip_gradient_norm, clip_gradient_value, global_norm


def gradient_of(scale, seed=0):
    rng = np.random.default_rng(seed)
    return {"W": scale * rng.uniform(-1, 1, (4, 4)), "b": scale * rng.uniform(-1, 1, 4)}


@given(exponent=st.integers(-300, 307), bound=st.floats(1e-3, 1e3))
def test_the_norm_is_right_at_every_size(exponent, bound):
    given, unit = gradient_of(10.0**exponent), gradient_of(1.0)
    expected = math.log(math.hypot(*np.concatenate([one.ravel() for one in unit.values()])))
    clipped = clip_gradient_norm(given, bound)
    assert clipped.log_norm == pytest.approx(expected + exponent * math.log(10.0), rel=1e-9, abs=1e-9)
    assert clipped.clipped == (clipped.log_norm > math.log(bound) or clipped.gradient is not given)
    if clipped.clipped:
        assert global_norm(clipped.gradient).log == pytest.approx(math.log(bound), abs=1e-2)
    direction = clipped.gradient["W"] / np.abs(clipped.gradient["W"]).max()
    np.testing.assert_allclose(direction, unit["W"] / np.abs(unit["W"]).max(), rtol=1e-9)


def test_denormal_gradients_have_a_norm():
    assert global_norm({"W": np.full(4, 5e-324)}).log == pytest.approx(math.log(5e-324) + math.log(2.0))
    assert global_norm({"W": np.zeros(4)}).log == -math.inf
    assert global_norm({}).log == -math.inf


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_has_no_norm(bad):
    given = {"W": np.array([1.0, bad])}
    clipped = clip_gradient_norm(given, 1.0)
    assert math.isnan(clipped.log_norm)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_clipping_is_that_of_pytorch(scale):
    torch = pytest.importorskip("torch")
    given = gradient_of(scale)
    for clip, theirs in (
        (clip_gradient_norm, torch.nn.utils.clip_grad_norm_),
        (clip_gradient_value, torch.nn.utils.clip_grad_value_),
    ):
        tensors = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in given.items()}
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(given[name])
        theirs(tensors.values(), 0.5)
        for name, value in clip(given, 0.5).gradient.items():
            np.testing.assert_allclose(value, tensors[name].grad.numpy(), rtol=1e-12)


def test_nothing_is_copied_where_nothing_is_clipped():
    given = gradient_of(1e-3)
    for clip in (clip_gradient_norm, clip_gradient_value):
        clipped = clip(given, 1.0)
        assert not clipped.clipped
        assert all(clipped.gradient[name] is given[name] for name in given)


def test_clipping_by_value_holds_every_entry():
    clipped = clip_gradient_value(gradient_of(10.0), 0.5)
    assert clipped.clipped
    assert max(np.abs(value).max() for value in clipped.gradient.values()) == 0.5


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan, "1"])
def test_a_wrong_bound_is_named(bound):
    with pytest.raises(ConfigurationError, match=r"clip_norm=.*must be a finite number > 0"):
        clip_gradient_norm(gradient_of(1.0), bound)
