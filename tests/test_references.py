"""Every citation is in the list of references, and every entry of the list is cited where it says so."""

import re
import unicodedata
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "docs" / "references.md"
FOLDERS = ("bpttlab", "docs", "experiments", "conf", "tests")

NAME = r"(?:van )?[A-Z][A-Za-z]+(?:-[A-Z][a-z]+)*"
YEAR = r"(?:18|19|20)\d\d[a-z]?(?![\w-])"
CITATION = re.compile(rf"((?:{NAME}, )*{NAME}(?: & {NAME}| et al\.)?) ({YEAR})")
PLACE = re.compile(r",? (section|chapter|figure|algorithm|theorem|lemma|experiment|eq)s?\.? (\w[\w.]*\w|\w)")


def plain(text):
    """Without accents, and without line ends: a citation may be broken over two lines of a text or a comment."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"\s*\n[\s#]*", " ", letters)


ENTRY = re.compile(
    r"^### ([^\n]+)\n\n(.+?)\n\n- Used in (.+?)\n- Checked: (.+?)(?=\n\n#|\s*\Z)", re.MULTILINE | re.DOTALL
)


def entries_of(text):
    """Citation -> its entry of the list: the work, where it is used, what was checked."""
    return {plain(citation): (work, used, checked) for citation, work, used, checked in ENTRY.findall(text)}


ENTRIES = entries_of(LIST.read_text(encoding="utf-8"))


@cache
def texts(folder):
    """Path -> plain text of what is read by people, below a folder or at a file."""
    paths = [folder] if folder.is_file() else folder.rglob("*")
    paths = [path for path in paths if path.suffix in (".py", ".md", ".yaml")]
    return {path: plain(path.read_text(encoding="utf-8")) for path in paths if path not in (LIST, Path(__file__))}


def cited(text, entries):
    """Each citation with its entry, None where there is none, and the text after it.

    A word that stands before the authors ("ARTBP, Tallec & Ollivier 2017") is no author.
    """
    for found in CITATION.finditer(text):
        names = found[1].split(", ")
        candidates = [f"{', '.join(names[first:])} {found[2]}" for first in range(len(names))]
        yield found[0], next((one for one in candidates if one in entries), None), text[found.end() :]


def unlisted(text, entries):
    return [citation for citation, entry, _ in cited(text, entries) if entry is None]


def unlisted_places(text, entries):
    """Sections, equations, ... that a citation names, and its entry does not."""
    for _, entry, after in cited(text, entries):
        place = PLACE.match(after) if entry else None
        if place and not re.search(
            rf"{place[1]}s?\.? (?:[^;.]* )?{re.escape(place[2])}\b", plain(entries[entry][2]), re.I
        ):
            yield f"{entry}, {place[1]} {place[2]}"


@pytest.mark.parametrize("folder", [*FOLDERS, "README.md"])
def test_every_citation_is_in_the_list(folder):
    missing = {
        path.relative_to(ROOT).as_posix(): unlisted(text, ENTRIES) for path, text in texts(ROOT / folder).items()
    }
    assert {path: citations for path, citations in missing.items() if citations} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_place_that_a_citation_names_is_in_its_entry(folder):
    assert [place for text in texts(ROOT / folder).values() for place in unlisted_places(text, ENTRIES)] == []


def test_every_entry_is_used_where_it_says():
    for citation, (_, used, _) in ENTRIES.items():
        assert re.findall("`([^`]+)`", used), f"{citation} is used nowhere"
        for path in re.findall("`([^`]+)`", used):
            assert any(citation in text for text in texts(ROOT / path).values()), f"{citation} is not cited in {path}"


def test_every_entry_says_what_was_checked():
    kinds = ("read", "computed", "measured", "derived", "from memory", "described")
    for citation, (work, _, checked) in ENTRIES.items():
        assert work and any(kind in checked.lower() for kind in kinds), citation


def test_entries_are_of_one_form():
    assert len(ENTRIES) == LIST.read_text(encoding="utf-8").count("\n### ") > 70
    for citation in ENTRIES:
        assert CITATION.fullmatch(citation) and citation.count(",") < 2, f"{citation}: more than three authors"


FEW = entries_of(
    "### Aa & Bé 1990\n\n*A*.\n\n- Used in `x`.\n- Checked: Eq. 5 to 8:\n  from memory.\n\n"
    "### Cc, Dd-Ee & Ff 2018b\n\n*B*.\n\n- Used in `x`.\n- Checked: Section 2: read."
)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("(Aa & Be 1990, eq. 5) and Cc,\n    # Dd-Ee & Ff 2018b; done 2026-11-23", []),
        ("ARTBP, Aa & Bé 1990", []),
        ("Aa 1990", ["Aa 1990"]),
        ("Cc, Dd-Ee & Ff 2018", ["Cc, Dd-Ee & Ff 2018"]),
        ("Cc et al. 2018b", ["Cc et al. 2018b"]),
        ("Dd-Ee & Ff 2018b", ["Dd-Ee & Ff 2018b"]),
    ],
)
def test_a_citation_without_an_entry_is_found(text, missing):
    assert unlisted(plain(text), FEW) == missing


def test_a_place_that_the_entry_does_not_name_is_found():
    assert list(unlisted_places("Aa & Be 1990, eq. 5 to 8; Cc, Dd-Ee & Ff 2018b, section 2", FEW)) == []
    assert list(unlisted_places("Cc, Dd-Ee & Ff 2018b, section 2.1", FEW)) == ["Cc, Dd-Ee & Ff 2018b, section 2.1"]
    assert list(unlisted_places("Aa & Be 1990, figure 1", FEW)) == ["Aa & Be 1990, figure 1"]
