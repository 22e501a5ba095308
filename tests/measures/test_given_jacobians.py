"""Jacobians in place of a network: arrays and streams have what it has, and published numbers; bad ones are refused."""

import tracemalloc
import weakref

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.measures.lyapunov import from_trace
from bpttlab.measures.volume_growth import GRID, next_of_grid
from tests.support.examples import examples
from tests.support.flows import BETA, SIGMA, henon_jacobians, lorenz_jacobians
from tests.support.networks_of_cells import CELLS, case

T, B, N = 40, 2, 3
MEASURES = {
    "lyapunov_spectrum": {},
    "finite_time_exponents": {"window": 10, "transient": 5},
    "jacobian_products": {},
    "singular_values": {"lags": [0, 3, 17]},
    "windowed_products": {"lags": [1, 2, 17]},
}


def gaussian(T=T, B=B, N=N, seed=0):
    return np.random.default_rng(seed).standard_normal((T, B, N, N)) / np.sqrt(N)


def stream(J):
    """The steps one after another, written into one array."""
    place = np.empty(J.shape[1:])
    for step in J:
        place[:] = step
        yield place


def measure(name, jacobians, **more):
    return getattr(lab, name)(jacobians=jacobians, **{**MEASURES[name], **more})


def mean_exponents(frame):
    """Over the sequences, by index."""
    return frame.groupby("index")["lyapunov_exponent"].mean().to_numpy()


# ------------------------------------------------------------------------------------------ an array is its network


@pytest.mark.parametrize("make", [CELLS["elman"], CELLS["lstm"]], ids=["elman", "lstm"])
def test_jacobians_of_a_network_have_what_the_network_has(make):
    trace = case(make, T=T, B=B, N=N).trace
    J = np.stack([trace.jacobian(t) for t in range(1, T + 1)])
    for name, more in MEASURES.items():
        one = from_trace(trace) if name == "lyapunov_spectrum" else getattr(lab, name)(trace, **more)
        pd.testing.assert_frame_equal(measure(name, J), one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lags", ["all", "triangle", [1, 5]])
@pytest.mark.parametrize("method", ["exact", "fast"])
def test_an_array_has_every_lag_and_method(lags, method):
    if (lags, method) == ("triangle", "fast"):
        return
    J = gaussian(T=12)
    frame = measure("jacobian_products", J, lags=lags, method=method)
    for row in frame.itertuples():
        P = np.linalg.multi_dot([np.eye(N), np.eye(N), *J[row.t - row.lag : row.t, row.sequence][::-1]])
        assert row.log_spectral_norm == pytest.approx(np.log(np.linalg.norm(P, 2)), abs=1e-9)


def test_an_array_of_one_sequence_needs_no_axis_for_it():
    J = gaussian(B=1)
    for name in MEASURES:
        pd.testing.assert_frame_equal(measure(name, J[:, 0]), measure(name, J))
        pd.testing.assert_frame_equal(measure(name, list(J[:, 0])), measure(name, J))
        pd.testing.assert_frame_equal(measure(name, stream(J[:, 0])), measure(name, stream(J)))


def test_float32_and_integers_are_widened():
    small, counts = gaussian().astype(np.float32), np.random.default_rng(0).integers(-2, 3, (T, B, N, N))
    for name in MEASURES:
        for J in (small, counts):
            pd.testing.assert_frame_equal(measure(name, J), measure(name, J.astype(float)))
            pd.testing.assert_frame_equal(measure(name, iter(J)), measure(name, iter(J.astype(float))))


# ------------------------------------------------------------------------------------------ a stream


@pytest.mark.parametrize("name", ["lyapunov_spectrum", "finite_time_exponents", "windowed_products"])
def test_a_stream_has_what_the_array_has(name):
    J = gaussian(T=700)
    expected = measure(name, J)
    pd.testing.assert_frame_equal(measure(name, stream(J), length=700), expected, rtol=1e-9, atol=1e-9)
    columns = [column for column in expected if column != "interval"]  # more often where the length is not known
    pd.testing.assert_frame_equal(measure(name, stream(J))[columns], expected[columns], rtol=1e-9, atol=1e-9)


def test_a_stream_has_the_products_from_its_first_step():
    J = gaussian()
    turned = J[::-1].swapaxes(-2, -1)  # ends with J_1, and its products are those of J transposed
    expected = measure("jacobian_products", turned, lags="all")
    frame = measure("jacobian_products", stream(J), lags="all")
    assert (frame["t"] == frame["lag"]).all() and len(frame) == B * (T + 1)
    norms = ["log_spectral_norm", "log_frobenius_norm", "log_bound"]
    np.testing.assert_allclose(frame[norms], expected[norms], rtol=1e-9, atol=1e-12)
    values, turned_values = measure("singular_values", stream(J)), measure("singular_values", turned)
    np.testing.assert_allclose(values["log_singular_value"], turned_values["log_singular_value"], rtol=1e-9)
    assert (values["t"] == values["lag"]).all() and values["resolved"].all()


def test_lags_of_a_stream_without_a_known_length():
    J = gaussian(T=29, B=1)
    lags = measure("jacobian_products", stream(J))["lag"].tolist()
    assert lags == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 29]
    assert (
        measure("jacobian_products", stream(J), length=29)["lag"].tolist()
        == measure("jacobian_products", J)["lag"].tolist()
    )
    assert measure("jacobian_products", stream(J), lags=[7, 0])["lag"].tolist() == [0, 7]


