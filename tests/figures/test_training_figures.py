"""Figures of networks that a sweep has trained."""

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab import figures, tables
from bpttlab.errors import ConfigurationError
from bpttlab.figures.style import style_context
from bpttlab.figures.success import plot_success, plot_success_curves
from bpttlab.figures.trained_eigenvalues import plot_trained_eigenvalues
from bpttlab.figures.training import plot_training
from bpttlab.store.columns import UPDATE
from bpttlab.tables.training_curves import choose_recorded, is_logarithmic
from tests.support.monitoring import load, make_monitor, train, trained_runs, training_runs

NAMES = ("training", "lag_profile", "trained_eigenvalues", "success", "success_curves")
TRAINED = {
    "task": "delayed_recall",
    "sequence_length": 6,
    "cell.hidden_size": 4,
    "batch_size": 2,
    "engine": "numpy",
    "training": "standard",
    "training.updates": 6,
    "training.check_sequences": 10,
    "training.measure_at": "[0,2,6]",
    "measure.exponents": 1,
    "measure.eigenvalue_steps": 1,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taught")
    points = lab.grid({"training.clip_norm": [None, 0.1], "seed": [0, 1]}, **TRAINED)
    lab.sweep(points, study="t", results=folder, workers=0, progress=False)
    return lab.load("t", results=folder)


@pytest.fixture(scope="module")
def drawing(study):
    return figures.draw(study, names=NAMES)


def curves_of(*parts):
    """Curves of made-up trainings, of which the loss of network n is n + 1 at all recorded updates."""
    runs = trained_runs(*parts).assign(lyapunov_exponent=-0.1)
    last = runs[runs["update"] > 0]
    rows = [
        {"run_id": run["run_id"], "update": update, "loss": float(run["seed"] + 1), "log_gradient_norm": -1.0}
        for _, run in last.iterrows()
        for update in range(1, int(run["trained_updates"]) + 1)
    ]
    return tables.training_curves(pd.DataFrame(rows), runs)


def medians(curves, quantity="loss"):
    found = curves[curves["network_id"].isna() & (curves["quantity"] == quantity)]
    return found.set_index("update")[["median", "networks"]]


def labels_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_missing_eigenvalues_name_the_field_that_brings_them(tmp_path):
    points = lab.grid(**{name: value for name, value in TRAINED.items() if not name.startswith("measure")})
    lab.sweep(points, study="t", results=tmp_path, workers=0, progress=False)
    drawing = figures.draw(lab.load("t", results=tmp_path), names=["trained_eigenvalues", "eigenvalues"])
    said = "the study has no eigenvalues (measure.eigenvalue_steps=1 brings them): no finished run measured them"
    assert set(drawing.skipped.values()) == {said}
    assert len(drawing.skipped) == 2


# ------------------------------------------------------------------ curves of a training


def test_curves_have_every_recorded_value(study):
    curves = tables.training_curves(study.training, study.runs)
    of_networks = curves[curves["network_id"].notna()]
    assert set(of_networks["quantity"]) == {"loss", "log_gradient_norm", "lyapunov_exponent", "vanishing_horizon"}
    losses = of_networks[of_networks["quantity"] == "loss"]
    assert sorted(losses["median"]) == sorted(study.training["loss"])
    exponents = of_networks[of_networks["quantity"] == "lyapunov_exponent"]
    assert sorted(exponents["median"]) == sorted(study.runs["lyapunov_exponent"])


def test_a_solved_network_keeps_its_last_values_in_the_median():
    found = medians(curves_of([3], [6, 6]))
    assert found["median"].tolist() == [2.0] * 6
    assert found["networks"].tolist() == [3] * 6


def test_a_diverged_network_takes_no_part_after_its_end():
    found = medians(curves_of([], [6, 6], [3]))
    assert found["networks"].tolist() == [3, 3, 3, 2, 2, 2]
    assert found["median"].tolist() == [2.0] * 3 + [1.5] * 3


def test_the_end_of_a_network_is_marked():
    curves = curves_of([3], [6], [2])
    ends = curves[curves["status"].notna() & (curves["quantity"] == "loss")]
    assert dict(zip(ends["network_id"], ends["status"], strict=True)) == {
        "n0": "solved",
        "n1": "done",
        "n2": "diverged",
    }


@pytest.mark.parametrize("is_log", [True, False])
def test_few_of_many_updates_are_chosen_with_both_ends(is_log):
    chosen = choose_recorded(pd.Series(range(1, 5001)), is_log, 50)
    assert len(chosen) <= 50
    assert (chosen[0], chosen[-1]) == (1, 5000)


def test_updates_near_the_beginning_have_a_logarithmic_axis():
    assert is_logarithmic(pd.Series([0, 1, 2, 5, 10, 20, 50, 100, 200, 500]))
    assert not is_logarithmic(pd.Series(range(0, 501, 50)))


# ------------------------------------------------------------------ figures


def test_a_study_with_training_has_all_of_them(drawing):
    assert list(drawing) == list(NAMES)


def test_panels_of_training_are_quantities_for_each_choice(study):
    axes = figures.draw(study, names=["training"], columns="training.clip_norm")["training"].axes
    assert len(axes) == 4 * 2
    assert {one.get_xlim() for one in axes} == {axes[0].get_xlim()}
    assert [one.get_title() for one in axes if one.get_title()] == ["clip norm 0.1", "clip norm none"]


def test_a_solved_network_has_a_mark_in_the_figure():
    with style_context():
        figure = plot_training(curves_of([3], [6, 6]))
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in marks] == [[3.0]]


