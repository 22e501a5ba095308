"""Figures: equal tables give equal bytes, everything requested is drawn, what is missing is said and not an error."""

import subprocess
import sys
from functools import cache, partial
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from bpttlab import figures, tables
from bpttlab.errors import ConfigurationError, LabError, StoreError
from bpttlab.figures import lines, style
from bpttlab.figures.growth import plot_growth
from bpttlab.figures.products import plot_products
from bpttlab.figures.triangle import plot_triangle
from bpttlab.figures.truncation import plot_truncation
from tests.support import synthetic

SMALL = {"radii": (0.9, 1.0, 1.5), "lengths": (10, 40), "seeds": 2, "truncations": ("full", "5")}
OF_RUNS = [name for name in figures.OF_GRADIENTS if name != "triangle"]


@pytest.fixture(scope="module")
def study():
    return synthetic.study(**SMALL, triangle=True)


@pytest.fixture(scope="module")
def drawn(study):
    """Each size drawn once, when a test asks for it: figures that no test changes."""
    return cache(partial(figures.draw, study))


sizes = pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])


def texts(figure):
    """Every text of a figure that shows."""
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text.get_text() for text in found]


# ------------------------------------------------------------------ all of a study


@sizes
def test_every_figure_is_drawn_at_its_width(drawn, size):
    drawing = drawn(size)
    assert list(drawing) == list(figures.OF_GRADIENTS)
    assert list(drawing.skipped) == [*figures.OF_COSTS, *figures.OF_SPECTRA, *figures.OF_TRAINING]
    for name, figure in drawing.items():
        width = figure.get_size_inches()[0]
        assert width <= style.WIDTHS[size], name
        if name != "triangle":
            assert width == style.WIDTHS[size]


@sizes
def test_letters_are_legible_and_nothing_is_cut_off(drawn, size):
    for name, figure in drawn(size).items():
        frame = figure.bbox
        for text in figure.findobj(Text):
            assert text.get_fontsize() >= 7 or not text.get_text().strip(), (name, text.get_text())
        extent = figure.get_tightbbox()
        assert extent.x0 >= -0.02, name
        assert extent.y0 >= -0.02, name
        assert extent.x1 <= frame.width / figure.dpi + 0.02, name
        assert extent.y1 <= frame.height / figure.dpi + 0.02, name


@sizes
def test_legends_cover_no_panel(drawn, size):
    for name, figure in drawn(size).items():
        for legend in figure.legends:
            box = legend.get_window_extent()
            for axes in figure.axes:
                assert not box.overlaps(axes.get_window_extent()), name


@pytest.mark.parametrize(
    "names", [("growth",), pytest.param(figures.OF_GRADIENTS, marks=pytest.mark.slow)], ids=["one", "all"]
)
def test_equal_tables_give_equal_bytes(study, drawn, names, tmp_path):
    shuffled = {name: getattr(study, name).sample(frac=1, random_state=3) for name in ("runs", *synthetic.TABLES)}
    again = figures.draw(SimpleNamespace(**{**synthetic.frames_of(study), **shuffled}), "page", names=names)
    for format in style.FORMATS:
        for name in names if format == "svg" else ("growth",):  # half a second a file
            one = figures.save(drawn("page")[name], tmp_path / "one", format).read_bytes()
            other = figures.save(again[name], tmp_path / "other", format).read_bytes()
            assert len(one) > 2000
            assert one == other, (name, format)


@pytest.mark.slow
def test_a_figure_is_the_same_whatever_it_was_saved_as_before(study, tmp_path):
    growth = tables.growth(study.runs)
    with style.style_context():
        fresh, saved = plot_growth(growth, "column"), plot_growth(growth, "column")
    figures.save(saved, tmp_path / "before", "png")
    after = figures.save(saved, tmp_path / "after", "svg").read_bytes()
    assert figures.save(fresh, tmp_path / "alone", "svg").read_bytes() == after


# ------------------------------------------------------------------ studies that lack something


