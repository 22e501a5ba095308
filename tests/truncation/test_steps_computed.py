"""The cost that is stored of each scheme, beside a count of what one gradient by it applies."""

import math

import numpy as np
import pytest

from bpttlab import plugins
from bpttlab.gradients.adaptive_truncation import adaptive_truncation
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode import rtrl, snap
from bpttlab.gradients.trace import Trace
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.networks.cells import Elman
from bpttlab.truncation.adaptive import Adaptive
from bpttlab.truncation.averaged import ChunkedMean, Random
from bpttlab.truncation.clipped import Clipped
from bpttlab.truncation.forward import RFLO, RTRL, UORO, SnAp
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.gradient_check import assert_agree
from tests.support.networks_of_cells import CELLS, case

SCHEMES = (Full(), PerLoss(5), Windowed(3, 7), Chunked(4, 1), ChunkedMean(6), Random(4), Adaptive(12, delta=0.3),
           Adaptive(50, delta=0.01), RTRL(), UORO(), SnAp(1), SnAp(2), RFLO(), Clipped(0.1))  # fmt: skip


class Applied:
    """Counts, per sequence, of what is multiplied by a Jacobian; immediate derivatives have none in them.

    Attributes:
        pulled: rows that `Cell.vjp` takes one step back.
        formed: explicit Jacobians.
        multiplications: of explicit Jacobians, or blocks of them, with the columns of an influence matrix.
    """

    def __init__(self, monkeypatch, trace):
        self.pulled, self.formed, self.multiplications, self.counting = 0.0, 0, 0.0, True
        batch, cell = trace.h.shape[1], type(trace.cell)
        vjp, jacobian, times = cell.vjp, Trace.jacobian, rtrl.times

        def counted_pull(cell, params, linearization_t, dh_t):
            self.pulled += self.counting * math.prod(dh_t.shape[:-1]) / batch
            return vjp(cell, params, linearization_t, dh_t)

        def counted_jacobian(trace, t):
            self.formed += 1
            return jacobian(trace, t)

        def counted_times(matrix, rows):
            self.multiplications += math.prod(matrix.shape) * rows.shape[-1] / batch
            return times(matrix, rows)

        monkeypatch.setattr(cell, "vjp", counted_pull)
        monkeypatch.setattr(Trace, "jacobian", counted_jacobian)
        for module in (rtrl, snap):
            monkeypatch.setattr(module, "times", counted_times)
        for module in (
            "bpttlab.gradients.adaptive_truncation",
            "bpttlab.gradients.forward_mode.rtrl",
            "bpttlab.gradients.forward_mode.snap",
        ):
            monkeypatch.setattr(f"{module}.immediate_derivatives", self.immediate_derivatives)

    def immediate_derivatives(self, *given):
        self.counting = False
        found = IMMEDIATE_DERIVATIVES(*given)
        self.counting = True
        return found


IMMEDIATE_DERIVATIVES = rtrl.immediate_derivatives


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("losses", ["everywhere", "some"])
def test_steps_computed_are_those_of_one_gradient(monkeypatch, scheme, losses):
    mask = None if losses == "everywhere" else [t % 3 == 0 for t in range(20)]
    network = case(CELLS["leaky" if isinstance(scheme, RFLO) else "elman"], T=20, B=2, N=4, gain=0.5, mask=mask, seed=1)
    trace, rng = network.trace, np.random.default_rng(0)
    (stored,) = set(truncation_bias(trace, network.loss, scheme, rng)["steps_computed"])
    applied = Applied(monkeypatch, trace)
    scheme.one_gradient(trace, network.loss, rng)
    if isinstance(scheme, UORO):  # its pulls are those of immediate derivatives; it has one J_t s a step
        assert stored == applied.formed == 20
    elif isinstance(scheme, RTRL | SnAp):
        assert stored == math.ceil(applied.multiplications / 4**2)
    else:
        assert stored == applied.pulled > 0


def test_every_scheme_is_counted():
    assert {type(scheme) for scheme in SCHEMES} == set(plugins.find_shipped("scheme").values())


@pytest.mark.slow
def test_the_choice_of_a_truncation_is_part_of_its_cost():
    """T = 100 and losses everywhere: K = 8 takes 772 steps, and the estimate, from lags up to 39, 3,220 more."""
    rng = np.random.default_rng(0)
    cell = Elman(2, 8, 1)
    params = cell.init(rng, spectral_radius=0.8)
    trace = forward(cell, params, rng.standard_normal((100, 2, 2)))
    loss = rng.standard_normal(trace.y_hat.shape)
    delta = next(d for d in np.geomspace(0.01, 1.0, 60) if adaptive_truncation(trace, loss, d, 39) == 8)
    table = truncation_bias(trace, loss, Adaptive(40, delta))
    assert set(table["truncation"]) == {8}
    assert set(table["steps_computed"]) == {772 + 3220}


def test_one_draw_is_drawn_and_timed_alone():
    network = case(CELLS["gru"], T=30, B=2, seed=1)
    scheme, trace = Random(5, draws=1000), network.trace
    one = scheme.one_gradient(trace, network.loss, np.random.default_rng(3))
    alone = Random(5, draws=2).one_gradient(trace, network.loss, np.random.default_rng(3))
    assert_agree(one, alone)
    assert scheme.seconds(trace, network.loss, np.random.default_rng(3)) > 0
