"""Projections of recurrent matrices: what they reach, what they leave alone, and which are the nearest."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.networks.cells import GRU, LSTM, Diagonal, Elman, OrthogonalElman
from bpttlab.numerics.matrices import largest_singular_value, spectral_radius
from bpttlab.training.projections import NearestOrthogonal, SingularValueBound, SpectralRadiusBound
from tests.support.examples import examples

BOUNDS = {"spectral_radius": SpectralRadiusBound, "singular_values": SingularValueBound}
SIZE = {"spectral_radius": spectral_radius, "singular_values": largest_singular_value}
every_projection = pytest.mark.parametrize(
    "projection", [SpectralRadiusBound(0.8), SingularValueBound(0.8), NearestOrthogonal()], ids=lambda one: one.name
)
each_bound = pytest.mark.parametrize("name", BOUNDS)


def project(projection, W):
    """Of one matrix, as the W of an Elman cell."""
    cell = Elman(1, len(W), 1)
    return projection(cell, {"W": W})["W"]


@st.composite
def matrices(draw):
    N, seed = draw(st.integers(1, 6)), draw(st.integers(0, 2**16))
    return draw(st.sampled_from([0.1, 1.0, 30.0])) * np.random.default_rng(seed).standard_normal((N, N))


@every_projection
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@examples(30)
@given(W=matrices())
def test_a_second_projection_changes_nothing(projection, dtype, W):
    once = project(projection, W.astype(dtype))
    assert once.dtype == dtype
    twice = project(projection, once)
    if projection.name == "spectral_radius":  # eigenvalues of a matrix that is far from normal are ill-conditioned
        np.testing.assert_allclose(twice, once, rtol=1e-3 if dtype == "float32" else 1e-9)
    else:
        assert twice is once


@each_bound
@examples(30)
@given(W=matrices(), bound=st.sampled_from([0.3, 1.0, 5.0]))
def test_matrices_within_the_bound_stay_and_others_reach_it(name, W, bound):
    found = project(BOUNDS[name](bound), W)
    if SIZE[name](W) <= bound:
        assert found is W
    else:
        assert SIZE[name](found) == pytest.approx(bound, rel=1e-9)


@examples(20)
@given(W=matrices(), seed=st.integers(0, 100))
def test_the_clipped_matrix_is_the_nearest_within_the_bound(W, seed):
    nearest = project(SingularValueBound(1.0), W)
    left, sizes, right = np.linalg.svd(np.random.default_rng(seed).standard_normal(W.shape))
    other = left * np.minimum(sizes, 1.0) @ right
    assert np.linalg.norm(W - nearest) <= np.linalg.norm(W - other) * (1.0 + 1e-12)
    # the set is convex: at the nearest point no direction into it leads towards W
    assert ((W - nearest) * (other - nearest)).sum() <= 1e-10 * np.linalg.norm(W) ** 2


@examples(20)
@given(W=matrices(), seed=st.integers(0, 100))
def test_the_polar_factor_is_the_nearest_orthogonal_matrix(W, seed):
    nearest = project(NearestOrthogonal(), W)
    np.testing.assert_allclose(nearest.T @ nearest, np.eye(len(W)), atol=1e-12)
    other = np.linalg.qr(np.random.default_rng(seed).standard_normal(W.shape))[0]
    assert np.linalg.norm(W - nearest) <= np.linalg.norm(W - other) * (1.0 + 1e-12)
    np.testing.assert_allclose(nearest, scipy.linalg.polar(W)[0], atol=1e-8)


def test_a_radius_is_reached_by_a_factor_that_keeps_eigenvectors():
    W = np.array([[2.0, 5.0], [0.0, -1.0]])
    np.testing.assert_allclose(project(SpectralRadiusBound(1.0), W), W / 2.0, rtol=1e-15)


@every_projection
@pytest.mark.parametrize("cell", [GRU(2, 3, 1), LSTM(2, 3, 1)], ids=lambda cell: cell.name)
def test_each_block_of_a_cell_with_gates_is_projected_by_itself(projection, cell):
    params = cell.init(0)
    params["W"] = params["W"] * 3.0
    found = projection(cell, params)
    count = len(found["W"]) // 3
    for new, old in zip(np.split(found["W"], count), np.split(params["W"], count), strict=True):
        np.testing.assert_array_equal(new, project(projection, old))
    assert all(found[name] is params[name] for name in params if name != "W")


@every_projection
def test_cells_without_a_free_matrix_are_refused_by_name(projection):
    diagonal, orthogonal = Diagonal(2, 3, 1), OrthogonalElman(2, 3, 1)
    with pytest.raises(ConfigurationError, match=f"projection={projection.name}: cell=diagonal has no matrix W"):
        projection(diagonal, diagonal.init(0))
    with pytest.raises(ConfigurationError, match=f"projection={projection.name}: cell=orthogonal has a constraint"):
        projection(orthogonal, orthogonal.init(0))


@every_projection
def test_a_matrix_that_is_not_finite_is_refused(projection):
    with pytest.raises(NonFiniteError):
        project(projection, np.array([[1.0, np.nan], [0.0, 1.0]]))


def test_projections_and_penalties_are_found_by_name():
    assert plugins.names("projection") == ["orthogonal", "singular_values", "spectral_radius"]
    assert plugins.names("penalty") == ["flossing", "omega", "omega_squared"]
    with pytest.raises(ConfigurationError, match=r"penalty='floss': must be one of .* Did you mean 'flossing'\?"):
        plugins.find("penalty", "floss")


def test_a_bound_must_be_positive():
    with pytest.raises(ConfigurationError, match="projection.bound=0"):
        SpectralRadiusBound(0.0)
