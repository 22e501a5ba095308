"""Help shows fields with their defaults, meanings and bounds, as conf/ states them."""

import subprocess
import sys

import pytest

from bpttlab import plugins
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.fields import describe_fields
from bpttlab.networks.cells import GRU
from bpttlab.sweeps.configuration import Values
from bpttlab.sweeps.field_help import help_of_choices, help_of_values
from bpttlab.sweeps.plan import Options
from tests.support.own_parts import PARTS, write

OWN = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.initializers import Initializer, SpectralRadius


@dataclass(frozen=True)
class Cycle(Initializer):
    """Each unit sends to the next."""

    name: ClassVar[str] = "cycle"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True
    spectral_radius: SpectralRadius = 1.0
    shift: Annotated[int, Field(ge=1, description="units from one to the next")] = 3

    def draw_unscaled(self, rng, size):
        return np.roll(np.eye(size), self.shift, axis=1)

    def measure_realized(self, W):
        return float(np.abs(np.linalg.eigvals(W)).max())
'''


def test_values_have_their_default_meaning_and_bounds():
    text = help_of_values()
    for field in (*describe_fields(Values), *describe_fields(Options)):
        assert any(line.startswith(f"{field.name}: ") for line in text.splitlines()), field.name
    assert "sequence_length: 50             # T, steps (>= 1)" in text.splitlines()
    assert "\n  V: 1.0" in text and "hydra" not in text and "defaults:" not in text


def test_a_choice_has_all_of_its_fields():
    text = help_of_choices(["study=first", "cell=gru", "seed=1", "task=adding"])
    first = text.splitlines()[:3]
    assert first == [
        "cell=gru   (fields are set by cell.FIELD=VALUE)",
        "",
        "Gated recurrent unit (Cho et al. 2014, eq. 5 to 8; PyTorch's `nn.GRU`).",
    ]
    for field in describe_fields(GRU):
        assert any(line.startswith(f"{field.name}: ") for line in text.splitlines()), field.name
    assert "\n\ntask=adding   (fields are set by task.FIELD=VALUE)\n\nx_t = (value, marker)" in text
    assert help_of_choices(["study=first", "--help"]) == ""


def test_a_choice_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="^cell='gruu': must be one of .* Did you mean 'gru'"):
        help_of_choices(["cell=gruu"])


def test_a_choice_of_a_users_file_is_described_from_its_class(tmp_path):
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    with plugins.use(str(tmp_path / "own.py")):
        text = help_of_choices(["initializer=cycle"])
    assert "Each unit sends to the next." in text.splitlines()
    assert "spectral_radius: null           # largest |eigenvalue| of W; null: " in text
    assert "shift: 3                        # units from one to the next (>= 1)" in text.splitlines()


def test_the_command_shows_values_and_the_fields_of_a_choice(capsys):
    assert main(["sweep", "--help"]) == 0
    assert "\nbatch_size: 8                   # B, sequences of a run (>= 1)\n" in capsys.readouterr().out
    assert main(["sweep", "--help", "cell=leaky"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: bpttlab sweep ")
    assert "\nalpha: 0.1  " in shown and "batch_size" not in shown
    assert main(["sweep", "--help", "cell=leeky"]) == 2
    assert "cell='leeky': must be one of" in capsys.readouterr().err


def test_help_of_shipped_choices_imports_no_engine():
    code = (
        "import sys; from bpttlab.sweeps.field_help import *; help_of_values(); help_of_choices(['cell=gru']);"
        "print([name for name in ('numpy', 'pandas', 'hydra', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_help_of_an_experiment_says_what_it_asks_and_sets(capsys):
    assert main(["sweep", "--help", "experiment=vanishing_exploding"]) == 0
    shown = capsys.readouterr().out
    assert "experiment=vanishing_exploding\n\nDoes the gradient vanish or explode" in shown
    assert "spectral_radius: 0.5,0.9" in shown and "@package" not in shown
    with pytest.raises(ConfigurationError, match="Did you mean 'cliffs'"):
        help_of_choices(["experiment=clifs"])


def test_help_of_a_value_is_its_lines():
    assert help_of_choices(["engine=numba"]).startswith("engine: numba   ")
    assert help_of_choices(["scales.V=2"]).splitlines()[0].startswith("scales:")
    assert (
        help_of_choices(["seed=1", "study=x"])
        == "seed: 0                         # draws the network and the data (>= 0)"
    )


def test_help_of_a_field_is_that_of_its_choice():
    assert help_of_choices(["cell.hidden_size=64"]) == help_of_choices(["cell=elman"])
    assert help_of_choices(["cell=gru", "cell.reset=before"]) == help_of_choices(["cell=gru"])
    assert help_of_choices(["task=noise,adding"]) == help_of_choices(["task=noise"]) + "\n\n" + help_of_choices(
        ["task=adding"]
    )


def test_help_has_no_page_for_an_unknown_key(capsys):
    assert main(["sweep", "--help", "table=growth"]) == 2
    assert "table: a sweep has no such value, and --help no page for it" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="Did you mean 'engine'"):
        help_of_choices(["engin=numba"])


def test_help_of_ones_own_experiment_says_what_it_sets(folder, capsys):
    write(folder, "mine.py", PARTS["experiment"])
    assert main(["sweep", "--help", "plugins=mine.py", "experiment=short"]) == 0
    shown = capsys.readouterr().out
    assert "experiment=short   (your own; it sets)\n\n" in shown and "examples:" not in shown
