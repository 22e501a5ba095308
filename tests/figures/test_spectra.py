"""Figures of spectra: what is drawn is what the tables say, at both sizes; what is missing is said and not an error."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from bpttlab import figures, plugins, tables
from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.eigenvalues import plot_eigenvalues
from bpttlab.figures.exponents import plot_exponents
from bpttlab.figures.finite_time import MEAN, RIDGE, plot_finite_time
from bpttlab.figures.sensitivity import plot_sensitivity
from bpttlab.figures.singular_values import plot_singular_values
from bpttlab.figures.spectrum import plot_spectrum
from bpttlab.figures.state_blocks import plot_paths
from tests.support import synthetic

SMALL = {
    "spectra": True,
    "radii": (0.5, 0.9, 1.0, 1.5),
    "lengths": (10, 40),
    "seeds": 2,
    "truncations": ("full",),
    "cells": ("elman", "lstm"),
}
FEW = (0.5, 1.0, 1.5)
MANY = tuple(np.linspace(0.5, 1.6, 12).round(3))
CELL = ("elman", "lstm")


@pytest.fixture(scope="module")
def study():
    return synthetic.study(**SMALL)


def of_spectra(study, size="page"):
    """The figures that this file is about, and why some are missing."""
    drawing, skipped = {}, {}
    request, known = figures.FigureRequest(study, size, None, None), plugins.available("figure")
    with style.style_context(size):
        for name in figures.OF_SPECTRA:
            try:
                drawing[name] = known[name].draw(request)
            except LabError as reason:
                skipped[name] = str(reason)
    return drawing, skipped


@pytest.fixture(scope="module")
def flat():
    """A study in which everything is exactly zero."""
    return synthetic.study(**{**SMALL, "flat": True, "cells": ("lstm",), "lengths": (20,)})


@pytest.fixture(scope="module")
def drawn(study):
    """Each size drawn once, when a test asks for it: figures that no test changes."""
    return cache(lambda size: of_spectra(study, size)[0])


sizes = pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])


def texts(figure):
    """Every text of a figure that shows."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def entries(figure):
    """What the legends say."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def of_colour(axes, colour, **wanted):
    """The lines of a colour (and a look) that have points."""
    found = [line for line in axes.lines if to_rgb(line.get_color()) == to_rgb(colour) and len(line.get_xdata())]
    return [line for line in found if all(getattr(line, f"get_{name}")() == value for name, value in wanted.items())]


def rows_at(frame, **wanted):
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame)
    return frame


# ------------------------------------------------------------------ all of a study


@pytest.mark.slow
@sizes
def test_all_are_drawn_at_their_width_legible_and_whole(drawn, size):
    assert tuple(drawn(size)) == figures.OF_SPECTRA
    for name, figure in drawn(size).items():
        assert figure.get_size_inches()[0] == style.WIDTHS[size], name
        for text in figure.findobj(Text):
            assert text.get_fontsize() >= 7 or not text.get_text().strip(), (name, text.get_text())
        width, height = figure.get_size_inches()
        extent = figure.get_tightbbox()
        assert extent.x0 >= -0.02 and extent.y0 >= -0.02, name
        assert extent.x1 <= width + 0.02 and extent.y1 <= height + 0.02, name


@sizes
def test_no_text_covers_another(drawn, size):
    for name, figure in drawn(size).items():
        assert covered(figure) == [], name


def covered(figure):
    """Pairs of titles, axis labels and legends that overlap."""
    labels = [
        label for axes in figure.axes for label in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label)
    ]
    boxes = [(label.get_text(), label.get_window_extent()) for label in labels if label.get_text()]
    boxes += [("legend", legend.get_window_extent()) for legend in figure.legends]
    pairs = [(one, other) for place, one in enumerate(boxes) for other in boxes[place + 1 :]]
    return [(one[0], other[0]) for one, other in pairs if one[1].overlaps(other[1])]


@sizes
def test_legends_cover_no_panel(drawn, size):
    for name, figure in drawn(size).items():
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes), name


@pytest.mark.slow
def test_equal_tables_give_equal_bytes(study, drawn, tmp_path):
    shuffled = {name: getattr(study, name).sample(frac=1, random_state=3) for name in ("runs", *synthetic.TABLES)}
    again, _ = of_spectra(SimpleNamespace(**shuffled), "column")
    for format in ("png", "svg"):
        for name in figures.OF_SPECTRA if format == "svg" else ("finite_time", "eigenvalues"):
            one = figures.save(drawn("column")[name], tmp_path / "one", format).read_bytes()
            other = figures.save(again[name], tmp_path / "other", format).read_bytes()
            assert len(one) > 2000
            assert one == other, (name, format)


def test_labels_carry_quantity_and_unit(drawn):
    units = {
        "exponents": "nat/step",
        "spectrum": "nat/step",
        "finite_time": "nat/step",
        "singular_values": "nat/step",
        "paths": "(nat)",
        "sensitivity": "(nat)",
    }
    for name, unit in units.items():
        assert any(unit in text for text in texts(drawn("page")[name])), name
    assert any("(steps)" in text for text in texts(drawn("page")["paths"]))


# ------------------------------------------------------------------ studies of every shape


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        pytest.param({"radii": (0.9,), "lengths": (20,), "seeds": 1}, "column", marks=pytest.mark.slow),
        pytest.param({"radii": MANY, "cells": ("lstm",)}, "column", marks=pytest.mark.slow),
        pytest.param({"flat": True, "cells": ("lstm",), "radii": (0.9,)}, "column", marks=pytest.mark.slow),
        pytest.param({"radii": (0.9, 1.5), "tasks": ("noise", "temporal_order")}, "column", marks=pytest.mark.slow),
        pytest.param(
            {"lengths": (1, 2), "cells": ("lstm",), "initializer": "gaussian", "target": "gain"},
            "page",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["one of all", "many", "all zero", "four facets", "short, of a gain"],
)
def test_studies_of_every_shape(changes, size):
    drawing, skipped = of_spectra(synthetic.study(**{**SMALL, **changes}), size)
    assert tuple(drawing) == figures.OF_SPECTRA
    assert skipped == {}
    for name, figure in drawing.items():
        assert covered(figure) == [], name


def test_what_was_not_measured_is_said():
    bare = synthetic.study(radii=(0.9,), lengths=(4,), seeds=1, truncations=("full",))
    drawing, skipped = of_spectra(bare)
    assert drawing == {}
    assert tuple(skipped) == figures.OF_SPECTRA
    assert all("\n" not in reason for reason in skipped.values())
    assert "the study has no Lyapunov exponents" in skipped["exponents"]
    assert "parts" in skipped["paths"]
    names = ("triangle", *figures.OF_COSTS, *figures.OF_SPECTRA)
    assert set(figures.draw(bare, names=names).skipped) == {*names}


@pytest.mark.usefixtures("without_layout")
def test_a_study_of_spectra_alone_is_drawn():
    study = synthetic.study(**{**SMALL, "radii": (0.9,), "cells": ("lstm",), "lengths": (20,)})
    nothing = {name: getattr(study, name).iloc[:0] for name in ("jacobians", "lag_terms", "truncations")}
    names = ("products", "growth", "singular_values", "sensitivity")
    drawing = figures.draw(SimpleNamespace(**{**synthetic.frames_of(study), **nothing}), "column", names=names)
    assert tuple(drawing) == names[1:]
    assert "product of $t$ Jacobians" not in entries(drawing["sensitivity"])


@pytest.mark.slow
@pytest.mark.usefixtures("without_layout")
def test_too_many_facets_are_a_reason():
    tasks = [f"t{number}" for number in range(13)]
    few = {"radii": (0.9,), "lengths": (4,), "seeds": 1, "cells": ("lstm",)}
    many = synthetic.study(**{**SMALL, **few, "tasks": tasks})
    drawing, skipped = of_spectra(many)
    assert drawing == {}
    assert "13 combinations of task" in skipped["spectrum"]
    assert "13 combinations of task" in skipped["exponents"]


def test_too_many_cells_in_one_panel_are_a_reason():
    study = synthetic.study(**{**SMALL, "radii": (0.9,), "lengths": (4,), "cells": [f"c{n}" for n in range(9)]})
    with pytest.raises(LabError, match="9 colours for cell are too many"):
        plot_exponents(tables.exponents(study.runs))


# ------------------------------------------------------------------ what is drawn


@pytest.mark.usefixtures("without_layout")
def test_each_cell_has_a_line_of_its_own_in_one_panel():
    runs = synthetic.study(**{**SMALL, "lengths": (10,), "seeds": 6}).runs
    exponents = tables.exponents(runs)
    with style.style_context():
        figure = plot_exponents(exponents)
    (axes,) = figure.axes
    shades = style.categories(CELL)
    for cell in CELL:
        rows = rows_at(exponents, cell=cell).sort_values("initializer_requested")
        (line,) = of_colour(axes, shades[cell])
        np.testing.assert_array_equal(line.get_xydata(), rows[["initializer_requested", "lyapunov_exponent"]])
        bars = [part for part in axes.collections if to_rgb(part.get_color()[0]) == to_rgb(shades[cell])]
        ends = np.array([segment[:, 1] for segment in bars[0].get_segments()])
        np.testing.assert_array_equal(ends, rows[["lyapunov_exponent_low", "lyapunov_exponent_high"]])
    (linear,) = of_colour(axes, style.NEUTRAL, linestyle=":")
    np.testing.assert_allclose(linear.get_ydata(), np.log(linear.get_xdata()))
    assert {*CELL, lines.INTERVAL} <= set(entries(figure))


def test_few_networks_have_no_bars_and_the_legend_says_so(study, drawn):
    assert tables.exponents(study.runs)["lyapunov_exponent_low"].isna().all()
    assert "no interval: fewer than 6 networks" in entries(drawn("page")["exponents"])
    assert lines.INTERVAL not in entries(drawn("page")["exponents"])


@pytest.mark.usefixtures("without_layout")
def test_there_is_no_asymptote_where_a_cell_has_none(study):
    table = tables.exponents(study.runs.assign(asymptote_rate=np.nan))
    with style.style_context():
        figure = plot_exponents(table)
    assert of_colour(figure.axes[0], style.NEUTRAL, linestyle=":") == []
    assert not any("rho" in entry for entry in entries(figure))


def test_a_spectrum_is_dotted_where_it_is_below_resolution(study, drawn):
    curves = rows_at(tables.spectrum_curves(study.spectra, study.runs), sequence_length=40)
    shades = style.colours(SMALL["radii"])
    for axes, cell in zip(drawn("page")["spectrum"].axes, CELL, strict=True):
        for radius in SMALL["radii"]:
            rows = rows_at(curves, cell=cell, initializer_requested=radius)
            doubt = lines.is_doubtful(rows)
            (solid,) = of_colour(axes, shades[radius], linestyle="-")
            np.testing.assert_array_equal(solid.get_xydata(), rows.loc[~doubt, ["index", "median"]])
            (dotted,) = of_colour(axes, shades[radius], linestyle=":")
            np.testing.assert_array_equal(dotted.get_xydata()[1:], rows.loc[doubt, ["index", "median"]])
            np.testing.assert_array_equal(dotted.get_xydata()[0], solid.get_xydata()[-1])


def test_histograms_are_the_bins_of_the_table(study, drawn):
    bins = rows_at(tables.finite_time_distribution(study.finite_time, study.runs), sequence_length=40)
    axes = drawn("page")["finite_time"].axes[1]
    outlines = [patch for patch in axes.patches if not patch.get_fill()]
    marks = [part for part in axes.collections if to_rgb(part.get_color()[0]) == to_rgb(MEAN["color"])]
    assert len(outlines) == len(marks) == len(SMALL["radii"])
    for place, radius in enumerate(SMALL["radii"]):
        rows = rows_at(bins, cell="lstm", initializer_requested=radius)
        data = outlines[place].get_data()
        np.testing.assert_array_equal(data.edges[:-1], rows["bin_low"])
        heights = RIDGE * rows["density"] / rows["density"].max()
        np.testing.assert_allclose(data.values - place, heights, atol=1e-12)
        assert marks[place].get_segments()[0][0, 0] == rows["mean"].iloc[0]


def test_singular_values_below_resolution_are_hollow(study, drawn):
    curves = tables.singular_value_curves(study.singular_values, study.runs, study.spectra)
    curves = rows_at(curves, sequence_length=40, quantity="rate", cell="lstm", initializer_requested=1.0)
    lags = sorted(curves["lag"].unique())
    shades = dict(zip(lags, style.sequence_colours(len(lags)), strict=True))
    axes = np.reshape(drawn("page")["singular_values"].axes, (2, 3))[1, 1]
    for lag in lags:
        rows = rows_at(curves, lag=lag)
        doubt = lines.is_doubtful(rows)
        (solid,) = of_colour(axes, shades[lag], marker="None")
        np.testing.assert_array_equal(solid.get_xydata(), rows.loc[~doubt, ["index", "median"]])
        hollow = of_colour(axes, shades[lag], marker="o")
        assert len(hollow) == doubt.any()
        for line in hollow:
            assert line.get_markerfacecolor() == "none"
            np.testing.assert_array_equal(line.get_xydata(), rows.loc[doubt, ["index", "median"]])
    assert lines.is_doubtful(curves).any()
    (exponents,) = of_colour(axes, style.CENTRE)
    np.testing.assert_array_equal(exponents.get_ydata(), rows["lyapunov_exponent"])


def test_eigenvalue_panels_share_a_scale_and_unit_circle(study, drawn):
    points = rows_at(tables.eigenvalue_points(study.eigenvalues, study.runs), sequence_length=40)
    figure = drawn("page")["eigenvalues"]
    figure.draw_without_rendering()  # an aspect changes the boxes when it is drawn
    grid = np.reshape(figure.axes, (2, 3))
    for (row, column), axes in np.ndenumerate(grid):
        rows = rows_at(points, cell=CELL[row], initializer_requested=FEW[column])
        found = sorted(map(tuple, np.concatenate([line.get_xydata() for line in axes.lines])))
        assert found == sorted(map(tuple, rows[["real", "imaginary"]].to_numpy()))
        assert axes.get_aspect() == 1.0
        assert axes.get_xlim() == axes.get_ylim() == grid[0, 0].get_xlim()
        assert [patch.radius for patch in axes.patches] == [1.0]
        box = axes.get_window_extent()
        np.testing.assert_allclose(box.width, box.height, rtol=1e-6)


def test_paths_are_thick_within_a_part_and_thin_between_two(study, drawn):
    curves = rows_at(tables.block_curves(study.blocks, study.runs), sequence_length=40, quantity="spectral")
    shades = style.categories(["c", "h"])
    for axes, radius in zip(drawn("page")["paths"].axes, FEW, strict=True):
        for block in ("h<-h", "c<-c", "h<-c", "c<-h"):
            rows = rows_at(curves, block=block, initializer_requested=radius)
            width = 1.6 if block[0] == block[-1] else 0.7
            (line,) = of_colour(axes, shades[block[0]], linewidth=width)
            np.testing.assert_array_equal(line.get_xydata(), rows[["lag", "median"]].to_numpy(dtype=float))
        assert len(axes.collections) == 2  # the bands of the two thick ones


@pytest.mark.parametrize(
    ("parts", "drawn_blocks", "said"),
    [
        pytest.param(("h1", "h2", "h3"), 6, "3 more exactly zero", marks=pytest.mark.slow),
        (("h1", "c1", "h2", "c2"), 10, "6 more exactly zero"),
        (tuple(f"h{number}" for number in range(6)), 6, "15 between parts not drawn"),
    ],
)
@pytest.mark.usefixtures("without_layout")
def test_blocks_that_are_not_drawn_are_counted(parts, drawn_blocks, said):
    study = synthetic.study(**{**SMALL, "cells": ("stacked",), "parts": parts, "radii": (0.9,)})
    with style.style_context("column"):
        figure = plot_paths(tables.block_curves(study.blocks, study.runs), "column")
    assert len([line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]) == drawn_blocks
    assert said in entries(figure)


def test_sensitivity_is_drawn_by_parameter_beside_the_product(study, drawn):
    curves = rows_at(tables.sensitivity_curves(study.sensitivity, study.runs, study.jacobians), sequence_length=40)
    shades = style.categories(["W", "V", "b_h"])
    axes = np.reshape(drawn("page")["sensitivity"].axes, (2, 3))[0, 2]
    for name, colour in shades.items():
        rows = rows_at(curves, parameter=name, cell="elman", initializer_requested=1.5)
        (line,) = of_colour(axes, colour)
        np.testing.assert_array_equal(line.get_xydata(), rows[["t", "median"]].to_numpy(dtype=float))
    rows = rows_at(curves, quantity="product", cell="elman", initializer_requested=1.5)
    (line,) = of_colour(axes, style.NEUTRAL, linestyle=":")
    np.testing.assert_array_equal(line.get_ydata(), rows["median"])


@pytest.mark.parametrize(
    ("make", "table"),
    [
        (plot_spectrum, lambda study: tables.spectrum_curves(study.spectra, study.runs)),
        pytest.param(plot_exponents, lambda study: tables.exponents(study.runs), marks=pytest.mark.slow),
        pytest.param(
            plot_singular_values,
            lambda study: tables.singular_value_curves(study.singular_values, study.runs),
            marks=pytest.mark.slow,
        ),
        (plot_paths, lambda study: tables.block_curves(study.blocks, study.runs)),
        pytest.param(
            plot_sensitivity,
            lambda study: tables.sensitivity_curves(study.sensitivity, study.runs),
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.usefixtures("without_layout")
def test_exact_zeros_are_marked_at_the_foot(flat, make, table):
    with style.style_context():
        figure = make(table(flat))
    for axes in figure.axes:
        marks = [line for line in axes.lines if line.get_marker() == "v"]
        assert marks
        assert all(set(line.get_ydata()) == {0.0} for line in marks)
    assert any("exactly zero" in entry for entry in entries(figure))


@pytest.mark.usefixtures("without_layout")
def test_windows_at_minus_infinity_are_marked_at_the_edge(study, flat):
    with style.style_context():
        whole = plot_finite_time(tables.finite_time_distribution(study.finite_time, study.runs))
    assert not [line for axes in whole.axes for line in axes.lines if line.get_marker() == "<"]
    with style.style_context():
        figure = plot_finite_time(tables.finite_time_distribution(flat.finite_time, flat.runs))
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "<"]
    assert len(marks) == len(SMALL["radii"])


@pytest.mark.parametrize("cells", [pytest.param(("elman",), marks=pytest.mark.slow), ("elman", "lstm")])
def test_titles_of_square_panels_are_on_the_page(study, cells):
    points = tables.eigenvalue_points(study.eigenvalues, study.runs)
    with style.style_context("page"):
        figure = plot_eigenvalues(points[points["cell"].isin(cells)])
    tops = [axes.title.get_window_extent().y1 for axes in figure.axes]
    assert max(tops) <= figure.bbox.y1


def test_eigenvalues_without_an_asked_value_are_refused(study):
    points = tables.eigenvalue_points(study.eigenvalues, study.runs).assign(initializer_requested=np.nan)
    with pytest.raises(LabError, match="has a value requested"):
        plot_eigenvalues(points)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.9], [0.9]),
        ([1.5, 0.5, 1.0], [0.5, 1.0, 1.5]),
        (MANY, [0.5, 1.0, 1.6]),
        ([0.5, 0.6, 0.7, 0.8, 0.9], [0.5, 0.7, 0.9]),
        ([0.1, 0.9, 1.05, 3.0], [0.1, 1.05, 3.0]),
    ],
)
def test_the_few_values_with_panels_of_their_own(values, expected):
    assert layout.select_values(values) == expected
