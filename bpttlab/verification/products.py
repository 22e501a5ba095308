"""Known Jacobian products: exact for some matrices, on average for large Gaussian ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import comb

from bpttlab import theory
from bpttlab.gradients.forward import forward
from bpttlab.gradients.propagation import propagate
from bpttlab.gradients.trace import Trace
from bpttlab.measures.jacobian_products import measure_products
from bpttlab.measures.product_norms import horizons
from bpttlab.measures.singular_values import singular_values
from bpttlab.networks.cells import Elman
from bpttlab.networks.initializers import Gaussian, Orthogonal
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2, Scaled, spectral_log_norm
from bpttlab.verification.check import Check, agree, check_median, checks, equal
from bpttlab.verification.networks import autonomous, drive, last_steps, linear, log_typical_norm, silent_weights

ARITHMETIC = "arithmetic"


def curves(W: Any, T: int) -> tuple[Array, Array]:
    """log ||W^l||_2 and log(||W^l||_F / sqrt(N)) by the engine, l = 0..T."""
    measured = measure_products(linear(W, T), None, "all", 1, 24, 0)
    return measured.columns["log_spectral_norm"], measured.log_frobenius_norm[:, 0]


def largest_relative(measured: Array, expected: Array) -> float:
    """max |measured - expected| / |expected|, absolute where expected is below one."""
    return float(np.max(np.abs(measured - expected) / np.maximum(np.abs(expected), 1.0)))


@checks("products")
def scaled_rotations(quick: bool) -> Iterator[Check]:
    T, tolerance = (2000, 1e-12) if quick else (100_000, 1e-9)
    W = Orthogonal(0.9).sample(np.random.default_rng(0), 4)
    for name, curve in zip(("spectral", "Frobenius"), curves(W, T), strict=True):
        error = largest_relative(curve, np.arange(T + 1) * np.log(0.9))
        yield agree(f"W = 0.9 Q, {name} log-norm at every lag up to {T}", ARITHMETIC, error, tolerance)
    found = singular_values(linear(W, 300), [1, 30, 300])
    error = largest_relative(found["log_singular_value"].to_numpy(), found["lag"].to_numpy() * np.log(0.9))
    yield agree("W = 0.9 Q, every singular value at lags 1, 30 and 300, in log", ARITHMETIC, error, 1e-12)


@checks("products")
def permutations(quick: bool) -> Iterator[Check]:
    permutation, lags = np.eye(5)[[2, 0, 4, 1, 3]], np.arange(51)
    for factor, rate in ((1.0, 0.0), (0.125, -3.0 * LOG_2)):
        for name, curve in zip(("spectral", "Frobenius"), curves(factor * permutation, 50), strict=True):
            error = largest_relative(curve, rate * lags)
            yield agree(f"{factor:g} x permutation, {name} log-norm up to lag 50", ARITHMETIC, error, 1e-15)


@checks("products")
def nilpotent(quick: bool) -> Iterator[Check]:
    spectral, _ = curves(np.eye(6, k=1), 20)
    yield equal("shift of size 6, log-norm at lag 5", ARITHMETIC, 0.0, spectral[5], absolute=1e-15)
    yield equal("shift of size 6, largest log-norm from lag 6 on", ARITHMETIC, -np.inf, spectral[6:].max())


@checks("products")
def jordan_block(quick: bool) -> Iterator[Check]:
    block = 0.9 * np.eye(8) + np.eye(8, k=1)
    reach = horizons(curves(block, 400)[0][:, None])
    yield equal("Jordan block 8 x 8, 0.9: first lag above e", "binomial coefficients", 2, reach.growing or -1)
    yield equal("Jordan block 8 x 8, 0.9: last lag at or above 1/e", "binomial coefficients", 317, reach.vanishing)
    lag = 3000 if quick else 100_000
    product = last_product(linear(block, lag))
    j = np.arange(8)
    expected = np.log(comb(lag, j)) + (lag - j) * np.log(0.9)
    measured = np.log(product.mantissa[0]) + product.exponent[0] * LOG_2
    error = largest_relative(measured, expected)
    yield agree(f"Jordan block, log entries of power {lag}", "C(l, j) 0.9^(l-j)", error, 1e-9)


def last_product(trace: Trace) -> Scaled:
    """P_{T,0} of the first sequence, rows with exponents of their own.  (N,N)"""
    rows = Scaled.of(np.eye(trace.h.shape[-1])[:, None, None])
    for step in propagate(trace, np.array([trace.length]), rows):
        product = step.dh
    return product[:, 0, 0]


@checks("products")
def products_of_one_unit(quick: bool) -> Iterator[Check]:
    """A latch, and the folds where the slope of the map is 1."""
    cell = Elman(1, 1, 1)
    trace = forward(cell, silent_weights(cell, [[1.5]]), np.zeros((100, 1, 1)), np.array([[0.5]]))
    source = "Bengio, Simard & Frasconi 1994"
    yield equal("latch w = 1.5: state after 100 steps", source, 0.858560, trace.h[-1, 0, 0], absolute=1e-5)
    yield equal("latch w = 1.5: slope there", source, 0.394313, trace.jacobian(100)[0, 0, 0], absolute=1e-5)
    for b in theory.folds(5.0):
        upper = 1.0 if b < -2.5 else -1.0
        h = 0.5 * (1.0 + upper * np.sqrt(0.2))
        cell = Elman(1, 1, 1, "logistic")
        trace = forward(
            cell, silent_weights(cell, [[5.0]]) | {"b_h": np.array([b])}, np.zeros((1, 1, 1)), np.array([[h]])
        )
        yield equal(
            f"fold of 5 sigma(x) + b at b = {b:.6f}: slope", "Doya 1992", 1.0, trace.jacobian(1)[0, 0, 0], 1e-12
        )


# ------------------------------------------------------------------------------------------ Gaussian matrices


@checks("products")
def properties_of_gaussian_matrices(quick: bool) -> Iterator[Check]:
    N, draws = (256, 12) if quick else (512, 12)
    Ws = [Gaussian(1.3).sample(np.random.default_rng([1, seed]), N) for seed in range(draws)]
    departures = [matrices.henrici_departure(W) for W in Ws]
    tolerance = 0.003 * 512 / N
    yield check_median(f"Gaussian W, N = {N}: Henrici departure", "Ginibre 1965", np.sqrt(0.5), departures, tolerance)
    sizes = [np.linalg.slogdet(W)[1] / N - np.log(1.3) for W in Ws]
    yield check_median(f"Gaussian W, N = {N}: log |det W| / N - log g", "Ginibre 1965", -0.5, sizes, 0.01 * 512 / N)


@checks("products")
def powers_of_gaussian_matrices(quick: bool) -> Iterator[Check]:
    """Finite N lies below the edge by about N^(-2/3), so quick sizes have wider tolerances."""
    (N, draws), factor = ((200, 12), 2.0) if quick else ((600, 24), 1.0)
    Ws = [Gaussian(1.2).sample(np.random.default_rng([2, seed]), N) for seed in range(draws)]
    norms, powers = [np.exp(curves(W, 4)[0]) for W in Ws], [powers_of(W, 4) for W in Ws]
    for lag in (1, 2, 3, 4):
        largest, s = np.array([one[lag] for one in norms]), np.array([one[lag - 1] for one in powers])
        edge = float(np.exp(theory.log_sigma_max_of_power(1.2, lag)))
        what = f"Gaussian W^{lag}, N = {N}"
        yield mean_check(f"{what}: sigma_max", "Fuss-Catalan edge", edge, largest, 0.03 * factor)
        moments = (s**4).mean(axis=1) / (s**2).mean(axis=1) ** 2
        yield mean_check(f"{what}: mean s^4 / (mean s^2)^2", "Fuss-Catalan", lag + 1.0, moments, 0.05 * factor)


def powers_of(W: Array, last: int) -> list[Array]:
    """Singular values of the products of 1, 2, ... steps of a linear network."""
    trace = linear(W, last)
    return [np.linalg.svd(trace.product(lag, 0)[0], compute_uv=False) for lag in range(1, last + 1)]


def mean_check(what: str, source: str, expected: float, values: Array, relative: float) -> Check:
    """A mean over draws, with two standard errors."""
    half = 2.0 * float(values.std(ddof=1)) / np.sqrt(len(values))
    mean = float(values.mean())
    what = f"{what}, mean of {len(values)}"
    return Check(what, source, expected, mean, relative * expected, mean - half, mean + half)


# ------------------------------------------------------------------------------------------ networks

POOLE = "Poole et al. 2016; Pennington, Schoenholz & Ganguli 2017"
HE = "He et al. 2015"


@checks("products")
def twenty_steps_of_tanh(quick: bool) -> Iterator[Check]:
    N, tolerance = 512, 0.03 if quick else 0.02
    for gain, networks in ((0.8, 8), (1.5, 20)):  # at rest they scatter little, in chaos more
        traces = (last_steps(autonomous(gain, seed, N, 120), 20) for seed in range(networks))
        rates = [log_typical_norm(trace) / 20 for trace in traces]
        what = f"tanh, g = {gain}, N = {N}: log(|P|_F / sqrt N) / 20"
        yield check_median(what, POOLE, theory.mean_field(gain).rate, rates, tolerance)


@checks("products")
def twenty_steps_of_relu(quick: bool) -> Iterator[Check]:
    N, networks, tolerance = (256, 12, 0.03) if quick else (512, 16, 0.02)
    for gain in (1.2, np.sqrt(2.0)):
        traces = (autonomous(gain, seed, N, 20, "relu") for seed in range(networks))
        rates = [log_typical_norm(trace) / 20 + 0.5 * LOG_2 / 20 for trace in traces]
        what = f"relu, g = {gain:.3g}, N = {N}: log(|P|_F / sqrt(N/2)) / 20"
        yield check_median(what, HE, theory.relu_rate(gain) + 0.5 * LOG_2 / 20, rates, tolerance)


@checks("products")
def chaotic_products(quick: bool) -> Iterator[Check]:
    """log ||dh_T/dh_0|| / T tends to lambda_1."""
    N, networks, tolerance = (100, 8, 0.05) if quick else (200, 12, 0.03)
    for gain in (2.0, 3.0):
        traces = [last_steps(autonomous(gain, seed, N, 1000), 500) for seed in range(networks)]
        rates = [float(spectral_log_norm(last_product(trace))) / 500 for trace in traces]
        what = f"tanh, g = {gain:g}, N = {N}: log |dh_T/dh_0| / T, T = 500"
        source = "Engelken, Wolf & Abbott 2023"
        yield check_median(what, source, theory.mean_field(gain).rate, rates, tolerance)


@checks("products")
def driven_products(quick: bool) -> Iterator[Check]:
    """At the critical gain a typical product neither grows nor decays."""
    N, networks, tolerance = (256, 8, 0.03) if quick else (512, 12, 0.02)
    gain, _ = theory.critical_gain(0.25)
    traces = (last_steps(drive(gain, 0.25, seed, N, 60), 20) for seed in range(networks))
    rates = [log_typical_norm(trace) / 20 for trace in traces]
    what = f"tanh driven by variance 0.25, g = {gain:.4f}, N = {N}: log(|P|_F / sqrt N) / 20"
    yield check_median(what, "Chen, Pennington & Schoenholz 2018", 0.0, rates, tolerance)
