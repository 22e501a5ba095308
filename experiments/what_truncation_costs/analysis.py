"""What does each way to truncate or estimate the gradient cost in bias, variance and time? See README.md in this
folder.

`claims` checks a study's tables against published statements about the schemes, against closed forms, and against the
same gradients computed again in plain numbers from the definitions of the schemes.

Index legend: T time, B sequence, N hidden unit; l lag.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import comb
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bpttlab import tables
from bpttlab.claims.claims import Row, at_most, identity, mean_of, median_of, near, with_error
from bpttlab.figures.bias_variance import plot_bias_variance
from bpttlab.figures.style import Size
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import run_network

FIGURE = "schemes"
ROUNDING = 1e-9
CELLS = ("elman", "gru", "lstm")
UNITS, PLUS = 23, 10
"""The chain of influence balancing: so many units, theta with a plus in so many, the first, of them."""
SURE = 0.1
"""A sample variance is compared with its formula where its own relative standard error is at most this."""
TALLEC = "Tallec & Ollivier 2017"
UORO = "Tallec & Ollivier 2018a"
AICHER = "Aicher, Foti & Fox 2019"
PLAIN = "definition, in plain numbers"


def claims(study: Any) -> pd.DataFrame:
    """Known results about the schemes, and measurements.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    own = study.truncations[study.truncations["origin"] == "scheme"]
    chain = own[(own["initializer"] == "bidiagonal") & (own["parameter"] == "signed b_h")]
    scalar = own[(own["initializer"] == "identity") & (own["parameter"] == "b_h")]
    drawn = own[own["initializer"] == "gaussian_radius"]
    cells, leaky = drawn[drawn["cell"].isin(CELLS)], drawn[drawn["cell"] == "leaky"]
    return pd.DataFrame(
        [
            *balance(chain),
            *scalar_variance(scalar),
            *computed_again(study),
            *bounds_hold(study),
            *adaptive_keeps_its_promise(cells),
            *unbiased(study.truncations),
            exact(own),
            *of_the_leak(leaky),
            *windows(cells),
        ]
    )


def largest(values: Sequence[float] | np.ndarray) -> float:
    """NaN of nothing, and of anything with a NaN in it: neither holds a claim."""
    return float(np.max(values)) if len(values) else np.nan


# ---------------------------------------------------------------------------------------------------- the chain


def balance(chain: pd.DataFrame) -> list[Row]:
    """dL/dtheta on the chain with A = I/2 + superdiagonal/2, relative to the full one.

    Of K steps it is (sum over lags l < K of 2^-l sum_j C(l, j) s_j) / -6, s_j the sign of theta in unit j+1. SnAp-1
    carries the diagonal I/2 alone: (sum over all lags of 2^-l) / -6.
    """
    rows = chain.assign(relative=relative_derivative(chain))
    per_loss, mean = (rows[rows["scheme"] == name].sort_values("truncation") for name in ("per_loss", "chunked_mean"))
    first = per_loss.loc[per_loss["truncation"] == 1, "relative"].mean()
    length = int(rows["length"].max())
    kept = kept_by_truncation(length, max(length, int(rows["truncation"].max())))
    triangular = np.cumsum(kept) / np.arange(1, len(kept) + 1)
    wrong = per_loss.loc[per_loss["relative"] < 0, "truncation"]
    last = int(max((K for K in per_loss["truncation"] if kept[K - 1] < 0), default=0))
    diagonal = (2.0 - 2.0 ** (1 - length)) / (partial_sums(length)[-1])
    snap = rows.loc[rows["scheme"] == "snap", "relative"]
    rtrl = rows.loc[rows["scheme"] == "rtrl", "relative"]
    return [
        near("full derivative over that of K = 1, which is the loss's slope", UORO, 1.0 / first, -6.0, 1e-4),
        near("largest K at which TBPTT has the wrong sign", UORO, largest(wrong), last, 0.0),
        *closed_forms(per_loss, kept, "TBPTT", "binomial sums"),
        *closed_forms(mean, triangular, "mean chunks", "triangular weights 1 - l/K"),
        near("relative derivative of SnAp-1", "geometric sum of the diagonal", snap.mean(), diagonal, ROUNDING),
        identity(at_most("|relative derivative - 1| of RTRL", WILLIAMS, largest((rtrl - 1.0).abs()), 0.0, ROUNDING)),
        *in_the_mean(rows[rows["scheme"] == "random"], "ARTBP"),
        *in_the_mean(rows[rows["scheme"] == "uoro"], "UORO"),
    ]