MANY = tuple(np.linspace(0.5, 1.6, 12).round(3))


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"radii": (0.9,), "lengths": (20,), "seeds": 1}, "column"),
        pytest.param({"radii": (0.9,), "tasks": ("noise", "adding")}, "page", marks=pytest.mark.slow),
        pytest.param({"radii": MANY, "lengths": (20,)}, "column", marks=pytest.mark.slow),
        pytest.param({"radii": MANY, "lengths": (20,)}, "page", marks=pytest.mark.slow),
        pytest.param({"radii": (0.9, 1.1), "lengths": (1, 2)}, "page", marks=pytest.mark.slow),
        pytest.param({"zero_from": 4}, "column", marks=pytest.mark.slow),
        pytest.param({"schemes": ("per_loss", "chunked")}, "column", marks=pytest.mark.slow),
        pytest.param({"initializer": "gaussian", "target": "gain"}, "page", marks=pytest.mark.slow),
    ],
    ids=["one of all", "one radius", "many", "many on a page", "very short", "exact zeros", "two schemes", "of a gain"],
)
def test_studies_of_every_shape(changes, size, tmp_path):
    drawing = figures.draw(synthetic.study(**{**SMALL, **changes}), size)
    assert list(drawing) == OF_RUNS
    assert list(drawing.skipped) == ["triangle", *figures.OF_COSTS, *figures.OF_SPECTRA, *figures.OF_TRAINING]
    for name, figure in drawing.items():
        figures.save(figure, tmp_path / name)


def test_many_values_have_a_colour_bar_beside_no_panel():
    study = synthetic.study(**{**SMALL, "radii": MANY, "lengths": (20,), "seeds": 1})
    (figure,) = figures.draw(study, "column", names=["products"]).values()
    (bar,) = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    panels = [axes.get_window_extent() for axes in figure.axes if axes is not bar]
    assert panels and not any(bar.get_window_extent().overlaps(panel) for panel in panels)


def with_nothing_measured(study):
    nothing = {name: getattr(study, name).iloc[:0] for name in synthetic.TABLES}
    return SimpleNamespace(**{**synthetic.frames_of(study), **nothing, "name": "bare"})


@pytest.mark.usefixtures("without_layout")
def test_what_was_not_measured_is_said(study):
    drawing = figures.draw(with_nothing_measured(study))
    assert list(drawing) == ["growth"]
    assert set(drawing.skipped) == set(figures.NAMES) - {"growth"}
    assert "Jacobian products" in drawing.skipped["products"]
    assert all("\n" not in reason for reason in drawing.skipped.values())


@pytest.mark.usefixtures("without_layout")
def test_diverged_and_failed_runs_leave_gaps_not_errors(study):
    holes = synthetic.diverged(study, study.runs["initializer_requested"] == 1.5)
    holes = synthetic.diverged(holes, holes.runs["initializer_requested"] == 1.0, "failed")
    drawing = figures.draw(holes)
    assert list(drawing) == list(figures.OF_GRADIENTS)
    assert "no network measured" in texts(drawing["growth"])


@pytest.mark.usefixtures("without_layout")
def test_a_task_of_which_nothing_was_measured_has_an_empty_map():
    study = synthetic.study(**{**SMALL, "tasks": ("noise", "adding"), "lengths": (10,), "radii": (0.9, 1.5)})
    drawing = figures.draw(synthetic.diverged(study, study.runs["task"] == "noise"))
    assert list(drawing) == OF_RUNS
    assert {"noise", "adding"} <= set(texts(drawing["growth"]))


def test_nothing_but_failures_is_a_reason(study):
    lost = synthetic.diverged(study, pd.Series(True, index=study.runs.index), "failed")
    drawing = figures.draw(lost)
    assert dict(drawing) == {}
    assert set(drawing.skipped) == set(figures.NAMES)


def test_an_empty_study_and_an_unknown_size_are_refused(study):
    with pytest.raises(LabError, match="no runs"):
        figures.draw(SimpleNamespace(runs=study.runs.iloc[:0]))
    with pytest.raises(ConfigurationError, match=r"size=colunm.*Did you mean 'column'"):
        figures.draw(study, "colunm")
    drawing = figures.draw(study, "page", run_id="nowhere", names=["triangle"])
    assert "nowhere" in drawing.skipped["triangle"]


