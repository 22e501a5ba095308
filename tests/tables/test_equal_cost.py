"""Schemes at equal cost, on tables that are made up: what a budget buys, and which scheme is best."""

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.tables.equal_cost import BEST, ONLY, UNDECIDED, WORSE, standings

T = 100


def stored(networks, **schemes):
    """Tables `truncations` and `runs`: for each scheme K, log bias and log variance of every network, draws, steps."""
    rows, runs = [], []
    for scheme, given in schemes.items():
        for network in range(networks):
            run = f"{scheme}-{network}"
            K, bias, variance, draws, steps = (np.broadcast_to(value, networks)[network] for value in given)
            rows.append({"run_id": run, "origin": "scheme", "scheme": scheme, "truncation": K, "length": T,
                         "parameter": "W", "log_relative_bias": bias, "log_variance": variance,
                         "log_minibatch_variance": np.nan, "draws": draws, "steps_computed": steps})  # fmt: skip
            runs.append({"run_id": run, "network_id": f"n{network}", "status": "done", "task": "noise", "seed": network,
                         "initializer": "gaussian_radius", "sequence_length": T, "scheme": scheme, "truncation": str(K),
                         "initializer_spectral_radius": 1.0, "initializer_target": "spectral_radius",
                         "initializer_requested": 1.0})  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.astype({"truncation": "Int64", "draws": "Float64"}), pd.DataFrame(runs)


def within(table, budget):
    return table[table["budget"] == budget].set_index("scheme")


def spread(networks, middle, width, seed=0):
    return middle + width * np.random.default_rng(seed).standard_normal(networks)


def test_budget_buys_draws_or_one_gradient_of_one_plan():
    """Bias 0.1 and variance 4 of a draw of 100 steps; the noise of 400 draws, 4 / 400, is all of the measured bias."""
    table = tables.equal_cost(
        *stored(1, random=(5, np.log(0.1), np.log(4.0), 400, 100), per_loss=(5, np.log(0.2), np.nan, np.nan, 5000))
    )
    assert sorted(set(table["budget"])) == [100, 200, 500, 1000, 2000, 5000]
    for budget in (100, 200, 500, 1000, 2000, 5000):
        row = within(table, budget).loc["random"]
        assert row["averaged"] == budget / 100
        assert np.exp(row["log_relative_error"]) == pytest.approx(np.sqrt(4.0 / row["averaged"]), rel=1e-9)
    assert "per_loss" not in within(table, 2000).index
    assert within(table, 5000).loc["per_loss", "averaged"] == 1
    assert np.exp(within(table, 5000).loc["per_loss", "log_relative_error"]) == pytest.approx(0.2)


def test_a_bias_beyond_its_noise_is_not_averaged_away():
    table = tables.equal_cost(
        *stored(1, random=(5, np.log(0.5), np.log(4.0), 400, 1), rtrl=(5, -30, np.nan, np.nan, 900))
    )
    row = within(table, 1000).loc["random"]
    assert np.exp(2 * row["log_relative_error"]) == pytest.approx(0.25 - 4.0 / 400 + 4.0 / 1000, rel=1e-9)


def test_all_offsets_averaged_have_no_variance():
    given = (5, np.log(0.1), np.log(0.3), np.nan, 100)
    table = tables.equal_cost(*stored(1, chunked_mean=given, per_loss=(9, -1.0, np.nan, np.nan, 1000)))
    found = {budget: within(table, budget).loc["chunked_mean"] for budget in (100, 200, 500, 1000)}
    assert [row["averaged"] for row in found.values()] == [1, 2, 5, 5]
    offsets = np.array([-1.0, -0.4, 0.1, 0.5, 0.8])
    offsets *= np.sqrt(0.3 / offsets.var())
    pairs = [(one + other) / 2 for place, one in enumerate(offsets) for other in offsets[place + 1 :]]
    squares = [0.01 + 0.3, 0.01 + np.var(pairs), 0.01, 0.01]
    assert [np.exp(2 * row["log_relative_error"]) for row in found.values()] == pytest.approx(squares, rel=1e-9)


def test_the_best_scheme_is_told_by_differences_within_networks():
    """Errors that differ by 3 nats between networks and by 0.1 between schemes: the same in each network, or not."""
    networks = 20
    level, shift = spread(networks, -4.0, 3.0), spread(networks, 0.1, 0.02, seed=1)
    given = {"per_loss": (5, level, np.nan, np.nan, 100), "windowed": (5, level + shift, np.nan, np.nan, 100)}
    table = tables.equal_cost(*stored(networks, **given))
    found = within(table, 100)
    assert dict(found["standing"]) == {"per_loss": BEST, "windowed": WORSE}
    assert found.loc["windowed", "log_error_behind"] == pytest.approx(np.median(shift), rel=1e-9)
    ordered = np.sort(shift)  # of 20 values the 6th and the 15th are the interval of the median
    ends = found.loc["windowed", ["log_error_behind_low", "log_error_behind_high"]]
    assert list(ends) == pytest.approx([ordered[5], ordered[14]], rel=1e-9)
    given["windowed"] = (5, np.random.default_rng(2).permutation(level), np.nan, np.nan, 100)
    apart = within(tables.equal_cost(*stored(networks, **given)), 100)
    assert set(apart["standing"]) == {UNDECIDED}


def test_few_networks_tell_nothing_apart():
    given = {"per_loss": (5, -9.0, np.nan, np.nan, 100), "windowed": (5, -1.0, np.nan, np.nan, 100)}
    for networks, expected in ((5, {UNDECIDED}), (6, {BEST, WORSE})):
        found = within(tables.equal_cost(*stored(networks, **given)), 100)
        assert set(found["standing"]) == expected
        assert found["log_error_behind_low"].isna().all() == (networks < 6)


def test_rounding_is_no_advantage():
    given = {"per_loss": (T, -np.inf, np.nan, np.nan, 100), "rtrl": (T, -34.0, np.nan, np.nan, 100)}
    found = within(tables.equal_cost(*stored(8, **given)), 100)
    assert set(found["standing"]) == {UNDECIDED} and set(found["log_error_behind"]) == {0.0}
    assert found.loc["per_loss", "log_relative_error"] == -np.inf


def test_the_standing_of_three():
    one, noise = spread(30, 0.0, 1.0), spread(30, 0.0, 0.3, seed=3)
    assert standings(np.array([one, one + noise, one + 2.0])) == [UNDECIDED, UNDECIDED, WORSE]
    assert standings(np.array([one, one + 1.0, one + 2.0])) == [BEST, WORSE, WORSE]
    assert standings(one[None]) == [ONLY]
