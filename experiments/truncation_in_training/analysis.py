"""What does a truncation keep a network from learning? See README.md in this folder.

`claims` compares networks that were trained with a truncation K below and above the gap of a task, with the variance
that is left, with the K that the bias of the gradient names, and with the same training in plain NumPy.

Index legend: T time, B sequence, N hidden unit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.claims.claims import Row, at_least, at_most, identity, largest_of, median_of, near, share_of
from bpttlab.claims.solved import solution_updates
from bpttlab.figures import layout, style
from bpttlab.figures.style import Size
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network
from bpttlab.training.data import FreshBatches

FIGURE = "truncation_in_training"
WILLIAMS = "Williams & Peng 1990"
AICHER = "Aicher, Foti & Fox 2019"
PLAIN = "training in plain NumPy"
FORGETS, KEEPS = 0.5, 1.0
"""Spectral radii: of networks that lose their input within the gap, and of those that keep some of it."""
TOLERATED = 0.1
"""The relative bias for which a K is named."""
AGAIN = 20
"""Updates that are computed again."""


def claims(study: Any) -> pd.DataFrame:
    """What K prevents, what the bias names, and the two kinds of update.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    return pd.DataFrame(
        [
            *computed_again(study),
            *below_and_above_the_gap(study),
            state_keeps_the_number(study),
            *bias_along_training(study),
            *adaptive_begins_below_the_gap(study),
            *adding_is_learnt_below_the_gap(study),
            *windows_and_sequences(study),
        ]
    )


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Networks that solved their task, and the K named by the bias or chosen by the adaptive scheme."""
    runs = trained(study)
    keys = ["task", "spectral_radius", "training_scheme", "training_truncation", "training_update"]
    rows = [
        {**dict(zip(keys, key, strict=True)), "networks": len(own), "solved": int(own["solved_at"].notna().sum()),
         "solved_at": float(np.median(solution_updates(own))), "validation_loss": own["validation_loss"].median()}
        for key, own in runs.groupby(keys)
    ]  # fmt: skip
    return {"solved_by_truncation": pd.DataFrame(rows), "named_truncation": named_by_update(study)}


# ---------------------------------------------------------------------------------------------------- parts


def trained(study: Any) -> pd.DataFrame:
    """The run of the last update of each training."""
    runs = study.runs[(study.runs["status"] == "done") & study.runs["training_scheme"].notna()]
    return runs[runs["update"] == runs.groupby("network_id")["update"].transform("max")]


def recall(study: Any, radius: float, truncation: str, scheme: str = "per_loss") -> pd.DataFrame:
    """Trainings on delayed recall at one radius, by seed."""
    runs = trained(study)
    own = (runs["task"] == "delayed_recall") & (runs["spectral_radius"] == radius)
    own &= runs["training_scheme"].str.startswith(scheme) & (runs["training_truncation"] == truncation)
    return runs[own].set_index("seed", drop=False).sort_index()


def full(study: Any, radius: float) -> pd.DataFrame:
    return recall(study, radius, "full", "full")


def gap(study: Any) -> int:
    runs = study.runs
    return int(runs.loc[runs["task"] == "delayed_recall", "task_delay"].iloc[0])


def log_ratio(over: pd.Series, under: pd.Series) -> pd.Series:
    """log(over / under) by seed, where both are known."""
    both = pd.concat([over.astype("Float64").astype(float), under.astype("Float64").astype(float)], axis=1).dropna()
    return np.log(both.iloc[:, 0] / both.iloc[:, 1])


# ---------------------------------------------------------------------------------------------------- computed again


class Stretch(NamedTuple):
    """The steps that one update goes back through: (start, stop], and where its losses begin."""

    batch: int
    start: int
    stop: int


def computed_again(study: Any) -> list[Row]:
    """Loss and gradient norm of the first updates of one training by sequence and of one by window."""
    gated = recall(study, FORGETS, half_way(study))
    own = series(study, "window")
    own = own[own["training_truncation"].astype(int) < own["sequence_length"]]
    found = []
    for name, runs in (("sequence", gated), ("window", own)):
        off = [departure(study, run) for run in runs.head(1).to_dict("records")]
        text = f"log loss and log |g| of the first {AGAIN} updates by {name}, largest error"
        found.append(at_most(text, PLAIN, largest_of(off), 0.0, 1e-7))
    return found


def fixed_truncations(study: Any) -> list[int]:
    """The K of the trainings on delayed recall, ascending, without the full gradient."""
    runs = trained(study)
    own = (runs["task"] == "delayed_recall") & (runs["training_scheme"] == "per_loss")
    return sorted({int(K) for K in runs.loc[own, "training_truncation"]})


def half_way(study: Any) -> str:
    """The largest fixed K of at most half the gap."""
    half = gap(study) // 2
    return str(max((known for known in fixed_truncations(study) if known <= half), default=0))


def departure(study: Any, run: dict[str, Any]) -> float:
    """How far the stored rows of the first updates are from those of plain NumPy."""
    own = study.training[study.training["run_id"] == run["run_id"]].sort_values("update").head(AGAIN)
    again = np.array(list(plain_training(run, len(own))))
    stored = np.column_stack([np.log(own["loss"].to_numpy(float)), own["log_gradient_norm"].to_numpy(float)])
    return float(np.abs(stored - again).max()) if len(own) == AGAIN else float("nan")


def plain_training(run: dict[str, Any], updates: int) -> Iterator[tuple[float, float]]:
    """log loss and log |g| of each update: back-propagation through K steps, one norm for all, clipping, Adam."""
    configuration = Configuration.parse(json.loads(run["configuration"]))
    settings, task = configuration.training, configuration.task
    params = {name: value.copy() for name, value in build_network(configuration)[1].items()}
    data = FreshBatches(task, int(run["seed"]), int(run["batch_size"]))
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    state = np.zeros((0, 0))
    for update, place in zip(range(1, updates + 1), stretches(run), strict=False):
        batch = data.batch(place.batch)
        begins = place.start == 0 or run["training_update"] == "sequence"
        h = np.zeros((batch.x.shape[1], len(params["W"]))) if begins else state
        for x_t in batch.x[: place.start] if begins else ():
            h = np.tanh(x_t @ params["V"].T + h @ params["W"].T + params["b_h"])
        loss, gradient, state = back_through(params, batch, place, h)
        norm = np.sqrt(sum(float((value**2).sum()) for value in gradient.values()))
        yield float(np.log(loss)), float(np.log(norm))
        factor = min(1.0, settings.clip_norm / (norm + 1e-6))
        for name, value in gradient.items():
            first[name] = 0.9 * first[name] + 0.1 * factor * value
            second[name] = 0.999 * second[name] + 0.001 * (factor * value) ** 2
            root = np.sqrt(second[name] / (1.0 - 0.999**update)) + 1e-8
            params[name] = params[name] - settings.learning_rate * first[name] / (1.0 - 0.9**update) / root


def stretches(run: dict[str, Any]) -> Iterator[Stretch]:
    """The last K steps of each batch by sequence (its loss is at the end), all windows of each batch by window."""
    T, K, batch = int(run["sequence_length"]), int(run["training_truncation"]), 0
    while True:
        batch += 1
        starts = [T - K] if run["training_update"] == "sequence" else range(0, T, K)
        yield from (Stretch(batch, start, start + K) for start in starts)


def back_through(params: Any, batch: Any, place: Stretch, h: np.ndarray) -> tuple[float, dict[str, Any], np.ndarray]:
    """The mean squared error of the steps that count, its gradient through these steps alone, and the last state."""
    steps, states = range(place.start, place.stop), [h]
    for t in steps:
        states.append(np.tanh(batch.x[t] @ params["V"].T + states[-1] @ params["W"].T + params["b_h"]))
    weight = batch.mask / (batch.mask.sum() * h.shape[0])
    gradient = {name: np.zeros_like(value) for name, value in params.items()}
    loss, dh = 0.0, np.zeros_like(h)
    for t in reversed(steps):
        h_prev, h_t = states[t - place.start], states[t - place.start + 1]
        error = h_t @ params["U"].T + params["b_y"] - batch.target[t]
        loss += float(weight[t] * (error**2).sum())
        dy = 2.0 * weight[t] * error
        da = (dh + dy @ params["U"]) * (1.0 - h_t**2)
        terms = {"U": dy.T @ h_t, "b_y": dy.sum(0), "W": da.T @ h_prev, "V": da.T @ batch.x[t], "b_h": da.sum(0)}
        for name, term in terms.items():
            gradient[name] += term
        dh = da @ params["W"]
    return loss, gradient, states[-1]


# ---------------------------------------------------------------------------------------------------- the gap


def below_and_above_the_gap(study: Any) -> list[Row]:
    """Below the gap the loss stays at the variance of the target; one step above it the task is learnt."""
    D, found = gap(study), []
    for K in (K for K in fixed_truncations(study) if K <= D // 2):
        own = recall(study, FORGETS, str(K))
        known = np.array([variance_of_targets(configuration) for configuration in own["configuration"]])
        left = median_of(own["validation_loss"].to_numpy(float) / known)
        text = f"loss over the variance of the target, K = {K}, gap {D}, rho = {FORGETS:g}"
        found.append(near(text, f"{WILLIAMS}; {AICHER}", left, 1.0, 0.12))
    for K in (K for K in fixed_truncations(study) if K <= D // 2):
        text = f"share of networks that learn with K = {K}, gap {D}, rho = {FORGETS:g}"
        found.append(at_most(text, WILLIAMS, share_learnt(recall(study, FORGETS, str(K))), 0.5))
    above, whole = recall(study, FORGETS, str(D + 1)), full(study, FORGETS)
    text = f"share of networks that learn with K = {D + 1}, gap {D}, rho = {FORGETS:g}"
    found.append(at_least(text, WILLIAMS, share_learnt(above), 0.2))
    text = f"updates to solution, K = {D + 1} over the full gradient, where that learns"
    found.append(at_most(text, WILLIAMS, slower(above, whole), 2.0))
    return found


def share_learnt(runs: pd.DataFrame) -> Any:
    return share_of(runs["solved_at"].notna().to_numpy(float))


def slower(runs: pd.DataFrame, whole: pd.DataFrame) -> Any:
    """Updates to solution over those of the full gradient, seed by seed; inf: solved by the full gradient alone."""
    known = whole["solved_at"].dropna().astype(float)
    updates = pd.Series(solution_updates(runs), index=runs.index)
    return median_of(updates.reindex(known.index) / known)


def variance_of_targets(configuration: str) -> float:
    """The loss of the mean, 1/2, on the sequences that this training is checked on."""
    chosen = Configuration.parse(json.loads(configuration))
    settings, plain = chosen.training, json.loads(configuration)
    data = FreshBatches(chosen.task, plain["seed"], plain["batch_size"], settings.check_sequences)
    return float(((data.validation().target[-1] - 0.5) ** 2).mean())


def state_keeps_the_number(study: Any) -> Row:
    """At rho = 1 the state before the window still depends on the number, and K = gap learns from that."""
    D = gap(study)
    text = f"share of networks that learn with K = gap = {D}, rho = {KEEPS:g}"
    return at_least(
        text, "the state carries what the gradient does not", share_learnt(recall(study, KEEPS, str(D))), 0.2
    )


# ---------------------------------------------------------------------------------------------------- the bias


def named_by_update(study: Any) -> pd.DataFrame:
    """By seed and update: the smallest K whose relative bias of the gradient of W is tolerated, and the adaptive K."""
    rows = study.truncations[(study.truncations["parameter"] == "W") & (study.truncations["task"] == "delayed_recall")]
    curves = rows[(rows["origin"] == "wavefront") & (rows["spectral_radius"] == FORGETS)]
    enough = curves[curves["log_relative_bias"] <= np.log(TOLERATED)]
    named = enough.groupby(["seed", "update"])["truncation"].min().astype(float)
    none = curves.groupby(["seed", "update"])["length"].max().astype(float)
    adaptive = rows[rows["scheme"] == "adaptive"].groupby(["seed", "update"])["truncation"].first()
    found = pd.DataFrame({"named": named.reindex(none.index).fillna(none)})
    return found.join(adaptive.astype(float).rename("adaptive"), how="outer").reset_index()


def bias_along_training(study: Any) -> list[Row]:
    """Before training the bias names a K that learns nothing; of a network that has learnt it names the gap."""
    named, D = named_by_update(study).dropna(subset="named"), gap(study)
    learnt = full(study, FORGETS)["solved_at"].dropna().index
    first = named[named["update"] == 0]["named"]
    last = named[(named["update"] == named["update"].max()) & named["seed"].isin(learnt)]["named"]
    text = f"smallest K with a relative bias of W of at most {TOLERATED:g}, full gradient,"
    return [
        at_most(f"{text} before training", "the K of the bias does not learn", median_of(first), D // 2),
        at_least(f"{text} where the task is learnt", f"{WILLIAMS}: K about the gap", median_of(last), 0.75 * D),
    ]


def adaptive_begins_below_the_gap(study: Any) -> list[Row]:
    """The estimate of the bias is small where all long terms are."""
    named = named_by_update(study).dropna(subset="adaptive")
    first = named[named["update"] == 0]["adaptive"]
    return [at_most("K of the adaptive scheme before training", AICHER, median_of(first), gap(study))]


# ---------------------------------------------------------------------------------------------------- adding, windows


def adding_is_learnt_below_the_gap(study: Any) -> list[Row]:
    """All steps share their weights: what is learnt within K steps serves longer gaps.

    A network that sees the last K steps alone has the loss (1/6)(1 - K/T): each marked number is in them or not.
    """
    runs = trained(study)
    runs = runs[(runs["task"] == "adding") & (runs["training_truncation"] != "full")]
    found = []
    for K, own in runs.groupby(pd.to_numeric(runs["training_truncation"])):
        T = int(own["sequence_length"].iloc[0])
        left = median_of(own["validation_loss"] / ((1.0 - float(K) / T) / 6.0))
        text = f"adding, T = {T}, K = {K}, LSTM: loss over (1 - K/T)/6, that of the last K steps"
        found.append(at_most(text, "weights are shared by all steps", left, 0.5))
    return found


def series(study: Any, update: str) -> pd.DataFrame:
    """Trainings on the series, by kind of update."""
    runs = trained(study)
    return runs[(runs["task"] == "mackey_glass") & (runs["training_update"] == update)]


def windows_and_sequences(study: Any) -> list[Row]:
    """At equal batches updates by window have learnt more, at equal updates less; one window is the sequence."""
    curves = validation_losses(study)
    short = curves["truncation"].min()
    own = curves[curves["truncation"] == short].set_index(["training_update", "seed", "update"])["validation_loss"]
    whole = curves[curves["truncation"] == curves["sequence_length"]]
    alike = whole.pivot(index=["seed", "update"], columns="training_update", values="validation_loss")
    off = np.abs(np.log(alike["window"] / alike["sequence"])) if len(alike) else pd.Series([np.nan])
    last = int(curves["update"].max())
    batches = int(last * short // int(curves["sequence_length"].iloc[0]))
    window, by_updates = own.loc["window"].xs(last, level="update"), own.loc["sequence"].xs(last, level="update")
    by_batches = own.loc["sequence"].xs(batches, level="update")
    source = f"{WILLIAMS}: windows"
    text = f"log loss, updates by window of {short} steps over by sequence,"
    return [
        identity(at_most("log loss of one window for all steps, away from by sequence", "definition",
                         largest_of(off.to_numpy(float)), 0.0, 1e-9)),
        at_most(f"{text} after {batches} batches each", source, median_of(log_ratio(window, by_batches)), 0.0),
        at_least(f"{text} after {last} updates each", source, median_of(log_ratio(window, by_updates)), 0.0),
    ]  # fmt: skip


def validation_losses(study: Any) -> pd.DataFrame:
    """Of each training on the series, the checks."""
    runs = trained(study)
    runs = runs[runs["task"] == "mackey_glass"].set_index("run_id")
    rows = study.training[study.training["run_id"].isin(runs.index) & study.training["validation_loss"].notna()]
    rows = rows[["run_id", "update", "validation_loss"]]
    named = {"truncation": runs["training_truncation"].astype(int), "seed": runs["seed"]}
    named |= {name: runs[name] for name in ("training_update", "sequence_length")}
    return rows.assign(**{name: rows["run_id"].map(values) for name, values in named.items()})


# ---------------------------------------------------------------------------------------------------- figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """The loss along training by K; the K named by the bias; updates by window and by sequence."""
    shape = (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.6 if size == "page" else 6.6), layout="constrained")
    axes = figure.subplots(*shape)
    draw_losses(axes[0], study)
    draw_named(axes[1], study)
    draw_windows(axes[2], study)
    return {FIGURE: layout.finish(figure)}


def draw_losses(axes: Axes, study: Any) -> None:
    """Medians over networks; one that is solved keeps its last loss."""
    runs = trained(study)
    runs = runs[(runs["task"] == "delayed_recall") & (runs["spectral_radius"] == FORGETS)]
    fixed = runs[runs["training_scheme"].isin(["per_loss", "full"])]
    names = sorted(fixed["training_truncation"].unique(), key=lambda K: np.inf if K == "full" else int(K))
    for name, colour in zip(names, style.sequence_colours(len(names)), strict=True):
        own = fixed[fixed["training_truncation"] == name]
        checks = study.training[study.training["run_id"].isin(own["run_id"])].dropna(subset="validation_loss")
        table = checks.pivot(index="update", columns="run_id", values="validation_loss").ffill()
        axes.plot(table.index, table.median(axis=1), color=colour, label=f"K = {name}")
    axes.axhline(1.0 / 12.0, color="0.4", linestyle=":", linewidth=0.8)
    axes.set_yscale("log")
    axes.legend(loc="lower left")
    axes.set(title=f"delayed recall, gap {gap(study)}", xlabel="update", ylabel="loss on held-out data")


def draw_named(axes: Axes, study: Any) -> None:
    """Medians over networks of the K that the bias names with the full gradient; each network's adaptive K."""
    named = named_by_update(study)
    whole = named.dropna(subset="named").groupby("update")["named"].median()
    axes.plot(whole.index, whole, color=style.CATEGORIES[0], marker="o", label=f"bias $\\leq$ {TOLERATED:g}")
    for place, (_, own) in enumerate(named.dropna(subset="adaptive").groupby("seed")):
        label = "adaptive scheme" if place == 0 else None
        axes.plot(own["update"], own["adaptive"], color=style.CATEGORIES[1], linewidth=0.7, label=label)
    axes.axhline(gap(study) + 1, color="0.4", linestyle=":", linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    axes.set(title="K that the bias names", xlabel="update", ylabel="K (steps)")


def draw_windows(axes: Axes, study: Any) -> None:
    """The loss against the batches that were read."""
    curves = validation_losses(study)
    short = curves["truncation"].min()
    for place, kind in enumerate(("sequence", "window")):
        own = curves[(curves["truncation"] == short) & (curves["training_update"] == kind)]
        median = own.groupby("update")["validation_loss"].median()
        part = short / float(own["sequence_length"].iloc[0]) if kind == "window" else 1.0
        look = {"color": style.CATEGORIES[place], "marker": style.MARKERS[place]}
        axes.plot(median.index * part, median, label=f"by {kind}", **look)
    axes.legend(loc="upper right")
    axes.set(title=f"series, windows of {short} steps", xlabel="batches read", ylabel="loss on held-out data")
