"""Anything that was swept can be compared: colours, columns and rows of panels, chosen or named."""

import shutil

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from bpttlab import figures, tables
from bpttlab.claims import analyses
from bpttlab.claims.analyses import Analysis
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.figures import schemes, style
from bpttlab.figures.arrangement import BOARD, arrange
from bpttlab.figures.comparison import choose_channels
from bpttlab.figures.figure import Comparison
from bpttlab.figures.requested import VALUE, value_names
from tests.support import synthetic

SMALL = {"lengths": (4, 8), "seeds": 1, "truncations": ("full",)}
CELLS = ("elman", "gru", "lstm")


@pytest.fixture(scope="module")
def study():
    """Three cells, two tasks, two radii."""
    return synthetic.study(**SMALL, radii=(0.9,), cells=CELLS, tasks=("noise", "adding"))


def points(**values):
    """A frame with every combination of some fields, the initializer's target beside them."""
    frame = pd.MultiIndex.from_product(values.values(), names=values).to_frame(index=False)
    return frame.assign(initializer_target="spectral_radius")


def channels(frame, **named):
    names = [name for name in frame if name != "initializer_target"]
    found = choose_channels(frame, names, Comparison.of(**named))
    return found.color, found.columns, found.rows


def draw(study, name, **named):
    drawing = figures.draw(study, names=[name], **named)
    assert not drawing.skipped
    return drawing[name]


def titles(figure):
    return [axes.get_title() or axes.get_title("left") for axes in figure.axes if axes.lines]


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def key_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# ------------------------------------------------------------------ which field is where


def test_requested_value_has_colours_and_few_values_panels():
    frame = points(cell=CELLS, cell_hidden_size=(32, 128), initializer_requested=(0.5, 1.0))
    assert channels(frame) == ([VALUE], ["cell"], ["cell_hidden_size"])


def test_one_requested_value_leaves_colours_to_another_field():
    frame = points(cell=CELLS, cell_hidden_size=(32, 128), initializer_requested=(1.0,))
    assert channels(frame) == (["cell"], ["cell_hidden_size"], [])


def test_numbers_have_colours_however_many_there_are():
    frame = points(task=("noise", "copy"), cell_hidden_size=range(1, 20), initializer_requested=(1.0,))
    assert channels(frame) == (["cell_hidden_size"], ["task"], [])


def test_named_fields_stay_and_the_others_are_placed():
    frame = points(cell=CELLS, cell_hidden_size=(32, 128), initializer_requested=(0.5, 1.0))
    assert channels(frame, color="cell") == (["cell"], ["cell_hidden_size"], [VALUE])
    assert channels(frame, columns="width") == ([VALUE], ["cell_hidden_size"], ["cell"])
    assert channels(frame, rows="cell.hidden_size") == ([VALUE], ["cell"], ["cell_hidden_size"])
    assert channels(frame, color="cell", rows="spectral_radius,width") == (["cell"], [], [VALUE, "cell_hidden_size"])


def test_dependent_fields_take_no_panels():
    frame = points(task=("noise", "copy"), initializer_requested=(0.5, 1.0))
    frame = frame.assign(task_delay=frame["task"].map({"noise": None, "copy": 10}))
    assert channels(frame) == ([VALUE], ["task", "task_delay"], [])
    assert channels(frame, color="task") == (["task"], [VALUE], [])


@pytest.mark.parametrize("sizes", [(32, 64), (16, 16, 32)])
def test_a_radius_does_not_hide_what_was_swept_with_it(sizes):
    frame = pd.DataFrame({VALUE: np.linspace(0.5, 1.5, len(sizes)), "cell_hidden_size": sizes})
    assert channels(frame.assign(initializer_target="spectral_radius")) == ([VALUE], ["cell_hidden_size"], [])


# ------------------------------------------------------------------ networks from files


def files(drawn=()):
    """Three networks from files at three measured radii, and drawn ones beside them."""
    if not drawn:
        named = {"cell_label": ["a", "b", "c"], "initializer_target": "file", VALUE: [1.0, 2.0, 3.0]}
        return pd.DataFrame({"cell": "from_file", **named, "cell_of": ["gru", "gru", "lstm"]})
    of_files = files().assign(initializer_target="measured_radius", **{VALUE: [0.8, 0.9, 1.1]})
    return pd.concat([of_files, points(cell=("elman",), **{VALUE: drawn}).assign(initializer_target="spectral_radius")])


