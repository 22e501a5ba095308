"""Known Lyapunov exponents: of maps, of random products, of networks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import polygamma

from bpttlab import theory
from bpttlab.gradients.forward import forward
from bpttlab.measures.given_jacobians import trace_of_jacobians
from bpttlab.measures.jacobian_products import measure_products
from bpttlab.measures.lyapunov import entropy_bound, from_trace, kaplan_yorke_dimension
from bpttlab.measures.volume_growth import accumulate
from bpttlab.networks.cells import Elman
from bpttlab.networks.initializers import GaussianRadius
from bpttlab.numerics.array import Array
from bpttlab.verification.check import Check, agree, check_median, checks, equal
from bpttlab.verification.networks import autonomous, drive, linear, silent_weights

CHAOS = "Engelken, Wolf & Abbott 2023"


@checks("spectra")
def cat_map(quick: bool) -> Iterator[Check]:
    found = from_trace(linear([[2.0, 1.0], [1.0, 1.0]], 300))["lyapunov_exponent"]
    for index, (measured, expected) in enumerate(zip(found, (0.9624236501192069, -0.9624236501192069), strict=True), 1):
        yield equal(f"cat map: exponent {index}", "log of (3 +- sqrt 5)/2", expected, measured, absolute=1e-12)


HENON = (0.41924, np.log(0.3) - 0.41924)
"""Exponents at a = 1.4, b = 0.3: a tangent vector over 1e8 steps gives 0.41924 with a standard error of 0.00004."""


@checks("spectra")
def henon_map(quick: bool) -> Iterator[Check]:
    """The tolerances are 3.5 and 4 standard errors of the mean over the orbits."""
    orbits, steps, tolerance = (1000, 1500, 0.0012) if quick else (4000, 1500, 0.0008)
    exponents = accumulate(henon(steps, orbits), [300, steps]).exponents
    for index, (measured, expected) in enumerate(zip(exponents.mean(axis=0), HENON, strict=True), 1):
        what = f"Henon map, {orbits} orbits of {steps} steps: exponent {index}"
        yield equal(what, "a tangent vector, 1e8 steps", expected, measured, absolute=tolerance)
    largest = np.abs(exponents.sum(axis=1) - np.log(0.3)).max()
    yield equal("Henon map: sum of exponents - log 0.3", "det J = -0.3", 0.0, largest, absolute=1e-9)


def henon(steps: int, orbits: int, a: float = 1.4, b: float = 0.3) -> Iterator[Array]:
    """Jacobians along x' = 1 - a x^2 + y, y' = b x (Henon 1976), of many orbits."""
    x, y = np.random.default_rng(3).uniform(-0.1, 0.1, (2, orbits))
    for _ in range(steps):
        J = np.zeros((orbits, 2, 2))
        J[:, 0, 0], J[:, 0, 1], J[:, 1, 0] = -2.0 * a * x, 1.0, b
        yield J
        x, y = 1.0 - a * x * x + y, b * x


@checks("spectra")
def independent_products(quick: bool) -> Iterator[Check]:
    """A linear network whose W is another one at each step."""
    N, T, g = 10, 1000 if quick else 4000, 1.3
    given = np.random.default_rng(0).standard_normal((T, 1, N, N)) * g / np.sqrt(N)
    found = from_trace(trace_of_jacobians(given), 0)["lyapunov_exponent"]
    half = (N - np.arange(N)) / 2
    for i, (measured, expected) in enumerate(zip(found, theory.newman_exponents(N, g), strict=True)):
        deviation = 0.5 * np.sqrt(polygamma(1, half[i]) / T)
        what = f"fresh Gaussian W each step, N = {N}, T = {T}: exponent {i + 1}"
        yield equal(what, "Newman 1986", expected, measured, absolute=4 * deviation)


@checks("spectra")
def scatter_of_products(quick: bool) -> Iterator[Check]:
    """The gradient of one output goes back through fresh Gaussian W, a network a sequence: var log |u P|."""
    N, T, draws = 10, 50, 400 if quick else 2000
    given = np.random.default_rng(1).standard_normal((T, draws, N, N)) / np.sqrt(N)
    trace = trace_of_jacobians(given)
    slope = np.zeros_like(trace.y_hat)
    slope[-1, :, 0] = 1.0
    columns = measure_products(trace, slope, "log", draws, 3, 0).columns
    log = columns["log_state_gradient"][columns["lag"] == T]
    expected = theory.log_growth_variance(N, T)
    tolerance = 4.0 * np.sqrt(2.0 / draws) * expected
    what = f"fresh Gaussian W each step, N = {N}, T = {T}, {draws} draws: var log |u P|"
    yield equal(what, "Newman 1986", expected, log.var(ddof=1), absolute=tolerance)


@checks("spectra")
def chaotic_spectra(quick: bool) -> Iterator[Check]:
    N, T, networks, tolerance = (100, 1200, 12, 0.06) if quick else (200, 4500, 12, 0.03)
    for gain in (2.0, 3.0):
        found = [largest_exponent(gain, seed, N, T) for seed in range(networks)]
        what = f"tanh, g = {gain:g}, N = {N}, T = {T}: lambda_1"
        yield check_median(what, CHAOS, theory.mean_field(gain).rate, found, tolerance)


def largest_exponent(gain: float, seed: int, N: int, T: int) -> float:
    return float(from_trace(autonomous(gain, seed, N, T), T // 10, count=1)["lyapunov_exponent"].iloc[0])


@checks("spectra")
def dimension_of_chaos(quick: bool) -> Iterator[Check]:
    """The expected values are medians of 100 networks by other code; they were not found in a paper.

    Their standard deviations are 0.006, 0.0009 and 0.004. One network with N = 1024 has 0.285, 0.0247 and 0.151.
    """
    if quick:
        return
    N, networks = 200, 12
    spectra = [from_trace(autonomous(3.0, seed, N, 1400), 400)["lyapunov_exponent"] for seed in range(networks)]
    measured = {
        "Kaplan-Yorke dimension / N": (0.279, [kaplan_yorke_dimension(one) / N for one in spectra]),
        "sum of positive exponents / N": (0.0237, [entropy_bound(one) / N for one in spectra]),
        "fraction of positive exponents": (0.150, [float(np.mean(one > 0)) for one in spectra]),
    }
    for name, (expected, values) in measured.items():
        yield check_median(
            f"tanh, g = 3, N = {N}: {name}", "other code, 100 networks", expected, values, 0.05 * expected
        )


@checks("spectra")
def driven_networks(quick: bool) -> Iterator[Check]:
    N, T, networks, tolerance = (256, 600, 12, 0.03) if quick else (512, 2000, 12, 0.005)
    for variance in (0.05, 0.25, 1.0):
        gain, _ = theory.critical_gain(variance)
        traces = (drive(gain, variance, seed, N, T) for seed in range(networks))
        found = [float(from_trace(trace, T // 10, count=1)["lyapunov_exponent"].iloc[0]) for trace in traces]
        what = f"tanh driven by variance {variance}, g = {gain:.4f}, N = {N}, T = {T}: lambda_1"
        yield check_median(what, "Chen, Pennington & Schoenholz 2018", 0.0, found, tolerance)


@checks("spectra")
def silent_networks(quick: bool) -> Iterator[Check]:
    """Near the origin J = W: every exponent is the logarithm of an eigenvalue's modulus."""
    for seed in range(2 if quick else 8):
        rng, cell = np.random.default_rng([3, seed]), Elman(1, 12, 1)
        W = GaussianRadius(0.8).sample(rng, 12)
        trace = forward(cell, silent_weights(cell, W), np.zeros((4000, 1, 1)), rng.standard_normal((1, 12)))
        expected = np.sort(np.log(np.abs(np.linalg.eigvals(W))))[::-1]
        error = np.abs(from_trace(trace)["lyapunov_exponent"] - expected).max()
        yield agree(f"rho(W) = 0.8, N = 12, network {seed}: whole spectrum", "log |eig W|", error, 0.02)
