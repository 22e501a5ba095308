"""What do matrices of one spectral radius differ in, and which number of W says where gradients begin to explode? See
README.md beside this file.

`claims` holds a study's tables against what is known of normal and non-normal matrices; `summaries` and `draw` lay the
measured critical point of each kind of W beside its spectral radius, gain and largest singular value.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims import Row, at_least, at_most, median_of, near
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.tables.critical import sign_changes
from bpttlab.tables.statistics import numbers

FIGURE = "gain_not_radius"
ROUNDING = 1e-9
KINDS = ("orthogonal", "Gaussian", "feed-forward 0.5", "feed-forward 1", "feed-forward 2", "chain")
NAMES = {"orthogonal": "orthogonal", "gaussian_radius": "Gaussian", "gaussian": "Gaussian", "bidiagonal": "chain"}
STRONGEST = "feed-forward 2"
SIZES = ("rho", "gain", "sigma_max")
"""The three numbers of W that may be taken for one another."""
KERG = "Kerg et al. 2019"
GELFAND = "Gelfand's formula"
CHEN = "Chen, Pennington & Schoenholz 2018"
ALEXEEV = "Alexeev, Gotze & Tikhomirov 2010"


def claims(study: Any) -> pd.DataFrame:
    """What is known of these matrices, and what was measured.

    Returns:
        Columns claim, source, expected, measured, low, high, tolerance, verdict, held.
    """
    runs = study.runs[study.runs["status"] == "done"]
    rest, powers = part(runs, "rest"), part(runs, "powers")
    points = critical_points(runs)
    return pd.DataFrame(
        [
            *departures(rest, powers),
            *peaks(rest),
            *asymptotes(rest),
            *first_powers(part(study.jacobians, "powers"), part(study.singular_values, "powers")),
            *normal_is_mean_field(points),
            *radius_does_not_decide(points),
            *gain_predicts_best(points),
        ]
    )


def part(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one part of the sweep: rest, powers or driven; each with its kind of W."""
    linear = rows["cell_activation"] == "identity"
    gaussian = rows["initializer"] == "gaussian"
    chosen = rows[{"driven": ~linear, "rest": linear & ~gaussian, "powers": linear & gaussian}[name]]
    return chosen.assign(kind=kinds(chosen))


def kinds(rows: pd.DataFrame) -> pd.Series:
    """How W was drawn, in a word or two."""
    strength = rows.get("initializer_feed_forward", pd.Series(np.nan, index=rows.index))
    named = rows["initializer"].map(NAMES)
    return named.where(named.notna(), strength.map(lambda value: f"feed-forward {value:g}"))


def largest(values: Any) -> float:
    """NaN of nothing, and of anything with a NaN in it: neither holds a claim."""
    found = np.asarray(values, float)
    return float(found.max()) if len(found) else np.nan


# ---------------------------------------------------------------------------------------------------- of the matrix


def departures(rest: pd.DataFrame, powers: pd.DataFrame) -> list[Row]:
    """Henrici: 0 of a normal matrix, f / sqrt(1 + f^2) of a feed-forward part f, 1/sqrt 2 of a large Gaussian one."""
    fed = rest[rest["initializer"] == "non_normal"]
    strength = fed["initializer_feed_forward"].astype(float)
    off = (fed["henrici_departure"] - strength / np.sqrt(1.0 + strength**2)).abs()
    normal = rest.loc[rest["kind"] == "orthogonal", "henrici_departure"]
    large = powers["cell_hidden_size"] == powers["cell_hidden_size"].max()
    gaussian = median_of(powers.loc[large, "henrici_departure"])
    return [
        at_most("largest Henrici departure of orthogonal W", "they are normal", largest(normal), 0.0, ROUNDING),
        at_most("|Henrici departure - f/sqrt(1 + f^2)| of feed-forward W", KERG, largest(off), 0.0, 1e-6),
        near("Henrici departure of large Gaussian W", "circular law", gaussian, np.sqrt(0.5), 0.003),
    ]


