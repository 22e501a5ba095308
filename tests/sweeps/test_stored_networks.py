"""`from=study:run@update`: weights of a trained network, measured in another sweep."""

import shutil

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import plugins, tables
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.store import weights
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network
from tests.support.commandline import complete

QUICK = {"task": "adding", "sequence_length": 8, "batch_size": 4, "measure": "minimal", "engine": "numpy"}
TRAINED = {
    **QUICK,
    "cell": "lstm",
    "cell.hidden_size": 3,
    "training": "standard",
    "training.updates": 12,
    "training.measure_at": "[0,5,12]",
    "training.check_sequences": 10,
}
SILENT = {"workers": 0, "progress": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with results/taught: two networks at three updates; and one that is not trained."""
    root = tmp_path_factory.mktemp("stored_networks")
    lab.sweep(
        [{**TRAINED, "seed": seed} for seed in (0, 1)] + [QUICK], study="taught", results=root / "results", **SILENT
    )
    return root


@pytest.fixture
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def runs_of(study="taught"):
    return lab.load(study).runs


def network(seed=0, update=12):
    """study:run@update of a trained network."""
    runs = runs_of()
    chosen = runs[(runs["seed"] == seed) & (runs["training"] == "standard")]
    return f"taught:{chosen['network_id'].iloc[0][:10]}@{update}"


def refusal(**fields):
    with pytest.raises(ConfigurationError) as caught:
        Configuration.parse({**QUICK, **fields})
    text = str(caught.value)
    assert "\n" not in text
    return text


# ------------------------------------------------------------------ what is measured


@pytest.mark.parametrize("update", [0, 5, 12])
def test_a_network_measures_as_in_its_own_sweep(here, update):
    runs = runs_of()
    own = runs[(runs["seed"] == 1) & (runs["update"] == update)].iloc[0]
    found = lab.run({**QUICK, "seed": 1, "from": network(1, update)}).run
    assert {name: found[name] for name in ("loss", "rho", "growth_rate")} == {
        name: own[name] for name in ("loss", "rho", "growth_rate")
    }
    assert found["run_id"] != own["run_id"]


def test_weights_before_training_are_the_drawn_ones(here):
    drawn = build_network(Configuration.parse({**QUICK, "cell": "lstm", "cell.hidden_size": 3}))[1]
    found = build_network(Configuration.parse({**QUICK, "from": network(0, 0)}))[1]
    assert set(found) == set(drawn)
    for name, values in drawn.items():
        assert np.array_equal(found[name], values)


def test_trained_weights_are_those_of_lab_train(here):
    cell, params = build_network(Configuration.parse({**QUICK, "cell": "lstm", "cell.hidden_size": 3}))
    task = lab.tasks.Adding(sequence_length=8)
    learnt = lab.train(cell, params, task, updates=12, batch_size=4, seed=0, check_sequences=10, engine="numpy").params
    found = build_network(Configuration.parse({**QUICK, "from": network()}))[1]
    for name, values in learnt.items():
        assert np.array_equal(found[name], values)


def test_other_lengths_tasks_and_truncations(here, tmp_path):
    fields = {**QUICK, "sequence_length": [8, 16], "task": ["adding", "multiplication"], "truncation": ["full", 3]}
    lab.sweep(from_=[network(0), network(1)], study="else", results=here / "results", **fields, **SILENT)
    runs = runs_of("else")
    assert len(runs) == 16
    assert runs["status"].eq("done").all()
    assert runs["network_id"].nunique() == 2
    assert set(runs["cell"]) == {"lstm"}


def test_training_goes_on_from_stored_weights(here):
    fields = {name: value for name, value in TRAINED.items() if not name.startswith("cell")}
    more = {"from": network(), "update": 0, "training.updates": 2, "training.measure_at": "ends"}
    found = lab.run({**fields, **more}).run
    assert found["training_status"] == "done"
    assert found["loss"] == lab.run({**QUICK, "from": network()}).run["loss"]


# ------------------------------------------------------------------ identity


def test_the_name_of_a_study_is_no_part_of_a_run(here):
    shutil.copytree(here / "results" / "taught", here / "elsewhere" / "moved", dirs_exist_ok=True)
    one = Configuration.parse({**QUICK, "from": network()})
    other = Configuration.parse({**QUICK, "from": network().replace("taught", "elsewhere/moved")})
    assert one.ids == other.ids
    assert one.plain["from"] == weights.content_of(one.own.stored.read())


def test_runs_of_other_weights_are_other_runs(here):
    found = {Configuration.parse({**QUICK, "from": network(*which)}).ids for which in [(0, 5), (0, 12), (1, 12)]}
    assert len({ids.run_id for ids in found}) == len({ids.network_id for ids in found}) == 3


def test_a_run_is_named_by_any_beginning(here):
    runs = runs_of()
    run = runs[(runs["seed"] == 0) & (runs["update"] == 5)].iloc[0]
    runs_and_networks = [
        run["run_id"],
        f"{run['run_id'][:9]}@5",
        f"{run['network_id']}@5",
        f"{run['network_id'][:9]}@5",
    ]
    names = [f"taught:{one}" for one in runs_and_networks] + [f"results/{network(0, 5)}"]
    assert len({Configuration.parse({**QUICK, "from": name}).run_id for name in names}) == 1


# ------------------------------------------------------------------ the command


def test_a_line_sweeps_stored_networks(here, capsys):
    names = [network(seed, update) for seed in (0, 1) for update in (0, 12)]
    line = ["sweep", "study=line", f"from={','.join(names)}", "task=adding", "sequence_length=8", "engine=numpy"]
    assert main([*line, "measure=minimal", "workers=0"]) == 0
    labels = tables.growth(runs_of("line"))["cell_label"]
    assert sorted(labels) == sorted(name.split("@")[0][:15] + "@" + name.split("@")[1] for name in names)
    pooled = lab.load("line", networks="path").runs
    assert pooled["network_id"].nunique() == 4
    assert set(pooled["cell_label"]) == {"all files"}
    capsys.readouterr()


def test_results_says_where_the_study_is(here, tmp_path, monkeypatch, capsys):
    name = network()
    monkeypatch.chdir(tmp_path)
    line = ["sweep", "study=line2", f"results={here}/results", f"from={name}", "task=adding", "sequence_length=8"]
    assert main([*line, "engine=numpy", "measure=minimal", "workers=0"]) == 0
    capsys.readouterr()


def test_a_cell_beside_it_is_refused_on_a_line(here, capsys):
    line = ["sweep", "study=x", "task=adding", "workers=0", f"from={network()}"]
    assert main([*line, "cell=elman"]) == 2
    assert "cell=elman: must be left out" in capsys.readouterr().err


def test_names_of_trained_networks_complete(here):
    assert "from=taught:" in complete("bpttlab sweep from=")
    found = complete(f"bpttlab sweep from={network()[:12]}")
    assert len(found) == 3
    assert all("@" in one for one in found)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "name", ["taught", 3, "taught:xyz@3", "taught:0a@", ":0a@1", "taught:0a@-1", True, ["taught:0@1"]]
)
def test_other_forms_are_refused(here, name):
    assert refusal(**{"from": name}).startswith("from=")
    assert "must be study:run@update" in refusal(**{"from": name})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("taught:0a@-1", "; the update '-1' must be an integer >= 0"),
        ("taught:0a@2e2", "; the update '2e2' must be an integer >= 0"),
        ("taught:0a@last", "; the update 'last' must be an integer >= 0"),
        ("taught:zz@200", "; the run 'zz' must be hexadecimal digits (0-9, a-f), 32 at most"),
        ("taught:zz@x", "at most; the update 'x' must be an integer >= 0"),
        ("taught", "first:0a1b2c3d@500"),
    ],
)
def test_the_wrong_part_of_a_name_is_named(here, name, said):
    assert refusal(**{"from": name}).endswith(said)


def test_a_default_task_is_said_to_be_one(here):
    without = {name: value for name, value in QUICK.items() if name != "task"}
    with pytest.raises(ConfigurationError, match=r"^task=noise \(the default\): has ") as caught:
        Configuration.parse({**without, "from": network()})
    assert str(caught.value).endswith(f"from={network()} was trained on task=adding: add task=adding")


def test_what_there_is_not_is_refused_with_what_there_is(here):
    run = network()[7:17]
    assert "there is no study 'taugt'" in refusal(**{"from": f"taugt:{run}@5"})
    assert "Did you mean 'taught'" in refusal(**{"from": f"taugt:{run}@5"})
    missing = refusal(**{"from": "taught:ffffffffffff@5"})
    assert "no run 'ffffffffffff'" in missing
    assert run[:8] in missing
    assert "there is no update 7; it was measured at 0, 5, 12" in refusal(**{"from": f"taught:{run}@7"})
    assert "@UPDATE is missing; it was measured at 0, 5, 12" in refusal(**{"from": f"taught:{run}"})


def test_a_network_that_was_not_trained_is_refused(here):
    runs = runs_of()
    run = runs[runs["training"].isna()]["run_id"].iloc[0]
    assert "no sweep has trained" in refusal(**{"from": f"taught:{run}@0"})


def test_a_beginning_of_several_ids_is_refused(here, monkeypatch):
    ids = [network(seed)[7:17] for seed in (0, 1)]
    monkeypatch.setattr(weights, "network_of", lambda stored: "abc" + stored.run_id)
    weights._find_weights.cache_clear()
    assert "begins the ids of several networks" in refusal(**{"from": "taught:abc@5"})
    weights._find_weights.cache_clear()
    assert ids[0] != ids[1]


def test_a_run_that_diverged_has_no_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wild = {**TRAINED, "optimizer": "sgd", "training.learning_rate": 1e300}
    lab.sweep([wild], study="wild", **SILENT)
    runs = runs_of("wild")
    run = runs[runs["status"] == "diverged"].iloc[0]
    found = refusal(**{"from": f"wild:{run['run_id']}@{run['update']}"})
    assert "has no weights, it diverged: training diverged at update" in found


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cell": "gru"}, "cell (name=gru"),
        ({"cell.hidden_size": 7}, "cell (name=elman, hidden_size=7"),
        ({"spectral_radius": 0.9}, "initializer"),
        ({"initializer": "orthogonal"}, "initializer 'orthogonal'"),
        ({"readout": "units"}, "readout=units"),
        ({"scales.V": 2.0}, "scales.V=2.0"),
        (
            {"task": "noise"},
            "task=noise (the default): has 4 inputs and 1 outputs, for which V has 48 entries and not 24",
        ),
    ],
)
def test_fields_that_contradict_are_refused(here, fields, said):
    text = refusal(**{**fields, "from": network()})
    assert text.startswith(said.split(":")[0])
    assert said in text
    assert "from=taught" in text


def test_damaged_weights_are_refused_with_their_file(here, tmp_path, monkeypatch):
    name = network()
    shutil.copytree(here / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    (shard,) = (tmp_path / "results/taught/store/weights").glob("*.parquet")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    found = refusal(**{"from": name})
    assert shard.name in found
    assert "its bytes are not those that were published" in found
    shard.unlink()
    assert "missing" in refusal(**{"from": name})


def test_other_weights_than_planned_fail_the_run(here):
    planned = Configuration.parse({**QUICK, "from": network()})
    object.__setattr__(planned.own, "content", "0" * 32)
    with pytest.raises(LabError, match="have changed since the run was configured"):
        build_network(planned)


def test_a_cell_from_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = lab.LSTM(input_size=2, hidden_size=3, output_size=1)
    lab.training.save_weights("net.npz", cell, cell.init(0))
    fields = {name: value for name, value in TRAINED.items() if not name.startswith("cell")}
    lab.sweep([{**fields, "cell": "from_file", "cell.path": "net.npz"}], study="taught", **SILENT)
    run = runs_of()["network_id"].iloc[0]
    assert "was that of a file" in refusal(**{"from": f"taught:{run}@5"})


# ------------------------------------------------------------------ the table


def test_every_cell_has_its_parameters_stored():
    kinds = plugins.find_shipped("cell")
    assert len(kinds) > 20
    for name in kinds:
        cell = Configuration.parse({"cell": name, "task": "adding"}).cell
        shapes = {one: value.shape for one, value in cell.init(0).items()}
        assert shapes == cell.parameter_shapes(), name


def test_rows_of_weights_are_their_entries():
    params = {"W": np.arange(6.0).reshape(2, 3), "b": np.array([7.0], np.float32)}
    columns = weights.weights_columns(params)
    assert columns["parameter"].tolist() == ["W"] * 6 + ["b"]
    assert columns["index"].tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert columns["value"].tolist() == [0, 1, 2, 3, 4, 5, 7]
