"""`bpttlab tables, figures, claims, verify`: what is printed and written."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bpttlab import places
from bpttlab.cli import main

pytestmark = pytest.mark.usefixtures("folder")


def test_tables_are_printed_and_written(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first"]) == 0
    printed = capsys.readouterr().out
    assert "growth  (results/first/tables/growth.{csv,md,tex})" in printed
    assert "vanishing" in printed
    written = sorted(path.name for path in Path("results/first/tables").iterdir())
    names = ("critical_spectral_radius", "growth", "truncation_bias")
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


def test_claims_are_held_against_a_study(studied, monkeypatch, capsys, tmp_path):
    analysis = tmp_path / "experiments" / "odd" / "analysis.py"
    analysis.parent.mkdir(parents=True)
    text = "import pandas as pd\nfrom bpttlab.claims import claim\ndef claims(study):\n    n = len(study.runs)\n"
    text += "    return pd.DataFrame([claim('runs', 'counted', '12', n, 0, n == {})])\n"
    monkeypatch.setattr(places, "experiments", lambda: tmp_path / "experiments")
    monkeypatch.chdir(studied)
    for number, code in ((12, 0), (13, 1)):
        analysis.write_text(text.format(number), encoding="utf-8")
        assert main(["claims", "study=first", "experiment=odd"]) == code
        shown = capsys.readouterr().out.splitlines()
        assert shown[0] == f"{'FAILS' if code else 'holds'}     runs: 12, expected 12 (counted)"
        assert shown[-1] == f"{1 - code} of 1 claims of odd hold in results/first"
    assert main(["claims", "study=first"]) == 1
    analysis.write_text("def claims(study):\n    return study.runs['no such column']\n", encoding="utf-8")
    assert main(["claims", "study=first"]) == 2
    assert "was it swept with experiment=odd?" in capsys.readouterr().err
    assert main(["claims", "study=first", "experiment=od"]) == 2
    assert "Did you mean 'odd'?" in capsys.readouterr().err
    shutil.copytree(tmp_path / "experiments" / "odd", tmp_path / "experiments" / "even")
    assert main(["claims", "study=first"]) == 2
    assert "experiment is missing: must be one of even, odd" in capsys.readouterr().err
