"""Blocks of Jacobian products against explicit products, and paths whose size is known."""

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.forward import forward
from bpttlab.gradients.propagation import Lag
from bpttlab.measures.jacobian_products import measure_products
from bpttlab.measures.state_blocks import BLOCK_COLUMNS, Blocks, block_norms
from bpttlab.networks.cells import GRU, LSTM, Diagonal, Stacked
from bpttlab.numerics.scaled import Scaled
from bpttlab.verification.gradient_check import agreement
from tests.support.examples import examples
from tests.support.networks_of_cells import CELLS, case, cases

NORMS = ["log_spectral_norm", "log_frobenius_norm"]


def explicit(trace, row):
    """One row of the table from the definition, and the size of the whole product beside it."""
    to, source = row.block.split("<-")
    P = trace.product(int(row.t), int(row.t - row.lag))[int(row.sequence)].astype(float)
    block = P[trace.cell.parts[to], trace.cell.parts[source]]
    with np.errstate(divide="ignore"):
        return np.log([np.linalg.norm(block, 2), np.linalg.norm(block) / np.sqrt(block.shape[1]), np.linalg.norm(P)])


def precise_block(trace, row, digits=1500):
    """log of the Frobenius norm, typical direction, of sequence 0 in so many digits."""
    to, source = (trace.cell.parts[name] for name in row.block.split("<-"))
    with mpmath.workdps(digits):
        P = mpmath.eye(trace.cell.state_size)
        for i in range(int(row.t - row.lag) + 1, int(row.t) + 1):
            P = mpmath.matrix(trace.jacobian(i)[0].tolist()) * P
        square = mpmath.fsum(P[n, m] ** 2 for n in range(to.start, to.stop) for m in range(source.start, source.stop))
        return float(mpmath.log(square / (source.stop - source.start)) / 2) if square else -np.inf


def of(frame, block):
    return frame[frame["block"] == block].set_index("lag")["log_frobenius_norm"]


# ------------------------------------------------------------------------------------------ parts


def test_parts_have_names():
    assert GRU(1, 3, 1).parts == {"h": slice(0, 3)}
    assert LSTM(1, 3, 1).parts == {"h": slice(0, 3), "c": slice(3, 6)}
    assert Diagonal(1, 3, 1).parts == {"h": slice(0, 6)}
    assert Stacked(1, 2, 1, layers=1).parts == {"h_1": slice(0, 2)}
    parts = Stacked(1, 2, 1, of="lstm").parts
    assert parts == {"h_1": slice(0, 2), "c_1": slice(2, 4), "h_2": slice(4, 6), "c_2": slice(6, 8)}


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_parts_are_the_whole_state(make):
    cell = make(2, 3, 1)
    stops = [0, *(part.stop for part in cell.parts.values())]
    assert [part.start for part in cell.parts.values()] == stops[:-1]
    assert stops[-1] == cell.state_size
    assert cell.readout_slice.indices(cell.state_size)[0] in [part.start for part in cell.parts.values()]


# ------------------------------------------------------------------------------------------ against products


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
@examples(8)
@given(st.data())
def test_blocks_are_those_of_the_explicit_product(make, data):
    trace = data.draw(cases(make, longest=7)).trace
    frame = block_norms(trace, "all")
    parts = trace.cell.parts
    assert list(frame.columns) == list(BLOCK_COLUMNS)
    batch = min(2, trace.h.shape[1])
    assert len(frame) == (batch * (trace.length + 1) * len(parts) ** 2 if len(parts) > 1 else 0)
    tolerance = 10 * agreement(trace.h.dtype)
    for row in frame.itertuples():
        *expected, whole = explicit(trace, row)
        measured = np.array([getattr(row, name) for name in NORMS])
        small = (
            np.array(expected) < max(whole, 0.0) - 60.0
        )  # the explicit product of float32 may have rounded it to zero
        np.testing.assert_allclose(measured[~small], np.array(expected)[~small], rtol=tolerance, atol=tolerance)
        assert not (measured[small] > max(whole, 0.0) - 50.0).any()


