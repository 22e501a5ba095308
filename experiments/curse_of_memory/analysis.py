"""How much does a small change of lambda change the state of a unit with a long memory, if no Jacobian product exceeds
one? See README.md in this folder.

`claims` checks a study's tables against the second moments of units driven by white noise, and the sensitivities of
some networks against the same in plain numbers.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims.claims import Row, at_most, mean_of, near
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network, run_network

FIGURE = "sensitivity_and_memory"
ROUNDING = 1e-9
ZUCCHET = "Zucchet & Orvieto 2024"
ORVIETO = "Orvieto et al. 2023"
LONG = 0.9
"""From this modulus on an exponent of growth is read off."""


def claims(study: Any) -> pd.DataFrame:
    """Results for white noise and measurements: means over networks of their means over sequences and units.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    found = networks(study)
    return pd.DataFrame([*powers_of_lambda(study), *computed_again(study), *of_moments(found)])


def of_moments(found: pd.DataFrame) -> list[Row]:
    """Those about mean squares of networks (`networks`)."""
    scalar, raw, normalised = (found[found["cell"] == name] for name in CELLS)
    return [
        *as_published(scalar),
        growth(scalar, "h", 1.0),
        growth(scalar, "lambda", 3.0),
        *on_the_ring(raw),
        *on_the_ring(normalised),
        growth(raw, "nu", 1.0),
        growth(normalised, "nu", 0.0),
        quarter(normalised),
        growth(normalised, "angle", 2.0),
    ]


CELLS = ("scalar", "ring, as it comes", "ring, normalised")


def largest(values: Any) -> float:
    """NaN of nothing, and of anything with a NaN in it: neither holds a claim."""
    found = np.asarray(values, float)
    return float(found.max()) if len(found) else np.nan


# ---------------------------------------------------------------------------------------------------- moments


def moments(study: Any) -> pd.DataFrame:
    """Mean squares at the end of the sequences, for noise of variance 1 in a unit, beside what theory says of them.

    One row per cell, modulus of lambda and quantity: `h`, and the derivative of h by `lambda`, `nu` or `angle` (the
    phase of lambda, in radians), the mean over networks. `log_inverse` is -log(1 - |lambda|^2).
    """
    groups = networks(study).groupby(["cell", "modulus", "quantity"])
    found = groups[["measured", "expected", "log_inverse"]].mean()
    return found.join(groups["measured"].count().rename("networks")).reset_index()


def networks(study: Any) -> pd.DataFrame:
    """The rows of `moments` network by network: seed, cell, modulus, quantity, measured, expected, log_inverse."""
    rows = study.sensitivity
    rows = rows[(rows["status"] == "done") & (rows["t"] == rows["sequence_length"])]
    squares = rows.assign(square=np.exp(2.0 * rows["log_norm"].astype(float)))
    means = squares.groupby(["run_id", "parameter"])["square"].mean().unstack("parameter")
    runs = study.runs.set_index("run_id").loc[means.index]
    parts = [
        one | {"seed": run["seed"]} for run_id, run in runs.iterrows() for one in of_network(run, means.loc[run_id])
    ]
    found = pd.DataFrame(parts)
    return found.assign(log_inverse=-np.log(1.0 - found["modulus"] ** 2))


def of_network(run: pd.Series, mean: pd.Series) -> list[dict[str, Any]]:
    """Of one run: mean squares over sequences and units, over the variance of the noise that its weights let in."""
    cell, params = build_network(Configuration.parse(json.loads(run["configuration"])))
    if run["cell"] == "elman":
        return of_scalar(float(params["W"][0, 0]), float(params["V"][0, 0]), mean)
    N, I = cell.hidden_size, cell.input_size
    power = (params["V"] ** 2).sum(axis=1).reshape(2, N).sum(axis=0)  # E|u|^2 of each unit
    angle = np.exp(params["theta"])
    modulus, normalise = float(run["cell_r_max"]), bool(run["cell_normalise"])
    told = theory.ring_moments(modulus, normalise)
    name = CELLS[2] if normalise else CELLS[1]
    measured = {
        "h": (mean["V"] / (2 * N * I), told.state),  # dh/dV = gamma sum_k lambda^k x, once for Re V and once for Im V
        "nu": (mean["nu"] / power.sum(), told.nu),
        "angle": (mean["theta"] / (angle**2 * power).sum(), told.angle),
    }
    return [row(name, modulus, quantity, *values) for quantity, values in measured.items()]


