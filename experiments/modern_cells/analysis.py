"""What do recent cells promise of gradients, and what do they keep before training? See README.md in this folder.

`claims` compares cells of about as many parameters with an LSTM: how much of a gradient is lost in a step, how
products of Jacobians grow, and how the state depends on the parameters. Nothing is trained. Where a promise does not
hold in this setting, the claim states what was found.
"""

from __future__ import annotations

import json
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.claims.claims import Row, at_least, at_most, largest_of, median_of, near, smallest_of
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.networks.cells import Cell
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network, run_network

FIGURE = "modern_cells"
RUSCH = "Rusch & Mishra 2021"
ERICHSON = "Erichson et al. 2021"
FENG = "Feng et al. 2024"
GU = "Gu & Dao 2023"
BECK = "Beck et al. 2024"
ZUCCHET = "Zucchet & Orvieto 2024"
EXACT = 1e-9


class Variant(NamedTuple):
    """A cell of the experiment: the column of `runs` that tells it from others of its cell, and its place there."""

    cell: str
    label: str
    column: str | None = None
    rank: int = 0


VARIANTS = {
    "elman": Variant("elman", "Elman"),
    "lstm": Variant("lstm", "LSTM"),
    "slstm": Variant("slstm", "sLSTM"),
    "min_gru": Variant("min_gru", "minGRU"),
    "selective": Variant("selective_diagonal", "S6"),
    "cornn": Variant("cornn", "coRNN", "cell_dt", -1),
    "cornn_fine": Variant("cornn", "coRNN, dt / 4", "cell_dt", 0),
    "lipschitz": Variant("lipschitz_rnn", "Lipschitz, gain 1", "initializer_requested", -1),
    "lipschitz_small": Variant("lipschitz_rnn", "Lipschitz, gain 1/sqrt(N)", "initializer_requested", 0),
}
"""Of two values of a column the smaller has rank 0, the larger rank -1."""


def claims(study: Any) -> pd.DataFrame:
    """coRNN, Lipschitz RNN, minGRU, S6 and sLSTM, then what holds of all of them.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    rows = [*of_cornn(study), *of_lipschitz(study), *of_minimal_gates(study), *of_selection(study), *of_slstm(study)]
    return pd.DataFrame([*rows, exponents_are_growth_rates(study), *of_sensitivity(study)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Of every cell the medians over networks, the loss in a step with its interval; sensitivities over time."""
    runs = done(study)
    found = runs.groupby("variant", sort=False)[["growth_rate", "vanishing_horizon", "lyapunov_exponent"]].median()
    losses = lost_in_a_step(study)
    estimates = [median_of(losses[name]) for name in found.index]
    for place, ending in enumerate(("", "_low", "_high")):
        found[f"lost{ending}"] = [estimate[place] for estimate in estimates]
    found.insert(0, "networks", runs.groupby("variant", sort=False)["seed"].nunique())
    found["largest_log_norm"] = [median_of(largest_norms(study, name)).value for name in found.index]
    return {"cells": found.reset_index(), "sensitivity": sensitivities(study).reset_index()}


# ---------------------------------------------------------------------------------------------------- parts


def done(study: Any) -> pd.DataFrame:
    """The runs, with the name of their variant: the first one that they are, or else their cell."""
    runs = study.runs[study.runs["status"] == "done"]
    names = runs["cell"].astype(object)
    for name, variant in reversed(VARIANTS.items()):
        own = runs["cell"] == variant.cell
        if variant.column is not None and own.any():
            own &= runs[variant.column] == np.sort(runs.loc[own, variant.column].unique())[variant.rank]
        names = names.mask(own, name)
    return runs.assign(variant=names.astype(str))


def named(study: Any, table: str, *names: str) -> pd.DataFrame:
    """Rows of a table with the variant of their run; of these variants, if any are named."""
    runs = done(study).set_index("run_id")["variant"]
    rows = study.table(table) if hasattr(study, "table") else getattr(study, table)
    rows = rows.assign(variant=rows["run_id"].map(runs))
    return rows[rows["variant"].isin(names or tuple(VARIANTS))]