WILLIAMS = "Williams & Zipser 1989"
SOURCES = {"ARTBP": TALLEC, "UORO": UORO}
SEEN = {"ARTBP": {20: 0.4, 40: 0.2, 60: 0.15}, "UORO": {None: 1.0}}
"""Of each K, the relative bias along theta that 6,000 draws can see: 4.4 of their standard errors."""


def relative_derivative(chain: pd.DataFrame) -> pd.Series:
    """Each row's derivative over the full one of its seed: that of TBPTT at K >= T. NaN where that was not run.

    The chain is the same for all seeds, the target is not.
    """
    signed = chain["cosine"] * np.exp(chain["log_norm"])
    whole = (chain["scheme"] == "per_loss") & (chain["truncation"] >= chain["length"])
    full = signed[whole.fillna(False).astype(bool)].groupby(chain["seed"]).first()
    return signed / chain["seed"].map(full)


def partial_sums(length: int) -> np.ndarray:
    """sum over l < K of 2^-l sum_j C(l, j) s_j for K = 1..T; it tends to -6.  (T,)"""
    signs = [1 if unit < PLUS else -1 for unit in range(UNITS)]
    terms = [sum(comb(lag, unit) * signs[unit] for unit in range(UNITS)) / 2**lag for lag in range(length)]
    return np.cumsum(terms)


def kept_by_truncation(length: int, most: int) -> np.ndarray:
    """The relative derivative of TBPTT at K = 1..most; from K = T on it is the full one.  (most,)"""
    sums = partial_sums(length) / partial_sums(length)[-1]
    return np.append(sums, np.ones(most - length))


def closed_forms(rows: pd.DataFrame, kept: np.ndarray, label: str, source: str) -> list[Row]:
    """The derivative that a scheme keeps, and its relative bias: what is left out, over the full derivative."""
    expected = kept[rows["truncation"].to_numpy(dtype=int) - 1]
    left = np.abs(1.0 - expected) > ROUNDING  # what is smaller was computed as a difference of the sums above
    bias = np.exp(rows["log_relative_bias"].to_numpy(dtype=float))[left] / np.abs(1.0 - expected[left])
    off = largest(np.abs(rows["relative"].to_numpy() - expected))
    return [
        at_most(f"relative derivative of {label} against its closed form", source, off, 0.0, ROUNDING),
        at_most(f"relative bias of {label} over its closed form, less 1", source, largest(np.abs(bias - 1.0)), 0, 1e-6),
    ]


def in_the_mean(rows: pd.DataFrame, label: str) -> list[Row]:
    """The mean over all draws of the chain, with its standard error; every run of it is the same chain.

    The tolerance is the bias that so many draws can see. Draws of different K share their random numbers.
    """
    found = []
    for K, alike in rows.groupby("truncation", dropna=False):
        draws, variance = alike["draws"].astype(float), np.exp(alike["log_variance"])
        mean = (alike["relative"] * draws).sum(skipna=False) / draws.sum()
        error = np.sqrt((variance * draws).sum(skipna=False)) / draws.sum()
        key = None if pd.isna(K) else int(K)
        text = f"mean relative derivative of {label}" + ("" if key is None else f" at K = {key}")
        seen = SEEN[label].get(key, 0.2)
        found.append(near(text, "unbiased: " + SOURCES[label], with_error(mean, error), 1.0, seen))
    return found or [near(f"mean relative derivative of {label}", SOURCES[label], np.nan, 1.0, 0.0)]


