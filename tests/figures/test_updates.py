"""Figures of networks in training."""

import pandas as pd
import pytest

from bpttlab import figures
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.figures.style import style_context
from bpttlab.figures.updates import plot_paired, plot_updates
from bpttlab.tables import paired, training_pairs, updates
from tests.support.monitoring import load, make_monitor, train, training_runs


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for label in ("one", "two"):
        train(make_monitor(folder, label=label, measures=["jacobian_products", "lag_terms", "lyapunov"]), updates=2)
    return load(folder)


@pytest.fixture(scope="module")
def drawing(study):
    return figures.draw(study, names=["products", "updates", "paired"])


def labels_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_figures_of_a_study_show_its_updates(drawing):
    assert not drawing.skipped
    assert labels_of(drawing["products"])[:3] == ["0", "1", "2"]
    assert labels_of(drawing["updates"])[:2] == labels_of(drawing["paired"])[:2] == ["one", "two"]


@pytest.mark.slow
def test_other_figures_show_updates_too(study):
    assert not figures.draw(study, names=["lag_terms", "growth", "exponents", "spectrum", "truncation"]).skipped


def test_updates_has_the_values_of_its_table(study, drawing):
    table = updates(study.runs)
    rates = table.loc[table["cell_label"] == "one", "growth_rate"]
    assert any(list(line.get_ydata()) == rates.tolist() for line in drawing["updates"].axes[1].lines)


def test_paired_has_a_line_for_each_network():
    with style_context():
        figure = plot_paired(training_pairs(training_runs()))
    (rate,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("asymptotic")]
    assert len([line for line in rate.lines if list(line.get_xdata()) == [-0.22, 0.22]]) == 7
    median = paired(training_runs()).set_index("quantity").loc["growth_rate", ["before", "after"]]
    assert list(rate.lines[-1].get_ydata()) == pytest.approx(median.tolist())


@pytest.mark.parametrize(("censored", "marks"), [(6, 1), pytest.param(2, 0, marks=pytest.mark.slow)])
def test_a_horizon_of_at_least_t_is_an_open_mark(censored, marks):
    runs = training_runs().assign(horizon_censored=False)
    runs.loc[(runs["update"] == 100) & (runs["seed"] < censored), "horizon_censored"] = True
    with style_context():
        of_updates, of_pairs = plot_updates(updates(runs)), plot_paired(training_pairs(runs))
    assert open_marks(of_updates) == marks and open_marks(of_pairs) == censored
    assert "horizon of T or more" in labels_of(of_pairs)
    assert ("horizon of T or more" in labels_of(of_updates)) == bool(marks)


def open_marks(figure):
    (horizon,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("horizon")]
    return sum(len(line.get_xdata()) for line in horizon.lines if line.get_markerfacecolor() == "white")


def test_many_updates_are_a_bar_of_some_of_them():
    with style_context():
        figure = plot_updates(updates(training_runs(updates=range(0, 5000, 50))))
    assert len(figure.axes) == 3


def test_what_cannot_be_drawn_has_its_reason(study):
    with pytest.raises(ConfigurationError, match="figure=paired: its panels are quantities"):
        figures.draw(study, names=["paired"], color="update")
    with pytest.raises(LabError, match="no network of the study was measured before and after"):
        plot_paired(training_pairs(training_runs(updates=(3,))))
    many = [training_runs(networks=1).assign(cell_label=f"n{place}", network_order=place) for place in range(9)]
    with style_context(), pytest.raises(LabError, match="9 networks are too many colours"):
        plot_updates(updates(pd.concat(many, ignore_index=True)))


@pytest.mark.parametrize("extreme", [1e305, pytest.param(1e-305, marks=pytest.mark.slow)])
def test_a_loss_at_the_end_of_the_floats_is_drawn(extreme):
    """Of a network that diverges; Matplotlib ends in an overflow if nothing limits its axis."""
    runs = training_runs()
    runs["training_loss"] = runs["training_loss"].where(runs["update"] < 100, extreme)
    with style_context():
        figure = plot_updates(updates(runs))
        figure.canvas.draw()
    (low, high) = next(axes.get_ylim() for axes in figure.axes if axes.get_yscale() == "log")
    assert 0.99e-200 <= low < high <= 1.01e200


def test_a_network_has_one_colour_in_both_figures():
    kinds = [training_runs().assign(sequence_length=length, network_id=f"n{length}") for length in (30, 10, 20)]
    runs = pd.concat(kinds, ignore_index=True).sample(frac=1.0, random_state=0)
    runs["network_id"] += runs["seed"].astype(str)
    with style_context():
        figures_of = plot_updates(updates(runs)), plot_paired(training_pairs(runs))
    colours = [
        {text.get_text(): line.get_color() for text, line in zip(legend.get_texts(), legend.get_lines(), strict=False)}
        for figure in figures_of
        for legend in figure.legends
    ]
    names = [f"$T$ = {length}" for length in (10, 20, 30)]
    assert list(colours[0])[:3] == list(colours[1])[:3] == names
    assert [colours[0][name] for name in names] == [colours[1][name] for name in names]


def test_legends_have_fields_in_words():
    kinds = [training_runs().assign(training_clip_norm=clip, training_scheme=scheme, network_id=f"n{clip}{scheme}")
             for clip, scheme in ((1.0, "per_loss"), (None, "full"))]  # fmt: skip
    runs = pd.concat(kinds, ignore_index=True).drop(columns=["cell_label", "network_order"])
    runs["network_id"] += runs["seed"].astype(str)
    with style_context():
        figures_of = plot_updates(updates(runs)), plot_paired(training_pairs(runs))
    for figure in figures_of:
        assert set(labels_of(figure)[:2]) == {"clip norm 1, scheme per loss", "clip norm none, scheme full"}


def test_networks_of_two_requested_radii_are_two_colours():
    kinds = [training_runs().assign(initializer="gaussian_radius", initializer_spectral_radius=radius,
                                    network_id=f"n{radius}") for radius in (0.9, 1.2)]  # fmt: skip
    runs = pd.concat(kinds, ignore_index=True).drop(columns=["cell_label", "network_order"])
    runs["network_id"] += runs["seed"].astype(str)
    with style_context():
        figure = plot_updates(updates(runs))
    assert labels_of(figure)[:2] == [r"$\rho$ = 0.9", r"$\rho$ = 1.2"]
