"""The examples of docs/monitor.md run as they stand, with fewer updates."""

import re
from pathlib import Path

import pytest

import bpttlab as lab
from bpttlab.cli import main
from tests.support.pages import commands_of, python_of, run_python
from tests.support.state_dicts import save, state_dict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitor.md"
TEXT = PAGE.read_text(encoding="utf-8")
SMALLER = {"every=100": 'every=1, engine="numpy"', "301": "3", "(2, 32)": "(2, 4)", "(32, 1)": "(4, 1)", "=50": "=8"}


def smaller(code):
    for text, less in SMALLER.items():
        code = code.replace(text, less)
    return code


@pytest.mark.slow
def test_the_python_and_the_commands_of_the_page_run(tmp_path, monkeypatch, quick_disk, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    for name, seed in (("initial", 0), ("trained", 1)):
        save(f"{name}.npz", state_dict("lstm", seed=seed))
    run_python([smaller(block) for block in python_of(TEXT)], str(PAGE))
    assert lab.load("mine").runs["status"].tolist() == ["done"] * 3
    assert len(lab.tables.paired(lab.load("files").runs)) > 3
    for words in commands_of(TEXT):
        assert main(words) == 0
    assert "growth_rate" in capsys.readouterr().out
    assert (tmp_path / "results" / "mine" / "figures" / "updates.png").is_file()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", TEXT))
def test_the_links_of_the_page_lead_somewhere(link):
    assert (PAGE.parent / link).exists()
