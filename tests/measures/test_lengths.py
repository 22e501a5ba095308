"""Measures of sequences of different length: of each what it is alone, and sums over all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.adaptive_truncation import bound_biases, decay
from bpttlab.measures.jacobian_products import JacobianProducts
from bpttlab.measures.lengths import choose_summary, find_middle, measure_lengths
from bpttlab.measures.lyapunov import finite_time_exponents, from_trace
from bpttlab.measures.measure import Context, Sampling
from bpttlab.measures.relevant_gradient import input_gradient_norms
from bpttlab.measures.selection import shipped_measures
from bpttlab.measures.sensitivity import Sensitivity
from bpttlab.measures.singular_values import SingularValues, singular_values
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.scaled import norm
from bpttlab.truncation.adaptive import Adaptive
from bpttlab.truncation.averaged import ChunkedMean
from bpttlab.truncation.forward import RTRL, SnAp
from tests.support.compiled import needs_numba
from tests.support.examples import examples
from tests.support.padded import padded, padded_batches

OF_SEQUENCES = {
    "jacobian_products": lambda trace, loss: lab.jacobian_products(trace, loss, "all", sequences=9),
    "all products": lambda trace, loss: lab.jacobian_products(trace, loss, "triangle", sequences=9),
    "fast products": lambda trace, loss: lab.jacobian_products(trace, lags="all", method="fast", sequences=9),
    "windowed_products": lambda trace, loss: lab.windowed_products(trace, [1], sequences=9),
    "singular_values": lambda trace, loss: singular_values(trace, [0, 1], sequences=9),
    "exponents": lambda trace, loss: from_trace(trace, transient=0),
    "finite_time_exponents": lambda trace, loss: finite_time_exponents(trace, 1, 0),
    "forward_sensitivity": lambda trace, loss: lab.forward_sensitivity(trace, sequences=9),
    "block_norms": lambda trace, loss: lab.block_norms(trace, "all", sequences=9),
}


def assert_rows(found, expected):
    """Equal rows, logarithms to 1e-9: those of the last digits of numbers that were computed side by side."""
    assert list(found.columns) == list(expected.columns) and len(found) == len(expected)
    for name in found:
        if found[name].dtype == float:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-9, err_msg=name)
        else:
            assert found[name].tolist() == expected[name].tolist(), name


@pytest.mark.parametrize("name", [*OF_SEQUENCES])
@examples(6)
@given(data=st.data())
def test_rows_of_a_sequence_are_those_of_it_alone(name, data):
    batch = data.draw(padded_batches(cells=("elman", "lstm", "gru", "leaky", "diagonal"), longest=6))
    trace = batch.trace
    loss = batch.loss(trace.y_hat)
    found = OF_SEQUENCES[name](trace, loss)
    for b in range(len(batch.lengths)):
        own = OF_SEQUENCES[name](batch.alone(b), batch.errors_alone(loss, b))
        rows = found[found["sequence"] == b].reset_index(drop=True)
        assert_rows(rows.drop(columns="sequence"), own.drop(columns="sequence"))


@needs_numba
@pytest.mark.parametrize("name", ["jacobian_products", "windowed_products", "exponents", "forward_sensitivity"])
def test_compiled_loops_measure_the_same(name):
    batch = padded("lstm", (9, 4, 9, 6), N=4, engine="numba")
    loss = batch.loss(batch.trace.y_hat)
    found = OF_SEQUENCES[name](batch.trace, loss)
    for b in range(4):
        own = OF_SEQUENCES[name](batch.alone(b), batch.errors_alone(loss, b))
        rows = found[found["sequence"] == b].reset_index(drop=True)
        assert_rows(rows.drop(columns="sequence"), own.drop(columns="sequence"))


def test_a_module_of_pytorch_without_a_readout_has_lengths():
    torch = pytest.importorskip("torch")
    cell, params = lab.from_torch(torch.nn.LSTMCell(2, 3).double())
    x, lengths = np.random.default_rng(0).standard_normal((6, 3, 2)), [4, 6, 2]
    trace = lab.forward(cell, params, x, lengths=lengths)
    products, exponents = lab.jacobian_products(trace, lags="all", sequences=3), from_trace(trace)
    for b, length in enumerate(lengths):
        alone = lab.forward(cell, params, x[:length, b : b + 1])
        for found, own in ((products, lab.jacobian_products(alone, lags="all")), (exponents, from_trace(alone))):
            rows = found[found["sequence"] == b].reset_index(drop=True)
            assert_rows(rows.drop(columns="sequence"), own.drop(columns="sequence"))


def test_exponents_of_a_network_take_lengths_or_a_mask():
    batch = padded("gru")
    arguments = (batch.cell, batch.params, batch.x, batch.h_0)
    mask = np.arange(1, len(batch.x) + 1)[:, None] <= batch.lengths
    by_lengths, by_mask = (
        lab.lyapunov_spectrum(*arguments, **one) for one in ({"lengths": batch.lengths}, {"mask": mask})
    )
    assert by_lengths.equals(by_mask) and by_lengths.equals(from_trace(batch.trace))
    assert by_lengths.groupby("sequence")["steps"].first().tolist() == [4, 1, 6, 4]
    with pytest.raises(ConfigurationError, match="lengths: does not go with jacobians"):
        lab.lyapunov_spectrum(jacobians=np.ones((5, 2, 2)), lengths=[5])


# ------------------------------------------------------------------ arguments that some sequences are too short for


def test_a_sequence_has_the_lags_that_it_is_long_enough_for():
    trace = padded("elman", (2, 5, 3)).trace
    for measure in (lab.windowed_products, singular_values):
        rows = measure(trace, [1, 3, 5], sequences=3)
        lags = rows.groupby("sequence")["lag"].unique().map(list).tolist()
        assert lags == [[1], [1, 3, 5], [1, 3]]
    with pytest.raises(ConfigurationError, match="lag=6: must be"):
        lab.windowed_products(trace, [1, 6], sequences=3)


def test_log_lags_are_those_of_the_longest_sequence():
    trace = padded("lstm", (50, 200, 7)).trace
    for measure in (lab.jacobian_products, lab.block_norms):
        lags = measure(trace, sequences=3).groupby("sequence")["lag"].unique().map(list)
        assert lags[1][-1] == 200
        for b, length in ((0, 50), (2, 7)):
            assert lags[b] == [*(lag for lag in lags[1] if lag < length), length]


@pytest.mark.parametrize(
    "measure", [JacobianProducts(), SingularValues(singular_lags=5), Sensitivity(sensitivity_steps=4)]
)
def test_a_run_has_the_last_step_of_every_sequence(measure):
    batch = padded("lstm", (19, 40, 7, 1))
    loss = batch.loss(batch.trace.y_hat)
    found = measure_lengths(measure, Context(batch.trace, loss, sampling=Sampling(sequences=4)))
    for name, columns in found.tables.items():
        steps = as_frame(columns).groupby("sequence")["t" if name == "sensitivity" else "lag"].unique()
        longest = set(steps[1])
        assert [steps[b].max() for b in range(4)] == [19, 40, 7, 1], name
        assert all(set(steps[b][:-1]) <= longest for b in range(4)), name
        most = measure.rows(batch.cell, 40, Sampling(sequences=4))[name]
        assert len(columns["sequence"]) <= most


def test_a_sequence_without_the_step_has_no_rows():
    trace = padded("elman", (2, 5, 3)).trace
    assert lab.jacobian_products(trace, t=3, sequences=3)["sequence"].unique().tolist() == [1, 2]
    assert finite_time_exponents(trace, 4, 0)["sequence"].unique().tolist() == [1]
    with pytest.raises(ConfigurationError, match="t=6: must be"):
        lab.jacobian_products(trace, t=6, sequences=3)


def test_sequences_that_are_not_measured_do_not_count():
    trace = padded("elman", (2, 3, 9)).trace
    assert lab.jacobian_products(trace)["t"].unique().tolist() == [2, 3]
    with pytest.raises(ConfigurationError, match="must be"):
        lab.jacobian_products(trace, t=9)


# ------------------------------------------------------------------ sums over sequences


@examples(15)
@given(batch=padded_batches(longest=6))
def test_lag_terms_add_up_those_of_each_sequence(batch):
    trace, T = batch.trace, int(batch.lengths.max())
    loss = batch.loss(trace.y_hat)
    terms = lab.lag_terms(trace, loss, "all").set_index(["parameter", "lag"])
    for lag in range(T):
        total = {}
        for b, length in enumerate(batch.lengths):
            if lag < length:
                alone, errors = batch.alone(b), batch.errors_alone(loss, b)
                longer = lab.backward(alone, errors, lab.PerLoss(lag + 1))
                shorter = lab.backward(alone, errors, lab.PerLoss(lag)) if lag else None
                for name in trace.cell.recurrent_parameters:
                    own = longer[name] - (shorter[name] if shorter else 0.0)
                    total[name] = total.get(name, 0.0) + own
        reach = np.maximum(batch.lengths - lag, 0).sum() / len(batch.lengths)
        for name, value in total.items():
            size = np.exp(terms.loc[(name, lag), "log_norm"])
            assert size == pytest.approx(np.linalg.norm(value), rel=1e-9, abs=1e-13)
            per_loss = terms.loc[(name, lag), "log_norm_per_loss"]
            assert np.exp(per_loss) * reach == pytest.approx(size, rel=1e-12)


@needs_numba
@pytest.mark.parametrize("cell", ["elman", pytest.param("gru", marks=pytest.mark.slow)])
def test_lag_terms_of_compiled_loops_are_the_same(cell):
    one, other = (padded(cell, (7, 3, 12, 5), N=4, engine=engine) for engine in ("numpy", "numba"))
    frames = [lab.lag_terms(batch.trace, batch.loss(batch.trace.y_hat), "all") for batch in (one, other)]
    for name in ("log_norm", "log_norm_per_loss", "share", "cumulative_share", "signal_to_noise"):
        np.testing.assert_allclose(frames[1][name], frames[0][name], rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("engine", ["numpy", pytest.param("numba", marks=needs_numba)])
def test_a_truncation_curve_is_that_of_the_truncations(engine):
    batch = padded("elman", (7, 3, 12, 5), N=4, engine=engine)
    trace, loss = batch.trace, batch.loss(batch.trace.y_hat)
    full = lab.backward(trace, loss, scaled=True)
    for method in ("fast", "exact"):
        curve = lab.truncation_curve(trace, loss, range(1, 13), method=method).set_index(["parameter", "truncation"])
        for K in (1, 2, 5, 12):
            cut = lab.truncation_bias(trace, loss, lab.PerLoss(K)).set_index("parameter")
            for name in trace.cell.recurrent_parameters:
                row = curve.loc[(name, K)]
                assert row["log_norm"] == pytest.approx(cut.loc[name, "log_norm"], abs=1e-9)
                assert row["log_relative_bias"] == pytest.approx(cut.loc[name, "log_relative_bias"], abs=1e-6)
        assert curve.loc[("W", 12), "log_norm"] == pytest.approx(norm(full["W"]), abs=1e-9)


@pytest.mark.parametrize(
    "scheme",
    [lab.PerLoss(2), lab.Chunked(2, offset=1), lab.Windowed(2, 3), ChunkedMean(3), RTRL(), SnAp(1), Adaptive(3)],
)
def test_a_bias_is_the_sum_of_the_parts_that_were_cut(scheme):
    batch = padded("leaky", (5, 2, 6))
    trace, loss = batch.trace, batch.loss(batch.trace.y_hat)
    found = lab.truncation_bias(trace, loss, scheme).set_index("parameter")
    chosen = scheme.choose(trace, loss) if isinstance(scheme, Adaptive) else scheme
    full, kept = lab.backward(trace, loss), {}
    for b in range(3):
        alone, errors = batch.alone(b), batch.errors_alone(loss, b)
        error, whole = alone.scaled_error(errors), lab.backward(alone, errors, scaled=True)
        for name, mean in chosen.estimate(alone, errors, error, whole).mean.items():
            kept[name] = kept.get(name, 0.0) + mean.value()
    for name in trace.cell.recurrent_parameters:
        size, cut = np.linalg.norm(kept[name]), np.linalg.norm(kept[name] - full[name])
        assert np.exp(found.loc[name, "log_norm"]) == pytest.approx(size, rel=1e-9)
        assert np.exp(found.loc[name, "log_relative_bias"]) == pytest.approx(cut / np.linalg.norm(full[name]), abs=1e-9)


def test_bounds_hold_and_read_no_padding():
    batch = padded("diagonal", (7, 3, 12, 5))
    trace, loss = batch.trace, batch.loss(batch.trace.y_hat)
    found = decay(trace, loss)
    largest = [decay(batch.alone(b), batch.errors_alone(loss, b)).log_immediate for b in range(4)]
    for name, value in found.log_immediate.items():
        assert value == pytest.approx(max(one[name] for one in largest), rel=1e-12)
    bounds = bound_biases(trace, loss).set_index(["parameter", "truncation"])
    for K in (1, 3, 8):
        cut = lab.truncation_bias(trace, loss, lab.PerLoss(K)).set_index("parameter")["log_relative_bias"]
        for name in trace.cell.recurrent_parameters:
            bound = bounds.loc[(name, K), "log_bias_bound"]
            assert np.isnan(bound) or bound >= cut[name] - 1e-9


def test_input_gradients_stop_at_the_end_of_a_sequence():
    batch = padded("gru", (3, 6))
    loss = batch.loss(batch.trace.y_hat)
    norms = input_gradient_norms(batch.trace, loss, np.array([3, 6]))
    own = [input_gradient_norms(batch.alone(b), batch.errors_alone(loss, b), [[3], [6]][b])[0] for b in range(2)]
    np.testing.assert_allclose(norms, own, rtol=1e-10)
    with pytest.raises(ConfigurationError, match="steps: holds 4; must be from 1 to T = 3"):
        input_gradient_norms(batch.trace, loss, np.array([4, 6]))


def test_underflows_are_counted_in_valid_steps():
    batch = padded("lstm", (3, 6, 2))
    assert batch.trace.underflows == sum(batch.alone(b).underflows for b in range(3)) == 0


@pytest.mark.parametrize(
    ("values", "counts", "expected"),
    [
        ([3.0], [4], 3.0),
        ([1, 9], [1, 1], 1),
        ([1, 9], [1, 2], 9),
        ([None, 4, 5], [1, 1, 1], 5),
        ([None, 2], [2, 1], None),
    ],
)
def test_the_middle_of_lengths(values, counts, expected):
    assert values[find_middle(values, counts)] == expected


def test_a_rate_its_error_and_its_lags_are_of_one_sequence():
    summaries = [
        {"rate": 3.0, "error": 0.1, "horizon": 4},
        {"rate": 1.0, "error": 0.3, "horizon": 9},
        {"rate": 2.0, "error": None, "horizon": 5},
    ]
    found = choose_summary(summaries, [1, 1, 1], [("rate", "error")])
    assert found == {"rate": 2.0, "error": None, "horizon": 5}
    assert choose_summary(summaries, [1, 3, 1], [("rate", "error")]) == {"rate": 1.0, "error": 0.3, "horizon": 9}


@pytest.mark.parametrize("measure", shipped_measures())
def test_columns_that_belong_together_are_of_the_measure(measure):
    names = {column.name for column in measure.summary}
    assert names >= {group[0] for group in measure.together}
