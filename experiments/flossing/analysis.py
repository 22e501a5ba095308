"""Does flossing, exponents that are pushed to 0, let a network learn longer delays? See README.md in this folder.

`claims` computes two updates of flossing again in NumPy, and compares exponents, conditions of products of Jacobians
and the delays that are learnt without flossing, with flossing before training, and with flossing before and during it.

Index legend: T time, B sequence, N hidden unit, K direction.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.claims.claims import Row, at_least, at_most, largest_of, median_of, share_of
from bpttlab.claims.solved import count_solved, solved_at_the_first_check, solved_shares
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.measures.volume_growth import Frame
from bpttlab.numerics.array import Array
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network
from bpttlab.training.data import FreshBatches

FIGURE = "flossing"
ENGELKEN = "Engelken 2023"
CONTROL = "control: a short delay is learnt anyway"
RECOMPUTED = "definition, computed again in NumPy"
DIFFERENCES = 1e-6
"""Of what was computed again: the gradient of the penalty is that of central differences."""
KINDS = {"none": "no flossing", "before": "flossing before training", "during": "flossing before and during"}
STEPS = 2
"""The updates of the networks whose first steps are computed again."""


def claims(study: Any) -> pd.DataFrame:
    """Two updates, then exponents and conditions, then the delays that are learnt.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    exact = [*first_updates(study), solved_at_the_first_check(ends(study), study.training)]
    return pd.DataFrame([*exact, *of_exponents(study), *of_conditions(study), *of_delays(study)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """How many networks learnt; medians of exponents and of conditions before, after flossing, and at the end."""
    return {"delays": solved_shares(ends(study), ["kind", "delay"]),
            "exponents": medians(exponents(study), ["index"], "lyapunov_exponent"),
            "conditions": medians(conditions(study), [], "log_condition")}  # fmt: skip


# ---------------------------------------------------------------------------------------------------- parts


def trained(study: Any) -> pd.DataFrame:
    """The runs of networks that were trained to the end: when they were flossed, and the delay of their task."""
    runs = study.runs[study.runs["training_updates"].gt(STEPS)]
    flossed = (runs["penalty"] == "flossing").to_numpy(dtype=bool, na_value=False)
    ended = runs["training_penalty_until"].notna()
    kind = np.where(flossed, np.where(ended, "before", "during"), "none")
    return runs.assign(kind=kind, delay=runs["sequence_length"] - 2 * runs["task_symbols"])


def ends(study: Any) -> pd.DataFrame:
    """A row for each network, of its last update."""
    runs = trained(study)
    return runs[runs["update"] == runs["training_updates"]]


def measured(study: Any, name: str) -> pd.DataFrame:
    """A table with `kind`, `delay` and `stage` of its network: first, flossed (after the updates of flossing alone, or
    as many without it), end.
    """
    runs = trained(study)
    flossed = int(runs["training_penalty_alone"].max())
    stage = np.select([runs["update"] == 0, runs["update"] == flossed], ["first", "flossed"], "end")
    known = runs.assign(stage=stage)[["run_id", "kind", "delay", "stage"]]
    return study.table(name).merge(known, on="run_id")


def exponents(study: Any) -> pd.DataFrame:
    """The exponents that flossing pushes to 0."""
    count = int(trained(study)["penalty_exponents"].dropna().astype(int).max())
    table = measured(study, "spectra")
    return table[table["index"] <= count]


def squared_exponents(study: Any) -> pd.DataFrame:
    """Sum over i of lambda_i^2: a row for each kind, delay and seed, a column for each stage."""
    rows = exponents(study)
    squares = rows.assign(squares=rows["lyapunov_exponent"].astype(float) ** 2)
    return squares.pivot_table(index=["kind", "delay", "seed"], columns="stage", values="squares", aggfunc="sum")


def conditions(study: Any) -> pd.DataFrame:
    """log sigma_1 / sigma_k of the product of all Jacobians, k as many as exponents are pushed to 0."""
    count = int(trained(study)["penalty_exponents"].dropna().astype(int).max())
    rows = measured(study, "singular_values")
    rows = rows[(rows["lag"] == rows["sequence_length"]) & rows["index"].isin([1, count])]
    keys = ["kind", "delay", "stage", "seed"]
    wide = rows.pivot_table(index=keys, columns="index", values="log_singular_value", aggfunc="mean")
    return (wide[1] - wide[count]).rename("log_condition").reset_index()


def medians(rows: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Median over networks with its interval, by kind, delay, stage and what `by` names."""
    found, keys = [], ["kind", "delay", "stage", *by]
    for names, own in rows.groupby(keys):
        middle = median_of(own[value])
        known = dict(zip(keys, names, strict=True)) | {"networks": len(own), value: middle.value}
        found.append(known | {f"{value}_low": middle.low, f"{value}_high": middle.high})
    return pd.DataFrame(found)


# ------------------------------------------------------------------------------------------ the first updates


def first_updates(study: Any) -> list[Row]:
    """Two updates of flossing: what the loop recorded beside the same in NumPy."""
    runs = study.runs[(study.runs["training_updates"] == STEPS) & (study.runs["update"] == STEPS)]
    table = study.training.set_index(["run_id", "update"])
    errors: dict[str, list[float]] = {"penalty": [], "log_gradient_norm": []}
    for run in runs.to_dict("records"):
        for update, known in enumerate(recompute_updates(run["configuration"]), start=1):
            for name, found in errors.items():
                found.append(abs(float(table.loc[(run["run_id"], update)][name]) - known[name]))
    words = {"penalty": "sum of squared exponents before updates 1 and 2",
             "log_gradient_norm": "log norm of its gradient there"}  # fmt: skip
    said = f"{len(runs)} networks, largest error"
    return [at_most(f"{words[name]}: {said}", RECOMPUTED, largest_of(found), 0.0, DIFFERENCES)
            for name, found in errors.items()]  # fmt: skip


def recompute_updates(configuration: str) -> list[dict[str, float]]:
    """The penalty before each of two steps of Adam along its gradient alone, and the log norm of the gradient."""
    read = Configuration.parse(json.loads(configuration))
    _, params = build_network(read)
    training, penalty = read.training, read.penalty
    assert training is not None and training.learning_rate is not None and penalty is not None
    data = FreshBatches(read.task, read.values.seed, read.values.batch_size)
    found, moved = [], {name: np.array(params[name], float) for name in ("V", "W", "b_h")}
    for update in range(1, STEPS + 1):
        x = data.batch(update).x
        value = penalty_of(moved, x, penalty.exponents, penalty.transient)
        gradient = differentiate(moved, x, penalty.exponents, penalty.transient)
        norm = np.sqrt(sum((one**2).sum() for one in gradient.values()))
        found.append({"penalty": value, "log_gradient_norm": float(np.log(norm))})
        # the first step of Adam, of which no number after the second is asked: both means are g and g^2
        step = {name: one / (np.abs(one) + read.optimizer.eps) for name, one in gradient.items()}
        moved = {name: moved[name] - training.learning_rate * step[name] for name in moved}
    return found


def penalty_of(params: dict[str, Array], x: Array, count: int, transient: float) -> float:
    """Mean over sequences of sum_i lambda_i^2 of a tanh network from h_0 = 0, with a QR at each step.  x (T,B,I)"""
    V, W, b_h = params["V"], params["W"], params["b_h"]
    (T, B), first = x.shape[:2], int(transient * len(x))
    h, Q, logs = np.zeros((B, len(W))), Frame.start(B, len(W), count).Q, np.zeros((B, count))
    for t, x_t in enumerate(x, start=1):
        h = np.tanh(x_t @ V.T + h @ W.T + b_h)
        Q, R = np.linalg.qr((1.0 - h**2)[..., None] * W @ Q)
        if t > first:
            logs += np.log(np.abs(np.diagonal(R, axis1=-2, axis2=-1)))
    return float(((logs / (T - first)) ** 2).sum() / B)


def differentiate(params: dict[str, Array], x: Array, count: int, transient: float) -> dict[str, Array]:
    """Central differences of the penalty by each number of V, W and b_h."""
    found, eps = {name: np.zeros_like(one) for name, one in params.items()}, 1e-5
    for name, one in params.items():
        for place in np.ndindex(*one.shape):
            step = np.zeros_like(one)
            step[place] = eps
            ahead, back = (penalty_of(params | {name: one + sign * step}, x, count, transient) for sign in (1, -1))
            found[name][place] = (ahead - back) / (2.0 * eps)
    return found


# ------------------------------------------------------------------------------------------ what flossing changes


def of_exponents(study: Any) -> list[Row]:
    """Flossing moves exponents to 0, training moves them away, and flossing during training holds them."""
    squares, found = squared_exponents(study), []
    for delay, own in squares.loc["before"].groupby("delay"):
        text = f"log of the sum of squared exponents, delay {delay}: flossed over first"
        found.append(at_most(text, ENGELKEN, median_of(np.log(own["flossed"] / own["first"])), np.log(0.01)))
    ratio = np.log(squares.loc["during", "end"] / squares.loc["before", "end"])
    for delay, own in ratio.groupby("delay"):
        text = f"log of the sum of squared exponents at the end, delay {delay}: flossing before and during over before"
        found.append(at_most(text, ENGELKEN, median_of(own), np.log(0.1)))
    return found


def of_conditions(study: Any) -> list[Row]:
    """Flossing halves the log of the condition, or more: k directions reach from the last step to the first."""
    rows = conditions(study)
    wide = rows[rows["kind"] == "before"].pivot(index=["delay", "seed"], columns="stage", values="log_condition")
    text = "log condition of the product over all steps, delay {}: flossed over first"
    return [at_most(text.format(delay), ENGELKEN, median_of(own["flossed"] / own["first"]), 0.5)
            for delay, own in wide.groupby("delay")]  # fmt: skip


def of_delays(study: Any) -> list[Row]:
    """Longer delays are learnt with flossing before and during training than without, and than before only."""
    rows = ends(study)
    counts, delays = count_solved(rows, "kind"), sorted(rows["delay"].unique())
    found = []
    for other in ("none", "before"):
        text = f"of {len(delays)} delays: solved with flossing before and during more than with {KINDS[other]}"
        found.append(at_least(text, ENGELKEN, median_of(counts["during"] - counts[other]), 1.0))
    text = "share of networks that learn, {}, delay {}"
    found.append(at_least(text.format("none", delays[0]), CONTROL, share_at(rows, "none", delays[0]), 0.5))
    for delay in delays[1:]:
        found.append(at_most(text.format("none", delay), ENGELKEN, share_at(rows, "none", delay), 0.5))
        found.append(at_least(text.format("during", delay), ENGELKEN, share_at(rows, "during", delay), 0.6))
    return found


def share_at(rows: pd.DataFrame, kind: str, delay: int) -> Any:
    own = rows[(rows["kind"] == kind) & (rows["delay"] == delay)]
    return share_of(own["solved_at"].notna())


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """Exponents at the longest delay, condition against delay, and success against delay."""
    shape = (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.6 if size == "page" else 6.6), layout="constrained")
    axes = figure.subplots(*shape)
    tables = summaries(study)
    longest = tables["exponents"]["delay"].max()
    draw_exponents(axes[0], tables["exponents"][tables["exponents"]["delay"] == longest])
    axes[0].set_title(f"exponents, delay {longest}")
    draw_conditions(axes[1], tables["conditions"])
    axes[1].set_title("product over all steps")
    draw_shares(axes[2], tables["delays"])
    axes[2].set_title("copy task")
    keys = [lines.line_key("before training", **FIRST), lines.line_key("after flossing alone", **FLOSSED)]
    keys += [lines.line_key(f"{words}, at the end", **look_of(kind)) for kind, words in KINDS.items()]
    layout.footer(figure, keys)
    return {FIGURE: layout.finish(figure)}


FIRST = {"color": style.NEUTRAL, "marker": "", "linestyle": "--"}
FLOSSED = {"color": style.NEUTRAL, "marker": "", "linestyle": "-"}


def look_of(kind: str) -> dict[str, Any]:
    place = list(KINDS).index(kind)
    return {"color": style.CATEGORIES[place], "marker": style.MARKERS[place]}


def stages(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, dict[str, Any]]]:
    """The rows of each line of a panel, with its look."""
    before = rows[rows["kind"] == "before"]
    found = [(before[before["stage"] == "first"], FIRST), (before[before["stage"] == "flossed"], FLOSSED)]
    return found + [(rows[(rows["kind"] == kind) & (rows["stage"] == "end")], look_of(kind)) for kind in KINDS]


def draw_exponents(axes: Axes, rows: pd.DataFrame) -> None:
    for own, look in stages(rows):
        lines.interval(axes, own, "index", "lyapunov_exponent", **look)
    last = int(rows["index"].max())
    axes.set(xlabel="i", ylabel=r"$\lambda_i$ (nat/step)", xticks=[1, *range(3, last + 1, 3)])


def draw_conditions(axes: Axes, rows: pd.DataFrame) -> None:
    for own, look in stages(rows):
        lines.interval(axes, own, "delay", "log_condition", **look)
    axes.set(xlabel="delay (steps)", ylabel=r"log $\sigma_1 / \sigma_k$ (nat)", xscale="log", yscale="log")
    show_delays(axes, rows)


def draw_shares(axes: Axes, rows: pd.DataFrame) -> None:
    """The share of networks that learn against the delay, with the interval of Clopper and Pearson."""
    for place, kind in enumerate(KINDS):
        moved = rows[rows["kind"] == kind].assign(place=lambda own, step=place - 1: own["delay"] * 1.03**step)
        lines.interval(axes, moved, "place", "solved", **look_of(kind))
    axes.set(xlabel="delay (steps)", ylabel="share that learns", ylim=(-0.04, 1.04), xscale="log")
    show_delays(axes, rows)


def show_delays(axes: Axes, rows: pd.DataFrame) -> None:
    delays = sorted(rows["delay"].unique())
    axes.set_xticks(delays, [str(delay) for delay in delays])
    axes.minorticks_off()
