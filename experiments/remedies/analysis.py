"""Which remedy lets plain gradient descent learn over longer times? See README.md in this folder.

`claims` computes the first updates again in NumPy, and compares how many networks learn temporal order without a
remedy, with clipping, and with clipping and Omega; and adding, from three matrices to start with.

Index legend: T time, B sequence, N hidden unit, O output.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.claims.claims import Row, at_least, at_most, largest_of, mean_of, median_of, share_of
from bpttlab.claims.solved import count_solved, solution_updates, solved_at_the_first_check, solved_shares
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.numerics.array import Array
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network
from bpttlab.tasks import Batch
from bpttlab.training.data import FreshBatches

FIGURE = "remedies"
PASCANU = "Pascanu, Mikolov & Bengio 2013"
LE = "Le, Jaitly & Hinton 2015"
RECOMPUTED = "definition, computed again in NumPy"
DIFFERENCES = 1e-6
"""Of what was computed again: the gradient of Omega is that of central differences."""
REMEDIES = {"sgd": "SGD", "clip": "SGD, clipped", "omega": r"SGD, clipped, $\Omega$"}
STARTS = {"identity": "identity", "orthogonal": "orthogonal", "gaussian_radius": "Gaussian"}
STEPS = 2
"""The updates of the networks whose first steps are computed again."""


def claims(study: Any) -> pd.DataFrame:
    """The first updates, then the remedies, then the matrices to start with.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    exact = [*first_updates(study), solved_at_the_first_check(ends(study, "temporal_order"), study.training)]
    return pd.DataFrame([*exact, *of_remedies(study), *of_early_gradients(study), *of_starts(study)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """How many networks learnt, by remedy and by the matrix to start with."""
    return {"remedies": shares(ends(study, "temporal_order"), "remedy"),
            "starts": shares(ends(study, "adding"), "initializer")}  # fmt: skip


# ---------------------------------------------------------------------------------------------------- parts


def trained(study: Any, task: str) -> pd.DataFrame:
    """The runs of networks that were trained to the end, with the name of their remedy."""
    runs = study.runs[(study.runs["task"] == task) & (study.runs["training_updates"].gt(STEPS))]
    clipped = runs["training_clip_norm"].notna()
    remedy = np.where(has_penalty(runs), "omega", np.where(clipped, "clip", "sgd"))
    return runs.assign(remedy=remedy)


def has_penalty(runs: pd.DataFrame) -> Array:
    """Whether training added Omega to the loss."""
    penalty = runs["penalty"] if "penalty" in runs else pd.Series("none", index=runs.index)
    return (penalty == "omega").to_numpy(dtype=bool, na_value=False)


def ends(study: Any, task: str) -> pd.DataFrame:
    """A row for each network, of its last update."""
    runs = trained(study, task)
    return runs[runs["update"] == runs["training_updates"]]


def shares(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Those that are solved for each kind and T, and how many networks diverged."""
    by = [kind, "sequence_length"]
    diverged = (rows["training_status"] == "diverged").groupby([rows[name] for name in by]).sum()
    return solved_shares(rows, by).assign(diverged=diverged.to_numpy(dtype=int))


# ------------------------------------------------------------------------------------------ the first updates


def first_updates(study: Any) -> list[Row]:
    """Two updates of each remedy: what the loop recorded beside the same in NumPy."""
    runs = study.runs[(study.runs["training_updates"] == STEPS) & (study.runs["update"] == STEPS)]
    table = study.training.set_index(["run_id", "update"])
    errors: dict[str, list[float]] = {"loss": [], "penalty": [], "log_gradient_norm": [], "rho": [], "clipped": []}
    for run in runs.to_dict("records"):
        for update, known in enumerate(recompute_updates(run["configuration"]), start=1):
            row = table.loc[(run["run_id"], update)]
            for name in ("loss", "log_gradient_norm", *(["penalty"] if known["penalty"] else [])):
                errors[name].append(abs(float(row[name]) - known[name]))
            errors["clipped"].append(abs(float(row["clipped"]) - known["clipped"]))
        errors["rho"].append(abs(float(run["rho"]) - known["rho"]))
    words = {"loss": "loss before updates 1 and 2", "penalty": "2 Omega there", "rho": "rho(W) after update 2",
             "log_gradient_norm": "log norm of the gradient there, before clipping",
             "clipped": "whether it was clipped (0, 1)"}  # fmt: skip
    said = f"{len(runs)} networks, largest error"
    return [at_most(f"{words[name]}: {said}", RECOMPUTED, largest_of(found), 0.0, DIFFERENCES)
            for name, found in errors.items()]  # fmt: skip


def recompute_updates(configuration: str) -> list[dict[str, float]]:
    """What two updates of SGD record, and rho(W) after each."""
    read = Configuration.parse(json.loads(configuration))
    _, params = build_network(read)
    assert read.training is not None and read.training.learning_rate is not None
    bound, found = read.training.clip_norm, []
    data = FreshBatches(read.task, read.values.seed, read.values.batch_size)
    for update in range(1, STEPS + 1):
        loss, gradient, omega = differentiate(params, data.batch(update), read.penalty is not None)
        strength = read.training.penalty_strength if read.penalty is not None else 0.0
        gradient["W"] = gradient["W"] + strength * omega[1]
        norm = float(np.sqrt(sum((one**2).sum() for one in gradient.values())))
        factor = 1.0 if bound is None else min(1.0, bound / (norm + 1e-6))
        params = {name: params[name] - read.training.learning_rate * factor * gradient[name] for name in gradient}
        rho = float(np.abs(np.linalg.eigvals(params["W"])).max())
        found.append({"loss": loss, "penalty": strength * omega[0], "log_gradient_norm": float(np.log(norm)),
                      "clipped": float(factor < 1.0), "rho": rho})  # fmt: skip
    return found


def differentiate(
    params: dict[str, Array], batch: Batch, with_omega: bool
) -> tuple[float, dict[str, Array], tuple[float, Array]]:
    """The loss at the last step of a tanh network, its gradient, and Omega with its immediate gradient by W."""
    V, W, b_h, U, b_y = (params[name] for name in ("V", "W", "b_h", "U", "b_y"))
    T, B = batch.x.shape[:2]
    h = [np.zeros((B, len(W)))]
    for x_t in batch.x:
        h.append(np.tanh(x_t @ V.T + h[-1] @ W.T + b_h))
    y_hat = h[-1] @ U.T + b_y
    p = np.exp(y_hat - y_hat.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    right = np.eye(p.shape[1])[batch.target[-1]]
    dy = (p - right) / B
    deltas = [dy @ U * (1.0 - h[-1] ** 2)]
    for t in range(T - 1, 0, -1):
        deltas.append(deltas[-1] @ W * (1.0 - h[t] ** 2))
    deltas.reverse()
    cotangents, h_prev = np.array(deltas), np.array(h[:-1])
    gradient = {
        "V": np.einsum("tbn,tbi->ni", cotangents, batch.x),
        "W": np.einsum("tbn,tbm->nm", cotangents, h_prev),
        "b_h": cotangents.sum(axis=(0, 1)),
        "U": dy.T @ h[-1],
        "b_y": dy.sum(axis=0),
    }
    loss = float(-np.log((p * right).sum(axis=1)).mean())
    if not with_omega:
        return loss, gradient, (0.0, np.zeros_like(W))
    return loss, gradient, differentiate_omega(W, cotangents[1:], 1.0 - h_prev[1:] ** 2)


def differentiate_omega(W: Array, deltas: Array, slopes: Array) -> tuple[float, Array]:
    """Omega of cotangents and slopes that count as constants, and central differences of it by W.  (T-1,B,N) twice"""
    directions = deltas / np.linalg.norm(deltas, axis=-1, keepdims=True)

    def omega(matrix: Array) -> float:
        ratios = np.linalg.norm(directions @ matrix * slopes, axis=-1)
        return float(((ratios - 1.0) ** 2).sum() / deltas.shape[1])

    found, eps = np.zeros_like(W), 1e-5
    for place in np.ndindex(*W.shape):
        moved = np.zeros_like(W)
        moved[place] = eps
        found[place] = (omega(W + moved) - omega(W - moved)) / (2.0 * eps)
    return omega(W), found


# ---------------------------------------------------------------------------------------------------- remedies


def of_remedies(study: Any) -> list[Row]:
    """The order of the three, by how many networks learn, at how many lengths, and after how many updates."""
    rows = ends(study, "temporal_order")
    counts, updates = count_solved(rows, "remedy"), mean_log_updates(rows, "remedy")
    figures, lengths = f"{PASCANU}, figures 4 and 5", sorted(rows["sequence_length"].unique())
    text = f"of {len(lengths)} lengths, mean over seeds: solved"
    found = [
        at_least(f"{text} by clip more than by sgd", figures, mean_of(counts["clip"] - counts["sgd"]), 0.0),
        at_least(f"{text} by omega more than by sgd", figures, mean_of(counts["omega"] - counts["sgd"]), 1.0),
    ]
    text = "log updates spent, mean over lengths and seeds: omega over clip"
    found.append(at_most(text, figures, mean_of(updates["omega"] - updates["clip"]), 0.0))
    text = f"share of networks that learn, omega, T = {lengths[1]}"
    found.append(at_least(text, figures, share_at(rows, "omega", lengths[1]), 0.6))
    for length in lengths[2:]:
        text = f"share of networks that learn, sgd, T = {length}"
        found.append(at_most(text, figures, share_at(rows, "sgd", length), 0.4))
    return [*found, *of_failures(rows, lengths[-1])]


def mean_log_updates(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Mean over lengths of the log of the updates that were spent: to the check that found the task solved, or all of
    them. So a network that never learns counts as one that would have learnt at the last update: a difference is too
    small rather than too large. A row for each seed, a column for each kind.
    """
    spent = rows["solved_at"].astype("Float64").fillna(rows["training_updates"]).astype(float)
    return rows.assign(spent=np.log(spent)).pivot_table(index="seed", columns=kind, values="spent", aggfunc="mean")


def share_at(rows: pd.DataFrame, remedy: str, length: int) -> Any:
    own = rows[(rows["remedy"] == remedy) & (rows["sequence_length"] == length)]
    return share_of(own["solved_at"].notna())


def of_failures(rows: pd.DataFrame, longest: int) -> list[Row]:
    """What becomes of networks that are not clipped: none has a loss that is not finite, and they know nothing."""
    plain = rows[rows["remedy"] == "sgd"]
    loss = median_of(plain.loc[plain["sequence_length"] == longest, "validation_loss"])
    diverged = float((plain["training_status"] == "diverged").sum())
    return [
        at_most(f"networks that diverged, sgd, of {len(plain)}", "states of tanh are bounded", diverged, 0.0),
        at_least(f"loss at the end, sgd, T = {longest}", "ln 4: the input is not used", loss, 1.2),
    ]


def of_early_gradients(study: Any) -> list[Row]:
    """Early in training: the gradient at the first symbol, which the answer depends on."""
    rows = trained(study, "temporal_order")
    early, length = sorted(rows["update"].unique())[1], rows["sequence_length"].max()
    rows = rows[(rows["update"] == early) & (rows["sequence_length"] == length)]
    by_seed = rows.pivot(index="seed", columns="remedy", values="log_relevant_gradient")
    text = f"log gradient at the first symbol after {early} updates, T = {length}, omega over clip"
    return [at_least(text, f"{PASCANU}, eq. 9", median_of(by_seed["omega"] - by_seed["clip"]), 0.0)]


# ---------------------------------------------------------------------------------------------------- starts


def of_starts(study: Any) -> list[Row]:
    """The identity learns first; an orthogonal matrix is no better than a Gaussian one here, and nothing is claimed."""
    rows = ends(study, "adding")
    updates, lengths = mean_log_updates(rows, "initializer"), sorted(rows["sequence_length"].unique())
    found = []
    for name in ("gaussian_radius", "orthogonal"):
        text = f"log updates spent on adding, mean over lengths and seeds: identity over {STARTS[name]}"
        found.append(at_most(text, LE, mean_of(updates["identity"] - updates[name]), 0.0))
    own = rows[(rows["initializer"] == "identity") & (rows["sequence_length"] == lengths[0])]
    text = f"share of networks that learn adding, identity, T = {lengths[0]}"
    return [*found, at_least(text, LE, share_of(own["solved_at"].notna()), 0.6)]


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """Success against length for each remedy; the share that has learnt, by update; success for each start."""
    shape = (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.6 if size == "page" else 6.6), layout="constrained")
    axes = figure.subplots(*shape)
    rows, starts = ends(study, "temporal_order"), ends(study, "adding")
    draw_shares(axes[0], shares(rows, "remedy"), "remedy", REMEDIES)
    length = sorted(rows["sequence_length"].unique())[-2]
    draw_times(axes[1], rows[rows["sequence_length"] == length])
    draw_shares(axes[2], shares(starts, "initializer"), "initializer", STARTS)
    axes[0].set_title("temporal order")
    axes[1].set_title(f"temporal order, T = {length}")
    axes[2].set_title("adding, relu")
    axes[2].legend(loc="lower left")
    keys = [lines.line_key(words, **look_of(name, REMEDIES)) for name, words in REMEDIES.items()]
    layout.footer(figure, keys)
    return {FIGURE: layout.finish(figure)}


def look_of(name: str, names: dict[str, str]) -> dict[str, Any]:
    place = list(names).index(name) + (0 if names is REMEDIES else len(REMEDIES))
    return {"color": style.CATEGORIES[place], "marker": style.MARKERS[place]}


def draw_shares(axes: Axes, rows: pd.DataFrame, kind: str, names: dict[str, str]) -> None:
    """The share of networks that learn against T, with the interval of Clopper and Pearson."""
    span = float(np.ptp(rows["sequence_length"]))
    for place, (name, words) in enumerate(names.items()):
        own = rows[rows[kind] == name]
        moved = own.assign(place=own["sequence_length"] + 0.01 * span * (place - 1))
        lines.interval(axes, moved, "place", "solved", label=words, **look_of(name, names))
    axes.set(xlabel="T (steps)", ylabel="share that learns", ylim=(-0.04, 1.04))


def draw_times(axes: Axes, rows: pd.DataFrame) -> None:
    """The share of networks that have learnt, by update."""
    last = float(rows["training_updates"].max())
    for name, own in rows.groupby("remedy"):
        solved = np.sort(solution_updates(own))
        solved = solved[np.isfinite(solved)]
        share = np.arange(len(solved) + 1) / len(own)
        look = look_of(str(name), REMEDIES) | {"marker": ""}
        axes.step([0.0, *solved, last], [*share, share[-1]], where="post", **look)
    axes.set(xlabel="update", ylabel="share that has learnt", ylim=(-0.04, 1.04))