@pytest.mark.parametrize("name", ["file", "cell_label", "network_file", "cell.label"])
def test_every_name_of_a_file_means_its_place(name):
    frame = files()
    assert channels(frame, color=name) == ([VALUE], [], [])
    assert channels(frame, rows=name, color="cell.of") == (["cell_of"], [], [VALUE])


def test_files_have_no_radius_that_was_requested():
    message = r"color=spectral_radius: must be a swept field: file, cell\.of\."
    with pytest.raises(ConfigurationError, match=message):
        channels(files(), color="spectral_radius")
    with pytest.raises(ConfigurationError, match="where=spectral_radius: must be one of"):
        tables.choose_rows_where(files(), "spectral_radius>1")


def test_every_file_has_a_panel_on_a_board():
    named = {"cell_label": list("abcdef"), "initializer_target": "file", VALUE: np.arange(1.0, 7.0)}
    page = arrange(
        pd.DataFrame({"cell": "from_file", "sequence_length": 8, "networks": 1, **named}), ["networks"], **BOARD
    )
    assert [part.label for part in page.parts] == list("abcdef")
    assert page.places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_files_beside_drawn_networks_have_their_names():
    frame = files(drawn=(0.5, 1.2))
    assert channels(frame) == channels(frame, color="file") == ([VALUE], [], [])
    assert value_names(frame) == {0.5: "0.5", 0.8: "a (0.8)", 0.9: "b (0.9)", 1.1: "c (1.1)", 1.2: "1.2"}


def test_a_radius_of_a_file_and_a_drawn_network_is_no_name():
    frame = files(drawn=(0.8, 1.2))
    assert channels(frame, color="file")[0] == ["cell_label"]
    assert value_names(frame)[0.8] == "0.8"


# ------------------------------------------------------------------ what is drawn


@pytest.mark.slow
def test_cells_and_tasks_are_columns_and_rows_of_one_page():
    study = synthetic.study(**SMALL, radii=(0.9, 1.5), cells=CELLS, tasks=("noise", "adding"))
    figure = draw(study, "products")
    assert len(figure.axes) == 2 * 2 * 3  # norms, tasks, cells
    assert titles(figure)[:3] == ["elman", "gru", "lstm"]
    assert key_of(figure) == ["0.9", "1.5"]
    assert any(text.startswith("adding\n") for text in texts(figure))
    assert figure.get_size_inches()[1] < 10


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("lag_terms", "truncation")]


@pytest.mark.parametrize("name", ["products", "growth", *SLOW])
def test_a_field_in_colour_has_a_line_for_each_value(study, name):
    figure = draw(study, name, color="cell", where="task=noise")
    assert set(CELLS) <= set(texts(figure))
    drawn = {to_rgb(line.get_color()) for axes in figure.axes for line in axes.lines}
    assert {to_rgb(colour) for colour in style.CATEGORIES[:3]} <= drawn


def test_the_length_is_compared_where_it_is_named(study):
    few = {"where": "cell=gru task=noise"}
    assert key_of(draw(study, "products", color="sequence_length", **few)) == ["4", "8"]


def test_heat_map_of_one_length_has_the_field_in_rows():
    study = synthetic.study(**{**SMALL, "lengths": (4,)}, radii=(0.9, 1.5), cells=CELLS)
    figure = draw(study, "growth")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(CELLS)
    assert len(figure.axes) == 3  # a map, the rates, the colour bar


