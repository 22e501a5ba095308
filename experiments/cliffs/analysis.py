"""Where is the cliff in an error surface, how high is it, and what does clipping change there? See README.md in this
folder.

`claims` computes the surface and checks it against the same surface in plain numbers. It checks a study's tables
against results that follow from fixed points.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims.claims import Row, at_least, at_most, median_of, near, one_per_draw
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.verification.gradients import Surface, cliff

FIGURE = "cliffs"
PASCANU = "Pascanu, Mikolov & Bengio 2013"
W, B = np.linspace(4.0, 7.0, 301), np.linspace(-3.2, -2.0, 241)
"""The part of the surface that is looked at."""
X_0, TARGET, STEPS = 0.5, 0.7, 50
"""The unit of that paper's figure 6: its start, its target, its number of steps."""
FINER = 4
"""How much finer the grid is that shows what the largest norm of a grid is worth."""
PLAIN = "forward differentiation in plain numbers"
TOP = (4.94, -2.575)
"""The steepest point of that grid."""
RATE, THRESHOLD, DESCENT = 0.02, 1.0, 3000
"""Of gradient descent: the learning rate, the norm above which a gradient is cut down to it, the steps."""
STARTS = [(w, part) for w in np.linspace(4.8, 6.4, 4) for part in (0.25, 0.5, 0.75)]
"""Where it starts: w, and the part of the way from the lower fold to the upper."""
NEAR = (1e-9, 1e-6)
"""Two distances from the wall at which a unit of the study leaves it within the sequence."""


def claims(study: Any) -> pd.DataFrame:
    """The surface, the step over its wall, and the units of the study.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    wall = distances(study)
    rows = [*of_the_surface(), *of_the_wall(), *of_the_folds(), *of_clipping()]
    return pd.DataFrame([*rows, *at_the_wall(wall), beside_it(wall), *truncated(wall), *held_states(study)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Units of the study by their distance from the wall; where descents from twelve places end."""
    keys = ["w", "distance"]
    wall = distances(study).groupby(keys, as_index=False)
    found = wall[["log_growth", "log_gradient_norm", "log_bias_of_half"]].median()
    found.insert(2, "networks", wall.size()["size"])
    return {"wall": found, "descents": descents()}


# ---------------------------------------------------------------------------------------------------- the surface


@cache
def surface() -> Surface:
    """E and its gradient on the grid.  (301, 241) each"""
    rows = [cliff(w, B, X_0, TARGET, STEPS) for w in W]
    return Surface(*(np.array([row[part] for row in rows]) for part in range(3)))


def plain(w: np.ndarray, b: np.ndarray) -> Surface:
    """E and its gradient, element by element: dx_t = d(w sigma(x_{t-1}) + b), carried forwards."""
    h = np.full(np.broadcast(w, b).shape, 1.0 / (1.0 + np.exp(-X_0)))
    dw, db = np.zeros_like(h), np.zeros_like(h)
    for _ in range(STEPS):
        new = 1.0 / (1.0 + np.exp(-(w * h + b)))
        slope = new * (1.0 - new)
        dw, db, h = slope * (h + w * dw), slope * (1.0 + w * db), new
    return Surface((h - TARGET) ** 2, 2.0 * (h - TARGET) * dw, 2.0 * (h - TARGET) * db)


@cache
def on_finer_grid() -> float:
    """The largest gradient norm on a grid `FINER` times as fine, of the same part of the surface."""
    w, b = (np.linspace(part[0], part[-1], FINER * (len(part) - 1) + 1) for part in (W, B))
    return float(max(plain(rows[:, None], b).norm.max() for rows in np.array_split(w, 16)))