def test_a_loss_at_the_end_of_the_floats_is_drawn(tmp_path):
    curves = curves_of([], [6, 6]).assign(median=lambda rows: rows["median"].where(rows["update"] < 6, 1e305))
    with style_context():
        figure = plot_training(curves)
    figures.save(figure, tmp_path / "large.png")
    assert figure.axes[0].get_ylim()[1] < 1e300


def test_measurements_after_the_solution_are_at_its_update():
    curves = curves_of([3], [1000])
    found = curves[curves["quantity"] == "lyapunov_exponent"]
    own = found[found["network_id"].notna()].groupby("network_id")[UPDATE].agg(list)
    assert own.to_dict() == {"n0": [0, 3], "n1": [0, 1000]}
    assert medians(curves, "lyapunov_exponent").index.tolist() == [0, 1000]
    assert medians(curves, "lyapunov_exponent")["networks"].tolist() == [2, 2]


def test_medians_of_two_measured_updates_are_not_joined():
    with style_context():
        figure = plot_training(curves_of([3], [6]))
    (exponents,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("exponent")]
    marks = [line for line in exponents.lines if line.get_marker() == "s"]
    assert [(list(line.get_xdata()), line.get_linestyle()) for line in marks] == [([0.0, 1000.0], "None")]
    assert "median and quartiles at a measured update" in labels_of(figure)


@pytest.mark.parametrize("others", [[4, 6], []])
def test_a_diverged_network_does_not_set_the_limits(others, tmp_path):
    curves = curves_of([], others, [6, 6])
    of_diverged = curves["network_id"].isin([f"n{len(others)}"]) & (curves["update"] > 2)
    curves["median"] = curves["median"].mask(of_diverged & (curves["quantity"] == "loss"), 1e305)
    curves["median"] = curves["median"].mask(of_diverged & (curves["quantity"] == "log_gradient_norm"), 700.0)
    with style_context():
        figure = plot_training(curves)
    figures.save(figure, tmp_path / "diverged.png")
    loss, gradient = figure.axes[:2]
    assert 4.0 < loss.get_ylim()[1] < 1e3 and 0.1 < loss.get_ylim()[0] < 1.0
    assert -1.0 < gradient.get_ylim()[1] < 10.0
    for axes, inside in ((loss, len(others) + 2.0), (gradient, -1.0)):
        crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
        assert [(list(line.get_xdata()), list(line.get_ydata())) for line in crosses] == [([6.0], [inside]), ([6], [1])]
    assert "median of networks that have not diverged" in labels_of(figure)


def test_limits_are_as_they_were_where_nothing_diverges_far():
    with style_context():
        figure = plot_training(curves_of([], [6, 6], [3]))
    assert figure.axes[0].get_ylim()[1] < 4.0


