"""What does the mean norm of Jacobian products say, and of which networks? See README.md in this folder.

`claims` checks products of fresh Gaussian matrices, which it draws itself, and the networks of a study, which have one
W each, against known moments. It checks products of some networks against the same in plain numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims.claims import Row, at_least, at_most, mean_of, median_of, near, one_per_draw, with_error
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import run_network

FIGURE = "mean_is_not_typical"
NEWMAN = "Newman 1986"
FRESH = ((2, 1.2), (10, 1.03))
"""N and g of the products of fresh matrices: g lies between 1 and the gain at which a typical product grows."""
DRAWS, STEPS, EARLY = 4000, 200, 4
"""Products drawn, their length, and a length at which so many draws still have the mean."""
BLOCK = 100
"""Draws of one mean that is compared with its expectation: as many as the study has networks."""
FEW = 0.05
"""The share of the networks, the largest ones, whose part of the mean is measured."""
SHOWN = ((10, "identity", 0.9), (10, "tanh", 1.0))
"""N, activation and g of the networks in the figure."""


def claims(study: Any) -> pd.DataFrame:
    """Fresh products first, then one W for each network.

    Returns:
        The columns of `bpttlab.claims.claims.Row`.
    """
    rows = [row for size, gain in FRESH for row in of_fresh_products(size, gain)]
    norms = last_products(study)
    networks = [computed_again(study), *drawn_variance(norms), *own_radius(study)]
    return pd.DataFrame([*critical_gains(), *rows, *networks, *spread(norms), *dominated(norms)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Typical and mean growth of every group of networks, and the share of the mean that comes from a few of them."""
    return {"mean_and_median": groups(last_products(study))}


# ---------------------------------------------------------------------------------------------------- fresh matrices


class Products(NamedTuple):
    """Logarithms of norms of products of 0, 1, ... matrices, (STEPS+1, DRAWS): of P (Frobenius), and of one column."""

    frobenius: np.ndarray
    column: np.ndarray


@cache
def fresh(size: int, gain: float, seed: int = 20) -> Products:
    """Products of Gaussian matrices with entries of variance g^2/N, rescaled at every step."""
    rng = np.random.default_rng([seed, size])
    product = np.tile(np.eye(size), (DRAWS, 1, 1))
    log, frobenius, column = np.zeros(DRAWS), [np.full(DRAWS, 0.5 * np.log(size))], [np.zeros(DRAWS)]
    for _ in range(STEPS):
        product = rng.standard_normal((DRAWS, size, size)) @ product * (gain / np.sqrt(size))
        norm = np.linalg.norm(product, axis=(1, 2))
        product, log = product / norm[:, None, None], log + np.log(norm)
        frobenius.append(log)
        column.append(log + np.log(np.linalg.norm(product[:, :, 0], axis=1)))
    return Products(np.array(frobenius), np.array(column))


def log_mean_square(log_norms: np.ndarray) -> float:
    """log of the mean of squares."""
    return float(np.logaddexp.reduce(2.0 * np.asarray(log_norms, float)) - np.log(len(log_norms)))


def share_of_largest(log_norms: np.ndarray, part: float) -> float:
    """What the largest, so many of them, have of the mean square."""
    ordered = np.sort(np.asarray(log_norms, float))
    few = max(1, round(part * len(ordered)))
    return float(np.exp(log_mean_square(ordered[-few:]) - log_mean_square(ordered)) * few / len(ordered))


def critical_gains() -> list[Row]:
    text = "gain below which a typical product decays, N = "
    known = ((2, 1.33), (10, 1.05))
    return [near(f"{text}{size}", NEWMAN, theory.typical_critical_gain(size), gain, 5e-3) for size, gain in known]