def of_the_surface() -> list[Row]:
    """The largest norm depends on the grid: on the distance of the nearest grid point from the wall."""
    found, known = surface(), plain(W[:, None], B)
    norm = found.norm
    off = np.hypot(found.dw - known.dw, found.db - known.db) / (known.norm + 1e-6)
    row, column = np.unravel_index(norm.argmax(), norm.shape)
    grid = f"of this grid, {len(W)} x {len(B)} points"
    largest = f"largest gradient norm {grid}"
    finer = f"that of a grid {FINER} times as fine over the largest of this one"
    return [
        at_most("relative error of the gradient, at most, over the grid", PLAIN, off.max(), 0.0, 1e-6),
        near(largest, PLAIN, norm.max(), known.norm.max(), 1e-6 * known.norm.max()),
        at_least(finer, "a grid steps over the wall", on_finer_grid() / norm.max(), 2.0),
        near("w there", grid, W[row], TOP[0], 0.0051),
        near("b there", grid, B[column], TOP[1], 0.0026),
        near("median gradient norm on the grid", PLAIN, np.median(norm), np.median(known.norm), 1e-6),
        at_most("share of the grid with a gradient norm above 1", "a wall is thin", (norm > 1.0).mean(), 0.01),
    ]


def of_the_wall() -> list[Row]:
    """The wall is the line on which the unit starts at a repelling fixed point."""
    source = "fixed point that repels"
    steep = [w for w in W if theory.wall(w, X_0).slope > 1.05 and theory.wall(w, X_0).bias > B[0]]
    norm = surface().norm[np.searchsorted(W, steep)]
    apart = [abs(B[place] - theory.wall(w, X_0).bias) for w, place in zip(steep, norm.argmax(axis=1), strict=True)]
    found = [at_most("steepest b of each w away from x_0 - w sigma(x_0), at most", source, max(apart), 0.0051)]
    for w in (5.0, 6.0, 7.0):
        wall = theory.wall(w, X_0)
        top = cliff(w, np.array([wall.bias]), X_0, TARGET, STEPS).norm[0]
        text = f"gradient norm on the wall at w = {w:g} / its closed form ({height(w):.3g})"
        found.append(near(text, "geometric sum of the slope", top / height(w), 1.0, 1e-6))
    return found


def height(w: float) -> float:
    """|dE/d(w, b)| on the wall, where the unit stays where it is: |2 (h_0 - target)| |(h_0, 1)| dh_T/db."""
    state = 1.0 / (1.0 + np.exp(-X_0))
    return float(2.0 * abs(state - TARGET) * np.hypot(state, 1.0) * theory.wall(w, X_0).sensitivity(STEPS))


def of_the_folds() -> list[Row]:
    """Between the folds the unit has two resting states, outside one."""
    folds, margin = theory.folds(5.0), 0.01
    b = np.array([folds[0] - margin, folds[0] + margin, folds[1] - margin, folds[1] + margin])
    ends = [np.sqrt(cliff(5.0, b, x_0, 0.0, 2000).error) for x_0 in (-5.0, 5.0)]
    two = np.abs(ends[1] - ends[0]) > 0.1
    text = "biases 0.01 beside the folds of w = 5 with one state outside, two inside, of 4"
    found = [at_least(text, "Doya 1992", float((two == [False, True, True, False]).sum()), 4.0)]
    steep = [w for w in W if theory.wall(w, X_0).slope > 1.0]
    inside = [low < theory.wall(w, X_0).bias < high for w in steep for low, high in [theory.folds(w)]]
    text = "share of w at which the wall stands between the folds"
    return [*found, at_least(text, "fixed point that repels", np.mean(inside), 1.0)]


# ---------------------------------------------------------------------------------------------------- clipping


def clipped(gradient: Surface, threshold: float | np.ndarray) -> np.ndarray:
    """The factor on a gradient of a norm above the threshold (Pascanu, Mikolov & Bengio 2013, algorithm 1)."""
    with np.errstate(divide="ignore"):
        return np.minimum(1.0, threshold / gradient.norm)