# ---------------------------------------------------------------------------------------------------- one unit


def scalar_variance(scalar: pd.DataFrame) -> list[Row]:
    """z = 1 + xi c z', xi = 1/p with probability p, else 0: E z^2 = (1 + 2 c mean) / (1 - c^2/p)."""
    found = []
    for (c, K), rows in scalar.groupby(["initializer_scale", "truncation"]):
        p, T, draws = 1.0 - 1.0 / int(K), int(rows["length"].max()), float(rows["draws"].sum())
        one, two, three, four = moments(float(c), p, T)
        variance, sampled = two - one**2, np.exp(rows["log_variance"]).mean()
        central = four - 4 * three * one + 6 * two * one**2 - 3 * one**4
        error = float(np.sqrt((central / variance**2 - 1.0) / draws))
        where = f"one unit, c = {c:g}, p = {p:g}"
        source = "second moment of random truncation"
        if p > c**2 and error <= SURE:
            closed = (1.0 + 2.0 * c / (1.0 - c)) / (1.0 - c**2 / p) * (1.0 - c) ** 2 - 1.0
            text = f"relative variance / (formula = {closed:.4g}), {where}"
            found.append(near(text, source, with_error(sampled / closed, error), 1.0, STANDARD_ERRORS * error))
        elif p < c**2 and variance > HEAVY * one**2:
            text = f"log(sampled / exact variance of {T} steps), {where}: p < c^2, and draws miss it"
            found.append(at_most(text, source, np.log(sampled * one**2 / variance), -1.0))
    return found or [at_most("cases with a formula", "second moment of random truncation", np.nan, 0.0)]


STANDARD_ERRORS = 5.0
"""Tolerance of a sample variance, in its standard errors: the interval, 2 of them, stays inside with 99 %."""
HEAVY = 1e3
"""A relative variance so large that it is made of draws that no sample has."""


def moments(c: float, p: float, steps: int) -> tuple[float, float, float, float]:
    """E z, E z^2, E z^3, E z^4 after so many steps from z = 1; E xi^j = p^(1-j)."""
    raw = np.ones(5)
    for _ in range(steps - 1):
        carried = [1.0, *(c**j * p ** (1 - j) * raw[j] for j in range(1, 5))]
        raw = np.array([sum(comb(order, j) * carried[j] for j in range(order + 1)) for order in range(5)])
    return float(raw[1]), float(raw[2]), float(raw[3]), float(raw[4])


# ---------------------------------------------------------------------------------------------------- computed again


class Network(NamedTuple):
    """One run of one-matrix units in plain numbers: h_t = (1 - alpha) h_{t-1} + alpha tanh(a_t), squared errors.

    Attributes:
        W: (N,N). slope: (T,B,N), alpha f'(a_t). h_prev: (T,B,N). error: (T,B,N), dL_t/dh_t. alpha: the leak.
        x: (T,B,I).
    """

    W: np.ndarray
    slope: np.ndarray
    h_prev: np.ndarray
    error: np.ndarray
    alpha: float
    x: np.ndarray

    @property
    def T(self) -> int:
        return len(self.slope)

    def only(self, b: int) -> Network:
        """One sequence of the batch."""
        parts = {name: getattr(self, name)[:, b : b + 1] for name in ("slope", "h_prev", "error", "x")}
        return self._replace(**parts)


