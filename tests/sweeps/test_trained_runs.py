"""Training in sweeps: one run for each measured update, one training for all of them, and nothing without training."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.figures.comparison import display_name
from bpttlab.store.columns import TRAINED
from bpttlab.sweeps import trained_runs
from bpttlab.sweeps.line_advice import with_advice
from bpttlab.sweeps.run import build_network

QUICK = {
    "task": "adding",
    "sequence_length": 8,
    "batch_size": 4,
    "cell.hidden_size": 5,
    "measure": "minimal",
    "engine": "numpy",
}
TRAINED_RUN = {**QUICK, "training": "standard", "training.updates": 12, "training.check_sequences": 20}


def sweep(tmp_path, workers=0, **fields):
    axes = {name: values for name, values in fields.items() if isinstance(values, list)}
    fixed = {name: value for name, value in fields.items() if name not in axes}
    configurations = lab.grid(axes, **{**TRAINED_RUN, **fixed})
    return lab.sweep(configurations, study="t", results=tmp_path, workers=workers, progress=False)


def load(tmp_path):
    return lab.load("t", results=tmp_path)


# ------------------------------------------------------------------ without training nothing changes


@pytest.mark.parametrize(
    ("plain", "ids"),
    [
        ({}, ("5c15da20cf91dfff63f9d0dca9a0b45b", "9d429426fc27413e4bffaaa156777007",
              "050901de4621c292bac9259bb2a7e88d", "56ad05ad1355de7635e7b9e4ab35ea6a")),
        ({"cell": "gru", "task": "adding", "truncation": 5, "seed": 3},
         ("6c12dcd0db4d5f5042a04e7f02b319dd", "61e728203f11a6017ab4b36a71b86f5d",
          "4f03b597048d96b082b5e4442c10984b", "4f03b597048d96b082b5e4442c10984b")),
    ],
)  # fmt: skip
def test_runs_without_training_keep_their_ids(plain, ids):
    for configuration in (plain, {**plain, "training": "none"}):
        found = lab.Configuration.parse(configuration)
        assert (*found.ids, found.pass_key) == ids
        assert not {"training", "optimizer", "update"} & set(found.plain)


def test_runs_without_training_have_no_new_columns(tmp_path):
    lab.sweep([QUICK], study="t", results=tmp_path, workers=0, progress=False)
    study = load(tmp_path)
    new = {column.name for column in TRAINED} | {"training", "optimizer", "update"}
    assert not new & set(study.runs.columns)
    assert not {"training", "training_gradients"} & set(study.tables)


# ------------------------------------------------------------------ identity


def test_equal_settings_are_one_run():
    found = [
        lab.Configuration.parse({**TRAINED_RUN, **more}).run_id
        for more in (
            {},
            {"training.learning_rate": 1e-3},
            {"optimizer": "adam"},
            {"update": 12},
            {"training.measure_at": "ends"},
        )
    ]
    assert len(set(found)) == 1


def test_what_training_depends_on_is_another_network():
    first = lab.Configuration.parse(TRAINED_RUN)
    assert lab.Configuration.parse({**TRAINED_RUN, "update": 3}).network_id == first.network_id
    assert lab.Configuration.parse({**TRAINED_RUN, "measure": "standard"}).network_id == first.network_id
    others = [{"truncation": 3}, {"optimizer": "sgd"}, {"training.clip_norm": 1.0}, {"seed": 1}, {"batch_size": 5}]
    ids = {lab.Configuration.parse({**TRAINED_RUN, **other}).network_id for other in others}
    assert len(ids | {first.network_id}) == len(others) + 1


def test_a_stored_configuration_is_read_again():
    found = lab.Configuration.parse({**TRAINED_RUN, "update": 5, "optimizer": "rmsprop", "truncation": 3})
    assert lab.Configuration.parse(found.plain).run_id == found.run_id


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("log", [0, 1, 2, 5, 10, 12]),
        ("ends", [0, 12]),
        ("every:5", [0, 5, 10, 12]),
        ("[3,7]", [3, 7, 12]),
        ([0, 12], [0, 12]),
        (5, [5, 12]),
    ],
)
def test_measured_updates(stated, expected):
    found = lab.Configuration.parse({**TRAINED_RUN, "training.measure_at": stated})
    assert [run.measured_update for run in found.at_measured_updates()] == expected
    assert len({run.bundle_key for run in found.at_measured_updates()}) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"training": "none", "training.updates": 3}, "training.updates: nothing is trained; add training=standard"),
        ({"training": "none", "optimizer": "sgd"}, "optimizer=sgd: nothing is trained; add training=standard"),
        ({"training": "none", "penalty": "omega"}, "penalty=omega: nothing is trained; add training=standard"),
        ({"penalty": "omega", "cell": "gru"}, "penalty=omega"),
        ({"penalty.x": 1}, "penalty.x of 'none': there is no such field"),
        ({"training": "none", "update": 3}, "update=3: nothing is trained"),
        ({"training": "standart"}, "training='standart': must be one of none, standard. Did you mean 'standard'"),
        ({"update": 13}, "update=13: must be an integer from 0 to 12"),
        ({"training.measure_at": "[13]"}, "training.measure_at=[13]: must be at most training.updates=12"),
        ({"training.measure_at": "often"}, "training.measure_at='often': must be log, ends, every:N or a list"),
        ({"training.learning_rate": 0}, "training.learning_rate=0"),
        ({"training.schedule": "cosine", "training.schedule_updates": 13}, "takes 13 updates"),
        ({"training.data": "epochs", "task": "adding"}, "training.sequences: must be given for data=epochs"),
        ({"optimizer": "adma"}, "Did you mean 'adam'"),
        ({"optimizer": "sgd", "optimizer.beta_1": 0.5}, "optimizer.beta_1 of 'sgd': there is no such field"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(given, message):
    base = {
        name: value for name, value in TRAINED_RUN.items() if given.get("training") is None or "training." not in name
    }
    with pytest.raises(ConfigurationError) as caught:
        lab.Configuration.parse({**base, **given})
    assert message in str(caught.value)


def test_a_list_of_updates_is_not_taken_for_several_runs():
    assert with_advice("refused", "training.measure_at=[0,5,99]") == "refused"
    assert with_advice("refused", "seed=[0,5]") == "refused; write seed=0,5"


def test_a_file_of_a_known_update_is_not_trained_further(tmp_path):
    cell = lab.Elman(2, 3, 1)
    lab.training.save_weights(tmp_path / "one.npz", cell, cell.init(0))
    own = {"name": "from_file", "path": str(tmp_path / "one.npz"), "activation": "tanh"}
    given = {**{name: value for name, value in TRAINED_RUN.items() if not name.startswith("cell")}, "task": "adding"}
    assert lab.Configuration.parse({**given, "cell": own}).own is not None
    with pytest.raises(ConfigurationError, match="cell.update=100: the column `update` counts"):
        lab.Configuration.parse({**given, "cell": {**own, "update": 100}})


# ------------------------------------------------------------------ results


def test_each_measured_update_is_a_run(tmp_path):
    summary = sweep(tmp_path, **{"training.measure_at": "[0,5]"})
    assert summary.exit_code == 0
    study = load(tmp_path)
    runs = study.runs.sort_values("update")
    assert runs["update"].tolist() == [0, 5, 12]
    assert runs["network_id"].nunique() == 1
    assert runs["trained_updates"].tolist() == [0, 5, 12]
    assert runs["training_loss"].isna().tolist() == [True, False, False]
    assert study.jacobians["update"].isin([0, 5, 12]).all()
    assert set(study.training["run_id"]) == {runs["run_id"].iloc[-1]}
    assert study.training["update"].tolist() == list(range(1, 13))
    assert runs["training_loss"].iloc[1] == study.training["loss"].iloc[4]
    assert runs["rho"].nunique() == 3


def test_before_training_a_network_is_as_without():
    trained = lab.run({**TRAINED_RUN, "update": 0, "truncation": 3})
    plain = lab.run({**QUICK, "truncation": 3})
    left = {"run_id", "network_id", "configuration", "training", "optimizer", "update", *(c.name for c in TRAINED)}
    for name, value in plain.run.items():
        if name not in left:
            assert trained.run[name] == value or pd.isna(value), name
    for table, columns in plain.tables.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(np.asarray(trained.tables[table][name]), np.asarray(values))


def test_the_last_run_is_that_of_lab_train():
    record = lab.run({**TRAINED_RUN, "seed": 3})
    configuration = lab.Configuration.parse({**TRAINED_RUN, "seed": 3})
    setup, _ = trained_runs.setup_of(configuration)
    cell, params = build_network(configuration)
    trained = lab.train(
        cell, params, configuration.task, seed=3, batch_size=4, engine="numpy", progress=False, updates=12,
        check_sequences=20,
    )  # fmt: skip
    assert record.run["training_loss"] == trained.history["loss"].iloc[-1]
    assert record.run["validation_loss"] == trained.history["validation_loss"].iloc[-1]
    assert setup.settings.learning_rate == 1e-3


def test_a_sweep_is_the_same_with_one_worker_and_without(tmp_path):
    sweep(tmp_path / "a", seed=[0, 1])
    sweep(tmp_path / "b", workers=1, seed=[0, 1])
    for table in ("runs", "jacobians", "training", "training_gradients"):
        pd.testing.assert_frame_equal(load(tmp_path / "a").table(table), load(tmp_path / "b").table(table))


def test_a_sweep_that_is_repeated_does_nothing(tmp_path):
    sweep(tmp_path)
    assert not sweep(tmp_path).plan.to_do
    more = sweep(tmp_path, **{"training.measure_at": "every:4"})
    assert [one.update for one in more.plan.to_do] == [4, 8]
    assert load(tmp_path).runs["update"].tolist().count(12) == 1


def test_a_solved_network_stays_as_it_is(tmp_path):
    sweep(tmp_path, **{"training.solved_below": 1e3, "training.check_every": 4, "training.measure_at": "every:3"})
    runs = load(tmp_path).runs.sort_values("update")
    assert runs["trained_updates"].tolist() == [0, 3, 4, 4, 4]
    assert runs["solved_at"].dropna().tolist() == [4, 4, 4]
    assert runs["training_status"].tolist() == ["done", "done", "solved", "solved", "solved"]
    assert runs["rho"].iloc[2:].nunique() == 1
    assert load(tmp_path).training["update"].max() == 4


def test_a_network_that_diverges_has_rows_that_say_so(tmp_path):
    fields = {"optimizer": "sgd", "training.learning_rate": 1e9, "cell.activation": "relu"}
    summary = sweep(tmp_path, **fields, **{"training.measure_at": "every:3"})
    runs = load(tmp_path).runs.sort_values("update")
    assert runs["status"].iloc[0] == "done"
    assert runs["status"].iloc[-1] == "diverged"
    error = runs["error"].iloc[-1]
    assert error.startswith("training diverged at update ") and "\n" not in error
    assert (load(tmp_path).training["update"] < 12).all()
    assert summary.exit_code == 0


def test_a_truncation_is_another_training_and_another_point(tmp_path):
    sweep(tmp_path, seed=[0, 1], truncation=[2, "full"], **{"training.measure_at": "ends"})
    study = load(tmp_path)
    after = study.runs[study.runs["update"] == 12]
    assert after["rho"].nunique() == 4
    table = lab.tables.updates(study.runs)
    assert sorted(zip(table["training_truncation"], table["update"], strict=True)) == [
        ("2", 0),
        ("2", 12),
        ("full", 0),
        ("full", 12),
    ]
    assert (table["networks"] == 2).all()
    rows = study.for_summaries().jacobians
    assert rows["run_id"].nunique() == 8
    assert len(rows) == len(study.jacobians)


def test_paired_seeds_see_the_same_sequences():
    first, second = (
        trained_runs.setup_of(lab.Configuration.parse({**TRAINED_RUN, **more}))[0]
        for more in ({"truncation": 2}, {"cell": "gru", "optimizer": "sgd"})
    )
    assert (first.batch(7).x == second.batch(7).x).all()


def test_epochs_have_a_test_part(tmp_path):
    fields = {"task": "digits_rows", "training.data": "epochs", "training.sequences": 100, "training.updates": 4}
    record = lab.run({**TRAINED_RUN, **fields})
    assert 0 <= record.run["test_accuracy"] <= 1
    assert record.run["test_loss"] > 0


@pytest.mark.parametrize(
    "more",
    [
        {"readout": "units"},
        {"scales.x": 0.5, "scales.h_0": 0.3},
        {"cell": "noisy"},
        {"dtype": "float32"},
        {"penalty": "omega"},
        {"projection": "orthogonal"},
        {"cell": "orthogonal"},
    ],
)
def test_other_parts_of_a_configuration_train(more):
    record = lab.run({**TRAINED_RUN, **more})
    assert record.run["status"] == "done"
    assert record.run["training_loss"] > 0


def test_figures_and_tables_are_made(tmp_path):
    sweep(tmp_path, seed=list(range(3)), measure="standard")
    study = load(tmp_path)
    assert len(lab.tables.paired(study.runs))
    figures = lab.figures.draw(study, names=["updates", "products", "paired"])
    assert set(figures) == {"updates", "products", "paired"}


def test_the_command_line_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [f"{name}={value}" for name, value in TRAINED_RUN.items()]
    line = ["study=t", "workers=0", *words, "training.learning_rate=1e-3,1e-2", "training.clip_norm=null,1"]
    assert main(["sweep", *line, "training.measure_at=[0,6]", "optimizer=sgd", "optimizer.momentum=0.9"]) == 0
    runs = load(tmp_path / "results").runs
    assert len(runs) == 12
    assert set(runs["optimizer"]) == {"sgd"}
    assert runs["optimizer_momentum"].unique().tolist() == [0.9]
    assert main(["sweep", "study=t", "training.updates=3"]) != 0
    assert "training=standard" in capsys.readouterr().err


def test_fields_of_training_are_shown_as_they_are_written():
    assert display_name("training_learning_rate") == "training.learning_rate"
    assert display_name("optimizer_beta_1") == "optimizer.beta_1"
    assert display_name("training_truncation") == "training_truncation"


def test_training_ends_at_the_last_update_that_is_wanted(monkeypatch):
    done = []
    monkeypatch.setattr(trained_runs.MeasuredUpdates, "measure", lambda self, known: done.append(known.state.update))
    monkeypatch.setattr(trained_runs.MeasuredUpdates, "add_rest", lambda self, known, trained: None)
    with pytest.raises(KeyError):  # nothing was recorded
        trained_runs.measure_trained([lab.Configuration.parse({**TRAINED_RUN, "update": 3})])
    assert done == [0, 1, 2, 3]


def test_an_estimate_says_that_training_is_not_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [f"{name}={value}" for name, value in {**TRAINED_RUN, "training.updates": 10**6}.items()]
    assert main(["sweep", "--dry-run", "study=t", "workers=0", *words]) == 0
    assert "that of training is not estimated" in capsys.readouterr().out


# ------------------------------------------------------------------ fields without effect


def parse(**fields):
    return lab.Configuration.parse(
        {**TRAINED_RUN, **{name.replace("__", "."): value for name, value in fields.items()}}
    )


@pytest.mark.parametrize(
    ("field", "value", "with_effect"),
    [
        ("penalty_strength", 0.3, {"penalty": "omega", "cell": "elman"}),
        ("penalty_every", 3, {"penalty": "omega"}),
        ("schedule_factor", 0.2, {"training__schedule": "cosine"}),
        ("schedule_updates", 5, {"training__schedule": "step"}),
        ("sequences", 40, {"training__data": "epochs"}),
        ("test", 0.2, {"training__data": "epochs", "training__sequences": 40}),
    ],
)
def test_a_field_without_effect_makes_no_other_run(field, value, with_effect):
    stated = {f"training__{field}": value}
    assert parse(**stated).ids == parse().ids
    assert set(parse(**stated).ineffective) == {field}
    if field != "sequences":  # without which there is no finite set of this task
        assert parse(**with_effect, **stated).run_id != parse(**with_effect).run_id
    assert not parse(**with_effect, **stated).ineffective


def test_a_field_without_effect_is_told_once(tmp_path):
    swept = {"seed": [0, 1], "training.penalty_strength": [0.5, 1.0], "training.updates": 2}
    with pytest.warns(lab.LabWarning, match=r"^training.penalty_strength has no effect: there is no penalty") as told:
        summary = sweep(tmp_path, **swept)
    assert len(told) == 1
    assert len(summary.plan.runs) == 2 * 3
    with pytest.warns(lab.LabWarning, match="schedule_factor has no effect"):
        lab.run({**TRAINED_RUN, "training.updates": 2, "training.schedule_factor": 0.3})


def test_a_field_with_effect_in_some_runs_is_not_told(tmp_path, recwarn):
    sweep(tmp_path, **{"penalty": ["none", "omega"], "training.penalty_strength": 0.5, "training.updates": 2})
    assert not [one for one in recwarn if issubclass(one.category, lab.LabWarning)]


@pytest.mark.parametrize(("group", "name"), [("penalty", "omega"), ("optimizer", "sgd"), ("projection", "orthogonal")])
def test_a_group_below_training_is_told_by_its_name(group, name, capsys):
    said = f"training.{group}={name}: .*is a group of its own; write {group}={name}"
    with pytest.raises(ConfigurationError, match=said):
        lab.Configuration.parse({**TRAINED_RUN, f"training.{group}": name})
    assert main(["sweep", "study=x", "training=standard", f"training.{group}={name}"]) == 2
    assert f"is a group of its own; write {group}={name}" in capsys.readouterr().err


def test_the_end_of_a_sweep_counts_what_diverged(tmp_path):
    wild = {"optimizer": "sgd", "training.learning_rate": 1e300, "seed": [0, 1]}
    summary = sweep(tmp_path, **wild)
    (line,) = [line for line in summary.lines() if line.startswith("diverged")]
    count = summary.tally.statuses["diverged"]
    assert count
    assert line.startswith(f"diverged, {count} ×: ")
    assert "training diverged at update" in line
    assert summary.exit_code == 0
    summary.tally.divergences = Counter({"at update 3": 4, "at update 5": 2})
    (line,) = summary.describe_divergences()
    assert line.startswith("diverged, 6 ×: for example: at update 3; all reasons: bpttlab status")
