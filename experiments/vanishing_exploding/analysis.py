"""Do gradients vanish or explode, what decides it, and what does a truncation cost? See README.md in this folder.

`claims` compares a study's tables with statements of the literature.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.claims.claims import Row, at_least, at_most, identity, largest_of, median_of, one_per_draw, smallest_of
from bpttlab.numerics.verdicts import Estimate
from bpttlab.verification import recomputation

FIGURE = "products"
ROUNDING = 1e-9
DIFFERENCES = 1e-6
"""Of logarithms, between the engine and central differences of the forward pass, which are right to about 1e-9."""


def claims(study: Any) -> pd.DataFrame:
    """Statements of theory about this sweep, and measurements.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    products, networks = study.jacobians, one_row_per_network(study.runs)
    return pd.DataFrame(
        [
            identity(bound_holds(products)),
            identity(small_weights_suffice(networks)),
            identity(large_weights_are_necessary(networks)),
            growth_is_below_the_spectral_radius(networks),
            silence_brings_the_asymptote(networks),
            gradient_is_below_the_norm(products),
            identity(alignment_is_a_floor(products)),
            bias_falls_with_truncation(study.truncations),
            identity(full_gradient_has_no_bias(study.truncations)),
            *products_are_those_of_differences(networks, products),
            *biases_are_those_of_differences(networks, study.truncations),
        ]
    )