def test_the_lag_profile_has_the_medians_of_its_table(study, drawing):
    curves = tables.lag_curves(study.lag_terms, study.runs)
    wanted = curves[(curves["parameter"] == "W") & (curves["quantity"] == "log_norm_per_loss")]
    found = np.concatenate(
        [np.ma.compressed(axes.collections[0].get_array()) for axes in drawing["lag_profile"].axes[:2]]
    )
    finite = wanted["median"][np.isfinite(wanted["median"])]
    np.testing.assert_allclose(np.sort(found), np.sort(finite))
    assert [tick.get_text() for tick in drawing["lag_profile"].axes[0].get_xticklabels()] == ["0", "2", "6"]


def test_without_lag_terms_the_lag_profile_is_of_products(tmp_path):
    train(make_monitor(tmp_path, measures=["jacobian_products"]), updates=2)
    study = load(tmp_path)
    drawing = figures.draw(study, names=["lag_profile"])
    (axes, bar) = drawing["lag_profile"].axes
    curves = tables.growth_curves(study.jacobians, study.runs)
    wanted = curves.loc[curves["quantity"] == "spectral", "median"]
    np.testing.assert_allclose(np.sort(axes.collections[0].get_array().ravel()), np.sort(wanted))
    assert "Vert P" in bar.get_ylabel()


def test_eigenvalues_before_and_after_are_those_of_one_network(study, drawing):
    points = tables.eigenvalue_points(study.eigenvalues, study.runs)
    points = points[(points["matrix"] == "W") & points["training_clip_norm"].notna()]
    before, after = drawing["trained_eigenvalues"].axes[0].lines
    for line, update in ((before, 0), (after, 6)):
        assert sorted(line.get_xdata()) == sorted(points.loc[points["update"] == update, "real"])


def test_the_legend_of_eigenvalues_says_updates_and_seed(study, drawing):
    assert "$W$ after training (update 6)" in labels_of(drawing["trained_eigenvalues"])
    assert "network of seed 0" in labels_of(drawing["trained_eigenvalues"])
    points = tables.eigenvalue_points(study.eigenvalues, study.runs)
    clipped = points["training_clip_norm"].notna()
    with style_context():
        figure = plot_trained_eigenvalues(points.assign(trained_updates=points["update"].mask(clipped, 4)))
    assert labels_of(figure)[:2] == ["$W$ before training (update 0)", "$W$ after training (updates 4 to 6)"]


def test_one_curve_has_no_legend_of_colours():
    runs = trained_runs([5] * 6)
    with style_context():
        drawn = [plot_success(tables.success(runs)), plot_success_curves(tables.success_curves(runs))]
    assert [len(figure.legends) for figure in [*drawn, plot_training(curves_of([3], [6]))]] == [1, 1, 1]


def test_success_has_a_place_for_each_length():
    runs = pd.concat([trained_runs([5] * 6), trained_runs([5] * 3, [9] * 3).assign(sequence_length=40)])
    runs["network_id"] += runs["sequence_length"].astype(str)
    with style_context():
        (axes,) = plot_success(tables.success(runs)).axes
    assert next(list(line.get_ydata()) for line in axes.lines if len(line.get_ydata())) == [1.0, 0.5]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["20", "40"]


def test_success_curves_are_steps_with_marks_of_censoring():
    with style_context():
        (axes,) = plot_success_curves(tables.success_curves(trained_runs([100, 200], [150, 300]))).axes
    steps, marks = axes.lines
    assert list(steps.get_ydata()) == pytest.approx([0, 0.25, 0.25, 0.625, 0.625])
    assert list(marks.get_xdata()) == [150, 300]


def test_a_study_without_training_has_the_reason():
    drawing = figures.draw(type("Study", (), {"runs": training_runs()})(), names=["training", "success"])
    assert set(drawing.skipped) == {"training", "success"}
    assert "no networks that a sweep trained" in drawing.skipped["success"]


def test_colours_that_a_figure_has_itself_are_refused(study):
    with pytest.raises(ConfigurationError, match="before and after training"):
        figures.draw(study, names=["trained_eigenvalues"], color="training.clip_norm")
