"""Several files of a user's own in one sweep: labels, activations, one point of six files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import tables
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabWarning
from bpttlab.figures.growth import plot_growth
from bpttlab.figures.products import plot_products
from bpttlab.sweeps.grid import grid
from bpttlab.sweeps.hydra_composition import composer
from bpttlab.tables.sufficient import tell_sufficient
from tests.support.commandline import folder  # noqa: F401  # a fixture
from tests.support.state_dicts import save, state_dict

pytestmark = [pytest.mark.usefixtures("quick_disk", "folder")]
LINE = ["cell=from_file", "engine=numpy", "task=adding", "sequence_length=8", "batch_size=2", "workers=0"]
SMALL = {"engine": "numpy", "task": "adding", "sequence_length": 8, "batch_size": 2, "workers": 0}


def save_networks(**kinds):
    """name=(of, seed) as files NAME.npz; their names."""
    return [Path(save(f"{name}.npz", state_dict(of, N=4, seed=seed))).name for name, (of, seed) in kinds.items()]


def sweep(study, paths, *words):
    return main(["sweep", f"study={study}", f"cell.path={','.join(paths)}", *LINE, *words])


def products_of(study):
    """The figure of the Jacobian products of a study."""
    return plot_products(tables.growth_curves(lab.load(study).jacobians, lab.load(study).runs))


def labels(study, **how):
    """The names of a study's growth, in the order of its rows."""
    return tables.growth(lab.load(study, **how).runs)["cell_label"].tolist()


# labels ---------------------------------------------------------------------------------------------------------------


def test_a_label_belongs_to_its_file():
    runs = list(
        composer().compose_line(["cell=from_file", "cell.path=a.npz,b.npz", "cell.label=first,0.1", "seed=0,1"])
    )
    assert [(run["cell"]["path"], run["cell"]["label"], run["seed"]) for run in runs] == [
        ("a.npz", "first", 0),
        ("a.npz", "first", 1),
        ("b.npz", 0.1, 0),
        ("b.npz", 0.1, 1),
    ]
    own = {"cell.path": ["a.npz", "b.npz"], "cell.label": ["first", 0.1]}
    assert [run["cell"]["label"] for run in grid(own, cell="from_file", seed=[0, 1])] == ["first", "first", 0.1, 0.1]


def test_one_label_is_that_of_all_files():
    runs = list(composer().compose_line(["cell=from_file", "cell.path=a.npz,b.npz", "cell.label=all"]))
    assert [run["cell"]["label"] for run in runs] == ["all", "all"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cell.path=a,b", "cell.label=x,y,z"], "cell.label=x,y,z: 3 labels, and cell.path has 2 files: give one"),
        (["cell.path=a", "cell.label=x,y"], "cell.label=x,y: 2 labels, and cell.path has 1 file: give one label for"),
        (["cell.label=x,y"], "cell.label=x,y: 2 labels, and cell.path has no list of files"),
        (["networks=path"], "networks: is a word of bpttlab tables and figures; it changes no run"),
    ],
)
def test_labels_without_their_files_are_refused(words, message):
    with pytest.raises(ConfigurationError, match=message):
        list(composer().compose_line(["cell=from_file", *words]))


@pytest.mark.parametrize("label", ["x" * 101, "two\nlines", " ", "\x1b[31m"])
def test_a_label_is_one_printable_line(label):
    (path,) = save_networks(a=("lstm", 0))
    with pytest.raises(ConfigurationError, match="cell.label=.*: must be one line of 1 to 100 printable characters"):
        lab.run({"cell": {"name": "from_file", "path": path, "label": label}, "task": "adding", "sequence_length": 8})


def test_labels_name_networks_and_change_no_run(capsys):
    paths = save_networks(step_0=("lstm", 0), step_100=("lstm", 1))
    assert sweep("named", paths) == 0
    assert labels("named") == ["step_0", "step_100"]
    assert sweep("named", paths, "cell.label='lr=0,1','größe $x$'") == 0
    assert "nothing to do: 2 done before" in capsys.readouterr().out
    assert labels("named") == ["lr=0,1", "größe $x$"]
    assert set(lab.load("named", where={"cell_label": "lr=0,1"}).runs["network_file"]) == {"step_0.npz"}
    legend = products_of("named").legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["lr=0,1", r"größe \$x\$"]


def test_a_renamed_file_has_its_new_name_and_no_new_run(capsys):
    (path,) = save_networks(before=("gru", 0))
    assert sweep("renamed", [path]) == 0
    shutil.move(path, "after.npz")
    assert sweep("renamed", ["after.npz"]) == 0
    assert labels("renamed") == ["after"] and "nothing to do: 1 done before" in capsys.readouterr().out


def test_equal_files_are_one_network_with_the_first_name(capsys):
    paths = save_networks(one=("lstm", 0), other=("lstm", 0))
    assert sweep("equal", paths) == 0
    assert "one.npz, other.npz have the same bytes: one network, named one.npz" in capsys.readouterr().out
    assert labels("equal") == ["one"]


def test_files_stand_in_the_order_of_the_line():
    paths = save_networks(c=("lstm", 0), a=("lstm", 1), b=("lstm", 2))
    assert sweep("ordered", paths) == 0
    assert labels("ordered") == ["c", "a", "b"]
    assert sweep("ordered", ["a.npz"], "seed=1") == 0
    assert labels("ordered") == ["c", "a", "b"]
    assert sweep("ordered", ["a.npz", "b.npz", "c.npz"]) == 0
    assert labels("ordered") == ["a", "b", "c"]


def test_a_study_without_its_names_shows_short_hashes():
    assert sweep("nameless", save_networks(a=("lstm", 0))) == 0
    shutil.rmtree("results/nameless/file_names")
    runs = lab.load("nameless").runs
    assert labels("nameless") == [runs["cell_content"].iloc[0][:8]] and runs["network_file"].isna().all()


