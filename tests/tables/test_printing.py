"""Summaries on a terminal: what is the same, missing or long is said once; everything fits."""

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from tests.support import synthetic


@pytest.fixture(scope="module")
def growth():
    return tables.growth(synthetic.study(seeds=8).runs)


@pytest.mark.parametrize("width", [60, 100, 200])
def test_a_table_fits_the_terminal(growth, width):
    lines = tables.format_table(growth, width).splitlines()
    assert max(map(len, lines)) <= width


def test_a_constant_column_is_said_once_above_the_table(growth):
    text = tables.format_table(growth, width=100)
    assert text.count("gaussian_radius") == 1
    assert (growth["regime"] == "vanishing").any()
    assert (
        len([line for line in text.splitlines() if "  vanishing " in line]) == (growth["regime"] == "vanishing").sum()
    )


def test_the_value_requested_has_its_own_name(growth):
    text = tables.format_table(growth, width=200)
    assert "value requested" not in text
    assert "spectral_radius" in text


def test_columns_that_do_not_fit_continue_below_or_are_named(growth):
    whole, cut = (tables.format_table(growth, 60, whole=whole) for whole in (True, False))
    assert whole.count("spectral_radius") > 1
    assert "more columns: " not in whole
    assert "more columns: " in cut
    assert "log gamma sigma" in cut.split("more columns: ")[1].replace("\n", " ")


def test_rows_that_are_not_shown_are_counted(growth):
    cut = tables.format_table(growth, rows=4)
    assert f"... and {len(growth) - 4} more rows" in cut
    assert len(cut.splitlines()) < len(tables.format_table(growth).splitlines())


def test_a_table_without_rows_says_so(growth):
    assert tables.format_table(growth.iloc[:0]) == "(no rows)\n"


def test_a_lone_row_keeps_what_is_measured(growth):
    caption, *_, last = tables.format_table(growth.head(1), width=300).splitlines()
    assert "gaussian_radius" in caption
    assert f"{growth['asymptote_rate'].iloc[0]:.4g}" in last


def frame(**columns):
    return pd.DataFrame({"task": ["a", "b", "c"], "networks": 3, **columns})


def test_zero_counts_and_missing_values_are_named_together():
    text = tables.format_table(frame(diverged=0, failed=0, rate=[1.0, 2.0, 3.0], mean_field_rate=np.nan))
    assert text.splitlines()[:3] == [
        "networks 3",
        "no network counts as diverged, failed",
        "no row has a value of mean field",
    ]


def test_a_sentence_that_repeats_is_a_note_below():
    long = "a linear network has this rate, and a nonlinear one need not have it"
    text = tables.format_table(frame(outside=[long, "short", long]))
    assert text.count(long) == 1
    assert text.endswith(f"\n(a) {long}\n(b) short\n")
    assert [line.split()[-1] for line in text.splitlines()[2:5]] == ["(a)", "(b)", "(a)"]


def test_an_interval_is_explained_once_and_so_is_its_absence():
    few = frame(growth_rate=[1.0, 2.0, 3.0], growth_rate_low=np.nan, growth_rate_high=np.nan)
    text = tables.format_table(few)
    assert text.count("n < 6") == 1
    text = tables.format_table(
        few.assign(growth_rate_low=[0.5, np.nan, np.nan], growth_rate_high=[1.5, np.nan, np.nan])
    )
    assert text.count("order statistics") == 1
    assert text.count("[n < 6]") == 2


def test_wide_and_control_characters_are_shown_as_text():
    text = tables.format_table(frame(regime=["[bold]x[/]", "é\x1b[31m", "日本"]))
    assert "[bold]x[/]" in text
    assert "\x1b" not in text
    assert "日本" in text