def test_an_endless_stream_is_read_as_far_as_its_length():
    J, read = gaussian(), []

    def endless():
        while True:
            read.append(1)
            yield J[(len(read) - 1) % T]

    for name in MEASURES:
        read.clear()
        pd.testing.assert_frame_equal(
            measure(name, endless(), length=T), measure(name, stream(J), length=T), rtol=1e-12
        )
        assert len(read) <= T


def test_windows_go_over_the_edges_of_chunks():
    J, lags = gaussian(T=750, B=1, N=2), [1, 7, 300]
    for method in ("fast", "exact"):
        frame = measure("windowed_products", stream(J), lags=lags, method=method)
        pd.testing.assert_frame_equal(frame, measure("windowed_products", J, lags=lags), rtol=1e-9, atol=1e-9)


def test_a_long_stream_is_averaged_over_nearly_equal_stretches():
    rng = np.random.default_rng(1)
    steps = np.exp(0.1 * rng.standard_normal((3000, 40, 1, 1)) - 0.5)
    known, unknown = (measure("lyapunov_spectrum", stream(steps), length=length) for length in (3000, None))
    np.testing.assert_allclose(unknown["lyapunov_exponent"], known["lyapunov_exponent"], atol=3e-4)
    assert unknown["steps"][0] == pytest.approx(2700, rel=1 / GRID)
    width = [(frame["high"] - frame["low"]).mean() for frame in (known, unknown)]
    assert width[1] == pytest.approx(width[0], rel=0.05)
    assert ((unknown["low"] < -0.5) & (unknown["high"] > -0.5)).mean() > 0.8


@examples(25)
@given(st.integers(1, 2**40))
def test_the_grid_of_time_is_fine(t):
    after = next_of_grid(t)
    assert t <= after <= t + t // GRID
    assert next_of_grid(after) == after


def count_arrays(steps, size):
    """A stream, and the largest number of its arrays that were alive at once."""
    alive, most = weakref.WeakSet(), [0]

    class Counted(np.ndarray):
        __hash__ = object.__hash__

    def draw():
        rng = np.random.default_rng(0)
        for _ in range(steps):
            J = (rng.standard_normal((size, size)) / np.sqrt(size)).view(Counted)
            alive.add(J)
            most[0] = max(most[0], len(alive))
            yield J

    return draw(), most


@pytest.mark.parametrize("name", MEASURES)
def test_a_stream_is_not_kept(name):
    steps, size = 600 if name == "windowed_products" else 300, 16
    peaks = [memory_of(name, some, size) for some in (steps, 2 * steps)]
    assert peaks[1] < peaks[0] + 0.25 * steps * size * size * 8