@pytest.mark.slow
def test_a_column_has_its_panels_one_below_the_other(study):
    figure = draw(study, "products", size="column")
    places = {axes.get_subplotspec().colspan.start for axes in figure.axes}
    assert places == {0, 1}  # the two norms


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"color": "cel"}, r"color=cel: must be a swept field: .*cell.*Did you mean 'cell'\?"),
        ({"columns": "seed"}, "columns=seed: must be a swept field: task, sequence_length, cell"),
        ({"rows": "cell,tsk"}, r"rows=tsk: .*Did you mean 'task'\?"),
        ({"color": "cell", "rows": "cell"}, "rows=cell: color= has it, too"),
        ({"names": ["triangle"], "color": "cell"}, "figure=triangle: it shows one run, which where= chooses"),
        ({"names": ["paths"], "color": "cell"}, "figure=paths: its colours are parts of the state"),
        ({"names": ["error_cost"], "color": "cell"}, "figure=error_cost: its colours are schemes: leave out color="),
        ({"names": ["product"]}, r"figure=product: .*Did you mean 'products'\?"),
        ({"where": "cell=gur"}, r"where=cell=gur: no row has gur; stored: elman, gru, lstm.*Did you mean 'gru'\?"),
        ({"where": "cel=gru"}, r"where=cel: .*Did you mean 'cell'\?"),
        ({"where": "spectral_radius>a"}, "'a' must be a number"),
        ({"where": "cell"}, "where=cell: must be FIELD=VALUE"),
        ({"style": "no.mplstyle"}, "style=no.mplstyle: there is no such file"),
    ],
)
def test_what_cannot_be_compared_is_said(study, named, message):
    with pytest.raises(ConfigurationError, match=message):
        figures.draw(study, **named)


def test_figures_that_cannot_place_a_field_are_refused(study):
    drawing = figures.draw(study, names=["growth"], color="spectral_radius")
    assert drawing.refused == {"growth"} and not drawing
    assert (
        drawing.skipped["growth"]
        == "color=spectral_radius: is on an axis of this figure; must be one of task, cell, sequence_length"
    )


def test_schemes_have_the_columns_and_rows_that_are_named():
    points_of = {"task": ["noise"], "cell": ["elman", "gru"], VALUE: [0.9, 1.2], "scheme": ["per_loss", "uoro"]}
    frame = points(**points_of).assign(sequence_length=8, truncation=2, parameter="W", networks=1)
    lone = (frame["cell"] == "gru") & (frame[VALUE] == 1.2) & (frame["scheme"] == "uoro")
    apart, comparison = ["scheme", "truncation", "parameter"], Comparison.of(columns="cell")
    panels = schemes.lay_out(frame[~lone], apart, comparison, kinds=2)
    assert panels.axes.shape == (3, 2)  # a point with one scheme has no panels
    assert panels.page.column_labels == ["elman", "gru"]
    with pytest.raises(ConfigurationError, match="color=cell: the colours of this figure are no swept field"):
        schemes.lay_out(frame, apart, Comparison.of(color="cell"))


def test_figures_of_experiments_take_conditions(study):
    seen = []
    own = Analysis("mine", None, None, lambda study, size: seen.append(set(study.runs["cell"])) or {}, "growth")
    assert analyses.draw_figures(own, study, "page", where="cell=gru") == {} and seen == [{"gru"}]
    with pytest.raises(ConfigurationError, match="where=cel=gru: |where=cel: "):
        analyses.draw_figures(own, study, "page", where="cel=gru")
    picky = own._replace(draw=lambda study, size: study.runs["none"])
    with pytest.raises(LabError, match="where=cell=gru: the figures of mine need other runs, too"):
        analyses.draw_figures(picky, study, "page", where="cell=gru")


def test_too_many_panels_and_colours_say_what_to_do():
    tasks = [f"t{number}" for number in range(13)]
    study = synthetic.study(radii=(0.9,), lengths=(4,), seeds=1, truncations=("full",), tasks=tasks)
    skipped = figures.draw(study, names=["products"]).skipped["products"]
    assert skipped == (
        "13 combinations of task are too many for one figure (at most 12): "
        "draw fewer of them with where=, or name a field in color="
    )
    skipped = figures.draw(study, names=["products"], color="task").skipped["products"]
    assert skipped.startswith("13 colours for task are too many (at most 8)")
    assert key_of(draw(study, "products", color="task", where="task=t1,t2")) == ["t1", "t2"]


# ------------------------------------------------------------------ texts, styles and files


