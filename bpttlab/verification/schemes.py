"""Every truncation scheme and estimator, compared with the terms of its definition; expectations by enumeration.

A term (t,k) is the derivative of the loss of step t by the parameters in step k (`path_derivatives`). The random
schemes have finitely many outcomes on a short sequence. Their mean is a sum over all of them, without scatter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from bpttlab import plugins
from bpttlab.gradients.adaptive_truncation import adaptive_truncation, bound_biases
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward_mode.rflo import rflo
from bpttlab.gradients.forward_mode.snap import snap
from bpttlab.gradients.forward_mode.uoro import uoro, uoro_variance
from bpttlab.gradients.plan import Plan
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.networks.cells import GRU, LSTM, Elman, Leaky
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.truncation.adaptive import Adaptive
from bpttlab.truncation.averaged import ChunkedMean, Random
from bpttlab.truncation.clipped import Clipped
from bpttlab.truncation.forward import RTRL
from bpttlab.truncation.scheme import Segmented
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.cells import SOURCE, plan_weight
from bpttlab.verification.check import Check, agree, checks, equal
from bpttlab.verification.examples import B, Example, T, example, rows_of
from bpttlab.verification.gradient_check import (
    COMPLEX_STEP_AGREEMENT,
    disagreement,
    largest,
    terms_that_scheme_keeps,
    worst,
)

TOLERANCE = COMPLEX_STEP_AGREEMENT

_SEGMENTED: dict[str, list[Segmented]] = {
    "full": [Full()],
    "per_loss": [PerLoss(1), PerLoss(3), PerLoss(T + 2)],
    "windowed": [Windowed(2, 3), Windowed(3, 5), Windowed(2, 2), Windowed(4, T + 1)],
    "chunked": [Chunked(3), Chunked(3, 1), Chunked(3, 2), Chunked(T + 4, 5)],
}


def growing_network(cell: Cell) -> Example:
    """A network in which early steps count most: the norm of the full gradient differs much from that of a truncated
    one.
    """
    return example(cell, gain=1.3)


CELLS = (Elman(2, 4, 5, "identity"), LSTM(2, 4, 5))


def weight_of(keeps: Callable[[int, int], float], length: int = T) -> Array:
    """(T,T) from a function of t and k, for k <= t."""
    steps = range(1, length + 1)
    return np.array([[float(keeps(t, k)) if k <= t else 0.0 for k in steps] for t in steps])


# ------------------------------------------------------------------------------------------ tables of a gradient


def array_norm(gradient: Array) -> float:
    return float(np.linalg.norm(gradient))


def table_error(
    frame: pd.DataFrame, mean: Params, full: Params, members: Sequence[Params] = (), scale: Any = None
) -> float:
    """The differences between the columns of `truncation_bias` and their definitions, over all parameters.

    Args:
        mean, full: the gradient of the scheme and the full one.
        members: the gradients whose mean is the first; the scale divides their summed squares.
    """
    errors = []
    for row in rows_of(frame):
        kept, whole = mean[row.parameter], full[row.parameter]
        cosine = float((kept * whole).sum()) / (array_norm(kept) * array_norm(whole))
        missing = array_norm(whole - kept) / array_norm(whole)
        errors += [np.exp(row.log_norm) / array_norm(kept) - 1.0, row.cosine - cosine]
        errors += [np.exp(row.log_relative_bias) - missing if missing > 1e-9 else np.exp(row.log_relative_bias)]
        if len(members):
            squares = sum(array_norm(one[row.parameter] - kept) ** 2 for one in members) / scale
            errors += [np.exp(row.log_variance) / (squares / array_norm(whole) ** 2) - 1.0]
    return largest(np.abs(errors))


@checks("gradients")
def segmented_schemes(quick: bool) -> Iterator[Check]:
    """Gradients, and the columns of `truncation_bias`, compared with the full gradient."""
    for cell in CELLS:
        one = growing_network(cell)
        for name, schemes in _SEGMENTED.items():
            found = []
            for scheme in schemes:
                kept = one.weigh_terms(weight_of(terms_that_scheme_keeps(scheme)))
                found += [worst(backward(one.trace, one.loss, scheme), kept)]
                found += [table_error(truncation_bias(one.trace, one.loss, scheme), kept, one.full)]
            yield agree(f"{name}, {cell.name}: gradient, norm, cosine, bias", SOURCE, largest(found), 1e-10)


@checks("gradients")
def norms_apart(quick: bool) -> Iterator[Check]:
    """In these networks a bias relative to |g| differs from one relative to |g_K|."""
    one = growing_network(CELLS[0])
    kept = one.weigh_terms(weight_of(terms_that_scheme_keeps(PerLoss(3))))
    quotient = array_norm(one.full["W"]) / array_norm(kept["W"])
    yield agree("per_loss 3 of a growing network: |g_K| / |g| is far below 1", "construction", 1.0 / quotient, 0.7)


@checks("gradients")
def clipped_cotangents(quick: bool) -> Iterator[Check]:
    """Gradient, norm, cosine and bias, compared with a loop over explicit Jacobians."""
    for cell in CELLS:
        one = growing_network(cell)
        for scheme in (Clipped(0.3), Clipped(0.3, "norm"), Clipped(1e9)):
            kept = clip_literally(one, scheme)
            found = [worst(scheme.one_gradient(one.trace, one.loss, np.random.default_rng(0)), kept)]
            found += [table_error(truncation_bias(one.trace, one.loss, scheme), kept, one.full)]
            title = f"clipped {scheme.threshold:g} by {scheme.by}, {cell.name}: gradient, norm, cosine, bias"
            yield agree(title, "definition", largest(found), 1e-10)


def clip_literally(one: Example, scheme: Clipped) -> Params:
    """The gradient whose dL/dh_t is clipped before it goes on, in plain numbers, one step after the other."""
    trace, cell, c = one.trace, one.trace.cell, scheme.threshold
    total = {name: np.zeros_like(trace.params[name]) for name in cell.recurrent_parameters}
    dh = np.zeros_like(one.error[0])
    for t in range(trace.length, 0, -1):
        dh = dh + one.error[t - 1]
        size = np.abs(dh) if scheme.by == "value" else np.sqrt((dh**2).sum(axis=1, keepdims=True))
        dh = dh * c / np.maximum(size, c)
        da, _ = cell.vjp(trace.params, trace.linearization[t - 1], dh)
        term = cell.parameter_vjp(trace.local.at(slice(t - 1, t)), da[None])
        total = {name: total[name] + term[name] for name in total}
        dh = np.einsum("bn,bnm->bm", dh, trace.jacobian(t))
    return total


@checks("gradients")
def every_scheme_has_a_definition(quick: bool) -> Iterator[Check]:
    """A scheme that is added to the package must be added here."""
    named = (scheme.name for scheme in (ChunkedMean, Random, Adaptive, RTRL, Clipped))
    known = {*_SEGMENTED, *named, "uoro", "snap", "rflo"}
    missing = sorted(set(plugins.find_shipped("scheme")) - known)
    yield equal(f"schemes without a check here: {', '.join(missing) or 'none'}", "definition", 0, len(missing))


@checks("gradients")
def steps_of_a_plan(quick: bool) -> Iterator[Check]:
    for K in (1, 3, T, T + 2):
        expected = sum(min(t, K) for t in range(1, T + 1)) if K < T else T
        yield equal(f"per_loss {K}, T = {T}: steps computed", "definition", expected, PerLoss(K).steps_computed(T))


@checks("gradients")
def averaged_chunks(quick: bool) -> Iterator[Check]:
    """The mean keeps 1 - l/K of the lag l; its scatter is that over the K possible offsets."""
    for cell in CELLS:
        one = growing_network(cell)
        for K in (2, 3, T + 3):
            mean = one.weigh_terms(weight_of(lambda t, k, K=K: max(0.0, 1.0 - (t - k) / K)))  # type: ignore[misc]
            members = [one.weigh_terms(weight_of(terms_that_scheme_keeps(Chunked(K, offset)))) for offset in range(K)]
            error = table_error(truncation_bias(one.trace, one.loss, ChunkedMean(K)), mean, one.full, members, K)
            yield agree(f"chunked_mean {K}, {cell.name}: norm, cosine, bias, variance", SOURCE, error, 1e-9)


@checks("gradients")
def variance_over_sequences(quick: bool) -> Iterator[Check]:
    """B / (B - 1) sum_b |g_b - g/B|^2 / |g|^2, g_b the part of each sequence."""
    for cell in CELLS:
        one, errors = growing_network(cell), []
        for row in rows_of(truncation_bias(one.trace, one.loss, Full())):
            parts = one.paths.of_sequences(one.error, np.ones((T, T)), row.parameter)
            squares = B / (B - 1) * ((parts - parts.mean(axis=0)) ** 2).sum() / (parts.sum(axis=0) ** 2).sum()
            errors.append(abs(np.exp(row.log_minibatch_variance) / squares - 1.0))
        yield agree(f"variance over minibatches, {cell.name}", "definition", largest(errors), 1e-10)


# ------------------------------------------------------------------------------------------ random cuts

SHORT = np.array([0.5, 1.0, 0.0, 1.0, 1.0])


class Script(np.random.Generator):
    """A random generator whose outcomes are given, one call after the other."""

    def __init__(self, outcomes: Iterable[Any]) -> None:
        super().__init__(np.random.PCG64(0))
        self.outcomes = iter(outcomes)

    def random(self, shape: tuple[int, ...]) -> Array:  # type: ignore[override]
        """0 for a cut, nearly 1 for none."""
        return np.full(shape, 0.0 if next(self.outcomes) else 1.0 - 1e-15)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Array:  # type: ignore[override]
        return np.array(next(self.outcomes)).reshape(shape)


def outcome(scheme: Random, cuts: Sequence[bool]) -> tuple[float, Array]:
    """Probability of these cuts after steps 1, 2, ..., and the carries, by the definition of ARTBP.  -> (T,)"""
    probability, since, carry = 1.0, 1, []
    for cut in cuts:
        K, alpha = scheme.truncation, scheme.alpha
        c = 1.0 / K if scheme.cuts == "constant" else (alpha - 1.0) / ((alpha - 2.0) * K + since)
        probability *= c if cut else 1.0 - c
        carry.append(0.0 if cut else 1.0 / (1.0 - c))
        since = 1 if cut else since + 1
    return probability, np.array([*carry, 1.0])


@checks("gradients")
def random_cuts_one_by_one(quick: bool) -> Iterator[Check]:
    """All ways to cut a sequence of five steps: each gradient, and their mean, which is the full one."""
    one, length = example(CELLS[0], mask=SHORT, gain=0.9), len(SHORT)
    for scheme in (Random(3), Random(3, "published", alpha=3.5), Random(2, "published")):
        errors, mean, total = [], {name: np.zeros_like(value) for name, value in one.full.items()}, 0.0
        for cuts in product((False, True), repeat=length - 1):
            probability, carry = outcome(scheme, cuts)
            found = backward(one.trace, one.loss, scheme.draw(length, Script(cuts)))
            plan = Plan(np.array([[0, length, 0]]), carry)
            errors.append(worst(found, one.weigh_terms(plan_weight(plan, length))))
            mean = {name: value + probability * found[name] for name, value in mean.items()}
            total += probability
        what = f"random {scheme.truncation}, {scheme.cuts}, alpha = {scheme.alpha:g}"
        yield agree(f"{what}: gradient of each of 16 ways to cut", SOURCE, largest(errors), TOLERANCE)
        yield agree(f"{what}: mean over all of them", "Tallec & Ollivier 2017", worst(mean, one.full), TOLERANCE)


@checks("gradients")
def drawn_cuts(quick: bool) -> Iterator[Check]:
    """The table of an ensemble of draws: mean, bias, and the scatter with one degree of freedom less."""
    for scheme in (Random(3, draws=6), Random(3, "published", per="batch", draws=5)):
        one = growing_network(CELLS[0])
        carries = scheme.ensemble(T, B, np.random.default_rng(8)).carry
        members = [one.weigh_terms(plan_weight(Plan(np.array([[0, T, 0]]), carry))) for carry in carries]
        mean = {name: np.mean([member[name] for member in members], axis=0) for name in members[0]}
        frame = truncation_bias(one.trace, one.loss, scheme, rng=np.random.default_rng(8))
        error = table_error(frame, mean, one.full, members, len(members) - 1)
        yield agree(
            f"random, per {scheme.per}, {scheme.draws} draws: norm, cosine, bias, variance", SOURCE, error, 1e-9
        )


# ------------------------------------------------------------------------------------------ the adaptive length


@checks("gradients")
def adaptive_lengths(quick: bool) -> Iterator[Check]:
    """Bound, estimate and chosen K of a contracting network, from phi, M and |g_K| as they are defined."""
    one = example(Elman(2, 4, 5), mask=np.ones(12), gain=0.25)
    expected = {longest: bias_by_definition(one, longest) for longest in (None, 6)}
    frame = bound_biases(one.trace, one.loss, 6)
    errors = {"log_bias_bound": [], "log_bias_estimate": []}  # type: dict[str, list[float]]
    for name, rows in frame.groupby("parameter"):
        for column, longest in (("log_bias_bound", None), ("log_bias_estimate", 6)):
            known = expected[longest][str(name)]
            found = np.exp(rows[column].to_numpy()[: len(known)])
            errors[column].append(disagreement(np.nan_to_num(found, nan=-1.0), np.nan_to_num(known, nan=-1.0)))
    for column, found in errors.items():
        yield agree(f"adaptive: {column} at every K", "Aicher, Foti & Fox 2019, by definition", largest(found), 1e-9)
    for delta in (0.02, 0.2, 1.0):
        known = np.array(list(expected[6].values()))
        enough = np.flatnonzero((known <= delta).all(axis=0))
        K = int(enough[0]) + 1 if len(enough) else known.shape[1]
        found_K = adaptive_truncation(one.trace, one.loss, delta, 6)
        yield equal(f"adaptive, delta = {delta}: K", "the smallest with that bias", K, found_K)


def bias_by_definition(one: Example, longest: int | None) -> dict[str, Array]:
    """E_K / (|g_K| - E_K) for K = 1..R+1, NaN where it is not positive, by parameter.  (R+1,)"""
    paths, length = one.paths, one.paths.length
    R = length - 1 if longest is None else longest
    phi = np.zeros(R + 1)
    for lag in range(R + 1):
        for t in range(lag + 1, length + 1):
            back = (
                paths.jacobian(t, t - lag)
                if lag
                else np.broadcast_to(np.eye(one.error.shape[-1]), (B, *[one.error.shape[-1]] * 2))
            )
            phi[lag] += np.linalg.norm(np.einsum("bn,bnm->bm", one.error[t - 1], back), axis=-1).sum()
    beyond = 0.0
    if longest is not None:
        late = np.arange((R + 1) // 2, R + 1)
        ratio = np.exp(np.polyfit(late, np.log(phi[late]), 1)[0])
        beyond = phi[-1] * ratio / (1.0 - ratio)
    found = {}
    for name in one.trace.cell.recurrent_parameters:
        M = np.linalg.norm(paths.immediate[..., paths.parts[name]], 2, axis=(-2, -1)).max()
        error = np.array([M * (phi[K:].sum() + beyond) for K in range(1, R + 2)])
        kept = [
            array_norm(one.weigh_terms(weight_of(terms_that_scheme_keeps(PerLoss(K)), length))[name])
            for K in range(1, R + 2)
        ]
        found[name] = np.where(np.array(kept) > error, error / (np.array(kept) - error), np.nan)
    return found


# ------------------------------------------------------------------------------------------ carried forwards


@checks("gradients")
def all_signs_of_uoro(quick: bool) -> Iterator[Check]:
    """The mean over all signs is the full gradient, exactly; and the variance of some draws is their scatter."""
    for cell in (Elman(2, 2, 3), GRU(1, 2, 3)):
        one = example(cell, mask=np.array([0.5, 0.0, 1.0]), batch=1)
        names, signs = cell.recurrent_parameters, product((0, 1), repeat=2)
        outcomes = list(product(list(signs), repeat=3))
        drawn = [uoro(one.trace, one.loss, Script(some)) for some in outcomes]
        error = worst(
            {name: np.mean([g[name] for g in drawn], axis=0) for name in names}, {n: one.full[n] for n in names}
        )
        yield agree(f"UORO, {cell.name}: mean over all {len(outcomes)} signs", "Tallec & Ollivier 2018a", error, 1e-9)
        rng, found = np.random.default_rng(9), uoro_variance(one.trace, one.loss, np.random.default_rng(9), draws=7)
        some = [uoro(one.trace, one.loss, rng) for _ in range(7)]
        errors = []
        for name in names:
            centre = np.mean([gradient[name] for gradient in some], axis=0)
            squares = (
                sum(array_norm(gradient[name] - centre) ** 2 for gradient in some) / 6 / array_norm(one.full[name]) ** 2
            )
            errors.append(abs(found[name] / squares - 1.0))
        yield agree(f"UORO, {cell.name}: variance of 7 draws", "definition", largest(errors), 1e-10)


@checks("gradients")
def kept_patterns_of_snap(quick: bool) -> Iterator[Check]:
    """M_t = pattern . (J_t M_{t-1} + d+h_t/dtheta) by explicit matrices; the pattern is what is reached in n steps."""
    for cell in (Elman(2, 4, 5), LSTM(2, 4, 5), GRU(2, 4, 5)):
        one = example(cell)
        for n in (1, 2):
            error = worst(snap(one.trace, one.loss, n), masked_influence(one, n))
            yield agree(f"SnAp-{n}, {cell.name}", "Menick et al. 2021, by definition", error, TOLERANCE)


def masked_influence(one: Example, n: int) -> Params:
    paths, cell = one.paths, one.trace.cell
    same = (cell.units[:, None] == cell.units).astype(float)
    links = same @ (np.abs(paths.immediate[..., paths.parts["h"]]).max(axis=(0, 1)) > 0) @ same + same
    found = {}
    for name in cell.recurrent_parameters:
        immediate = paths.immediate[..., paths.parts[name]]
        pattern = same @ (np.abs(immediate).max(axis=(0, 1)) > 0)
        for _ in range(n - 1):
            pattern = pattern + links @ pattern
        M, total = np.zeros(immediate.shape[1:]), 0.0
        for t in range(1, paths.length + 1):
            M = (pattern > 0) * (paths.jacobian(t) @ M + immediate[t - 1])
            total = total + np.einsum("bn,bne->e", one.error[t - 1], M)
        found[name] = np.reshape(total, paths.params[name].shape)
    return found


@checks("gradients")
def leak_of_rflo(quick: bool) -> Iterator[Check]:
    """sum over t and k of (1 - alpha)^(t-k) e_t d+h_k/dtheta."""
    for alpha in (0.3, 1.0):
        one = example(Leaky(2, 4, 5, alpha=alpha))
        paths, expected = one.paths, {}
        leak = weight_of(lambda t, k, a=alpha: (1.0 - a) ** (t - k))  # type: ignore[misc]
        for name in paths.cell.recurrent_parameters:
            immediate = paths.immediate[..., paths.parts[name]]
            gradient = np.einsum("tk,tbn,kbne->e", leak, one.error, immediate)
            expected[name] = gradient.reshape(paths.params[name].shape)
        error = worst(rflo(one.trace, one.loss), expected)
        yield agree(f"RFLO, alpha = {alpha:g}", "Murray 2019, by definition", error, TOLERANCE)
