"""Which gates learn to recall a number, after how many updates, and does the gradient before training tell? See
README.md in this folder.

`claims` compares networks of one seed: LSTMs that differ in their forget biases alone, GRUs and Elman networks.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.claims.claims import Row, at_least, at_most, largest_of, median_of, share_of
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.verification import retraining

FIGURE = "gates_in_training"
JOZEFOWICZ = "Jozefowicz, Zaremba & Sutskever 2015"
TALLEC = "Tallec & Ollivier 2018b"
BENGIO = "Bengio, Simard & Frasconi 1994"
DIFFERENCES = "central differences of the forward pass"
NAMES = {"bias_0": "LSTM, bias 0", "bias_1": "LSTM, bias 1", "chrono": "LSTM, chrono", "gru": "GRU", "elman": "Elman"}
LSTMS = ("bias_0", "bias_1", "chrono")
GRADIENT = "log_relevant_gradient"
CLOSE = 1e-6
"""Of logarithms, between the engine and central differences."""
NEVER = 1e6
"""Updates of a network that did not solve its task: more than any has."""


def claims(study: Any) -> pd.DataFrame:
    """The gradient of the first update, who learns and how fast, and what the gradient before training tells.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    rows = networks(study)
    return pd.DataFrame([of_updates(study), *of_bias(rows), *of_chrono(rows), *of_cells(rows), *of_prediction(rows)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Of each cell and delay: how many networks solved the task, the median of updates, and what was measured before
    training.
    """
    rows = networks(study)
    groups = rows.assign(was_solved=rows["updates"] < NEVER).groupby(["kind", "delay"])
    found = groups.agg(
        networks=("seed", "size"),
        solved=("was_solved", "sum"),
        updates=("updates", "median"),
        **{name: (name, "median") for name in (GRADIENT, "growth_rate", "vanishing_horizon")},
    )
    return {"cells": found.assign(updates=found["updates"].where(found["updates"] < NEVER)).reset_index()}


def networks(study: Any) -> pd.DataFrame:
    """A row for each network: its kind, the delay, the updates to the solution, and what was measured before it."""
    runs = study.runs[study.runs["status"] == "done"]
    bias = "bias_" + runs["cell_forget_bias"].astype(float).map("{:g}".format)
    chrono = runs["cell_chrono"].notna().to_numpy(bool)
    lstm = (runs["cell"] == "lstm").to_numpy(bool)
    kind = np.where(lstm, np.where(chrono, "chrono", bias), runs["cell"])
    runs = runs.assign(kind=kind, delay=runs["task_delay"].astype(int)).sort_values("update")
    keys = ["kind", "delay", "seed"]
    first, last = (runs.groupby(keys).nth(place).set_index(keys) for place in (0, -1))
    found = first[[GRADIENT, "growth_rate", "vanishing_horizon", "configuration"]].copy()
    for name in (GRADIENT, "growth_rate", "vanishing_horizon"):
        found[name] = found[name].astype(float)
    solved = last["solved_at"].astype("Float64").astype(float).fillna(NEVER)
    return found.assign(updates=solved).reset_index()


def paired(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """A row for each seed: one draw of data for each delay and of weights for each cell."""
    return rows.pivot(index="seed", columns=["kind", "delay"], values=value)


def delays(rows: pd.DataFrame) -> tuple[int, int]:
    """The shortest and the longest."""
    return int(rows["delay"].min()), int(rows["delay"].max())


def solved_share(rows: pd.DataFrame, kind: str, delay: int) -> Any:
    own = rows[(rows["kind"] == kind) & (rows["delay"] == delay)]
    return share_of(own["updates"] < NEVER)


# ---------------------------------------------------------------------------------------------------- claims


def of_updates(study: Any) -> Row:
    """The first update of one LSTM: its loss and its gradient, which goes through all gates and steps."""
    runs = study.runs[(study.runs["cell"] == "lstm") & (study.runs["status"] == "done")]
    errors = [update_error(one) for one in runs.sort_values(["task_delay", "seed"])["configuration"].head(1)]
    text = "|log loss| and |log ||gradient||| of the first update of an LSTM off, at most"
    return at_most(text, DIFFERENCES, largest_of(errors), 0.0, CLOSE)


@cache
def update_error(configuration: str) -> float:
    (known,), (measured,) = (of(configuration, 1) for of in (retraining.first_updates, retraining.engine_updates))
    off = np.log(known.loss / measured.loss), known.log_gradient_norm - measured.log_gradient_norm
    return float(np.abs(off).max())


def of_bias(rows: pd.DataFrame) -> list[Row]:
    short, long = delays(rows)
    updates = paired(rows, "updates").reindex(columns=[("bias_0", short), ("bias_1", short)])
    gained = updates["bias_0", short] - updates["bias_1", short]
    return [
        at_least(f"updates to the solution, bias 0 less 1, delay {short}", JOZEFOWICZ, median_of(gained), 0.0),
        at_most(f"share solved, bias 0, delay {long}", JOZEFOWICZ, solved_share(rows, "bias_0", long), 0.5),
    ]


def of_chrono(rows: pd.DataFrame) -> list[Row]:
    _, long = delays(rows)
    updates = paired(rows, "updates").reindex(columns=[(kind, long) for kind in LSTMS])
    gained = updates["bias_1", long] - updates["chrono", long]
    return [
        at_least(f"share solved, chrono, delay {long}", TALLEC, solved_share(rows, "chrono", long), 0.5),
        at_least(f"updates to the solution, bias 1 less chrono, delay {long}", TALLEC, median_of(gained), 100.0),
    ]


def of_cells(rows: pd.DataFrame) -> list[Row]:
    short, long = delays(rows)
    return [
        at_most(f"share solved, Elman, delay {long}", BENGIO, solved_share(rows, "elman", long), 0.5),
        at_least(f"share solved, GRU, delay {long}", JOZEFOWICZ, solved_share(rows, "gru", long), 0.4),
        at_least(f"share solved, GRU, delay {short}", JOZEFOWICZ, solved_share(rows, "gru", short), 0.5),
    ]


def of_prediction(rows: pd.DataFrame) -> list[Row]:
    """Among LSTMs the gradient before training tells who learns; a GRU learns with a gradient as small as theirs."""
    _, long = delays(rows)
    gradient = paired(rows, GRADIENT).reindex(columns=[(kind, long) for kind in (*LSTMS, "gru")])
    text = f"log relevant gradient before training, delay {long}"
    lstms = rows[rows["kind"].isin(LSTMS)]
    told = [order_told(own, GRADIENT) for _, own in lstms.groupby("seed")]
    reach = [order_told(own.assign(reach=own["vanishing_horizon"] / own["delay"]), "reach")
             for _, own in lstms.groupby("seed")]  # fmt: skip
    return [
        at_least(f"{text}, bias 1 over 0", JOZEFOWICZ, median_of(gradient["bias_1", long] - gradient["bias_0", long]),
                 2.0),
        at_least(f"{text}, chrono over bias 1", TALLEC,
                 median_of(gradient["chrono", long] - gradient["bias_1", long]), 0.0),
        at_least("pairs of LSTMs of a seed, one of which learnt: share with the larger gradient in it", BENGIO,
                 median_of(told), 0.75),
        at_least("the same of horizon over delay", BENGIO, median_of(reach), 0.75),
        at_most(f"{text}, GRU over bias 1", "the gradient alone does not tell across cells",
                median_of(gradient["gru", long] - gradient["bias_1", long]), -1.0),
    ]  # fmt: skip


def order_told(rows: pd.DataFrame, value: str) -> float:
    """Of all pairs of a network that solved its task and one that did not, the share in which the first has the larger
    value; a tie counts one half. NaN: there is no pair.
    """
    solved = (rows["updates"] < NEVER).to_numpy(bool)
    apart = rows[value].to_numpy(float)[solved][:, None] - rows[value].to_numpy(float)[~solved][None]
    return float(np.mean((np.sign(apart) + 1.0) / 2.0)) if apart.size else float("nan")


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """Shares of networks that solved the task against updates, at two delays, and the gradient before training."""
    rows = networks(study)
    shape = (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.6 if size == "page" else 6.9), layout="constrained")
    axes = figure.subplots(*shape)
    updates = float(study.runs["training_updates"].max())
    for own, delay in zip(axes, delays(rows), strict=False):
        draw_solved(own, rows[rows["delay"] == delay], updates)
        own.set_title(f"delay {delay}")
    draw_gradients(axes[2], rows)
    axes[0].set_ylabel("share solved")
    looks = {name: looks_of(kind) for kind, name in NAMES.items()}
    layout.footer(figure, [lines.line_key(name, **look) for name, look in looks.items()])
    return {FIGURE: layout.finish(figure)}


def looks_of(kind: str) -> dict[str, Any]:
    place = list(NAMES).index(kind)
    return {"color": style.CATEGORIES[place], "linestyle": style.DASHES[0] if kind in LSTMS else style.DASHES[1]}


def draw_solved(axes: Axes, rows: pd.DataFrame, updates: float) -> None:
    """The share that had solved the task at each update. All were trained for as many updates."""
    for kind in NAMES:
        own = np.sort(rows.loc[rows["kind"] == kind, "updates"].to_numpy(float))
        times = own[own < NEVER]
        if len(own):
            share = np.arange(len(times) + 1) / len(own)
            places = np.concatenate([[0.0], times, [updates]])
            axes.step(places, [*share, share[-1]], where="post", **looks_of(kind))
    axes.set(xlabel="update", ylim=(-0.03, 1.03))


def draw_gradients(axes: Axes, rows: pd.DataFrame) -> None:
    """Each network before training: filled if it solved its task."""
    for place, kind in enumerate(NAMES):
        own = rows[rows["kind"] == kind]
        solved = (own["updates"] < NEVER).to_numpy(bool)
        shift = (place - 2) * 0.9
        for chosen, face in ((solved, looks_of(kind)["color"]), (~solved, "white")):
            part = own[chosen]
            axes.plot(part["delay"] + shift, part[GRADIENT], linestyle="none", marker="o", markersize=3,
                      color=looks_of(kind)["color"], markerfacecolor=face, markeredgewidth=0.7)  # fmt: skip
    axes.set(title="before training (filled: learns)", xlabel="delay (steps)")
    axes.set_ylabel(r"$\log\,\|\partial L/\partial x_\tau\|$ (nat)")