def plain_network(configuration: str) -> Network:
    """The network of a run, with its weights and data drawn again; nothing else is taken from the engine."""
    chosen = Configuration.parse(json.loads(configuration))
    trace, batch = run_network(chosen)
    p, x, alpha = trace.params, batch.x, float(getattr(chosen.cell, "alpha", 1.0))
    T, B = x.shape[:2]
    h, slope = np.zeros((T + 1, B, len(p["W"]))), np.zeros((T, B, len(p["W"])))
    for t in range(T):
        f = np.tanh(x[t] @ p["V"].T + h[t] @ p["W"].T + p["b_h"])
        h[t + 1] = (1.0 - alpha) * h[t] + alpha * f
        slope[t] = alpha * (1.0 - f**2)
    y_hat = h[1:] @ p["U"].T + p["b_y"]
    error = 2.0 * (y_hat - batch.target) @ p["U"] / (T * B)
    return Network(p["W"], slope, h[:-1], error, alpha, x)


def cotangents(network: Network) -> list[np.ndarray]:
    """dL_t/dh_{t-l} of every loss, for l = 0..T-1: entry l is (T-l,B,N), of t = l+1..T."""
    found = [network.error]
    for lag in range(1, network.T):
        before = found[-1][1:]
        steps = slice(1, network.T - lag + 1)  # J_{t-l+1}, of the losses that reach back so far
        found.append((1.0 - network.alpha) * before + (network.slope[steps] * before) @ network.W)
    return found


def gradient_of(network: Network, back: list[np.ndarray], keep: np.ndarray) -> np.ndarray:
    """dL/dW = sum over t and l of keep[t-1, l] dL_t/da_{t-l} h_{t-l-1}^T.  keep (T,T) -> (N,N)"""
    da = np.zeros_like(network.slope)
    for lag, dh in enumerate(back):
        da[: network.T - lag] += keep[lag:, lag, None, None] * dh
    return np.einsum("tbn,tbm->nm", da * network.slope, network.h_prev)


def lags_kept(scheme: str, K: int, T: int) -> np.ndarray:
    """The part of lag l that the loss of step t keeps, by the definition of the scheme; [t-1, l].  (T,T)"""
    t, lag = np.arange(1, T + 1)[:, None], np.arange(T)[None, :]
    begin = {
        "per_loss": t - K,
        "windowed": (t - 1) // max(1, K // 2) * max(1, K // 2) - (K - max(1, K // 2)),
        "chunked": (t - 1) // K * K,
    }
    kept = np.clip(1.0 - lag / K, 0.0, None) if scheme == "chunked_mean" else t - np.maximum(begin[scheme], 0) > lag
    return np.where(lag < t, kept, 0.0)


def carried_forward(network: Network, scheme: str) -> np.ndarray:
    """dL/dW where of J_t the diagonal alone is carried (SnAp-1), or the leak alone (RFLO).  (N,N)"""
    influence, total = np.zeros((*network.slope.shape[1:], network.W.shape[1])), np.zeros_like(network.W)
    for slope, h_prev, error in zip(network.slope, network.h_prev, network.error, strict=True):
        diagonal = (1.0 - network.alpha) + (slope * np.diag(network.W) if scheme == "snap" else 0.0 * slope)
        influence = diagonal[:, :, None] * influence + slope[:, :, None] * h_prev[:, None, :]
        total += np.einsum("bn,bnm->nm", error, influence)
    return total


def minibatch_variance(network: Network, back: list[np.ndarray], full: np.ndarray) -> float:
    """log of B/(B-1) times the sum over sequences of |g_b - g/B|^2, over |g|^2."""
    B, whole = network.slope.shape[1], np.ones((network.T, network.T))
    alone = [network.only(b) for b in range(B)]
    parts = [gradient_of(one, [dh[:, b : b + 1] for dh in back], whole) for b, one in enumerate(alone)]
    scatter = sum(np.linalg.norm(part - full / B) ** 2 for part in parts)
    return float(np.log(B / (B - 1.0) * scatter / np.linalg.norm(full) ** 2))


