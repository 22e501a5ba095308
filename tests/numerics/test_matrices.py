"""What is measured of a matrix, against values known without measuring."""

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError, LabError, NonFiniteError
from bpttlab.gradients.compiled.lanczos import LanczosNorms
from bpttlab.numerics import matrices
from tests.support.examples import examples


def gaussian(size, seed=0):
    return np.random.default_rng(seed).standard_normal((size, size)) / np.sqrt(size)


def rotation(size, seed=0):
    return np.linalg.qr(gaussian(size, seed))[0]


def jordan_block(eigenvalue, size):
    return eigenvalue * np.eye(size) + np.diag(np.ones(size - 1), 1)


def shift(size):
    return np.diag(np.ones(size - 1), 1)


def complex_schur_departure(W):
    """The definition itself, the oracle of the cheaper way through the real Schur form."""
    schur_form = scipy.linalg.schur(W.astype(complex), output="complex")[0]
    return np.linalg.norm(np.triu(schur_form, 1)) / np.linalg.norm(W)


def plain_peak(W, lags):
    logs = [0.0] + [np.log(np.linalg.norm(np.linalg.matrix_power(W, lag), 2)) for lag in range(1, lags + 1)]
    return max(logs), int(np.argmax(logs))


def test_the_quantities_of_a_two_by_two_matrix_by_hand():
    W = np.array([[3.0, 4.0], [0.0, 5.0]])
    assert matrices.spectral_radius(W) == pytest.approx(5.0, rel=1e-14)
    assert matrices.largest_singular_value(W) == pytest.approx(math.sqrt(45.0), rel=1e-14)  # singular values 3√5, √5
    assert matrices.gain(W) == pytest.approx(5.0, rel=1e-14)
    assert matrices.rank(W) == 2
    assert matrices.henrici_departure(W) == pytest.approx(4.0 / math.sqrt(50.0), rel=1e-14)


def test_spectral_radius_counts_complex_and_negative_eigenvalues():
    assert matrices.spectral_radius(np.array([[0.0, -2.0], [2.0, 0.0]])) == pytest.approx(2.0, rel=1e-14)
    assert matrices.spectral_radius(np.diag([1.0, -3.0])) == 3.0


def test_an_orthogonal_matrix_has_one_size_by_every_measure():
    W = 0.7 * rotation(40)
    for measure in (matrices.spectral_radius, matrices.largest_singular_value, matrices.gain):
        assert measure(W) == pytest.approx(0.7, rel=1e-13)


def test_gain_counts_the_mean_of_the_entries():
    assert matrices.gain(np.ones((9, 9))) == pytest.approx(3.0, rel=1e-15)


def test_a_matrix_of_zeros_has_no_gain():
    assert matrices.gain(np.zeros((3, 3))) == 0.0
    assert matrices.describe_matrix(np.zeros((3, 3)), 5)["gain"] == 0.0


def test_rank():
    left, right = gaussian(30)[:, :4], gaussian(30, seed=1)[:4]
    assert matrices.rank(left @ right) == 4
    assert matrices.rank(shift(6)) == 5
    assert matrices.rank(np.zeros((3, 3))) == 0


@pytest.mark.parametrize(
    "normal",
    [np.zeros((4, 4)), np.eye(5), rotation(30), gaussian(30) + gaussian(30).T, gaussian(31) - gaussian(31).T],
    ids=["zero", "identity", "orthogonal", "symmetric", "antisymmetric"],
)
def test_normal_matrices_do_not_depart(normal):
    assert matrices.henrici_departure(normal) < 1e-13


def test_a_nilpotent_matrix_is_all_departure():
    assert matrices.henrici_departure(shift(8)) == pytest.approx(1.0, rel=1e-15)


def test_departure_of_a_jordan_block():
    expected = math.sqrt(7 / (7 + 8 * 0.81))
    assert matrices.henrici_departure(jordan_block(0.9, 8)) == pytest.approx(expected, rel=1e-14)


@examples(50)
@given(st.integers(1, 12), st.integers(0, 2**32))
def test_departure_is_that_of_the_complex_schur_form(size, seed):
    W = gaussian(size, seed)
    assert matrices.henrici_departure(W) == pytest.approx(complex_schur_departure(W), rel=1e-10, abs=1e-13)


def test_departure_of_a_large_gaussian_matrix():
    departures = [matrices.henrici_departure(gaussian(512, seed)) for seed in range(3)]
    assert np.median(departures) == pytest.approx(1 / math.sqrt(2), abs=0.003)


def test_peak_of_a_jordan_block():
    peak, lag = matrices.transient_peak(jordan_block(0.9, 8), 200)
    expected, expected_lag = plain_peak(jordan_block(0.9, 8), 200)
    assert (peak, lag) == (pytest.approx(expected, rel=1e-12), expected_lag)
    assert 0 < lag < 200


@pytest.mark.parametrize("lags", [0, 1, 2000])
def test_no_peak_where_no_power_exceeds_the_identity(lags):
    for W in (shift(5), np.zeros((3, 3)), np.eye(4)[[1, 2, 3, 0]], 0.5 * np.eye(2)):
        assert matrices.transient_peak(W, lags) == (0.0, 0)