def peaks(rest: pd.DataFrame) -> list[Row]:
    """max over l of log ||W^l||: none where W is normal, the larger the more is fed forward."""
    peak = rest.pivot_table(index="seed", columns="kind", values="transient_peak").reindex(columns=KINDS)
    orthogonal = largest(peak["orthogonal"])
    found = [at_most("largest log peak of powers of orthogonal W, rho = 0.9", "normal", orthogonal, 0.0, ROUNDING)]
    for weak, strong in pairwise(KINDS[2:5]):
        text = f"log peak of powers, {strong} over {weak}"
        found.append(at_least(text, KERG, median_of(peak[strong] - peak[weak]), 1.0))
    horizon = rest.pivot_table(index="seed", columns="kind", values="vanishing_horizon").reindex(columns=KINDS)
    last = int(np.floor(-1.0 / np.log(0.9)))
    text = "last lag with a norm of 1/e or more"
    return [
        *found,
        near(f"{text}, orthogonal W", "0.9^l", median_of(horizon["orthogonal"]), last, 0.0),
        at_least(f"{text}, {STRONGEST}", KERG, median_of(horizon[STRONGEST]), 5.0 * last),
    ]


def asymptotes(rest: pd.DataFrame) -> list[Row]:
    """In the end every power follows rho^l; a chain of 64 equal eigenvalues has not begun to at lag 400."""
    chain = rest["kind"] == "chain"
    residual = rest.loc[~chain, "asymptote_residual"].abs()
    rates = rest.loc[chain, "growth_rate"]
    return [
        at_most("|growth rate - log rho| over lags 80 to 400, all but the chain", GELFAND, largest(residual), 0.01),
        at_least("growth rate of the chain of rho = 0.9 over the same lags", "binomials", -largest(-rates), 0.1),
    ]


# ---------------------------------------------------------------------------------------------------- large powers


def first_powers(products: pd.DataFrame, values: pd.DataFrame) -> list[Row]:
    """sigma_max(W^l), and mean s^4 / (mean s^2)^2, of Gaussian W of gain 1: means over networks, over their limits."""
    large = products[products["cell_hidden_size"] == products["cell_hidden_size"].max()]
    grown = np.exp(large["log_spectral_norm"]).groupby(large["lag"]).mean()
    moment = values.groupby(["network_id", "lag"])["log_singular_value"].agg(fourth_moment).groupby("lag").mean()
    found = []
    for lag in range(1, 5):
        limit = np.exp(theory.log_sigma_max_of_power(1.0, lag))
        text = f"mean sigma_max(W^{lag}) over sqrt((l+1)^(l+1) / l^l), large W"
        found.append(near(text, ALEXEEV, grown.get(lag, np.nan) / limit, 1.0, 0.03))
        ratio = moment.get(lag, np.nan) / theory.fourth_moment_of_power(lag)
        found.append(near(f"mean s^4 / (mean s^2)^2 of W^{lag} over l + 1", ALEXEEV, ratio, 1.0, 0.05))
    return found


def fourth_moment(log_values: pd.Series) -> float:
    squares = np.exp(2.0 * log_values.to_numpy(dtype=float))
    return float((squares**2).mean() / squares.mean() ** 2)


# ---------------------------------------------------------------------------------------------------- driven networks


def critical_points(runs: pd.DataFrame) -> pd.DataFrame:
    """Each driven network where its growth rate changes sign: its spectral radius, gain and largest singular value.

    One row per drive (the variance of the noise in a unit), kind of W and seed. NaN where there is not one change of
    sign. `mean_field` is the gain at which chi = 1.
    """
    driven = part(runs, "driven")
    keys = ["scales_V", "kind", "seed"]
    found = pd.DataFrame([crossing(rows) for _, rows in driven.groupby(keys)], columns=list(SIZES))
    points = driven[keys].drop_duplicates().sort_values(keys).reset_index(drop=True).join(found)
    drive = points["scales_V"].astype(float) ** 2
    predicted = {value: theory.critical_gain(value)[0] for value in drive.unique()}
    return points.assign(drive=drive, mean_field=drive.map(predicted))


