"""The examples of docs/training.md run as they stand, with fewer updates."""

import re
from pathlib import Path

import pytest

import bpttlab as lab
from bpttlab import plugins
from bpttlab.cli import main
from tests.support.pages import commands_of, python_of, run_python

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_python_of_the_page_runs():
    fewer = {"updates=300": 'updates=3, engine="numpy"', "updates=10)": "updates=2)"}
    code = "\n".join(block for block in python_of(TEXT) if "taught" not in block)
    for text, less in fewer.items():
        code = code.replace(text, less)
    names = run_python([code], str(PAGE))
    assert names["trained"].updates == 3
    assert len(names["products"])


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path, monkeypatch, quick_disk):
    monkeypatch.chdir(tmp_path)
    fewer = ["workers=0", "engine=numpy", "measure=minimal", "training.check_sequences=20"]
    small = {"training.updates=300": "training.updates=3", "range(0,6)": "0,1", "hidden_size=16": "hidden_size=5"}
    text = TEXT
    for words, less in small.items():
        assert words in text
        text = text.replace(words, less)
    for words in commands_of(text):
        less = fewer[:2] if "study=longer" in words else fewer if words[0] == "sweep" else []
        assert main([*map(with_network, words), *less]) == 0
    runs = lab.load("taught").runs
    assert sorted(runs["update"].unique()) == [0, 1, 2, 3]
    assert len(runs) == 2 * 2 * 2 * 4
    (block,) = [with_network(block) for block in python_of(TEXT) if "taught" in block]
    run_python(["import bpttlab as lab", block], str(PAGE))


def with_network(text):
    """A line of the page with a network that there is."""
    if "0a1b2c3d@" not in text:
        return text
    network = lab.load("taught").runs["network_id"].min()
    return text.replace("0a1b2c3d@300", f"{network[:8]}@3").replace("0a1b2c3d@0", f"{network[:8]}@0")


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", TEXT))
def test_the_links_of_the_page_lead_somewhere(link):
    assert (PAGE.parent / link).exists()


@pytest.mark.parametrize("kind", ["penalty", "projection"])
def test_the_page_lists_every_choice(kind):
    table = TEXT.split(f"| `{kind}=` |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == plugins.names(kind)
