"""Do gradients vanish or explode, what decides it, and what does a truncation cost? See README.md beside this file.

`claims` holds a study's tables against what the literature says of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bpttlab.claims import at_most, median_of

FIGURE = "products"
ROUNDING = 1e-9


def claims(study: Any) -> pd.DataFrame:
    """What the theory says of this sweep, and what was measured.

    Returns:
        Columns claim, source, expected, measured, low, high, tolerance, verdict, held.
    """
    products, networks = study.jacobians, one_row_per_network(study.runs)
    return pd.DataFrame(
        [
            bound_holds(products),
            small_weights_suffice(networks),
            large_weights_are_necessary(networks),
            growth_is_below_the_spectral_radius(networks),
            silence_brings_the_asymptote(networks),
            gradient_is_below_the_norm(products),
            alignment_is_a_floor(products),
            bias_falls_with_truncation(study.truncations),
            full_gradient_has_no_bias(study.truncations),
        ]
    )


def one_row_per_network(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs that repeat a network for another truncation are no new evidence."""
    return runs[runs["status"] == "done"].drop_duplicates(["network_id", "task", "sequence_length"])


# ---------------------------------------------------------------------------------------------------- products


def bound_holds(products: pd.DataFrame) -> dict[str, Any]:
    excess = (products["log_spectral_norm"] - products["log_bound"]).max()
    text = "log ||P||_2 minus the sum of log ||J_i||_2, at most"
    return at_most(text, "Pascanu, Mikolov & Bengio 2013, eq. 6 and 7", excess, 0.0, ROUNDING)


def small_weights_suffice(networks: pd.DataFrame) -> dict[str, Any]:
    rates = networks.loc[networks["bound_rate"] < 0, "growth_rate"]
    text = "largest growth rate among networks with gamma sigma_max < 1"
    return at_most(text, "Pascanu, Mikolov & Bengio 2013, section 2.1", rates.max(), 0.0)


def large_weights_are_necessary(networks: pd.DataFrame) -> dict[str, Any]:
    bounds = networks.loc[networks["growth_rate"] > 0, "bound_rate"]
    text = "minus the smallest log(gamma sigma_max) among networks that explode"
    return at_most(text, "Pascanu, Mikolov & Bengio 2013, section 2.1", -bounds.min(), 0.0)


def growth_is_below_the_spectral_radius(networks: pd.DataFrame) -> dict[str, Any]:
    """Driven tanh units have slopes below one: at a radius of one, where a linear network stands still, they vanish."""
    longest = networks["sequence_length"] == networks["sequence_length"].max()
    rates = networks.loc[longest & (networks["task"] == "noise") & (networks["spectral_radius"] == 1.0), "growth_rate"]
    text = "median growth rate on noise at spectral radius 1"
    return at_most(text, "slopes of driven tanh are below 1", median_of(rates), -0.05)


def silence_brings_the_asymptote(networks: pd.DataFrame) -> dict[str, Any]:
    """After the digit come blanks: below one the state rests at zero, every Jacobian is W, and the rate is log rho."""
    longest = networks["sequence_length"] == networks["sequence_length"].max()
    resting = longest & (networks["task"] == "digits") & (networks["spectral_radius"] < 1.0)
    residual = networks.loc[resting, "asymptote_residual"].abs()
    text = "median |growth rate - log rho| on digits followed by blanks, rho < 1"
    return at_most(text, "Gelfand's formula", median_of(residual), 0.02)


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
    of_networks = last.groupby("network_id")["below"].median()
    return at_most(text, "Bengio, Simard & Frasconi 1994; alignment", median_of(of_networks), -0.5)


def alignment_is_a_floor(products: pd.DataFrame) -> dict[str, Any]:
    """||e P|| >= |<e, u_1>| sigma_1: what the leading direction alone gives."""
    rows = gradient_beside_norm(products).dropna(subset=["alignment"])
    rows = rows[rows["alignment"] > 0]
    shortfall = (np.log(rows["alignment"].astype(float)) - rows["below"]).max()
    text = "log alignment minus log(||e P|| / ||e|| ||P||_2), at most"
    return at_most(text, "singular value decomposition", shortfall, 0.0, 1e-6)


# ---------------------------------------------------------------------------------------------------- truncation


def bias_falls_with_truncation(truncations: pd.DataFrame) -> dict[str, Any]:
    """Where the network vanishes, a longer truncation leaves out less."""
    rows = truncations[(truncations["parameter"] == "W") & (truncations["origin"] == "scheme")]
    rows = rows[(rows["spectral_radius"] < 1.0) & (rows["sequence_length"] == rows["sequence_length"].max())]
    bias = rows.groupby(["task", "spectral_radius", "truncation"])["log_relative_bias"].median().unstack("truncation")
    numbered = bias[sorted(column for column in bias.columns if pd.notna(column))]
    text = "largest change of the median log bias from one truncation to the next longer, rho < 1"
    return at_most(text, "definition of the tail", numbered.diff(axis=1).max(axis=None), 0.0)


def full_gradient_has_no_bias(truncations: pd.DataFrame) -> dict[str, Any]:
    beyond = truncations["truncation"].isna() | (truncations["truncation"] >= truncations["length"])
    left = (truncations.loc[beyond & (truncations["origin"] == "scheme"), "log_relative_bias"] != -np.inf).sum()
    return at_most("rows with a bias where nothing was cut", "definition", float(left), 0.0)
