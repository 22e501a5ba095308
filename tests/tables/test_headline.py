"""The headline: the points of the longest sequence, and their one line per radius."""

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.tables.headline import LEGENDS
from bpttlab.tables.regimes import OF_POINT
from tests.support import synthetic

RADII = (0.5, 0.9, 1.1, 1.5, 2.0, 3.0)


def growth(tasks=("noise", "adding"), radii=RADII, lengths=(10, 50)):
    """A summary of growth: radii above 1 explode, those below vanish."""
    points = [(task, radius, length) for task in tasks for radius in radii for length in lengths]
    frame = pd.DataFrame(points, columns=["task", "initializer_requested", "sequence_length"])
    rate = np.log(frame["initializer_requested"])
    return frame.assign(
        initializer="gaussian_radius",
        initializer_target="spectral_radius",
        networks=8,
        log_growth=rate * frame["sequence_length"],
        regime=np.where(rate > 0, "exploding", "vanishing"),
        regimes_of_networks=np.where(rate > 0, "8 exploding", "8 vanishing"),
        growth_rate=rate,
        growth_rate_low=rate - 0.01,
        growth_rate_high=rate + 0.01,
        growing_horizon=np.where(rate > 0, 3.0, np.nan),
        vanishing_horizon=np.where(rate > 0, frame["sequence_length"], 5.0),
    )[
        [
            *("task", "initializer", "initializer_target", "initializer_requested", "sequence_length", "networks"),
            *("log_growth", "regime", "regimes_of_networks", "growth_rate", "growth_rate_low", "growth_rate_high"),
            *("growing_horizon", "vanishing_horizon"),
        ]
    ]


def test_it_has_one_row_per_point_of_the_longest_sequence():
    table = tables.headline(growth())
    assert len(table) == 2 * len(RADII)
    assert set(table["sequence_length"]) == {50}
    assert list(table.columns[-7:]) == [
        *("networks", "growth_rate", "growth_rate_low", "growth_rate_high", "regime", "horizon", "regimes_of_networks")
    ]


def test_the_horizon_is_that_of_the_sign_of_the_growth():
    table = tables.headline(growth(tasks=("noise",)))
    assert dict(zip(table["initializer_requested"], table["horizon"], strict=True)) == {
        **dict.fromkeys((0.5, 0.9), 5.0),
        **dict.fromkeys((1.1, 1.5, 2.0, 3.0), 3.0),
    }


def test_a_horizon_that_is_not_within_the_sequence_is_missing():
    table = growth(tasks=("noise",), radii=(0.5,)).assign(vanishing_horizon=50.0)
    assert tables.headline(table)["horizon"].isna().all()


def test_it_is_that_of_a_study():
    found = tables.summaries(synthetic.study())
    assert found["headline"].equals(tables.headline(found["growth"]))
    assert next(iter(found)) == "headline"


def test_many_points_are_one_line_per_radius():
    lines = tables.format_headline(tables.headline(growth()), 120).splitlines()
    assert lines[0] == f"initializer gaussian_radius, T (step) 50, networks 8; {LEGENDS['words']}"
    assert lines[1] == "T = 50 only, the longest of 2 lengths (all of them: table=growth)"
    assert lines[2] == OF_POINT
    assert lines[3].split() == ["spectral_radius", "noise", "adding"]
    assert [line.split()[0] for line in lines[4:]] == ["0.5", "0.9", "1.1", "1.5", "2", "3"]
    assert lines[4].split(maxsplit=1)[1].split("  ") == ["-0.693 [-0.703, -0.683] vanishing 5"] * 2


def test_caption_explains_the_letters_of_regimes():
    text = tables.format_headline(tables.headline(growth()), 80)
    assert "< -1 nat v(anishing), > 1 e(xploding)" in " ".join(text.split())
    ended = growth().assign(regime="diverged")
    assert "d(iverged), f(ailed): so did every network" in tables.format_headline(tables.headline(ended), 80)


@pytest.mark.parametrize(("own", "said"), [("3 vanishing", "vanishing"), ("2 vanishing, 1 critical", "mixed")])
def test_no_interval_shows_the_regime_of_every_network(own, said):
    few = growth().assign(networks=3, regime="no interval", regimes_of_networks=own)
    lines = tables.format_headline(tables.headline(few), 160).splitlines()
    assert any(line.startswith("3 networks: no interval over networks") for line in lines)
    assert any(line.startswith("without an interval: the regime of every network, or mixed") for line in lines)
    assert lines[-1].split()[-2] == said


@pytest.mark.parametrize(("width", "cell"), [(100, "vanishing 5"), (80, "-0.683] v 5"), (60, "-0.6931 vanishing 5")])
def test_a_narrow_terminal_has_less_in_a_cell(width, cell):
    text = tables.format_headline(tables.headline(growth()), width)
    assert cell in text
    assert max(map(len, text.splitlines())) <= width


def test_few_points_are_one_line_each():
    text = tables.format_headline(tables.headline(growth(tasks=("noise",))), 120)
    assert len([line for line in text.splitlines() if line.endswith("ing") and "gaussian" not in line]) == len(RADII)


def test_many_tasks_are_one_line_each_up_to_a_screenful():
    tasks = [f"task_{number}" for number in range(6)]
    text = tables.format_headline(tables.headline(growth(tasks=tasks)), 120)
    assert "... and 16 more rows" in text
