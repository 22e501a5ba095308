"""Which truncation suffices: the smallest K from which on the bias stays within 5 %, and within 1 %."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.tables.sufficient import tell_sufficient
from tests.support import synthetic
from tests.support.analysed import swept
from tests.support.frames import one

LENGTH = 20
FIVE, ONE = "sufficient_5_percent", "sufficient_1_percent"


def made(biases, scheme="per_loss", **columns):
    """The study of networks with these relative biases, {K: bias} for each, of the parameter W."""
    study = synthetic.study(radii=(0.9,), lengths=(LENGTH,), truncations=("full",), seeds=len(biases))
    runs = study.runs.sort_values("seed")
    rows = [
        {"run_id": run_id, "truncation": length, "log_relative_bias": math.log(bias) if bias else -math.inf}
        for run_id, of_network in zip(runs["run_id"], biases, strict=True)
        for length, bias in of_network.items()
    ]
    frame = pd.DataFrame(rows).assign(origin="wavefront", scheme=scheme, parameter="W", draws=np.nan)
    return SimpleNamespace(runs=study.runs, truncations=frame.assign(length=LENGTH, **columns))


def row_of(biases, **columns):
    study = made(biases, **columns)
    return tables.sufficient_truncation(study.truncations, study.runs).iloc[0]


FALLING = {1: 0.5, 2: 0.2, 4: 0.04, 8: 0.009, 19: 0.0}


def test_it_is_the_smallest_length_within_the_limit():
    row = row_of([FALLING])
    assert [row["networks"], row["lengths_measured"], row["longest"], row[FIVE], row[ONE]] == [1, 4, 19, 4, 8]
    assert math.isnan(row[f"{FIVE}_low"])


def test_a_bias_that_is_small_by_chance_does_not_suffice():
    assert row_of([{1: 0.5, 2: 0.001, 4: 0.3, 8: 0.02, 16: 0.03}])[FIVE] == 8


def test_the_whole_sequence_is_no_truncation():
    row = row_of([{1: 0.9, 10: 0.06, 19: 0.0, 20: 0.0}])
    assert [row[FIVE], row[ONE]] == [math.inf, math.inf]
    assert row_of([{1: 0.9, 10: 0.0, 19: 0.0}])[ONE] == 10


def test_median_length_suffices_for_half_of_the_networks():
    networks = [{1: 0.5, short: 0.01, 19: 0.0} for short in (2, 3, 4, 6, 7, 8)]
    row = row_of(networks)
    assert [row[FIVE], row[f"{FIVE}_low"], row[f"{FIVE}_high"]] == [6, 2, 8]


def test_network_without_sufficient_K_counts_as_later():
    row = row_of([FALLING] * 5 + [{1: 0.9, 19: 0.0}])
    assert [row[FIVE], row[f"{FIVE}_low"], row[f"{FIVE}_high"]] == [4, 4, math.inf]
    assert tables.present(pd.DataFrame([row])).iloc[0].iloc[-2:].tolist() == ["4 [4, none]", "8 [8, none]"]


def test_network_with_zero_gradient_has_no_bias():
    study = made([FALLING, FALLING])
    lost = study.truncations["run_id"] == study.truncations["run_id"].iloc[0]
    rows = study.truncations.assign(log_relative_bias=study.truncations["log_relative_bias"].mask(lost))
    assert tables.sufficient_truncation(rows, study.runs)["networks"].tolist() == [1]


@pytest.mark.parametrize("columns", [{"scheme": "adaptive"}, {"scheme": "uoro", "draws": 8.0}])
def test_schemes_that_draw_or_choose_have_no_row(columns):
    study = made([FALLING], **columns)
    assert tables.sufficient_truncation(study.truncations, study.runs).empty


# ------------------------------------------------------------------ in words


def sentence(biases, **columns):
    study = made(biases, **columns)
    (found,) = tell_sufficient(tables.sufficient_truncation(study.truncations, study.runs))
    return found


@pytest.mark.parametrize(
    ("biases", "said"),
    [
        ([FALLING] * 6, "K = 4 [4, 4] keeps the bias of dL/dW within 5 %, K = 8 [8, 8] within 1 %"),
        ([FALLING], "K = 4 keeps the bias of dL/dW within 5 %, K = 8 within 1 % (1 network)"),
        ([{2: 0.04, 19: 0.0}] * 2, "K = 2 keeps the bias of dL/dW within 5 %, no K within T within 1 % (2 networks)"),
        ([{2: 0.4, 19: 0.0}] * 6, "no K within T keeps the bias of dL/dW within 5 %"),
        ([{2: 0.4, 5: 0.3}] * 6, "no K measured up to 5 keeps the bias of dL/dW within 5 %"),
    ],
)
def test_a_sentence_says_what_suffices(biases, said):
    assert sentence(biases) == said


def test_sentences_name_what_varies():
    study = synthetic.study(radii=(0.5, 0.9), lengths=(50, 200), truncations=("full",), seeds=6)
    table = tables.summaries(study)["sufficient_truncation"]
    said = tables.find_sentences("sufficient_truncation", table)
    assert len(said) == 4
    assert said[0].startswith("spectral_radius 0.5, T = 50: K = ")


# ------------------------------------------------------------------ of measured networks

NETWORK = {"cell": {"name": "elman", "hidden_size": 8}, "batch_size": 2, "sequence_length": 16, "task": "noise",
           "measure": {"lags": 40}}  # fmt: skip


def test_length_of_measured_networks_follows_from_biases(tmp_path_factory):
    schemes = [{"truncation": "full"}, {"truncation": 3, "scheme": "chunked"}, {"truncation": 6, "scheme": "chunked"}]
    points = [{**NETWORK, **scheme, "spectral_radius": 0.6, "seed": seed} for scheme in schemes for seed in range(2)]
    study = swept(points, "sufficient", tmp_path_factory)
    table = tables.sufficient_truncation(study.truncations, study.runs)
    assert set(table["scheme"]) == {"per_loss", "chunked"}
    assert one(table, scheme="chunked", parameter="W")["longest"] == 6
    biases = study.truncations.query("origin == 'wavefront' and parameter == 'W'")
    within = biases[(biases["log_relative_bias"] <= math.log(0.05)) & (biases["truncation"] < 15)]
    expected = within.groupby("network_id")["truncation"].min().max()
    assert one(table, scheme="per_loss", parameter="W")[FIVE] == expected
    assert tables.summaries(study)["sufficient_truncation"].equals(table)