def test_too_many_facets_are_a_reason_not_a_wall():
    tasks = [f"t{number}" for number in range(13)]
    study = synthetic.study(radii=(0.9,), lengths=(4,), seeds=1, truncations=("full",), tasks=tasks)
    assert "13 combinations of task" in figures.draw(study, names=["growth"]).skipped["growth"]


# ------------------------------------------------------------------ what is drawn


@pytest.mark.usefixtures("without_layout")
def test_a_line_is_the_median_of_its_table_in_its_colour(study):
    curves = tables.growth_curves(study.jacobians, study.runs)
    with style.style_context():
        figure = plot_products(curves)
    expected = curves[(curves["quantity"] == "spectral") & (curves["sequence_length"] == 40)]
    shades = style.colours([0.9, 1.0, 1.5])
    for value in (0.9, 1.0, 1.5):
        rows = expected[expected["initializer_requested"] == value]
        lines = [line for line in figure.axes[0].lines if to_rgb(line.get_color()) == to_rgb(shades[value])]
        drawn = {line.get_linestyle(): line for line in lines}
        np.testing.assert_array_equal(drawn["-"].get_xydata(), rows[["lag", "median"]].to_numpy(dtype=float))
        np.testing.assert_array_equal(drawn["--"].get_ydata(), rows["bound"])
        np.testing.assert_array_equal(drawn[":"].get_ydata(), rows["asymptote"])


@pytest.mark.usefixtures("without_layout")
def test_an_exact_zero_is_marked_at_its_first_lag():
    study = synthetic.study(**{**SMALL, "zero_from": 12})
    with style.style_context():
        figure = plot_products(tables.growth_curves(study.jacobians, study.runs))
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "v"]
    assert len(marks) == 1
    lags = synthetic.lags_of(40)
    assert list(marks[0].get_xdata()) == [lags[lags >= 12][0]]
    assert any("exactly zero" in text for text in texts(figure))


@pytest.mark.usefixtures("without_layout")
def test_the_contour_runs_between_growth_and_decay():
    study = synthetic.study(radii=(0.9, 1.0, 1.1, 1.5), lengths=(40, 80), seeds=2, truncations=("full",))
    growth = tables.growth(study.runs)
    assert set(growth.loc[growth["initializer_requested"] <= 1.0, "log_growth"] < 0) == {True}
    assert set(growth.loc[growth["initializer_requested"] >= 1.1, "log_growth"] > 0) == {True}
    with style.style_context():
        figure = plot_growth(growth)
    edges = {tuple(map(tuple, line.get_xydata())) for line in figure.axes[0].lines}
    assert edges == {((2.0, 0.0), (2.0, 1.0)), ((2.0, 1.0), (2.0, 2.0))}


@pytest.mark.usefixtures("without_layout")
def test_an_interval_goes_through_the_foot_of_the_panel():
    """Where the lower end is -inf: the band and the bar go on, and the limits follow what is finite."""
    study = synthetic.study(**{**SMALL, "lengths": (40,), "radii": (0.9, 1.0), "seeds": 6})
    bias = tables.truncation_bias(study.truncations, study.runs)
    below = bias.assign(log_relative_bias_low=bias["log_relative_bias_low"].mask(bias["truncation"] == 5, -np.inf))
    with style.style_context():
        plain, figure = plot_truncation(bias), plot_truncation(below)
    assert figure.axes[0].get_ylim() == plain.axes[0].get_ylim()
    ends = [segment[:, 1].min() for bars in line_collections(figure.axes[0]) for segment in bars.get_segments()]
    assert ends.count(lines.FAR_BELOW) == 2
    assert {lines.INTERVAL} <= set(texts(figure))


def line_collections(axes):
    return [part for part in axes.collections if isinstance(part, LineCollection)]


