"""What do matrices of one spectral radius differ in, and which number of W says where gradients begin to explode? See
README.md beside this file.

`claims` holds a study's tables against what is known of normal and non-normal matrices; `summaries` and `draw` lay the
measured critical point of each kind of W beside its spectral radius, gain and largest singular value.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims.claims import Row, at_least, at_most, largest_of, median_of, near, smallest_of
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network
from bpttlab.tables.critical import sign_changes
from bpttlab.tables.statistics import numbers
from bpttlab.verification import recomputation

FIGURE = "gain_not_radius"
ROUNDING = 1e-9
DIFFERENCES = 1e-6
"""Of logarithms, between the engine and central differences of the forward pass, which are right to about 1e-9."""
NOT_ONE = "the growth rate does not change its sign exactly once"
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
        The columns of `bpttlab.claims.claims.Row`.
    """
    runs = study.runs[study.runs["status"] == "done"]
    rest, powers = part(runs, "rest"), part(runs, "powers")
    points = critical_points(runs)
    return pd.DataFrame(
        [
            *matrices_are_those_of_numpy(rest, study.jacobians),
            *driven_products_are_those_of_differences(part(runs, "driven"), study.jacobians),
            values_are_those_of_differences(part(runs, "values"), study.singular_values),
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
    """The rows of one part of the sweep: rest, powers, driven or values; each with its kind of W."""
    linear = rows["cell_activation"] == "identity"
    gaussian, values = rows["initializer"] == "gaussian", ~linear & (rows["measure_singular_lags"] > 0)
    parts = {"driven": ~linear & ~values, "values": values, "rest": linear & ~gaussian, "powers": linear & gaussian}
    chosen = rows[parts[name]]
    return chosen.assign(kind=kinds(chosen))


def kinds(rows: pd.DataFrame) -> pd.Series:
    """How W was drawn, in a word or two."""
    strength = rows.get("initializer_feed_forward", pd.Series(np.nan, index=rows.index))
    named = rows["initializer"].map(NAMES)
    return named.where(named.notna(), strength.map(lambda value: f"feed-forward {value:g}"))


# ---------------------------------------------------------------------------------------------------- by definition


def one_seed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["seed"] == rows["seed"].min()]


def matrices_are_those_of_numpy(rest: pd.DataFrame, products: pd.DataFrame) -> list[Row]:
    """Of one W of each kind, drawn again: its three numbers, and its powers multiplied out."""
    numbers_off, norms_off, peaks_off = [], [], []
    for run in one_seed(rest).to_dict("records"):
        W = recurrent_weights(run["configuration"])
        known = {
            "rho": np.abs(np.linalg.eigvals(W)).max() if run["kind"] != "chain" else np.diag(W).max(),
            "gain": np.linalg.norm(W) / np.sqrt(len(W)),
            "sigma_max": np.linalg.norm(W, 2),
        }
        numbers_off += [abs(float(run[name]) / value - 1.0) for name, value in known.items()]
        norms = log_norms_of_powers(run["configuration"], 1000)
        stored = products[products["run_id"] == run["run_id"]]
        norms_off.append(np.abs(stored["log_spectral_norm"].to_numpy(float) - norms[stored["lag"].to_numpy(int)]).max())
        peaks_off.append(abs(float(run["transient_peak"]) - norms[int(run["transient_peak_lag"])]))
        searched = norms[: int(run["measure_transient_lags"]) + 1]
        peaks_off.append(abs(float(run["transient_peak"]) - searched.max()))
    source, said = "NumPy, W drawn again", f"of {len(norms_off)} W, seed {rest['seed'].min()}"
    return [
        at_most(
            f"largest relative error of rho, gain and sigma_max, {said}", source, largest_of(numbers_off), 0.0, 1e-9
        ),
        at_most(f"largest error of log ||W^l||, {said}", source, largest_of(norms_off), 0.0, 1e-7),
        at_most(f"log peak of ||W^l|| away from that of all powers, {said}", source, largest_of(peaks_off), 0.0, 1e-7),
    ]


def recurrent_weights(configuration: str) -> np.ndarray:
    """W of a run, drawn again."""
    return np.asarray(build_network(Configuration.parse(json.loads(configuration)))[1]["W"], np.float64)


@cache
def log_norms_of_powers(configuration: str, last: int) -> np.ndarray:
    """log ||W^l||_2 for l = 0 to last."""
    W = recurrent_weights(configuration)
    P, log_size, found = np.eye(len(W)), 0.0, [0.0]
    for _ in range(last):
        P = W @ P
        size = np.abs(P).max()
        P, log_size = P / size, log_size + np.log(size)
        found.append(log_size + np.log(np.linalg.norm(P, 2)))
    return np.array(found)


def driven_products_are_those_of_differences(driven: pd.DataFrame, products: pd.DataFrame) -> list[Row]:
    """Of one network of each kind at the strongest noise: norms, and the growth rate whose sign is looked for."""
    rows = one_seed(driven[driven["scales_V"] == driven["scales_V"].max()])
    rows = rows.sort_values("rho").groupby("kind").nth(1)
    norms, rates = [], []
    for run in rows.to_dict("records"):
        stored = products[products["run_id"] == run["run_id"]]
        known = products_by_differences(run["configuration"], int(stored["sequence"].nunique()))
        at = stored["sequence"].to_numpy(int), stored["lag"].to_numpy(int)
        norms.append(np.abs(stored["log_spectral_norm"].to_numpy(float) - known[(*at, 0)]).max())
        typical = np.median(known[..., 1], axis=0)
        lags = np.arange(len(typical))[(len(typical) - 1) // 5 :]
        rates.append(abs(float(run["growth_rate"]) - np.polyfit(lags, typical[lags], 1)[0]))
    source, said = "central differences of the forward pass", f"{len(rows)} driven networks"
    text = "largest |growth rate - slope of log ||P||_F over lags T/5 to T|"
    return [
        at_most(f"largest error of log ||P||, {said}", source, largest_of(norms), 0.0, DIFFERENCES),
        at_most(f"{text}, {said}", source, largest_of(rates), 0.0, DIFFERENCES),
    ]


@cache
def products_by_differences(configuration: str, sequences: int) -> np.ndarray:
    """log ||P||_2 and the typical log-norm, (sequence, lag, 2)."""
    found = recomputation.replay(configuration)
    return np.array([recomputation.recompute_log_norms(found, sequence) for sequence in range(sequences)])


def values_are_those_of_differences(runs: pd.DataFrame, values: pd.DataFrame) -> Row:
    """All singular values of products of unlike, non-normal Jacobians that float64 resolves in an explicit product."""
    off = []
    for run in runs.to_dict("records"):
        stored = values[(values["run_id"] == run["run_id"]) & (values["sequence"] == 0)]
        known = values_by_differences(run["configuration"])
        for lag, own in stored.groupby("lag"):
            found = np.sort(own["log_singular_value"].to_numpy(float))[::-1]
            large = known[int(lag)] > known[int(lag)][0] + np.log(1e-4)
            off.append(np.abs(found - known[int(lag)])[large].max())
    text = f"largest error of log sigma_i of P above 1e-4 sigma_max, {len(runs)} driven networks"
    return at_most(text, "central differences of the forward pass", largest_of(off), 0.0, DIFFERENCES)


@cache
def values_by_differences(configuration: str) -> list[np.ndarray]:
    """log sigma_i of P, descending, by lag."""
    found = recomputation.products(recomputation.replay(configuration))
    return [log_size + np.log(np.linalg.svd(P, compute_uv=False)) for log_size, P in found]


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
        at_most("largest Henrici departure of orthogonal W", "they are normal", largest_of(normal), 0.0, ROUNDING),
        at_most("|Henrici departure - f/sqrt(1 + f^2)| of feed-forward W", KERG, largest_of(off), 0.0, 1e-6),
        near("Henrici departure of large Gaussian W", "circular law", gaussian, np.sqrt(0.5), 0.003),
    ]


def peaks(rest: pd.DataFrame) -> list[Row]:
    """max over l of log ||W^l||: none where W is normal, the larger the more is fed forward."""
    peak = rest.pivot_table(index="seed", columns="kind", values="transient_peak").reindex(columns=KINDS)
    orthogonal = largest_of(peak["orthogonal"])
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
        at_most(
            "|growth rate - log rho| over lags 80 to 400, all but the chain",
            GELFAND,
            largest_of(residual.astype(float)),
            0.01,
        ),
        at_least(
            "growth rate of the chain of rho = 0.9 over the same lags",
            "binomials",
            smallest_of(rates.astype(float)),
            0.1,
        ),
    ]