def step(w: np.ndarray, b: np.ndarray, threshold: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of gradient descent."""
    gradient = cliff(w, b, X_0, TARGET, STEPS)
    rate = RATE * clipped(gradient, threshold)
    return w - rate * gradient.dw, b - rate * gradient.db


class Landing(NamedTuple):
    """Where one step from the steepest point ends: how far away, and the gradient norm there."""

    w: float
    b: float
    length: float
    norm: float


def landing(threshold: float) -> Landing:
    w, b = step(np.array([TOP[0]]), np.array([TOP[1]]), threshold)
    length = float(np.hypot(w - TOP[0], b - TOP[1])[0])
    return Landing(float(w[0]), float(b[0]), length, float(cliff(w, b, X_0, TARGET, STEPS).norm[0]))


@cache
def descents() -> pd.DataFrame:
    """Gradient descent from every start, without clipping and with it: where it ends, and the error there."""
    w = np.array([w for w, _ in STARTS] * 2)
    b = np.array([low + part * (high - low) for w, part in STARTS for low, high in [theory.folds(w)]] * 2)
    threshold = np.repeat([np.inf, THRESHOLD], len(STARTS))
    begun, steepest = (w, b), np.zeros(len(w))
    for _ in range(DESCENT):
        gradient = cliff(w, b, X_0, TARGET, STEPS)
        steepest = np.maximum(steepest, gradient.norm)
        rate = RATE * clipped(gradient, threshold)
        w, b = w - rate * gradient.dw, b - rate * gradient.db
    columns = {"threshold": threshold, "first_w": begun[0], "first_b": begun[1], "last_w": w, "last_b": b}
    return pd.DataFrame({**columns, "largest_norm": steepest, "error": cliff(w, b, X_0, TARGET, STEPS).error})


def descent_cosine(cut: Landing) -> float:
    """Between the step and the way down, at the steepest point."""
    gradient = plain(np.array([TOP[0]]), np.array([TOP[1]]))
    down = -np.array([gradient.dw[0], gradient.db[0]])
    taken = np.array([cut.w - TOP[0], cut.b - TOP[1]])
    return float(taken @ down / np.linalg.norm(taken) / np.linalg.norm(down))


def of_clipping() -> list[Row]:
    free, cut = landing(np.inf), landing(THRESHOLD)
    found = descents()
    errors = {name: part["error"].to_numpy() for name, part in found.groupby(np.isinf(found["threshold"]))}
    algorithm = f"{PASCANU}, section 3.2"
    return [
        at_least("length of one step from the steepest point, as it is", algorithm, free.length, np.ptp(W)),
        near("the same with the norm clipped", algorithm, cut.length, RATE * THRESHOLD, 1e-12),
        near("cosine of the clipped step and minus the gradient", PLAIN, descent_cosine(cut), 1.0, 1e-9),
        at_most("gradient norm where the step as it is ends", "the unit is saturated there", free.norm, 1e-9),
        at_least("gradient norm where the clipped step ends", algorithm, cut.norm, 0.01),
        at_most("median error after descent with clipping", algorithm, median_of(errors[False]), 0.005),
        at_least("median error after the same descent without", algorithm, median_of(errors[True]), 0.005),
    ]


# ---------------------------------------------------------------------------------------------------- the study


def distances(study: Any) -> pd.DataFrame:
    """A row for each unit that starts beside the wall: w, distance (s.d. of b), growth, and what half the lags leave
    out."""
    runs = study.runs[(study.runs["status"] == "done") & (study.runs["scales_h_0"] == 0.0)]
    terms = study.truncations
    terms = terms[(terms["parameter"] == "b_h") & (terms["origin"] == "wavefront")]
    half = terms.loc[2 * terms["truncation"] <= terms["length"], "truncation"].max()
    bias = terms[terms["truncation"] == half].set_index("run_id")["log_relative_bias"]
    found = runs.rename(columns={"initializer_requested": "w", "scales_b": "distance"})
    found = found.assign(log_bias_of_half=found["run_id"].map(bias), half=half)
    names = ["w", "distance", "seed", "sequence_length", "log_growth", "log_gradient_norm", "log_bias_of_half", "half"]
    return found[names].sort_values(names[:3]).reset_index(drop=True)


def at_the_wall(wall: pd.DataFrame) -> list[Row]:
    on_it = wall[wall["distance"] == 0.0]
    excess = (on_it["log_growth"] - on_it["sequence_length"] * np.log(on_it["w"])).abs()
    source = "slope w at the fixed point"
    found = [at_most("|log dh_T/dh_0 - T log w| on the wall, at most", source, excess.max(), 0.0, 1e-9)]
    for w, rows in wall[wall["distance"] == wall["distance"].max()].groupby("w"):
        text = f"median of log dh_T/dh_0 far from the wall, w = {w:g}"
        found.append(at_most(text, "Bengio, Simard & Frasconi 1994", median_of(rows["log_growth"]), -10.0))
    return found


def beside_it(wall: pd.DataFrame) -> Row:
    """A unit leaves after log(1/d)/log w steps and shrinks by the latch's slope s: dh_T/dh_0 ~ d^(log s/log w - 1)."""
    rows = wall[wall["distance"].isin(NEAR)]
    growth = rows.pivot(index=["w", "seed"], columns="distance", values="log_growth")
    measured = (growth[NEAR[1]] - growth[NEAR[0]]) / np.log(NEAR[1] / NEAR[0])
    w = measured.index.get_level_values("w")
    expected = [np.log(theory.latch(one).slope) / np.log(one) - 1.0 for one in w]
    ratio = one_per_draw(measured / expected, pd.Series(measured.index.get_level_values("seed")))
    text = f"median exponent of dh_T/dh_0 in the distance / (log s / log w - 1), distance {NEAR[0]:g} to {NEAR[1]:g}"
    return near(text, "time to leave a fixed point", median_of(ratio), 1.0, 0.02)


def truncated(wall: pd.DataFrame) -> list[Row]:
    """On the wall the longest lags are the gradient, (w^T - w^K) / (w^T - 1) of it; away from the wall they vanish."""
    kept = int(wall["half"].iloc[0])
    on_it, far = wall[wall["distance"] == 0.0], wall[wall["distance"] == wall["distance"].max()]
    source = "geometric sum of the slope"
    w, T = on_it["w"].to_numpy(dtype=float), on_it["sequence_length"].to_numpy(dtype=float)
    off = np.abs(on_it["log_bias_of_half"].to_numpy(dtype=float) - np.log1p(-(w**kept - 1.0) / (w**T - 1.0)))
    text = f"|log relative bias of TBPTT at K = {kept} on the wall - its closed form|, at most"
    missed = f"median log relative bias of TBPTT at K = {kept} far from the wall"
    bias = one_per_draw(far["log_bias_of_half"], far["seed"])
    return [at_most(text, source, off.max(), 0.0, 1e-9), at_most(missed, source, median_of(bias), -10.0)]


def held_states(study: Any) -> list[Row]:
    """x = tanh(w x) from anywhere: at lags short enough to lie behind the fall, every Jacobian is the latch's slope."""
    rows = study.jacobians[study.jacobians["scales_h_0"] > 0.0]
    rows = rows[(rows["lag"] > 0) & (4 * rows["lag"] <= rows["t"])]
    rate = (rows["log_spectral_norm"] / rows["lag"]).groupby([rows["initializer_scale"], rows["network_id"]]).median()
    found = []
    for w, values in rate.groupby(level=0):
        latch = theory.latch(float(w))
        text = f"median slope of a unit that holds a bit, w = {w:g}"
        source = "Bengio, Simard & Frasconi 1994, section 3"
        found.append(near(text, source, median_of(np.exp(values)), latch.slope, 1e-5))
    return found or [at_least("units that hold a bit", "Bengio, Simard & Frasconi 1994", np.nan, 1.0)]


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """The error surface with one step, its gradient norm with the folds, and the growth beside the wall."""
    figure, axes = three_panels(size)
    draw_error(figure, axes[0])
    draw_norm(figure, axes[1])
    shades = draw_growth(axes[2], distances(study))
    keys = [
        lines.line_key("wall", **WALL),
        lines.line_key("folds", **FOLD),
        lines.line_key("one step as it is", **FREE),
        lines.line_key(f"clipped at {SHOWN_THRESHOLD:g}", **CUT),
        lines.line_key("12 descents end, as they are", **ENDS_FREE),
        lines.line_key(f"clipped at {THRESHOLD:g}", **ENDS_CUT),
        *(lines.line_key(f"$w$ = {w:g}", color=colour, marker="o") for w, colour in shades.items()),
    ]
    layout.footer(figure, keys)
    return {FIGURE: layout.finish(figure)}


def three_panels(size: Size) -> tuple[Figure, np.ndarray]:
    """Side by side on a page, one above the other in a column."""
    width, shape = style.WIDTHS[size], (1, 3) if size == "page" else (3, 1)
    figure = style.Page(figsize=(width, 2.1 if size == "page" else 6.0), layout="constrained")
    return figure, figure.subplots(*shape)


WALL: dict[str, Any] = {"color": "#111111", "linewidth": 0.9, "linestyle": (0, (3, 2))}
FOLD: dict[str, Any] = {"color": "#111111", "linewidth": 0.9}
FREE: dict[str, Any] = {"color": "#d55e00", "linewidth": 1.2}
MARK: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0.8, "color": "#111111"}
CUT: dict[str, Any] = {**MARK, "marker": "D", "markersize": 3.5, "markerfacecolor": "white"}
ENDS_CUT: dict[str, Any] = {**MARK, "marker": "o", "markersize": 4.5, "markerfacecolor": "white"}
ENDS_FREE: dict[str, Any] = {**MARK, "marker": "x", "markersize": 4.0, "color": "#d55e00"}
SHOWN_THRESHOLD = 10.0
"""Of the step that is drawn: ten times as long as the one of the claims, to be seen."""


