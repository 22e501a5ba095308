"""What the READMEs of the experiments show is there, holds, and comes out again, byte for byte."""

import re
import runpy
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

from bpttlab import resources
from bpttlab.claims import analyses

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference" / "experiments"
REMADE = "mean_is_not_typical"
LARGEST = 250_000


@pytest.mark.parametrize("name", resources.analyses())
def test_every_experiment_is_indexed_with_results(name):
    assert f"({name}/README.md)" in (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    readme = (ROOT / "experiments" / name / "README.md").read_text(encoding="utf-8")
    assert f"(../../results/reference/experiments/{name}.png)" in readme
    assert 0 < (REFERENCE / f"{name}.png").stat().st_size < LARGEST
    claims = pd.read_csv(REFERENCE / f"{name}.csv")
    assert len(claims) > 5
    assert set(claims["verdict"]) == {"holds"}, claims[claims["verdict"] != "holds"].to_string()


def test_there_are_no_others():
    assert {path.stem for path in REFERENCE.iterdir()} == set(resources.analyses())


@pytest.mark.slow
def test_one_of_them_comes_out_again_byte_for_byte(tmp_path):
    made = runpy.run_path(str(ROOT / "experiments" / "reference.py"))["made"]
    table, figure = made(analyses.find_analysis(REMADE), tmp_path)
    assert table.read_bytes() == (REFERENCE / table.name).read_bytes()
    pinned = re.search(r"^matplotlib==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
    assert pinned is not None
    if version("matplotlib") == pinned[1]:  # another release draws other bytes
        assert figure.read_bytes() == (REFERENCE / figure.name).read_bytes()