def lost_in_a_step(study: Any) -> pd.DataFrame:
    """Nats of the gradient at the marked step that one more step of delay costs: a row a seed, a column a variant."""
    runs = done(study)
    gradients = runs.pivot(index="seed", columns=["variant", "task_delay"], values="log_relevant_gradient")
    short, long = runs["task_delay"].min(), runs["task_delay"].max()
    return pd.DataFrame(
        {name: (gradients[name, short] - gradients[name, long]) / (long - short) for name in runs["variant"].unique()}
    )


def largest_norms(study: Any, name: str) -> pd.Series:
    """The largest log ||P||_2 at any lag, of every network."""
    return named(study, "jacobians", name).groupby("network_id")["log_spectral_norm"].max()


def by_seed(study: Any, name: str, column: str) -> pd.Series:
    """A column of one variant, one value for each network."""
    runs = done(study)
    return runs[runs["variant"] == name].groupby("seed")[column].median()


# ---------------------------------------------------------------------------------------------------- each promise


def keeps_more(study: Any, name: str, source: str, least: float = 0.05) -> Row:
    losses = lost_in_a_step(study)
    text = f"nats of the gradient lost in a step, LSTM less {VARIANTS[name].label}"
    return at_least(text, source, median_of(losses["lstm"] - losses[name]), least)


def of_cornn(study: Any) -> list[Row]:
    """No explosion; decay, slow, at a rate that belongs to time and not to steps."""
    rate, fine = (by_seed(study, name, "growth_rate") for name in ("cornn", "cornn_fine"))
    largest = median_of(largest_norms(study, "cornn"))
    return [
        at_most("largest log ||P||_2 at any lag, coRNN", f"{RUSCH}: bounded gradients", largest, 1.0),
        at_most(
            "log ||P||_2 of coRNN less its bound, at any lag l >= 1",
            f"{RUSCH}: ||J|| is 1 + O(dt)",
            over_bound(study),
            0.0,
            EXACT,
        ),
        at_most(
            "error of log ||P||_2 of coRNN from its recurrence",
            f"{RUSCH}: the recurrence",
            from_recurrence(study),
            0.0,
            EXACT,
        ),
        keeps_more(study, "cornn", f"{RUSCH}: vanishing mitigated"),
        at_most("growth rate of coRNN: exponential decay", f"{RUSCH}: mitigated, not removed", median_of(rate), -0.015),
        near("growth rate of coRNN over that with dt / 4", "a rate in time", median_of(rate / fine), 3.5, 1.0),
    ]


def over_bound(study: Any) -> float:
    """The largest log ||P||_2 - l log b of any coRNN, ||J_t||_2 <= b, over lags l >= 1."""
    rows = named(study, "jacobians", "cornn", "cornn_fine")
    rows, logs = rows[rows["lag"] > 0], {}
    for run_id, text in study.runs.set_index("run_id").loc[rows["run_id"].unique(), "configuration"].items():
        logs[run_id] = np.log(bound_of_a_step(*build_network(Configuration.parse(json.loads(text)))))
    return largest_of(rows["log_spectral_norm"] - rows["lag"] * rows["run_id"].map(logs))


def bound_of_a_step(cell: Cell, params: Params) -> float:
    """A bound of ||J_t||_2 at any state and input, from the weights: one and a multiple of dt.

    With S = diag tanh'(a_t), of norm 1 at most, and explicit damping

        J_t = [ I  dt I ] ( [ I        0        ]      [ 0            0     ] )
              [ 0    I  ] ( [ 0  (1 - dt eps) I ] + dt [ S W - gamma  S W_z ] )

    so ||J_t|| <= (1 + dt) (max(1, |1 - dt eps|) + dt sqrt((||W|| + gamma)^2 + ||W_z||^2)). The paper states such a
    bound in another norm, and for dt that is small beside the norms of W and W_z.
    """
    W, W_z = (float(np.linalg.norm(params[name], 2)) for name in ("W", "W_z"))
    kept = max(1.0, abs(1.0 - cell.dt * cell.epsilon))
    return (1.0 + cell.dt) * (kept + cell.dt * float(np.hypot(W + cell.gamma, W_z)))


