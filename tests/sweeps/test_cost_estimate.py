"""What a dry run says a sweep will take, compared with what it takes."""

import time
from pathlib import Path

import pytest

from bpttlab.store.store import load
from bpttlab.sweeps import cost_estimate, run
from bpttlab.sweeps.plan import Options, bundles, plan
from bpttlab.sweeps.run import measure_bundle
from bpttlab.sweeps.scheduler import sweep
from tests.support.sweeps import parsed, points

SEEDS = {"sequence_length": 120, "batch_size": 8, "cell": {"name": "elman", "hidden_size": 32}}
MANY_ROWS = {"measure": {"jacobians": "triangle", "sequences": 1}, "sequence_length": 60}


@pytest.mark.parametrize("values", [SEEDS, MANY_ROWS])
def test_bytes_are_within_a_factor_of_three(tmp_path, values):
    configurations = points(range(6), ["full", 5, 20], **values)
    to_do = plan(configurations, Options("x", str(tmp_path))).to_do
    divided, rows = bundles(to_do), cost_estimate.expected_rows(to_do)
    summary = sweep(configurations, "x", tmp_path, workers=0, progress=False)
    size = cost_estimate.bytes_of(rows, min(summary.tally.seconds, len(divided)))
    stored = sum(path.stat().st_size for path in Path(tmp_path).rglob("*.parquet"))
    assert size / 3 < stored < 3 * size
    study = load("x", tmp_path)
    for table in study.tables:
        assert 0.8 * rows[table] <= len(study.table(table)) <= rows[table]


def processor_time(configurations, study, folder):
    """Seconds of a sweep in this process."""
    begun = time.process_time()
    sweep(configurations, study, folder, workers=0, progress=False)
    return time.process_time() - begun


@pytest.mark.slow
@pytest.mark.parametrize("values", [SEEDS, MANY_ROWS])
def test_time_is_right_within_a_factor_of_three(tmp_path, values):
    configurations = points(range(12), ["full", 5, 20], **values)
    tries = []
    for attempt in range(3):  # other work comes and goes
        options = Options(f"try{attempt}", str(tmp_path))
        seconds = cost_estimate.seconds_of(bundles(plan(configurations, options).to_do), 0)
        took = processor_time(configurations, options.study, tmp_path)
        tries.append(seconds / took)
    assert any(1 / 3 < ratio < 3 for ratio in tries), tries


@pytest.mark.parametrize(
    "values",
    [
        {"cell": {"name": "elman", "hidden_size": 2000}, "sequence_length": 5000},
        {"task": {"name": "digits", "by": "pixel"}, "sequence_length": 70},
        {"task": {"name": "adding"}, "sequence_length": 2},
        {"sequence_length": 100_000, "measure": {"lag_terms": "none"}, "batch_size": 64},
    ],
)
def test_small_networks_and_short_sequences_are_measured(tmp_path, values, monkeypatch):
    measured = []

    def watch(bundle):
        measured.extend(bundle)
        return measure_bundle(bundle)

    monkeypatch.setattr(run, "measure_bundle", watch)
    planned = plan(points(range(3), ["full", 5], **values), Options("x", str(tmp_path)))
    rows, about = cost_estimate.lines(planned, Options("x", str(tmp_path), workers=2))
    assert 0 < len(measured) < 40
    assert max(map(cost_estimate.size_of, measured)) <= cost_estimate.PROBE_SIZE
    assert max(map(cost_estimate.length_of, measured)) <= max(cost_estimate.PROBE_LENGTHS)
    assert rows.startswith("rows, at most: 6 of runs")
    assert about.startswith("about ") and " by 2 workers, about " in about


def test_nothing_to_do_takes_nothing(tmp_path):
    configurations, options = points([0]), Options("x", str(tmp_path), workers=0)
    _, about = cost_estimate.lines(plan(configurations, options), options)
    assert "by this process" in about
    sweep(configurations, "x", tmp_path, workers=0, progress=False)
    assert cost_estimate.lines(plan(configurations, options), options) == []