def numbers(kept: np.ndarray, left: np.ndarray, full: np.ndarray) -> list[float]:
    """log |g_K|, cosine and log relative bias."""
    size, whole = np.linalg.norm(kept), np.linalg.norm(full)
    with np.errstate(divide="ignore"):
        bias = np.log(np.linalg.norm(left) / whole)
    return [float(np.log(size)), float((kept * full).sum() / size / whole), float(bias)]


def computed_again(study: Any) -> list[Row]:
    """The first Elman and leaky networks of the study, scheme by scheme, beside what is stored of W."""
    rows = study.truncations
    rows = rows[(rows["parameter"] == "W") & (rows["initializer"] == "gaussian_radius")]
    found = []
    for label, cell in (("Elman", "elman"), ("leaky", "leaky")):
        own = rows[(rows["cell"] == cell) & rows["scheme"].isin(AGAIN)]
        off = departures(study, own[own["network_id"] == first_network(own)])
        text = f"log |g_K|, cosine, log bias, log minibatch variance of W by scheme, first {label} network"
        found.append(at_most(text, PLAIN, largest(off), 0.0, 1e-7))
    return [*found, exact_again(study, rows), decay_again(study)]


AGAIN = ("per_loss", "windowed", "chunked", "chunked_mean", "snap", "rflo")
"""The schemes that are computed again."""


def first_network(rows: pd.DataFrame) -> Any:
    """Of the longest sequence, the smallest seed."""
    rows = rows[rows["length"] == rows["length"].max()] if len(rows) else rows
    ordered = rows.sort_values(["seed", "network_id"])
    return ordered["network_id"].iloc[0] if len(ordered) else None


def departures(study: Any, own: pd.DataFrame) -> np.ndarray:
    """How far the stored numbers of one network are from those computed again."""
    if own.empty:
        return np.zeros(0)
    runs = study.runs.set_index("run_id")["configuration"]
    network = plain_network(runs[own["run_id"].iloc[0]])
    back, off = cotangents(network), []
    full = gradient_of(network, back, np.ones((network.T, network.T)))
    scatter = own["log_minibatch_variance"].dropna().to_numpy(dtype=float)
    off.append(largest(np.abs(scatter - minibatch_variance(network, back, full))))
    for (scheme, K), alike in own.groupby(["scheme", "truncation"], dropna=False):
        if pd.isna(K):
            kept = carried_forward(network, str(scheme))
            left = full - kept
        else:
            weights = lags_kept(str(scheme), int(K), network.T)
            kept, left = (gradient_of(network, back, part) for part in (weights, 1.0 - weights))
        stored = alike[["log_norm", "cosine", "log_relative_bias"]].to_numpy(dtype=float)
        expected = numbers(kept, left, full)
        off.append(largest(apart(stored, np.broadcast_to(expected, stored.shape)).ravel()))
    return np.array(off)


def exact_again(study: Any, rows: pd.DataFrame) -> Row:
    """RTRL of the first Elman network, beside the sum over all pairs of steps in plain numbers."""
    text = "log |g| and cosine of RTRL, gradient of W, first Elman network"
    own = rows[(rows["cell"] == "elman") & (rows["scheme"] == "rtrl")]
    own, off = own[own["network_id"] == first_network(own)], np.zeros(0)
    if not own.empty:
        network = plain_network(study.runs.set_index("run_id")["configuration"][own["run_id"].iloc[0]])
        full = gradient_of(network, cotangents(network), np.ones((network.T, network.T)))
        off = apart(own[["log_norm", "cosine"]].to_numpy(dtype=float), np.array([np.log(np.linalg.norm(full)), 1.0]))
    return at_most(text, PLAIN, largest(off.ravel()), 0.0, 1e-7)