def draw_error(figure: Figure, axes: Axes) -> None:
    """The arrow leaves the panel on its way to where the step ends."""
    image = axes.pcolormesh(W, B, surface().error.T, cmap="cividis", shading="nearest", rasterized=True)
    figure.colorbar(image, ax=axes, label="error $E$", aspect=30, pad=0.02)
    wall = [theory.wall(w, X_0) for w in W]
    shown = np.array([one.slope > 1.0 for one in wall])
    axes.plot(W[shown], np.array([one.bias for one in wall])[shown], **WALL)
    free, cut = landing(np.inf), landing(SHOWN_THRESHOLD)
    scale = 0.56 / (free.b - TOP[1])
    place = (TOP[0] + scale * (free.w - TOP[0]), TOP[1] + scale * (free.b - TOP[1]))
    arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7, **FREE}
    axes.annotate("", place, TOP, arrowprops=arrow, zorder=4)
    axes.plot([cut.w], [cut.b], zorder=5, **CUT)
    found = descents()
    for whole, look in ((True, ENDS_FREE), (False, ENDS_CUT)):
        rows = found[np.isinf(found["threshold"]) == whole]
        axes.plot(rows["last_w"], rows["last_b"], zorder=4, **look)
    frame(axes)


def draw_norm(figure: Figure, axes: Axes) -> None:
    norm = np.log10(surface().norm.T)
    image = axes.pcolormesh(W, B, norm, cmap="viridis", shading="nearest", rasterized=True, vmin=-3.0)
    figure.colorbar(image, ax=axes, label=r"$\log_{10}\,\|\nabla E\|$", aspect=30, pad=0.02, extend="min")
    for side in (0, 1):
        axes.plot(W, [theory.folds(w)[side] for w in W], **FOLD)
    frame(axes)