def test_what_rows_share_is_told_of_columns_that_are_not_shown():
    table = pd.DataFrame(
        {"task": ["noise"] * 2, "sequence_length": [5, 9], "networks": [3, 8], "growth_rate": [1.0, 2.0]}
    )
    shown = tables.choose_columns(table, ["sequence_length", "growth_rate"])
    assert tables.describe_shared(table, shown) == ["task noise", "a row is of 3 to 8 networks"]
    assert tables.describe_shared(table.assign(networks=3), shown) == ["task noise, networks 3"]


def test_rows_that_differ_in_their_names_alone_are_shown():
    text = tables.format_table(frame(diverged=0, failed=2, rate=0.5, mean_field_rate=np.nan))
    assert text.splitlines()[:3] == [
        "networks 3, failed 2",
        "no network counts as diverged",
        "no row has a value of mean field",
    ]
    assert [line.split() for line in text.splitlines()[-3:]] == [["a", "0.5"], ["b", "0.5"], ["c", "0.5"]]


def test_a_table_of_keys_alone_has_its_rows():
    text = tables.format_table(frame(diverged=0))
    assert text == "networks 3\nno network counts as diverged\ntask\na\nb\nc\n"


def test_a_share_without_an_interval_is_no_median():
    empty = dict.fromkeys(("success_rate_low", "success_rate_high", "growth_rate_low", "growth_rate_high"), np.nan)
    text = tables.format_table(frame(success_rate=[0.0, 0.5, 1.0], growth_rate=[1.0, 2.0, 3.0], **empty))
    assert text.splitlines()[1:3] == [
        "success rate: share, no interval (n < 6)",
        "asymptotic rate: median, no interval (n < 6)",
    ]


def test_notes_are_of_the_rows_and_columns_that_are_shown():
    first, second = "first " * 8, "second " * 8
    wide = pd.DataFrame({"loss": [1.0, 2.0, 3.0], "note": [first, first, second], "w" * 60: 0.5, "hash": [first] * 3})
    wide.loc[2, ["w" * 60, "hash"]] = 0.25, second
    whole = tables.format_table(wide, 80)
    assert [note in whole for note in ("(a) first", "(b) second")] == [True, True]
    cut = tables.format_table(wide, 80, rows=2, whole=False)
    assert [note in cut for note in ("(a) first", "(b) second")] == [True, False]
    hidden = tables.format_table(wide.drop(columns="note"), 60, whole=False)
    assert hidden.endswith("hash\n")
    assert "first" not in hidden


def test_two_columns_of_one_title_are_both_shown():
    text = tables.format_table(pd.DataFrame({"networks": [1, 1], "rate": [1.0, 2.0], "theory": [3.0, 4.0]}))
    assert [line.split() for line in text.splitlines()[-2:]] == [["1", "3"], ["2", "4"]]


def test_the_fields_of_schemes_are_one_column():
    fields = pd.DataFrame({"scheme": ["windowed", "random", "full"], "scheme_k1": [2, np.nan, np.nan]})
    fields = fields.assign(scheme_draws=[np.nan, 32, np.nan], scheme_cuts=[None, "constant", None], networks=8)
    lines = tables.format_table(fields.assign(rate=[1.0, 2.0, 3.0])).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["scheme", "scheme", "fields", "rate"],
        ["(nat/step)"],
        ["windowed", "k1", "2", "1"],
        ["random", "draws", "32,", "cuts", "constant", "2"],
        ["full", "–", "3"],
    ]


def test_a_stored_table_names_few_of_its_constants():
    fields = {f"measure_field_{number}": number for number in range(30)}
    stored = pd.DataFrame({"update": [1, 2], "loss": [0.5, 0.25]}).assign(**fields, task="adding", status="done")
    told = tables.format_table(stored, 100).split("update")[0]
    assert told.startswith("task adding, status done, measure_field_0 0, ")
    assert "and 22 more columns (columns=NAME prints one)" in " ".join(told.split())
    assert "measure_field_29 29" in tables.format_table(stored.assign(networks=3), 100)
