"""How do gradients move while a network learns? See README.md in this folder.

`claims` pairs each network with itself before and after training. Of linear networks that hold a bit it trains again
for the weights, and compares the eigenvalue outside the disk with what a change of rank one predicts.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims.claims import Row, at_least, at_most, largest_of, median_of, near
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.sweeps.run import draw_data
from bpttlab.training.train import Trained
from bpttlab.verification import retraining

FIGURE = "gradients_during_learning"
VOGT = "Vogt et al. 2022"
PASCANU = "Pascanu, Mikolov & Bengio 2013, the log of their code"
SCHUESSLER = "Schuessler et al. 2020"
DETERMINANT = "1 = v^T (lambda I - W)^-1 u"
DIFFERENCES = "central differences of the forward pass"
TASKS = {"recall": "delayed recall", "order": "temporal order", "short": "recall one step later"}
QUANTITIES = ("lyapunov_exponent", "growth_rate", "vanishing_horizon", "rho", "log_relevant_gradient")
EXACT = 1e-9
CLOSE = 1e-6
"""Of logarithms of norms, between the engine and central differences."""
UPDATES = 3
"""Of a training, which are done again by differences."""


def claims(study: Any) -> pd.DataFrame:
    """What is exact first, then networks that learn, and the eigenvalue that holds a bit.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    rows = [*of_updates(study), of_products(study), *of_the_long(study, "recall"), *of_the_long(study, "order")]
    return pd.DataFrame([*rows, *of_the_short(study), *of_the_latch(study)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Of each network its quantities before training, when it solved the task, and at the end; of each latch its
    eigenvalues.
    """
    return {"networks": stages(study), "latches": latches(study)}


# ---------------------------------------------------------------------------------------------------- parts


def of_part(study: Any, part: str) -> pd.DataFrame:
    """The runs of a part of the sweep, with the update at which their network solved its task."""
    runs = study.runs[study.runs["status"] == "done"]
    recall = runs["task"] == "delayed_recall"
    longest = runs.loc[recall, "task_delay"].max()
    own = {
        "recall": recall & (runs["task_delay"] == longest),
        "short": recall & (runs["task_delay"] < longest),
        "order": runs["task"] == "temporal_order",
        "latch": runs["task"] == "hold",
    }[part].fillna(False)
    found = runs[own.to_numpy(bool)]
    solved = found.groupby("network_id")["solved_at"].transform("max")
    return found.assign(solved=solved.astype("Float64").astype(float)).sort_values(["seed", "update"])


def stages(study: Any) -> pd.DataFrame:
    """A row for each network: NAME_before, NAME_at (the update that solved the task; NaN: none did), NAME_after."""
    parts = []
    for part in TASKS:
        runs = of_part(study, part)
        ends = runs.groupby("seed")["update"]
        chosen = {
            "before": runs[runs["update"] == 0],
            "at": runs[runs["update"] == runs["solved"]],
            "after": runs[runs["update"] == ends.transform("max")],
        }
        columns = {
            f"{name}_{stage}": rows.set_index("seed")[name].astype(float)
            for stage, rows in chosen.items()
            for name in QUANTITIES
        }
        solved = chosen["after"].set_index("seed")["solved"]
        parts.append(pd.DataFrame({"part": part, "solved": solved, **columns}).rename_axis("seed").reset_index())
    return pd.concat(parts, ignore_index=True)


def learners(study: Any, part: str) -> pd.DataFrame:
    """The networks of a part that solved their task, by seed."""
    found = stages(study)
    return found[(found["part"] == part) & found["solved"].notna()].set_index("seed")


# ---------------------------------------------------------------------------------------------------- what is exact


def of_updates(study: Any) -> list[Row]:
    """The first updates of one network of each kind: its loss, its gradient, the clipping and the optimizer."""
    found = []
    for part, optimizer in (("recall", "Adam"), ("latch", "gradient descent")):
        runs = of_part(study, part)
        errors = [update_errors(one) for one in runs["configuration"].head(1)]
        text = f"|log loss| and |log ||gradient||| of the first {UPDATES} updates off, {optimizer}, at most"
        found.append(at_most(text, DIFFERENCES, largest_of(errors), 0.0, CLOSE))
    return found


@cache
def update_errors(configuration: str) -> float:
    known = retraining.first_updates(configuration, UPDATES)
    measured = retraining.engine_updates(configuration, UPDATES)
    pairs = zip(known, measured, strict=True)
    off = [(np.log(a.loss / b.loss), a.log_gradient_norm - b.log_gradient_norm) for a, b in pairs]
    return float(np.abs(off).max())


def of_products(study: Any) -> Row:
    """log ||P||_2 of a trained network from the states that its weights give, in plain NumPy."""
    runs = of_part(study, "recall")
    errors = []
    for run in runs[runs["update"] == runs["update"].max()].head(1).to_dict("records"):
        own = study.jacobians[(study.jacobians["run_id"] == run["run_id"]) & (study.jacobians["sequence"] == 0)]
        known = plain_products(run["configuration"])[own["lag"].to_numpy(int)]
        errors.append(float(np.abs(known - own["log_spectral_norm"].to_numpy(float)).max()))
    text = "log ||P||_2 of a trained network off, at most"
    return at_most(text, "P = product of diag(1 - h^2) W", largest_of(errors), 0.0, EXACT)


def plain_products(configuration: str) -> np.ndarray:
    """log ||P||_2 of the first sequence by lag, (T+1,)."""
    W, V, b = (trained(configuration).params[name] for name in ("W", "V", "b_h"))
    states, h = [], np.zeros(len(W))
    for x_t in draw_data(retraining.parse(configuration)).x[:, 0]:
        states.append(h := np.tanh(W @ h + V @ x_t + b))
    P, norms = np.eye(len(W)), [0.0]
    for h in reversed(states):
        P = P @ ((1.0 - h**2)[:, None] * W)
        norms.append(float(np.log(np.linalg.norm(P, 2))))
    return np.array(norms)


@cache
def trained(configuration: str) -> Trained:
    return retraining.retrain(configuration)


# ---------------------------------------------------------------------------------------------------- while it learns


def of_the_long(study: Any, part: str) -> list[Row]:
    """The networks that solved a task with a long dependency, each paired with itself before training."""
    rows, task = learners(study, part), TASKS[part]
    moved = {name: rows[f"{name}_at"] - rows[f"{name}_before"] for name in QUANTITIES}
    nearer = {
        name: (rows[f"{name}_before"].abs() - rows[f"{name}_after"].abs())
        for name in ("lyapunov_exponent", "growth_rate")
    }
    end = rows["lyapunov_exponent_after"]
    grown = rows["rho_after"] - rows["rho_before"]
    return [
        at_most(f"lambda_1 before training, {task}", VOGT, median_of(rows["lyapunov_exponent_before"]), -0.25),
        at_least(f"lambda_1, {task}: solved less before", VOGT, median_of(moved["lyapunov_exponent"]), 0.1),
        near(f"lambda_1 at the end, {task}", VOGT, median_of(end), 0.0, 0.35),
        at_least(f"|lambda_1|, {task}: before less end", VOGT, median_of(nearer["lyapunov_exponent"]), 0.0),
        at_least(f"growth rate, {task}: solved less before", VOGT, median_of(moved["growth_rate"]), 0.1),
        at_least(f"|growth rate|, {task}: before less end", VOGT, median_of(nearer["growth_rate"]), 0.0),
        at_least(f"horizon, {task}: solved less before, steps", VOGT, median_of(moved["vanishing_horizon"]), 1.0),
        at_least(f"log relevant gradient, {task}: solved less before", VOGT,
                 median_of(moved["log_relevant_gradient"]), 0.0),
        at_least(f"rho, {task}: end less before", PASCANU, median_of(grown), 0.2),
    ]  # fmt: skip


def of_the_short(study: Any) -> list[Row]:
    """The control: the same networks on the same sequences, with nothing to keep for long."""
    short, long = learners(study, "short"), learners(study, "recall")
    name, task = "lyapunov_exponent", TASKS["short"]
    change = short[f"{name}_after"] - short[f"{name}_before"]
    apart = (long[f"{name}_after"] - short[f"{name}_after"]).dropna()
    return [
        at_most(f"lambda_1, {task}: end less before", "control: no long dependency", median_of(change), 0.1),
        at_least(f"lambda_1 at the end, {TASKS['recall']} less {task}", "control", median_of(apart), 0.1),
    ]


# ---------------------------------------------------------------------------------------------------- the latch


class Change(NamedTuple):
    """What a linear network learnt.

    Attributes:
        W, delta: the matrix before training, and its change.
        u, v: the best approximation u v^T of the change.
        share: of the sum of squares of the change that u v^T has.
    """

    W: np.ndarray
    delta: np.ndarray
    u: np.ndarray
    v: np.ndarray
    share: float


@cache
def change(configuration: str) -> Change:
    found = trained(configuration)
    W = found.setup.first["W"]
    delta = found.params["W"] - W
    left, values, right = np.linalg.svd(delta)
    return Change(W, delta, values[0] * left[:, 0], right[0], float(values[0] ** 2 / np.sum(values**2)))


def latches(study: Any) -> pd.DataFrame:
    """A row for each linear network: the eigenvalue outside the disk, what predicts it, and the next one."""
    runs = of_part(study, "latch")
    runs = runs[runs["update"] == runs["update"].max()]
    values = study.eigenvalues[study.eigenvalues["matrix"] == "W"]
    rows = []
    for run in runs.to_dict("records"):
        own = values[values["run_id"] == run["run_id"]].sort_values("index")
        stored = own["real"].to_numpy(float) + 1j * own["imaginary"].to_numpy(float)
        found = change(run["configuration"])
        again = np.linalg.eigvals(found.W + found.delta)
        rows.append(
            {
                "seed": run["seed"],
                "outlier": stored[0].real,
                "imaginary": abs(stored[0].imag),
                "next_modulus": abs(stored[1]),
                "predicted": theory.rank_one_outlier(found.W, found.u, found.v),
                "overlap": float(found.v @ found.u),
                "share_of_rank_one": found.share,
                "growth_rate": float(run["growth_rate"]),
                "eigenvalues_off": float(np.abs(stored[:, None] - again).min(axis=1).max()),
                "equation_off": equation_error(found, stored[0]),
            }
        )
    return pd.DataFrame(rows, columns=LATCH_COLUMNS)


LATCH_COLUMNS = (
    "seed",
    "outlier",
    "imaginary",
    "next_modulus",
    "predicted",
    "overlap",
    "share_of_rank_one",
    "growth_rate",
    "eigenvalues_off",
    "equation_off",
)


def equation_error(found: Change, value: complex) -> float:
    """The smallest singular value of I - R (lambda I - W)^-1 L for the whole change L R: 0 at an eigenvalue."""
    left, values, right = np.linalg.svd(found.delta)
    resolved = np.linalg.solve(value * np.eye(len(found.W)) - found.W, left * values)
    return float(np.linalg.svd(np.eye(len(found.W)) - right @ resolved, compute_uv=False)[-1])


def of_the_latch(study: Any) -> list[Row]:
    rows = latches(study)
    off = (rows["predicted"] - rows["outlier"]).abs()
    rate = (rows["growth_rate"] - np.log(rows["outlier"].abs())).abs()
    return [
        at_most("eigenvalues of W off those of weights that are trained again, at most", "the same bytes",
                largest_of(rows["eigenvalues_off"]), 0.0, 1e-8),
        at_most("residual of det(I - R (lambda I - W)^-1 L) = 0 for the whole change, at most", DETERMINANT,
                largest_of(rows["equation_off"]), 0.0, 1e-8),
        near("the eigenvalue outside the disk", "a linear latch has an eigenvalue 1", median_of(rows["outlier"]), 1.0,
             0.05),
        at_most("modulus of the next eigenvalue", "one eigenvalue holds the bit", median_of(rows["next_modulus"]), 0.7),
        at_least("share of rank one in the squares of the change", SCHUESSLER, median_of(rows["share_of_rank_one"]),
                 0.8),
        at_most("|outlier - prediction of rank one|", DETERMINANT, median_of(off), 0.04),
        at_least("outlier less v^T u, where it would be if the change were independent of W", SCHUESSLER,
                 median_of(rows["outlier"] - rows["overlap"]), 0.2),
        at_most("|growth rate - log outlier|", "J = W", median_of(rate), 0.05),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """lambda_1 while networks learn two tasks, and the eigenvalues of a linear network before and after."""
    shape = (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.6 if size == "page" else 6.9), layout="constrained")
    axes = figure.subplots(*shape)
    for own, part in zip(axes, ("recall", "order"), strict=False):
        draw_exponents(own, of_part(study, part))
        own.set_title(TASKS[part])
    draw_eigenvalues(axes[2], study)
    axes[0].set_ylabel(r"$\lambda_1$ (nat/step)")
    keys = [
        lines.line_key("solved", color=style.CATEGORIES[0], marker="o"),
        lines.line_key("never solved", color=style.NEUTRAL),
    ]
    layout.footer(figure, keys)
    return {FIGURE: layout.finish(figure)}


def draw_exponents(axes: Axes, runs: pd.DataFrame) -> None:
    """A line for each network, with a mark where it solved its task."""
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    for _, own in runs.groupby("seed"):
        solved = own[own["update"] == own["solved"]]
        colour = style.CATEGORIES[0] if len(solved) else style.NEUTRAL
        axes.plot(own["update"].astype(float), own["lyapunov_exponent"].astype(float), color=colour, linewidth=0.7)
        mark = {"marker": "o", "markersize": 3.5, "linestyle": "none", "color": colour}
        axes.plot(solved["update"].astype(float), solved["lyapunov_exponent"].astype(float), **mark)
    axes.set_xlabel("update")


def draw_eigenvalues(axes: Axes, study: Any) -> None:
    """Of the first linear network: W before and after, and where the best change of rank one puts the outlier."""
    runs = of_part(study, "latch")
    runs = runs[runs["seed"] == runs["seed"].min()]
    values = study.eigenvalues[study.eigenvalues["matrix"] == "W"]
    looks = {"before": {"color": style.NEUTRAL, "marker": "o"}, "after": {"color": style.CATEGORIES[0], "marker": "."}}
    for (name, look), run in zip(looks.items(), runs.iloc[[0, -1]].to_dict("records"), strict=True):
        own = values[values["run_id"] == run["run_id"]]
        face = "none" if name == "before" else look["color"]
        axes.plot(own["real"], own["imaginary"], linestyle="none", label=name, markerfacecolor=face, **look)
    predicted = latches(study)["predicted"].iloc[0]
    axes.plot([predicted], [0.0], "x", color=style.CATEGORIES[1], label="predicted", markersize=7)
    axes.legend(loc="lower right")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(title="hold a bit, linear", xlabel=r"Re $\lambda$", ylabel=r"Im $\lambda$")
