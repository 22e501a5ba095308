"""Growth rates of singular values of products against index, which tend to the Lyapunov spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import BOARD, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_VALUES = ("lag", "index", "quantity", "median", "low", "high", "networks", "zero", "unresolved", "lyapunov_exponent")
LYAPUNOV: dict[str, Any] = {"color": style.CENTRE, "linewidth": 0.9, "linestyle": (0, (4, 1.5))}


def plot_singular_values(curves: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """log sigma_i / lag against index for each lag, at a few requested values, with the exponents if they were
    measured.

    Medians over networks, of the longest sequences of each facet. Values below resolution in more than half of the
    networks are hollow. Exact zeros are marked at the lower edge.

    curves: `tables.singular_value_curves`. Raises LabError if every lag is 0 or no requested value is known.
    """
    curves = curves[(curves["quantity"] == "rate") & curves["initializer_requested"].notna()]
    if curves.empty:
        raise LabError("the study has no singular values of products over at least one step")
    page = arrange(curves, _VALUES, comparison, size, **BOARD)
    curves = page.rows
    lags = sorted(curves["lag"].unique())
    shades = dict(zip(lags, style.sequence_colours(len(lags)), strict=True))
    for axes, rows, _ in page.panels():
        _panel(axes, rows, shades)
    layout.whole_numbers(page.grid)
    label_edges(page, ["index $i$"], [r"$\log \sigma_i\, /\, \ell$ (nat/step)"])
    page.add_footer(_kinds(curves, shades))
    return layout.finish(page.figure)


def _panel(axes: Axes, rows: pd.DataFrame, shades: dict[int, str]) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    for lag, part in layout.group_by_value(rows, "lag"):
        doubt = lines.is_doubtful(part)
        lines.curve(axes, part[~doubt].assign(networks=1), "index", shades[lag])
        hollow = part[doubt]
        axes.plot(hollow["index"], hollow["median"], color=shades[lag], linestyle="none", **lines.HOLLOW)
    lines.set_empty_limits(axes, rows["median"])
    exponents = rows.drop_duplicates("index").sort_values("index")
    exponents = exponents[np.isfinite(exponents["lyapunov_exponent"].astype(float))]
    axes.plot(exponents["index"], exponents["lyapunov_exponent"], zorder=3, **LYAPUNOV)


def _kinds(curves: pd.DataFrame, shades: dict[int, str]) -> list[Artist]:
    shown = list(shades)[:: -(-len(shades) // layout.MOST_IN_LEGEND)]
    kinds: list[Artist] = [lines.line_key(rf"$\ell$ = {lag}", color=shades[lag], linewidth=2) for lag in shown]
    if np.isfinite(curves["lyapunov_exponent"].astype(float)).any():
        kinds.append(lines.line_key(r"exponent $\lambda_i$", **LYAPUNOV))
    if lines.is_doubtful(curves).any():
        kinds.append(lines.line_key("below resolution", linestyle="none", **lines.HOLLOW))
    return [*kinds, *lines.zero_key(curves)]