def decay_again(study: Any) -> Row:
    """The bound and the estimate of the first Elman network, from phi_l and M in plain numbers.

    The immediate derivative of h_t by W has the spectral norm max_n |f'(a_n)| |h_{t-1}|.
    """
    text, source = "log bound, log estimate of the bias of W, K of adaptive truncation, first Elman network", PLAIN
    bounds = study.bias_bounds
    bounds = bounds[(bounds["cell"] == "elman") & (bounds["parameter"] == "W")]
    if bounds.empty:
        return at_most(text, source, np.nan, 0.0)
    own = bounds[bounds["network_id"] == bounds.sort_values(["seed", "network_id"])["network_id"].iloc[0]]
    runs = study.runs.set_index("run_id")
    network = plain_network(runs["configuration"][own["run_id"].iloc[0]])
    back, off = cotangents(network), []
    for run_id, rows in own.groupby("run_id"):
        longest = int(rows["run_truncation"].iloc[0])
        chosen = study.truncations[(study.truncations["run_id"] == run_id) & (study.truncations["origin"] == "scheme")]
        bound = errors_over_gradients(network, back, network.T)
        estimate = errors_over_gradients(network, back, longest)
        at = rows["truncation"].to_numpy(dtype=int) - 1
        seen = at < longest
        off.append(apart(rows["log_bias_bound"].to_numpy(dtype=float), bound["W"][at]))
        off.append(apart(rows["log_bias_estimate"].to_numpy(dtype=float)[seen], estimate["W"][at[seen]]))
        delta = np.log(float(rows["scheme_delta"].iloc[0]))
        enough = np.all([values <= delta for values in estimate.values()], axis=0)
        K = int(np.argmax(enough)) + 1 if enough.any() else longest
        off.append(np.abs(chosen["truncation"].to_numpy(dtype=float) - K))
    return at_most(text, source, largest(np.concatenate(off)), 0.0, 1e-7)


