"""Every cell through every measure, scheme and task from the command line; what it cannot have is refused, with why."""

import numpy as np
import pytest

from bpttlab import plugins, resources
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.store.store import load
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.hydra_composition import composer
from bpttlab.sweeps.plan import separate
from bpttlab.sweeps.run import run

LENGTH = 64  # the least that pixels of digits need
SMALL = [f"sequence_length={LENGTH}", "truncation=3", "batch_size=2", "engine=numpy", "cell.hidden_size=4"]


def choices(group):
    return sorted(path.stem for path in (resources.conf() / group).glob("*.yaml"))


CELLS = [name for name in choices("cell") if name != "from_file"]
OF_EVERY_TASK = ("elman", "lstm", "diagonal", "stacked")
"""Cells of which every task is tried; a task knows the cell's sizes alone, so of the others one is enough."""
RELATIVES = ("layer_norm_", "peephole_", "projected_", "min_", "slstm", "cornn", "clockwork", "dilated", "scornn")
ONE_OF_A_KIND = [pytest.param(name, marks=[pytest.mark.slow] if name.startswith(RELATIVES) else []) for name in CELLS]
"""The cells, with those slow whose initializers and schemes are refused or done as they are of a relative's."""

TASKS, MEASURES = choices("task"), choices("measure")


def schemes_of(cell):
    return [name for name in choices("scheme") if name != "rflo" or cell == "leaky"]


@pytest.fixture
def sequences(tmp_path, monkeypatch):
    """A current folder with a file of sequences."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.normal(size=(4, LENGTH, 2)), target=rng.normal(size=(4, LENGTH, 1)))
    return tmp_path


def swept(folder, *lines):
    """The sweep of these lines, all of whose runs must be done."""
    assert main(["sweep", "study=smoke", *lines]) == 0
    study = load("smoke", folder / "results")
    assert set(study.runs["status"]) == {"done"}, study.runs["error"].dropna().unique()
    return study


def swept_in_pairs(folder, cell, task, *lines):
    """Every measure and every scheme of this task; of noise all pairs of them."""
    measures, schemes = f"measure={','.join(MEASURES)}", f"scheme={','.join(schemes_of(cell))}"
    if task == "noise":
        return swept(folder, f"task={task}", measures, schemes, *lines)
    swept(folder, f"task={task}", measures, *lines)
    return swept(folder, f"task={task}", "measure=minimal", schemes, *lines)


def path_of(task):
    return ["task.path=mine.npz"] if task == "file" else []


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_goes_through_everything(cell, sequences):
    for task in TASKS if cell in OF_EVERY_TASK else ["noise"]:
        study = swept_in_pairs(sequences, cell, task, *path_of(task), f"cell={cell}", *SMALL)
    measured = {"jacobians", "lag_terms", "truncations", "spectra", "finite_time", "singular_values", "eigenvalues"}
    parts = {"blocks"} if len(plugins.find("cell", cell)(2, 4, 1).parts) > 1 else set()
    assert {"runs", "provenance", "sensitivity", "bias_bounds"} | measured | parts == set(study.tables)
    assert set(study.runs["scheme"]) == set(schemes_of(cell))
    for command in ("tables", "figures"):
        assert main([command, "study=smoke"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1, 3, 4], ids=["rnn", "gru", "lstm"])
def test_a_network_of_ones_own_goes_through_everything(blocks, sequences):
    """Tasks have inputs of their own: a file for each number of them."""
    rng, cell = np.random.default_rng(1), ["cell=from_file", *(["cell.activation=tanh"] if blocks == 1 else [])]
    for task in TASKS:
        _, (plain,) = separate(composer().expand([f"task={task}", "study=x", *path_of(task), *SMALL[:4]]))
        inputs = Configuration.parse(plain).cell.input_size
        tensors = {"weight_ih_l0": (3 * blocks, inputs), "weight_hh_l0": (3 * blocks, 3)}
        tensors |= dict.fromkeys(("bias_ih_l0", "bias_hh_l0"), (3 * blocks,))
        np.savez("net.npz", **{name: 0.5 * rng.normal(size=shape) for name, shape in tensors.items()})
        swept_in_pairs(sequences, "from_file", task, *cell, "cell.path=net.npz", *path_of(task), *SMALL[:4])


@pytest.mark.parametrize("cell", ONE_OF_A_KIND)
def test_a_cell_can_have_an_initializer_or_says_why_not(cell, tmp_path):
    np.save(tmp_path / "W.npy", np.eye(10))
    own = {"from_file": {"name": "from_file", "path": str(tmp_path / "W.npy")}}
    draws = plugins.find("cell", cell)(2, 10, 1).takes_initializer
    for initializer in choices("initializer"):
        plain = {"initializer": own.get(initializer, initializer), "cell": {"name": cell, "hidden_size": 10}}
        plain |= {"sequence_length": 3, "engine": "numpy"}
        if draws == (initializer != "none") or initializer == "gaussian_radius":
            assert run(plain).run["status"] == "done"
        else:
            with pytest.raises(ConfigurationError, match=r"initializer[^\n]*$"):
                run(plain)


@pytest.mark.parametrize("cell", ONE_OF_A_KIND)
def test_a_cell_can_have_a_scheme_or_says_why_not(cell):
    small = {"cell": {"name": cell, "hidden_size": 4}, "truncation": 2, "sequence_length": 4, "measure": "minimal"}
    small["engine"] = "numpy"
    for scheme in choices("scheme"):
        plain = small | {"scheme": scheme}
        if scheme in schemes_of(cell):
            assert run(plain).run["status"] == "done"
        else:
            with pytest.raises(ConfigurationError, match=f"^scheme=rflo: [^\n]*must not be requested of '{cell}'$"):
                run(plain)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("measure.signed_bias=2 cell=lstm", "measure.signed_bias=2: the cell 'lstm' has no b_h with one number a unit"),
        ("measure.log_scale=true cell=diagonal", "measure.log_scale=true: the cell 'diagonal' has no recurrent matrix"),
        ("measure.exponents=9", "measure.exponents=9: must be at most 4, the size of the state, or all"),
        ("measure.exponents=0", "measure.exponents=0: must be an integer >= 1, 'all' or 'none'"),
        ("measure.windows=4", "measure.windows=4: needs exponents, and measure.exponents is none"),
        ("measure.transient=1", "measure.transient=1: must be a number >= 0 and < 1"),
        ("readout=units task=copy sequence_length=30", "readout=units: 10 outputs of 4 hidden units; must be drawn"),
    ],
)
def test_a_measure_that_a_cell_cannot_have_says_why(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "study=smoke", "cell.hidden_size=4", *line.split()]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
