"""At which gain does chaos begin, what does input change, and what does chaos do to gradients? See README.md in this
folder.

`claims` compares a study's tables with the mean field of wide tanh networks and with consequences of an exponent above
zero.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims.claims import Row, at_least, at_most, largest_of, median_of, near, one_per_draw, share_of
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.tables.critical import sign_changes
from bpttlab.verification import recomputation

FIGURE = "chaos_and_gradients"
SIZE, SMALL = 256, 64
"""Units of the networks that are compared with the mean field, and of those that are too small for it."""
ENGELKEN = "Engelken, Wolf & Abbott 2023"
CHEN = "Chen, Pennington & Schoenholz 2018"
MIKHAEIL = "Mikhaeil, Monfared & Durstewitz 2022"
MOLGEDEY = "Molgedey, Schuchhardt & Schuster 1992"


def claims(study: Any) -> pd.DataFrame:
    """Statements of the mean field and of the literature about chaos and gradients, and measurements.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    runs = study.runs[study.runs["status"] == "done"]
    alone, driven = autonomous(runs), runs[runs["scales_V"] > 0]
    return pd.DataFrame(
        [
            *exponents_are_those_of_differences(driven),
            *of_a_spectrum(runs, study.spectra),
            *at_rest(alone, runs, study),
            *chaos_is_mean_field(alone),
            *small_networks_fall_short(alone),
            *of_the_spectrum(runs, study.spectra),
            *input_moves_the_edge(driven),
            *gradients_follow(gradients(runs, study.jacobians)),
        ]
    )


def autonomous(runs: pd.DataFrame) -> pd.DataFrame:
    """Networks without input of which only the largest exponent was measured."""
    return runs[(runs["scales_V"] == 0) & (runs["measure_exponents"] == "1")]


def with_all_exponents(runs: pd.DataFrame, chaotic: bool) -> pd.DataFrame:
    """Networks with their whole spectrum, above or below the edge."""
    return runs[(runs["measure_exponents"] == "all") & ((runs["initializer_gain"] > 1.0) == chaotic)]


def exponents_at(rows: pd.DataFrame, gain: float, size: int) -> pd.Series:
    """lambda_1 of the networks at a gain and of a size, by seed."""
    chosen = rows[(rows["initializer_gain"] == gain) & (rows["cell_hidden_size"] == size)]
    return chosen.set_index("seed")["lyapunov_exponent"].astype(float)


# ---------------------------------------------------------------------------------------------------- by definition


def exponents_are_those_of_differences(driven: pd.DataFrame) -> list[Row]:
    """lambda_1 of networks that noise keeps from chaos, beside a direction carried along by central differences.

    Below the edge a trajectory forgets rounding, so that it can be computed again. The direction is the first of the
    frame that `measures.lyapunov` documents: before it has turned to the fastest one, the exponent depends on it.
    """
    rows = driven[driven["initializer_gain"] == driven["initializer_gain"].min()]
    rows = rows[rows["scales_V"] == rows["scales_V"].max()].sort_values("seed").head(3)
    off = [
        abs(float(run["lyapunov_exponent"]) - exponent_along(run["configuration"])) for run in rows.to_dict("records")
    ]
    text = f"largest error of lambda_1, {len(rows)} driven networks below the edge"
    return [at_most(text, "central differences of the forward pass", largest_of(off), 0.0, 1e-6)]


