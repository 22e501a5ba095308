"""Growth over the whole sequence for spectral radius x length, and the asymptotic rate against spectral radius."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, requested, style
from bpttlab.figures.arrangement import COLOUR, LENGTH_TITLE, Arrangement, Shape, arrange, label_edges
from bpttlab.figures.comparison import LENGTH
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size
from bpttlab.tables.points import has_files

MINUS = "\N{MINUS SIGN}"
_LINEAR = 1.0  # nats around zero that the colour scale shows linearly


def plot_growth(growth: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC) -> Figure:
    """Two kinds of panel: a heat map of the median growth over the sequence, and the asymptotic rate with its interval.

    The contour separates cells of growth from cells of decay. Grey cells have no number (every network diverged or
    failed), hatched cells are exactly zero. Rates are medians over networks with the 95 % interval of the median by
    order statistics. The dotted line is log rho, the rate of a linear network; the dash-dotted line is the mean field,
    where it holds.

    growth: `tables.growth`. Raises LabError if no run was measured.
    """
    growth = growth[growth["initializer_requested"].notna()].reset_index(drop=True)
    if not growth["log_growth"].notna().any():
        raise LabError("no run of the study has a measured growth")
    shape, x = Shape(2, share=False), (requested.VALUE,)
    page = arrange(growth, layout.find_values(growth), comparison, size, shape, prefer=(LENGTH,), x=x)
    norm = _norm(growth)
    for (_, rows), (heat, rate) in zip(page.parts, page.grid, strict=True):
        _heat_map(heat, rows, norm, page.names)
        _rates(rate, rows, page.shades)
        if has_files(rows):
            name_networks(heat, rate, rows)
        else:
            requested.name_place_apart(rate, page.rows)
    _same_limits(page.grid[:, 1])
    name = layout.quantity(page.rows)
    for facet, axes in enumerate(page.grid[:, 0] if page.across else ()):
        if page.is_lowest(facet):
            axes.set_xlabel(layout.break_label(name, layout.panel_width(axes)))
    label_edges(page, [name, name], [_length_label(page), "asymptotic rate (nat/step)"])
    _keys(page, norm, growth, size)
    return layout.finish(page.figure)


def _length_label(page: Arrangement) -> str:
    """The label of the heat map's vertical axis."""
    return "length $T$ (steps)" if page.title == LENGTH_TITLE else page.title


def _norm(growth: pd.DataFrame) -> SymLogNorm:
    """Colours centred at no growth, logarithmic beyond one nat, so that both 1 and 100 nats are visible."""
    values = growth["log_growth"].to_numpy(dtype=float)
    most = max(2 * _LINEAR, float(np.abs(values[np.isfinite(values)]).max(initial=0.0)))
    return SymLogNorm(linthresh=_LINEAR, vmin=-most, vmax=most)


def _heat_map(axes: Axes, rows: pd.DataFrame, norm: SymLogNorm, names: Mapping[Any, str]) -> None:
    table = rows.pivot(index=COLOUR, columns="initializer_requested", values="log_growth").astype(float)
    table = table.reindex([value for value in names if value in table.index]).rename(index=names)
    values = table.to_numpy()
    finite = np.isfinite(values)
    axes.set_facecolor("#cccccc")
    sns.heatmap(
        table.rename(columns=lambda value: f"{value:g}"),
        ax=axes,
        cmap=style.GROWTH,
        norm=norm,
        vmin=norm.vmin,  # otherwise seaborn computes limits and fails for a task without values
        vmax=norm.vmax,
        mask=~finite,
        annot=_texts(values) if _numbers_fit(axes, table.shape[1]) else False,
        fmt="",
        annot_kws={"fontsize": 7},
        cbar=False,
        linewidths=0.3,
    )
    _hatch(axes, values)
    _zero_contour(axes, values)
    if rows[COLOUR].dtype != object:
        axes.invert_yaxis()  # numbers ascend
    axes.tick_params(length=0, labelrotation=0)
    _label_columns(axes, table.columns.to_numpy(dtype=float), requested.value_names(rows))
    axes.set(xlabel="", ylabel="")


def _numbers_fit(axes: Axes, columns: int) -> bool:
    """Whether a number of four characters fits into a cell."""
    return layout.panel_width(axes) / columns > 0.33


