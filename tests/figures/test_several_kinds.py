"""Studies of cells with a requested radius beside cells that have no W, each of these with a radius of its own."""

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.figures import layout, style
from bpttlab.figures.arrangement import BOARD, Shape, arrange, label_edges
from bpttlab.figures.figure import Comparison
from bpttlab.figures.finite_time import plot_finite_time
from bpttlab.figures.growth import plot_growth
from bpttlab.figures.lag_terms import plot_lag_terms
from bpttlab.figures.state_blocks import plot_paths
from bpttlab.figures.truncation import plot_truncation
from bpttlab.store.columns import UPDATE
from tests.support import synthetic

DRAWN, UNDRAWN = ("elman", "gru", "lstm", "slstm"), {"diagonal": 0.9892, "min_gru": 0.5, "min_lstm": 0.55}
SMALL = {"lengths": (8,), "seeds": 1, "truncations": ("full",), "cells": (*DRAWN, *UNDRAWN), "radii": (1.0,)}


def measure_undrawn(frame):
    """The frame as if no initializer had drawn some of the cells."""
    own = frame["cell"].map(UNDRAWN)
    return frame.assign(
        initializer=frame["initializer"].mask(own.notna(), "none"),
        initializer_target=frame["initializer_target"].mask(own.notna(), "measured_radius"),
        initializer_requested=own.fillna(frame["initializer_requested"]).astype(float),
    )


def points(radii):
    """A row for every point: drawn cells at all radii, the others at their own."""
    rows = [(cell, "scaled", "spectral_radius", radius) for cell in DRAWN for radius in radii]
    rows += [(cell, "none", "measured_radius", radius) for cell, radius in UNDRAWN.items()]
    names = ["cell", "initializer", "initializer_target", "initializer_requested"]
    return pd.DataFrame(rows, columns=names).assign(task="noise", sequence_length=8, median=0.0)


@pytest.fixture(scope="module")
def study():
    return synthetic.study(**SMALL)


@pytest.fixture(scope="module")
def growth(study):
    return measure_undrawn(tables.growth(study.runs))


def entries(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def words(figure):
    """The labels and titles of the panels, as boxes on the page."""
    texts = [text for axes in figure.axes for text in (axes.xaxis.label, axes.yaxis.label, axes.title)]
    return [text.get_window_extent() for text in texts if text.get_text()]


@pytest.mark.parametrize("size", ["column", "page"])
def test_cells_without_w_make_no_diagonal(size):
    page = arrange(points([1.0]), ["median"], size=size, **BOARD)
    down, wide = (1 + max(place[end] for place in page.places) for end in (0, 1))
    assert len(page.places) == 7
    assert down * wide - 7 < wide
    labels = {part.label for part in page.parts}
    assert {"elman, $\\rho$ = 1", "min lstm\nno $\\rho$ requested"} <= labels


def test_cells_without_w_share_the_last_column():
    page = arrange(points([0.5, 1.0, 1.5]), ["median"], **BOARD)
    assert page.column_labels == ["$\\rho$ = 0.5", "$\\rho$ = 1", "$\\rho$ = 1.5", "no $\\rho$ requested"]
    assert {part.rows["cell"].iloc[0] for part in page.parts} == {*DRAWN, *UNDRAWN}


def test_no_radius_is_named_if_none_was_requested():
    frame = points([1.0])
    page = arrange(frame[frame["cell"].isin(list(UNDRAWN))], ["median"], **BOARD)
    assert [part.label for part in page.parts] == ["diagonal", "min gru", "min lstm"]
    assert {row for row, _ in page.places} == {0}


def test_a_key_of_cells_is_called_cell():
    page = arrange(points([1.0]).assign(initializer_requested=1.0, initializer_target="spectral_radius"), ["median"])
    assert page.title == "cell"
    assert set(page.names) == {cell.replace("_", " ") for cell in (*DRAWN, *UNDRAWN)}


def test_a_radius_that_is_named_has_its_panels():
    page = arrange(points([1.0]), ["median"], Comparison.of(columns="initializer_requested"), **BOARD)
    assert len(page.column_labels) == 4


def test_labels_of_many_panels_cover_nothing(growth):
    with style.style_context("page"):
        figure = plot_growth(growth)
    boxes = words(figure)
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:number])


@pytest.mark.parametrize(
    ("label", "inches", "shown"),
    [
        ("rate (nat/step)", 2.0, "rate (nat/step)"),
        ("asymptotic rate (nat/step)", 1.2, "asymptotic rate\n(nat/step)"),
        (r"radius $\rho$, requested or measured", 1.3, "radius $\\rho$,\nrequested or measured"),
        (r"$\log \Vert \mathrm{d}h_t\Vert$ (nat)", 1.0, r"$\log \Vert \mathrm{d}h_t\Vert$ (nat)"),
        ("one\ntwo (nat/step and more)", 0.1, "one\ntwo (nat/step and more)"),
    ],
)
def test_a_label_is_broken_where_it_is_too_long(label, inches, shown):
    assert layout.break_label(label, inches) == shown


