"""Initializers give what they state, and the shortcut `spectral_radius=` sets only what has one."""

import dataclasses
import math

import numpy as np
import pytest

from bpttlab import initializers, matrices
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.initializers import Gaussian, GaussianRadius, Identity, Initializer, Orthogonal, from_fields

KINDS = Initializer.__subclasses__()
WITH_RADIUS = [kind for kind in KINDS if kind.has_spectral_radius]
NAMES = {"gaussian": Gaussian, "gaussian_radius": GaussianRadius, "orthogonal": Orthogonal, "identity": Identity}


def draw(initializer, size=20, seed=0):
    return initializer.sample(np.random.default_rng(seed), size)


def test_all_are_found_by_name():
    assert {kind.name: kind for kind in KINDS} == NAMES
    assert all(initializers.by_name(name) is kind for name, kind in NAMES.items())


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_reproducible_square_and_double(kind):
    W = draw(kind(0.9))
    assert W.shape == (20, 20) and W.dtype == np.float64
    assert W.tobytes() == draw(kind(0.9)).tobytes()
    assert (draw(kind(0.9), seed=1) != W).any() or kind is Identity


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_only_scales_one_and_the_same_matrix(kind):
    W_0 = draw(kind(1.0))
    for asked in (0.0, 0.3, 1.1, 4.0):
        assert np.array_equal(draw(kind(asked)), asked * W_0)


@pytest.mark.parametrize("kind", WITH_RADIUS)
@pytest.mark.parametrize("size", [1, 2, 33, 150])
@pytest.mark.parametrize("asked", [0.0, 0.5, 1.0, 2.5])
def test_the_spectral_radius_is_exact(kind, size, asked):
    W = draw(kind(asked), size)
    assert matrices.spectral_radius(W) == pytest.approx(asked, rel=1e-11, abs=0)
    assert kind(asked).got(W) == matrices.spectral_radius(W)
    assert kind(asked).asked == asked


def test_the_gain_scatters_as_documented():
    size, gains = 30, []
    for seed in range(400):
        gains.append(Gaussian(1.5).got(draw(Gaussian(1.5), size, seed)))
    assert np.mean(gains) == pytest.approx(1.5, rel=4 / (math.sqrt(2) * size * 20))
    assert np.std(gains) / 1.5 == pytest.approx(1 / (math.sqrt(2) * size), rel=0.15)


def test_the_unscaled_radius_scatters_as_documented():
    radii = [matrices.spectral_radius(draw(Gaussian(1.0), 64, seed)) for seed in range(100)]
    assert np.mean(radii) == pytest.approx(1.06, abs=0.02)
    assert np.std(radii) == pytest.approx(0.05, abs=0.015)


def test_rescaling_to_a_radius_is_not_setting_a_gain():
    gains = [matrices.gain(draw(GaussianRadius(1.0), 64, seed)) for seed in range(100)]
    assert np.mean(gains) == pytest.approx(0.95, abs=0.02)
    assert np.std(gains) == pytest.approx(0.05, abs=0.015)


def test_orthogonal_matrices_are_orthogonal():
    W = draw(Orthogonal(0.5), 60)
    assert np.abs(W @ W.T - 0.25 * np.eye(60)).max() < 1e-14


def test_orthogonal_matrices_are_uniform_on_the_group():
    draws = np.array([draw(Orthogonal(1.0), 3, seed) for seed in range(2000)])
    traces = np.trace(draws, axis1=1, axis2=2)
    assert np.mean(traces) == pytest.approx(0.0, abs=4 / math.sqrt(2000))  # Haar: E tr = 0, E tr² = 1
    assert np.mean(traces**2) == pytest.approx(1.0, abs=0.2)
    assert np.mean(np.linalg.det(draws) > 0) == pytest.approx(0.5, abs=0.05)
    diagonal_means = np.abs(np.diagonal(draws, axis1=1, axis2=2).mean(axis=0))
    assert (diagonal_means < 4 / math.sqrt(3 * 2000)).all()  # fails without the sign fix


def test_the_identity_is_the_identity():
    assert np.array_equal(draw(Identity(0.01), 4), 0.01 * np.eye(4))


def test_a_draw_that_cannot_be_rescaled_is_refused():
    class NilpotentDraws:
        def standard_normal(self, shape):
            return np.diag(np.ones(shape[0] - 1), 1)

    with pytest.raises(LabError, match="spectral radius 0 .* another seed"):
        GaussianRadius(1.0).sample(NilpotentDraws(), 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1.1", True, None])
def test_targets_that_cannot_be_are_refused(kind, value):
    with pytest.raises(ConfigurationError) as caught:
        kind(value)
    assert str(caught.value) == f"initializer.{kind.target}={value!r}: must be a finite number >= 0"


@pytest.mark.parametrize("size", [0, -3, 2.0, True])
def test_sizes_that_cannot_be_are_refused(size):
    with pytest.raises(ConfigurationError, match="size=.*: must be a whole number >= 1"):
        draw(Identity(1.0), size)


def test_whole_numbers_become_floats():
    assert GaussianRadius(1) == GaussianRadius(1.0)
    assert type(GaussianRadius(np.float32(2)).spectral_radius) is float
    assert dataclasses.asdict(Gaussian(2)) == {"gain": 2.0}


@pytest.mark.parametrize("kind", WITH_RADIUS)
def test_the_shortcut_sets_the_target(kind):
    assert from_fields(kind.name, {}, 1.1) == kind(1.1)
    assert from_fields(kind.name, {kind.target: None}, 0) == kind(0.0)
    assert from_fields(kind.name, {kind.target: 1.1}, 1.1) == kind(1.1)
    assert from_fields(kind.name, {kind.target: 0.7}, None) == kind(0.7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_is_one(kind):
    assert from_fields(kind.name, {}, None) == kind(1.0)


@pytest.mark.parametrize(
    ("name", "values", "radius", "message"),
    [
        ("gaussian_radius", {"spectral_radius": 0.9}, 1.1, "1.1: contradicts initializer.spectral_radius=0.9"),
        ("orthogonal", {"scale": 0.9}, 1.1, "spectral_radius=1.1: contradicts initializer.scale=0.9"),
        ("gaussian", {}, 1.1, "=1.1: initializer 'gaussian' states a gain.*gaussian_radius, orthogonal, identity"),
        ("identity", {}, -1.0, r"^spectral_radius=-1.0: must be a finite number >= 0"),
        ("identity", {}, math.nan, r"^spectral_radius=nan: must be a finite number >= 0"),
        ("gausian", {}, None, "initializer='gausian': must be one of .* Did you mean 'gaussian'?"),
        ("gaussian", {"gian": 1.0}, None, "initializer.gian=1.0: 'gaussian' has only gain. Did you mean 'gain'?"),
        ("orthogonal", {"name": "x"}, None, "initializer.name='x': 'orthogonal' has only scale."),
    ],
)
def test_what_a_configuration_cannot_say(name, values, radius, message):
    with pytest.raises(ConfigurationError, match=message):
        from_fields(name, values, radius)
