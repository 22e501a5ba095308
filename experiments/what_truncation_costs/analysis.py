"""What does each way to cut the gradient, or to estimate it, cost in bias, variance and time? See README.md beside this
file.

`claims` holds a study's tables against what is published of the schemes, or follows from their definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from bpttlab import tables
from bpttlab.claims import at_most, near

FIGURE = "bias_variance"
ROUNDING = 1e-9
STANDARD_ERRORS = 4.0
CELLS = ("elman", "gru", "lstm")
UNITS, PLUS = 23, 10
"""The chain of influence balancing: so many units, theta with a plus in so many, the first, of them."""
SURE = 0.1
"""A sample variance is held against its formula where its own relative standard error is at most this."""
TALLEC = "Tallec & Ollivier 2017"
UORO = "Tallec & Ollivier 2018a"
AICHER = "Aicher, Foti & Fox 2019"


def claims(study: Any) -> pd.DataFrame:
    """What is known of the schemes, and what was measured.

    Returns:
        Columns claim, source, expected, measured, low, high, tolerance, verdict, held.
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
            *bounds_hold(tables.bias_bounds(study.bias_bounds, study.truncations, study.runs)),
            adaptive_keeps_its_promise(cells),
            *unbiased(cells),
            exact(own),
            *of_the_leak(leaky),
            *windows(cells),
        ]
    )


def largest(values: Sequence[float] | np.ndarray) -> float:
    """NaN of nothing, and of anything with a NaN in it: neither holds a claim."""
    return float(np.max(values)) if len(values) else np.nan


# ---------------------------------------------------------------------------------------------------- the chain


def balance(chain: pd.DataFrame) -> list[dict[str, Any]]:
    """dL/dtheta on the chain with A = I/2 + superdiagonal/2, relative to the full one.

    Of K steps it is (sum over lags l < K of 2^-l sum_j C(l, j) s_j) / -6, s_j the sign of theta in unit j+1.
    """
    rows = chain.assign(relative=relative_derivative(chain))
    per_loss, mean = (rows[rows["scheme"] == name].sort_values("truncation") for name in ("per_loss", "chunked_mean"))
    first = per_loss.loc[per_loss["truncation"] == 1, "relative"].mean()
    expected = partial_sums(int(rows["length"].max()))
    kept, triangular = expected / expected[-1], np.cumsum(expected) / np.arange(1, len(expected) + 1) / expected[-1]
    wrong = per_loss.loc[per_loss["relative"] < 0, "truncation"]
    last = int(max((K for K in per_loss["truncation"] if kept[K - 1] < 0), default=0))
    return [
        near("full derivative over that of K = 1, which is the loss's slope", UORO, 1.0 / first, -6.0, 1e-4),
        near("largest K at which TBPTT has the wrong sign", UORO, wrong.max(), last, 0.0),
        at_most(
            "relative derivative of TBPTT against its closed form",
            "binomial sums",
            departure(per_loss, kept),
            0.0,
            ROUNDING,
        ),
        at_most(
            "relative derivative of mean chunks against the mean of TBPTT at 1, ..., K",
            "triangular weights 1 - l/K",
            departure(mean, triangular),
            0.0,
            ROUNDING,
        ),
        at_most(
            "|relative derivative - 1| of RTRL",
            "Williams & Zipser 1989",
            largest((rows.loc[rows["scheme"] == "rtrl", "relative"] - 1.0).abs().to_numpy()),
            0.0,
            ROUNDING,
        ),
        *(in_the_mean(rows[rows["scheme"] == name], label) for name, label in DRAWN.items()),
        *(away_from(rows[rows["scheme"] == name], label, kept.min()) for name, label in DRAWN.items()),
    ]


DRAWN = {"random": "ARTBP", "uoro": "UORO"}


def relative_derivative(chain: pd.DataFrame) -> pd.Series:
    """Each row's derivative over the full one of its network: that of TBPTT at K = T. NaN where that was not run."""
    signed = chain["cosine"] * np.exp(chain["log_norm"])
    whole = (chain["scheme"] == "per_loss") & (chain["truncation"] >= chain["length"])
    full = signed[whole.fillna(False).astype(bool)].groupby(chain["seed"]).first()
    return signed / chain["seed"].map(full)