def from_recurrence(study: Any) -> float:
    """Of one network at both lengths of a step: log ||P||_2 beside products of Jacobians that are written out."""
    runs, errors = done(study), []
    for name in ("cornn", "cornn_fine"):
        own = runs[(runs["variant"] == name) & (runs["seed"] == runs["seed"].min())].iloc[0]
        J = written_out(Configuration.parse(json.loads(own["configuration"])))
        rows = study.jacobians[(study.jacobians["run_id"] == own["run_id"]) & (study.jacobians["sequence"] == 0)]
        for t, lag, norm in rows[["t", "lag", "log_spectral_norm"]].itertuples(index=False):
            P = reduce(lambda product, J_t: J_t @ product, J[t - lag : t], np.eye(J.shape[-1]))
            errors.append(abs(float(np.log(np.linalg.norm(P, 2))) - norm))
    return largest_of(errors)


def written_out(configuration: Configuration) -> Array:
    """J_t of the first sequence at t = 1 to T, by the paper's equations with explicit damping: states, too, are
    computed here, and nothing of the cell is called.  -> (T, 2N, 2N)
    """
    trace, _ = run_network(configuration)
    cell, params = trace.cell, trace.params
    y, z = np.split(trace.h[0, 0], 2)
    one, zero = np.eye(cell.hidden_size), np.zeros((cell.hidden_size, cell.hidden_size))
    found = []
    for x_t in trace.x[:, 0]:
        f = np.tanh(params["W"] @ y + params["W_z"] @ z + params["V"] @ x_t + params["b_h"])
        slope = (1.0 - f**2)[:, None]
        dz = np.hstack([one * -cell.gamma + slope * params["W"], one * -cell.epsilon + slope * params["W_z"]])
        dz = np.hstack([zero, one]) + cell.dt * dz
        found.append(np.vstack([np.hstack([one, zero]) + cell.dt * dz, dz]))
        z = z + cell.dt * (f - cell.gamma * y - cell.epsilon * z)
        y = y + cell.dt * z
    return np.array(found)


def of_lipschitz(study: Any) -> list[Row]:
    """Near the identity by its small step; stable only where the symmetric parts allow it."""
    grown, small = (median_of(largest_norms(study, name)) for name in ("lipschitz", "lipschitz_small"))
    rate = median_of(by_seed(study, "lipschitz_small", "growth_rate"))
    text = "largest log ||P||_2 at any lag, Lipschitz RNN"
    return [
        keeps_more(study, "lipschitz", f"{ERICHSON}: epsilon keeps J near one"),
        keeps_more(study, "lipschitz_small", f"{ERICHSON}: epsilon keeps J near one"),
        at_most(f"{text}, gain 1/sqrt(N)", f"{ERICHSON}: stability", small, 1.5),
        conditions_of_stability(study),
        at_least(
            "growth rate of the Lipschitz RNN, gain 1/sqrt(N)", f"outside the conditions of {ERICHSON}", rate, 0.0
        ),
        at_least(f"{text}, gain 1", f"outside the conditions of {ERICHSON}", grown, 1.5),
    ]


def conditions_of_stability(study: Any) -> Row:
    """The conditions ask for a negative definite symmetric part of S(W_A); of any draw with beta < 1 it is not."""
    runs, found = done(study), []
    for text in runs.loc[runs["variant"] == "lipschitz_small", "configuration"]:
        cell, params = build_network(Configuration.parse(json.loads(text)))
        A = cell.recurrent_blocks(params)["S(W_A)"]
        found.append(float(np.linalg.eigvalsh(0.5 * (A + A.T))[-1]))
    text = "largest eigenvalue of the symmetric part of S(W_A), gain 1/sqrt(N), at least"
    return at_least(text, f"{ERICHSON}: negative definite", smallest_of(found), 0.0)