@pytest.mark.parametrize(
    ("plot", "table"),
    [
        (plot_lag_terms, lambda study: tables.lag_curves(study.lag_terms, study.runs)),
        pytest.param(
            plot_truncation,
            lambda study: tables.truncation_bias(study.truncations, study.runs),
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.usefixtures("without_layout")
def test_cells_that_lack_the_parameter_are_named(study, plot, table):
    frame = measure_undrawn(table(study))
    undrawn = frame["cell"].isin(list(UNDRAWN)) & (frame["parameter"] == "W")
    with style.style_context():
        figure = plot(frame[~undrawn])
    assert "without W: diagonal, min gru, min lstm" in entries(figure)
    with style.style_context():
        whole = plot(frame)
    assert not any("without" in entry for entry in entries(whole))


@pytest.mark.usefixtures("without_layout")
def test_updates_that_are_left_out_are_counted(growth):
    one = growth[growth["cell"] == "elman"]
    frame = pd.concat([one.assign(**{UPDATE: update}) for update in (0, 100, 200, 300, 400)], ignore_index=True)
    frame = frame[[UPDATE, *(name for name in growth if name != UPDATE)]]
    with style.style_context():
        assert "3 of 5 updates shown" in entries(plot_growth(frame))
        few = plot_growth(frame[frame[UPDATE] < 300])
    assert not any("updates" in entry for entry in entries(few))


@pytest.mark.usefixtures("without_layout")
def test_more_parts_than_colours_have_dashes():
    parts = tuple("abcdefghi")
    drawn = synthetic.study(spectra=True, lengths=(8,), seeds=1, radii=(0.9,), cells=("stacked",), parts=parts)
    with style.style_context():
        figure = plot_paths(tables.block_curves(drawn.blocks, drawn.runs))
    handles = [line for line in figure.legends[0].get_lines() if "\N{LEFTWARDS ARROW}" in str(line.get_label())]
    looks = {(line.get_color(), str(line.get_linestyle())) for line in handles}
    assert len(handles) == len(looks) == len(parts)


def test_the_label_of_ridges_is_on_the_page():
    ridges = points([1.0]).drop(columns="median").iloc[-5:]
    numbers = {"networks": 1, "steps": 8, "zero": 0, "mean": -0.2, "bin_low": -1.0, "bin_high": 0.0}
    with style.style_context("page"):
        figure = plot_finite_time(ridges.assign(**numbers, windows=20, density=1.0))
    labels = [axes.yaxis.label.get_window_extent() for axes in figure.axes if axes.get_ylabel()]
    assert min(box.y0 for box in labels) >= 0
    assert max(box.y1 for box in labels) <= figure.bbox.y1
    assert not np.any([one.overlaps(other) for place, one in enumerate(labels) for other in labels[:place]])


def ticks(axes):
    return [text.get_text() for text in axes.get_xticklabels()]


@pytest.mark.usefixtures("without_layout")
def test_what_was_not_requested_has_no_radius():
    page = arrange(points([0.5, 1.0, 1.5]), ["median"])
    assert page.title == layout.quantity(page.rows) == r"spectral radius $\rho$"
    assert list(page.names.values()) == ["0.5", "1", "1.5", "none"]
    assert [value for value, shade in page.shades.items() if shade == style.NEUTRAL] == [2.0]
    apart = page.rows[page.rows["cell"].isin(list(UNDRAWN))]
    assert (apart["initializer_requested"] == 2.0).all()


@pytest.mark.usefixtures("without_layout")
def test_where_nothing_was_requested_the_measured_radii_stay():
    frame = points([1.0])
    page = arrange(frame[frame["cell"].isin(list(UNDRAWN))], ["median"])
    assert page.title == r"measured spectral radius $\rho$"
    assert list(page.names.values()) == ["0.5", "0.55", "0.9892"]


@pytest.mark.usefixtures("without_layout")
def test_growth_without_a_radius_stands_at_none(growth):
    with style.style_context():
        heat, rate = plot_growth(growth).axes[:2]
    assert ticks(heat)[-1] == ticks(rate)[-1] == "none" and "1" in ticks(heat)
    assert heat.get_xlabel() == rate.get_xlabel() == r"spectral radius $\rho$"
    theory = [line for line in rate.lines if line.get_linestyle() == ":"]
    assert all(max(line.get_xdata()) <= 1.0 for line in theory)


@pytest.mark.usefixtures("without_layout")
@pytest.mark.parametrize(("panels", "columns"), [(5, 3), (6, 3), (7, 4), (11, 4)])
def test_the_lowest_panel_of_each_column_has_a_label(panels, columns):
    frame = pd.concat([points([1.0]).assign(task=task) for task in ("noise", "adding")]).iloc[:panels]
    page = arrange(frame.assign(cell=[f"c{n}" for n in range(panels)]), ["median"], shape=Shape(2))
    label_edges(page, ["lag", "lag"], ["one", "other"])
    lowest = {}
    for (number, kind), axes in np.ndenumerate(page.grid):
        row, column = page.places[number]
        lowest[column] = max(lowest.get(column, (0, 0, "")), (kind, row, axes.get_xlabel()))
    assert len(lowest) == columns and {label for _, _, label in lowest.values()} == {"lag"}


@pytest.mark.usefixtures("without_layout")
def test_cells_of_one_part_are_named():
    drawn = synthetic.study(spectra=True, lengths=(8,), seeds=1, radii=(0.9,), cells=("lstm",), parts=("h", "c"))
    curves = tables.block_curves(drawn.blocks, drawn.runs)
    with style.style_context():
        assert "without blocks: elman, min gru" in entries(plot_paths(curves, left_out=["elman", "min_gru"]))
        assert not any("without" in entry for entry in entries(plot_paths(curves)))
