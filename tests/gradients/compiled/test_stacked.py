"""A stack has the loops of its layers: each layer over all steps, and one step back through all layers."""

import numpy as np
import pytest

from bpttlab.gradients.backward import backward
from bpttlab.gradients.compiled import compile_ahead, forms
from bpttlab.gradients.forward import forward
from bpttlab.gradients.plan import Plan
from bpttlab.networks.cells import GRU, Elman, Leaky, Stacked
from bpttlab.numerics.scaled import Scaled
from bpttlab.verification.gradient_check import assert_agree
from tests.support.compiled import INTERPRETED, needs_numba, network

pytestmark = needs_numba

LAYERS = {kind.name: kind.name for kind in forms.SHIPPED_FORMS}
LAYERS |= {"gru, reset before": GRU(1, 1, 1, reset="before"), "leaky, alpha 0.3": Leaky(1, 1, 1, alpha=0.3)}
of_layers = pytest.mark.parametrize("of", LAYERS.values(), ids=LAYERS)
sizes = pytest.mark.parametrize(("layers", "dtype"), [(1, "float64"), (2, "float32"), (3, "float64")])


def run(of, layers, dtype):
    cell, params, x, h_0 = network(lambda *sizes: Stacked(*sizes, layers=layers, of=of), gain=0.7, dtype=dtype)
    trace = forward(cell, params, x, h_0)
    errors = np.random.default_rng(1).standard_normal(trace.y_hat.shape).astype(dtype)
    return trace, errors


@of_layers
@sizes
def test_layers_one_after_another_are_the_steps_of_the_stack(of, layers, dtype):
    trace, _ = run(of, layers, dtype)
    h, y_hat, slopes, fine = INTERPRETED.dispatch.run_forward(trace.cell, trace.params, trace.x, trace.h[0])
    assert fine and h.flags.carray and slopes.flags.carray
    assert_agree({"h": h, "slopes": slopes}, {"h": trace.h, "slopes": trace.linearization})
    if y_hat is not None:
        assert_agree({"y_hat": y_hat}, {"y_hat": trace.y_hat})


@of_layers
@sizes
def test_layers_back_are_the_full_walk_of_the_stack(of, layers, dtype):
    trace, errors = run(of, layers, dtype)
    error = trace.error(errors)
    da, dh = INTERPRETED.dispatch.run_errors_back(trace.cell, trace.params, trace.linearization, error)
    plan = Plan(np.array([[0, trace.length, 0]]), np.ones(trace.length))
    expected = trace.walk(error, plan)
    assert_agree({"da": da, "h_0": dh}, {"da": expected.da, "h_0": expected.dropped[0]})


@of_layers
@sizes
def test_rows_and_walks_pass_all_layers(of, layers, dtype):
    trace, errors = run(of, layers, dtype)
    cell, params, slopes = trace.cell, trace.params, trace.linearization
    rows = np.random.default_rng(2).standard_normal((4, 2, *trace.h.shape[1:])).astype(dtype)
    da, dh, exponents = INTERPRETED.dispatch.scaled_vjp(
        cell, params, slopes[:2], rows, np.zeros((*rows.shape[:-1], 1), np.int64)
    )
    expected = cell.vjp(params, slopes[:2], rows)
    assert_agree({"da": da, "dh": Scaled(dh, exponents).value()}, {"da": expected[0], "dh": expected[1]})
    error = trace.error(errors)
    plan = Plan(np.array([[0, 4, 1], [2, 7, 3]]), np.array([1.0, 0.5, 2.0, 0.0, 1.0, 1.0, 0.3]))
    found = INTERPRETED.dispatch.walk(
        cell, params, slopes, error, np.zeros(error.shape[:2], np.int64), plan.segments, plan.carry
    )
    assert found[-1]
    expected = trace.walk(error, plan)
    assert_agree({"da": found[0], "dropped": found[2]}, {"da": expected.da, "dropped": expected.dropped})


def test_a_stack_has_loops_where_its_layers_have():
    assert forms.has_kernel(Stacked(2, 3, 1), "float64") and not forms.is_own(Stacked(2, 3, 1))
    assert not forms.has_kernel(Stacked(2, 3, 1, of=Elman(1, 1, 1, "softplus")), "float64")
    assert not forms.has_kernel(Stacked(2, 3, 1), "complex128")


def test_the_number_of_layers_compiles_nothing_more():
    two, three = (forms.find_form(Stacked(2, 3, 1, layers=layers)).kind for layers in (2, 3))
    assert forms.name_kind(two) == forms.name_kind(three)
    assert forms.name_kind(two) != forms.name_kind(forms.find_form(Stacked(2, 3, 1, of="lstm")).kind)


@pytest.mark.parametrize("of", ["elman", "lstm", Leaky(1, 1, 1, alpha=0.3)], ids=str)
def test_another_process_compiles_the_same_stack(of):
    cell = Stacked(2, 3, 1, layers=3, of=of)
    built = compile_ahead.build_cell(cell.name, compile_ahead.smallest_fields(cell))
    assert forms.find_form(built).kind._replace(units=3) == forms.find_form(built).kind._replace(units=3)
    assert built == Stacked(1, 1, 1, layers=3, of=of)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.0, 3.0])
def test_what_plain_numbers_do_not_hold_is_walked(gain):
    """Errors of 300 powers of ten, of which the lower layers' are beyond the range."""
    cell, params, x, h_0 = network(lambda *sizes: Stacked(*sizes), T=20, gain=gain)
    trace = forward(cell, params, x, h_0, engine="numba")
    errors = np.full(trace.y_hat.shape, 1e-300)
    assert trace.engine.gradient(trace, errors) is None
    assert_agree(backward(trace, errors), backward(trace.with_engine("numpy"), errors))