# ---------------------------------------------------------------------------------------------------- large powers


def first_powers(products: pd.DataFrame, values: pd.DataFrame) -> list[Row]:
    """sigma_max(W^l), and mean s^4 / (mean s^2)^2, of Gaussian W of gain 1, over their limits for wide W.

    At N units sigma_max is below its limit by a share that falls as N^(-2/3), as at the edge of every such spectrum.
    """
    large = products[products["cell_hidden_size"] == products["cell_hidden_size"].max()]
    grown = large.pivot(index="seed", columns="lag", values="log_spectral_norm").astype(float)
    moments = values.groupby(["seed", "lag"])["log_singular_value"].agg(fourth_moment).unstack("lag")
    found = []
    for lag in range(1, 5):
        limit = np.exp(theory.log_sigma_max_of_power(1.0, lag))
        text = f"sigma_max(W^{lag}) over sqrt((l+1)^(l+1) / l^l), {int(large['cell_hidden_size'].max())} units"
        found.append(near(text, ALEXEEV, median_of(np.exp(grown[lag]) / limit), 1.0, EDGE[lag]))
        ratio = median_of(moments[lag] / theory.fourth_moment_of_power(lag))
        found.append(near(f"mean s^4 / (mean s^2)^2 of W^{lag} over l + 1", ALEXEEV, ratio, 1.0, 0.05))
    return found