def of_fresh_products(size: int, gain: float) -> list[Row]:
    """E ||P||_F^2 = N g^(2l) is right, for as long as the draws have it; the median decays meanwhile.

    Tolerances are 4.5 standard errors of so many draws, or more.
    """
    norms, half = fresh(size, gain), STEPS // 2
    who = f"N = {size}, g = {gain:g}"
    early = np.exp(2.0 * norms.frobenius[EARLY]) / (size * gain ** (2 * EARLY))
    last = norms.frobenius[-1] - 0.5 * np.log(size)
    rate = (norms.column[-1] - norms.column[half]) / (STEPS - half)
    missed = [log_mean_square(block) - 2.0 * STEPS * np.log(gain) for block in np.split(last, DRAWS // BLOCK)]
    variance = norms.column[-1].var(ddof=1) / theory.log_growth_variance(size, STEPS)
    error = np.sqrt(2.0 / DRAWS)  # of a variance of normal numbers, relative
    wider, of_mean = widening(norms.column), early.std() / np.sqrt(DRAWS)
    few = share_of_largest(last, 0.01)
    exponent = theory.newman_exponents(size, gain)[0]
    mean, moments = f"mean of ||P||_F^2 / (N g^(2l)) of {DRAWS} draws, {who}", "E W^T W = g^2 I"
    return [
        near(f"{mean}, l = {EARLY}", moments, with_error(early.mean(), of_mean), 1.0, 0.35 if size < 5 else 0.05),
        at_most(
            f"median log of the same of {BLOCK} draws at l = {STEPS}, {who}", "heavy tail", median_of(missed), -2.0
        ),
        at_most(f"median of log(||P||_F/sqrt N), l = {STEPS}, {who}", NEWMAN, median_of(last), -1.0),
        near(f"median growth rate of ||P u||, {who}", NEWMAN, median_of(rate), exponent, 0.01),
        near(
            f"var log ||P u|| / (l psi_1(N/2)/4), l = {STEPS}, {who}",
            NEWMAN,
            with_error(variance, error * variance),
            1.0,
            0.12,
        ),
        at_least(f"share of the mean square in 1 % of the draws, {who}", "heavy tail", few, 0.9),
        near(f"s.d. of log ||P u|| at l over that at l/4, {who}", NEWMAN, with_error(wider, error), 2.0, 0.12),
    ]


def widening(log_norms: np.ndarray) -> float:
    """How much wider the scatter has become from a quarter of the steps to all of them."""
    steps = len(log_norms) - 1
    return float(log_norms[-1].std() / log_norms[steps // 4].std())


# ---------------------------------------------------------------------------------------------------- networks


KEYS = ["activation", "hidden_size", "gain"]


def last_products(study: Any) -> pd.DataFrame:
    """log(||P_{T,T-l}||_F / sqrt N) of each network at every reported lag, with what it was drawn from."""
    rows = study.jacobians[study.jacobians["sequence"] == 0]
    names = {"cell_activation": "activation", "cell_hidden_size": "hidden_size", "initializer_gain": "gain"}
    rows = rows.rename(columns={**names, "log_frobenius_norm": "log_norm"})
    return rows[[*KEYS, "network_id", "seed", "t", "lag", "log_norm"]].reset_index(drop=True)


def groups(norms: pd.DataFrame) -> pd.DataFrame:
    """A row for each activation, size and gain, at the longest lag."""
    found = []
    for key, rows in norms[norms["lag"] == norms["t"]].groupby(KEYS):
        values = rows["log_norm"].to_numpy(dtype=float)
        mean = 0.5 * log_mean_square(values)
        middle = median_of(values)
        columns = {**dict(zip(KEYS, key, strict=True)), "networks": len(values), "lag": int(rows["t"].iloc[0])}
        columns |= {"log_norm": middle.value, "log_norm_low": middle.low, "log_norm_high": middle.high}
        columns |= {"log_mean_norm": mean, "share_of_few": share_of_largest(values, FEW)}
        found.append({**columns, "share_above_mean": float((values > mean).mean()), "deviation": values.std(ddof=1)})
    return pd.DataFrame(found)


AGAIN = 3
"""Seeds, the first, whose products are computed again."""


def computed_again(study: Any) -> Row:
    """||J_T ... J_{T-l+1}||_F of some networks, with W and the input drawn again and nothing else of the engine."""
    rows = study.jacobians[study.jacobians["sequence"] == 0]
    rows = rows[rows["seed"].isin(sorted(rows["seed"].unique())[:AGAIN])]
    runs, off = study.runs.set_index("run_id")["configuration"], []
    for run_id, own in rows.groupby("run_id"):
        known = plain_products(runs[run_id])[own["lag"].to_numpy(dtype=int)]
        off.append(np.abs(own["log_frobenius_norm"].to_numpy(dtype=float) - known).max())
    text = f"largest error of log(||P||_F/sqrt N), {len(off)} networks, every lag that is stored"
    return at_most(text, "products in plain numbers", np.max(off) if off else np.nan, 0.0, 1e-7)


def plain_products(configuration: str) -> np.ndarray:
    """log(||J_T ... J_{T-l+1}||_F / sqrt N) for l = 0..T; J_t = diag(f'(a_t)) W, multiplied from the end back."""
    chosen = Configuration.parse(json.loads(configuration))
    trace, batch = run_network(chosen)
    p, x = trace.params, batch.x[:, 0] * chosen.scales.x
    h, W = np.zeros(len(p["W"])), p["W"]
    jacobians = []
    for x_t in x:
        a = p["V"] @ x_t + W @ h + p["b_h"]
        h, slope = (np.tanh(a), 1.0 - np.tanh(a) ** 2) if chosen.cell.activation == "tanh" else (a, np.ones_like(a))
        jacobians.append(slope[:, None] * W)
    product, log, found = np.eye(len(W)), 0.0, []
    for J in (*reversed(jacobians), None):
        size = np.linalg.norm(product)
        log, product = log + np.log(size), product / size
        found.append(log)
        product = product if J is None else product @ J
    return np.array(found) - 0.5 * np.log(len(W))


def drawn_variance(norms: pd.DataFrame) -> list[Row]:
    """The first product of a linear network is W: E ||W||_F^2 = N g^2, with the draws that the study has."""
    rows = norms[(norms["activation"] == "identity") & (norms["lag"] == 1)]
    found = []
    for size, own in rows.groupby("hidden_size"):
        square = np.exp(2.0 * own["log_norm"]) / own["gain"] ** 2
        text = f"mean of ||W||_F^2 / (N g^2), N = {size}"
        tolerance = 5.0 * np.sqrt(2.0 / size**2 / own["seed"].nunique())
        found.append(near(text, "E W^T W = g^2 I", mean_of(one_per_draw(square, own["seed"])), 1.0, tolerance))
    return found


def own_radius(study: Any) -> list[Row]:
    """A linear network grows by the logarithm of its own spectral radius: no step is drawn anew."""
    runs = study.runs[study.runs["cell_activation"] == "identity"]
    found = []
    for size, own in runs.groupby("cell_hidden_size"):
        off = one_per_draw(own["asymptote_residual"].abs(), own["seed"])
        text = f"median |growth rate - log rho|, linear networks, N = {size}"
        found.append(at_most(text, "Gelfand's formula", median_of(off), 5e-4))
    return found


def spread(norms: pd.DataFrame) -> list[Row]:
    """The scatter of log-norms over networks grows as the lag, not as its root; at the largest gain, by the jackknife.

    With the root of the lag the ratio would be about 1/2.
    """
    found = []
    for (activation, size), rows in norms.groupby(KEYS[:2]):
        rows = rows[rows["gain"] == rows["gain"].max()]
        last = int(rows["t"].max())
        quarter = int(rows.loc[4 * rows["lag"] <= rows["t"] + 4, "lag"].max())
        wide = rows.pivot(index="seed", columns="lag", values="log_norm")[[quarter, last]].to_numpy(dtype=float)
        ratio, error = jackknife(wide, lambda pairs: float(pairs[:, 1].std() / pairs[:, 0].std()))
        measured = with_error(ratio * quarter / last, error * quarter / last)
        text = f"growth of the s.d. of log ||P|| over that of the lag, {quarter} to {last}, {activation}, N = {size}"
        found.append(near(text, "one W: every step alike", measured, 1.0, 0.35))
    return found


def jackknife(rows: np.ndarray, statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """A statistic of independent rows, and its standard error by leaving out each of them (Quenouille, Tukey)."""
    n = len(rows)
    without = np.array([statistic(np.delete(rows, place, axis=0)) for place in range(n)])
    return statistic(rows), float(np.sqrt((n - 1.0) * without.var()))


def dominated(norms: pd.DataFrame) -> list[Row]:
    """Means that grow where every other network decays, made of few networks."""
    table, found = groups(norms), []
    for (activation, size), rows in table.groupby(KEYS[:2]):
        low = rows[rows["gain"] == rows["gain"].min()].iloc[0]
        own = norms[(norms[KEYS] == low[KEYS]).all(axis=1) & (norms["lag"] == norms["t"])]
        who = f"{activation}, N = {size}, g = {low['gain']:g}"
        source = "heavy tail"
        text = f"median of log(||P||_F/sqrt N) at lag {low['lag']:g}, {who}"
        found.append(at_most(text, "typical network", median_of(own["log_norm"]), -5.0))
        if activation == "identity":
            text = f"log of the root mean square norm of the same, {who}"
            found.append(at_least(text, "a mean of powers is not a power of a mean", low["log_mean_norm"], 0.0))
        gap = (rows["log_mean_norm"] - rows["log_norm"]).min()
        text = f"log root mean square norm less the median log-norm, least over gains, {activation}, N = {size}"
        found.append(at_least(text, source, gap, 5.0))
        text = f"share of the mean square in {FEW:.0%} of the networks, least over gains, {activation}, N = {size}"
        found.append(at_least(text.replace("%", " %"), source, rows["share_of_few"].min(), 0.8))
        text = f"share of networks above the root mean square, most over gains, {activation}, N = {size}"
        found.append(at_most(text, source, rows["share_above_mean"].max(), 0.1))
    return found


# ---------------------------------------------------------------------------------------------------- the figure


def draw(study: Any, size: Size) -> dict[str, Figure]:
    """Log-norms against the lag, of fresh products and of networks: median and scatter beside the mean."""
    norms, panels = last_products(study), []
    units, gain = FRESH[1]
    panels.append((f"fresh $W$, $N$ = {units}, $g$ = {gain:g}", of_draws(units, gain)))
    for units, activation, gain in SHOWN:
        rows = norms[(norms["hidden_size"] == units) & (norms["activation"] == activation) & (norms["gain"] == gain)]
        kind = {"identity": "linear"}.get(activation, activation)
        if len(rows):
            panels.append((f"one $W$, {kind}, $N$ = {units}, $g$ = {gain:g}", of_networks(rows)))
    figure, axes = row_of_panels(len(panels), size)
    for own, (title, rows) in zip(axes, panels, strict=True):
        panel(own, rows)
        own.set_title(title)
        own.set_xlabel(r"lag $\ell$ (steps)")
    for own in axes[:1] if size == "page" else axes:
        own.set_ylabel(r"$\log(\|P\|_F/\sqrt{N})$ (nat)")
    keys = [
        lines.line_key("median", **MEDIAN),
        lines.band_key("5 to 95 %"),
        lines.line_key("root mean square of those drawn", **MEAN),
        lines.line_key(r"its expectation $g^\ell$", **EXPECTED),
    ]
    layout.footer(figure, keys)
    return {FIGURE: layout.finish(figure)}


MEDIAN: dict[str, Any] = {"color": "#0072b2"}
MEAN: dict[str, Any] = {"color": "#d55e00", "linestyle": (0, (4, 1.5))}
EXPECTED: dict[str, Any] = {"color": "#111111", "linestyle": ":", "linewidth": 1.0}


def row_of_panels(count: int, size: Size) -> tuple[Figure, np.ndarray]:
    """Side by side on a page, one above the other in a column."""
    shape = (1, count) if size == "page" else (count, 1)
    figure = style.Page(figsize=(style.WIDTHS[size], 2.1 if size == "page" else 1.7 * count), layout="constrained")
    return figure, figure.subplots(*shape)


def of_draws(units: int, gain: float) -> pd.DataFrame:
    values = fresh(units, gain).frobenius - 0.5 * np.log(units)
    return pd.DataFrame([curve_point(lag, row, lag * np.log(gain)) for lag, row in enumerate(values)])


def of_networks(rows: pd.DataFrame) -> pd.DataFrame:
    """No expectation: of powers of one Gaussian W it is another one, and larger."""
    return pd.DataFrame([curve_point(lag, part["log_norm"].to_numpy(), np.nan) for lag, part in rows.groupby("lag")])


def curve_point(lag: int, values: np.ndarray, expected: float) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    mean = 0.5 * log_mean_square(values)
    return {"lag": lag, "low": low, "median": middle, "high": high, "mean": mean, "expected": expected}


def panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    axes.fill_between(rows["lag"], rows["low"], rows["high"], color=MEDIAN["color"], alpha=0.2, linewidth=0)
    axes.plot(rows["lag"], rows["median"], **MEDIAN)
    axes.plot(rows["lag"], rows["mean"], **MEAN)
    axes.plot(rows["lag"], rows["expected"], **EXPECTED)
