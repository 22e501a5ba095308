"""Ranges count in decimal, as they are written, and exclude their end."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.sweeps.hydra_composition import composer
from bpttlab.sweeps.ranges import range_values
from bpttlab.sweeps.scheduler import sweep

WRITTEN = {
    "range(0.9,1.1,0.05)": [0.9, 0.95, 1.0, 1.05],
    "range(0.0,0.9,0.3)": [0.0, 0.3, 0.6],
    "range(0.1,1.0,0.1)": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    "range(1,0,-0.25)": [1.0, 0.75, 0.5, 0.25],
    "range(1e-3,5E-3,1e-3)": [0.001, 0.002, 0.003, 0.004],
    "range(-.2,.2,1e-1)": [-0.2, -0.1, 0.0, 0.1],
    "range(1_000,3e3,1000)": [1000.0, 2000.0],
    "range(start=0.1,stop=0.4,step=0.1)": [0.1, 0.2, 0.3],
    "sort(range(0.1,0.4,0.1),reverse=true)": [0.3, 0.2, 0.1],
    "sort(range(0,9,2),reverse=true)": [8, 6, 4, 2, 0],
    "sort(range(0.3,0.0,-0.1))": [0.1, 0.2, 0.3],
    "range(0,1,0.33333333333333333333333)": [0.0, 0.3333333333333333, 0.6666666666666666],  # 4 steps round to the end
    "range(2.5)": [0.0, 1.0, 2.0],
    "range(4,0,-2)": [4, 2],
}


@pytest.fixture(scope="module")
def composed():
    return composer()


@pytest.mark.parametrize("text", WRITTEN)
def test_range_on_the_line_is_nearest_floats_of_decimals(composed, text):
    values = list(composed.axis(f"spectral_radius={text}").values)
    assert [(type(value), value) for value in values] == [(type(value), value) for value in WRITTEN[text]]


def test_a_shuffled_range_has_the_same_values(composed):
    values = composed.axis("spectral_radius=shuffle(range(0.1,1.0,0.1))").values
    assert sorted(values) == WRITTEN["range(0.1,1.0,0.1)"]


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-20, 20).filter(bool), st.integers(-8, 3))
def test_a_range_of_decimals_is_the_range_of_integers_scaled(start, stop, step, power):
    texts = [f"{number}e{power}" for number in (start, stop, step)]
    expected = [float(Decimal(f"{number}e{power}")) for number in range(start, stop, step)]
    if expected:
        assert range_values(*map(float, texts), f"x=range({','.join(texts)})") == expected


def test_line_of_too_many_runs_names_max_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["sweep", "study=x", "seed=range(0,30)", "truncation=full,5", "--dry-run"]
    assert main([*line, "max_runs=50"]) == 2
    shown = capsys.readouterr().err
    assert "seed=range(0,30) truncation=full,5: asks for 60 runs, more than max_runs=50: give max_runs=60" in shown
    assert main([*line, "max_runs=6e1"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["sweep", "study=x", "seed=range(0,100001)"]) == 2
    assert "asks for 100001 runs, more than max_runs=100000: give max_runs=100001" in capsys.readouterr().err
    assert main(["sweep", "study=x", "max_runs=0"]) == 2
    assert "max_runs=0: must be an integer >= 1" in capsys.readouterr().err


def test_python_refuses_more_runs_than_max_runs(tmp_path):
    with pytest.raises(ConfigurationError, match=r"seed, truncation: asks for 60 runs, more than max_runs=50"):
        sweep(study="x", results=tmp_path, seed=range(30), truncation=["full", 5], max_runs=50)
    with pytest.raises(ConfigurationError, match=r"the sweep: asks for 3 runs, more than max_runs=2"):
        sweep(({"seed": seed} for seed in range(3)), study="x", results=tmp_path, max_runs=2)


@pytest.mark.slow
def test_runs_without_end_are_counted_to_a_million(tmp_path):
    with pytest.raises(ConfigurationError, match=r"the sweep: asks for 1000001 runs; a sweep may have at most 1000000"):
        sweep(itertools.repeat({}), study="x", results=tmp_path)
