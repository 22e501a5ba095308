"""Files of networks before and after training in one sweep: which belong together, tables, figures, and no new run."""

from pathlib import Path

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import tables
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.store.file_names import NamedFile
from bpttlab.sweeps.hydra_composition import composer
from bpttlab.sweeps.own_networks import join_training_runs
from tests.support.commandline import folder  # noqa: F401  # a fixture
from tests.support.state_dicts import save, state_dict

pytestmark = [pytest.mark.usefixtures("quick_disk", "folder")]
LINE = ["cell=from_file", "engine=numpy", "task=adding", "sequence_length=8", "batch_size=2", "workers=0"]


def save_pairs(count, prefix=""):
    """init_SEED.npz and trained_SEED.npz with 1.5 times its weights, network after network."""
    paths = []
    for seed in range(count):
        weights = state_dict("lstm", N=4, seed=seed + 10 * len(prefix))
        for name, factor in (("init", 1.0), ("trained", 1.5)):
            scaled = {key: factor * value for key, value in weights.items()}
            paths.append(Path(save(f"{prefix}{name}_{seed}.npz", scaled)).name)
    return paths


def sweep(study, paths, *words):
    return main(["sweep", f"study={study}", f"cell.path={','.join(paths)}", *LINE, *words])


def told(*named):
    """(letter, label, update) -> the letters of their starts."""
    files = [NamedFile(letter * 32, letter, label, update) for letter, label, update in named]
    return [one.start and one.start[0] for one in join_training_runs(files)]


def test_each_network_is_paired_with_itself():
    paths = save_pairs(6)
    assert sweep("pairs", paths, "cell.update=" + ",".join(["0,400"] * 6)) == 0
    runs = lab.load("pairs").runs
    assert runs.groupby("network_id")["update"].apply(sorted).tolist() == [[0, 400]] * 6
    pairs = tables.training_pairs(runs)
    rho = pairs[pairs["quantity"] == "rho"]
    np.testing.assert_allclose(rho["after"], 1.5 * rho["before"])
    row = tables.paired(runs).set_index("quantity").loc["rho"]
    assert (row["networks"], row["unpaired"], row["first_update"], row["last_update"]) == (6, 0, 0, 400)
    assert row["rose"] == 6 and 0.0 < row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert row["cell_label"] == "all files"


@pytest.mark.slow
def test_tables_and_figures_of_files_in_training(capsys):
    sweep("drawn", save_pairs(2), "cell.update=0,400,0,400")
    assert main(["tables", "study=drawn", "table=paired"]) == 0
    assert "from update 0, to update 400" in capsys.readouterr().out
    assert main(["figures", "study=drawn", "paired", "updates", "format=svg"]) == 0
    assert {path.stem for path in Path("results/drawn/figures").glob("*.svg")} == {"paired", "updates"}


def test_an_update_changes_no_run(capsys):
    paths = save_pairs(1)
    sweep("later", paths)
    assert "update" not in lab.load("later").runs
    assert sweep("later", paths, "cell.update=0,400") == 0
    assert "nothing to do: 2 done before" in capsys.readouterr().out
    assert lab.load("later", where={"update": 400}).runs["network_file"].tolist() == ["trained_0.npz"]


@pytest.mark.slow
def test_the_order_of_a_later_line_changes_no_pair():
    paths = save_pairs(2)
    sweep("again", paths, "cell.update=0,400,0,400")
    before = tables.training_pairs(lab.load("again").runs)
    sweep("again", paths[::-1][:1] + paths[1:2], "cell.update=400,400", "seed=1")
    runs = lab.load("again").runs
    assert tables.training_pairs(runs[runs["seed"] == 0])["after"].tolist() == before["after"].tolist()


def test_each_label_is_paired_by_itself():
    paths = [*save_pairs(1), *save_pairs(2, prefix="sgd_")]
    labels = "adam,adam,sgd,sgd,sgd,sgd"
    assert sweep("kinds", paths, f"cell.label={labels}", "cell.update=0,400,0,400,0,400") == 0
    found = tables.paired(lab.load("kinds").runs)
    assert found[found["quantity"] == "rho"].set_index("cell_label")["networks"].to_dict() == {"adam": 1, "sgd": 2}


def test_starts_are_those_of_the_line():
    assert told(("a", None, 0), ("b", None, 9), ("c", None, 0), ("d", None, 9)) == ["a", "a", "c", "c"]
    assert told(("a", None, 9), ("c", None, 9), ("b", None, 0), ("d", None, 0)) == ["b", "d", "b", "d"]
    assert told(("a", "x", 0), ("b", "y", 0), ("c", "y", 5), ("d", "x", 5)) == ["a", "b", "b", "a"]
    assert told(("a", None, 9), ("b", None, 9), ("c", None, None)) == [None, None, None]


def test_a_network_without_its_other_file_is_refused(capsys):
    assert sweep("uneven", save_pairs(2)[:3], "cell.update=0,400,0") == 2
    assert "cell.update: different numbers of files: 2 of 0, 1 of 400; give each" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cell.update=0,1,2", "cell.update=0,1,2: 3 updates, and cell.path has 2 files: give one update for each"),
        ("cell.update=-1", r"cell.update=-1: must be"),
    ],
)
def test_updates_that_cannot_be_are_refused(word, message, capsys):
    paths = save_pairs(1)
    assert sweep("refused", paths, word) == 2
    assert message in capsys.readouterr().err


def test_in_python_updates_belong_to_paths():
    own = {"cell.path": ["a.npz", "b.npz"], "cell.update": [0, 400], "cell.label": ["x", "y"]}
    cells = [run["cell"] for run in lab.grid(own, cell="from_file")]
    assert [(cell["path"], cell["update"], cell["label"]) for cell in cells] == [("a.npz", 0, "x"), ("b.npz", 400, "y")]
    composed = composer().compose_line(["cell=from_file", "cell.path=a,b", "cell.update=0,400"])
    assert [run["cell"]["update"] for run in composed] == [0, 400]
    with pytest.raises(ConfigurationError, match="give one label for each file"):
        lab.grid({"cell.path": ["a"], "cell.label": ["x", "y"]}, cell="from_file")
