"""What a notebook shows: results in a few lines, figures by themselves, and seeds in place of generators."""

import inspect

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError, StoreError
from bpttlab.figures.growth import plot_growth
from bpttlab.gradients.forward_mode.uoro import uoro_variance
from bpttlab.numerics.short_repr import show_value
from bpttlab.truncation.averaged import Random

SMALL = {"cell.hidden_size": 4, "sequence_length": 8, "engine": "numpy"}

FEW_LINES = 800
"""Characters: seven lines of a screen."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A small study that was swept from Python, and the summary of its sweep."""
    folder = tmp_path_factory.mktemp("notebook")
    fields = {**SMALL, "batch_size": 2, "spectral_radius": [0.5, 1.5]}
    configurations = lab.grid(fields, seed=range(2), truncation=3)
    ended = lab.sweep(configurations, study="first", results=folder, workers=0, progress=False)
    return lab.load("first", folder), ended


@pytest.fixture(scope="module")
def shown(loaded):
    """Everything that a notebook's last line may be, by name."""
    study, ended = loaded
    cell = lab.Elman(2, 64, 1)
    task = lab.tasks.Adding(sequence_length=100)
    batch = task.sample(0, 16)
    trace = lab.forward(cell, cell.init(0), batch.x)
    loss = task.loss(trace.y_hat, batch)
    checkpointed = lab.forward(lab.Elman(2, 64, 1), trace.params, np.tile(batch.x, (40, 1, 1)), memory_limit=0.1)
    return {
        "trace": trace,
        "checkpointed": checkpointed,
        "batch": batch,
        "loss": loss,
        "local": trace.local,
        "engine": trace.engine,
        "plan": lab.PerLoss(20).plan(100),
        "records": lab.run(SMALL),
        "summary": ended,
        "sweep plan": ended.plan,
        "study": study,
        "summaries": lab.tables.summaries(study),
        "drawing": lab.figures.draw(study, names=["growth", "truncation"]),
    }


@pytest.mark.slow
def test_whatever_there_is_to_show_takes_a_few_lines(shown):
    long = {name: len(repr(one)) for name, one in shown.items() if len(repr(one)) > FEW_LINES}
    assert not long
    assert isinstance(shown["checkpointed"], lab.CheckpointedTrace)


def test_an_array_is_shown_by_its_type_and_shape(shown):
    assert repr(shown["loss"]).endswith("gradient=float64 (100, 16, 1))")
    assert "x=float64 (100, 16, 2)" in repr(shown["trace"])
    assert "W: float64 (64, 64)" in repr(shown["trace"])


def test_many_elements_are_counted():
    assert show_value(dict.fromkeys("abcdefghij", 0)).endswith("h: 0, … 2 more}")
    assert show_value(list(range(9))).endswith("7, … 1 more]")
    assert len(show_value("x" * 10_000)) < 200


def test_a_figure_shows_itself(loaded):
    png, size = plot_growth(lab.tables.growth(loaded[0].runs))._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert size["width"] == pytest.approx(700.0)


def test_all_figures_of_a_study_show_themselves(shown):
    page = shown["drawing"]._repr_html_()
    assert page.count('<img style="max-width:100%; width:700px" src="data:image/png;base64,') == len(shown["drawing"])
    assert "<p>growth</p>" in page


FRAMES = sorted(
    name
    for name in lab.tables.__all__
    if inspect.isfunction(function := getattr(lab.tables, name))
    and str(next(iter(inspect.signature(function).parameters.values())).annotation) == "pd.DataFrame"
)


@pytest.mark.parametrize("name", FRAMES)
def test_a_table_function_says_which_frame_it_wants(loaded, name):
    function = getattr(lab.tables, name)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    others = [[] for parameter in parameters if parameter.default is parameter.empty]
    with pytest.raises(ConfigurationError, match=f"^tables.{name}: .* is a study, and must be a frame: write tables."):
        function(loaded[0], *others)


def test_the_frame_is_named_as_it_is_written(loaded):
    with pytest.raises(ConfigurationError, match=r"write tables.growth\(study.runs\)$"):
        lab.tables.growth(loaded[0])
    with pytest.raises(ConfigurationError, match=r"truncations is 'first', .*write tables.costs\(study.truncations\)"):
        lab.tables.costs("first")
    with pytest.raises(ConfigurationError, match=r"write tables.costs\(study.truncations, study.runs\)$"):
        lab.tables.costs(loaded[0].truncations, runs=loaded[0])


@pytest.mark.parametrize("ask", [lambda study: study["runs"], lambda study: "seed" in study, list, plot_growth])
def test_a_study_in_place_of_a_frame_names_its_tables(loaded, ask):
    with pytest.raises(StoreError, match=r"study 'first' is not a frame: take one of its tables, study.runs, "):
        ask(loaded[0])


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: lab.Elman(2, 4, 1).init(rng)["W"],
        lambda rng: lab.tasks.Adding(8).sample(rng, 2).x,
        lambda rng: lab.Orthogonal().sample(rng, 4),
        lambda rng: Random(4).draw(8, rng).carry,
    ],
    ids=["init", "task", "initializer", "scheme"],
)
def test_a_seed_is_a_generator_of_that_seed(draw):
    drawn = draw(np.random.default_rng(3))
    assert (draw(3) == drawn).all()
    assert (draw(np.int64(3)) == drawn).all()


def test_so_it_is_for_gradients_that_are_drawn(shown):
    trace, errors, rng = shown["trace"].prefix(8), shown["loss"].gradient[:8], np.random.default_rng
    assert (lab.uoro(trace, errors, 3)["W"] == lab.uoro(trace, errors, rng(3))["W"]).all()
    assert uoro_variance(trace, errors, 3, draws=4) == uoro_variance(trace, errors, rng(3), draws=4)
    bias = [lab.truncation_bias(trace, errors, Random(4), rng=one) for one in (3, rng(3))]
    assert bias[0].equals(bias[1])


@pytest.mark.parametrize("rng", ["0", -1, True, None, 0.5])
def test_what_is_neither_generator_nor_seed(rng):
    with pytest.raises(ConfigurationError, match="must be a generator, such as .*, or a seed, an integer >= 0"):
        lab.tasks.Adding(8).sample(rng, 2)