def memory_of(name, steps, size):
    """Bytes at most; only few of the arrays that the stream gives are alive at once."""
    given, most = count_arrays(steps, size)
    tracemalloc.start()
    measure(name, given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most[0] <= 3
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lyapunov_spectrum", "jacobian_products"])
def test_memory_of_a_hundred_thousand_steps(name):
    """The whole would be 160 MB."""
    assert memory_of(name, 10**5, 14) < 2e7


def test_products_far_beyond_the_range_of_floats():
    for size in (1e-200, 1e200):
        J = size * gaussian(T=300)
        for jacobians in (J, stream(J)):
            frame = measure("jacobian_products", jacobians)
            assert np.isfinite(frame["log_spectral_norm"]).all()
            last = frame.loc[frame["lag"] == 300, "log_spectral_norm"]
            np.testing.assert_allclose(last / 300, np.log(size), atol=1.0)


# ------------------------------------------------------------------------------------------ published numbers


def lorenz_exponents(steps, batch):
    frame = lab.lyapunov_spectrum(jacobians=lorenz_jacobians(steps, batch), length=steps, transient=500)
    return mean_exponents(frame) / 0.01


def test_lorenz_in_short():
    found = lorenz_exponents(1500, 100)
    np.testing.assert_allclose(found, [0.906, 0.0, -14.572], atol=0.05)
    assert found.sum() == pytest.approx(-(SIGMA + 1.0 + BETA), abs=2e-4)  # the divergence, up to the step's order 4


@pytest.mark.slow
def test_lorenz():
    np.testing.assert_allclose(lorenz_exponents(8000, 600), [0.906, 0.0, -14.572], atol=0.02)


def test_henon():
    found = mean_exponents(lab.lyapunov_spectrum(jacobians=henon_jacobians(1500, 200), transient=300, length=1500))
    assert found[0] == pytest.approx(0.419, abs=0.003)
    assert found.sum() == pytest.approx(np.log(0.3), abs=1e-9)


def test_an_echo_state_network_is_an_elman_cell():
    rng, size = np.random.default_rng(0), 20
    cell = lab.Elman(1, size, 1)
    params = cell.init(rng, spectral_radius=0.9)
    x, h = rng.standard_normal((150, 1, 1)), np.zeros(size)

    def reservoir():
        state = h
        for u in x[:, 0]:
            state = np.tanh(params["W"] @ state + params["V"] @ u)
            yield (1.0 - state**2)[:, None] * params["W"]

    params["b_h"] = np.zeros(size)
    trace = lab.forward(cell, params, x)
    own = lab.lyapunov_spectrum(jacobians=reservoir(), length=150)
    pd.testing.assert_frame_equal(own, lab.lyapunov_spectrum(cell, params, x), rtol=1e-9, atol=1e-9)
    windows = lab.windowed_products(jacobians=reservoir(), lags=[1, 10])
    pd.testing.assert_frame_equal(windows, lab.windowed_products(trace, [1, 10]), rtol=1e-9, atol=1e-9)


def test_a_selective_diagonal_model_has_means_of_logarithms():
    """exp(Delta_t A), Delta_t from the input: its exponents are A times the mean of Delta."""
    delta = np.log1p(np.exp(np.random.default_rng(0).standard_normal(400)))
    A = -np.array([0.1, 0.5, 1.0, 4.0])
    J = np.exp(delta[:, None] * A)[:, :, None] * np.eye(4)
    frame = lab.lyapunov_spectrum(jacobians=J, transient=100)
    np.testing.assert_allclose(frame["lyapunov_exponent"], A * delta[100:].mean(), rtol=1e-9)
    values = lab.singular_values(jacobians=J, lags=[300])
    np.testing.assert_allclose(values["log_singular_value"], A * delta[100:].sum(), rtol=1e-12)
    assert values["resolved"].all()


# ------------------------------------------------------------------------------------------ what cannot be

EYE = np.eye(2)


def with_nan(at, T=6):
    J = np.tile(EYE, (T, 1, 1))
    J[at - 1, 0, 0] = np.nan
    return J


WRONG = {
    "shape (2, 2)": (lambda: EYE, "shape"),
    "not square": (lambda: np.ones((5, 2, 3)), r"shape \(5, 2, 3\); must be \(T, N, N\) or \(T, B, N, N\)"),
    "no step": (lambda: np.ones((0, 2, 2)), r"shape \(0, 2, 2\)"),
    "no sequence": (lambda: np.ones((3, 0, 2, 2)), r"shape \(3, 0, 2, 2\)"),
    "empty list": (list, "must be"),
    "complex": (lambda: np.ones((5, 2, 2)) * 1j, "complex"),
    "true or false": (lambda: np.ones((5, 2, 2), bool), "of dtype bool"),
    "masked": (lambda: np.ma.masked_array(np.ones((5, 2, 2)), np.eye(2) * np.ones((5, 1, 1))), "a masked array"),
    "text": (lambda: "model", "of type str"),
    "number": (lambda: 3.0, "of type float"),
    "function": (lambda: lorenz_jacobians, "is a function; call it"),
    "list of two sizes": (lambda: [EYE, EYE, np.eye(3)], r"shape \(3, 3\) at step t = 3; must be \(2, 2\)"),
    "empty stream": (lambda: iter([]), "without any"),
    "stream of vectors": (lambda: iter([np.ones(3)]), r"shape \(3,\) at step t = 1; must be \(N, N\)"),
    "stream, not square": (lambda: iter([np.ones((2, 3))]), r"shape \(2, 3\) at step t = 1"),
    "stream of two sizes": (lambda: iter([EYE, np.eye(3)] * 3), r"shape \(3, 3\) at step t = 2; must be \(2, 2\)"),
    "stream of two batches": (lambda: iter([EYE[None], np.stack([EYE] * 2)] * 3), r"\(2, 2, 2\) at step t = 2"),
    "stream of complex": (lambda: iter([EYE, EYE * 1j]), "complex at step t = 2"),
    "stream of text": (lambda: iter(["a"]), "at step t = 1"),
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_jacobians_that_cannot_be(name, make, message):
    with pytest.raises(ConfigurationError, match=f"jacobians: .*{message}"):
        measure(name, make())


@pytest.mark.parametrize("name", ["lyapunov_spectrum", "jacobian_products"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_is_named(name, bad):
    J = np.where(np.isnan(with_nan(4)), bad, with_nan(4))
    for jacobians in (J, list(J), stream(J)):
        with pytest.raises(NonFiniteError, match="not finite at step t = 4") as error:
            measure(name, jacobians)
        assert error.value.step == 4


def test_fewer_steps_than_the_length():
    J = np.tile(EYE, (6, 1, 1))
    for name in ("lyapunov_spectrum", "jacobian_products"):
        with pytest.raises(ConfigurationError, match="jacobians: 6 of them; must be length = 9"):
            measure(name, J, length=9)
        with pytest.raises(ConfigurationError, match="ends after 6 steps; must have length = 9"):
            measure(name, stream(J), length=9)
    for name in ("singular_values", "windowed_products", "jacobian_products"):
        with pytest.raises(ConfigurationError, match="lags=17: must be at most 6, the steps of the stream"):
            measure(name, stream(J), lags=[17])


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("lyapunov_spectrum", {"length": 0}, "length=0: must be an integer >= 1"),
        ("lyapunov_spectrum", {"transient": 6}, "transient=6: must be an integer from 0 to 5"),
        ("lyapunov_spectrum", {"count": 3}, "count=3: must be an integer from 1 to 2"),
        ("lyapunov_spectrum", {"interval": 0}, "interval=0"),
        ("lyapunov_spectrum", {"cell": lab.Elman(1, 2, 1)}, "cell: does not go with jacobians"),
        ("finite_time_exponents", {"transient": None}, "transient: must be given, or length"),
        ("finite_time_exponents", {"window": None}, "window=None: must be an integer"),
        ("finite_time_exponents", {"window": 7, "transient": 0}, "window=7: must be an integer from 1 to 6"),
        ("finite_time_exponents", {"transient": 6}, "transient=6: must be an integer from 0 to 5"),
        ("jacobian_products", {"loss": np.zeros((6, 1, 2))}, "loss: does not go with jacobians"),
        ("jacobian_products", {"lags": "triangle"}, "lags='triangle': a stream has only"),
        ("jacobian_products", {"lags": "al"}, r"lags='al': must be log, all, or integers from 0. Did you mean 'all'\?"),
        ("jacobian_products", {"lags": 7}, "lags=7: must be log, all, triangle, or a list of integers"),
        ("jacobian_products", {"lags": []}, "lags: there are none"),
        ("jacobian_products", {"method": "fast"}, "method='fast': goes back from the last step"),
        ("jacobian_products", {"t": 3}, "t=3: the products of a stream begin at its first step"),
        ("singular_values", {"t": 3}, "t=3: the products of a stream"),
        ("singular_values", {"lags": None}, "lags=None: must be a list of integers"),
        ("singular_values", {"lags": [-1]}, "lags=-1: must be an integer >= 0"),
        ("windowed_products", {"lags": [0]}, "lag=0: must be an integer >= 1"),
        ("windowed_products", {"lags": None}, "lags=None: must be a list of integers from 1"),
    ],
)
def test_what_a_stream_cannot_have(name, more, message):
    with pytest.raises(ConfigurationError, match=message):
        measure(name, stream(np.tile(EYE, (6, 1, 1))), **more)


@pytest.mark.parametrize("name", MEASURES)
def test_neither_a_network_nor_jacobians(name):
    with pytest.raises(ConfigurationError, match="must be given, or jacobians in place of it"):
        measure(name, None)


def test_a_length_is_that_of_jacobians():
    trace = case(CELLS["elman"], T=5).trace
    with pytest.raises(ConfigurationError, match="length=3: is for jacobians"):
        lab.jacobian_products(trace, length=3)
