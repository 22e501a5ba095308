"""Known effects of truncation: signs that change, means that stay, variances that do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bpttlab import theory
from bpttlab.gradients.backward import backward
from bpttlab.gradients.directional import signed_bias
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.rtrl import rtrl
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells import Elman
from bpttlab.numerics.array import Array
from bpttlab.truncation.averaged import Random
from bpttlab.truncation.segmented import Chunked, PerLoss
from bpttlab.verification.check import Check, agree, checks, equal, estimate
from bpttlab.verification.gradient_check import AGREEMENT, disagreement
from bpttlab.verification.networks import silent_weights

BALANCE = "Tallec & Ollivier 2018a"


def influence_balancing(T: int = 400) -> tuple[Trace, Array]:
    """23 units in a chain, ten driven by +theta, 13 by -theta; the loss is the state of the first at the end."""
    cell = Elman(1, 23, 1, "identity")
    signs = signed_bias(cell, 10)["b_h"]
    params = silent_weights(cell, 0.5 * np.eye(23) + 0.5 * np.eye(23, k=1)) | {"b_h": signs, "U": np.eye(1, 23)}
    trace = forward(cell, params, np.zeros((T, 1, 1)))
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    return trace, errors


@checks("truncation")
def balance_of_uoro(quick: bool) -> Iterator[Check]:
    """dL/dtheta = -6 times the loss's slope; truncated, it has the other sign."""
    trace, errors = influence_balancing()
    signs = trace.params["b_h"]
    full = signs @ backward(trace, errors)["b_h"]
    yield equal("influence balancing: dL/dtheta", BALANCE, -6.0, full, relative=1e-4)
    forwards = signs @ rtrl(*influence_balancing(100 if quick else 400))["b_h"]
    tolerance = 0.01 if quick else 1e-4  # after 100 steps the state is not quite at rest
    yield equal("influence balancing: dL/dtheta forwards", BALANCE, -6.0, forwards, relative=tolerance)
    for K in (1, 5, 10):
        found = signs @ backward(trace, errors, PerLoss(K))["b_h"]
        yield equal(f"influence balancing, per_loss {K}: sign of dL/dtheta", BALANCE, 1.0, np.sign(found))


@checks("truncation")
def rotating_chain(quick: bool) -> Iterator[Check]:
    """Every K up to the chain's length by the chain's own formula: lag l reaches unit j with C(l, j) / 2^l."""
    trace, errors = influence_balancing(60)
    signs, reach, total = trace.params["b_h"], np.eye(1, 23)[0], 0.0
    for K in range(1, 61):
        total += float(reach @ signs)
        reach = 0.5 * reach + 0.5 * np.concatenate([[0.0], reach[:-1]])
        if K in (1, 10, 20, 40, 60):
            found = float(signs @ backward(trace, errors, PerLoss(K))["b_h"])
            yield equal(
                f"influence balancing, per_loss {K}: dL/dtheta", "binomial sums", total, found, relative=AGREEMENT
            )


@checks("truncation")
def random_cuts(quick: bool) -> Iterator[Check]:
    """A constant slope c, an error b at every step: the gradient at the first is a random recurrence."""
    b, c, K, T, draws = 1.0, 0.6, 5, 120, 40_000
    cell = Elman(1, 1, 1, "identity")
    trace = forward(cell, silent_weights(cell, [[c]]), np.zeros((T, draws, 1)))
    plan = Random(K, draws=2).draw(T, np.random.default_rng(2), draws)
    z = trace.walk(np.full((T, draws, 1), b), plan).da[0, :, 0]
    moments = theory.random_truncation_moments(b, c, 1.0 - 1.0 / K)
    what = f"random cuts, c = {c}, K = {K}, {draws} draws"
    error = z.std(ddof=1) / np.sqrt(draws)
    yield estimate(f"{what}: mean", "recurrence of moments", moments.mean, z.mean(), error, 0.01 * moments.mean)
    deviation = z.std(ddof=1)
    squares = (z - z.mean()) ** 2
    error = squares.std(ddof=1) / np.sqrt(draws) / (2.0 * deviation)
    allowed = 0.05 * moments.deviation
    yield estimate(f"{what}: s.d.", "recurrence of moments", moments.deviation, deviation, error, allowed)


@checks("truncation")
def one_loss_at_the_end(quick: bool) -> Iterator[Check]:
    """Chunks of K then keep ((T - 1) mod K) + 1 lags, and per_loss of as many is the same gradient."""
    rng, cell = np.random.default_rng(6), Elman(2, 4, 1)
    params = {name: rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    for T, K in ((17, 5), (20, 5), (23, 7)):
        trace = forward(cell, params, rng.standard_normal((T, 3, 2)))
        errors = np.zeros_like(trace.y_hat)
        errors[-1] = 1.0
        kept = (T - 1) % K + 1
        chunked, per_loss = backward(trace, errors, Chunked(K)), backward(trace, errors, PerLoss(kept))
        error = max(disagreement(chunked[name], per_loss[name]) for name in ("W", "V", "b_h"))
        what = f"one loss at T = {T}: chunked {K} against per_loss {kept}"
        yield agree(what, "definition", error, AGREEMENT)