def test_names_are_no_mathematics_and_every_letter_has_a_glyph(recwarn):
    study = synthetic.study(**{**SMALL, "lengths": (4,)}, radii=(0.9,), tasks=("a$x$", "日\x1b[31m"))
    figure = draw(study, "products")
    figure.draw_without_rendering()
    shown = " ".join(texts(figure))
    assert r"a\$x\$" in shown and r"\u65e5\x1b[31m" in shown
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_labels_of_points_are_no_mathematics():
    frame = points(cell=("a$x$", "b\x1b"), **{VALUE: (1.0,)})
    assert tables.label_points(frame, ["cell"]).tolist() == [r"cell=a\$x\$", r"cell=b\x1b"]


def test_a_style_file_and_the_settings_of_the_caller_are_used(study, tmp_path):
    file = tmp_path / "mine.mplstyle"
    file.write_text("axes.facecolor: yellow\n", encoding="utf-8")
    fields = {"where": "cell=gru task=noise"}
    assert draw(study, "products", style=str(file), **fields).axes[0].get_facecolor()[:3] == to_rgb("yellow")
    with mpl.rc_context({"axes.facecolor": "red"}):
        assert draw(study, "products", style="current", **fields).axes[0].get_facecolor()[:3] == to_rgb("red")


def test_a_figure_is_saved_under_the_name_that_is_given(tmp_path):
    figure = mpl.figure.Figure()
    names = {"mine.pdf": "mine.pdf", "mine.SVG": "mine.svg", "rho_0.9": "rho_0.9.png", "plain": "plain.png"}
    for given, written in names.items():
        assert figures.save(figure, tmp_path / given).name == written
        assert (tmp_path / written).stat().st_size > 500
    assert figures.save(figure, tmp_path / "mine.pdf", "pdf").name == "mine.pdf"
    for given, format in {"mine.jpg": None, "mine.pdf": "png"}.items():
        with pytest.raises(ConfigurationError, match="format="):
            figures.save(figure, tmp_path / given, format)


def test_conditions_choose_rows():
    frame = points(cell=CELLS, cell_hidden_size=(32, 128), initializer_requested=(0.1 + 0.2, 1.0))
    chosen = tables.choose_rows_where(frame, "cell=gru,lstm width>32 spectral_radius=0.3")
    assert chosen[["cell", "cell_hidden_size"]].to_numpy().tolist() == [["gru", 128], ["lstm", 128]]
    assert len(tables.choose_rows_where(frame, "cell!=gru spectral_radius<=0.5")) == 4
    missing = frame.assign(horizon=[None, 3.0] * 6)
    assert len(tables.choose_rows_where(missing, "horizon=none")) == 6
    assert len(tables.choose_rows_where(missing, "horizon>=3")) == 6