@pytest.mark.usefixtures("without_layout")
def test_the_rates_of_the_growth_figure_have_their_intervals():
    study = synthetic.study(radii=(0.9, 1.5), lengths=(40,), seeds=6, truncations=("full",))
    growth = tables.growth(study.runs)
    with style.style_context():
        figure = plot_growth(growth)
    (bars,) = [part for part in line_collections(figure.axes[1]) if part.get_segments()]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_array_equal(ends, growth[["growth_rate_low", "growth_rate_high"]])
    assert "asymptotic rate (nat/step)" in texts(figure)
    assert lines.INTERVAL in texts(figure)


@pytest.mark.usefixtures("without_layout")
def test_the_triangle_shows_the_run_it_names(study):
    triangle = tables.triangle(study.jacobians, study.runs)
    with style.style_context():
        figure = plot_triangle(triangle)
    drawn = np.ma.getdata(figure.axes[0].collections[0].get_array())
    for _, row in triangle.sample(20, random_state=0).iterrows():
        assert drawn[row["t"] - 1, row["k"]] == row["log_spectral_norm"]
    assert any("seed 0" in text for text in texts(figure))


@pytest.mark.usefixtures("without_layout")
def test_truncation_marks_the_schemes_that_were_run():
    study = synthetic.study(**{**SMALL, "schemes": ("per_loss", "chunked")})
    bias = tables.truncation_bias(study.truncations, study.runs)
    with style.style_context():
        figure = plot_truncation(bias)
    hollow = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]
    places = {x for line in hollow for x in line.get_xdata()}
    assert places == {5.0}
    assert {"chunked, run", "per-loss, run"} <= set(texts(figure))


@pytest.mark.usefixtures("without_layout")
def test_labels_carry_quantity_and_unit():
    study = synthetic.study(**{**SMALL, "initializer": "gaussian", "target": "gain"})
    gain = figures.draw(study, names=["products", "growth"])
    assert "gain $g$" in texts(gain["products"])
    assert any("(nat)" in text for text in texts(gain["products"]))
    assert any("(nat/step)" in text for text in texts(gain["growth"]))


# ------------------------------------------------------------------ style


def test_colours_are_centred_at_one_and_all_differ():
    values = (0.5, 0.9, 1.0, 1.1, 1.5)
    shades = style.colours(values)
    assert len(set(shades.values())) == 5
    assert shades[1.0] == style.CENTRE
    red, _, blue = zip(*(to_rgb(shades[value]) for value in values), strict=True)
    assert all(blue[place] > red[place] for place in (0, 1))
    assert all(red[place] > blue[place] for place in (3, 4))


def test_no_line_fades_into_the_page():
    for colour in style.colours(list(np.linspace(0.1, 3.0, 30))).values():
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        luminance = np.dot([0.2126, 0.7152, 0.0722], linear)
        assert 1.05 / (luminance + 0.05) > 2.0, colour


@pytest.mark.usefixtures("without_layout")
def test_the_style_leaves_no_trace(study):
    before = dict(mpl.rcParams)
    with style.style_context("column"):
        assert dict(mpl.rcParams) != before
    assert dict(mpl.rcParams) == before
    nothing = dict.fromkeys(synthetic.TABLES, study.runs.iloc[:0])
    figures.draw(SimpleNamespace(**{**synthetic.frames_of(study), **nothing}), "column")
    assert dict(mpl.rcParams) == before


def test_saving_refuses_what_it_cannot_do(drawn, tmp_path):
    figure = drawn("page")["growth"]
    with pytest.raises(ConfigurationError, match=r"format=pgn.*Did you mean 'png'"):
        figures.save(figure, tmp_path / "growth", "pgn")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"growth\.png"):
        figures.save(figure, tmp_path / "file" / "growth")
    figures.save(figure, tmp_path / "a.b" / "c.d")
    assert [path.name for path in (tmp_path / "a.b").iterdir()] == ["c.d.png"]


def test_importing_the_figures_imports_no_plotting():
    program = "import sys, bpttlab.figures; sys.exit('matplotlib' in sys.modules or 'seaborn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.usefixtures("without_layout")
def test_each_figure_is_told_before_it_is_drawn(study):
    """Whether it can be drawn or not."""
    told = []
    drawing = figures.draw(with_nothing_measured(study), told=told.append)
    assert told == list(figures.NAMES)
    assert list(drawing) == ["growth"]
