"""What does the mean norm of Jacobian products say, and of whom? See README.md beside this file.

`claims` holds products of fresh Gaussian matrices, which it draws, and the networks of a study, which have one W each,
against what is known of their moments.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab import theory
from bpttlab.claims import at_least, at_most, median_of, near
from bpttlab.figures import layout, lines, style
from bpttlab.figures.style import Size

FIGURE = "mean_is_not_typical"
NEWMAN = "Newman 1986"
FRESH = ((2, 1.2), (10, 1.03))
"""N and g of the products of fresh matrices: g lies between 1 and the gain at which a typical product grows."""
DRAWS, STEPS, EARLY = 4000, 200, 4
"""Products drawn, their length, and a length at which so many draws still have the mean."""
FEW = 0.05
"""The part of the networks, the largest, that is asked how much of the mean is theirs."""
SHOWN = ((10, "identity", 0.9), (10, "tanh", 1.0))
"""N, activation and g of the networks in the figure."""


def claims(study: Any) -> pd.DataFrame:
    """Fresh products first, then one W for each network.

    Returns:
        Columns claim, source, expected, measured, low, high, tolerance, verdict, held.
    """
    rows = [row for size, gain in FRESH for row in of_fresh_products(size, gain)]
    norms = last_products(study)
    return pd.DataFrame([*critical_gains(), *rows, own_radius(study), *spread(norms), *dominated(norms)])


def summaries(study: Any) -> dict[str, pd.DataFrame]:
    """Typical and mean growth of every group of networks, and how few of them the mean is made of."""
    return {"mean_and_median": groups(last_products(study))}


# ---------------------------------------------------------------------------------------------------- fresh matrices


class Products(NamedTuple):
    """Logarithms of norms of products of 0, 1, ... matrices, (STEPS+1, DRAWS): of P (Frobenius), and of one column."""

    frobenius: np.ndarray
    column: np.ndarray


@cache
def fresh(size: int, gain: float) -> Products:
    """Products of Gaussian matrices with entries of variance g^2/N, rescaled at every step."""
    rng = np.random.default_rng([20, size])
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


def critical_gains() -> list[dict[str, Any]]:
    text = "gain below which a typical product decays, N = "
    known = ((2, 1.33), (10, 1.05))
    return [near(f"{text}{size}", NEWMAN, theory.typical_critical_gain(size), gain, 5e-3) for size, gain in known]


def of_fresh_products(size: int, gain: float) -> list[dict[str, Any]]:
    """E ||P||_F^2 = N g^(2l) is right, for as long as the draws have it; the median decays meanwhile."""
    norms, half = fresh(size, gain), STEPS // 2
    who = f"N = {size}, g = {gain:g}"
    early = np.exp(2.0 * norms.frobenius[EARLY]) / (size * gain ** (2 * EARLY))
    last = norms.frobenius[-1] - 0.5 * np.log(size)
    rate = (norms.column[-1] - norms.column[half]) / (STEPS - half)
    missed = log_mean_square(last) - 2.0 * STEPS * np.log(gain)
    variance = norms.column[-1].var(ddof=1) / theory.log_growth_variance(size, STEPS)
    few = share_of_largest(last, 0.01)
    exponent = theory.newman_exponents(size, gain)[0]
    mean, moments = f"mean of ||P||_F^2 / (N g^(2l)) of {DRAWS} draws, {who}", "E W^T W = g^2 I"
    return [
        near(f"{mean}, l = {EARLY}", moments, early.mean(), 1.0, 4.0 * early.std() / np.sqrt(DRAWS)),
        at_most(f"log of the same at l = {STEPS}: the draws miss it", "heavy tail", missed, -2.0),
        at_most(f"median of log(||P||_F/sqrt N), l = {STEPS}, {who}", NEWMAN, median_of(last), -1.0),
        near(f"median growth rate of ||P u||, {who}", NEWMAN, median_of(rate), exponent, 0.005),
        near(f"var log ||P u|| / (l psi_1(N/2)/4), l = {STEPS}, {who}", NEWMAN, variance, 1.0, 0.07),
        at_least(f"share of the mean square in 1 % of the draws, {who}", "heavy tail", few, 0.9),
        near(f"s.d. of log ||P u|| at l over that at l/4, {who}", NEWMAN, widening(norms.column), 2.0, 0.1),
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
    return rows[[*KEYS, "network_id", "t", "lag", "log_norm"]].reset_index(drop=True)


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


def own_radius(study: Any) -> dict[str, Any]:
    """A linear network grows by the logarithm of its own spectral radius: no step is drawn anew."""
    runs = study.runs[study.runs["cell_activation"] == "identity"]
    text = "median |growth rate - log rho|, linear networks"
    return at_most(text, "Gelfand's formula", median_of(runs["asymptote_residual"].abs()), 0.005)


def spread(norms: pd.DataFrame) -> list[dict[str, Any]]:
    """The scatter of log-norms over networks grows as the lag, not as its root."""
    found = []
    for (activation, size), rows in norms.groupby(KEYS[:2]):
        last = int(rows["t"].max())
        quarter = int(rows.loc[4 * rows["lag"] <= rows["t"] + 4, "lag"].max())
        wide = rows.groupby(["gain", "lag"])["log_norm"].std().unstack("lag")
        measured = np.median(wide[last] / wide[quarter]) / (last / quarter)
        text = f"growth of the s.d. of log ||P|| over that of the lag, {quarter} to {last}, {activation}, N = {size}"
        found.append(near(text, "one W: every step alike", float(measured), 1.0, 0.15))
    return found


def dominated(norms: pd.DataFrame) -> list[dict[str, Any]]:
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
        found.append(at_least(text.replace("%", " %"), source, rows["share_of_few"].min(), 0.9))
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
    figure = Figure(figsize=(style.WIDTHS[size], 2.1 if size == "page" else 1.7 * count), layout="constrained")
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