def test_sequences_from_files_keep_their_names_too():
    rng = np.random.default_rng(0)
    for name in ("walks", "jumps"):
        np.savez(f"{name}.npz", x=rng.standard_normal((4, 8, 2)), target=rng.standard_normal((4, 8, 1)))
    small = ["cell.hidden_size=4", "sequence_length=8", "batch_size=2", "workers=0", "engine=numpy"]
    assert main(["sweep", "study=data", "task=file", "task.path=walks.npz,jumps.npz", *small]) == 0
    growth = tables.growth(lab.load("data").runs)
    assert sorted(growth["data_file"]) == ["jumps", "walks"] and "task_content" not in growth
    rows = plot_growth(growth).axes[0].get_yticklabels()
    assert [label.get_text().split()[-1] for label in rows] == ["jumps", "walks"]


# activations ----------------------------------------------------------------------------------------------------------


def test_files_of_all_kinds_go_in_one_sweep(capsys):
    paths = save_networks(lstm_0=("lstm", 0), rnn_0=("elman", 1), gru_0=("gru", 2))
    assert sweep("kinds", paths, "cell.activation=tanh") == 0
    said = "cell.activation is ignored for lstm_0.npz (nn.LSTM), gru_0.npz (nn.GRU), which have their own"
    assert said in capsys.readouterr().out
    growth = tables.growth(lab.load("kinds").runs)
    assert growth["cell_of"].tolist() == ["lstm", "elman", "gru"] and "cell_activation" not in growth
    assert len(products_of("kinds").axes) == 2
    sentences = tell_sufficient(tables.summaries(lab.load("kinds"))["sufficient_truncation"])
    assert {sentence.split(",")[0] for sentence in sentences} == {"lstm_0", "rnn_0", "gru_0"}


def test_an_ignored_activation_is_the_same_run():
    paths = save_networks(lstm_0=("lstm", 0), rnn_0=("elman", 1))
    own = [{"name": "from_file", "path": path, "activation": "relu"} for path in paths]
    with pytest.warns(LabWarning, match=r"cell.activation is ignored for lstm_0.npz \(nn.LSTM\), which has its own"):
        lab.sweep(study="alone", cell=own, **SMALL)
    summary = lab.sweep(study="alone", cell=[{"name": "from_file", "path": paths[0]}], **SMALL)
    assert not summary.plan.to_do


def test_an_activation_that_no_file_needs_is_refused():
    (path,) = save_networks(lstm_0=("lstm", 0))
    own = [{"name": "from_file", "path": path, "activation": "tanh"}]
    with pytest.raises(
        ConfigurationError, match="cell.activation='tanh': lstm_0.npz holds an nn.LSTM, .* must be null"
    ):
        lab.sweep(study="refused", cell=own, **SMALL)


# files as networks of one point ---------------------------------------------------------------------------------------


@pytest.fixture
def six():
    """A study of six files and two seeds: of two labels, four and two files."""
    paths = save_networks(**{f"seed{seed}": ("gru", seed) for seed in range(6)})
    assert sweep("six", paths, "seed=0,1", "truncation=full,3") == 0
    return paths


@pytest.mark.slow
def test_six_files_of_one_point_have_an_interval(six, capsys):
    growth = tables.growth(lab.load("six", networks="path").runs)
    assert growth[["cell_label", "networks"]].values.tolist() == [["all files", 6]]
    assert growth["growth_rate_low"].notna().all()
    bias = tables.truncation_bias(lab.load("six", networks="path").truncations, lab.load("six", networks="path").runs)
    assert set(bias["networks"]) == {6} and bias["log_relative_bias_low"].notna().any()
    assert tables.growth(lab.load("six").runs)["networks"].tolist() == [1] * 6
    assert main(["tables", "study=six", "networks=path"]) == 0
    assert "network all files" in capsys.readouterr().out


@pytest.mark.slow
def test_pooled_labels_make_the_points(six):
    assert sweep("six", six, "cell.label=early,early,early,early,late,late") == 0
    assert labels("six", networks="path") == ["early", "late"]
    assert tables.growth(lab.load("six", networks="path").runs)["networks"].tolist() == [4, 2]
    assert labels("six")[:2] == ["early (seed0)", "early (seed1)"]


def test_a_seed_that_draws_a_readout_makes_no_further_network():
    paths = [save(f"bare{seed}.npz", state_dict(N=4, O=None, seed=seed)) for seed in range(2)]
    assert sweep("bare", paths, "seed=0,1,2") == 0
    assert tables.growth(lab.load("bare").runs)["networks"].tolist() == [3, 3]
    assert tables.growth(lab.load("bare", networks="path").runs)["networks"].tolist() == [2]


@pytest.mark.slow
def test_pooled_files_stand_beside_drawn_networks(six):
    assert main(["sweep", "study=six", "cell=gru", "cell.hidden_size=4", *LINE[1:]]) == 0
    growth = tables.growth(lab.load("six", networks="path").runs)
    assert sorted(growth["networks"]) == [1, 6]
    assert sorted(growth["initializer_target"]) == ["measured_radius", "spectral_radius"]
    rows = plot_growth(growth).axes[0].get_yticklabels()
    assert [label.get_text() for label in rows] == ["gru", "all files"]


def test_another_word_than_path_is_refused(six, capsys):
    with pytest.raises(ConfigurationError, match=r"networks='pth': must be 'path' or None. Did you mean 'path'\?"):
        lab.load("six", networks="pth")
    assert main(["tables", "study=six", "networks=files"]) == 2
    assert "networks=files: must be path" in capsys.readouterr().err
