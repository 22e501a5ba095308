"""Summaries of networks in training: by update, and before training beside after it."""

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from tests.support.monitoring import training_runs


def test_an_update_is_a_part_of_the_point():
    found = tables.updates(training_runs())
    assert found["update"].tolist() == [0, 50, 100]
    assert found["networks"].tolist() == [6, 6, 6]
    np.testing.assert_allclose(found["growth_rate"], [-0.75, -0.25, 0.25])
    assert found["growth_rate_low"].notna().all() and found["lyapunov_exponent"].isna().all()


def test_weights_and_losses_of_training_are_no_swept_fields():
    assert set(tables.find_varying(training_runs())) == {"seed", "update"}


def test_a_difference_is_within_networks():
    found = tables.paired(training_runs()).set_index("quantity")
    rate = found.loc["growth_rate"]
    assert (rate["before"], rate["after"]) == (pytest.approx(-0.75), pytest.approx(0.25))
    assert [rate["difference"], rate["difference_low"], rate["difference_high"]] == [pytest.approx(1.0)] * 3
    assert (rate["networks"], rate["rose"], rate["unpaired"]) == (6, 6, 0)
    assert (rate["first_update"], rate["last_update"]) == (0, 100)
    assert found.loc["vanishing_horizon", "difference"] == 0


def test_quantities_that_nobody_measured_are_left_out():
    assert set(tables.paired(training_runs())["quantity"]) == {
        "growth_rate",
        "log_growth",
        "training_loss",
        "vanishing_horizon",
    }


def test_each_network_is_paired_with_its_own_last_update():
    runs = training_runs()
    runs = runs[~((runs["network_id"] == "n0") & (runs["update"] == 100))]
    rate = tables.paired(runs).set_index("quantity").loc["growth_rate"]
    assert (rate["networks"], rate["last_update"]) == (6, 50)


def test_a_network_that_failed_in_the_end_is_no_pair():
    runs = training_runs()
    runs.loc[(runs["network_id"] == "n0") & (runs["update"] == 100), "status"] = "failed"
    rate = tables.paired(runs).set_index("quantity").loc["growth_rate"]
    assert (rate["networks"], rate["unpaired"]) == (5, 1)


def test_one_update_makes_no_pair():
    found = tables.paired(training_runs(updates=(7,)))
    assert found.empty
    assert list(found) == list(tables.paired(training_runs()))


def test_another_size_makes_no_pair():
    runs = training_runs(networks=1, updates=(0, 50)).assign(cell_hidden_size=[4, 5])
    assert tables.paired(runs)[["before", "after"]].empty


def test_horizons_that_end_with_the_sequence_are_counted():
    runs = training_runs().assign(horizon_censored=False)
    runs.loc[(runs["update"] == 100) & (runs["seed"] < 4), "horizon_censored"] = True
    assert tables.updates(runs)["vanishing_censored"].tolist() == [0, 0, 4]
    found = tables.paired(runs).set_index("quantity")[["before_censored", "after_censored"]]
    assert found.loc["vanishing_horizon"].tolist() == [0, 4]
    assert found.drop("vanishing_horizon").eq(0).all(axis=None)


def test_products_that_stay_zero_have_no_difference():
    runs = training_runs(rate=lambda network, update: -np.inf)
    assert tables.paired(runs).set_index("quantity").loc["growth_rate", "difference"] == 0


def test_labels_have_rows_of_their_own():
    other = training_runs().assign(cell_label="large", network_order=2)
    other["network_id"] += "b"
    other["run_id"] += "b"
    found = tables.paired(pd.concat([training_runs(), other], ignore_index=True))
    assert found["cell_label"].tolist() == ["small"] * 4 + ["large"] * 4


def test_a_headline_has_a_few_updates():
    growth = tables.growth(training_runs(updates=range(0, 1000, 50)))
    found = tables.headline(growth)
    assert (found["update"].iloc[0], len(found), found["update"].iloc[-1]) == (0, 5, 950)
    assert "5 of 20 updates" in tables.format_headline(found)


def test_beside_drawn_networks_a_network_keeps_one_radius():
    trained = training_runs(networks=2).assign(rho=lambda runs: 0.5 + runs["update"].astype(float))
    drawn = training_runs(networks=2, updates=(0,)).assign(
        cell_label=None, network_order=None, update=None, initializer="gaussian_radius", run_id=["a", "b"]
    )
    growth = tables.growth(pd.concat([trained, drawn], ignore_index=True))
    of_update = growth[growth["update"].notna()]
    assert of_update["initializer_requested"].tolist() == [0.5] * 3


def test_a_training_without_a_pair_has_no_rows():
    other = training_runs(updates=(7,)).assign(cell_label="large", network_order=2)
    other["network_id"] += "b"
    other["run_id"] += "b"
    found = tables.paired(pd.concat([training_runs(), other], ignore_index=True))
    assert set(found["cell_label"]) == {"small"}