def test_rounding_makes_no_peak_of_a_rotation():
    assert matrices.transient_peak(rotation(20), 2000) == (0.0, 0)


@examples(30)
@given(st.integers(1, 8), st.integers(0, 2**32), st.integers(0, 25), st.floats(0.3, 1.5))
def test_peak_is_that_of_the_plain_powers(size, seed, lags, scale):
    W = scale * gaussian(size, seed)
    peak, lag = matrices.transient_peak(W, lags)
    norm_there = np.linalg.norm(np.linalg.matrix_power(W, lag), 2)
    assert peak == pytest.approx(plain_peak(W, lags)[0], rel=1e-9, abs=1e-9)
    assert peak == pytest.approx(np.log(norm_there), rel=1e-9, abs=1e-9)


def test_peak_of_powers_beyond_the_range_of_floats():
    permutation = np.eye(4)[[1, 2, 3, 0]]
    assert matrices.transient_peak(8.0 * permutation, 5000) == (pytest.approx(15000 * math.log(2), rel=1e-14), 5000)
    assert matrices.transient_peak(2.0**-3 * permutation, 5000) == (0.0, 0)
    early = np.array([[0.001, 1e300], [0.0, 0.001]])
    assert matrices.transient_peak(early, 3000) == (pytest.approx(300 * math.log(10), rel=1e-14), 1)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_sizes_near_the_end_of_the_range(size):
    W = size * jordan_block(1.0, 2)
    assert matrices.spectral_radius(W) == pytest.approx(size, rel=1e-14)
    assert matrices.largest_singular_value(W) == pytest.approx(size * (1 + math.sqrt(5)) / 2, rel=1e-14)
    assert matrices.gain(W) == pytest.approx(size * math.sqrt(1.5), rel=1e-14)
    assert matrices.rank(W) == 2
    assert matrices.henrici_departure(W) == pytest.approx(1 / math.sqrt(3), rel=1e-14)


def test_describe_has_every_quantity_as_a_plain_number():
    W = jordan_block(0.9, 8)
    peak, lag = matrices.transient_peak(W, 50)
    assert matrices.describe_matrix(W, transient_lags=50) == {
        "rho": matrices.spectral_radius(W),
        "sigma_max": matrices.largest_singular_value(W),
        "gain": matrices.gain(W),
        "rank": 8,
        "henrici_departure": matrices.henrici_departure(W),
        "transient_peak": peak,
        "transient_peak_lag": lag,
    }
    assert all(type(value) in (int, float) for value in matrices.describe_matrix(W, 50).values())


def test_single_precision_is_measured_in_double():
    W = gaussian(10).astype(np.float32)
    assert matrices.describe_matrix(W, 5) == matrices.describe_matrix(W.astype(np.float64), 5)


MEASURES = [
    matrices.spectral_radius,
    matrices.largest_singular_value,
    matrices.gain,
    matrices.rank,
    matrices.henrici_departure,
    lambda W: matrices.transient_peak(W, 3),
    lambda W: matrices.describe_matrix(W, 3),
]


@pytest.mark.parametrize("measure", MEASURES)
def test_what_is_no_finite_square_matrix_is_refused(measure):
    for shape in [(2, 3), (3,), (0, 0), (2, 2, 2)]:
        with pytest.raises(ConfigurationError, match=r"must be \(N, N\)"):
            measure(np.zeros(shape))
    for bad in (np.nan, np.inf):
        with pytest.raises(NonFiniteError, match="finite"):
            measure(np.array([[1.0, bad], [0.0, 1.0]]))


def test_negative_lags_are_refused():
    with pytest.raises(LabError, match=r"lags=-1: must be an integer >= 0"):
        matrices.transient_peak(np.eye(2), -1)


def test_eigenvalues_are_sorted_by_modulus_and_angle():
    W = scipy.linalg.block_diag([[0.0, -2.0], [2.0, 0.0]], [[-3.0]], [[0.4]], [[0.0, -0.5], [0.5, 0.0]])
    np.testing.assert_allclose(matrices.eigenvalues(W), [-3.0, -2j, 2j, -0.5j, 0.5j, 0.4], atol=1e-14)
    assert matrices.eigenvalues(np.eye(1)).dtype == np.complex128
    drawn = matrices.eigenvalues(gaussian(20))
    assert np.abs(drawn[0]) == pytest.approx(matrices.spectral_radius(gaussian(20)), rel=1e-14)
    assert (np.diff(np.abs(drawn)) <= 1e-14).all()


@examples(20)
@given(st.integers(1, 12), st.integers(0, 2**32), st.sampled_from([0.5, 1.0, 1.3]))
def test_peak_does_not_depend_on_the_svd_method(size, seed, radius):
    W = gaussian(size, seed)
    W *= radius / max(matrices.spectral_radius(W), 1e-3)
    by_gram, by_lanczos = (
        matrices.transient_peak(W, 60, spectral) for spectral in (matrices.of_normalised, LanczosNorms(size).logs)
    )
    assert by_lanczos[0] == pytest.approx(by_gram[0], rel=1e-10, abs=1e-10)
    assert by_lanczos[1] == by_gram[1]
