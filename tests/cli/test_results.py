"""`bpttlab tables, figures, claims, verify`: what is printed and written."""

from pathlib import Path

import pandas as pd
import pytest

from bpttlab import resources
from bpttlab.cli import main
from bpttlab.cli.sweep import parsed
from bpttlab.store import last_sweep

pytestmark = pytest.mark.usefixtures("folder")


def test_tables_are_printed_and_written(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first"]) == 0
    printed = capsys.readouterr().out
    assert "growth  (results/first/tables/growth.{csv,md,tex})" in printed
    assert "undecided" in printed
    assert "[n < 6]" in printed
    written = sorted(path.name for path in Path("results/first/tables").iterdir())
    names = ("critical_spectral_radius", "growth", "theory", "truncation_bias")
    assert written == sorted(f"{name}.{ending}" for name in names for ending in ("csv", "md", "tex"))
    assert len(pd.read_csv("results/first/tables/growth.csv")) == 2


def test_figures_are_drawn_again_with_the_same_bytes(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    drawn = []
    for _ in range(2):
        assert main(["figures", "study=first", "format=svg", "size=column"]) == 0
        drawn.append({path.name: path.read_bytes() for path in Path("results/first/figures").iterdir()})
    assert drawn[0] == drawn[1]
    assert {"growth.svg", "products.svg"} <= set(drawn[0])
    assert "not drawn: triangle: " in capsys.readouterr().out


def test_a_format_that_there_is_not_is_refused(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["figures", "study=first", "format=gif"]) == 2
    assert "png, svg or pdf" in capsys.readouterr().err


ANALYSIS = """
import pandas as pd
from matplotlib.figure import Figure
from bpttlab.claims.claims import near

def claims(study):
    return pd.DataFrame([near("runs", "counted", len(study.runs), {}, 0)])

def summaries(study):
    return {{"counted": pd.DataFrame({{"runs": [len(study.runs)]}})}}

def draw(study, size):
    return {{"blank": Figure()}}
"""
BROKEN = "def claims(study):\n    return study.runs['no such column']\n"


@pytest.fixture
def odd(studied, monkeypatch, tmp_path):
    """The analysis of an experiment called odd, beside a study that was swept with no experiment."""
    analysis = tmp_path / "experiments" / "odd" / "analysis.py"
    analysis.parent.mkdir(parents=True)
    analysis.write_text(ANALYSIS.format(12), encoding="utf-8")
    monkeypatch.setattr(resources, "experiments", lambda: tmp_path / "experiments")
    monkeypatch.chdir(studied)
    return analysis


def test_claims_are_held_against_a_study(odd, capsys):
    for number, code in ((12, 0), (13, 1)):
        odd.write_text(ANALYSIS.format(number), encoding="utf-8")
        assert main(["claims", "study=first", "experiment=odd"]) == code
        shown = capsys.readouterr().out.splitlines()
        assert shown[0] == f"{'FAILS' if code else 'holds'}     runs: 12, expected {number} +- 0 (counted)"
        assert shown[-1] == f"{1 - code} of 1 claims of odd hold in results/first"
    odd.write_text(BROKEN, encoding="utf-8")
    assert main(["claims", "study=first", "experiment=odd"]) == 2
    assert "was it swept with experiment=odd?" in capsys.readouterr().err
    assert main(["claims", "study=first", "experiment=od"]) == 2
    assert "Did you mean 'odd'?" in capsys.readouterr().err
    assert main(["claims", "study=first"]) == 2
    assert "experiment is missing: must be one of odd" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["bpttlab sweep study=first experiment=odd seed=0", None])
def test_a_study_has_the_tables_and_figures_of_its_experiment(odd, monkeypatch, capsys, line):
    monkeypatch.setattr(last_sweep, "read", lambda store: last_sweep.LastSweep(line, ()))
    assert main(["claims", "study=first"]) == (0 if line else 2)
    assert main(["tables", "study=first"]) == main(["figures", "study=first"]) == 0
    assert ("figures/blank.png" in capsys.readouterr().out) == (line is not None)
    for name in ("tables/counted.csv", "figures/blank.png"):
        written = Path("results", "first", name)
        assert written.exists() == (line is not None)
        written.unlink(missing_ok=True)


def test_a_sweep_of_an_experiment_need_not_name_the_study():
    assert parsed(["experiment=odd", "seed=1"]).overrides == ["experiment=odd", "seed=1", "study=odd"]
    for words in (["experiment=odd", "study=mine"], ["experiment=odd,even"], ["seed=1"]):
        assert parsed(words).overrides == words
