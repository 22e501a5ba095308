"""Lists of values are every combination of them, as a line of the command is."""

import json

import numpy as np
import pytest

from bpttlab.errors import ConfigurationError
from bpttlab.sweeps import hydra_composition
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.grid import grid
from bpttlab.sweeps.scheduler import separate


def ids(configurations):
    return [Configuration.parse(configuration).run_id for configuration in configurations]


def test_a_grid_is_what_the_line_is():
    lines = ["spectral_radius=0.5,1.0", "scheme=per_loss,chunked", "cell.hidden_size=4,8", "seed=range(0,3)"]
    _, of_the_line = separate(hydra_composition.composer().expand([*lines, "task=adding", "study=x"]))
    of_the_grid = grid(
        {"cell.hidden_size": [4, 8]},
        spectral_radius=[0.5, 1.0],
        scheme=["per_loss", "chunked"],
        seed=range(3),
        task="adding",
    )
    assert len(of_the_grid) == 24
    assert sorted(ids(of_the_grid)) == sorted(ids(of_the_line))


def test_the_last_varies_fastest_and_one_value_is_one():
    assert grid() == [{}]
    assert grid(seed=3, task="noise") == [{"seed": 3, "task": "noise"}]
    assert grid(task=("noise", "adding"), seed=[0, 1]) == [
        {"task": "noise", "seed": 0},
        {"task": "noise", "seed": 1},
        {"task": "adding", "seed": 0},
        {"task": "adding", "seed": 1},
    ]


def test_arrays_are_numbers():
    runs = grid(spectral_radius=np.linspace(0.5, 1.5, 3), seed=[np.int64(3)])
    assert json.loads(json.dumps(runs)) == [{"spectral_radius": value, "seed": 3} for value in (0.5, 1.0, 1.5)]


def test_fields_of_groups():
    (run,) = grid({"task.input_size": 3, "task": "noise", "cell": {"name": "elman"}, "cell.activation": "relu"})
    noise = {"name": "noise", "input_size": 3, "output_size": 1}  # as `task=noise` on the command line
    assert run == {"task": noise, "cell": {"name": "elman", "activation": "relu"}}
    (run,) = grid({"cell.activation": "relu"})
    assert Configuration.parse(run).plain["cell"]["hidden_size"] == Configuration.parse({}).plain["cell"]["hidden_size"]


def test_mistakes():
    with pytest.raises(ConfigurationError, match="seed is given twice"):
        grid({"seed": 1}, seed=2)
    with pytest.raises(ConfigurationError, match="seed=.*holds no value at all"):
        grid(seed=[])
    with pytest.raises(ConfigurationError, match="Did you mean 'cell'"):
        ids(grid({"cel.hidden_size": 3}))