def one_row_per_network(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs that repeat a network for another truncation are no new evidence."""
    return runs[runs["status"] == "done"].drop_duplicates(["network_id", "task", "sequence_length"])


# ---------------------------------------------------------------------------------------------------- products


def bound_holds(products: pd.DataFrame) -> dict[str, Any]:
    excess = largest_of((products["log_spectral_norm"] - products["log_bound"]).dropna().astype(float))
    text = "log ||P||_2 minus the sum of log ||J_i||_2, at most"
    return at_most(text, "Pascanu, Mikolov & Bengio 2013, eq. 6 and 7", excess, 0.0, ROUNDING)


def small_weights_suffice(networks: pd.DataFrame) -> dict[str, Any]:
    rates = networks.loc[networks["bound_rate"] < 0, "growth_rate"]
    text = "largest growth rate among networks with gamma sigma_max < 1"
    return at_most(text, "Pascanu, Mikolov & Bengio 2013, section 2.1", largest_of(rates.astype(float)), 0.0)


def large_weights_are_necessary(networks: pd.DataFrame) -> dict[str, Any]:
    bounds = networks.loc[networks["growth_rate"] > 0, "bound_rate"]
    text = "smallest log(gamma sigma_max) among networks whose rate is above zero"
    return at_least(text, "Pascanu, Mikolov & Bengio 2013, section 2.1", smallest_of(bounds.astype(float)), 0.0)


def growth_is_below_the_spectral_radius(networks: pd.DataFrame) -> dict[str, Any]:
    """Driven tanh units have slopes below one: at a radius of one, where a linear network stands still, they vanish."""
    longest = networks["sequence_length"] == networks["sequence_length"].max()
    rows = networks[longest & (networks["task"] == "noise") & (networks["spectral_radius"] == 1.0)]
    text = "median growth rate on noise at spectral radius 1"
    return at_most(text, "slopes of driven tanh are below 1", over_draws(rows, rows["growth_rate"]), -0.05)


def silence_brings_the_asymptote(networks: pd.DataFrame) -> dict[str, Any]:
    """After the digit come blanks: below one the state rests at zero, every Jacobian is W, and the rate is log rho."""
    longest = networks["sequence_length"] == networks["sequence_length"].max()
    resting = longest & (networks["task"] == "digits") & (networks["spectral_radius"] < 1.0)
    rows = networks[resting]
    text = "median |growth rate - log rho| on digits followed by blanks, rho < 1"
    return at_most(text, "Gelfand's formula", over_draws(rows, rows["asymptote_residual"].abs()), 0.02)


def over_draws(rows: pd.DataFrame, values: pd.Series) -> Estimate:
    """The median over seeds. The matrices of one seed differ by a factor: together they give one value."""
    return median_of(one_per_draw(values, rows["seed"]))


# ---------------------------------------------------------------------------------------------------- the real gradient


def gradient_beside_norm(products: pd.DataFrame) -> pd.DataFrame:
    """How far the gradient of the last loss stays below the worst direction: log(||e P|| / (||e|| ||P||_2))."""
    keys = ["run_id", "sequence", "t"]
    start = products.loc[products["lag"] == 0, [*keys, "log_state_gradient"]]
    rows = products.merge(start, on=keys, suffixes=("", "_at_0"))
    rows = rows[np.isfinite(rows["log_spectral_norm"]) & np.isfinite(rows["log_state_gradient_at_0"])]
    return rows.assign(below=rows["log_state_gradient"] - rows["log_state_gradient_at_0"] - rows["log_spectral_norm"])


def gradient_is_below_the_norm(products: pd.DataFrame) -> dict[str, Any]:
    rows = gradient_beside_norm(products)
    last = rows[rows["lag"] == rows["lag"].max()]
    text = "median of log(||e P|| / ||e|| ||P||_2) at the longest lag: the gradient is not the norm"
    return at_most(text, "Bengio, Simard & Frasconi 1994; alignment", over_draws(last, last["below"]), -0.5)


def alignment_is_a_floor(products: pd.DataFrame) -> dict[str, Any]:
    """||e P|| >= |<e, u_1>| sigma_1: what the leading direction alone gives."""
    rows = gradient_beside_norm(products).dropna(subset=["alignment"])
    rows = rows[rows["alignment"] > 0]
    shortfall = largest_of(np.log(rows["alignment"].astype(float)) - rows["below"].astype(float))
    text = "log alignment minus log(||e P|| / ||e|| ||P||_2), at most"
    return at_most(text, "singular value decomposition", shortfall, 0.0, 1e-6)


# ---------------------------------------------------------------------------------------------------- truncation


def bias_falls_with_truncation(truncations: pd.DataFrame) -> dict[str, Any]:
    """Where the network vanishes, a longer truncation leaves out less: of each seed the worst task and radius."""
    rows = truncations[(truncations["parameter"] == "W") & (truncations["origin"] == "scheme")]
    rows = rows[(rows["spectral_radius"] < 1.0) & (rows["sequence_length"] == rows["sequence_length"].max())]
    rows = rows[rows["truncation"].notna()]
    bias = rows.pivot(index=["seed", "task", "spectral_radius"], columns="truncation", values="log_relative_bias")
    worst = bias.astype(float).diff(axis=1).iloc[:, 1:].max(axis=1).groupby("seed").max()
    text = "largest change of the log bias from one truncation to the next longer, rho < 1, median over seeds"
    return at_most(text, "definition of the tail", median_of(worst), 0.0)


def full_gradient_has_no_bias(truncations: pd.DataFrame) -> dict[str, Any]:
    beyond = truncations["truncation"].isna() | (truncations["truncation"] >= truncations["length"])
    left = (truncations.loc[beyond & (truncations["origin"] == "scheme"), "log_relative_bias"] != -np.inf).sum()
    return at_most("rows with a bias where nothing was cut", "definition", float(left), 0.0)


# ---------------------------------------------------------------------------------------------------- by differences


def products_are_those_of_differences(networks: pd.DataFrame, products: pd.DataFrame) -> list[Row]:
    """Norms, rates and state gradients of one seed on noise, beside Jacobians by central differences."""
    rows = networks[(networks["task"] == "noise") & (networks["seed"] == networks["seed"].min())]
    rows = rows[rows["sequence_length"] == 50] if (rows["sequence_length"] == 50).any() else rows
    norms, rates, rows_of_e, bounds = [], [], [], []
    for run in rows.to_dict("records"):
        stored = products[products["run_id"] == run["run_id"]]
        logs = log_norms(run["configuration"], int(stored["sequence"].nunique()))
        norms.append(apart(stored, "log_spectral_norm", logs[..., 0]))
        norms.append(apart(stored, "log_frobenius_norm", logs[..., 1]))
        known = log_bounds(run["configuration"], len(logs))
        bounds.append(apart(stored[stored["log_bound"].notna()], "log_bound", known))
        rates.append(abs(float(run["growth_rate"]) - fitted_rate(np.median(logs[..., 1], axis=0))))
        rows_of_e.append(
            apart(stored[stored["sequence"] == 0], "log_state_gradient", log_rows(run["configuration"])[None])
        )
    source = "central differences of the forward pass"
    text = f"of {len(rows)} networks on noise, seed {networks['seed'].min()}"
    return [
        at_most(f"largest error of log ||P||, {text}", source, largest_of(norms), 0.0, DIFFERENCES),
        at_most(f"largest error of the sum of log ||J_i||_2, {text}", source, largest_of(bounds), 0.0, DIFFERENCES),
        at_most(
            f"largest |growth rate - slope of log ||P||_F over lags T/5 to T|, {text}",
            source,
            largest_of(rates),
            0.0,
            DIFFERENCES,
        ),
        at_most(f"largest error of log ||e P||, {text}", source, largest_of(rows_of_e), 0.0, DIFFERENCES),
    ]


def apart(stored: pd.DataFrame, column: str, known: np.ndarray) -> float:
    """The largest |stored - known|, known by (sequence, lag); NaN of no rows."""
    rows = stored[stored["t"] == stored["sequence_length"]]
    values = rows[column].to_numpy(dtype=float)
    errors = np.abs(values - known[rows["sequence"].to_numpy(int), rows["lag"].to_numpy(int)])
    return float(errors.max()) if len(errors) else np.nan


def fitted_rate(log_norm: np.ndarray) -> float:
    """Slope of a log norm (T+1 lags) over the lags from T/5 on, by least squares."""
    lags = np.arange(len(log_norm))[max(1, (len(log_norm) - 1) // 5) :]
    return float(np.polyfit(lags, log_norm[lags], 1)[0])


@cache
def log_norms(configuration: str, sequences: int) -> np.ndarray:
    """log ||P||_2 and the typical log-norm, (sequence, lag, 2)."""
    found = recomputation.replay(configuration)
    return np.array([recomputation.recompute_log_norms(found, sequence) for sequence in range(sequences)])


@cache
def log_bounds(configuration: str, sequences: int) -> np.ndarray:
    """Sums of log ||J_t||_2 over the last l steps, (sequence, lag)."""
    found = recomputation.replay(configuration)
    T = len(found.x)
    norms = [
        [np.linalg.norm(recomputation.jacobian(found, t, sequence), 2) for t in range(T, 0, -1)]
        for sequence in range(sequences)
    ]
    return np.concatenate([np.zeros((sequences, 1)), np.cumsum(np.log(norms), axis=1)], axis=1)


@cache
def log_rows(configuration: str) -> np.ndarray:
    """log ||e P|| of lags 0 to T, first sequence; e is that of the last loss, which is a mean over the batch."""
    found = recomputation.replay(configuration)
    e = recomputation.state_error(found, len(found.x), 0) / found.x.shape[1]
    return np.array([log_size + np.log(np.linalg.norm(e @ P)) for log_size, P in recomputation.products(found)])


def biases_are_those_of_differences(networks: pd.DataFrame, truncations: pd.DataFrame) -> list[Row]:
    """|g|, |g_K| and |g_K - g| of W on noise, one seed and the shortest sequences, summed up literally."""
    rows = networks[(networks["task"] == "noise") & (networks["seed"] == networks["seed"].min())]
    rows = rows[rows["sequence_length"] == rows["sequence_length"].min()]
    rows = rows[rows["spectral_radius"].isin([rows["spectral_radius"].min(), rows["spectral_radius"].max()])]
    own = truncations[(truncations["parameter"] == "W") & (truncations["origin"] == "scheme")]
    full, cut, bias = [], [], []
    for run in rows.to_dict("records"):
        stored = own[(own["network_id"] == run["network_id"]) & (own["task"] == "noise")]
        stored = stored[stored["sequence_length"] == run["sequence_length"]].drop_duplicates("truncation")
        parts = gradient_by_lag(run["configuration"])
        for row in stored.to_dict("records"):
            K = len(parts) if pd.isna(row["truncation"]) else int(row["truncation"])
            norm = np.log(np.linalg.norm(parts[:K].sum(axis=0)))
            (full if len(parts) <= K else cut).append(abs(float(row["log_norm"]) - norm))
            if len(parts) > K:
                left_out = np.linalg.norm(parts[K:].sum(axis=0)) / np.linalg.norm(parts.sum(axis=0))
                bias.append(abs(float(row["log_relative_bias"]) - np.log(left_out)))
    source = "central differences of the forward pass, summed literally"
    said = f"gradient of W, {len(rows)} networks on noise, seed {networks['seed'].min()}"
    names = ("log |g|", "log |g_K|", "log(|g_K - g| / |g|)")
    return [
        at_most(f"largest error of {name}, {said}", source, largest_of(found), 0.0, DIFFERENCES)
        for name, found in zip(names, (full, cut, bias), strict=True)
    ]


@cache
def gradient_by_lag(configuration: str) -> np.ndarray:
    """The parts G_0, G_1, ... of dL/dW by lag t - k, mean over sequences: dL_t/dh_t J_t ... J_{k+1} dh_k/dW.

    -> (T, N, N)
    """
    found = recomputation.replay(configuration)
    T, batch, size = found.x.shape[0], found.x.shape[1], found.h.shape[-1]
    parts = np.zeros((T, size, size))
    for sequence in range(batch):
        J = [recomputation.jacobian(found, t, sequence) for t in range(1, T + 1)]
        for t in range(1, T + 1):
            back = recomputation.state_error(found, t, sequence)
            for k in range(t, 0, -1):
                parts[t - k] += np.outer(back * slope(found, k, sequence), found.h[k - 1, sequence]) / batch
                back = back @ J[k - 1]
    return parts


def slope(found: recomputation.Pass, k: int, sequence: int) -> np.ndarray:
    """dh_k/da_k of each unit of an Elman network, by central differences."""
    z_k = found.cell.project(found.params, found.x[k - 1 : k, sequence : sequence + 1])[0]
    ends = (found.cell.step(found.params, z_k + move, found.h[k - 1, sequence][None])[0] for move in MOVES)
    return np.subtract(*ends) / (2.0 * recomputation.EPSILON)


MOVES = (recomputation.EPSILON, -recomputation.EPSILON)
