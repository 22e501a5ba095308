"""Formulas compared with known numbers, and with networks for which they are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bpttlab import theory
from bpttlab.gradients.forward import forward
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.trace import Trace
from bpttlab.measures.recurrent_matrix import origin_jacobian
from bpttlab.networks import losses
from bpttlab.networks.cells import GRU, LSTM, Antisymmetric, Elman, Leaky, MinimalRNN
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.tasks import Adding, Copy
from bpttlab.verification.check import Check, agree, checks, equal, estimate
from bpttlab.verification.networks import silent_weights

DRIVEN = "Chen, Pennington & Schoenholz 2018"
N = 6


@checks("theory")
def mean_field_networks(quick: bool) -> Iterator[Check]:
    for gain, rate in ((0.8, -0.2231), (1.5, 0.0652), (2.0, 0.1547), (3.0, 0.3102)):
        found = theory.mean_field(gain).rate
        yield equal(f"mean field, g = {gain}: lambda_1", "Engelken, Wolf & Abbott 2023", rate, found, absolute=5e-5)
    for variance, gain in ((0.05, 1.3270), (0.25, 1.5497), (1.0, 1.8556)):
        found, _ = theory.critical_gain(variance)
        yield equal(f"critical gain at input variance {variance}", DRIVEN, gain, found, absolute=5e-5)
    found, q = theory.critical_gain(0.05)
    yield equal("tanh critical line, sigma_b^2 = 0.05: sigma_w^2", DRIVEN, 1.76095, found**2, absolute=1e-5)
    yield equal("tanh critical line, sigma_b^2 = 0.05: q", DRIVEN, 0.57005, q, absolute=1e-5)


@checks("theory")
def known_numbers(quick: bool) -> Iterator[Check]:
    state, slope = theory.latch(1.5)
    yield equal("latch w = 1.5: fixed point", "Bengio, Simard & Frasconi 1994", 0.858560, state, absolute=1e-5)
    yield equal("latch w = 1.5: slope", "Bengio, Simard & Frasconi 1994", 0.394313, slope, absolute=1e-5)
    for end, found, b in zip(("lower", "upper"), theory.folds(5.0), (-2.655610, -2.344390), strict=True):
        yield equal(f"{end} fold of x = 5 sigma(x) + b", "Doya 1992", b, found, absolute=1e-6)
    for size, gain in ((2, 1.33), (10, 1.05)):
        found = theory.typical_critical_gain(size)
        yield equal(f"mean and median part below g, N = {size}", "Newman 1986", gain, found, absolute=0.005)


@checks("theory")
def log_determinant(quick: bool) -> Iterator[Check]:
    """(1/N) log |det J_t| is that of W and the mean log slope, exactly."""
    rng, cell = np.random.default_rng(5), Elman(2, N, 1)
    params = {name: rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    trace = forward(cell, params, rng.standard_normal((20, 1, 2)))
    a = cell.project(params, trace.x) + trace.h[:-1] @ params["W"].T
    measured = np.mean([np.linalg.slogdet(trace.jacobian(t)[0])[1] for t in range(1, 21)]) / N
    expected = theory.tanh_log_determinant(np.linalg.slogdet(params["W"])[1], a)
    yield equal("tanh log-determinant per unit and step, 20 steps", "identity", expected, measured, relative=1e-9)


# ------------------------------------------------------------------------------------------ at the origin


def weights_at_rest(cell: Cell, **gates: tuple[int, float]) -> Params:
    """Weights drawn; all biases zero except those of whole gates, given by their place."""
    params = cell.init(np.random.default_rng(3), spectral_radius=0.9)
    params = {name: value * (not name.startswith("b")) for name, value in params.items()}
    for place, bias in gates.values():
        params["b_h"][place * N : (place + 1) * N] = bias
    return params


def spectrum_error(cell: Cell, expected: Callable[[Array], Array], **gates: tuple[int, float]) -> float:
    """The largest disagreement of the characteristic polynomials: zeros have no order, and are ill conditioned."""
    params = weights_at_rest(cell, **gates)
    block = next(iter(cell.recurrent_blocks(params).values()))
    found, known = np.poly(origin_jacobian(cell, params)), np.poly(expected(block))
    return float(np.abs(found - known).max())


@checks("theory")
def origins(quick: bool) -> Iterator[Check]:
    source, tolerance = "derivative at zero", 1e-12

    def of(name: str, error: float) -> Check:
        return agree(f"{name} at the origin, characteristic polynomial", source, error, tolerance)

    for forget in (0.0, 1.0, 3.0):
        error = spectrum_error(LSTM(2, N, 1), lambda W, b=forget: theory.lstm_at_origin(W, b), f=(1, forget))  # type: ignore[misc]
        yield of(f"LSTM, b_f = {forget:g}", error)
    yield of("GRU", spectrum_error(GRU(2, N, 1), theory.gru_at_origin))
    yield of("GRU, b_u = 1", spectrum_error(GRU(2, N, 1), lambda W: theory.gru_at_origin(W, update=1.0), u=(1, 1.0)))
    yield of("minimal RNN", spectrum_error(MinimalRNN(2, N, 1), theory.minimal_rnn_at_origin))
    yield of("leaky, alpha = 0.3", spectrum_error(Leaky(2, N, 1, alpha=0.3), lambda W: theory.leaky_at_origin(W, 0.3)))
    cell = Antisymmetric(2, N, 1, epsilon=0.4, gamma=0.1)
    expected = theory.antisymmetric_at_origin(weights_at_rest(cell)["W"], 0.4, 0.1)
    yield of("antisymmetric", spectrum_error(cell, lambda W: expected))


@checks("theory")
def cell_paths(quick: bool) -> Iterator[Check]:
    """dc_T/dc_0 of an LSTM whose recurrent weights are zero; the bias log u is that of a chrono gate."""
    T = 300
    for time in (1.0, 20.0, 300.0):
        cell = LSTM(2, N, 1)
        params = weights_at_rest(cell, f=(1, float(np.log(time))))
        params["W"] = np.zeros_like(params["W"])
        trace = forward(cell, params, np.zeros((T, 1, 2)))
        measured = log_cell_path(trace)
        expected = theory.chrono_cell_path(time, T)
        yield equal(
            f"LSTM cell path, chrono gate u = {time:g}, T = {T}", "Tallec & Ollivier 2018b", expected, measured, 1e-12
        )


def log_cell_path(trace: Trace) -> float:
    """log dc_T/dc_0 of the first unit, its Jacobians one by one."""
    unit = trace.cell.parts["c"].start
    return float(sum(np.log(trace.jacobian(t)[0, unit, unit]) for t in range(1, trace.length + 1)))


# ------------------------------------------------------------------------------------------ by drawing


@checks("theory")
def curse_of_memory(quick: bool) -> Iterator[Check]:
    """h_t = l h_{t-1} + noise: the states are bounded, the sensitivity to l is not."""
    decay, T, draws = 0.9, 150, 40_000
    cell = Elman(1, 1, 1, "identity")
    params = silent_weights(cell, [[decay]]) | {"V": np.ones((1, 1))}
    trace = forward(cell, params, np.random.default_rng(0).standard_normal((T, draws, 1)))
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    da = trace.walk(trace.error(errors), full_plan(T)).da
    sensitivity = (da * trace.h[:-1]).sum(axis=0)[:, 0]
    source = "Zucchet & Orvieto 2024"
    names = ("E h^2", "E (dh/dlambda)^2")
    for name, expected, values in zip(
        names, theory.memory_moments(decay), (trace.h[-1, :, 0] ** 2, sensitivity**2), strict=True
    ):
        error = values.std(ddof=1) / np.sqrt(draws)
        what = f"h = 0.9 h + noise: {name}, {draws} draws"
        yield estimate(what, source, expected, values.mean(), error, 0.05 * expected)


@checks("theory")
def losses_of_guesses(quick: bool) -> Iterator[Check]:
    """The loss of a network that has learnt nothing: the mean in adding; blanks, then any letter, in copy."""
    adding = Adding(sequence_length=20)
    yield equal(
        "adding, predicting the mean: squared error", "variance of two U(0, 1)", 1 / 6, adding.baseline_loss, 1e-15
    )
    batch = adding.sample(np.random.default_rng(0), 40_000)
    found = (batch.target[-1, :, 0] - 1.0) ** 2
    error = found.std(ddof=1) / np.sqrt(found.size)
    yield estimate("the same, of 40000 draws", "variance of two U(0, 1)", 1 / 6, found.mean(), error, 0.05 / 6)
    T = 50
    copy = Copy(sequence_length=T + 20)
    expected = 10 * np.log(8) / (T + 20)
    source = "Arjovsky, Shah & Bengio 2016"
    yield equal("copy, guessing: cross-entropy", source, expected, copy.baseline_loss, 1e-15)
    batch = copy.sample(np.random.default_rng(0), 3)
    guess = np.full((T + 20, 3, 10), -1e9)
    guess[: T + 10, :, 8] = 0.0
    guess[T + 10 :, :, :8] = 0.0
    guessed = losses.evaluate(copy.loss_name, guess, batch.target, batch.mask).value
    yield equal("copy, the loss of that guess", source, expected, guessed, 1e-12)