def of_scalar(decay: float, V: float, mean: pd.Series) -> list[dict[str, Any]]:
    state, sensitivity = theory.memory_moments(decay)
    return [
        row(CELLS[0], decay, "h", mean["V"], state),  # dh/dV = h / V
        row(CELLS[0], decay, "lambda", mean["W"] / V**2, sensitivity),
    ]


def row(cell: str, modulus: float, quantity: str, measured: float, expected: float) -> dict[str, Any]:
    return {"cell": cell, "modulus": modulus, "quantity": quantity, "measured": measured, "expected": expected}


# ---------------------------------------------------------------------------------------------------- computed again


def computed_again(study: Any) -> list[Row]:
    """||dh_T/dtheta|| of the first network of every cell and modulus, carried forwards in plain numbers.

    Weights and inputs are drawn again from the configuration; nothing else is taken from the engine.
    """
    rows = study.sensitivity
    rows = rows[(rows["status"] == "done") & (rows["t"] == rows["sequence_length"])]
    runs = study.runs[study.runs["run_id"].isin(rows["run_id"])].sort_values("seed")
    found = []
    for label, own in (("one unit", runs[runs["cell"] == "elman"]), ("ring", runs[runs["cell"] == "diagonal"])):
        first = own.drop_duplicates(["spectral_radius", "cell_r_max", "cell_normalise"])
        off = [departure(run, rows[rows["run_id"] == run["run_id"]]) for _, run in first.iterrows()]
        text = f"largest error of log ||dh_T/dtheta||, {label}, {len(first)} networks"
        found.append(at_most(text, "forward differentiation in plain numbers", largest(off), 0.0, ROUNDING))
    return found


def departure(run: pd.Series, rows: pd.DataFrame) -> float:
    """The largest over parameters and sequences of |log norm - the same computed again|."""
    chosen = Configuration.parse(json.loads(run["configuration"]))
    trace, batch = run_network(chosen)
    if run["cell"] == "elman":
        known = of_unit(trace.params, batch.x)
    else:
        known = of_ring(trace.params, batch.x, bool(run["cell_normalise"]))
    stored = rows.pivot(index="sequence", columns="parameter", values="log_norm").astype(float)
    return largest([np.abs(stored[name].to_numpy() - 0.5 * np.log(known[name][stored.index])).max() for name in known])