def _label_columns(axes: Axes, values: np.ndarray, texts: Mapping[float, str]) -> None:
    """Labels only as many columns as fit, 1 among them."""
    letters = max(len(texts[value]) for value in values)
    step = -(-len(values) // max(1, int(layout.panel_width(axes) / (0.055 * letters + 0.06))))
    named = [place for place in range(len(values)) if (place - int(np.abs(values - 1).argmin())) % step == 0]
    axes.set_xticks([place + 0.5 for place in named], [texts[values[place]] for place in named])


def name_networks(heat: Axes, rate: Axes, rows: pd.DataFrame) -> None:
    """Names of files in place of their places, below both panels."""
    requested.name_ticks(heat, rows, layout.panel_width(heat), shift=-0.5)
    requested.name_ticks(rate, rows, layout.panel_width(rate))
    rate.set_xlim(0.5, len(requested.requested_values(rows)) + 0.5)


def _texts(values: np.ndarray) -> np.ndarray:
    def text(value: float) -> str:
        return (f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}").replace("-", MINUS)

    return np.array([[text(value) for value in row] for row in values], dtype=object)


def _hatch(axes: Axes, values: np.ndarray) -> None:
    """Mark the cells whose product is exactly zero."""
    for row, column in zip(*np.nonzero(np.isneginf(values)), strict=True):
        colour = style.GROWTH(0.0)
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", hatch="////", linewidth=0))


def _zero_contour(axes: Axes, values: np.ndarray) -> None:
    """The edges between cells of growth and cells of decay; radii and lengths are discrete steps."""
    sign = np.sign(values)
    for row, column in np.argwhere(sign[:, :-1] * sign[:, 1:] < 0):
        axes.plot([column + 1, column + 1], [row, row + 1], **CONTOUR)
    for row, column in np.argwhere(sign[:-1] * sign[1:] < 0):
        axes.plot([column, column + 1], [row + 1, row + 1], **CONTOUR)


CONTOUR: dict[str, Any] = {"color": "black", "linewidth": 1.6, "solid_capstyle": "projecting"}


def _rates(axes: Axes, rows: pd.DataFrame, shades: dict[Any, str]) -> None:
    axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
    drawn = rows[~requested.is_apart(rows)]
    lines.rate(axes, drawn, "asymptote_rate", lines.LINEAR_NETWORK)
    lines.rate(axes, drawn, "mean_field_rate", lines.MEAN_FIELD)
    sizes = _marker_sizes(shades)
    for length, part in layout.group_by_value(rows, COLOUR):
        part = part[np.isfinite(part["growth_rate"].astype(float))].sort_values("initializer_requested")
        look: dict[str, Any] = {"color": shades[length], "linewidth": 0.9}
        joined: dict[str, Any] = {"marker": "o", "linestyle": "none" if has_files(rows) else "-"}
        axes.plot(part["initializer_requested"], part["growth_rate"], markersize=sizes[length], **joined, **look)
        ends = (part[f"growth_rate_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
        lines.whiskers(axes, part["initializer_requested"].to_numpy(dtype=float), *ends, **look)


def _marker_sizes(shades: Mapping[Any, str]) -> dict[Any, float]:
    """The size of each colour's marks in points, so that equal rates stay visible as rings."""
    return dict(zip(shades, np.linspace(4.5, 2.5, len(shades)), strict=True))


def _length_text(page: Arrangement, value: Any) -> str:
    """A value in colour: a length by its symbol, another number with the name of its field."""
    if page.title == LENGTH_TITLE:
        return f"$T$ = {page.names[value]}"
    return page.names[value] if isinstance(value, str) else f"{page.title} {page.names[value]}"


def _same_limits(column: np.ndarray) -> None:
    ends = np.array([axes.get_ylim() for axes in column])
    for axes in column:
        axes.set_ylim(ends[:, 0].min(), ends[:, 1].max())


def _keys(page: Arrangement, norm: SymLogNorm, growth: pd.DataFrame, size: Size) -> None:
    figure, grid, across, shades = page.figure, page.grid, page.across, page.shades
    bar = figure.colorbar(
        ScalarMappable(norm, style.GROWTH),
        ax=list(grid[:, 0] if across else grid.flat),
        location="right" if across else "top",
        aspect=20 if across else 10 * style.WIDTHS[size],
        pad=0.02,
        label="growth over $T$ (nat)",
    )
    layout.add_height(figure, 0.0 if across else 0.4)
    layout.symmetric_ticks(bar, norm.vmax or _LINEAR)
    shown = list(shades)[:: -(-len(shades) // layout.MOST_IN_LEGEND)]
    joined: dict[str, Any] = {"marker": "o", "linestyle": "none" if has_files(growth) else "-"}
    sizes = _marker_sizes(shades)
    handles: list[Artist] = [
        lines.line_key(_length_text(page, value), color=shades[value], markersize=sizes[value], **joined)
        for value in shown
    ]
    handles += [*lines.interval_keys(growth["growth_rate_low"]), *lines.rate_keys(growth)]
    if any(line.get_color() == CONTOUR["color"] for axes in grid[:, 0] for line in axes.lines):
        handles.append(lines.line_key("zero growth", **CONTOUR))
    if np.isneginf(growth["log_growth"].astype(float)).any():
        handles.append(Patch(facecolor=style.GROWTH(0.0), edgecolor="white", hatch="////", label="exactly zero"))
    if growth["log_growth"].isna().any():
        handles.append(Patch(facecolor="#cccccc", label="no network measured"))
    page.add_footer(handles)