def partial_sums(length: int) -> np.ndarray:
    """sum over l < K of 2^-l sum_j C(l, j) s_j for K = 1..T; it tends to -6.  (T,)"""
    signs = [1 if unit < PLUS else -1 for unit in range(UNITS)]
    terms = [sum(comb(lag, unit) * signs[unit] for unit in range(UNITS)) / 2**lag for lag in range(length)]
    return np.cumsum(terms)


def departure(rows: pd.DataFrame, expected: np.ndarray) -> float:
    K = rows["truncation"].to_numpy(dtype=int)
    return largest(np.abs(rows["relative"].to_numpy() - expected[np.minimum(K, len(expected)) - 1]))


def means_and_errors(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Of each K: the mean of the relative derivative over all draws of all runs, and its standard error.

    Every run is the same chain, and draws of different seeds are independent; those of different K are not.
    """
    found = []
    for _, alike in rows.groupby("truncation", dropna=False):
        draws, variance = alike["draws"].astype(float), np.exp(alike["log_variance"])
        mean = (alike["relative"] * draws).sum(skipna=False) / draws.sum()
        found.append((float(mean), float(np.sqrt((variance * draws).sum(skipna=False)) / draws.sum())))
    return found


def in_the_mean(rows: pd.DataFrame, label: str) -> dict[str, Any]:
    found = means_and_errors(rows)
    said = ", ".join(f"{mean:.2f} +- {error:.2g}" for mean, error in found)
    text = f"standard errors between the mean relative derivative of {label} and 1 ({said})"
    away = largest([abs(mean - 1.0) / error for mean, error in found])
    return at_most(text, "unbiased: " + SOURCES[label], away, STANDARD_ERRORS)


def away_from(rows: pd.DataFrame, label: str, truncated: float) -> dict[str, Any]:
    """That draws are right in the mean is worth something where they can tell right from wrong."""
    text = f"standard errors from the mean of {label} down to the most wrong truncation, times -1"
    down = largest([-(mean - truncated) / error for mean, error in means_and_errors(rows)])
    return at_most(text, "the draws resolve the sign", down, -2.0 * STANDARD_ERRORS)


SOURCES = {"ARTBP": TALLEC, "UORO": UORO}


# ---------------------------------------------------------------------------------------------------- one unit


def scalar_variance(scalar: pd.DataFrame) -> list[dict[str, Any]]:
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
            found.append(near(text, source, sampled / closed, 1.0, STANDARD_ERRORS * error))
        elif p < c**2 and variance > HEAVY * one**2:
            text = f"log(sampled / exact variance of {T} steps), {where}: p < c^2, and draws miss it"
            found.append(at_most(text, source, np.log(sampled * one**2 / variance), -1.0))
    return found or [at_most("cases with a formula", "second moment of random truncation", np.nan, 0.0)]


HEAVY = 1e3
"""A relative variance so large that it is made of draws that no sample has."""


def moments(c: float, p: float, steps: int) -> tuple[float, float, float, float]:
    """E z, E z^2, E z^3, E z^4 after so many steps from z = 1; E xi^j = p^(1-j)."""
    raw = np.ones(5)
    for _ in range(steps - 1):
        carried = [1.0, *(c**j * p ** (1 - j) * raw[j] for j in range(1, 5))]
        raw = np.array([sum(comb(order, j) * carried[j] for j in range(order + 1)) for order in range(5)])
    return float(raw[1]), float(raw[2]), float(raw[3]), float(raw[4])


# ---------------------------------------------------------------------------------------------------- bounds


def bounds_hold(bounds: pd.DataFrame) -> list[dict[str, Any]]:
    """Counted network by network where the bound says something and the exact bias was measured."""
    found = []
    for cell in CELLS:
        rows = bounds[(bounds["cell"] == cell) & (bounds["bounded"] > 0)]
        above = rows["above"].sum() if len(rows) else np.nan
        found.append(
            at_most(f"exact biases above the bound, {cell}, of {rows['bounded'].sum()}", f"{AICHER}, bound", above, 0)
        )
    rows = bounds[bounds["estimated"] > 0]
    share = rows["below"].sum() / rows["estimated"].sum() if len(rows) else np.nan
    text = f"share of exact biases above the estimate, of {rows['estimated'].sum()}"
    return [*found, at_most(text, f"{AICHER}, geometric tail", share, 0.05)]


def adaptive_keeps_its_promise(cells: pd.DataFrame) -> dict[str, Any]:
    """Where a K was found, and not merely the longest tried: the bias against what was tolerated."""
    rows = cells[(cells["scheme"] == "adaptive") & ~cells["parameter"].str.contains(" ", regex=False)]
    rows = rows[rows["truncation"] < rows["run_truncation"].astype(float)]
    text = "largest log(bias / delta) of adaptive truncation"
    return at_most(text, AICHER, largest((rows["log_relative_bias"] - np.log(rows["scheme_delta"])).to_numpy()), 0.0)


# ---------------------------------------------------------------------------------------------------- estimators


def unbiased(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """|mean of the draws - g| against its standard deviation sqrt(variance / draws), of every parameter and network."""
    found = []
    for name, label in DRAWN.items():
        for cell in CELLS:
            rows = cells[(cells["scheme"] == name) & (cells["cell"] == cell)]
            rows = rows[~rows["parameter"].str.contains(" ", regex=False)]
            noise = 0.5 * (rows["log_variance"] - np.log(rows["draws"].astype(float)))
            excess = np.exp((rows["log_relative_bias"] - noise).to_numpy())
            text = f"largest bias of {label} in standard deviations of its mean, {cell}"
            found.append(at_most(text, "unbiased: " + SOURCES[label], largest(excess), STANDARD_ERRORS))
    return found


def exact(own: pd.DataFrame) -> dict[str, Any]:
    rows = own[own["scheme"] == "rtrl"]
    bias = np.exp(rows["log_relative_bias"].dropna().to_numpy())
    return at_most("largest relative bias of RTRL, everywhere", "Williams & Zipser 1989", largest(bias), 0.0, ROUNDING)


def of_the_leak(leaky: pd.DataFrame) -> list[dict[str, Any]]:
    """RFLO carries (1 - alpha) I: nothing at alpha = 1. SnAp-1 carries the diagonal of J_t, of which that is a part."""
    rows = leaky[~leaky["parameter"].str.contains(" ", regex=False)]
    keys = ["seed", "parameter", "cell_alpha"]
    rflo, snap = (rows[rows["scheme"] == name].set_index(keys) for name in ("rflo", "snap"))
    one = rows[(rows["scheme"] == "per_loss") & (rows["truncation"] == 1)].set_index(keys)
    at_one = rflo.index[rflo.index.get_level_values("cell_alpha") == 1.0]
    same = (rflo.loc[at_one, "log_norm"] - one.loc[at_one, "log_norm"]).abs().to_numpy()
    slowest = rows["cell_alpha"].min()
    found = [
        at_most("log norm of RFLO at alpha = 1 against TBPTT at K = 1", "Murray 2019", largest(same), 0.0, ROUNDING)
    ]
    for label, source, part in (("RFLO", "Murray 2019", rflo), ("SnAp-1", "Menick et al. 2021", snap)):
        gain = (part["log_relative_bias"] - one["log_relative_bias"]).xs(
            ("W", slowest), level=("parameter", "cell_alpha")
        )
        text = f"median log bias of {label} over that of TBPTT at K = 1, alpha = {slowest:g}"
        found.append(at_most(text, source, gain.median(), 0.0))
    return found


def windows(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Overlapping windows against separate chunks of the same K, and against TBPTT at the same cost."""
    rows = cells[cells["parameter"] == "W"]
    by = ["cell", "seed", "truncation"]
    bias = {name: part.set_index(by)["log_relative_bias"] for name, part in rows.groupby("scheme")}
    chunks = (bias["windowed"] - bias["chunked"]).groupby(level=["cell", "truncation"]).median()
    cost = (
        rows.groupby(["cell", "scheme", "truncation"])[["steps_computed", "log_relative_bias"]].median().reset_index()
    )
    wide = cost[cost["scheme"] == "windowed"].sort_values("truncation").groupby("cell").last()
    apart = []
    for cell, best in wide.iterrows():
        cheap = cost[(cost["scheme"] == "per_loss") & (cost["cell"] == cell)]
        cheap = cheap[cheap["steps_computed"] <= RATHER * best["steps_computed"]]
        apart.append(best["log_relative_bias"] - cheap["log_relative_bias"].min())
    return [
        at_most(
            "median log bias of windows over that of chunks of the same K",
            "definition: they keep more lags",
            chunks.max(),
            0.0,
        ),
        at_most(
            "median log bias of the longest windows over that of TBPTT for as many steps",
            "Williams & Peng 1990",
            largest(apart),
            0.0,
        ),
    ]


RATHER = 1.25
"""Steps count as equal up to this factor."""
