"""docs/tables.md says of every summary column what it is, of what, with which interval; and the summaries are so."""

from pathlib import Path

import pytest

from bpttlab import tables
from bpttlab.tables import documented
from bpttlab.tables.columns import COLUMNS, KEY
from bpttlab.tables.documented import SUMMARIES
from bpttlab.tables.points import point_columns
from tests.support.analysed import swept
from tests.support.monitoring import load, make_monitor, train, trained_runs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"
MEASURED = {"log_scale": True, "exponents": "all", "scheme_seconds": True}
NETWORK = {"cell": {"name": "elman", "hidden_size": 4}, "batch_size": 2, "sequence_length": 12, "measure": MEASURED}
SCHEMES = ({"scheme": "per_loss", "truncation": 2}, {"scheme": "rtrl"}, {"scheme": {"name": "uoro", "draws": 3}},
           {"scheme": {"name": "adaptive", "delta": 0.3}, "truncation": 6})  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    points = [{**NETWORK, **scheme, "spectral_radius": radius} for scheme in SCHEMES for radius in (0.9, 3.0)]
    return swept(points, "documented", tmp_path_factory)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study of a network in training."""
    folder = tmp_path_factory.mktemp("trained")
    train(make_monitor(folder), updates=1)
    return load(folder)


@pytest.fixture(scope="module")
def summaries(study, trained):
    taught = {"success": tables.success(trained_runs([5, 7], [9]))}
    return {**tables.summaries(trained), **tables.summaries(study), **taught}


def test_every_summary_is_documented(summaries):
    assert set(summaries) == set(SUMMARIES)


@pytest.mark.parametrize("name", SUMMARIES)
def test_summary_has_documented_columns_and_intervals(study, trained, summaries, name):
    frame, summary = summaries[name], SUMMARIES[name]
    ends = {f"{column}_{end}" for column in summary.intervals for end in ("low", "high")}
    point = {
        *point_columns(study.runs),
        *point_columns(trained.runs),
        "length",
    }  # the prefix's length, where it is not T
    own = [column for column in frame if column not in {*ends, *point} and not column.startswith("scheme_")]
    timed = [column for column in frame if column == "scheme_seconds"]
    expected = [column for column in summary.columns if column not in {"length", "scheme_seconds"}]
    assert own == expected
    assert timed == [column for column in summary.columns if column == "scheme_seconds"]
    assert ends <= set(frame)
    assert len(frame)


def test_the_page_has_every_column_of_every_summary():
    section = PAGE.read_text(encoding="utf-8").split("\n## Summaries\n")[1].split("\n## ")[0]
    renew = "docs/tables.md, Summaries: print bpttlab.tables.documented.markdown() to renew it"
    assert section[section.index("### Every summary") :].strip() == documented.summaries_markdown().strip(), renew


def test_every_column_is_described_with_its_interval():
    shown = {column for summary in SUMMARIES.values() for column in summary.columns}
    assert shown | set(documented.POINT) == set(COLUMNS)
    for name, column in COLUMNS.items():
        assert column.header, name
        assert column.meaning, name
        assert column.of, name
    with_interval = {column for summary in SUMMARIES.values() for column in summary.intervals}
    assert all(COLUMNS[name].of != KEY and COLUMNS[name].interval.shown for name in with_interval)
