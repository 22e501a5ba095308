"""What is done to a stored file is named with its runs, and the rest is read; a repair and the same line heal it."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from faults import damage, studies
from faults.damage import CHANGES, Damaged
from faults.needs import scratch_folder


@pytest.fixture(scope="module")
def folder():
    """A folder with a small study."""
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        studies.warm_up(Path(name))
        Path(name, "warm").rename(Path(name, "whole"))
        yield Path(name)


@pytest.fixture(scope="module")
def whole(folder):
    return studies.inspect(folder / "whole", provenance=True)


@pytest.fixture
def results(folder, tmp_path):
    """A copy of the study."""
    shutil.copytree(folder / "whole", tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("number", range(1, 12))
def test_damage_is_named_and_the_rest_is_read(folder, whole, number):
    assert damage.attempt(folder, whole, 0, number)[1] == []


def test_a_repair_and_the_same_line_heal_it(folder, whole):
    assert damage.attempt(folder, whole, 0, damage.REPAIRED)[1] == []


@pytest.mark.parametrize("kind", CHANGES)
def test_each_kind_changes_the_file(results, kind):
    path = sorted(results.glob("x/store/runs/*"))[0]
    before = path.read_bytes()
    CHANGES[kind](path, np.random.default_rng(0))
    assert path.is_symlink() or not path.is_file() or path.read_bytes() != before


def test_other_rows_and_absent_runs_are_losses(results, whole):
    few = studies.Found({}, {"a": "done"})
    losses = list(damage.judge(Damaged("x", "store/runs/a.parquet"), results, few))
    assert "store/runs/a.parquet is not named: []" in losses
    assert "run a is absent and not named" in losses
    assert sum("was never stored" in loss for loss in losses) == studies.RUNS
    assert any("has other rows in lag_terms" in loss for loss in losses)