def of_minimal_gates(study: Any) -> list[Row]:
    """Products of what is kept: never above one, known from the inputs, and short before training."""
    norms = named(study, "jacobians", "min_gru")
    losses = lost_in_a_step(study)
    more = median_of(losses["min_gru"] - losses["lstm"])
    return [
        at_most(
            "log ||P||_2 of minGRU, at most", f"{FENG}: convex", largest_of(norms["log_spectral_norm"]), 0.0, EXACT
        ),
        at_most(
            "error of log ||P||_2 of minGRU from its inputs", f"{FENG}: linear in h", from_inputs(study), 0.0, EXACT
        ),
        at_least(
            "nats of the gradient lost in a step, minGRU less LSTM",
            f"before training, of which {FENG} says nothing",
            more,
            0.1,
        ),
    ]


def from_inputs(study: Any) -> float:
    """Of one network: the largest product over units of 1 - u_t, with no state at all, beside log ||P||_2."""
    runs = done(study)
    own = runs[(runs["variant"] == "min_gru") & (runs["seed"] == runs["seed"].min())].iloc[0]
    configuration = Configuration.parse(json.loads(own["configuration"]))
    trace, _ = run_network(configuration)
    params, gate = trace.params, slice(0, trace.cell.hidden_size)
    a_u = trace.x[:, 0] @ params["V"][gate].T + params["b_h"][gate]
    kept = -np.logaddexp(0.0, a_u)
    rows = study.jacobians[(study.jacobians["run_id"] == own["run_id"]) & (study.jacobians["sequence"] == 0)]
    errors = [abs(kept[t - lag : t].sum(axis=0).max() - norm) if lag else abs(norm)
              for t, lag, norm in rows[["t", "lag", "log_spectral_norm"]].itertuples(index=False)]  # fmt: skip
    return largest_of(errors)


def of_selection(study: Any) -> list[Row]:
    """Channels that only decay, as slowly as their steps are short."""
    blocks = named(study, "blocks", "selective")
    own = blocks.loc[blocks["block"] == "s<-s", "log_spectral_norm"]
    rate = median_of(by_seed(study, "selective", "growth_rate"))
    return [
        at_most("log norm of ds_T/ds_(T-l) of S6, at most", f"{GU}: exp of negative A", largest_of(own), 0.0, EXACT),
        at_least("growth rate of S6", f"{GU}: steps from 0.001 to 0.1", rate, -0.02),
        keeps_more(study, "selective", f"{GU}: long memory"),
    ]


def of_slstm(study: Any) -> list[Row]:
    """Exponential gates and the normaliser do not reach further than sigmoid gates before training."""
    losses = lost_in_a_step(study)
    more = median_of(losses["slstm"] - losses["lstm"])
    largest = median_of(largest_norms(study, "slstm"))
    return [
        at_least(
            "nats of the gradient lost in a step, sLSTM less LSTM",
            f"before training, of which {BECK} says nothing",
            more,
            -0.02,
        ),
        at_least("largest log ||P||_2 at any lag, sLSTM", f"{BECK}: n and m in the state", largest, 1.0),
    ]


# ---------------------------------------------------------------------------------------------------- all cells


def exponents_are_growth_rates(study: Any) -> Row:
    """Two ways to the same rate: from a QR of one direction, and from norms of products."""
    runs = done(study)
    apart = (runs["lyapunov_exponent"].astype(float) - runs["growth_rate"].astype(float)).abs()
    return at_most("largest exponent away from the growth rate, any run", "definition", largest_of(apart), 0.0, 0.05)


