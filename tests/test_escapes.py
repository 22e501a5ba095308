"""Text of any origin is escaped at every place where it is written: without the escaping each of these tests fails."""

import argparse

import matplotlib as mpl
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from bpttlab import tables
from bpttlab.cli import arguments, fail, status
from bpttlab.escapes import escape_csv, escape_latex, escape_line, escape_lines, escape_markdown, escape_mathtext
from bpttlab.figures import arrangement, layout, lines, requested, schemes, style, truncation
from bpttlab.store.export import csv_bytes
from bpttlab.tables.columns import header
from bpttlab.tables.points import LABEL
from bpttlab.tables.printing import Sheet
from bpttlab.tables.writing import describe_value
from bpttlab.verification import report

RED = "\x1b[31mred"
"""Colours a terminal."""

FORMULA = "=1+1"
"""A spreadsheet computes it."""

MATHS = "$x^2$"
"""LaTeX and matplotlib set it as mathematics."""

MARKUP = "<b>*a|b*</b>"
"""HTML and Markdown obey it."""


# ------------------------------------------------------------------ the functions

ESCAPED = [
    (escape_line, f"{RED}\u202e\n", r"\x1b[31mred\u202e\n"),
    (escape_lines, f"{RED}\r\n{RED}", "\\x1b[31mred\\r\n\\x1b[31mred"),
    (escape_csv, FORMULA, "'=1+1"),
    (escape_csv, "'=1", "''=1"),
    (escape_csv, RED, r"\x1b[31mred"),
    (escape_csv, "-1.5", "-1.5"),
    (escape_markdown, MARKUP, r"&lt;b&gt;\*a\|b\*&lt;/b&gt;"),
    (escape_markdown, RED, r"\\x1b\[31mred"),
    (escape_latex, r"50% \input{x}", r"50\% \textbackslash{}input\{x\}"),
    (escape_latex, MATHS, r"\$x\textasciicircum{}2\$"),
    (escape_mathtext, MATHS, r"\$x^2\$"),
    (style.escape_text, f"{MATHS}{RED}\u4e2d\u202e", r"\$x^2\$\x1b[31mred\u4e2d\u202e"),
]


@pytest.mark.parametrize(("escape", "text", "written"), ESCAPED)
def test_what_an_output_would_obey_is_written_as_text(escape, text, written):
    assert escape(text) == written


# ------------------------------------------------------------------ tables

FRAME = pd.DataFrame({FORMULA: [FORMULA, RED], "kind_%": [MARKUP, MATHS], "value": [1.0, 2.0]})


def test_csv_escapes_cells_and_names():
    assert tables.csv(FRAME).splitlines()[0].startswith("'=1+1,")
    assert [line.split(",")[0] for line in tables.csv(FRAME).splitlines()[1:]] == ["'=1+1", r"\x1b[31mred"]


def test_markdown_escapes_cells_names_and_captions(tmp_path):
    text = tables.markdown(FRAME.rename(columns={"value": MARKUP}))
    assert "<b>" not in text and "\x1b" not in text and text.count(r"&lt;b&gt;\*a\|b\*") == 2
    tables.export_table(FRAME, tmp_path / "x.md", [f"{MARKUP}{RED}"])
    assert (tmp_path / "x.md").read_text(encoding="utf-8").endswith("\\*a\\|b\\*&lt;/b&gt;\\\\x1b\\[31mred\n")


def test_latex_escapes_cells_names_and_comments(tmp_path, monkeypatch):
    text = tables.latex(FRAME)
    assert r"\$x\textasciicircum{}2\$" in text and r"kind\_\%" in text and "\x1b" not in text
    for fold in ("fold_constants", "fold_long_texts"):  # whose sentences are comments
        with monkeypatch.context() as patch:
            patch.setattr(Sheet, fold, lambda self: ["a\n\\input{x}"])
            assert "\n\\input" not in tables.latex(FRAME)
    tables.export_table(FRAME, tmp_path / "x.tex", ["a\n\\input{x}"])
    assert "\n\\input" not in (tmp_path / "x.tex").read_text(encoding="utf-8")


def test_cells_and_names_on_a_terminal_are_escaped():
    assert describe_value(RED) == r"\x1b[31mred"
    assert header(RED) == r"\x1b[31mred"


