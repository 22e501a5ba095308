"""`bpttlab tables, figures, claims, verify`: what is printed and written."""

from pathlib import Path

import pandas as pd
import pytest

from bpttlab import resources, tables
from bpttlab.cli import main
from bpttlab.cli.sweep import override_lines
from bpttlab.cli.tables import screenful
from bpttlab.store import sweep_requests
from tests.support import synthetic

pytestmark = pytest.mark.usefixtures("folder")


def test_tables_are_printed_and_written(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("headline\n")
    assert shown.endswith("\ntables: results/first/tables (6 as .csv, .md and .tex)\n")
    assert "by network 3 vanishing" in shown
    assert "3 networks: no interval over networks (it needs 6); sweep seed=range(0,8)" in shown
    assert "no interval (n < 6)" in shown
    assert len(shown.splitlines()) <= 40
    written = sorted(path.name for path in Path("results/first/tables").iterdir())
    names = ("critical_spectral_radius", "growth", "headline", "sufficient_truncation", "theory", "truncation_bias")
    assert written == sorted(f"{name}.{ending}" for name in names for ending in ("csv", "md", "tex"))
    assert len(pd.read_csv("results/first/tables/growth.csv")) == 2
    page = Path("results/first/tables/sufficient_truncation.md").read_text()
    assert "\n\nK for 5 %: the smallest K such that" in page and "keeps the bias of dL/dW within 5 %" in page


def test_one_table_is_printed_whole_and_all_of_them_on_request(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first", "table=truncation_bias"]) == 0
    one = capsys.readouterr().out
    assert one.startswith("truncation_bias  (")
    assert "headline" not in one
    assert main(["tables", "study=first", "all=true"]) == 0
    every = capsys.readouterr().out
    assert [line for line in every.splitlines() if line in ("headline", "growth", "theory", "truncation_bias")] == [
        *("headline", "growth", "truncation_bias", "theory")
    ]
    assert main(["tables", "study=first", "table=grwth"]) == 2
    assert "Did you mean 'growth'?" in capsys.readouterr().err


def test_the_tables_of_a_large_study_fit_a_screen():
    study = synthetic.study(seeds=2, lengths=(10, 50, 100), radii=(0.5, 0.9, 1.0, 1.1, 1.5, 2.5))
    summaries = tables.summaries(study)
    for columns in (80, 120):
        shown = screenful(summaries, columns)
        assert len(shown.splitlines()) < 40
        assert max(map(len, shown.splitlines())) <= columns
        assert "not shown: growth (18 rows)" in shown


@pytest.mark.slow
def test_figures_are_drawn_again_with_the_same_bytes(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    drawn = []
    for _ in range(2):
        assert main(["figures", "study=first", "products", "format=svg", "size=column"]) == 0
        drawn.append({path.name: path.read_bytes() for path in Path("results/first/figures").iterdir()})
    assert drawn[0] == drawn[1]
    assert "products.svg" in drawn[0]
    shown = capsys.readouterr().out
    assert shown.startswith("figures: results/first/figures (")
    assert "not drawn" not in shown
    assert main(["figures", "study=first", "--verbose"]) == 0
    shown = capsys.readouterr().out
    assert "results/first/figures/growth.png\n" in shown
    assert "not drawn: triangle: " in shown


def test_a_format_that_there_is_not_is_refused(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["figures", "study=first", "format=gif"]) == 2
    assert "format=gif: must be png or svg or pdf" in capsys.readouterr().err


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
        assert main(["claims", "study=first", "experiment=odd", "--brief"]) == code
        assert capsys.readouterr().out.splitlines() == shown[-1:]
    odd.write_text(BROKEN, encoding="utf-8")
    assert main(["claims", "study=first", "experiment=odd"]) == 2
    assert capsys.readouterr().err.endswith("the study was not swept with experiment=odd\n")
    assert main(["claims", "study=first", "experiment=od"]) == 2
    assert "Did you mean 'odd'?" in capsys.readouterr().err
    assert main(["claims", "study=first"]) == 2
    said = capsys.readouterr().err
    assert "study 'first' belongs to no experiment" in said
    assert "type bpttlab claims study=first experiment=odd, where" in said


@pytest.mark.parametrize(
    "line", ["bpttlab sweep study=first experiment=odd seed=0", pytest.param(None, marks=pytest.mark.slow)]
)
def test_a_study_has_the_tables_and_figures_of_its_experiment(odd, monkeypatch, capsys, line):
    monkeypatch.setattr(sweep_requests, "find_last_line", lambda store: line)
    assert main(["claims", "study=first"]) == (0 if line else 2)
    assert main(["tables", "study=first"]) == 0
    assert main(["figures", "study=first", *(["blank"] if line else [])]) == 0
    assert (": blank)" in capsys.readouterr().out) == (line is not None)
    for name in ("tables/counted.csv", "figures/blank.png"):
        written = Path("results", "first", name)
        assert written.exists() == (line is not None)
        written.unlink(missing_ok=True)


def test_a_sweep_of_an_experiment_need_not_name_the_study():
    assert override_lines(["experiment=odd", "seed=1"]) == ["experiment=odd", "seed=1", "study=odd"]
    for words in (["experiment=odd", "study=mine"], ["experiment=odd,even"], ["seed=1"]):
        assert override_lines(words) == words
