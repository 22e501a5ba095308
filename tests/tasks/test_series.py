"""Mackey-Glass and Lorenz: the integrators against slow ones, the attractors against what is stated of them."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from bpttlab.tasks import Lorenz, MackeyGlass, lorenz, mackey_glass
from bpttlab.tasks.mackey_glass import mackey_glass_trajectory
from bpttlab.verification.gradient_check import assert_agree


def sample(task, batch_size=5, seed=0):
    return task.sample(np.random.default_rng(seed), batch_size)


# Mackey-Glass ---------------------------------------------------------------------------------------------------------


def delayed_force(x):
    return 0.2 * x / (1.0 + x**10)


def literal_runge_kutta(history, units, steps_per_unit):
    """The textbook's four slopes at every step, the delayed value in its middle from a cubic through its ends."""
    h, lag = 1.0 / steps_per_unit, 17 * steps_per_unit
    x, before, after = [history], [], []  # the derivatives on both sides of each point differ at t = 0

    def delayed(n):
        """x(t_n - 17), and that in the middle of the step that follows."""
        if n < lag:
            return history, history, history
        k = n - lag
        return x[k], 0.5 * (x[k] + x[k + 1]) + h / 8.0 * (after[k] - before[k]), x[k + 1]

    for n in range(units * steps_per_unit):
        left, middle, right = map(delayed_force, delayed(n))
        k_1 = left - 0.1 * x[n]
        k_2 = middle - 0.1 * (x[n] + 0.5 * h * k_1)
        k_3 = middle - 0.1 * (x[n] + 0.5 * h * k_2)
        k_4 = right - 0.1 * (x[n] + h * k_3)
        x.append(x[n] + h / 6.0 * (k_1 + 2.0 * k_2 + 2.0 * k_3 + k_4))
        after.append(k_1)
        before.append(right - 0.1 * x[n + 1])
    return np.array(x[::steps_per_unit])


@pytest.mark.parametrize("units", [1, 16, 17, 18, 100])
def test_the_filter_is_runge_kutta_step_by_step(units):
    history = np.array([0.5, 0.9, 1.2, 1.5])
    assert_agree({"x": mackey_glass_trajectory(history, units)}, {"x": literal_runge_kutta(history, units, 10)}, 1e-12)


def test_the_error_is_of_fourth_order():
    history = np.array([0.6, 1.2])
    exact = literal_runge_kutta(history, 60, 80)
    errors = [np.abs(literal_runge_kutta(history, 60, steps) - exact).max() for steps in (5, 10, 20)]
    assert 10 < errors[0] / errors[1] < 24 and 10 < errors[1] / errors[2] < 24
    assert errors[1] < 1e-5


def test_the_first_delay_is_the_exact_solution():
    """There the delayed value is the constant c: x(t) = F/0.1 + (c - F/0.1) e^(-0.1 t)."""
    c = np.array([0.5, 1.0, 1.4])
    rest, t = delayed_force(c) / 0.1, np.arange(18)[:, None]
    np.testing.assert_allclose(mackey_glass_trajectory(c, 17), rest + (c - rest) * np.exp(-0.1 * t), rtol=1e-8)


def test_the_fixed_point_stays():
    np.testing.assert_allclose(mackey_glass_trajectory(np.array([1.0]), 30), 1.0, rtol=1e-13)


def test_samples_are_of_the_trajectory_after_the_transient():
    batch, rng = sample(MackeyGlass(40, horizon=6), 3), np.random.default_rng(0)
    history = rng.uniform(0.5, 1.5, 3)
    begin = 1020 + rng.integers(0, 1000, 3)
    series = (mackey_glass_trajectory(history, 2100) - mackey_glass.MEAN) / mackey_glass.DEVIATION
    for b in range(3):
        assert np.array_equal(batch.x[:, b, 0], series[begin[b] : begin[b] + 40, b])
        assert np.array_equal(batch.target[:, b, 0], series[begin[b] + 6 : begin[b] + 46, b])


