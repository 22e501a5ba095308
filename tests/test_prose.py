"""Pages are plain technical English: short lines, and no words that only this project would know."""

import functools
import importlib
import re
from pathlib import Path

import pytest

import bpttlab
from benchmarks import page

ROOT = Path(__file__).resolve().parents[1]
GENERATED = {"docs/tables.md"}
"""Its wide tables are written from declarations in the code."""
AS_FOUND = {"docs/rnn-bptt-notes.md"}
"""The notes that the project began with, kept as they were written."""
FOLDERS = ("docs", "experiments", "benchmarks", "faults", "mutants", "results/reference")
"""Of results only the reference: the other folders there are a user's studies, with tables of any width."""
PAGES = sorted(
    {ROOT / "README.md", ROOT / "results" / "README.md"}.union(
        *(set((ROOT / folder).rglob("*.md")) for folder in FOLDERS)
    )
)
LONGEST = 120

PRIVATE = {
    r"parcels?": "job",
    r"crews?": "worker pool",
    r"meddles?|do not meddle": "are independent",
    r"hangs? on": "depends on",
    r"whole numbers?": "integer",
    r"(?:is|are|be) told": "receives",
    r"held against": "compared with",
    r"held to": "checked by",
    r"whoever": "name the person",
    r"results wing|ground floor|front door": "name the room",
    r"(?:pulled|pulling) back": "vjp",
}
"""Words that house style replaces, each with the word to use."""
SOURCES_TOO = {word: use for word, use in PRIVATE.items() if use not in ("checked by", "name the room", "vjp")}
"""Those that have no meaning in code either."""


SOURCES = sorted(
    path
    for folder in ("bpttlab", "hydra_plugins", "conf", "experiments", "benchmarks", "faults", "mutants")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml")
)


def name(path):
    return path.relative_to(ROOT).as_posix()


def prose(text):
    """The lines outside of code blocks and of tables that a benchmark wrote, each with its number."""
    fenced = measured = False
    for number, line in enumerate(text.splitlines(), 1):
        measured = line == page.BEGIN or (measured and line != page.END)
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not (fenced or line.startswith("    ") or (measured and line.startswith("|"))):
            yield number, line


def long_lines(text):
    return [number for number, line in prose(text) if len(line) > LONGEST]


def private_words(text, words=PRIVATE):
    """Each private word of a page or source with the word to use; words may be broken over two lines."""
    lines = [line for _, line in prose(text)] if words is PRIVATE else text.splitlines()
    joined = re.sub(r"[\s#]+", " ", " ".join(lines))
    found = {use: re.findall(rf"\b(?:{word})\b", joined, re.IGNORECASE) for word, use in words.items()}
    return {use: words for use, words in found.items() if words}


def test_there_are_pages():
    assert len(PAGES) > 20


@pytest.mark.parametrize("path", [path for path in PAGES if name(path) not in GENERATED], ids=name)
def test_lines_have_at_most_120_characters(path):
    assert long_lines(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", [path for path in PAGES if name(path) not in AS_FOUND], ids=name)
def test_pages_use_no_private_words(path):
    assert private_words(path.read_text(encoding="utf-8")) == {}


def test_sources_use_no_private_words():
    found = {name(path): private_words(path.read_text(encoding="utf-8"), SOURCES_TOO) for path in SOURCES}
    assert {path: words for path, words in found.items() if words} == {}


def test_names_of_tests_have_at_most_60_characters():
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = [name for text in texts for name in re.findall(r"def (test_\w+)", text)]
    assert len(names) > 1000
    assert [name for name in names if len(name) > 60] == []


def test_a_long_line_is_found_outside_of_code():
    text = f"{'a' * 121}\n```\n{'b' * 121}\n```\n{'c' * 120}\n    {'d' * 121}\n"
    assert long_lines(text) == [1]


def test_a_private_word_is_found_across_lines():
    text = "It hangs\non K. A Parcel.\n```\nheld to\n```\n"
    assert private_words(text) == {"job": ["Parcel"], "depends on": ["hangs on"]}


def test_tables_of_a_benchmark_are_left_out():
    text = f"{page.BEGIN}\n| {'a' * 121} |\n{'b' * 121}\n{page.END}\n| {'c' * 121} |\n"
    assert long_lines(text) == [3, 5]


DOTTED = re.compile(r"`(bpttlab(?:\.\w+)+)")
PUBLIC = re.compile(r"\blab\.(\w+)")
PATH = re.compile(r"`((?:bpttlab|conf|docs|tests|benchmarks)/[\w./*-]+)`")
TO_WRITE = re.compile(r"ugrnn\.(py|yaml)$")
"""Files that a page shows to its reader."""


def resolve(dotted):
    """The object of a dotted name: a module, or what is within one."""
    for parts in range(dotted.count(".") + 1, 0, -1):
        words = dotted.split(".")
        try:
            found = importlib.import_module(".".join(words[:parts]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, words[parts:], found)
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_code_that_a_page_names_exists(path):
    text = path.read_text(encoding="utf-8")
    for dotted in DOTTED.findall(text):
        resolve(dotted)
    for public in PUBLIC.findall(text):
        assert hasattr(bpttlab, public), f"lab.{public}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_files_that_a_page_names_exist(path):
    for file in PATH.findall(path.read_text(encoding="utf-8")):
        assert TO_WRITE.search(file) or any(ROOT.glob(file.rstrip("/"))), file


def test_a_name_that_is_gone_is_found():
    assert resolve("bpttlab.numerics.matrices.gain") is not None
    with pytest.raises(AttributeError):
        resolve("bpttlab.numerics.matrices.gone")
