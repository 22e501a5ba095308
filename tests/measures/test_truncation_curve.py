"""Every truncation from one wavefront, against each truncation by itself and against the literal sum."""

import numpy as np
import pytest
from hypothesis import given

import bpttlab
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.measures.lag_terms import lag_terms
from bpttlab.measures.truncation_curve import truncation_curve
from bpttlab.truncation.segmented import PerLoss
from tests.support.compiled import QUICK_CELLS, needs_numba
from tests.support.examples import examples
from tests.support.networks import case, linear
from tests.support.networks import cases as cases_of_elman
from tests.support.networks_of_cells import CELLS, cases
from tests.support.networks_of_cells import case as case_of

ENGINES = ["numpy", pytest.param("numba", marks=needs_numba)]


def all_of(trace, errors, **options):
    return truncation_curve(trace, errors, range(1, trace.length + 1), **options)


def by(engine, trace):
    """The same trace, with the same slopes, for another engine."""
    changed = trace.with_engine(engine)
    changed.__dict__["linearization"] = trace.linearization
    return changed


def wide(case):
    """In float64, so that what is compared has the same Jacobians to the last bit."""
    return case.trace.in_float64(), case.loss.gradient.astype(float)


def assert_literal(trace, errors, frame):
    """Norms, cosines, shares and biases from the terms of the double sum, to the rounding of what is summed."""
    lags = range(trace.length)
    terms = [literal_sum(trace, errors, lambda t, k, lag=lag: t - k == lag) for lag in lags]
    for row in frame.itertuples():
        each = [term[row.parameter] for term in terms]
        g, g_K, tail = sum(each), sum(each[: row.truncation]), sum(each[row.truncation :], 0.0 * each[0])
        size, of_kept, of_tail = np.linalg.norm(g), np.linalg.norm(g_K), np.linalg.norm(tail)
        noise = 1e-11 * sum(np.linalg.norm(term) for term in each)
        if size <= 1e4 * noise:  # of a gradient that has cancelled nothing can be said
            continue
        assert abs(row.share - np.vdot(g_K, g) / size**2) <= noise / size
        assert abs(np.exp(row.log_norm) - of_kept) <= noise
        if of_kept > 1e4 * noise:
            assert row.cosine == pytest.approx(np.vdot(g_K, g) / size / of_kept, abs=noise / of_kept)
        if np.isnan(row.log_relative_bias):
            assert of_tail <= max(1e-14 * size, noise)
        else:
            assert abs(np.exp(row.log_relative_bias) * size - of_tail) <= noise


@pytest.mark.parametrize("engine", ENGINES)
@examples(25)
@given(cases_of_elman(longest=9))
def test_the_curve_is_the_double_sum(engine, case):
    trace, errors = wide(case)
    assert_literal(trace, errors, all_of(by(engine, trace), errors))


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_of_every_cell(make):
    @examples(6)
    @given(cases(make, longest=6))
    def check(case):
        trace, errors = wide(case)
        assert_literal(trace, errors, all_of(trace, errors))

    check()


@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, "numpy") for name in ("elman", "lstm", "gru", "antisymmetric", "stacked")]
    + [pytest.param(name, "numba", marks=needs_numba) for name in QUICK_CELLS]
    + [pytest.param(name, "numba", marks=[needs_numba, pytest.mark.slow]) for name in ("antisymmetric", "stacked")],
)
@pytest.mark.parametrize(("T", "B"), [(1, 2), (70, 3), pytest.param(150, 1, marks=pytest.mark.slow)])
def test_the_curve_is_that_of_each_truncation(name, T, B, engine):
    example = case_of(CELLS[name], T=T, B=B, N=6, gain=0.7)
    trace = example.trace.with_engine(engine)
    frame = all_of(trace, example.loss)
    assert not frame["fell_back"].any()
    for K in sorted({min(K, T) for K in (1, 2, 5, 33, 97, 150)}):
        expected = truncation_bias(trace, example.loss, PerLoss(K)).set_index("parameter")
        measured = frame[frame["truncation"] == K].set_index("parameter")
        for parameter, row in expected.iterrows():
            assert measured.loc[parameter, "log_norm"] == pytest.approx(row["log_norm"], rel=1e-10, abs=1e-10)
            assert measured.loc[parameter, "cosine"] == pytest.approx(row["cosine"], rel=1e-10)
            bias = measured.loc[parameter, "log_relative_bias"]
            if not np.isnan(bias):
                assert bias == pytest.approx(row["log_relative_bias"], rel=1e-9)
            else:
                assert row["log_relative_bias"] < np.log(1e-15)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("T", [40, 300])
def test_shares_are_those_of_the_lag_terms(T, engine):
    example = case(T=T, N=7, B=2, gain=0.8)
    trace = example.trace.with_engine(engine)
    frame = truncation_curve(trace, example.loss)
    terms = lag_terms(trace, example.loss, "all")
    for name, rows in frame.groupby("parameter"):
        expected = terms[terms["parameter"] == name]["cumulative_share"].to_numpy()
        np.testing.assert_allclose(rows["share"], expected, rtol=1e-11)
        assert rows["log_norm"].notna().sum() <= 30
        assert rows.loc[rows["log_norm"].notna(), "truncation"].isin([1, T]).sum() == 2


