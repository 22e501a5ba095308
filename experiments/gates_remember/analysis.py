"""How far back do gradients reach in gated cells, and how do forget biases change this? See README.md in this folder.

`claims` compares a study's tables with exact results at the origin and on the cell path, and with statements about
forget biases, the chrono initialization and gates. Nothing is trained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims.claims import Row, at_least, at_most, largest_of, median_of, near, one_per_draw
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network
from bpttlab.verification import recomputation

FIGURE = "gates_remember"
GERS = "Gers, Schmidhuber & Cummins 2000"
JOZEFOWICZ = "Jozefowicz, Zaremba & Sutskever 2015"
TALLEC = "Tallec & Ollivier 2018b"
CHEN = "Chen, Pennington & Schoenholz 2018"
GATED = ("lstm", "gru", "minimal_rnn")
GRADIENT = "log_relevant_gradient"
EXACT = 1e-9
DIFFERENCES = 1e-6
"""Of logarithms, between the engine and central differences of the forward pass, which are right to about 1e-9."""
CONTROL = "lstm_0"
"""The LSTM with a forget bias of 0 among the cells."""


def claims(study: Any) -> pd.DataFrame:
    """Exact results first, then constant biases, chrono, and cells of one size.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    rows = [cell_path(study), horizon_of_the_path(study), *at_the_origin(study), *by_differences(study)]
    return pd.DataFrame([*rows, *of_biases(study), *of_chrono(study), *of_cells(study)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Median growth rate, horizon and relevant gradient of every part, over networks."""
    return {"forget_bias": over_networks(biases(study), ["spectral_radius", "task_delay", "cell_forget_bias"]),
            "chrono": over_networks(chrono(study), ["task_delay", "cell_chrono"]),
            "cells": over_networks(cells(study), ["cell", "spectral_radius"])}  # fmt: skip


# ---------------------------------------------------------------------------------------------------- parts


def done(study: Any) -> pd.DataFrame:
    runs = study.runs[study.runs["status"] == "done"]
    return runs.assign(cell_chrono=runs["cell_chrono"].astype(float))


def biases(study: Any) -> pd.DataFrame:
    """LSTMs with one forget bias for all units."""
    runs = done(study)
    own = (runs["cell"] == "lstm") & runs["cell_chrono"].isna() & (runs["scales_x"] > 0)
    return runs[own & (runs["task_delay"] != compared_delay(runs))]


def chrono(study: Any) -> pd.DataFrame:
    runs = done(study)
    return runs[runs["cell_chrono"].notna() & (runs["scales_x"] > 0)]


def cells(study: Any) -> pd.DataFrame:
    """Four cells of one size, and the LSTM without its forget bias as `CONTROL`."""
    runs = done(study)
    own = runs[(runs["task_delay"] == compared_delay(runs)) & (runs["scales_x"] > 0)]
    without = (own["cell"] == "lstm") & (own["cell_forget_bias"].astype(float) == 0.0)
    return own.assign(cell=own["cell"].astype(object).mask(without, CONTROL))


def compared_delay(runs: pd.DataFrame) -> int:
    """The delay at which all cells were run."""
    return int(runs.loc[runs["cell"] != "lstm", "task_delay"].iloc[0])


def paired(runs: pd.DataFrame, columns: Sequence[str], value: str) -> pd.DataFrame:
    """A row for each seed: one draw of weights for each cell and of data for each delay, along all else."""
    return runs.pivot(index="seed", columns=list(columns), values=value)


def over_networks(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Medians, that of the relevant gradient with its interval."""
    groups = runs.groupby(keys)
    found = groups[["growth_rate", "vanishing_horizon"]].median()
    estimates = [median_of(own) for _, own in groups[GRADIENT]]
    for place, ending in enumerate(("", "_low", "_high")):
        found[GRADIENT + ending] = [estimate[place] for estimate in estimates]
    found.insert(0, "networks", groups.size())
    return found.reset_index()


# ---------------------------------------------------------------------------------------------------- what is exact


def cell_path(study: Any) -> dict[str, Any]:
    """Without recurrent weights and inputs the block c<-c is diag(f)^l: both norms from the biases that were drawn."""
    rows = study.blocks[(study.blocks["block"] == "c<-c") & (study.blocks["scales_x"] == 0.0)]
    runs = study.runs.set_index("run_id")["configuration"]
    errors = []
    for run_id, own in rows.groupby("run_id"):
        known = np.array([path_norms(runs[run_id], lag) for lag in own["lag"]])
        measured = own[["log_spectral_norm", "log_frobenius_norm"]].to_numpy(dtype=float)
        errors.append(float(np.abs(measured - known).max()))
    text = "log-norms of dc_T/dc_(T-l) of an LSTM without recurrent weights away from prod f, at most"
    return at_most(text, f"{GERS}; {TALLEC}, eq. 16", largest_of(errors), 0.0, EXACT)


def horizon_of_the_path(study: Any) -> Row:
    """There h and c are 0, and P = [[0, f^l/2], [0, f^l]]: ||P||_2 = sqrt(5/4) f^l, f that of the slowest unit."""
    runs = done(study)
    runs = runs[runs["scales_x"] == 0.0]
    off = []
    for run in runs.to_dict("records"):
        forget = np.split(network(run["configuration"])[1]["b_h"], 4)[1]
        reach = np.floor((1.0 + 0.5 * np.log(1.25)) / np.log1p(np.exp(-forget)).min())
        off.append(abs(float(run["vanishing_horizon"]) - min(reach, float(run["sequence_length"]))))
    text = "vanishing horizon of such an LSTM away from (1 + log(5/4)/2) / log(1/f), in whole steps, at most"
    return at_most(text, f"{TALLEC}, eq. 16", largest_of(off), 0.0)


def path_norms(configuration: str, lag: int) -> tuple[float, float]:
    """log of the largest and of the root mean square of f_k^l over the units k."""
    cell, params = network(configuration)
    forget = np.split(params["b_h"], 4)[1]
    if json.loads(configuration)["cell"]["chrono"] is None:
        logs = np.array([theory.cell_path(float(bias), lag) for bias in forget])
    else:
        logs = np.array([theory.chrono_cell_path(float(np.exp(bias)), lag) for bias in forget])
    return float(logs.max()), float(0.5 * (np.logaddexp.reduce(2.0 * logs) - np.log(cell.hidden_size)))


def at_the_origin(study: Any) -> list[dict[str, Any]]:
    """Each eigenvalue of the formula beside the nearest one of J at the origin, and the other way round."""
    values = study.eigenvalues[(study.eigenvalues["scales_x"] > 0.0) & (study.eigenvalues["matrix"] == "J_0")]
    configurations, found = study.runs.set_index("run_id")["configuration"], []
    for name in GATED:
        errors = []
        for run_id, own in values[values["cell"] == name].groupby("run_id"):
            J = own["real"].to_numpy() + 1j * own["imaginary"].to_numpy()
            apart = np.abs(formula(configurations[run_id])[:, None] - J[None])
            errors.append(max(apart.min(axis=0).max(), apart.min(axis=1).max()))
        text = f"eigenvalues of J at the origin away from the formula, {name}, at most"
        found.append(at_most(text, "derivatives at the origin", largest_of(errors), 0.0, EXACT))
    return found


def by_differences(study: Any) -> list[Row]:
    """For one seed and radius of each cell: the gradient of the loss at the marked step, and the products, beside
    Jacobians by central differences of the forward pass.
    """
    runs = cells(study)
    radii = sorted(runs["spectral_radius"].unique())
    runs = runs[(runs["seed"] == runs["seed"].min()) & (runs["spectral_radius"] == radii[len(radii) // 2])]
    gradients, norms = [], []
    for run in runs.to_dict("records"):
        gradients.append(abs(float(run[GRADIENT]) - relevant_gradient(run["configuration"])))
        stored = study.jacobians[(study.jacobians["run_id"] == run["run_id"]) & (study.jacobians["sequence"] == 0)]
        known = log_norms(run["configuration"])[stored["lag"].to_numpy(int)]
        norms.append(float(np.abs(stored["log_spectral_norm"].to_numpy(float) - known[:, 0]).max()))
    source, said = "central differences of the forward pass", f"{len(runs)} networks"
    return [
        at_most(f"largest error of log ||dL/dx_tau||, {said}", source, largest_of(gradients), 0.0, DIFFERENCES),
        at_most(f"largest error of log ||P||, {said}", source, largest_of(norms), 0.0, DIFFERENCES),
    ]


@cache
def relevant_gradient(configuration: str) -> float:
    """The median over sequences of log ||dL/dx|| at the marked step."""
    found = recomputation.replay(configuration)
    steps = enumerate(found.batch.relevant_step)
    return float(np.median([recomputation.log_input_gradient(found, int(step), sequence) for sequence, step in steps]))


@cache
def log_norms(configuration: str) -> np.ndarray:
    """log ||P||_2 and the typical log-norm of the first sequence, by lag."""
    return recomputation.recompute_log_norms(recomputation.replay(configuration))


def formula(configuration: str) -> np.ndarray:
    """The eigenvalues that theory gives J at the origin, from W_g, W_n or W alone."""
    cell, params = network(configuration)
    W = next(iter(cell.recurrent_blocks(params).values()))
    if cell.name == "lstm":
        return theory.lstm_at_origin(W, forget=json.loads(configuration)["cell"]["forget_bias"])
    return theory.gru_at_origin(W) if cell.name == "gru" else theory.minimal_rnn_at_origin(W)


def network(configuration: str) -> Any:
    """The cell and the weights of a run."""
    return build_network(Configuration.parse(json.loads(configuration)))


# ---------------------------------------------------------------------------------------------------- constant biases


def of_biases(study: Any) -> list[dict[str, Any]]:
    runs = biases(study)
    weak, strong = runs["spectral_radius"].min(), runs["spectral_radius"].max()
    short, long = runs["task_delay"].min(), runs["task_delay"].max()
    found = [decay_follows_the_gate(runs[(runs["spectral_radius"] == weak) & (runs["task_delay"] == long)])]
    for radius in (weak, strong):
        gradients = paired(runs[runs["spectral_radius"] == radius], ["task_delay", "cell_forget_bias"], GRADIENT)
        gain = median_of(gradients[long, 1.0] - gradients[long, 0.0])
        text = f"log relevant gradient at delay {long}, forget bias 1 over 0, rho = {radius:g}"
        found.append(at_least(text, JOZEFOWICZ, gain, 10.0))
        if radius == weak:
            lost = median_of(gradients[short, 1.0] - gradients[long, 1.0])
            text = f"log relevant gradient lost from delay {short} to {long}, forget bias 1, rho = {radius:g}"
            found.append(at_least(text, f"{GERS}: sigma(b_f)^l", lost, 15.0))
    return [*found, open_gates_explode(study, runs)]


def decay_follows_the_gate(runs: pd.DataFrame) -> dict[str, Any]:
    """Of each network the slope of log(-growth rate) against log(-log sigma(b_f)): with weak W the gate is all."""
    rates = paired(runs, ["cell_forget_bias"], "growth_rate")
    rates = rates[[bias for bias in rates if bias <= 3.0]]
    gate = np.log([-theory.cell_path(float(bias), 1) for bias in rates])
    slopes = [np.polyfit(gate, np.log(-row), 1)[0] for row in rates.clip(upper=-1e-12).to_numpy()]
    text = "exponent of the decay rate in -log sigma(b_f), weak W"
    return near(text, f"{GERS}: sigma(b_f)^l", median_of(slopes), 1.0, 0.25)


def open_gates_explode(study: Any, runs: pd.DataFrame) -> dict[str, Any]:
    """No f is above 1; with gates open, sigma(b_f) + 1/4 eig(W_g) is."""
    top = runs[runs["spectral_radius"] == runs["spectral_radius"].max()]
    top = top[top["cell_forget_bias"] == top["cell_forget_bias"].max()]
    own = study.jacobians[study.jacobians["run_id"].isin(top["run_id"])]
    largest = own.groupby("network_id")["log_spectral_norm"].max()
    radius, bias = top["spectral_radius"].iloc[0], top["cell_forget_bias"].iloc[0]
    text = f"largest log ||P||_2 at any lag, forget bias {bias:g}, rho = {radius:g}"
    return at_least(text, "sigma(b_f) + 1/4 rho > 1 at the origin", median_of(largest), 1.0)


# ---------------------------------------------------------------------------------------------------- chrono


def of_chrono(study: Any) -> list[dict[str, Any]]:
    """Memories as long as the delay are needed; longer ones cost little, for each unit writes 1/u less."""
    runs = chrono(study)
    gradients = paired(runs, ["task_delay", "cell_chrono"], GRADIENT)
    short, long = runs["task_delay"].min(), runs["task_delay"].max()
    times = np.sort(runs["cell_chrono"].unique())
    matched = float(times[times > long].min())
    too_short, near_by = float(times[0]), float(times[times > short].min())
    source = f"{TALLEC}, section 2"
    gained = median_of(gradients[long, matched] - gradients[long, too_short])
    cost = median_of(gradients[short, float(times[-1])] - gradients[short, near_by])
    lost = median_of(gradients[short, matched] - gradients[long, matched])
    where = f"log relevant gradient at delay {long}, T_max {matched:g} over {too_short:g}"
    long_one = f"log relevant gradient at delay {short}, T_max {times[-1]:g} over {near_by:g}"
    return [
        at_least(where, source, gained, 5.0),
        at_least(long_one, source, cost, -3.0),
        at_most(f"log relevant gradient lost from delay {short} to {long}, T_max = {matched:g}", source, lost, 5.0),
        reach(runs),
    ]


def reach(runs: pd.DataFrame) -> Row:
    """The last lag with ||P||_2 >= 1/e, over T_max, where every sequence is long enough to see it.

    (u/(1 + u))^u is 1/e, and the slowest unit has a u next to T_max: such a unit alone reaches T_max steps back. The
    path from c to h adds log(5/4)/2 = 0.11 of it (`horizon_of_the_path`), and the recurrent weights add more.
    """
    seen = runs[4.0 * runs["cell_chrono"] <= runs["sequence_length"]]
    ratio = seen["vanishing_horizon"].astype(float) / seen["cell_chrono"]
    text = "vanishing horizon / T_max, T_max at most a quarter of T"
    source = f"{TALLEC}, eq. 16: u/(1 + u) forgets in u steps"
    return at_least(text, source, median_of(one_per_draw(ratio, seen["seed"])), 1.0)


# ---------------------------------------------------------------------------------------------------- cells


def of_cells(study: Any) -> list[dict[str, Any]]:
    runs = cells(study)
    gradients = paired(runs, ["cell", "spectral_radius"], GRADIENT)
    low, high = runs["spectral_radius"].min(), runs["spectral_radius"].max()
    radii = sorted(runs["spectral_radius"].unique())
    across = {name: gradients[name, high] - gradients[name, low] for name in ("elman", *GATED)}
    text = f"log relevant gradient, change from rho = {low:g} to {high:g}"
    found = [at_least(f"{text}, elman", CHEN, median_of(across["elman"]), 50.0)]
    for name in GATED:
        part = median_of(across[name] / across["elman"])
        found.append(at_most(f"{text}, {name}, as a part of elman's", CHEN, part, 0.5))
    return [*found, *of_the_bias(gradients, radii)]


LEAD = 6.0
"""Nats, at least, by which the LSTM is ahead of the GRU at all radii but the largest, and at most, without its bias."""


def of_the_bias(gradients: pd.DataFrame, radii: Sequence[float]) -> list[Row]:
    """The lead of an LSTM with forget bias 1 over a GRU, and its control: the same LSTM with forget bias 0."""
    found, source, text = [], f"{JOZEFOWICZ}: the bias", "log relevant gradient, lstm"
    for radius in radii:
        least, said = (0.0 if radius == radii[-1] else LEAD), f"rho = {radius:g}"
        lead = median_of(gradients["lstm", radius] - gradients["gru", radius])
        biased = median_of(gradients["lstm", radius] - gradients[CONTROL, radius])
        found.append(at_least(f"{text} (forget bias 1) over gru, {said}", source, lead, least))
        found.append(at_least(f"{text}, forget bias 1 over 0, {said}", source, biased, least))
    left = median_of((gradients[CONTROL] - gradients["gru"])[radii].mean(axis=1, skipna=False))
    control = at_most(f"{text} (forget bias 0) over gru, mean over rho", "control: no bias", left, LEAD)
    return [*found, control]


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """The gradient of the loss at the marked step: against the forget bias, against T_max, and for each cell against
    rho.
    """
    tables = summaries(study)
    shape = (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.6 if size == "page" else 6.6), layout="constrained")
    axes = figure.subplots(*shape)
    delays = sorted(set(tables["forget_bias"]["task_delay"]) | set(tables["chrono"]["task_delay"]))
    shades = dict(zip(delays, style.sequence_colours(len(delays)), strict=True))
    draw_biases(axes[0], tables["forget_bias"], shades)
    draw_chrono(axes[1], tables["chrono"], shades)
    draw_cells(axes[2], tables["cells"], compared_delay(done(study)))
    for own in axes[:1] if size == "page" else axes:
        own.set_ylabel(r"$\log\,\|\partial L/\partial x_\tau\|$ (nat)")
    keys = [lines.line_key(f"delay {delay} steps", color=colour, marker="o") for delay, colour in shades.items()]
    layout.footer(figure, keys)
    return {FIGURE: layout.finish(figure)}


def draw_biases(axes: Axes, rows: pd.DataFrame, shades: dict[int, str]) -> None:
    radii = sorted(rows["spectral_radius"].unique())
    for (radius, delay), own in rows.groupby(["spectral_radius", "task_delay"]):
        dash = style.DASHES[radii.index(radius)]
        lines.interval(axes, own, "cell_forget_bias", GRADIENT, color=shades[delay], marker="o", linestyle=dash)
    keys = [lines.line_key(rf"$\rho$ = {radius:g}", linestyle=style.DASHES[i]) for i, radius in enumerate(radii)]
    axes.legend(handles=keys, loc="lower right")
    axes.set(title="LSTM, one bias", xlabel="forget bias $b_f$")


def draw_chrono(axes: Axes, rows: pd.DataFrame, shades: dict[int, str]) -> None:
    """A dotted line where T_max is the delay."""
    for delay, own in rows.groupby("task_delay"):
        lines.interval(axes, own, "cell_chrono", GRADIENT, color=shades[delay], marker="o")
        axes.axvline(float(delay), color=shades[delay], linestyle=":", linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.set(title="LSTM, chrono", xlabel=r"$T_{\max}$ (steps)")


def draw_cells(axes: Axes, rows: pd.DataFrame, delay: int) -> None:
    for place, (name, own) in enumerate(rows.groupby("cell")):
        look = {"color": style.CATEGORIES[place], "marker": style.MARKERS[place]}
        lines.interval(axes, own, "spectral_radius", GRADIENT, label=NAMES.get(str(name), name), **look)
    axes.legend(loc="lower right")
    axes.set(title=f"cells, delay {delay}", xlabel=r"spectral radius $\rho$")


NAMES = {"elman": "Elman", "gru": "GRU", "lstm": "LSTM", CONTROL: "LSTM, bias 0", "minimal_rnn": "minimalRNN"}