def errors_over_gradients(network: Network, back: list[np.ndarray], lags: int) -> dict[str, np.ndarray]:
    """log(E_K / (|g_K| - E_K)) by parameter, K = 1..lags, from phi_l at so many lags: all, or those before a geometric
    tail; NaN where the denominator is not positive.  (lags,)"""
    phi = np.array([np.linalg.norm(dh, axis=-1).sum() for dh in back[:lags]])
    tail = np.append(np.cumsum(phi[:0:-1])[::-1], 0.0)
    if lags < network.T:
        late = np.arange(lags)[lags // 2 :]
        ratio = np.exp(np.polyfit(late, np.log(phi[late]), 1)[0])
        tail = tail + (phi[-1] * ratio / (1.0 - ratio) if ratio < 1.0 else np.inf)
    steepest = np.abs(network.slope).max(axis=-1)
    inputs = {"W": network.h_prev, "V": network.x, "b_h": np.ones((*steepest.shape, 1))}
    found = {}
    for name, z in inputs.items():
        E = (steepest * np.linalg.norm(z, axis=-1)).max() * tail
        norms = truncated_norms(network, back, z, lags)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[name] = np.where(norms > E, np.log(E / (norms - E)), np.nan)
    return found


def truncated_norms(network: Network, back: list[np.ndarray], z: np.ndarray, lags: int) -> np.ndarray:
    """|g_K| of TBPTT, K = 1..lags, of the parameter whose immediate derivative is da z^T.  (lags,)"""
    total, found = 0.0, []
    for lag, dh in enumerate(back[:lags]):
        steps = network.T - lag
        total = total + np.einsum("tbn,tbm->nm", dh * network.slope[:steps], z[:steps])
        found.append(np.linalg.norm(total))
    return np.array(found)


def apart(stored: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Differences of entries; 0 where both are missing or equal, infinite where one alone is missing."""
    same = (stored == expected) | (np.isnan(stored) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.nan_to_num(np.abs(stored - expected), nan=np.inf, posinf=np.inf))


# ---------------------------------------------------------------------------------------------------- bounds


def bounds_hold(study: Any) -> list[Row]:
    """Network by network: the largest log(exact bias / bound), and / estimate, where these say something."""
    exact = study.truncations[study.truncations["origin"] == "wavefront"]
    exact = exact.drop_duplicates(["network_id", "parameter", "truncation"])
    keys = ["network_id", "parameter", "truncation"]
    bounds = study.bias_bounds.drop_duplicates(keys)
    both = bounds.merge(exact[[*keys, "log_relative_bias"]], on=keys)
    found = []
    for cell in CELLS:
        rows = both[(both["cell"] == cell) & np.isfinite(both["log_relative_bias"])]
        above = (rows["log_relative_bias"] - rows["log_bias_bound"]).dropna()
        text = f"largest log(exact bias / bound), {cell}"
        found.append(identity(at_most(text, f"{AICHER}, bound", largest(above), 0.0, ROUNDING)))
        rows = rows[np.isfinite(rows["log_bias_estimate"])]
        over = (rows["log_relative_bias"] - rows["log_bias_estimate"]).groupby(rows["network_id"]).max()
        text = f"median over networks of the largest log(exact bias / estimate), {cell}"
        found.append(at_most(text, f"{AICHER}, geometric tail", median_of(over), 0.0))
    return found


def adaptive_keeps_its_promise(cells: pd.DataFrame) -> list[Row]:
    """Where a K was found, and not merely the longest tried: the bias against what was tolerated."""
    rows = cells[(cells["scheme"] == "adaptive") & ~cells["parameter"].str.contains(" ", regex=False)]
    rows = rows[rows["truncation"] < rows["run_truncation"].astype(float)]
    excess = rows["log_relative_bias"] - np.log(rows["scheme_delta"])
    text = "median over networks of the largest log(bias / delta) of adaptive truncation, "
    found = {cell: excess[rows["cell"] == cell].groupby(rows["network_id"]).max() for cell in CELLS}
    return [at_most(text + cell, AICHER, median_of(own), 0.0) for cell, own in found.items()]


# ---------------------------------------------------------------------------------------------------- estimators


def unbiased(truncations: pd.DataFrame) -> list[Row]:
    """Of W: the mean of the draws along g, which is 1 over |g|, and the square of what it is off in any direction.

    |mean - g|^2 less its own expectation, variance / draws, is the squared bias in the mean over networks.
    """
    rows = truncations[(truncations["parameter"] == "W") & (truncations["initializer"] == "gaussian_radius")]
    full = full_norms(rows)
    rows = rows[(rows["origin"] == "scheme") & (rows["draws"].fillna(0) >= MANY)]
    rows = rows.assign(along=rows["cosine"] * np.exp(rows["log_norm"] - rows["network_id"].map(full).astype(float)))
    noise = np.exp(rows["log_variance"]) / rows["draws"].astype(float)
    rows = rows.assign(squared=np.exp(2.0 * rows["log_relative_bias"]) - noise)
    found = []
    for name, label, seen in (("random", "ARTBP", 0.2), ("uoro", "UORO", 0.3)):
        for cell in CELLS:
            own = rows[(rows["scheme"] == name) & (rows["cell"] == cell)]
            source = "unbiased: " + SOURCES[label]
            text = f"mean of {label} along g, over |g|, {cell}"
            found.append(near(text, source, mean_of(own["along"]), 1.0, 0.15))
            text = f"squared relative bias of {label}, {cell}"
            found.append(at_most(text, source, mean_of(own["squared"]), seen**2))
    return found


MANY = 100
"""Draws of a run that takes part in the claims of unbiasedness."""


def full_norms(rows: pd.DataFrame) -> pd.Series:
    """log |g| of each network: of the longest truncation of the wavefront, which leaves out one lag at most."""
    rows = rows[(rows["origin"] == "wavefront") & (rows["truncation"] >= rows["length"] - 1)]
    return rows.sort_values("truncation").groupby("network_id")["log_norm"].last()


def exact(own: pd.DataFrame) -> Row:
    rows = own[own["scheme"] == "rtrl"]
    bias = np.exp(rows["log_relative_bias"].dropna().to_numpy())
    return identity(at_most("largest relative bias of RTRL, everywhere", WILLIAMS, largest(bias), 0.0, ROUNDING))


def of_the_leak(leaky: pd.DataFrame) -> list[Row]:
    """RFLO carries (1 - alpha) I: nothing at alpha = 1. SnAp-1 carries the diagonal of J_t, of which that is a part."""
    rows = leaky[~leaky["parameter"].str.contains(" ", regex=False)]
    keys = ["seed", "parameter", "cell_alpha"]
    rflo, snap = (rows[rows["scheme"] == name].set_index(keys) for name in ("rflo", "snap"))
    one = rows[(rows["scheme"] == "per_loss") & (rows["truncation"] == 1)].set_index(keys)
    at_one = rflo.index[rflo.index.get_level_values("cell_alpha") == 1.0]
    same = (rflo.loc[at_one, "log_norm"] - one.loc[at_one, "log_norm"]).abs().to_numpy()
    slowest = rows["cell_alpha"].min()
    text = "log norm of RFLO at alpha = 1 against TBPTT at K = 1"
    found = [at_most(text, "Murray 2019", largest(same), 0.0, ROUNDING)]
    for label, source, part in (("RFLO", "Murray 2019", rflo), ("SnAp-1", "Menick et al. 2021", snap)):
        gain = (part["log_relative_bias"] - one["log_relative_bias"]).xs(
            ("W", slowest), level=("parameter", "cell_alpha")
        )
        text = f"median log bias of {label} over that of TBPTT at K = 1, alpha = {slowest:g}"
        found.append(at_most(text, source, median_of(gain), GAIN))
    return found


GAIN = -0.02
"""What a scheme that carries nothing would not reach: its log bias is that of K = 1."""


def windows(cells: pd.DataFrame) -> list[Row]:
    """Network by network: windows against chunks of the same K, in the mean over K, and against TBPTT at equal cost."""
    rows = cells[cells["parameter"] == "W"]
    found = []
    for cell in CELLS:
        own = rows[rows["cell"] == cell]
        own = own[own["seed"].isin(own.loc[own["scheme"] == "windowed", "seed"])]
        keys = ["seed", "truncation"]
        bias = {name: part.set_index(keys)["log_relative_bias"] for name, part in own.groupby("scheme")}
        chunks = (bias["windowed"] - bias["chunked"]).groupby(level="seed").mean()
        text = f"median over networks of the mean log bias of windows over that of chunks of the same K, {cell}"
        found.append(at_most(text, "definition: they keep more lags", median_of(chunks), 0.0))
        apart = [at_equal_cost(part) for _, part in own.groupby("seed")]
        text = f"median log bias of the longest windows over that of TBPTT for as many steps, {cell}"
        found.append(at_most(text, "Williams & Peng 1990", median_of(apart), 0.0))
    return found


def at_equal_cost(rows: pd.DataFrame) -> float:
    """Of one network: log bias of the longest windows less the least one of TBPTT for at most as many steps."""
    best = rows[rows["scheme"] == "windowed"].sort_values("truncation").iloc[-1]
    cheap = rows[(rows["scheme"] == "per_loss") & (rows["steps_computed"] <= RATHER * best["steps_computed"])]
    return float(best["log_relative_bias"] - cheap["log_relative_bias"].min())


RATHER = 1.25
"""Steps count as equal up to this factor."""


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """`bias_variance` of the networks on which all schemes are compared, without the small ones of `unbiased`."""
    parts = (study.truncations, study.runs)
    large = [part[part["cell_hidden_size"] == part["cell_hidden_size"].mode()[0]] for part in parts]
    return {FIGURE: plot_bias_variance(tables.costs(*large, study.provenance), size=size)}
