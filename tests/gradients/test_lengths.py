"""Sequences of different length: each as if it were alone, whatever stands in the padding."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, DivergedError, NonFiniteError
from bpttlab.gradients.forward_mode.uoro import uoro_draws
from bpttlab.gradients.plan import full_plan
from bpttlab.networks import losses
from bpttlab.truncation.averaged import Random
from bpttlab.truncation.scheme import Segmented
from bpttlab.verification.gradient_check import assert_agree
from tests.support.compiled import QUICK_CELLS, needs_numba
from tests.support.examples import examples
from tests.support.padded import padded, padded_batches

ENGINES = ["numpy", pytest.param("numba", marks=needs_numba)]


@dataclass(frozen=True)
class FromTheEnd(Segmented):
    """Two windows, of which the last has K steps: where it begins depends on the length."""

    name: ClassVar[str] = "from_the_end"
    truncation: int

    def segments(self, length):
        middle = max(0, length - self.truncation)
        return [(0, middle, 0), (middle, length, middle)] if middle else [(0, length, 0)]


SCHEMES = [None, lab.PerLoss(2), lab.Windowed(2, 3), lab.Chunked(3), lab.Chunked(3, offset=1), FromTheEnd(2)]


def sum_alone(batch, loss, gradient):
    """The sum of what each sequence alone gives, its h_0 in its own row."""
    total = {}
    for b in range(len(batch.lengths)):
        for name, value in gradient(batch.alone(b), batch.errors_alone(loss, b)).items():
            own = np.zeros_like(batch.h_0) if name == "h_0" else value
            if name == "h_0":
                own[b] = value[0]
            total[name] = total.get(name, 0.0) + own
    return total


@examples(40)
@given(data=st.data())
def test_each_sequence_goes_back_as_if_it_were_alone(data):
    batch = data.draw(padded_batches())
    scheme, trace = data.draw(st.sampled_from(SCHEMES)), batch.trace
    loss = batch.loss(trace.y_hat, data.draw(st.sampled_from(["mean", "sum"])))
    expected = sum_alone(batch, loss, lambda one, errors: lab.backward(one, errors, scheme))
    assert_agree(lab.backward(trace, loss, scheme), expected)
    scaled = {name: value.value() for name, value in lab.backward(trace, loss, scheme, scaled=True).items()}
    assert_agree(scaled, expected)


@needs_numba
@pytest.mark.parametrize(
    "cell",
    [
        *QUICK_CELLS,
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("gru", "leaky", "diagonal", "stacked", "minimal_rnn")
        ),
    ],
)
def test_compiled_loops_do_the_same(cell):
    batch = padded(cell, (5, 9, 1, 5, 7), N=4, engine="numba")
    loss = batch.loss(batch.trace.y_hat)
    for scheme in (None, lab.PerLoss(3), FromTheEnd(2)):
        expected = sum_alone(batch, loss, lambda one, errors, how=scheme: lab.backward(one, errors, how))
        assert_agree(lab.backward(batch.trace, loss, scheme), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_states_are_those_of_each_sequence(engine):
    batch = padded("gru", engine=engine)
    trace = batch.trace
    for b, length in enumerate(batch.lengths):
        alone = batch.alone(b)
        np.testing.assert_allclose(trace.h[: length + 1, b], alone.h[:, 0], rtol=1e-13)
        np.testing.assert_allclose(trace.y_hat[:length, b], alone.y_hat[:, 0], rtol=1e-12)
        np.testing.assert_allclose(trace.linearization[:length, b], alone.linearization[:, 0], rtol=1e-12)
        assert (trace.h[length:, b] == trace.h[length, b]).all()
        assert not trace.y_hat[length:, b].any() and not trace.linearization[length:, b].any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("garbage", "more"), [(0.0, 0), (np.nan, 3), (1e300, 17), (-np.inf, 1)])
def test_padding_changes_no_byte(engine, garbage, more):
    batch = padded("lstm", engine=engine)
    other = batch.pad(garbage, more)
    one, again = (found.trace for found in (batch, other))
    first, second = (found.loss(trace.y_hat) for found, trace in ((batch, one), (other, again)))
    assert (first.value, first.gradient.tobytes()) == (second.value, second.gradient.tobytes())
    for scheme in SCHEMES:
        found, expected = lab.backward(again, second, scheme), lab.backward(one, first, scheme)
        assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)
    for name in ("x", "h", "y_hat", "linearization", "lengths"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_lengths_are_the_bytes_of_none(engine):
    batch = padded("elman", (5, 5, 5), engine=engine)
    x, target = batch.x[:5], batch.target[:5]
    plain, full = (
        lab.forward(batch.cell, batch.params, x, batch.h_0, engine, **more) for more in ({}, {"lengths": [5, 5, 5]})
    )
    assert plain.h.tobytes() == full.h.tobytes() == batch.trace.h.tobytes()
    assert plain.lengths.tolist() == full.lengths.tolist() == [5, 5, 5] and not full.padded
    one, other = (
        lab.loss_and_gradient(batch.cell, batch.params, x, target, h_0=batch.h_0, engine=engine, **more)
        for more in ({}, {"lengths": np.array([5, 5, 5])})
    )
    assert one[0] == other[0] and all(one[1][name].tobytes() == other[1][name].tobytes() for name in one[1])


def test_a_mask_of_valid_steps_is_the_same_as_lengths():
    batch = padded()
    mask = np.arange(1, len(batch.x) + 1)[:, None] <= batch.lengths
    for valid in (mask, mask.astype(float)):
        trace = lab.forward(batch.cell, batch.params, batch.x, batch.h_0, mask=valid)
        assert trace.h.tobytes() == batch.trace.h.tobytes() and trace.lengths.tolist() == batch.lengths.tolist()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_and_gradient_in_one_call(engine, threads, reduction):
    batch = padded("elman", (4, 1, 6, 4, 2), engine=engine)
    trace, mask = batch.trace, np.linspace(0.5, 1.0, len(batch.x))
    loss = losses.evaluate("squared_error", trace.y_hat, batch.target, mask, reduction, batch.lengths)
    value, gradient = lab.loss_and_gradient(
        batch.cell, batch.params, batch.x, batch.target, mask, reduction=reduction, h_0=batch.h_0, engine=engine,
        threads=threads, lengths=batch.lengths,
    )  # fmt: skip
    assert value == pytest.approx(loss.value, rel=1e-13)
    assert_agree(gradient, lab.backward(trace, loss))


# ------------------------------------------------------------------ schemes without one plan


def test_random_cuts_are_those_of_each_sequence():
    batch, rng = padded("leaky"), np.random.default_rng(1)
    trace, plan = batch.trace, Random(2).draw(6, rng, 4)
    loss = batch.loss(trace.y_hat)
    total = {}
    for b, length in enumerate(batch.lengths):
        own = full_plan(int(length), plan.carry[:length, b])
        for name, value in lab.backward(batch.alone(b), batch.errors_alone(loss, b), own).items():
            total[name] = total.get(name, 0.0) + value
    found = lab.backward(trace, loss, plan)
    assert_agree({name: found[name] for name in batch.params}, {name: total[name] for name in batch.params})


@pytest.mark.parametrize("method", [lab.rtrl, lambda trace, loss: lab.snap(trace, loss, 1), lab.rflo])
def test_gradients_carried_forward_end_with_each_sequence(method):
    batch = padded("leaky")
    loss = batch.loss(batch.trace.y_hat)
    assert_agree(method(batch.trace, loss), sum_alone(batch, loss, method))


def test_uoro_is_that_of_each_length_in_turn():
    batch = padded("gru", (2, 5, 3))
    loss, rng = batch.loss(batch.trace.y_hat), np.random.default_rng(3)
    total = {}
    for b in (0, 2, 1):  # the shortest first
        for name, value in lab.uoro(batch.alone(b), batch.errors_alone(loss, b), rng).items():
            total[name] = total.get(name, 0.0) + value
    assert_agree(lab.uoro(batch.trace, loss, np.random.default_rng(3)), total)
    assert uoro_draws(batch.trace, loss, 0, 4)["W"].shape == (4, 9, 3)


def test_a_long_padding_does_not_overflow():
    """Held states and zero cotangents: a network that explodes in 2000 steps, beside a sequence of three steps."""
    batch = padded("elman", (3, 2000), gain=3.0, make=lambda *sizes: lab.Elman(*sizes, activation="relu"))
    batch = replace(batch, params={**batch.params, "W": np.eye(3) * 1.1})
    gradient = lab.backward(batch.trace, batch.loss(batch.trace.y_hat), scaled=True)
    assert np.isfinite(gradient["h_0"].mantissa).all()


# ------------------------------------------------------------------ what is refused


def run(**changes):
    batch = padded()
    arguments = {"cell": batch.cell, "params": batch.params, "x": batch.x, "lengths": batch.lengths}
    return lab.forward(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [4, 1, 9, 4]}, r"lengths: holds 9 for sequence 2 \(from 0\); must be \(B,\) = \(4,\) integers"),
        ({"mask": np.ones((8, 4))}, "lengths and mask: both say which steps are valid; must be one of the two"),
        ({"lengths": None, "mask": np.ones((4, 8))}, r"mask: shape \(4, 8\); must be \(T, B\) = \(8, 4\); it looks"),
        ({"x": np.ones((8, 2)), "lengths": [1, 2]}, r"x: shape \(8, 2\); must be \(T, B, I\)"),
        ({"memory_limit": 1e-7}, "memory_limit=1e-07: sequences of different length keep all of their states; must be"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        run(**changes)
    assert "\n" not in str(refused.value)


def test_a_valid_step_that_is_not_finite_is_refused():
    batch = padded()
    batch.x[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match="x: not finite at step t = 4"):
        batch.trace  # noqa: B018


@pytest.mark.parametrize("engine", ENGINES)
def test_a_state_that_overflows_names_its_step(engine):
    batch = padded("elman", (3, 1500), engine=engine, make=lambda *sizes: lab.Elman(*sizes, activation="identity"))
    batch = replace(batch, params={**batch.params, "W": np.eye(3) * 2.0})
    with pytest.raises(DivergedError) as refused:
        batch.trace  # noqa: B018
    assert 900 < refused.value.step < 1100


def test_a_loss_of_all_steps_is_refused():
    trace = padded().trace
    loss = losses.evaluate("squared_error", trace.y_hat, np.ones_like(trace.y_hat), np.ones(6))
    with pytest.raises(
        ConfigurationError, match=r"loss: is over 6 steps of sequence 0 \(from 0\), and the trace has 4"
    ):
        lab.backward(trace, loss)
    own = np.where(np.arange(1, 7)[:, None, None] <= trace.lengths[:, None], loss.gradient, np.nan)
    assert np.isfinite(lab.backward(trace, own)["W"]).all()


@pytest.mark.parametrize(
    "go_back",
    [
        lab.backward,
        lambda trace, loss: lab.backward(trace, loss, lab.Chunked(2), scaled=True),
        lab.lag_terms,
        lab.truncation_curve,
        lambda trace, loss: lab.truncation_bias(trace, loss, lab.PerLoss(2)),
        lambda trace, loss: lab.jacobian_products(trace, loss),
        lab.step_gradients,
    ],
)
def test_a_loss_of_other_lengths_is_refused(go_back):
    batch = padded("gru")
    trace, target = batch.trace, np.zeros((6, 4, 2))
    zero_in_padding = replace(losses.evaluate("squared_error", trace.y_hat, target), gradient=np.zeros((6, 4, 2)))
    shorter = losses.evaluate("squared_error", trace.y_hat, target, lengths=[4, 1, 5, 4])
    for loss, steps in ((zero_in_padding, "6 steps of sequence 0"), (shorter, "5 steps of sequence 2")):
        with pytest.raises(ConfigurationError, match=f"loss: is over {steps}"):
            go_back(trace, loss)


def test_a_loss_with_lengths_needs_a_trace_with_them():
    batch = padded("gru")
    trace = lab.forward(batch.cell, batch.params, np.zeros((6, 4, 2)))
    loss = losses.evaluate("squared_error", trace.y_hat, np.zeros((6, 4, 2)), lengths=[4, 1, 6, 4])
    with pytest.raises(ConfigurationError, match="loss: is over 4 steps of sequence 0 .* the trace has 6"):
        lab.backward(trace, loss)
    assert lab.backward(trace, loss.gradient)["W"].any()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, r"loss=None; must be a Loss, .* or an array dL/dy_hat \(T, B, O\) = \(6, 4, 2\)"),
        (0.5, "loss=0.5; must be a Loss"),
        ("mean", "loss='mean'; must be a Loss"),
        ((0.5, [1.0, 2.0]), "loss: is a tuple; must be a Loss"),
        (np.ones((6, 4)), r"loss: dL/dy_hat has shape \(6, 4\); must be \(T, B, O\)"),
    ],
)
def test_what_is_no_loss_is_refused(loss, message):
    with pytest.raises(ConfigurationError, match=message):
        lab.backward(padded("gru").trace, loss)


# ------------------------------------------------------------------ parts of a trace


def test_parts_of_a_trace_have_their_lengths():
    trace = padded("lstm").trace
    assert trace.prefix(3).lengths.tolist() == [3, 1, 3, 3]
    assert (trace.head(2).length, trace.head(2).lengths.tolist()) == (4, [4, 1])
    assert trace.repeat(2).lengths.tolist() == [4, 1, 6, 4] * 2
    assert trace.in_float64().lengths.tolist() == trace.with_engine("numpy").lengths.tolist() == [4, 1, 6, 4]
    assert [(group.trace.length, group.sequences.tolist()) for group in trace.groups()] == [
        (1, [1]),
        (4, [0, 3]),
        (6, [2]),
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_beginning_is_a_pass_of_that_length(engine):
    batch = padded("gru", (70, 3, 150, 99), engine=engine)
    short = lab.forward(
        batch.cell, batch.params, batch.x[:80], batch.h_0, engine, lengths=np.minimum(batch.lengths, 80)
    )
    part = batch.trace.prefix(80)
    assert part.h.tobytes() == short.h.tobytes() and part.y_hat.tobytes() == short.y_hat.tobytes()
    assert part.linearization.tobytes() == short.linearization.tobytes()
