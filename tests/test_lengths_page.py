"""The examples of docs/lengths.md run as they stand, in their order."""

import re
from pathlib import Path

import pytest

from bpttlab.cli import main
from tests.support.pages import commands_in, find_blocks

PAGE = Path(__file__).resolve().parents[1] / "docs" / "lengths.md"
TEXT = PAGE.read_text(encoding="utf-8")
QUICK = ["workers=0", "engine=numpy", "cell.hidden_size=4"]


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, quick_disk):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "lengths"}
    for language, text in find_blocks(TEXT):
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), names)
        else:
            for words in commands_in(text):
                assert main([*words, *(QUICK if words[0] == "sweep" else [])]) == 0
    assert names["trace"].lengths.tolist() == names["lengths"].tolist()
    assert names["by_step"]["W"].any() and not names["by_step"]["W"][30:].any()
    assert (names["study"].sequence_lengths["length"].isin(names["lengths"])).all()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_the_links_of_the_page_lead_somewhere(link):
    assert (PAGE.parent / link).exists()