EDGE = {1: 0.03, 2: 0.05, 3: 0.06, 4: 0.08}
"""How far sigma_max(W^l) may be from its limit at 400 units: what is missing there (1 to 2.5 %), and its scatter."""


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
        found.append(
            near(text, f"{CHEN}, chi = 1", median_of(by_kind(rows, "rho")["orthogonal"], NOT_ONE), predicted, 0.1)
        )
    return found


def radius_does_not_decide(points: pd.DataFrame) -> list[Row]:
    """A network that feeds forward explodes at a spectral radius below 1, at which every orthogonal one vanishes."""
    found = []
    for drive, rows in at_drives(points):
        rho = by_kind(rows, "rho")
        said = f"noise of variance {drive:g}"
        apart = np.log(rho["orthogonal"] / rho[STRONGEST])
        found.append(
            at_least(
                f"log critical radius of orthogonal W over {STRONGEST}, {said}", KERG, median_of(apart, NOT_ONE), 0.4
            )
        )
        found.append(at_most(f"critical radius of {STRONGEST}, {said}", KERG, median_of(rho[STRONGEST], NOT_ONE), 1.0))
    return found


def gain_predicts_best(points: pd.DataFrame) -> list[Row]:
    """How far, in log, the critical point lies from chi = 1 if one of the three numbers is taken for the gain."""
    found, misses = [], {}
    for drive, rows in at_drives(points):
        off = {name: np.log(by_kind(rows, name) / rows["mean_field"].iloc[0]).abs()[STRONGEST] for name in SIZES}
        misses[drive] = off["gain"]
        for name in ("rho", "sigma_max"):
            text = f"error of {name} minus that of the gain, {STRONGEST}, noise of variance {drive:g}"
            found.append(at_least(text, CHEN, median_of(off[name] - off["gain"], NOT_ONE), 0.2))
    strong, said = rows_of_strongest(points)
    for kind in KINDS[:5]:
        text = f"|log(critical gain / mean field)|, {kind}, {said}"
        found.append(at_most(text, CHEN, median_of(np.log(strong[kind]).abs(), NOT_ONE), 0.2))
    weakest, strongest = min(misses), max(misses)
    text = f"error of the gain at variance {weakest:g} minus that at {strongest:g}, {STRONGEST}"
    return [
        *found,
        at_least(
            text,
            "Jacobians of neighbouring steps differ more",
            median_of(misses[weakest] - misses[strongest], NOT_ONE),
            0.0,
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
    figure = style.Page(figsize=(style.WIDTHS[size], 2.2 if across else 1.75 * count), layout="constrained")
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