def of_unit(params: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """|dh_T/dtheta|^2 of h_t = l h_{t-1} + V x_t + b, by parameter.  x (T,B,1) -> (B,)"""
    decay, V, b = (float(params[name].ravel()[0]) for name in ("W", "V", "b_h"))
    h, dW, dV, db = (np.zeros(x.shape[1]) for _ in range(4))
    for x_t in x[:, :, 0]:
        dW, dV, db = h + decay * dW, x_t + decay * dV, 1.0 + decay * db
        h = decay * h + V * x_t + b
    return {"W": dW**2, "V": dV**2, "b_h": db**2}


def of_ring(params: dict[str, np.ndarray], x: np.ndarray, normalise: bool) -> dict[str, np.ndarray]:
    """|dh_T/dtheta|^2 over all units of h_t = l h_{t-1} + gamma u_t + b, in complex numbers.  x (T,B,I) -> (B,)"""
    nu, angle = np.exp(params["nu"]), np.exp(params["theta"])
    decay, N = np.exp(-nu + 1j * angle), len(nu)
    rest = 1.0 - np.abs(decay) ** 2
    gamma = np.sqrt(rest) if normalise else np.ones(N)
    moved = np.abs(decay) ** 2 * nu / gamma if normalise else np.zeros(N)  # dgamma/dnu
    V, b = (params[name][:N] + 1j * params[name][N:] for name in ("V", "b_h"))
    h, dnu, dtheta, db = (np.zeros((x.shape[1], N), complex) for _ in range(4))
    dV = np.zeros((x.shape[1], N, x.shape[2]), complex)  # by Re V; by Im V it is i times that
    for x_t in x:
        u = x_t @ V.T
        dnu = decay * dnu - nu * decay * h + moved * u
        dtheta = decay * dtheta + 1j * angle * decay * h
        dV = decay[:, None] * dV + gamma[:, None] * x_t[:, None, :]
        db = decay * db + 1.0
        h = decay * h + gamma * u + b
    squares = {"nu": dnu, "theta": dtheta, "b_h": np.sqrt(2.0) * db}
    found = {name: (np.abs(part) ** 2).sum(axis=1) for name, part in squares.items()}
    return found | {"V": 2.0 * (np.abs(dV) ** 2).sum(axis=(1, 2))}


# ---------------------------------------------------------------------------------------------------- claims


def powers_of_lambda(study: Any) -> list[Row]:
    """||P|| = |lambda|^lag: none of these networks has a product that grows."""
    products = study.jacobians
    rows = products[products["cell_r_max"].notna()] if "cell_r_max" in products else products
    off = rows["log_spectral_norm"].astype(float) - rows["lag"] * np.log(rows["cell_r_max"].astype(float))
    text = f"|log ||P||_2 - lag log |lambda||, largest of {len(rows)} products of units on a ring"
    return [at_most(text, "J_t is normal", largest(off.abs()), 0.0, ROUNDING)]


def as_published(scalar: pd.DataFrame) -> list[Row]:
    said = {"h": "E h^2 over 1/(1 - l^2)", "lambda": "E (dh/dl)^2 over (1 + l^2)/(1 - l^2)^3"}
    found = []
    for (quantity, modulus), own in scalar.groupby(["quantity", "modulus"]):
        ratio = mean_of(own["measured"] / own["expected"])
        found.append(near(f"{said[str(quantity)]}, l = {modulus:g}", ZUCCHET, ratio, 1.0, 0.12))
    return found


def on_the_ring(rows: pd.DataFrame) -> list[Row]:
    """Of each network the mean over the moduli of what was measured over the formula, for each quantity."""
    found = []
    for quantity, own in rows.groupby("quantity"):
        ratio = (own["measured"] / own["expected"]).groupby(own["seed"]).mean()
        who = f"{own['cell'].iloc[0]}, mean of {own['modulus'].nunique()} moduli"
        text = f"mean square of {NAMES[str(quantity)]} over its formula, {who}"
        found.append(near(text, "moments of a complex unit", mean_of(ratio), 1.0, 0.25))
    return found


NAMES = {"h": "h", "lambda": "dh/dlambda", "nu": "dh/dnu", "angle": "dh/dangle"}


def growth(rows: pd.DataFrame, quantity: str, expected: float) -> Row:
    """The power of 1/(1 - |lambda|^2) with which a mean square grows, between |lambda| = 0.9 and the longest memory.

    One power for each network: those of one seed and two moduli hear the same noise.
    """
    own = rows[(rows["quantity"] == quantity) & (rows["modulus"] >= LONG)].sort_values("modulus")
    power = [power_of(part) for _, part in own.groupby("seed")]
    cell = rows["cell"].iloc[0] if len(rows) else ""
    text = f"power of 1/(1 - |lambda|^2) with which E |{NAMES[quantity]}|^2 grows, {cell}"
    return near(text, ZUCCHET, mean_of(power), expected, 0.25)


def power_of(rows: pd.DataFrame) -> float:
    """From the shortest memory to the longest; NaN where there is one only."""
    first, last = rows.iloc[0], rows.iloc[-1]
    if len(rows) < 2:
        return np.nan
    return float(np.log(last["measured"] / first["measured"]) / (last["log_inverse"] - first["log_inverse"]))


def quarter(rows: pd.DataFrame) -> Row:
    """(L m)^2 / (1 - m^2)^2 tends to 1/4, with L = -log m."""
    own = rows[rows["quantity"] == "nu"]
    own = own[own["modulus"] == own["modulus"].max()]
    text = f"E |dh/dnu|^2 at |lambda| = {own['modulus'].max():g}, normalised"
    return near(text, f"gamma of {ORVIETO}: 1/4 in the limit", mean_of(own["measured"]), 0.25, 0.06)


# ---------------------------------------------------------------------------------------------------- table and figure


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """`moments`: mean squares beside their formulas."""
    return {"moments": moments(study).drop(columns="log_inverse")}


def draw(study: Any, size: Size = "page") -> dict[str, Figure]:
    """Root mean squares of the state and of its sensitivities against the memory 1/(1 - |lambda|), with the theory."""
    found = moments(study)
    across = size == "page"
    figure = style.Page(figsize=(style.WIDTHS[size], 2.5 if across else 4.6), layout="constrained")
    grid = figure.subplots(1, 2) if across else figure.subplots(2, 1)
    panel(grid[0], found[found["cell"] == CELLS[0]], {"h": ("h", False), "lambda": ("lambda", False)})
    grid[0].set_title(r"$h_t = \lambda h_{t-1} + x_t$")
    panel(
        grid[1], found[found["cell"] != CELLS[0]], {"angle": ("angle", True), "nu": ("nu", True), "raw": ("nu", False)}
    )
    grid[1].set_title(r"$\lambda = \exp(-e^{\nu} + i\varphi)$")
    dashed = lines.line_key("formula", **FORMULA)
    open_key = lines.line_key(r"no normalisation", marker="o", linestyle="none", markerfacecolor="white")
    bound = lines.line_key(r"bound of $\|\partial h_t/\partial h_k\|$", linestyle=":", linewidth=0.9)
    layout.footer(figure, [dashed, bound, open_key])
    return {FIGURE: layout.finish(figure)}


FORMULA: dict[str, Any] = {"linestyle": "--", "linewidth": 0.9}
LOOKS = {
    "h": (style.CATEGORIES[0], "o", r"$h$"),
    "lambda": (style.CATEGORIES[1], "s", r"$\partial h/\partial\lambda$"),
    "nu": (style.CATEGORIES[2], "D", r"$\partial h/\partial\nu$"),
    "angle": (style.CATEGORIES[3], "^", r"$\partial h/\partial\varphi$"),
}


def panel(axes: Axes, rows: pd.DataFrame, shown: dict[str, tuple[str, bool]]) -> None:
    axes.axhline(1.0, color=style.NEUTRAL, linestyle=":", linewidth=0.9, zorder=0)
    for quantity, normalised in shown.values():
        scalar = (rows["cell"] == CELLS[0]).all()
        of_cell = CELLS[0] if scalar else CELLS[2 if normalised else 1]
        own = rows[(rows["quantity"] == quantity) & (rows["cell"] == of_cell)].sort_values("modulus")
        colour, marker, label = LOOKS[quantity]
        memory, hollow = 1.0 / (1.0 - own["modulus"]), not scalar and not normalised
        axes.plot(memory, np.sqrt(own["expected"]), color=colour, **FORMULA)
        face = "white" if hollow else colour
        named = None if hollow else label
        axes.plot(memory, np.sqrt(own["measured"]), marker, color=colour, markerfacecolor=face, label=named)
    axes.set(xscale="log", yscale="log", xlabel=r"memory $1/(1-|\lambda|)$ (steps)", ylabel="root mean square")
    axes.legend(loc="upper left", handlelength=1.0, labelspacing=0.3)