def test_numbers_are_rounded_to_what_they_are_worth():
    said = [cost_estimate.rough_seconds(seconds) for seconds in (0.2, 4.4, 47, 200, 5200, 40_000)]
    assert said == ["1 s", "4 s", "50 s", "3 min", "90 min", "11 h"]
    assert [cost_estimate.rough_bytes(size) for size in (25_400, 1.26e6, 3e9)] == ["30 kB", "1.3 MB", "3 GB"]


def test_bundles_are_divided_for_idle_workers():
    many = parsed([0], ["full", 2]) + parsed([0], ["full", 2], sequence_length=9) + parsed([0], sequence_length=5)
    assert len(bundles(many)) == 1
    divided = bundles(many, workers=2)
    assert [sorted({run.values.sequence_length for run in bundle}) for bundle in divided] == [[9], [6], [5]]
    assert sorted(run.run_id for bundle in divided for run in bundle) == sorted(run.run_id for run in many)


MANY_SCHEMES = [
    {"scheme": "per_loss", "truncation": 20},
    {"scheme": "chunked_mean", "truncation": 50},
    {"scheme": {"name": "random", "draws": 600}, "truncation": 10},
    {"scheme": {"name": "random", "draws": 600}, "truncation": 30},
    {"scheme": {"name": "uoro", "draws": 300}},
    {"scheme": "rtrl"},
    {"scheme": "adaptive", "truncation": 50},
]


def of_many_schemes(seeds):
    shape = {"sequence_length": 100, "batch_size": 4, "cell.hidden_size": 8, "engine": "numpy"}
    wanted = {"measure": {"jacobians": "none", "scheme_seconds": True, "log_scale": True}}
    return [{**shape, **wanted, **scheme, "seed": seed} for seed in range(seeds) for scheme in MANY_SCHEMES]


@pytest.mark.slow
def test_time_of_drawn_schemes_is_within_a_factor_of_three(tmp_path):
    """Draws cost, whatever the truncation, which is only a number; other work may disturb it, twice."""
    configurations, tries = of_many_schemes(2), []
    while len(tries) < 3 and not any(1 / 3 < ratio < 3 for ratio in tries):
        options = Options(f"try{len(tries)}", str(tmp_path))
        seconds = cost_estimate.seconds_of(bundles(plan(configurations, options).to_do), 0)
        took = processor_time(configurations, options.study, tmp_path)
        tries.append(seconds / took)
    assert any(1 / 3 < ratio < 3 for ratio in tries), tries


@pytest.mark.slow
def test_a_hundred_times_the_draws_take_longer(tmp_path):
    """Measured here and now, so that other work may disturb it, twice."""
    few, many = ([{**points([0])[0], "sequence_length": 60, "scheme": {"name": "random", "draws": draws},
                   "truncation": 5, "measure": {"jacobians": "none"}}] for draws in (100, 10_000))  # fmt: skip
    ratios: list[float] = []
    while len(ratios) < 3 and not any(ratio > 5 for ratio in ratios):
        options = Options("x", str(tmp_path))
        less, more = (cost_estimate.seconds_of(bundles(plan(one, options).to_do), 0) for one in (few, many))
        ratios.append(more / less)
    assert ratios[-1] > 5, ratios


@pytest.mark.slow
def test_every_table_has_an_estimate(tmp_path):
    configurations = of_many_schemes(1)
    rows = cost_estimate.expected_rows(plan(configurations, Options("x", str(tmp_path))).to_do)
    sweep(configurations, "x", tmp_path, workers=0, progress=False)
    study = load("x", tmp_path)
    for table in study.tables:
        assert 0.8 * rows[table] <= len(study.table(table)) <= rows[table]
    spectra = points([0], cell={"name": "lstm", "hidden_size": 3}, measure={"exponents": "all"})
    assert cost_estimate.lines(plan(spectra, Options("y", str(tmp_path))), Options("y", str(tmp_path), workers=0))