def test_mean_and_deviation_are_those_of_the_attractor():
    """Over 12 000 time units of each of 40 sequences; the mean of each is within 0.0015 of the mean of all."""
    x = mackey_glass_trajectory(np.random.default_rng(1).uniform(0.5, 1.5, 40), 13_020)[1020:]
    assert x.mean() == pytest.approx(mackey_glass.MEAN, abs=1e-4)
    assert x.std() == pytest.approx(mackey_glass.DEVIATION, abs=1e-4)


# Lorenz ---------------------------------------------------------------------------------------------------------------


def flow(t, state):
    x, y, z = state
    return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]


def test_a_trajectory_is_the_flow():
    """Over one time unit, in which errors grow by a factor e: against an integrator with adaptive steps."""
    batch = lorenz.lorenz_trajectory(np.array([[1.0, 2.0, 20.0], [-8.0, -7.0, 30.0]]), 51)
    for b in range(2):
        exact = solve_ivp(flow, (0, 1), batch[0, b], "DOP853", np.linspace(0, 1, 51), rtol=1e-12, atol=1e-12).y.T
        np.testing.assert_allclose(batch[:, b], exact, atol=2e-4 * np.abs(exact).max())


def test_steps_of_half_the_length_have_a_sixteenth_of_the_error(monkeypatch):
    begin, errors = np.array([[1.0, 2.0, 20.0]]), []
    exact = solve_ivp(flow, (0, 0.2), begin[0], "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    for step in (0.02, 0.01, 0.005):
        monkeypatch.setattr(lorenz, "STEP", step)
        state = begin
        for _ in range(round(0.2 / step)):
            state = lorenz.step(state)
        errors.append(np.abs(state - exact).max())
    assert 10 < errors[0] / errors[1] < 24 and 10 < errors[1] / errors[2] < 24


def test_mean_and_deviation_are_those_of_the_lorenz_attractor():
    batch = sample(Lorenz(3000), 200, seed=3)
    assert np.abs(batch.x.mean(axis=(0, 1))).max() < 0.02
    np.testing.assert_allclose((batch.x**2).mean(axis=(0, 1)), 1.0, atol=0.005)


# both -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MackeyGlass, Lorenz], ids=lambda kind: kind.name)
@pytest.mark.parametrize("horizon", [1, 4])
def test_the_target_is_the_input_further_on(kind, horizon):
    batch = sample(kind(30, horizon=horizon))
    assert batch.target[:-horizon].tobytes() == batch.x[horizon:].tobytes()
    assert batch.x.flags.owndata and batch.target.flags.owndata


@pytest.mark.parametrize(
    ("task", "cost"),
    [
        (MackeyGlass(500), 0.0213),
        (MackeyGlass(500, horizon=6), 0.671),
        (MackeyGlass(500, horizon=84), 2.70),
        (Lorenz(2000), 0.0662),
        (Lorenz(2000, horizon=10), 4.03),
    ],
    ids=lambda value: f"{value.name}-{value.horizon}" if hasattr(value, "name") else "",
)
def test_what_predicting_no_change_costs(task, cost):
    batch = sample(task, 200, seed=5)
    assert task.loss(batch.x, batch).value == pytest.approx(cost, rel=0.03)


@pytest.mark.parametrize(
    "kind", [pytest.param(MackeyGlass, marks=pytest.mark.slow), Lorenz], ids=lambda kind: kind.name
)
def test_sequences_of_a_batch_are_independent(kind):
    """Of what is read at the first step, the mean over sequences is within four standard errors of zero."""
    x = sample(kind(1), 3000, seed=6).x[0]
    assert (np.abs(x.mean(axis=0)) < 4 / np.sqrt(3000)).all()
    np.testing.assert_allclose(x.var(axis=0), 1.0, atol=0.12)
    assert (np.abs((x[1:] * x[:-1]).mean(axis=0)) < 4 / np.sqrt(3000)).all()
