"""Lyapunov exponents against maps whose exponents are known, determinants, and known values."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma, polygamma

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lyapunov import (
    convergence_interval,
    entropy_bound,
    finite_time_exponents,
    from_trace,
    iterate_jacobians,
    kaplan_yorke_dimension,
    lyapunov_spectrum,
    spectrum_columns,
)
from bpttlab.measures.volume_growth import Frame, accumulate, equal_windows, orthonormalise
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.networks.initializers import Gaussian, Orthogonal
from bpttlab.verification.spectra import HENON, henon_map
from tests.support.compiled import QUICK_CELLS, needs_numba
from tests.support.examples import examples
from tests.support.networks import linear
from tests.support.networks_of_cells import CELLS, case
from tests.support.volumes import precise_volumes

CAT_MAP = [[2.0, 1.0], [1.0, 1.0]]
COLUMNS = ["sequence", "index", "lyapunov_exponent", "low", "high", "steps", "interval"]


def exponents(frame, sequence=0):
    return frame.loc[frame["sequence"] == sequence, "lyapunov_exponent"].to_numpy()


def of_linear(W, T=300, **more):
    """Along h_t = W h_{t-1} from the origin, where it stays whatever W is."""
    return exponents(from_trace(linear(W, T), **more))


def log_determinants(trace):
    """Sum over t of log |det J_t|, (B,)."""
    return sum(np.linalg.slogdet(J)[1] for J in iterate_jacobians(trace))


# ------------------------------------------------------------------------------------------ linear maps


@pytest.mark.parametrize("interval", [None, 1, 5, 100])
def test_the_cat_map(interval):
    measured = of_linear(CAT_MAP, interval=interval)
    np.testing.assert_allclose(measured, [0.9624236501192069, -0.9624236501192069], atol=1e-12)


def test_a_diagonal_map():
    factors = np.array([0.2, 3.0, -1.0, 1e-3])
    np.testing.assert_allclose(of_linear(np.diag(factors)), np.sort(np.log(np.abs(factors)))[::-1], atol=1e-12)


@pytest.mark.parametrize("g", [0.7, 1.0, 1.3])
def test_a_scaled_rotation_has_one_exponent(g):
    W = Orthogonal(g).sample(np.random.default_rng(0), 7)
    np.testing.assert_allclose(of_linear(W, transient=0), np.log(g), atol=1e-13)


@pytest.mark.parametrize("lower", [False, True])
def test_a_triangular_map_has_those_of_its_diagonal(lower):
    W = np.diag([0.5, 4.0, 1.0, 0.1]) + np.triu(np.random.default_rng(1).standard_normal((4, 4)), 1)
    measured = of_linear(W.T if lower else W, transient=100)
    np.testing.assert_allclose(measured, np.log([4.0, 1.0, 0.5, 0.1]), atol=1e-12)


def test_a_permutation_has_none():
    permutation = np.eye(5)[[2, 0, 4, 1, 3]]
    np.testing.assert_allclose(of_linear(permutation), 0.0, atol=1e-15)
    np.testing.assert_allclose(of_linear(permutation / 8.0), -3.0 * np.log(2.0), rtol=1e-14)


def test_a_nilpotent_map_is_exactly_zero_from_its_size_on():
    shift = np.eye(6, k=1)
    assert (of_linear(shift, T=20) == -np.inf).all()
    assert (np.isneginf(of_linear(shift, T=4, transient=0))).sum() == 4


def test_a_singular_map_keeps_the_directions_that_live():
    measured = of_linear([[0.0, 1.0], [0.0, 2.0]], T=50)
    np.testing.assert_allclose(measured, [np.log(2.0), -np.inf], atol=1e-12)


def test_a_direction_that_dies_late_takes_its_past_with_it():
    """The product is diag(0, 1): what the first direction has grown by until then does not count."""
    steps = [np.diag([2.0, 1.0])] * 30 + [np.diag([0.0, 1.0])]
    growth = accumulate((J[None] for J in steps), [0, 31], interval=1)
    first = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0][:, 0]
    np.testing.assert_allclose(growth.logs[0, 0], [np.log(abs(first[1])), -np.inf], atol=1e-6)


def test_a_column_of_zeros_goes_behind_the_others():
    frame = Frame(np.eye(3)[None], np.zeros((1, 3), bool), np.arange(3)[None])
    Y = np.array([[[0.0, 1.0, 1.0], [0.0, 2.0, 0.0], [0.0, 2.0, 0.0]]])
    stretch = orthonormalise(Y, frame, np.array([3]), 1)
    assert stretch.frame.direction.tolist() == [[1, 2, 0]]
    assert stretch.frame.dead.tolist() == [[False, False, True]]
    np.testing.assert_allclose(stretch.log_size, [[np.log(3.0), 0.5 * np.log(8.0 / 9.0), -np.inf]], rtol=1e-12)
    np.testing.assert_allclose(stretch.frame.Q[0, :, 0], np.array([1.0, 2.0, 2.0]) / 3.0 * stretch.frame.Q[0, 0, 0] * 3)
    assert not stretch.frame.Q[0, :, 2].any()


def test_zero_stays_zero_after_the_transient():
    assert (of_linear(np.eye(3, k=1), T=100, transient=50) == -np.inf).all()
    windows = finite_time_exponents(linear(np.eye(3, k=1), 30), 10, transient=0)
    assert (windows["finite_time_exponent"] == -np.inf).all()
    windows = finite_time_exponents(linear(np.eye(3, k=1), 6), 1, transient=0)
    assert np.isneginf(windows["finite_time_exponent"]).groupby(windows["t"]).sum().tolist() == [1, 2, 3, 3, 3, 3]


def test_what_rounding_hides_has_no_lower_end():
    """The map has rank one without a zero in it: float64 knows of the second exponent only that it is small."""
    frame = from_trace(linear(np.outer([1.0, 2.0, 3.0], [0.3, 0.7, 0.1]), 100))
    assert frame["lyapunov_exponent"][0] == pytest.approx(np.log(0.3 + 1.4 + 0.3), abs=1e-12)
    assert (frame["lyapunov_exponent"][1:] < -30.0).all()
    assert np.isneginf(frame["low"]).tolist() == [False, True, True]


@pytest.mark.parametrize("size", [1e-250, 1e-150, 1.0, 1e150, 1e250])
def test_steps_of_any_size(size):
    growth = accumulate(iter([size * np.array([CAT_MAP])] * 200), [20, 200])
    np.testing.assert_allclose(
        growth.exponents[0] - np.log(size), [0.9624236501192069, -0.9624236501192069], rtol=1e-10
    )


# ------------------------------------------------------------------------------------------ every cell


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("interval", [None, 1])
def test_the_sum_is_the_log_determinant(make, interval):
    trace = case(make, T=60, B=3, N=5).trace
    frame = from_trace(trace, transient=0, interval=interval)
    assert list(frame.columns) == COLUMNS
    assert not frame.isna().any(axis=None)
    sums = frame.groupby("sequence")["lyapunov_exponent"].sum().to_numpy() * trace.length
    np.testing.assert_allclose(sums, log_determinants(trace), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_saturated_cells_have_logarithms(make):
    trace = case(make, T=40, B=2, N=4, gain=3.0, saturated=True).trace
    frame = from_trace(trace)
    assert not frame.isna().any(axis=None)
    assert (frame["low"] <= frame["lyapunov_exponent"]).all()
    assert (frame["lyapunov_exponent"] <= frame["high"]).all()


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_the_diagonals_are_volumes_of_the_explicit_product(make):
    trace = case(make, T=20, B=2, N=3).trace
    growth = accumulate(iterate_jacobians(trace), [0, 20])
    for b in range(2):
        expected = precise_volumes([J[b] for J in iterate_jacobians(trace)])
        np.testing.assert_allclose(np.cumsum(growth.logs[0, b]), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_volumes_of_saturated_cells_are_right_or_marked(make):
    """Gates shut by e^-30: the Jacobian of one step has a condition number of 1e13, or one beyond float64."""
    trace = case(make, T=20, B=2, N=3, gain=3.0, saturated=True, seed=3).trace
    growth = accumulate(iterate_jacobians(trace), [0, 20])
    for b in np.flatnonzero(~growth.unresolved.any(axis=-1)):
        expected = precise_volumes([J[b] for J in iterate_jacobians(trace)])
        np.testing.assert_allclose(np.cumsum(growth.logs[0, b]), expected, rtol=1e-4)


def test_a_batch_is_its_sequences():
    trace = case(CELLS["gru"], T=50, B=3, N=4).trace
    together = from_trace(trace, interval=2)
    for b in range(3):
        alone = Trace(trace.cell, trace.params, trace.x[:, [b]], trace.h[:, [b]], trace.y_hat[:, [b]])
        np.testing.assert_allclose(exponents(together, b), exponents(from_trace(alone, interval=2)), rtol=1e-12)


@examples(40)
@given(st.sampled_from(list(CELLS.values())), st.integers(1, 4), st.integers(0, 1000), st.sampled_from([0.3, 1.0]))
def test_the_interval_does_not_matter(make, interval, seed, gain):
    trace = case(make, seed=seed, T=40, B=2, N=3, gain=gain).trace
    one = accumulate(iterate_jacobians(trace), [0, 40], interval=1)
    other = accumulate(iterate_jacobians(trace), [0, 40], interval=interval)
    chosen = accumulate(iterate_jacobians(trace), [0, 40])
    for growth in (other, chosen):
        np.testing.assert_allclose(growth.logs, one.logs, rtol=1e-7, atol=1e-7)


def test_the_interval_is_chosen_and_reported():
    assert from_trace(linear(np.eye(3), 2000), transient=0)["interval"][0] > 50.0
    assert from_trace(linear(np.diag([1.0, 1e-9]), 100))["interval"][0] < 2.0
    assert from_trace(linear(np.eye(3), 100), transient=0, interval=5)["interval"][0] == 5.0


COMPILED = [
    pytest.param(make, id=name, marks=[] if name in QUICK_CELLS else [pytest.mark.slow])
    for name, make in CELLS.items()
    if not name.startswith(("stacked", "plain", "momentum"))
]


@needs_numba
@pytest.mark.compiles
@pytest.mark.parametrize("make", COMPILED)
@pytest.mark.parametrize("count", [None, 2])
def test_elimination_gives_the_exponents_of_qr(make, count):
    given = case(make, T=120, B=2, N=5).trace
    trace = forward(given.cell, given.params, given.x, given.h[0], engine="numba")
    by_qr = accumulate(iterate_jacobians(trace), equal_windows(12, 120), count, 1)
    expected = spectrum_columns(by_qr)
    measured = from_trace(trace, count=count)
    for column in ("lyapunov_exponent", "low", "high"):
        np.testing.assert_allclose(measured[column], expected[column], rtol=1e-9, atol=1e-9, err_msg=column)


@needs_numba
@pytest.mark.compiles
def test_elimination_leaves_dead_units_to_qr():
    cell = Elman(2, 6, 2, activation="relu")
    params, x = cell.init(0, spectral_radius=1.2), np.random.default_rng(0).standard_normal((60, 2, 2))
    one, other = (from_trace(forward(cell, params, x, engine=engine)) for engine in ("numpy", "numba"))
    assert np.isneginf(one["lyapunov_exponent"]).any()
    pd.testing.assert_frame_equal(one, other, rtol=1e-9)


@needs_numba
@pytest.mark.compiles
def test_elimination_says_how_often_it_was_done():
    mild, steep = (lyapunov_interval(Elman(1, 4, 1), radius) for radius in (0.9, 6.0))
    assert mild >= steep >= 1.0


def lyapunov_interval(cell, radius):
    """Of the compiled engine, for inputs of zero from a state that is not."""
    params, h_0 = cell.init(3, spectral_radius=radius), np.full((1, 4), 0.1)
    return from_trace(forward(cell, params, np.zeros((80, 1, 1)), h_0, engine="numba"))["interval"][0]


def test_some_of_the_largest():
    trace = case(CELLS["lstm"], T=400, N=4).trace
    whole, some = from_trace(trace), from_trace(trace, count=2)
    assert len(some) == 2 * 2
    np.testing.assert_allclose(exponents(some), exponents(whole)[:2], rtol=1e-9)


# ------------------------------------------------------------------------------------------ zeros


def test_units_of_relu_that_are_off_are_exactly_zero():
    rng = np.random.default_rng(3)
    cell = Elman(2, 6, 1, "relu")
    params = cell.init(rng, spectral_radius=0.8)
    params["b_h"] = np.array([-50.0, -50.0, 1.0, 1.0, 1.0, 1.0]) * 1.0
    params["W"] = np.abs(params["W"]) / 10.0
    measured = exponents(lyapunov_spectrum(cell, params, 0.01 * rng.standard_normal((200, 1, 2))))
    assert np.isfinite(measured[:4]).all()
    assert (measured[4:] == -np.inf).all()
    alive = np.log(np.abs(np.linalg.eigvals(params["W"][2:, 2:])))
    np.testing.assert_allclose(measured[:4], np.sort(alive)[::-1], atol=0.05)


def test_relu_that_flickers():
    """The rank of the product is that of its narrowest step, and never comes back."""
    rng = np.random.default_rng(5)
    cell = Elman(2, 8, 1, "relu")
    trace = forward(cell, cell.init(rng, spectral_radius=1.2), rng.standard_normal((30, 2, 2)))
    on = (trace.linearization > 0).sum(axis=-1).min(axis=0)
    for b in range(2):
        measured = exponents(from_trace(trace, transient=0), b)
        assert not np.isnan(measured).any()
        assert np.isneginf(measured).sum() >= 8 - on[b]


def test_weights_of_zero():
    for cell, zeros in ((LSTM(1, 3, 1), 3), (GRU(1, 3, 1), 0), (Elman(1, 3, 1), 3)):
        params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
        frame = lyapunov_spectrum(cell, params, np.zeros((40, 1, 1)))
        measured = exponents(frame)
        assert np.isneginf(measured).sum() == zeros
        np.testing.assert_allclose(measured[np.isfinite(measured)], np.log(0.5), atol=1e-12)
        assert (frame["low"][np.isneginf(measured)] == -np.inf).all()
        assert not frame.isna().any(axis=None)


# ------------------------------------------------------------------------------------------ windows and intervals


def test_windows_average_to_the_whole():
    trace = case(CELLS["lstm"], T=130, B=2, N=3).trace
    frame = finite_time_exponents(trace, 20, transient=10, interval=3)
    assert list(frame.columns) == ["sequence", "t", "index", "finite_time_exponent", "steps"]
    assert sorted(frame["t"].unique()) == [30, 50, 70, 90, 110, 130]
    means = frame.groupby(["sequence", "index"])["finite_time_exponent"].mean()
    whole = from_trace(trace, transient=10)
    np.testing.assert_allclose(means, whole["lyapunov_exponent"], rtol=1e-7, atol=1e-9)


def test_a_window_of_one_step_in_one_dimension_is_the_slope():
    trace = case(CELLS["elman"], T=10, B=1, N=1).trace
    frame = finite_time_exponents(trace, 1, transient=0)
    expected = np.log(np.abs(trace.linearization[:, 0, 0] * trace.params["W"][0, 0]))
    np.testing.assert_allclose(frame["finite_time_exponent"], expected, rtol=1e-12)


def test_the_convergence_interval_covers():
    """log |J| independent and normal, of a network of one unit: 95 % of the intervals hold the mean."""
    rng = np.random.default_rng(0)
    steps = np.exp(rng.standard_normal((400, 500)) - 0.3)[..., None, None]
    growth = accumulate(iter(steps), range(0, 401, 20))
    low, high = convergence_interval(growth)
    assert np.mean((low <= -0.3) & (high >= -0.3)) == pytest.approx(0.95, abs=0.03)


def test_one_step_has_no_convergence_interval():
    frame = from_trace(linear(CAT_MAP, 1))
    assert np.isneginf(frame["low"]).all()
    assert np.isposinf(frame["high"]).all()


# ------------------------------------------------------------------------------------------ known values


def test_independent_gaussian_products():
    """Newman 1986: lambda_i = log g + (log(2/N) + psi((N-i+1)/2)) / 2, index by index."""
    N, T, g = 10, 4000, 1.3
    rng = np.random.default_rng(0)
    growth = accumulate((rng.standard_normal((1, N, N)) * g / np.sqrt(N) for _ in range(T)), [0, T])
    half = (N - np.arange(1, N + 1) + 1) / 2
    expected = np.log(g) + 0.5 * (np.log(2 / N) + digamma(half))
    assert (np.abs(growth.exponents[0] - expected) <= 4 * 0.5 * np.sqrt(polygamma(1, half) / T)).all()


def henon(steps, a=1.4, b=0.3):
    x, y = 0.1, 0.1
    for _ in range(steps):
        yield np.array([[[-2.0 * a * x, 1.0], [b, 0.0]]])
        x, y = 1.0 - a * x * x + y, b * x


def test_henon_volumes_shrink_by_b():
    growth = accumulate(henon(3000), [0, 3000])
    assert growth.exponents.sum() == pytest.approx(np.log(0.3), abs=1e-9)


def test_exponents_of_henon_match_a_tangent_vector():
    """Without QR: 4000 orbits of 1000 steps after 300. The standard error is 0.0002; 0.4205 is far outside."""
    a, b = 1.4, 0.3
    x, y = np.random.default_rng(11).uniform(-0.1, 0.1, (2, 4000))
    u, v, total = np.ones(4000), np.zeros(4000), 0.0
    for step in range(1300):
        u, v = v - 2 * a * x * u, b * u
        x, y = 1 - a * x * x + y, b * x
        size = np.hypot(u, v)
        u, v, total = u / size, v / size, total + (np.log(size).mean() if step >= 300 else 0.0)
    assert (total / 1000, np.log(b) - total / 1000) == pytest.approx(HENON, abs=8e-4)
    assert 0.4205 - HENON[0] > 1.2e-3


@pytest.mark.slow
def test_the_henon_map():
    """QR against the tangent vector, at a tolerance that refuses 0.4205."""
    checks = list(henon_map(quick=True))
    assert all(check.held for check in checks) and max(check.tolerance for check in checks) < 0.4205 - HENON[0]


def autonomous(gain, seed, N, T):
    """h_t = tanh(W h_{t-1}) from a random state."""
    rng = np.random.default_rng([7, seed])
    cell = Elman(1, N, 1)
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["W"] = Gaussian(gain).sample(rng, N)
    return forward(cell, params, np.zeros((T, 1, 1)), rng.standard_normal((1, N)))


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "expected"), [(2.0, 0.1547), (3.0, 0.3102)])
def test_chaos_of_autonomous_networks(gain, expected):
    largest = [from_trace(autonomous(gain, seed, 200, 4500), 500, count=1)["lyapunov_exponent"][0] for seed in range(8)]
    assert np.median(largest) == pytest.approx(expected, abs=0.03)


@pytest.mark.slow
def test_the_dimension_of_chaos():
    """Medians of 100 networks by other code; in no paper."""
    spectra = [exponents(from_trace(autonomous(3.0, seed, 200, 1400), 400)) for seed in range(8)]
    measured = [[kaplan_yorke_dimension(e) / 200, entropy_bound(e) / 200, np.mean(e > 0)] for e in spectra]
    np.testing.assert_allclose(np.median(measured, axis=0), [0.279, 0.0237, 0.150], rtol=0.05)


def test_silent_network_has_the_exponents_of_its_weights():
    trace = autonomous(0.7, 0, 12, 4000)
    eigenvalues = np.linalg.eigvals(trace.params["W"])
    assert np.abs(eigenvalues).max() < 1.0
    expected = np.sort(np.log(np.abs(eigenvalues)))[::-1]
    np.testing.assert_allclose(exponents(from_trace(trace)), expected, atol=0.02)


# ------------------------------------------------------------------------------------------ numbers of a spectrum


def test_kaplan_yorke():
    assert kaplan_yorke_dimension([-0.3, 0.5, -1.0]) == pytest.approx(2.2)
    assert kaplan_yorke_dimension([0.4192, -1.6232]) == pytest.approx(1.0 + 0.4192 / 1.6232)
    assert kaplan_yorke_dimension([0.5, -np.inf]) == 1.0
    assert kaplan_yorke_dimension([-0.1, -0.2]) == 0.0
    assert kaplan_yorke_dimension([0.1, 0.0]) == 2.0
    assert kaplan_yorke_dimension([-np.inf]) == 0.0


def test_entropy_bound():
    assert entropy_bound([-np.inf, 0.25, -1.0, 0.5]) == 0.75
    assert entropy_bound([-1.0]) == 0.0


@pytest.mark.parametrize("of", [kaplan_yorke_dimension, entropy_bound])
def test_numbers_of_no_spectrum(of):
    with pytest.raises(NonFiniteError, match="NaN"):
        of([0.1, np.nan])
    with pytest.raises(ConfigurationError, match="one sequence"):
        of([[0.1], [0.2]])


# ------------------------------------------------------------------------------------------ what is given


def test_float32_is_computed_in_float64():
    trace = case(CELLS["elman"], T=60, N=4, dtype="float32").trace
    frame = lyapunov_spectrum(trace.cell, trace.params, trace.x, trace.h[0], transient=0)
    wide = {name: value.astype(float) for name, value in trace.params.items()}
    same = lyapunov_spectrum(trace.cell, wide, trace.x.astype(float), trace.h[0].astype(float), transient=0)
    pd.testing.assert_frame_equal(frame, same)
    along = from_trace(trace, transient=0)
    sums = along.groupby("sequence")["lyapunov_exponent"].sum() * 60
    np.testing.assert_allclose(sums, log_determinants(trace), rtol=1e-9)


def test_blocks_of_slopes_are_those_of_the_whole():
    trace = case(CELLS["lstm"], T=150, N=3).trace
    for t, J in enumerate(iterate_jacobians(trace), 1):
        np.testing.assert_array_equal(J, trace.jacobian(t))
    assert t == 150


def test_memory_does_not_grow_with_the_square_of_the_state():
    """400 Jacobians or frames of 100 x 100 would be 32 MB each."""
    trace = linear(Orthogonal(1.0).sample(np.random.default_rng(0), 100), 400)
    tracemalloc.start()
    from_trace(trace, interval=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"transient": 10}, "transient=10: must be an integer from 0 to 9"),
        ({"transient": -1}, "transient=-1"),
        ({"interval": 0}, "interval=0: must be an integer >= 1"),
        ({"interval": 1.5}, "interval=1.5"),
        ({"count": 3}, "count=3: must be an integer from 1 to 2"),
    ],
)
def test_arguments_that_cannot_be(more, message):
    with pytest.raises(ConfigurationError, match=message):
        from_trace(linear(CAT_MAP, 10), **more)


def test_windows_that_cannot_be():
    with pytest.raises(ConfigurationError, match="window=10: must be an integer from 1 to 9"):
        finite_time_exponents(linear(CAT_MAP, 10), 10)


def test_complex_numbers_are_refused():
    trace = linear(CAT_MAP, 3)
    with pytest.raises(ConfigurationError, match=r"params\['W'\]: complex"):
        lyapunov_spectrum(trace.cell, trace.params | {"W": trace.params["W"] * 1j}, trace.x)


def test_streams_that_cannot_be():
    with pytest.raises(NonFiniteError, match="step t = 2"):
        accumulate(iter([np.eye(2)[None], np.full((1, 2, 2), np.nan)]), [0, 2])
    with pytest.raises(ConfigurationError, match="1 of them"):
        accumulate(iter([np.eye(2)[None]]), [0, 2])