def frame(axes: Axes) -> None:
    axes.set(xlim=(W[0], W[-1]), ylim=(B[0], B[-1]), xlabel="recurrent weight $w$", ylabel="bias $b$")


def draw_growth(axes: Axes, wall: pd.DataFrame) -> dict[float, str]:
    """Medians over the units; those on the wall itself, at distance 0, stand on the left."""
    values = sorted(wall["w"].unique())
    shades = dict(zip(values, style.sequence_colours(len(values)), strict=True))
    wall = wall[wall["distance"] < 1.0]
    aside = wall.loc[wall["distance"] > 0, "distance"].min() / 1e3
    for w, rows in wall.groupby("w"):
        middle = rows.groupby("distance")["log_growth"].median()
        place = np.where(middle.index == 0.0, aside, middle.index)
        axes.plot(place[1:], middle.iloc[1:], color=shades[w], marker="o", linewidth=0.9)
        axes.plot(place[:1], middle.iloc[:1], color=shades[w], marker="o", linestyle="none")
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    axes.set_xscale("log")
    axes.set_xticks([aside, 1e-12, 1e-9, 1e-6, 1e-3], ["0", *(f"$10^{{{power}}}$" for power in (-12, -9, -6, -3))])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="distance from the wall", ylabel=r"$\log\,|\partial h_T/\partial h_0|$ (nat)")
    return shades