def crossing(rows: pd.DataFrame) -> dict[str, float]:
    """A network of W = rho W_0 at its critical rho; gain and sigma_max are in proportion to it."""
    rows = rows.sort_values("rho")
    brackets = sign_changes(rows["rho"].to_numpy(float), numbers(rows["growth_rate"]).to_numpy())
    rho = brackets[0][2] if len(brackets) == 1 else np.nan
    return {name: rho * float((rows[name] / rows["rho"]).iloc[0]) for name in SIZES}


def at_drives(points: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """By variance of the noise, weakest first."""
    return [(float(drive), rows) for drive, rows in points.groupby("drive")]


def by_kind(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """(seed, kind) of one column."""
    return rows.pivot_table(index="seed", columns="kind", values=column, dropna=False).reindex(columns=KINDS)


def normal_is_mean_field(points: pd.DataFrame) -> list[Row]:
    """Orthogonal W: radius, gain and sigma_max are one number, and it is that of the mean field."""
    found = []
    for drive, rows in at_drives(points):
        text = f"critical spectral radius of orthogonal W, noise of variance {drive:g}"
        predicted = float(rows["mean_field"].iloc[0])
        found.append(near(text, f"{CHEN}, chi = 1", median_of(by_kind(rows, "rho")["orthogonal"]), predicted, 0.1))
    return found


def radius_does_not_decide(points: pd.DataFrame) -> list[Row]:
    """A network that feeds forward explodes at a spectral radius below 1, at which every orthogonal one vanishes."""
    found = []
    for drive, rows in at_drives(points):
        rho = by_kind(rows, "rho")
        said = f"noise of variance {drive:g}"
        apart = np.log(rho["orthogonal"] / rho[STRONGEST])
        found.append(
            at_least(f"log critical radius of orthogonal W over {STRONGEST}, {said}", KERG, median_of(apart), 0.4)
        )
        found.append(at_most(f"critical radius of {STRONGEST}, {said}", KERG, median_of(rho[STRONGEST]), 1.0))
    return found


def gain_predicts_best(points: pd.DataFrame) -> list[Row]:
    """How far, in log, the critical point lies from chi = 1 if one of the three numbers is taken for the gain."""
    found, misses = [], {}
    for drive, rows in at_drives(points):
        off = {name: np.log(by_kind(rows, name) / rows["mean_field"].iloc[0]).abs()[STRONGEST] for name in SIZES}
        misses[drive] = off["gain"]
        for name in ("rho", "sigma_max"):
            text = f"error of {name} minus that of the gain, {STRONGEST}, noise of variance {drive:g}"
            found.append(at_least(text, CHEN, median_of(off[name] - off["gain"]), 0.2))
    strong, said = rows_of_strongest(points)
    for kind in KINDS[:5]:
        text = f"|log(critical gain / mean field)|, {kind}, {said}"
        found.append(at_most(text, CHEN, median_of(np.log(strong[kind]).abs()), 0.2))
    weakest, strongest = min(misses), max(misses)
    text = f"error of the gain at variance {weakest:g} minus that at {strongest:g}, {STRONGEST}"
    return [
        *found,
        at_least(
            text, "Jacobians of neighbouring steps differ more", median_of(misses[weakest] - misses[strongest]), 0.0
        ),
    ]


def rows_of_strongest(points: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Critical gain over that of the mean field at the strongest noise, (seed, kind); and which noise that is."""
    drive, rows = at_drives(points)[-1]
    return by_kind(rows, "gain") / rows["mean_field"].iloc[0], f"noise of variance {drive:g}"


# ---------------------------------------------------------------------------------------------------- table and figure


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """`matrices`: what kinds of W differ in at rho = 0.9; `critical_points`: medians over networks where they turn."""
    runs = study.runs[study.runs["status"] == "done"]
    rest = part(runs, "rest")
    columns = ["sigma_max", "gain", "henrici_departure", "transient_peak", "transient_peak_lag", "vanishing_horizon"]
    of_matrix = rest.groupby("kind")[columns].median().reindex(KINDS).dropna(how="all").reset_index()
    points = critical_points(runs)
    groups = points.groupby(["drive", "kind"])
    turned = groups[["mean_field", *SIZES]].median().assign(networks=groups["rho"].count()).reset_index()
    departure = of_matrix.set_index("kind")["henrici_departure"]
    return {"matrices": of_matrix, "critical_points": turned.assign(henrici_departure=turned["kind"].map(departure))}


def draw(study: Any, size: Size = "page") -> dict[str, Figure]:
    """Powers of W at one spectral radius, and the three numbers of W where driven networks turn."""
    tables = summaries(study)
    drives = sorted(tables["critical_points"]["drive"].unique())
    across = size == "page"
    count = 1 + len(drives)
    figure = Figure(figsize=(style.WIDTHS[size], 2.2 if across else 1.75 * count), layout="constrained")
    grid = figure.subplots(1, count) if across else figure.subplots(count, 1)
    shades = style.categories(KINDS)
    powers_panel(grid[0], part(study.jacobians, "rest"), shades)
    for axes, drive in zip(grid[1:], drives, strict=True):
        critical_panel(axes, tables["critical_points"].query("drive == @drive"), shades)
        axes.set_title(f"critical point, noise of variance {drive:g}")
    limits = [min(axes.get_ylim()[0] for axes in grid[1:]), max(axes.get_ylim()[1] for axes in grid[1:])]
    for axes in grid[1:]:
        axes.set_ylim(*limits)
    layout.footer(figure, [*(lines.line_key(name, color=shades[name], linewidth=2) for name in KINDS), *mark_keys()])
    return {FIGURE: layout.finish(figure)}


MARKS = {"rho": ("o", r"$\rho$"), "gain": ("D", "gain $g$"), "sigma_max": ("^", r"$\sigma_{\max}$")}
MEAN_FIELD: dict[str, Any] = {"linestyle": "--", "linewidth": 0.9}


def powers_panel(axes: Axes, products: pd.DataFrame, shades: dict[str, str]) -> None:
    curves = products.groupby(["kind", "lag"])["log_spectral_norm"].median()
    for kind in KINDS:
        if kind in curves.index.get_level_values("kind"):
            own = curves[kind]
            axes.plot(own.index, own.to_numpy(), color=shades[kind])
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    axes.set(xlim=(0, 160), ylim=(-12, 12), xlabel=r"lag $\ell$ (steps)", ylabel=r"$\log\,\|W^\ell\|_2$ (nat)")
    axes.set_title(r"linear, $\rho = 0.9$")


def critical_panel(axes: Axes, rows: pd.DataFrame, shades: dict[str, str]) -> None:
    axes.axhline(float(rows["mean_field"].iloc[0]), color=style.NEUTRAL, **MEAN_FIELD)
    shown = [kind for kind in KINDS if kind in set(rows["kind"])]
    for place, kind in enumerate(shown):
        own = rows[rows["kind"] == kind].iloc[0]
        for name, (marker, _) in MARKS.items():
            filled = shades[kind] if name == "gain" else "white"
            axes.plot(place, own[name], marker, color=shades[kind], markerfacecolor=filled, markersize=4.5)
    axes.set_yscale("log")
    ticks = (0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
    axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xticks(range(len(shown)), labels=[SHORT[kind] for kind in shown])
    axes.set(xlim=(-0.5, len(shown) - 0.5), ylabel=r"$\rho$, $g$ or $\sigma_{\max}$", xlabel="kind of $W$")


SHORT = {
    "orthogonal": "orth.",
    "Gaussian": "Gauss.",
    "feed-forward 0.5": "ff 0.5",
    "feed-forward 1": "ff 1",
    "feed-forward 2": "ff 2",
}


def mark_keys() -> list[Any]:
    marks = [
        lines.line_key(label, marker=marker, linestyle="none", markerfacecolor=None if name == "gain" else "white")
        for name, (marker, label) in MARKS.items()
    ]
    return [*marks, lines.line_key(r"mean field, $\chi = 1$", **MEAN_FIELD)]
