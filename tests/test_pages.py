"""How tests read the examples of pages: one way for all pages, so that a page may fold its lines."""

import pytest

from tests.support.commandline import REPOSITORY
from tests.support.pages import Block, commands_in, commands_of, find_blocks

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_can_be_read(name):
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    assert page.count("\n```") == 2 * len(find_blocks(page))
    assert all(words for words in commands_of(page))


def test_a_folded_line_is_one_command():
    shell = "bpttlab sweep study=a \\\n  'seed=range(0,3)' \\\n  cell=gru\n\n# a remark\nbpttlab tables  # of that\n"
    assert commands_in(shell) == [["sweep", "study=a", "seed=range(0,3)", "cell=gru"], ["tables"]]


def test_a_line_of_another_program_is_named():
    with pytest.raises(ValueError, match="'python mine.py' does not call bpttlab"):
        commands_in("python mine.py\n")


def test_blocks_keep_their_language_and_order():
    page = "text\n```python\na = 1\n```\n```sh\nbpttlab tables\n```\n```\nno language\n```\n"
    assert find_blocks(page) == [
        Block("python", "a = 1\n"),
        Block("sh", "bpttlab tables\n"),
        Block("", "no language\n"),
    ]