def test_an_export_escapes_cells_and_names():
    written = csv_bytes(pa.table({FORMULA: [FORMULA, RED, None], "value": [1.0, 2.0, 3.0]})).decode()
    assert written.splitlines() == ['"\'=1+1","value"', '"\'=1+1",1', r'"\x1b[31mred",2', ",3"]


# ------------------------------------------------------------------ figures, pages

NAMED = f"{MATHS}{RED}"
IN_A_FIGURE = r"\$x^2\$\x1b[31mred"

TEXTS = {
    "a network's name": lambda: schemes._describe_value(LABEL, NAMED),
    "a value of a scheme's point": lambda: schemes._describe_value("task", NAMED),
    "a field of a scheme": lambda: truncation._shorten(NAMED),
    "a parameter": lambda: lines.parameter_key(NAMED).get_label().removeprefix("gradient of "),
    "a network's name in a facet": lambda: layout.describe_columns({LABEL: NAMED})[0],
    "a value in a facet": lambda: layout.describe_columns({"task": NAMED})[0],
    "a label on an axis": lambda: requested._shorten_labels({1.0: NAMED})[1.0],
    "a swept field": lambda: arrangement.words_of(NAMED),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_figure_shows_names_as_they_are(what):
    assert TEXTS[what]() == IN_A_FIGURE
    figure = Figure()
    figure.text(0, 0, TEXTS[what]())
    with mpl.rc_context({"text.usetex": False}):
        figure.draw_without_rendering()


def test_a_page_of_checks_obeys_no_markup(monkeypatch):
    named = {"topic": MARKUP, "verdict": "holds", "kind": MARKUP, "what": MARKUP, "expected": MARKUP, "source": MARKUP}
    numbers = {"measured": 1.0, "tolerance": 1.0, "low": float("nan"), "high": float("nan"), "seconds": 1.0}
    frame = pd.DataFrame([{**named, **numbers, "held": True}])
    cells = report.html_table(report.format_checks(frame))
    assert "<b>" not in cells and cells.count("&lt;b&gt;") == 4
    monkeypatch.setattr(report, "describe_chance_failures", lambda frame: MARKUP)
    shown = report.page(frame, MARKUP)
    assert "<b>" not in shown and shown.count("&lt;b&gt;") == 8


# ------------------------------------------------------------------ a terminal


def test_messages_and_lines_reach_a_terminal_escaped(capsys):
    arguments.say(f"{RED}\nsecond")
    fail(RED)
    said = capsys.readouterr()
    assert said.out == "\\x1b[31mred\nsecond\n"
    assert said.err == "bpttlab: \\x1b[31mred\n"


def test_lines_of_a_status_are_escaped(tmp_path, monkeypatch, capsys):
    numbers = dict.fromkeys(("runs", "networks", "done", "diverged"), 0) | {"failed": 1, "requested": 0, "missing": 0}
    empty = {"sweeps": [], "missing_runs": [], "mixed": {}, "damaged": [], "remedy": None, "litter": []}
    shown = status.Status(study="x", path=RED, reasons={"failed": {RED: 1}, "diverged": {}}, **numbers, **empty)
    assert all(line.isprintable() and "\\x1b" in line for line in shown.lines())
    assert [line.isprintable() for line in status.describe_studies(RED, [], {"x": RED})] == [True, True]
    assert status.describe_studies(RED, [], {})[0].isprintable()
    (tmp_path / RED).mkdir()
    monkeypatch.chdir(tmp_path)
    assert status.show_studies(RED, as_json=False) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_status_that_is_watched_is_escaped(monkeypatch, capsys):
    monkeypatch.setattr(status.Status, "is_whole", True)
    numbers = dict.fromkeys(("runs", "networks", "done", "diverged", "failed", "requested", "missing"), 0)
    empty = {"sweeps": [], "missing_runs": [], "mixed": {}, "damaged": [], "remedy": None, "litter": []}
    reasons = {"failed": {}, "diverged": {}}
    shown = status.Status(study="x", path=RED, reasons=reasons, **numbers, **empty)
    look = argparse.Namespace(read_status=lambda: shown)
    assert status.watch(look, as_json=False) == 0
    assert capsys.readouterr().out.startswith("\\x1b[31mred: ")
