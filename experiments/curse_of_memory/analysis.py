"""How far does a small change of lambda move a state that remembers, while no Jacobian product exceeds one? See
README.md beside this file.

`claims` holds a study's tables against the second moments of units that are driven by white noise.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims import Row, at_most, near
from bpttlab.configuration import Configuration
from bpttlab.experiment import build_network
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size

FIGURE = "sensitivity_and_memory"
ROUNDING = 1e-9
ZUCCHET = "Zucchet & Orvieto 2024"
ORVIETO = "Orvieto et al. 2023"
LONG = 0.9
"""From this modulus on an exponent of growth is read off."""


def claims(study: Any) -> pd.DataFrame:
    """What follows for white noise, and what was measured: means over networks, sequences and units.

    Returns:
        Columns claim, source, expected, measured, low, high, tolerance, verdict, held.
    """
    found = moments(study)
    scalar, raw, normalised = (found[found["cell"] == name] for name in CELLS)
    return pd.DataFrame(
        [
            bounded(study.jacobians),
            *as_published(scalar),
            *growth(scalar, "h", 1.0),
            *growth(scalar, "lambda", 3.0),
            *on_the_ring(raw),
            *on_the_ring(normalised),
            *growth(raw, "nu", 1.0),
            *growth(normalised, "nu", 0.0),
            quarter(normalised),
            *growth(normalised, "angle", 2.0),
        ]
    )


CELLS = ("scalar", "ring, as it comes", "ring, normalised")


def largest(values: Any) -> float:
    """NaN of nothing, and of anything with a NaN in it: neither holds a claim."""
    found = np.asarray(values, float)
    return float(found.max()) if len(found) else np.nan


# ---------------------------------------------------------------------------------------------------- moments


def moments(study: Any) -> pd.DataFrame:
    """Mean squares at the end of the sequences, for noise of variance 1 in a unit, beside what theory says of them.

    One row per cell, modulus of lambda and quantity: `h`, and the derivative of h by `lambda`, `nu` or `angle` (the
    phase of lambda, in radians). `log_inverse` is -log(1 - |lambda|^2).
    """
    rows = study.sensitivity
    rows = rows[(rows["status"] == "done") & (rows["t"] == rows["sequence_length"])]
    squares = rows.assign(square=np.exp(2.0 * rows["log_norm"].astype(float)))
    means = squares.groupby(["run_id", "parameter"])["square"].mean().unstack("parameter")
    runs = study.runs.set_index("run_id").loc[means.index]
    parts = [of_network(run, means.loc[run_id]) for run_id, run in runs.iterrows()]
    table = pd.DataFrame([row for part in parts for row in part])
    groups = table.groupby(["cell", "modulus", "quantity"])
    found = groups[["measured", "expected"]].mean().join(groups["measured"].count().rename("networks")).reset_index()
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


# ---------------------------------------------------------------------------------------------------- claims


def bounded(products: pd.DataFrame) -> Row:
    """||P|| = |lambda|^lag: none of these networks has a product that grows."""
    text = f"largest log ||P||_2 over {len(products)} products of units on a ring"
    return at_most(text, "|lambda| < 1", largest(products["log_spectral_norm"]), 0.0, ROUNDING)


def as_published(scalar: pd.DataFrame) -> list[Row]:
    said = {"h": "E h^2 over 1/(1 - l^2)", "lambda": "E (dh/dl)^2 over (1 + l^2)/(1 - l^2)^3"}
    return [
        near(
            f"{said[str(one['quantity'])]}, l = {one['modulus']:g}",
            ZUCCHET,
            one["measured"] / one["expected"],
            1.0,
            0.05,
        )
        for _, one in scalar.sort_values(["quantity", "modulus"]).iterrows()
    ]


def on_the_ring(rows: pd.DataFrame) -> list[Row]:
    """The farthest of the moduli from its formula, for each quantity."""
    found = []
    for quantity, own in rows.groupby("quantity"):
        text = f"|log(mean square of {NAMES[str(quantity)]} / formula)|, {own['cell'].iloc[0]}, {len(own)} moduli"
        off = np.log(own["measured"] / own["expected"]).abs()
        found.append(at_most(text, "moments of a complex unit", largest(off), 0.15))
    return found


NAMES = {"h": "h", "lambda": "dh/dlambda", "nu": "dh/dnu", "angle": "dh/dangle"}


def growth(rows: pd.DataFrame, quantity: str, expected: float) -> list[Row]:
    """The power of 1/(1 - |lambda|^2) with which a mean square grows, between |lambda| = 0.9 and the longest memory."""
    own = rows[(rows["quantity"] == quantity) & (rows["modulus"] >= LONG)].sort_values("modulus")
    first, last = (own.iloc[place] for place in (0, -1)) if len(own) > 1 else (None, None)
    power = np.nan
    if first is not None:
        power = np.log(last["measured"] / first["measured"]) / (last["log_inverse"] - first["log_inverse"])
    cell = rows["cell"].iloc[0] if len(rows) else ""
    text = f"power of 1/(1 - |lambda|^2) with which E |{NAMES[quantity]}|^2 grows, {cell}"
    return [near(text, ZUCCHET, power, expected, 0.15)]


def quarter(rows: pd.DataFrame) -> Row:
    """What nu and gamma together make of the sensitivity at the longest memory."""
    own = rows[rows["quantity"] == "nu"].sort_values("modulus")
    last = own.iloc[-1] if len(own) else {"modulus": np.nan, "measured": np.nan}
    text = f"E |dh/dnu|^2 at |lambda| = {last['modulus']:g}, normalised"
    return near(text, f"gamma of {ORVIETO}: 1/4 in the limit", last["measured"], 0.25, 0.03)


# ---------------------------------------------------------------------------------------------------- table and figure


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """`moments`: mean squares beside their formulas."""
    return {"moments": moments(study).drop(columns="log_inverse")}


def draw(study: Any, size: Size = "page") -> dict[str, Figure]:
    """Root mean squares of the state and of its sensitivities against the memory 1/(1 - |lambda|), with the theory."""
    found = moments(study)
    across = size == "page"
    figure = Figure(figsize=(style.WIDTHS[size], 2.5 if across else 4.6), layout="constrained")
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
