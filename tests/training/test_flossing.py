"""Gradient flossing: exponents of the package, central differences, and determinants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.gradients.forward import forward
from bpttlab.gradients.second_derivatives import jacobian_gradient, linearization_gradient
from bpttlab.networks.cells import GRU, LSTM, Elman, OrthogonalElman
from bpttlab.numerics.matrices import qr_vjp
from bpttlab.training.penalties import Omega
from bpttlab.training.penalties.flossing import Flossing, pull_exponents_back
from bpttlab.verification.gradient_check import CENTRAL_AGREEMENT, agreement, assert_agree, central_difference, worst
from tests.support.examples import examples

SERVED = {
    "elman": Elman,
    "elman, logistic": lambda *sizes: Elman(*sizes, activation="logistic"),
    "elman, softplus": lambda *sizes: Elman(*sizes, activation="softplus"),
    "gru": GRU,
    "gru, before": lambda *sizes: GRU(*sizes, reset="before"),
    "lstm": LSTM,
}
every_served_cell = pytest.mark.parametrize("make", SERVED.values(), ids=SERVED)


def network(make, seed=0, T=9, B=2, N=3, I=2, gain=0.5, dtype="float64", lengths=None):
    rng = np.random.default_rng(seed)
    cell = make(I, N, 1)
    params = {name: (gain * rng.standard_normal(s)).astype(dtype) for name, s in cell.parameter_shapes().items()}
    h_0 = rng.standard_normal((B, cell.state_size)).astype(dtype)
    return forward(cell, params, rng.standard_normal((T, B, I)).astype(dtype), h_0, lengths=lengths)


def run_again(trace, changed):
    """The same inputs through other weights."""
    return forward(trace.cell, {**trace.params, **changed}, trace.x, trace.h[0])


@st.composite
def settings_of(draw):
    return Flossing(
        exponents=draw(st.sampled_from([1, 2, "all"])),
        interval=draw(st.integers(1, 6)),
        transient=draw(st.sampled_from([0.0, 0.1, 0.4])),
    )


# ------------------------------------------------------------------------------------------ the value


@every_served_cell
@examples(20)
@given(chosen=settings_of(), seed=st.integers(0, 2**16), T=st.integers(1, 12), B=st.integers(1, 3))
def test_exponents_are_those_of_the_package(make, chosen, seed, T, B):
    trace = network(make, seed, T, B)
    first, count = int(chosen.transient * T), chosen.count(trace.cell)
    table = lab.finite_time_exponents(trace, window=T - first, transient=first, count=count)
    expected = table.sort_values(["sequence", "index"])["finite_time_exponent"].to_numpy().reshape(B, count)
    found = -np.sort(-chosen.finite_time_exponents(trace), axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    value, _ = chosen.value_and_gradient(trace, None)
    assert value == pytest.approx((expected**2).sum(axis=1).mean(), rel=1e-8)


def test_the_sum_of_all_exponents_is_that_of_log_determinants():
    trace = network(Elman, T=40, N=4)
    found = Flossing("all", transient=0.0).finite_time_exponents(trace).sum(axis=1)
    logs = [np.linalg.slogdet(trace.jacobian(t))[1] for t in range(1, 41)]
    np.testing.assert_allclose(found, np.mean(logs, axis=0), rtol=1e-12)


@pytest.mark.parametrize("factor", [1e-9, 0.5, 40.0])
def test_long_products_neither_overflow_nor_underflow(factor):
    N, T = 4, 2000
    cell = Elman(N, N, 1, "identity")
    W = factor * np.linalg.qr(np.random.default_rng(1).standard_normal((N, N)))[0]
    params = {"V": np.eye(N), "W": W, "b_h": np.zeros(N), "U": np.ones((1, N)), "b_y": np.zeros(1)}
    chosen = Flossing("all", interval=500, transient=0.0)
    value, found = chosen.value_and_gradient(forward(cell, params, np.zeros((T, 1, N))), None)
    assert value == pytest.approx(N * np.log(factor) ** 2, rel=1e-10)
    expected = 2.0 * np.log(factor) * np.linalg.inv(W).T  # d sum lambda_i / dW, with every lambda_i = log factor
    assert_agree({"W": found["W"]}, {"W": expected}, 1e-9)


# ------------------------------------------------------------------------------------------ the gradient


@every_served_cell
@examples(8)
@given(chosen=settings_of(), seed=st.integers(0, 2**16), T=st.integers(1, 8), B=st.integers(1, 2))
def test_the_gradient_is_the_central_difference(make, chosen, seed, T, B):
    trace = network(make, seed, T, B)
    names = trace.cell.recurrent_parameters
    arrays = {name: trace.params[name] for name in names}

    def value(changed):
        return chosen.value_and_gradient(run_again(trace, changed), None)[0]

    _, found = chosen.value_and_gradient(trace, None)
    expected = {name: central_difference(value, arrays, name) for name in names}
    size = max(np.abs(one).max() for one in expected.values())
    for name in names:
        assert np.abs(found[name] - expected[name]).max() <= 10 * CENTRAL_AGREEMENT * size, name


@every_served_cell
def test_the_gradient_of_all_exponents_is_that_of_determinants(make):
    trace = network(make, T=7, N=3)
    chosen = Flossing("all", interval=2, transient=0.3)
    first, T = chosen.first_step(trace), trace.length
    ones = np.ones((2, trace.cell.state_size))
    dlinearization, direct = pull_exponents_back(trace, chosen.factorise(trace), first, ones)
    found = linearization_gradient(trace, dlinearization, direct)
    inverses = np.zeros((T, 2, trace.cell.state_size, trace.cell.state_size))
    for t in range(first + 1, T + 1):  # d log|det J| = <J^-T, dJ>
        inverses[t - 1] = np.linalg.inv(trace.jacobian(t)).swapaxes(1, 2) / (T - first)
    assert_agree(found, jacobian_gradient(trace, inverses), 1e-8)


@every_served_cell
def test_the_interval_is_of_no_consequence(make):
    trace = network(make, T=30)
    value, expected = Flossing(2, 1).value_and_gradient(trace, None)
    for interval in (3, 10, 30):
        found = Flossing(2, interval).value_and_gradient(trace, None)
        assert found[0] == pytest.approx(value, rel=1e-9)
        assert worst(found[1], expected) <= 1e-8


def test_steps_along_the_gradient_bring_the_exponents_to_zero():
    trace, chosen = network(Elman, T=40, N=6, gain=0.3), Flossing(3)
    before, gradient = chosen.value_and_gradient(trace, None)
    for _ in range(100):
        trace = run_again(trace, {name: trace.params[name] - 0.1 * one for name, one in gradient.items()})
        after, gradient = chosen.value_and_gradient(trace, None)
    assert after < 0.02 * before


def test_sequences_of_different_length_count_alike():
    lengths = [9, 4, 6]
    trace = network(GRU, B=3, lengths=np.array(lengths))
    value, found = Flossing(2).value_and_gradient(trace, None)
    alone = [
        Flossing(2).value_and_gradient(
            forward(trace.cell, trace.params, trace.x[:n, b : b + 1], trace.h[0, b : b + 1]), None
        )
        for b, n in enumerate(lengths)
    ]
    assert value == pytest.approx(np.mean([one for one, _ in alone]), rel=1e-12)
    expected = {name: np.mean([one[name] for _, one in alone], axis=0) for name in found}
    assert_agree(found, expected, 1e-11)


@every_served_cell
def test_a_float32_network_has_the_gradient_in_float32(make):
    narrow = network(make, dtype="float32")
    _, found = Flossing(2).value_and_gradient(narrow, None)
    assert list(found) == list(narrow.cell.recurrent_parameters)
    assert all(one.dtype == np.float32 and one.shape == narrow.params[name].shape for name, one in found.items())
    _, expected = Flossing(2).value_and_gradient(network(make), None)
    assert_agree(found, expected, agreement(np.float32))


@pytest.mark.parametrize("shape", [(4, 4), (5, 2), (3, 1)])
def test_qr_vjp_is_the_central_difference(shape):
    rng = np.random.default_rng(3)
    Y, dQ, dR = (rng.standard_normal(s) for s in (shape, shape, (shape[1], shape[1])))

    def contracted(changed):
        Q, R = np.linalg.qr(changed["Y"])
        return (dQ * Q).sum() + (dR * R).sum()

    Q, R = np.linalg.qr(Y)
    expected = central_difference(contracted, {"Y": Y}, "Y")
    assert_agree({"Y": qr_vjp(Q, R, dQ, dR)}, {"Y": expected}, CENTRAL_AGREEMENT)


# ------------------------------------------------------------------------------------------ what is refused


def test_directions_that_become_zero_are_refused_with_the_step():
    trace = network(lambda *sizes: Elman(*sizes, activation="relu"), N=3, seed=1)
    off = run_again(trace, {"b_h": np.array([5.0, 5.0, -500.0])})
    with pytest.raises(NonFiniteError, match="exponent 3 is -inf.* at step t = 1: penalty.exponents must be smaller"):
        Flossing("all").value_and_gradient(off, None)
    value, found = Flossing(2).value_and_gradient(off, None)
    assert np.isfinite(value) and all(np.isfinite(one).all() for one in found.values())


def test_other_cells_are_refused_by_name():
    cell = OrthogonalElman(2, 3, 1)
    trace = forward(cell, cell.init(0), np.zeros((4, 1, 2)))
    with pytest.raises(ConfigurationError, match="cell=orthogonal: has no second derivatives.*elman, gru, lstm"):
        Flossing().value_and_gradient(trace, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exponents": 0}, "penalty.exponents=0"),
        ({"interval": 0}, "penalty.interval=0"),
        ({"transient": 1.0}, "penalty.transient=1.0"),
    ],
)
def test_fields_out_of_range_are_refused_by_name(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        Flossing(**fields)


def test_more_exponents_than_the_state_has_are_refused():
    with pytest.raises(ConfigurationError, match="penalty.exponents=7: must be at most 6, the size of the state"):
        Flossing(7).value_and_gradient(network(LSTM), None)


# ------------------------------------------------------------------------------------------ within training


@pytest.mark.parametrize("penalty", [Flossing(3), Omega()], ids=lambda penalty: penalty.name)
def test_training_follows_the_penalty_alone_then_with_the_loss(penalty):
    task = lab.tasks.DelayedRecall(sequence_length=20)
    cell = Elman(2, 8, 1)
    trained = lab.train(
        cell, cell.init(0, spectral_radius=0.5), task, engine="numpy", learning_rate=0.01, updates=45, batch_size=4,
        penalty=penalty, penalty_alone=40, penalty_strength=0.5, penalty_every=2,
    )  # fmt: skip
    values = trained.history["penalty"].to_numpy()
    assert trained.updates == 45 and values[39] < 0.3 * values[0]
    assert np.isnan(values[40:]).tolist() == [False, True, False, True, False]
