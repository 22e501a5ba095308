"""Two figures: ratios with their range over rounds, and growth of seconds with N, T and B."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.problems import Shape
from benchmarks.rows import Row

LETTERS = ("N", "T", "B")


def write(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """benchmark_ratios.png and benchmark_growth.png."""
    from bpttlab.figures import style

    folder.mkdir(parents=True, exist_ok=True)
    with style.style_context("page"):
        drawn = {"benchmark_ratios": ratios(rows), "benchmark_growth": growth(rows)}
        return [style.save_figure(figure, folder / name, "png") for name, figure in drawn.items()]


def ratios(rows: Sequence[Row]) -> Any:
    """One panel a dtype: seconds of each peer over those of the fastest engine, goals as marks."""
    from matplotlib.figure import Figure

    chosen = [row for row in rows if row.unit == "×" and row.workload in ("gradient", "gated")]
    fastest = last_engine_of_each(chosen)
    panels = [[row for row in fastest if f" {dtype} " in row.case] for dtype in ("float64", "float32")]
    figure = Figure(figsize=(7.0, 0.24 * max(len(panel) for panel in panels) / 2 + 1.2), layout="constrained")
    for axes, panel, dtype in zip(figure.subplots(1, 2, sharey=True), panels, ("float64", "float32"), strict=True):
        bars(axes, panel, dtype)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def last_engine_of_each(rows: Sequence[Row]) -> list[Row]:
    """Of every case and peer the row of the last engine that was measured, the fastest: workloads may differ in it."""
    return list({(row.case, row.what.partition(" / ")[0]): row for row in rows}.values())


def bars(axes: Any, rows: Sequence[Row], dtype: str) -> None:
    """Median as a point, least and most as a bar; a row a network."""
    from bpttlab.figures.style import CATEGORIES

    networks = list(dict.fromkeys(row.case.replace(f" {dtype} ", " ") for row in rows))
    peers = list(dict.fromkeys(row.what.partition(" / ")[0] for row in rows))
    for number, peer in enumerate(peers):
        own = [row for row in rows if row.what.startswith(peer)]
        y = [
            networks.index(row.case.replace(f" {dtype} ", " ")) + 0.26 * (number - (len(peers) - 1) / 2) for row in own
        ]
        medians = [row.spread.median for row in own]
        reach = [
            [row.spread.median - row.spread.least for row in own],
            [row.spread.most - row.spread.median for row in own],
        ]
        colour = CATEGORIES[number]
        axes.errorbar(medians, y, xerr=reach, fmt="o", ms=3, lw=1.2, color=colour, label=f"{peer} / this package")
        wanted = [(row.goal, at) for row, at in zip(own, y, strict=True) if row.goal is not None]
        if wanted:
            axes.plot(*zip(*wanted, strict=True), "|", ms=7, mew=1.5, color=colour, label=f"goal, {peer}")
    axes.axvline(1.0, color="#6b6b6b", lw=0.8)
    axes.set(xscale="log", title=dtype, xlabel="seconds over seconds of this package (1: as fast)")
    axes.set_yticks(range(len(networks)), networks)
    axes.set_ylim(max(1, len(networks)) - 0.5, -0.5)


def growth(rows: Sequence[Row]) -> Any:
    """Seconds of a gradient over N, T and B, and the exponent of the three largest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 2.5), layout="constrained")
    grown = [row for row in rows if row.workload == "growth"]
    for axes, letter in zip(figure.subplots(1, 3, sharey=True), LETTERS, strict=True):
        series(axes, letter, grown)
    figure.axes[0].set_ylabel("seconds of one gradient")
    return figure


def series(axes: Any, letter: str, rows: Sequence[Row]) -> None:
    """The sizes of the letter's series are the rows before its exponent."""
    from bpttlab.figures.style import CATEGORIES

    for number, engine in enumerate(dict.fromkeys(row.what for row in rows)):
        own = [row for row in rows if row.what == engine]
        ends = [index for index, row in enumerate(own) if row.unit == "exponent"]
        found = [index for index in ends if own[index].case.startswith(letter)]
        for end in found:
            begin = max((index + 1 for index in ends if index < end), default=0)
            sizes = [getattr(shape_of(row), letter) for row in own[begin:end]]
            exponent = own[end].spread.median
            medians = [row.spread.median for row in own[begin:end]]
            label = f"{engine}: {letter}$^{{{exponent:.2f}}}$"
            axes.loglog(sizes, medians, "o-", ms=3, lw=1, color=CATEGORIES[number], label=label)
            axes.set(title=held(own[begin], letter))
            axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
            axes.set_xticks([], minor=True)
    axes.set_xlabel(letter)
    if axes.lines:
        axes.legend(frameon=False)


def held(row: Row, letter: str) -> str:
    """What is the same in the whole series."""
    return ", ".join(part for part in row.case.split() if not part.startswith(letter))


def shape_of(row: Row) -> Shape:
    return Shape(*(int(part.partition("=")[2]) for part in row.case.split()))