# ------------------------------------------------------------------ the command


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_named_figures_are_drawn_and_studies_listed(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    for words in (["products"], ["figure=products"]):
        assert main(["figures", "study=first", *words, "color=spectral_radius", "format=svg"]) == 0
        assert capsys.readouterr().out == "figures: results/first/figures (1: products)\n"
    assert main(["figures", "study=first", "triangle"]) == 2
    assert "figure=triangle is not drawn: no run has products" in capsys.readouterr().err
    assert main(["figures", "study=first", "color=sed"]) == 2
    assert "color=sed: must be a swept field: spectral_radius" in capsys.readouterr().err
    assert main(["figures", "study="]) == 0
    assert capsys.readouterr().out == "first\n"


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_figures_of_some_runs_replace_none_of_the_study(studied, tmp_path, monkeypatch, capsys):
    shutil.copytree(studied / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert main(["figures", "study=first", "products"]) == 0
    whole = (tmp_path / "results/first/figures/products.png").read_bytes()
    capsys.readouterr()
    for where in ("spectral_radius>1", "spectral_radius<1", "  spectral_radius<1 "):
        assert main(["figures", "study=first", "products", f"where={where}"]) == 0
    folders = sorted((tmp_path / "results/first/figures").glob("where_spectral_radius_1_*/products.png"))
    assert [str(file.parent.relative_to(tmp_path)) for file in folders] == sorted(
        {line.split()[1] for line in capsys.readouterr().out.splitlines()}
    )
    assert len(folders) == 2 and len({whole, *(file.read_bytes() for file in folders)}) == 3
    assert (tmp_path / "results/first/figures/products.png").read_bytes() == whole


@pytest.mark.usefixtures("folder")
def test_tables_print_and_write_what_is_chosen(studied, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    chosen = ["table=growth", "columns=spectral_radius,log_growth", "where=spectral_radius>1"]
    for ending, text in {
        "csv": "initializer_requested,log_growth,",
        "md": "| spectral\\_radius |",
        "tex": "booktabs",
    }.items():
        file = tmp_path / f"growth.{ending}"
        assert main(["tables", "study=first", *chosen, f"to={file}"]) == 0
        assert text in file.read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith("growth\n")
    assert main(["tables", "study=first", "runs", "columns=seed,status", "where=seed=0,1 truncation=full"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[3:]] == [["0"], ["1"]] * 2


@pytest.mark.usefixtures("folder")
def test_chosen_columns_keep_the_caption(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first", "growth", "columns=T,rho,asymptotic_rate", "where=ρ>1"]) == 0
    text = capsys.readouterr().out
    assert "networks 3" in text and "3 networks: no interval over networks" in text
    assert "spectral_radius" in text and "value requested" not in text and "by network" not in text


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs", "where=status=failed"], "runs: no row fulfils where=status=failed\n"),
        (["growth", "where=growth_rate>5"], "growth: no row fulfils where=growth_rate>5\n"),
        (["exponents"], "exponents is empty: it needs Lyapunov exponents (measure=spectra)\n"),
        (["spectra"], "spectra is empty: no run of the study has rows there; docs/tables.md says what measures it\n"),
    ],
)
def test_a_choice_without_rows_is_no_error(studied, monkeypatch, capsys, words, said):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first", *words]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.usefixtures("folder")
def test_stored_tables_begin_with_what_is_read(studied, tmp_path, monkeypatch):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first", "runs", f"to={tmp_path / 'runs.csv'}"]) == 0
    names = (tmp_path / "runs.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert names[0] == "status" and names[-2:] == ["run_id", "network_id"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tables", "first"], "study is missing: say study=first"),
        (["tables", "growth"], "study is missing: say study=NAME"),
        (["figures", "products", "first"], "study is missing: say study=first"),
        (["export", "first"], "first: a study is named by study=first"),
        (["claims", "first"], "first: a study is named by study=first"),
    ],
)
def test_a_study_without_its_key_is_told_how_to_write_it(capsys, words, message):
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["growth", "columns=sed"], "columns=sed: must be one of task"),
        pytest.param(["table=runs", "columns=sed"], "Did you mean 'seed'?", marks=pytest.mark.slow),
        (["table=runs", "where=status=faild"], "where=status=faild: no row has faild; stored: done"),
        pytest.param(["growth", "columns=asymtotic_rate"], "Did you mean 'growth_rate'?", marks=pytest.mark.slow),
        (["growth", "to=growth.pdf"], "to=growth.pdf: must end in .csv, .md or .tex"),
        (["columns=cell"], "table is missing: columns=, where= and to= are of one table"),
        pytest.param(["growth", "headline"], "growth headline: give one table", marks=pytest.mark.slow),
    ],
)
def test_a_choice_that_there_is_not_is_refused(studied, monkeypatch, capsys, words, message):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first", *words]) == 2
    assert message in capsys.readouterr().err


def test_latex_for_a_column_folds_constants_and_hashes():
    frame = pd.DataFrame({"cell": ["gru", "gru"], "cell_content": ["a" * 64] * 2, "T": [1, 2], "networks": [3, 3]})
    text = tables.latex(frame.assign(growth_rate=[-0.5, float("-inf")]))
    assert "% cell gru, networks 3" in text and "aaaa" not in text
    assert r"$-0.5$" in text and r"$-\infty$" in text and r"\toprule" in text
    versions = frame.assign(cell_content=["a" * 64, "b" * 64], T=1, growth_rate=[1.0, 2.0])
    assert "aaaaaaaa &" in tables.latex(versions)
    wide = frame.assign(**{f"column_{number:02}": [0.123, 4.56] for number in range(20)})
    assert tables.latex(wide).count(r"\begin{tabular}") > 2
