"""Schemes with many plans: means, biases and variances against the plans one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.directional import LOG_SCALE, SIGNED_BIAS, log_scale, signed_bias
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward_mode.snap import snap
from bpttlab.gradients.plan import full_plan
from bpttlab.measures.gradient_bias import measure_truncation, truncation_bias
from bpttlab.truncation.averaged import ChunkedMean, Random
from bpttlab.truncation.forward import RFLO, RTRL, UORO, SnAp
from bpttlab.truncation.segmented import Chunked, Full, PerLoss
from bpttlab.verification.gradient_check import assert_agree
from tests.support.examples import examples
from tests.support.networks import linear
from tests.support.networks_of_cells import CELLS, case, cases

ELMAN, LSTM = CELLS["elman"], CELLS["lstm"]


def gradients_of(case, carries):
    """Of every plan alone, without h_0 and readout."""
    T, names = case.trace.length, case.trace.cell.recurrent_parameters
    found = [backward(case.trace, case.loss, full_plan(T, carry)) for carry in carries]
    return [{name: one[name] for name in names} for one in found]


def mean(gradients, weight=None):
    weight = np.full(len(gradients), 1 / len(gradients)) if weight is None else weight
    return {name: sum(w * one[name] for w, one in zip(weight, gradients, strict=True)) for name in gradients[0]}


def row_of(columns, name):
    at = list(columns["parameter"]).index(name)
    return {column: values[at] for column, values in columns.items()}


@given(cases(ELMAN, dtypes=("float64",)), st.integers(1, 12))
@examples(30)
def test_a_mean_over_offsets_is_the_mean_of_the_chunks(case, K):
    T = case.trace.length
    ensemble = ChunkedMean(K).ensemble(T, 1, np.random.default_rng(0))
    assert ensemble.weight.sum() == pytest.approx(1.0, rel=1e-14)
    chunks = [backward(case.trace, case.loss, Chunked(K, offset)) for offset in range(K)]
    found = mean(gradients_of(case, ensemble.carry), ensemble.weight)
    per_loss = mean([backward(case.trace, case.loss, PerLoss(k)) for k in range(1, K + 1)])
    for name, value in found.items():
        scale = max(np.abs(one[name]).max() for one in chunks)
        np.testing.assert_allclose(value, mean(chunks)[name], rtol=0, atol=1e-13 * scale)
        np.testing.assert_allclose(value, per_loss[name], rtol=0, atol=1e-13 * scale)


@given(cases(ELMAN, dtypes=("float64",)), st.data())
@examples(30)
def test_carries_weigh_the_terms_of_the_double_sum(case, data):
    """One factor for every sequence and step: the term (t, k) of a sequence has the product of those between."""
    T, B = case.trace.length, case.trace.h.shape[1]
    factors = st.sampled_from([0.0, 1.0, 1.5, 3.0])
    carry = np.array(data.draw(st.lists(factors, min_size=T * B, max_size=T * B))).reshape(T, B)
    found = backward(case.trace, case.loss, full_plan(T, carry))
    expected = dict.fromkeys(case.trace.cell.recurrent_parameters, 0.0)
    for t, b in product(range(1, T + 1), range(B)):
        alone = np.zeros_like(case.loss.gradient)
        alone[t - 1, b] = case.loss.gradient[t - 1, b]
        for k in range(1, t + 1):
            term = literal_sum(case.trace, alone, keeps=lambda _, i, k=k: i == k)
            for name in expected:
                expected[name] = expected[name] + np.prod(carry[k - 1 : t - 1, b]) * term[name]
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= 1e-12 * max(np.abs(value).max(), 1e-300) or np.allclose(
            found[name], value, rtol=1e-9, atol=0
        )


def every_cut(scheme, T):
    """All patterns of cuts in T steps with their probabilities and carries, from the definition."""
    for cuts in product([False, True], repeat=T - 1):
        probability, carry, since = 1.0, np.ones(T), 1.0
        for t, cut in enumerate(cuts):
            c = float(scheme.probability(np.array(since)))
            probability *= c if cut else 1 - c
            carry[t] = 0.0 if cut else 1 / (1 - c)
            since = 1.0 if cut else since + 1
        yield probability, carry


@pytest.mark.parametrize("scheme", [Random(2), Random(5), Random(3, "published"), Random(4, "published", alpha=2.5)])
@pytest.mark.parametrize("make", [ELMAN, LSTM])
def test_random_cuts_are_unbiased_exactly(scheme, make):
    """Summed over all patterns of cuts with their probabilities."""
    network = case(make, T=7, seed=4)
    weight, carries = zip(*every_cut(scheme, 7), strict=True)
    assert sum(weight) == pytest.approx(1.0, rel=1e-12)
    full = backward(network.trace, network.loss)
    assert_agree({**mean(gradients_of(network, carries), weight)}, {n: full[n] for n in ("W", "V", "b_h")})


@pytest.mark.parametrize("cuts", ["constant", "published"])
def test_cuts_are_as_frequent_as_said(cuts):
    scheme = Random(10, cuts, draws=400)
    carry = scheme.ensemble(300, 3, np.random.default_rng(1)).carry
    assert carry.shape == (400, 300, 3)
    first = carry[:, 0] == 0.0
    c = float(scheme.probability(np.array(1.0)))
    assert first.mean() == pytest.approx(c, abs=4 * np.sqrt(c * (1 - c) / first.size))
    again = (carry[:, 1:299] == 0.0)[carry[:, :298] == 0.0]
    assert again.mean() == pytest.approx(c, abs=4 * np.sqrt(c * (1 - c) / again.size))
    if cuts == "constant":
        assert (carry[:, :299] == 0.0).mean() == pytest.approx(0.1, abs=4 * 0.3 / np.sqrt(400 * 299 * 3))
    assert set(np.unique(carry[:, 299])) == {1.0}


def test_cuts_per_batch_are_those_of_all_sequences():
    batch = Random(3, per="batch").ensemble(20, 5, np.random.default_rng(0))
    assert batch.carry.shape == (32, 20, 1)
    assert Random(3).ensemble(20, 5, np.random.default_rng(0)).carry.shape == (32, 20, 5)


@given(cases(ELMAN, dtypes=("float64",)), st.integers(2, 6), st.sampled_from(["sequence", "batch"]))
@examples(25)
def test_mean_bias_and_variance_equal_those_of_single_plans(case, K, per):
    scheme, trace = Random(K, per=per, draws=6), case.trace
    columns = measure_truncation(trace, case.loss, scheme, rng=np.random.default_rng(7))
    carries = scheme.ensemble(trace.length, trace.h.shape[1], np.random.default_rng(7)).carry
    each, full = gradients_of(case, carries), backward(trace, case.loss)
    for name, centre in mean(each).items():
        row, size = row_of(columns, name), np.linalg.norm(full[name])
        scatter = sum(((one[name] - centre) ** 2).sum() for one in each) / 5
        assert (row["draws"], row["steps_computed"]) == (6, trace.length)
        if size == 0 or not np.isfinite(size):
            continue
        largest = max(np.abs(one[name]).max() for one in each)
        assert np.exp(row["log_norm"]) == pytest.approx(np.linalg.norm(centre), rel=1e-9, abs=1e-13 * largest)
        bias = np.linalg.norm(centre - full[name]) / size
        assert np.exp(row["log_relative_bias"]) == pytest.approx(bias, rel=1e-9, abs=1e-12 * largest / size)
        expected = pytest.approx(scatter / size**2, rel=1e-9, abs=1e-26 * (largest / size) ** 2)
        assert np.exp(row["log_variance"]) == expected


@pytest.mark.parametrize("name", ["gru", "lstm", "stacked", "diagonal"])
def test_random_cuts_of_other_cells_come_near_the_full_gradient(name):
    """Within four standard errors in norm; the error of the mean is sqrt(variance / draws)."""
    network = case(CELLS[name], T=12, gain=0.7, seed=2)
    table = truncation_bias(network.trace, network.loss, Random(4, draws=400), np.random.default_rng(0))
    error = 0.5 * (table["log_variance"] - np.log(table["draws"].astype(float)))
    assert (table["log_relative_bias"] <= error + np.log(4)).all()
    assert (table["log_variance"] > -20).all()


def test_a_large_ensemble_is_walked_in_pieces(monkeypatch):
    network, scheme = case(LSTM, T=9), Random(3, draws=10)
    whole = measure_truncation(network.trace, network.loss, scheme, rng=np.random.default_rng(0))
    monkeypatch.setattr("bpttlab.gradients.estimators.HELD_BYTES", 1)
    alone = measure_truncation(network.trace, network.loss, scheme, rng=np.random.default_rng(0))
    for column in whole:
        if whole[column].dtype == float:
            np.testing.assert_allclose(alone[column], whole[column], rtol=1e-9)


def test_the_minibatch_variance_is_that_of_the_sequences():
    network = case(ELMAN, T=8, B=5)
    columns = measure_truncation(network.trace, network.loss, Full())
    full, parts = backward(network.trace, network.loss), []
    for b in range(5):
        alone = np.zeros_like(network.loss.gradient)
        alone[:, b] = 5 * network.loss.gradient[:, b]  # the gradient of that sequence, not its part of the mean
        parts.append(backward(network.trace, alone))
    for name in ("W", "V", "b_h"):
        scatter = sum(((part[name] - full[name]) ** 2).sum() for part in parts) / 4 / 5
        expected = np.log(scatter / (full[name] ** 2).sum())
        assert row_of(columns, name)["log_minibatch_variance"] == pytest.approx(expected, rel=1e-10)


def test_one_sequence_has_no_minibatch_variance():
    network = case(ELMAN, T=5, B=1, mask=[1, 0, 0, 0, 0])  # of the first loss no chunk cuts anything
    columns = measure_truncation(network.trace, network.loss, ChunkedMean(3))
    assert np.isnan(columns["log_minibatch_variance"]).all()
    assert set(columns["log_variance"]) == {-np.inf}
    assert np.isnan(measure_truncation(network.trace, network.loss, ChunkedMean(1))["log_variance"]).all()
    assert set(columns["draws"]) == {None}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Random(1), "truncation=1: must be an integer >= 2 for scheme 'random'"),
        (lambda: Random(5, alpha=2.0), r"scheme\.alpha=2\.0: must be a finite number > 2"),
        (lambda: Random(5, draws=1), r"scheme\.draws=1: must be an integer >= 2"),
        (lambda: Chunked(5, 5), r"scheme\.offset=5: must be an integer from 0 to 4"),
        (lambda: ChunkedMean(0), "truncation=0"),
    ],
)
def test_what_a_scheme_cannot_be(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_schemes_without_one_plan_are_refused_by_backward():
    network = case(ELMAN)
    with pytest.raises(ConfigurationError, match="scheme=random: has no one plan"):
        backward(network.trace, network.loss, Random(3))
    with pytest.raises(ConfigurationError, match="rng=None: scheme 'random' needs"):
        truncation_bias(network.trace, network.loss, Random(3))
    plan = Random(3).draw(network.trace.length, np.random.default_rng(0), batch=2)
    assert backward(network.trace, network.loss, plan)["W"].shape == (3, 3)


# ------------------------------------------------------------------------------------------ forward


@pytest.mark.parametrize("name", ["elman", "lstm", "leaky"])
def test_estimates_that_go_forward_stand_beside_the_others(name):
    network = case(CELLS[name], T=6, B=2, seed=1)
    table = truncation_bias(network.trace, network.loss, RTRL())
    assert (table["log_relative_bias"] < np.log(1e-12)).all()
    assert table["cosine"].to_numpy() == pytest.approx(1.0, rel=1e-12)
    sizes = sum(network.trace.params[name].size for name in network.trace.cell.recurrent_parameters)
    assert set(table["steps_computed"]) == {6 * sizes}
    found, full = snap(network.trace, network.loss, 1), backward(network.trace, network.loss)
    for row in truncation_bias(network.trace, network.loss, SnAp()).itertuples():
        exact = full[row.parameter]
        bias = np.linalg.norm(found[row.parameter] - exact) / np.linalg.norm(exact)
        assert np.exp(row.log_relative_bias) == pytest.approx(bias, rel=1e-9)


def test_uoro_is_measured_over_its_draws():
    network = case(CELLS["gru"], T=6, B=2, seed=1)
    table = truncation_bias(network.trace, network.loss, UORO(draws=2000), np.random.default_rng(0))
    error = 0.5 * (table["log_variance"] - np.log(2000.0))
    assert (table["log_relative_bias"] < error + np.log(4)).all()
    assert (table["log_relative_bias"] > error - np.log(4)).all()


def test_rflo_is_measured_for_the_leaky_cell_alone():
    leaky, elman = case(CELLS["leaky"], T=6), case(ELMAN, T=6)
    assert len(truncation_bias(leaky.trace, leaky.loss, RFLO())) == 3
    with pytest.raises(ConfigurationError, match="leaky"):
        truncation_bias(elman.trace, elman.loss, RFLO())


# ------------------------------------------------------------------------------------------ directions


def test_along_a_direction_is_the_inner_product_of_the_gradient():
    network = case(CELLS["stacked"], T=8, B=3, seed=3)
    trace = network.trace
    directions = {LOG_SCALE: log_scale(trace.cell, trace.params)}
    table = truncation_bias(trace, network.loss, PerLoss(3), directions=directions).set_index("parameter")
    full, cut = (backward(trace, network.loss, scheme) for scheme in (Full(), PerLoss(3)))
    whole, kept = (sum((g[name] * trace.params[name]).sum() for name in ("W_1", "W_2")) for g in (full, cut))
    row = table.loc[LOG_SCALE]
    assert np.exp(row["log_norm"]) == pytest.approx(abs(kept), rel=1e-10)
    assert np.exp(row["log_relative_bias"]) == pytest.approx(abs(whole - kept) / abs(whole), rel=1e-9)
    assert row["cosine"] == np.sign(whole * kept)


def influence_balancing(T=200):
    """Tallec & Ollivier 2018a: the last loss is s_1, theta enters ten units with + and 13 with -."""
    A = 0.5 * np.eye(23) + 0.5 * np.eye(23, k=1)
    trace = linear(A, T)
    error = np.zeros((T, 1, 1))
    error[-1] = 1.0
    trace.params["U"][:] = np.eye(1, 23)
    return trace, error, {SIGNED_BIAS: signed_bias(trace.cell, 10)}


@pytest.mark.slow
def test_influence_balancing_has_the_wrong_sign_at_first():
    trace, error, directions = influence_balancing()

    def derivative(scheme, rng=None):
        row = truncation_bias(trace, error, scheme, rng, directions).set_index("parameter").loc[SIGNED_BIAS]
        return row["cosine"] * np.exp(row["log_norm"]), row

    full, _ = derivative(Full())
    assert full == pytest.approx(6.0, rel=1e-9)  # of the sign of g itself: its cosine is one
    assert [np.sign(derivative(PerLoss(K))[0]) for K in (1, 5, 10, 20, 100)] == [-1, -1, -1, -1, 1]
    assert derivative(RTRL())[0] == pytest.approx(6.0, rel=1e-9)
    mean, row = derivative(Random(60, draws=1500), np.random.default_rng(0))
    assert abs(mean - 6.0) < 4 * 6.0 * np.exp(0.5 * row["log_variance"]) / np.sqrt(1500)
    assert mean > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: signed_bias(LSTM(1, 3, 1), 1), "the cell 'lstm' has no b_h with one number a unit"),
        (lambda: signed_bias(ELMAN(1, 3, 1), 4), "measure.signed_bias=4: must be at most 3"),
        (lambda: log_scale(CELLS["diagonal"](1, 3, 1), {}), "the cell 'diagonal' has no recurrent matrix"),
    ],
)
def test_directions_that_a_cell_does_not_have(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