def sensitivities(study: Any) -> pd.DataFrame:
    """log of the root of the sum of squares of ||dh_t/dtheta|| over parameters; a row a variant and network, by t."""
    rows = named(study, "sensitivity")
    rows = rows.assign(square=2.0 * rows["log_norm"])
    whole = rows.groupby(["variant", "network_id", "t"])["square"].agg(np.logaddexp.reduce) / 2.0
    return whole.unstack()


def of_sensitivity(study: Any) -> list[Row]:
    """What remembers accumulates: the state's dependence on its parameters grows over as many steps as it remembers."""
    found = sensitivities(study)
    early, late = sorted(found.columns)[3], sorted(found.columns)[-1]
    grown = found[late] - found[early]
    text = f"log ||dh_t/dtheta|| from t = {early} to {late}"
    return [
        at_most(f"{text}, {VARIANTS[name].label}", f"{ZUCCHET}: bounded memory", median_of(grown[name]), 0.5)
        for name in ("elman", "lstm", "min_gru", "slstm")
    ] + [
        at_least(f"{text}, Lipschitz RNN", f"{ZUCCHET}: the curse of memory", median_of(grown["lipschitz_small"]), 1.5)
    ]


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """What a step of delay costs, products of Jacobians over lags, and how the state depends on the parameters."""
    shape = (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.9 if size == "page" else 7.4), layout="constrained")
    axes = figure.subplots(*shape)
    draw_losses(axes[0], summaries(study)["cells"])
    draw_products(axes[1], study)
    draw_sensitivity(axes[2], sensitivities(study))
    keys = [lines.line_key(drawn_label(variant), **look_of(name)) for name, variant in VARIANTS.items()]
    layout.footer(figure, keys)
    return {FIGURE: layout.finish(figure)}


def look_of(name: str) -> dict[str, Any]:
    """A colour for each cell; dashes for the second variant of one."""
    cells = list(dict.fromkeys(variant.cell for variant in VARIANTS.values()))
    dashes = style.DASHES[1 if name in ("cornn_fine", "lipschitz_small") else 0]
    return {"color": style.CATEGORIES[cells.index(VARIANTS[name].cell)], "linestyle": dashes}


def drawn_label(variant: Variant) -> str:
    return variant.label.replace("1/sqrt(N)", r"$1/\sqrt{N}$")


def draw_losses(axes: Axes, rows: pd.DataFrame) -> None:
    rows = rows.sort_values("lost", ascending=False).reset_index(drop=True)
    for place, row in rows.iterrows():
        colour = look_of(row["variant"])["color"]
        axes.plot([row["lost_low"], row["lost_high"]], [place, place], color=colour, linewidth=1.2)
        axes.plot([row["lost"]], [place], color=colour, marker="o", linestyle="none")
    axes.axvline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(rows)), [drawn_label(VARIANTS[name]) for name in rows["variant"]])
    axes.set(title="gradient lost in a step", xlabel="nats per step of delay")


def draw_products(axes: Axes, study: Any) -> None:
    rows = named(study, "jacobians")
    for name in VARIANTS:
        own = rows[(rows["variant"] == name) & (rows["lag"] > 0)].groupby("lag")["log_spectral_norm"].median()
        axes.plot(own.index, own, **look_of(name))
    axes.set(title="products", xlabel=r"lag $\ell$ (steps)", ylabel=r"$\log\,\|P\|_2$, median", xscale="log")
    axes.set_yscale("symlog", linthresh=1.0)


def draw_sensitivity(axes: Axes, found: pd.DataFrame) -> None:
    for name in VARIANTS:
        if name in found.index.get_level_values("variant"):
            own = found.loc[name].median()
            axes.plot(own.index, own, **look_of(name))
    axes.set(title="sensitivity", xlabel="$t$ (steps)", xscale="log")
    axes.set_ylabel(r"$\log\,\|\partial h_t/\partial\theta\|$, median")