@pytest.mark.parametrize(
    "name",
    [
        *("lstm", "stacked", "stacked, three of minimal_rnn"),
        pytest.param("stacked, lstm", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("saturated", [False, True])
def test_blocks_are_those_of_a_precise_product(name, saturated):
    trace = case(CELLS[name], T=25, B=1, N=2, gain=0.5, saturated=saturated).trace
    for row in block_norms(trace, [0, 1, 7, 25]).itertuples():
        expected = precise_block(trace, row)
        known = not np.isnan(row.log_frobenius_norm)
        assert known or expected < -600.0
        if known:
            assert row.log_frobenius_norm == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_measured_in_the_walk_of_the_products():
    trace = case(CELLS["stacked, lstm"], T=30, B=3).trace
    for which in ("log", "all", "triangle"):
        blocks = pd.DataFrame(measure_products(trace, None, which, 2, 24, 0).blocks)
        pd.testing.assert_frame_equal(blocks, block_norms(trace, "log" if which == "log" else "all"))
    assert measure_products(case(CELLS["gru"]).trace, None, "log", 2, 24, 0).blocks == {}


def test_the_blocks_make_up_the_product():
    """Squares of the Frobenius norms add up to that of P, at every lag."""
    trace = case(CELLS["lstm"], T=40, B=1, N=4).trace
    measures = measure_products(trace, None, "all", 1, 24, 0)
    frame = pd.DataFrame(measures.blocks)
    squares = 4 * np.exp(2 * frame["log_frobenius_norm"])
    whole = 8 * np.exp(2 * measures.log_frobenius_norm[:, 0])
    np.testing.assert_allclose(squares.groupby(frame["lag"]).sum(), whole, rtol=1e-12)


# ------------------------------------------------------------------------------------------ known paths


def cell_path(T, biases, W=0.0, chrono=None, seed=0):
    """An LSTM of four units without input; its gates are open as far as its biases say."""
    cell = LSTM(1, 4, 1) if chrono is None else LSTM(1, 4, 1, forget_bias=1.0, chrono=chrono)
    rng = np.random.default_rng(seed)
    drawn = cell.init(rng)
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["W"] = W * drawn["W"]
    params["b_h"] = drawn["b_h"] if biases is None else np.repeat(np.asarray(biases, float), 4)
    return forward(cell, params, np.zeros((T, 1, 1)), rng.standard_normal((1, 8)))


@pytest.mark.parametrize("T", [1, 50, 3000])
def test_cell_path_without_W_is_product_of_forget_gates(T):
    trace = cell_path(T, [0.3, -0.4, 0.2, 0.1])
    frame = block_norms(trace)
    f = 1.0 / (1.0 + np.exp(0.4))
    lags = of(frame, "c<-c").index.to_numpy()
    np.testing.assert_allclose(of(frame, "c<-c"), lags * np.log(f), rtol=1e-12, atol=1e-12)
    assert np.isneginf(of(frame, "c<-h")).all()
    assert np.isneginf(of(frame, "h<-h")[1:]).all()
    assert np.isfinite(of(frame, "h<-c")[1:]).all()


def test_chrono_gates_remember_for_as_long_as_they_were_drawn():
    """u_n steps: c<-c = (u / (1 + u))^T, b_f = log u (Tallec & Ollivier 2018b)."""
    trace = cell_path(200, None, chrono=100)
    u = np.exp(trace.params["b_h"][4:8])
    row = block_norms(trace, [200]).set_index("block").loc["c<-c"]
    path = 200 * np.log(u / (1.0 + u))
    assert row["log_spectral_norm"] == pytest.approx(path.max(), rel=1e-12)
    assert row["log_frobenius_norm"] == pytest.approx(0.5 * np.log(np.exp(2 * path).mean()), rel=1e-12)


# ------------------------------------------------------------------------------------------ beyond the range of a row


def test_block_beyond_range_beside_another_is_unknown():
    """Layer 2 hears layer 1, and keeps 1e-2 a step where layer 1 keeps all: beside it, it is lost."""
    cell = Stacked(1, 2, 1, of="elman")
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["W_1"], params["W_2"] = np.eye(2), 1e-2 * np.eye(2)
    params["V_2"] = 1e-3 * np.eye(2)
    frame = block_norms(forward(cell, params, np.zeros((400, 1, 1))), "all")
    assert np.isneginf(of(frame, "h_1<-h_2")).sum() == 401
    own = of(frame, "h_2<-h_2")
    lags = own.index.to_numpy()
    known = own.notna()
    assert known.iloc[:130].all()
    assert not known.iloc[150:].any()
    np.testing.assert_allclose(own[known], lags[known] * np.log(1e-2), rtol=1e-12)
    assert of(frame, "h_2<-h_1")[1:].notna().all()


def test_a_block_that_is_small_in_every_row_is_known():
    """Rows have exponents of their own: layer 2 grows by 10 a step beside layer 1, which shrinks by 10."""
    cell = Stacked(1, 2, 1, of="elman")
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["W_1"], params["W_2"] = 0.1 * np.eye(2), 10.0 * np.eye(2)
    frame = block_norms(forward(cell, params, np.zeros((500, 1, 1))), "all")
    np.testing.assert_allclose(of(frame, "h_1<-h_1"), -np.arange(501) * np.log(10.0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(of(frame, "h_2<-h_2"), np.arange(501) * np.log(10.0), rtol=1e-12, atol=1e-12)
    assert np.isneginf(of(frame, "h_2<-h_1")).all()


def test_blocks_need_not_be_square():
    """Of parts of one and of three numbers: the typical direction is one of the columns."""
    P = np.random.default_rng(0).standard_normal((1, 2, 4, 4))
    blocks = Blocks({"a": slice(0, 1), "b": slice(1, 4)}, {0})
    blocks.see(Lag(0, np.array([5]), Scaled.of(P), None), Scaled.of(P))
    table = pd.DataFrame(blocks.columns()).set_index(["sequence", "block"])
    for b in range(2):
        for name, block in {"a<-b": P[0, b, :1, 1:], "b<-a": P[0, b, 1:, :1], "b<-b": P[0, b, 1:, 1:]}.items():
            row = table.loc[(b, name)]
            assert row["log_spectral_norm"] == pytest.approx(np.log(np.linalg.norm(block, 2)), rel=1e-12)
            typical = np.linalg.norm(block) / np.sqrt(block.shape[1])
            assert row["log_frobenius_norm"] == pytest.approx(np.log(typical), rel=1e-12)


@pytest.mark.parametrize("lags", ["some", [-1], [7], [1.5]])
def test_lags_outside_the_trajectory_are_refused(lags):
    with pytest.raises(ConfigurationError, match="lag"):
        block_norms(case(CELLS["lstm"], T=6).trace, lags)
