"""The examples of docs/training.md run as they stand, with fewer updates."""

import re
from pathlib import Path

import pytest

from bpttlab import plugins

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_python_of_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    code = "\n".join(blocks).replace("updates=300", 'updates=3, engine="numpy"').replace("updates=10)", "updates=2)")
    names = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["trained"].updates == 3
    assert len(names["products"])


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", TEXT))
def test_the_links_of_the_page_lead_somewhere(link):
    assert (PAGE.parent / link).exists()


@pytest.mark.parametrize("kind", ["penalty", "projection"])
def test_the_page_lists_every_choice(kind):
    table = TEXT.split(f"| `{kind}=` |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == plugins.names(kind)