@needs_numba
@pytest.mark.compiles
@pytest.mark.parametrize("tile", [1, 5, 1000])
def test_tiles_of_any_size(tile, monkeypatch):
    monkeypatch.setattr("bpttlab.measures.truncation_curve.TILE", tile)
    example = case(T=60, N=5, B=2, gain=0.9, mask=np.arange(60) % 7 == 0)
    one, other = (all_of(by(engine, example.trace), example.loss) for engine in ("numpy", "numba"))
    columns = ["share", "log_norm", "cosine"]
    np.testing.assert_allclose(one[columns], other[columns], rtol=1e-11, atol=1e-11)
    both = one["log_relative_bias"].notna() & other["log_relative_bias"].notna()
    assert both.mean() > 0.5
    np.testing.assert_allclose(*(frame["log_relative_bias"][both] for frame in (one, other)), rtol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_loss_at_the_end(engine):
    example = case(T=25, N=5, B=1, gain=1.1, mask=np.arange(25) == 24)
    assert_literal(example.trace, example.loss, all_of(by(engine, example.trace), example.loss))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("B", [1, 3])
def test_what_is_not_followed_is_in_the_tails(B, engine, monkeypatch):
    """The wavefront ends early, where much is left: what it leaves behind is all of the rest, to the last digit."""
    monkeypatch.setattr("bpttlab.measures.truncation_curve.NOTHING", 1e-2)
    monkeypatch.setattr("bpttlab.measures.truncation_curve.REMAINS", 1.0)
    monkeypatch.setattr("bpttlab.measures.truncation_curve.TILE", 16)
    example = case(T=50, N=5, B=B, gain=0.8)
    frame = all_of(by(engine, example.trace), example.loss).set_index(["parameter", "truncation"])
    known = frame.index[frame["log_relative_bias"].notna()]
    assert 10 < len(known) < 120
    for K in sorted({K for _, K in known}):
        expected = truncation_bias(example.trace, example.loss, PerLoss(K)).set_index("parameter")
        for name in expected.index:
            bias = frame.loc[(name, K), "log_relative_bias"]
            assert bias == pytest.approx(expected.loc[name, "log_relative_bias"], rel=1e-10)


# ------------------------------------------------------------------------------------ where it falls back


def forgotten_and_found(T=60):
    """One loss at the end, whose cotangents shrink by 1e-3 a step and grow by 1e3 before that: they return whole."""
    still = linear(np.eye(2), T)
    trace = forward(still.cell, still.params, np.ones_like(still.x))
    trace.__dict__["linearization"] = np.where(np.arange(T) < T // 2, 1e3, 1e-3)[:, None, None] * np.ones((1, 1, 2))
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    return trace, errors


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gradient_that_returns_is_seen(engine):
    trace, errors = forgotten_and_found()
    frame, terms = all_of(by(engine, trace), errors), lag_terms(trace, errors, "all")
    assert frame["fell_back"].all()
    for name in ("W", "V", "b_h"):
        expected = terms[terms["parameter"] == name]["cumulative_share"].to_numpy()
        np.testing.assert_allclose(frame[frame["parameter"] == name]["share"], expected, rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gain", [1e-30, 40.0])
def test_cotangents_beyond_the_range_fall_back(gain, engine):
    still = linear(gain * np.eye(2), T=150)
    trace = forward(still.cell, still.params, np.ones_like(still.x), engine=engine)
    errors = np.ones_like(trace.y_hat)
    frame = all_of(trace, errors)
    assert frame["fell_back"].all() == (gain > 1)
    expected = truncation_bias(trace, errors, PerLoss(3)).set_index("parameter")
    measured = frame[frame["truncation"] == 3].set_index("parameter")
    np.testing.assert_allclose(measured["log_norm"], expected.loc[measured.index, "log_norm"], rtol=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e250])
def test_errors_of_any_size(size):
    example = case(T=30, N=4)
    one, other = (all_of(example.trace, factor * example.loss.gradient) for factor in (1.0, size))
    columns = ["share", "cosine", "log_relative_bias"]
    np.testing.assert_allclose(one[columns], other[columns], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other["log_norm"] - one["log_norm"], np.log(size), rtol=1e-12)


def test_a_loss_without_gradient():
    example = case(T=6)
    frame = all_of(example.trace, np.zeros_like(example.loss.gradient))
    assert frame["fell_back"].all()
    assert (frame["log_norm"] == -np.inf).all()
    assert frame[["share", "cosine"]].isna().all().all()


def test_float32_is_computed_in_float64():
    example = case(T=20, N=4, dtype="float32")
    trace, errors = wide(example)
    frame = all_of(example.trace, example.loss)
    np.testing.assert_allclose(frame["share"], all_of(trace, errors)["share"], rtol=1e-12)
    size = np.log(np.linalg.norm(backward(trace, errors)["W"]))
    rows = frame[(frame["parameter"] == "W") & (frame["truncation"] == 20)]
    assert rows["log_norm"].item() == pytest.approx(size, rel=1e-12)


@pytest.mark.parametrize("truncations", [[0], [7], [2.5], [True]])
def test_mistakes_are_named(truncations):
    example = case(T=6)
    with pytest.raises(ConfigurationError, match="truncation"):
        truncation_curve(example.trace, example.loss, truncations)


def test_no_norms_at_all():
    example = case(T=6)
    frame = truncation_curve(example.trace, example.loss, [])
    assert frame["share"].notna().all()
    assert frame["log_norm"].isna().all()


def test_it_is_reached_from_the_package():
    assert bpttlab.truncation_curve is truncation_curve