@cache
def exponent_along(configuration: str) -> float:
    """lambda_1 after the first fifth of the steps."""
    found = recomputation.replay(configuration)
    size = found.h.shape[-1]
    first = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0][:, 0]
    return float(np.median(recomputation.growth_along(found, first, len(found.x) // 5)))


def of_a_spectrum(runs: pd.DataFrame, spectra: pd.DataFrame) -> list[Row]:
    """Dimension and entropy are functions of the exponents that are stored beside them."""
    chosen = with_all_exponents(runs, chaotic=True)
    off = []
    for run in chosen.to_dict("records"):
        exponents = spectra.loc[spectra["run_id"] == run["run_id"], "lyapunov_exponent"].to_numpy(float)
        dimension = kaplan_yorke(exponents)
        off.append(abs(float(run["kaplan_yorke_dimension"]) - dimension) / dimension)
        off.append(abs(float(run["entropy_bound"]) / exponents[exponents > 0.0].sum() - 1.0))
    text = f"largest relative error of Kaplan-Yorke dimension and sum of positive exponents, {len(chosen)} networks"
    return [at_most(text, "Kaplan & Yorke 1979", largest_of(off), 0.0, 1e-9)]


def kaplan_yorke(exponents: np.ndarray) -> float:
    """Where the line through the sums of the largest exponents falls below zero; N if it does not."""
    sums = np.cumsum(np.sort(exponents)[::-1])
    below = np.flatnonzero(sums < 0.0)
    if not len(below) or below[0] == 0:
        return float(len(sums) if not len(below) else 0)
    last = below[0] - 1
    return float(last + 1 + sums[last] / (sums[last] - sums[below[0]]))


# ---------------------------------------------------------------------------------------------------- on their own


def at_rest(alone: pd.DataFrame, runs: pd.DataFrame, study: Any) -> list[Row]:
    """Where rho < 1 the state comes to rest at zero, every Jacobian is W, and exponents are log |eigenvalues|."""
    below = alone[alone["rho"] < 1.0]
    off = (below["lyapunov_exponent"] - np.log(below["rho"])).abs()
    whole = with_all_exponents(runs, chaotic=False)
    W = study.eigenvalues[study.eigenvalues["matrix"] == "W"]
    W = W.assign(modulus=0.5 * np.log(W["real"] ** 2 + W["imaginary"] ** 2))[["run_id", "index", "modulus"]]
    pairs = study.spectra[study.spectra["run_id"].isin(whole["run_id"])].merge(W, on=["run_id", "index"])
    apart = (pairs["lyapunov_exponent"] - pairs["modulus"]).abs()
    return [
        at_most(
            f"|lambda_1 - log rho| of all {len(below)} networks with rho < 1", "J_t = W", largest_of(off), 0.0, 0.02
        ),
        at_most(
            "|lambda_i - log |eigenvalue_i of W||, all i, gain 0.6, 64 units", "J_t = W", largest_of(apart), 0.0, 0.02
        ),
    ]


def chaos_is_mean_field(alone: pd.DataFrame) -> list[Row]:
    found = []
    for gain in (2.0, 3.0):
        rate = theory.mean_field(gain).rate
        text = f"lambda_1, gain {gain:g}, {SIZE} units"
        found.append(near(text, MOLGEDEY, median_of(exponents_at(alone, gain, SIZE)), rate, 0.03))
    return found


def small_networks_fall_short(alone: pd.DataFrame) -> list[Row]:
    """Networks with fewer units lie below the mean field, and some are periodic where most wide ones are chaotic."""
    source, rate = f"{ENGELKEN}, finite size", theory.mean_field(3.0).rate
    closer = (exponents_at(alone, 3.0, SMALL) - rate).abs() - (exponents_at(alone, 3.0, SIZE) - rate).abs()
    small, wide = (exponents_at(alone, 1.5, size) for size in (SMALL, SIZE))
    said = "networks at gain 1.5"
    return [
        at_least(
            f"distance of lambda_1 from the mean field, {SMALL} over {SIZE} units, gain 3",
            source,
            median_of(closer),
            0.0,
        ),
        at_least(f"{said} with {SMALL} units, of {len(small)}, that are not chaotic", source, count_calm(small), 1.0),
        at_least(f"share of {said} with {SIZE} units that are chaotic", source, share_of(wide > CHAOTIC), 0.5),
    ]


def count_calm(exponents: pd.Series) -> float:
    """How many are not chaotic; NaN of none."""
    return float((exponents <= CHAOTIC).sum()) if len(exponents) else np.nan


CHAOTIC = 0.005
"""lambda_1 is taken to be above zero from here: a periodic or quasi-periodic network has one within 0.001 of zero."""


def of_the_spectrum(runs: pd.DataFrame, spectra: pd.DataFrame) -> list[Row]:
    """Dimension, entropy and positive exponents, all per unit, at gain 3 and 200 units."""
    chosen = with_all_exponents(runs, chaotic=True)
    own = spectra[spectra["run_id"].isin(chosen["run_id"])]
    positive = own.groupby("run_id")["lyapunov_exponent"].agg(lambda values: (values > 0).mean())
    said = "gain 3, 200 units"
    return [
        near(
            f"Kaplan-Yorke dimension / N, {said}", OTHER_CODE, per_unit(chosen, "kaplan_yorke_dimension"), 0.279, 0.014
        ),
        near(f"sum of positive exponents / N, {said}", OTHER_CODE, per_unit(chosen, "entropy_bound"), 0.0237, 0.0024),
        near(f"fraction of positive exponents, {said}", OTHER_CODE, median_of(positive), 0.150, 0.0075),
        near(f"lambda_1, {said}", ENGELKEN, median_of(chosen["lyapunov_exponent"]), theory.mean_field(3.0).rate, 0.03),
    ]


OTHER_CODE = f"{ENGELKEN}; numbers: other code, 200 units"
"""Medians of 100 networks of 200 units over 1000 steps (docs/references.md)."""


def per_unit(chosen: pd.DataFrame, column: str) -> Any:
    return median_of(chosen[column] / chosen["cell_hidden_size"])


# ---------------------------------------------------------------------------------------------------- driven


def input_moves_the_edge(driven: pd.DataFrame) -> list[Row]:
    """Noise of variance s: lambda_1 = 1/2 log chi(g, s), zero at a gain that rises with s."""
    found = []
    for s, rows in by_variance(driven):
        off = rows.assign(off=(rows["lyapunov_exponent"] - predicted(rows)).abs()).groupby("seed")["off"].max()
        said = f"noise of variance {s:g}"
        found.append(at_most(f"largest |lambda_1 - mean field| of the gains, {said}", CHEN, median_of(off), 0.02))
        edges = rows.groupby("seed")[["initializer_gain", "lyapunov_exponent"]].apply(edge)
        expected = theory.critical_gain(s)[0]
        at_zero = median_of(edges, "lambda_1 does not change its sign exactly once")
        found.append(near(f"gain at which lambda_1 = 0, {said}", CHEN, at_zero, expected, 0.05))
    weak, strong = (rows[rows["initializer_gain"] == MIDDLE] for _, rows in (by_variance(driven)[i] for i in (0, 1)))
    weak, strong = (rows.set_index("seed")["lyapunov_exponent"] for rows in (weak, strong))
    text = f"lambda_1 at gain {MIDDLE:g}, noise of variance"
    return [
        *found,
        at_least(f"{text} 0.05", "chaos", median_of(weak), CHAOTIC),
        at_most(f"{text} 0.25", f"{MOLGEDEY}: noise suppresses chaos", median_of(strong), -CHAOTIC),
        at_most(f"{text} 0.25 minus that at 0.05", "the same", median_of(strong - weak), -0.05),
    ]


MIDDLE = 1.4
"""A gain at which the weakest noise leaves chaos and the next suppresses it."""


def by_variance(driven: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """By variance of the noise in a unit, the weakest first."""
    return [(round(float(V) ** 2, 9), rows) for V, rows in driven.groupby("scales_V")]


def predicted(rows: pd.DataFrame) -> pd.Series:
    """The mean field's lambda_1 of each run."""
    pairs = zip(rows["initializer_gain"], rows["scales_V"], strict=True)
    return pd.Series([theory.mean_field(float(g), float(V) ** 2).rate for g, V in pairs], index=rows.index)


def edge(network: pd.DataFrame) -> float:
    """The gain at which one network's exponent changes sign, on a line between neighbours in log g; NaN if not one."""
    rows = network.sort_values("initializer_gain")
    gains = np.log(rows["initializer_gain"].to_numpy(float))
    brackets = sign_changes(gains, rows["lyapunov_exponent"].to_numpy(float))
    return float(np.exp(brackets[0][2])) if len(brackets) == 1 else np.nan


# ---------------------------------------------------------------------------------------------------- gradients


def gradients(runs: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """Networks with products: lambda_1 as measured along another, longer run, and growth a step of what goes back.

    `product` is log ||dh_T/dh_0|| / T, `loss` the same of dL_T/dh_0 relative to dL_T/dh_T, and `parameters` is
    log ||dL/dtheta|| / T.
    """
    alone = autonomous(runs)[["network_id", "lyapunov_exponent"]]
    measured = runs[(runs["scales_V"] == 0) & (runs["measure_jacobians"] != "none")]
    rows = measured.drop(columns="lyapunov_exponent").merge(alone, on="network_id")
    T = rows["sequence_length"].astype(float)
    last = products[products["lag"] == products["sequence_length"]].set_index("run_id")
    first = products[products["lag"] == 0].set_index("run_id")
    ids = rows["run_id"]
    back = ids.map(last["log_state_gradient"]) - ids.map(first["log_state_gradient"])
    return rows.assign(
        product=ids.map(last["log_spectral_norm"]) / T, loss=back / T, parameters=rows["log_gradient_norm"] / T
    )


def gradients_follow(rows: pd.DataFrame) -> list[Row]:
    """lambda_1 > 0: gradients of losses explode; lambda_1 < 0 with a state at rest: they vanish.

    The networks of one seed differ by their gain alone: of each seed the slowest growth, or the median, is one value.
    """
    T = int(rows["sequence_length"].max()) if len(rows) else 0
    chaotic, calm = rows[rows["lyapunov_exponent"] * T > GROWN], rows[rows["lyapunov_exponent"] * T < -GROWN]
    deep = chaotic[chaotic["initializer_gain"] >= 2.0]
    slowest, fastest = chaotic.groupby("seed")["loss"].min(), calm.groupby("seed")["loss"].max()
    said = f"of a loss gradient over {T} steps, each seed's"
    found = [
        at_least(f"slowest growth {said}, lambda_1 T > {GROWN:g}", f"{MIKHAEIL}, theorem 2", median_of(slowest), 0.0),
        at_most(f"fastest growth {said}, lambda_1 T < -{GROWN:g}", f"{MIKHAEIL}, theorem 1", median_of(fastest), 0.0),
    ]
    for column, what in (("product", "log ||dh_T/dh_0|| / T"), ("loss", "log(||dL_T/dh_0|| / ||dL_T/dh_T||) / T")):
        off = one_per_draw(deep[column] - deep["lyapunov_exponent"], deep["seed"])
        found.append(near(f"{what} - lambda_1, gain >= 2", "definition of lambda_1", median_of(off), 0.0, 0.03))
    ratio = one_per_draw(deep["parameters"] / deep["lyapunov_exponent"], deep["seed"])
    return [*found, near("log ||dL/dtheta|| / (T lambda_1), gain >= 2", MIKHAEIL, median_of(ratio), 1.0, 0.1)]


GROWN = 5.0
"""lambda_1 T in nats from which on the sign of the exponent says what a gradient does: less is lost in its scatter."""


# ---------------------------------------------------------------------------------------------------- table and figure


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """`chaos`: lambda_1 over networks beside the mean field, with and without input; the number of chaotic networks."""
    runs = study.runs[study.runs["status"] == "done"]
    rows = runs[runs["measure_exponents"] == "1"]
    rows = rows.assign(
        variance=rows["scales_V"].astype(float) ** 2,
        mean_field=predicted(rows),
        chaotic=rows["lyapunov_exponent"] > CHAOTIC,
    )
    groups = rows.groupby(["variance", "cell_hidden_size", "initializer_gain"])
    chaos = groups[["lyapunov_exponent", "mean_field"]].median()
    ends = groups["lyapunov_exponent"].agg(lowest="min", highest="max")
    counted = groups["chaotic"].agg(networks="count", chaotic="sum")
    return {"chaos": chaos.join(ends).join(counted).reset_index()}


def draw(study: Any, size: Size = "page") -> dict[str, Figure]:
    """lambda_1 against the gain, on their own and driven, with the mean field; loss gradients against lag."""
    table = summaries(study)["chaos"]
    runs = study.runs[study.runs["status"] == "done"]
    across = size == "page"
    figure = style.Page(figsize=(style.WIDTHS[size], 2.4 if across else 6.0), layout="constrained")
    grid = figure.subplots(1, 3) if across else figure.subplots(3, 1)
    alone_panel(grid[0], table[table["variance"] == 0.0])
    driven_panel(grid[1], table[table["variance"] > 0.0])
    gradient_panel(grid[2], gradients(runs, study.jacobians), study.jacobians)
    layout.footer(
        figure, [lines.line_key("mean field", **MEAN_FIELD), lines.line_key("lowest to highest", linewidth=0.9)]
    )
    return {FIGURE: layout.finish(figure)}


MEAN_FIELD: dict[str, Any] = {"linestyle": "--", "linewidth": 0.9}
INSIDE: dict[str, Any] = {"handlelength": 1.2, "labelspacing": 0.25, "borderaxespad": 0.2}


def mean_field_line(axes: Axes, low: float, high: float, variance: float, colour: str) -> None:
    gains = np.linspace(low, high, 60)
    rates = [theory.mean_field(float(g), variance).rate for g in gains]
    axes.plot(gains, rates, color=colour, zorder=1, **MEAN_FIELD)


def marks(axes: Axes, rows: pd.DataFrame, aside: float, **look: Any) -> None:
    gain = rows["initializer_gain"].astype(float) + aside
    axes.vlines(gain, rows["lowest"], rows["highest"], color=look["color"], linewidth=0.9)
    axes.plot(gain, rows["lyapunov_exponent"], linestyle="none", **look)


def alone_panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    mean_field_line(axes, rows["initializer_gain"].min(), rows["initializer_gain"].max(), 0.0, style.NEUTRAL)
    sizes = sorted(rows["cell_hidden_size"].unique())
    for place, (N, colour) in enumerate(zip(sizes, style.sequence_colours(len(sizes)), strict=True)):
        aside = 0.03 * (place - (len(sizes) - 1) / 2)
        own = rows[rows["cell_hidden_size"] == N]
        marks(axes, own, aside, color=colour, marker=style.MARKERS[place], label=f"N = {N}")
    axes.legend(loc="lower right", **INSIDE)
    axes.set(title="on their own", xlabel="gain $g$", ylabel=r"exponent $\lambda_1$ (nat/step)")


def driven_panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    for place, (variance, own) in enumerate(rows.groupby("variance")):
        colour = style.CATEGORIES[place]
        mean_field_line(axes, own["initializer_gain"].min(), own["initializer_gain"].max(), float(variance), colour)
        marks(axes, own, 0.0, color=colour, marker=style.MARKERS[place], label=f"variance {variance:g}")
    axes.legend(loc="lower right", **INSIDE)
    axes.set(title="driven by white noise", xlabel="gain $g$", ylabel=r"exponent $\lambda_1$ (nat/step)")


def gradient_panel(axes: Axes, networks: pd.DataFrame, products: pd.DataFrame) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    rows = products[products["run_id"].isin(networks["run_id"])]
    first = rows[rows["lag"] == 0].set_index("run_id")["log_state_gradient"]
    rows = rows.assign(grown=rows["log_state_gradient"] - rows["run_id"].map(first))
    shades = style.colours([float(gain) for gain in networks["initializer_gain"].unique()])
    for gain, own in networks.groupby("initializer_gain"):
        curve = rows[rows["run_id"].isin(own["run_id"])].groupby("lag")["grown"].median()
        axes.plot(curve.index, curve.to_numpy(), color=shades[float(gain)], label=f"$g$ = {gain:g}")
        last = int(curve.index.max())
        slope = float(own["lyapunov_exponent"].median())
        axes.plot([0, last], [0.0, slope * last], color=shades[float(gain)], linestyle=":", linewidth=0.9)
    axes.legend(loc="upper left", **INSIDE)
    axes.set_title(r"loss gradients (dotted: $\lambda_1\ell$)")
    axes.set(xlabel=r"lag $\ell$ (steps)", ylabel="log growth (nat)")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -high), high)
