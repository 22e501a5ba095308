"""Every product P_{t,k} of one run: the (t, k) triangle."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from bpttlab.figures import layout, lines, requested, style
from bpttlab.figures.style import Size
from bpttlab.tables.points import has_files


def plot_triangle(triangle: pd.DataFrame, size: Size = "page") -> Figure:
    """log spectral norm of P_{t,k} as a map over t and k, one run; cells that are exactly zero are black.

    triangle: `tables.triangle`.
    """
    table = triangle.pivot(index="t", columns="k", values="log_spectral_norm").astype(float)
    table = table.reindex(index=range(1, int(table.index.max()) + 1), columns=range(int(table.columns.max()) + 1))
    values = table.to_numpy()
    finite = np.isfinite(values)
    most = max(1.0, float(np.abs(values[finite]).max(initial=0.0)))
    style.check_size(size)
    width = style.WIDTHS[size] if size == "column" else 0.62 * style.WIDTHS["page"]
    figure = style.Page(figsize=(width, 0.82 * width + 0.3), layout="constrained")
    axes = figure.subplots()
    edges = (np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) + 0.5)
    norm = SymLogNorm(linthresh=1.0, vmin=-most, vmax=most)
    mesh = axes.pcolormesh(*edges, np.ma.masked_array(values, ~finite), cmap=style.GROWTH, norm=norm, rasterized=True)
    zero = np.ma.masked_array(np.ones_like(values), ~np.isneginf(values))
    axes.pcolormesh(*edges, zero, cmap="gray_r", vmin=0, vmax=1, rasterized=True)
    axes.set_aspect("equal")
    axes.set_xlabel("earlier step $k$")
    axes.set_ylabel("later step $t$")
    axes.set_title(_title(triangle), loc="left")
    bar = figure.colorbar(mesh, ax=axes, label=r"$\log \Vert P_{t,k} \Vert_2$ (nat)", aspect=25, pad=0.02)
    layout.symmetric_ticks(bar, most)
    if np.isneginf(values).any():
        layout.footer(
            figure, [lines.line_key(r"exactly zero ($-\infty$)", color="black", marker="s", linestyle="none")]
        )
    return layout.finish(figure)


def _title(triangle: pd.DataFrame) -> str:
    run = triangle.iloc[0]
    name, value = layout.quantity(triangle), requested.value_names(triangle)[run["initializer_requested"]]
    equals = " " if has_files(triangle) else " = "
    return f"{str(run['task']).replace('_', ' ')}, {name}{equals}{value}, seed {run['seed']}"
