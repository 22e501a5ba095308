"""Initializers give what they state, and the shortcut `spectral_radius=` sets only what has one."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.networks.initializers import (
    Bidiagonal,
    Gaussian,
    GaussianRadius,
    Identity,
    Initializer,
    MatrixFile,
    NoInitializer,
    NonNormal,
    Orthogonal,
    Sparse,
    Structured,
    Uniform,
    from_fields,
)
from bpttlab.numerics import matrices
from bpttlab.sweeps.configuration import Configuration

KINDS = [kind for kind in Initializer.__subclasses__() if kind.draws and kind is not MatrixFile]
WITH_RADIUS = [kind for kind in KINDS if kind.has_spectral_radius]
NAMES = {
    "gaussian": Gaussian,
    "uniform": Uniform,
    "gaussian_radius": GaussianRadius,
    "sparse": Sparse,
    "orthogonal": Orthogonal,
    "identity": Identity,
    "non_normal": NonNormal,
    "bidiagonal": Bidiagonal,
    "structured": Structured,
}
IN_UNITS = partial(NonNormal, rotated=False)


def draw(initializer, size=20, seed=0):
    return initializer.sample(np.random.default_rng(seed), size)


def test_all_are_found_by_name():
    assert {kind.name: kind for kind in KINDS} == NAMES
    assert plugins.find("initializer", "none") is NoInitializer
    assert plugins.find("initializer", "from_file") is MatrixFile
    assert all(plugins.find("initializer", name) is kind for name, kind in NAMES.items())


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_reproducible_square_and_double(kind):
    W = draw(kind(0.9))
    assert W.shape == (20, 20) and W.dtype == np.float64
    assert W.tobytes() == draw(kind(0.9)).tobytes()
    assert (draw(kind(0.9), seed=1) != W).any() or kind in (Identity, Bidiagonal)


@pytest.mark.parametrize("kind", [*KINDS, IN_UNITS, partial(Sparse, density=1.0)])
def test_what_is_asked_only_scales_one_and_the_same_matrix(kind):
    W_0 = draw(kind(1.0))
    for requested in (0.0, 0.3, 1.1, 4.0):
        assert np.array_equal(draw(kind(requested)), requested * W_0)


ANY_SIZE = [GaussianRadius, Orthogonal, Identity, partial(Sparse, density=0.5), partial(NonNormal, feed_forward=0.0)]


@pytest.mark.parametrize(
    ("kind", "size"),
    [(kind, size) for kind in ANY_SIZE for size in (1, 2, 33, 150)]
    + [(partial(Sparse, density=1 / size), size) for size in (33, 150)]
    + [(kind, size) for kind in (NonNormal, IN_UNITS) for size in (2, 3, 33, 64)],
)
@pytest.mark.parametrize("requested", [0.0, 0.5, 1.0, 2.5])
def test_the_spectral_radius_is_exact(kind, size, requested):
    W = draw(kind(requested), size)
    assert matrices.spectral_radius(W) == pytest.approx(requested, rel=1e-11, abs=0)
    assert kind(requested).measure_realized(W) == matrices.spectral_radius(W)
    assert kind(requested).requested == requested


def test_the_gain_scatters_as_documented():
    size, gains = 30, []
    for seed in range(400):
        gains.append(Gaussian(1.5).measure_realized(draw(Gaussian(1.5), size, seed)))
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


# uniform --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "bound"), [(1 / math.sqrt(3), 1 / math.sqrt(64)), (1.0, math.sqrt(6 / 128))])
def test_the_gains_of_pytorch_and_glorot_are_their_bounds(gain, bound):
    W = draw(Uniform(gain), 64)
    assert np.abs(W).max() <= bound
    assert np.abs(W).max() == pytest.approx(bound, rel=2e-3)
    assert abs(W.mean()) < 4 * bound / math.sqrt(3) / 64


def test_the_gain_of_uniform_entries_scatters_as_documented():
    size = 30
    gains = [Uniform(1.5).measure_realized(draw(Uniform(1.5), size, seed)) for seed in range(400)]
    assert np.mean(gains) == pytest.approx(1.5, rel=4 / (math.sqrt(5) * size * 20))
    assert np.std(gains) / 1.5 == pytest.approx(1 / (math.sqrt(5) * size), rel=0.15)


def test_the_radius_of_uniform_entries_is_near_the_gain():
    radii = [matrices.spectral_radius(draw(Uniform(1 / math.sqrt(3)), 64, seed)) for seed in range(50)]
    assert np.mean(radii) == pytest.approx(0.6, abs=0.02)
    assert np.std(radii) > 0.01


# sparse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("density", "size", "count"), [(0.1, 40, 4), (0.1, 25, 3), (1 / 7, 7, 1), (1.0, 9, 9)])
def test_every_unit_hears_as_many_as_the_density_says(density, size, count):
    W = draw(Sparse(1.0, density), size)
    assert ((W != 0).sum(axis=1) == count).all()


def test_connections_are_anywhere():
    hears = np.mean([draw(Sparse(1.0, 0.3), 10, seed) != 0 for seed in range(1000)], axis=0)
    assert hears == pytest.approx(np.full((10, 10), 0.3), abs=5 * math.sqrt(0.3 * 0.7 / 1000))


def test_a_denser_draw_has_the_same_entries_and_more():
    thin, dense = draw(Sparse(1.0, 0.2), 30), draw(Sparse(1.0, 0.6), 30)
    ratios = dense[thin != 0] / thin[thin != 0]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-13)
    assert (dense != 0).sum() == 3 * (thin != 0).sum()


def test_a_full_sparse_matrix_is_a_gaussian_one():
    assert np.array_equal(draw(Sparse(1.2, 1.0)), draw(GaussianRadius(1.2)))


@pytest.mark.parametrize("density", [0.0, -0.1, 1.5, float("nan"), "0.1", True, None])
def test_densities_that_cannot_be_are_refused(density):
    with pytest.raises(ConfigurationError) as caught:
        Sparse(1.0, density)
    assert str(caught.value) == f"initializer.density={density!r}: must be a number > 0 and <= 1"


# non-normal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("size", [2, 3, 20, 65])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.0])
def test_strength_and_its_consequences_are_exact(strength, size, rotated):
    W = draw(NonNormal(1.3, strength, rotated), size)
    stretch = math.sqrt(1 + strength**2)
    assert matrices.henrici_departure(W) == pytest.approx(strength / stretch, rel=1e-12, abs=1e-14)
    assert matrices.gain(W) == pytest.approx(1.3 * stretch, rel=1e-13)
    assert np.abs(np.linalg.eigvals(W)) == pytest.approx(np.full(size, 1.3), rel=1e-8)


def test_without_feed_forward_it_is_orthogonal():
    W = draw(NonNormal(0.5, 0.0), 61)
    assert np.abs(W @ W.T - 0.25 * np.eye(61)).max() < 1e-14


def test_in_units_it_is_triangular_but_for_its_rotations():
    W = draw(NonNormal(1.0, 1.0, rotated=False), 9)
    below = np.tril(W, -1)
    assert np.flatnonzero(np.diag(W, -1)).tolist() == [0, 2, 4, 6]
    assert np.count_nonzero(below) == 4 and abs(W[8, 8]) == 1.0


@pytest.mark.parametrize("strength", [10.0, 1e6])
def test_in_units_any_strength_leaves_the_radius_exact(strength):
    W = draw(NonNormal(1.1, strength, rotated=False), 150)
    assert matrices.spectral_radius(W) == pytest.approx(1.1, rel=1e-13)


def test_the_strength_alone_tells_draws_of_one_generator_apart():
    forms = [draw(NonNormal(1.0, strength, rotated=False), 8) for strength in (0.0, 0.5, 1.0)]
    beyond = [np.triu(form, 2) for form in forms]
    assert np.array_equal(beyond[1], 0.5 * beyond[2]) and not beyond[0].any()
    assert all(np.array_equal(np.diag(form), np.diag(forms[0])) for form in forms)
    rotated = draw(NonNormal(1.0, 0.5), 8)
    assert np.sort_complex(np.linalg.eigvals(rotated)) == pytest.approx(np.sort_complex(np.linalg.eigvals(forms[0])))


def test_angles_are_spread_over_the_circle():
    angles = np.sort(np.abs(np.angle(np.linalg.eigvals(draw(NonNormal(1.0, 0.0), 40)))))[::2]
    assert ((angles >= np.pi / 20 * np.arange(20)) & (angles <= np.pi / 20 * np.arange(1, 21))).all()


@pytest.mark.parametrize(("strength", "peak"), [(0.5, 3.1), (1.0, 5.6), (2.0, 10.7)])
def test_powers_grow_first_as_documented(strength, peak):
    peaks = [matrices.transient_peak(draw(NonNormal(1.0, strength), 64, seed), 100)[0] for seed in range(8)]
    assert np.median(peaks) == pytest.approx(peak, rel=0.1)


def test_what_rounding_would_make_untrue_is_refused():
    with pytest.raises(LabError, match=r"feed_forward=10.0: with 128 hidden units rounding alone .*rotated=false"):
        draw(NonNormal(1.0, 10.0), 128)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feed_forward": -1.0}, "initializer.feed_forward=-1.0: must be a finite number >= 0"),
        ({"feed_forward": math.inf}, "initializer.feed_forward=inf: must be a finite number >= 0"),
        ({"rotated": 1}, "initializer.rotated=1: must be true or false"),
        ({"feed_foward": 1.0}, "Did you mean 'feed_forward'"),
    ],
)
def test_strengths_that_cannot_be_are_refused(values, message):
    with pytest.raises(ConfigurationError, match=message):
        from_fields("non_normal", values)


# ----------------------------------------------------------------------------------------------------------------------


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
    class NilpotentDraws(np.random.Generator):
        def standard_normal(self, shape):
            return np.diag(np.ones(shape[0] - 1), 1)

        def random(self, shape):
            return np.zeros(shape)

    for initializer in (GaussianRadius(1.0), Sparse(1.0, 1.0)):
        with pytest.raises(LabError, match="spectral radius 0 .* another seed"):
            initializer.sample(NilpotentDraws(np.random.PCG64(0)), 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1.1", True, None])
def test_targets_that_cannot_be_are_refused(kind, value):
    with pytest.raises(ConfigurationError) as caught:
        kind(value)
    assert str(caught.value) == f"initializer.{kind.target}={value!r}: must be a finite number >= 0"


@pytest.mark.parametrize("size", [0, -3, 2.5, True, np.nan, np.array([3])])
def test_sizes_that_cannot_be_are_refused(size):
    with pytest.raises(ConfigurationError, match="size=.*: must be an integer >= 1"):
        draw(Identity(1.0), size)


@pytest.mark.parametrize(
    ("initializer", "hidden_size", "message"),
    [
        (
            {"name": "sparse", "density": 0.01},
            32,
            "density=0.01: of 32 hidden units .* must be at least 0.0312",
        ),
        ({"name": "non_normal"}, 1, "feed_forward=1.0: a single hidden unit has no other to feed; must be 0"),
    ],
)
def test_too_few_units_are_refused_before_anything_is_drawn(initializer, hidden_size, message):
    with pytest.raises(ConfigurationError, match=message):
        Configuration.parse({"initializer": initializer, "cell": {"name": "elman", "hidden_size": hidden_size}})
    with pytest.raises(ConfigurationError, match=message):
        draw(from_fields(initializer["name"], {**initializer, "name": None}), hidden_size)


def test_a_bidiagonal_matrix_is_a_jordan_block_of_another_scale():
    W = draw(Bidiagonal(0.5, coupling=3.0), 5)
    np.testing.assert_array_equal(W, 0.5 * np.eye(5) + 1.5 * np.eye(5, k=1))
    assert Bidiagonal(0.5, 3.0).measure_realized(W) == 0.5
    chain = draw(Bidiagonal(0.5), 23)
    np.testing.assert_allclose(np.linalg.inv(np.eye(23) - chain), 2 * np.triu(np.ones((23, 23))), atol=1e-12)
    with pytest.raises(ConfigurationError, match=r"initializer\.coupling=-1: must be a finite number >= 0"):
        Bidiagonal(0.5, -1)


def test_whole_numbers_become_floats():
    assert from_fields("sparse", {"density": 1}).density.is_integer() and type(Sparse(1, 1).density) is float
    assert type(NonNormal(1, 2).feed_forward) is float
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
        (
            "gaussian",
            {},
            1.1,
            "=1.1: initializer 'gaussian' states a gain.*gaussian_radius, sparse, orthogonal, identity, non_",
        ),
        ("uniform", {}, 1.1, "=1.1: initializer 'uniform' states a gain"),
        ("sparse", {"spectral_radius": 0.9}, 1.1, "1.1: contradicts initializer.spectral_radius=0.9"),
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
